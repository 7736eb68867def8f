//! Safe faces of the C shim (include/burst_shim.h): the only unsafe calls of the plugin.

#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    dead_code,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    unreachable_pub
)]
mod raw {
    include!(concat!(env!("OUT_DIR"), "/shim.rs"));
}

pub use raw::{
    BURST_INFINITE, BURST_UNSET, burst_conf_record_t, burst_job_record_t, burst_job_view_t,
    burst_licence_record_t, burst_node_record_t, burst_partition_record_t, burst_str_t,
};
use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    ptr,
};

/// Text for C: a NUL inside ends it there, as C would.
pub fn c_text(text: &str) -> CString {
    let text = text.split('\0').next().unwrap_or("");
    CString::new(text).unwrap_or_default()
}

/// A sized string of Slurm's, as bytes; empty where it was not given.
pub fn bytes(s: &burst_str_t) -> &[u8] {
    if s.ptr.is_null() {
        return &[];
    }
    // SAFETY: the shim fills ptr and len from one NUL-terminated string that Slurm keeps for the length of the call,
    // which the borrow of the view cannot outlive.
    unsafe { std::slice::from_raw_parts(s.ptr.cast::<u8>(), s.len) }
}

/// The same as text; what is not UTF-8 is replaced.
pub fn text(s: &burst_str_t) -> String {
    String::from_utf8_lossy(bytes(s)).into_owned()
}

/// A job description of Slurm's, for the length of one call.
#[derive(Clone, Copy)]
pub struct Job(*mut c_void);

impl Job {
    /// Takes what slurmctld handed over.
    pub fn new(job: *mut c_void) -> Self {
        Self(job)
    }
    /// Whether it is ours: by its partition, which is one of `names` (a line each), or by an option of ours.
    #[inline]
    pub fn is_ours(&self, names: &[u8], default_is_ours: bool) -> bool {
        // SAFETY: not NULL, and as in `view`; the names are only read, within their length.
        !self.0.is_null()
            && unsafe {
                raw::burst_is_ours(self.0, names.as_ptr().cast(), names.len(), default_is_ours.into())
            } != 0
    }
    /// Its flat view; None for NULL.
    pub fn view(&self) -> Option<burst_job_view_t> {
        if self.0.is_null() {
            return None;
        }
        let mut view = burst_job_view_t::default();
        // SAFETY: not NULL, and slurmctld hands a valid job_desc_msg_t for the length of the call.
        unsafe { raw::burst_view(self.0, &raw mut view) };
        Some(view)
    }
    /// priority 0 and the admin_comment.
    pub fn hold(&self, comment: &CStr) {
        if !self.0.is_null() {
            // SAFETY: as in `view`; the text is copied by Slurm's allocator.
            unsafe { raw::burst_hold(self.0, comment.as_ptr()) };
        }
    }
    /// Sends the job to a partition.
    pub fn set_partition(&self, partition: &CStr) {
        if !self.0.is_null() {
            // SAFETY: as in `hold`.
            unsafe { raw::burst_set_partition(self.0, partition.as_ptr()) };
        }
    }
    /// Takes a change of priority out of an update.
    pub fn drop_priority(&self) {
        if !self.0.is_null() {
            // SAFETY: as in `view`.
            unsafe { raw::burst_drop_priority(self.0) };
        }
    }
}

/// Where a message for the user goes.
#[derive(Clone, Copy)]
pub struct Message(*mut *mut c_char);

impl Message {
    /// Takes slurmctld's out-parameter; NULL: messages go nowhere.
    pub fn new(err_msg: *mut *mut c_char) -> Self {
        Self(err_msg)
    }
    /// Sets the message.
    pub fn set(&self, text: &str) {
        self.set_c(&c_text(text));
    }
    /// The same, of a text that is ready.
    pub fn set_c(&self, text: &CStr) {
        if !self.0.is_null() {
            // SAFETY: slurmctld's out-parameter holds NULL or a string of its allocator; the shim copies the text.
            unsafe { raw::burst_set_message(self.0, text.as_ptr()) };
        }
    }
}

/// Entries of an environment array of Slurm's.
pub fn environment(list: *const *mut c_char, size: u32) -> impl Iterator<Item = &'static [u8]> {
    (0..size as usize).filter_map(move |i| {
        if list.is_null() {
            return None;
        }
        // SAFETY: the array has `size` entries (job_desc_msg_t env_size, spank_job_env_size), each NULL or a
        // NUL-terminated string that Slurm keeps for the length of the call; callers copy what they keep.
        let entry = unsafe { *list.add(i) };
        if entry.is_null() {
            return None;
        }
        // SAFETY: see above.
        Some(unsafe { CStr::from_ptr(entry) }.to_bytes())
    })
}

/// Entries of an environment that begin so. The others, which are most, are not read further than they are alike.
pub fn entries(
    list: *const *mut c_char,
    size: u32,
    prefix: &'static CStr,
) -> impl Iterator<Item = &'static [u8]> {
    let size = if list.is_null() { 0 } else { size };
    let mut at = 0;
    std::iter::from_fn(move || {
        // SAFETY: as in `environment`; both texts are NUL-terminated, and neither is read further than its end.
        let entry =
            unsafe { raw::burst_env_next(list, size, &raw mut at, prefix.as_ptr(), prefix.count_bytes()) };
        // SAFETY: as in `environment`.
        (!entry.is_null()).then(|| unsafe { CStr::from_ptr(entry) }.to_bytes())
    })
}

/// A line in Slurm's log: 0 error, 1 info, 2 verbose, 3 debug.
pub fn log(level: c_int, text: &str) {
    // SAFETY: the text is NUL-terminated and only read; Slurm's log functions may be called from any thread.
    unsafe { raw::burst_log(level, c_text(text).as_ptr()) };
}

extern "C" fn each<T, F: FnMut(&T)>(ctx: *mut c_void, record: *const T) {
    // SAFETY: `ctx` is the closure that `load` passes, alive for the length of the call; the record is valid for it.
    let (f, record) = unsafe { (&mut *ctx.cast::<F>(), &*record) };
    f(record);
}

/// Every job, when something changed since `since`.
pub fn load_jobs<F: FnMut(&burst_job_record_t)>(since: &mut i64, mut f: F) -> c_int {
    // SAFETY: the callback gets back exactly the closure given as context; the closure does not unwind (it copies).
    unsafe { raw::burst_load_jobs(since, Some(each::<burst_job_record_t, F>), (&raw mut f).cast()) }
}

/// One user's jobs.
pub fn load_user_jobs<F: FnMut(&burst_job_record_t)>(uid: u32, mut f: F) -> c_int {
    // SAFETY: as in `load_jobs`.
    unsafe { raw::burst_load_user_jobs(uid, Some(each::<burst_job_record_t, F>), (&raw mut f).cast()) }
}

/// Every node, when something changed since `since`.
pub fn load_nodes<F: FnMut(&burst_node_record_t)>(since: &mut i64, mut f: F) -> c_int {
    // SAFETY: as in `load_jobs`.
    unsafe { raw::burst_load_nodes(since, Some(each::<burst_node_record_t, F>), (&raw mut f).cast()) }
}

/// Partitions.
pub fn load_partitions<F: FnMut(&burst_partition_record_t)>(mut f: F) -> c_int {
    // SAFETY: as in `load_jobs`.
    unsafe { raw::burst_load_partitions(Some(each::<burst_partition_record_t, F>), (&raw mut f).cast()) }
}

/// A user's name, empty where the host knows none. May block.
pub fn user_name(uid: u32) -> String {
    let mut out = [0u8; 256];
    // SAFETY: the buffer is as long as is said, and ends with a zero byte afterwards.
    unsafe { raw::burst_user_name(uid, out.as_mut_ptr().cast(), out.len()) };
    let end = out.iter().position(|b| *b == 0).unwrap_or(0);
    String::from_utf8_lossy(out.get(..end).unwrap_or(&[])).into_owned()
}

/// Licences.
pub fn load_licences<F: FnMut(&burst_licence_record_t)>(mut f: F) -> c_int {
    // SAFETY: as in `load_jobs`.
    unsafe { raw::burst_load_licences(Some(each::<burst_licence_record_t, F>), (&raw mut f).cast()) }
}

/// slurm.conf.
pub fn load_conf<F: FnMut(&burst_conf_record_t)>(mut f: F) -> c_int {
    // SAFETY: as in `load_jobs`.
    unsafe { raw::burst_load_conf(Some(each::<burst_conf_record_t, F>), (&raw mut f).cast()) }
}

fn pointer(text: Option<&CString>) -> *const c_char {
    text.map_or(ptr::null(), |t| t.as_ptr())
}

/// slurm_update_job2.
pub fn update_job(job: &str, update: &burst_engine::controller::JobUpdate) -> c_int {
    let id = c_text(job);
    let comment = update.comment.as_deref().map(c_text);
    let nodes = update.req_nodes.as_deref().map(c_text);
    let partition = update.partition.as_deref().map(c_text);
    let size = update.nodes.unwrap_or(BURST_UNSET);
    let raw = raw::burst_job_update_t {
        job: id.as_ptr(),
        admin_comment: pointer(comment.as_ref()),
        req_nodes: pointer(nodes.as_ref()),
        partition: pointer(partition.as_ref()),
        min_nodes: size,
        max_nodes: size,
        priority: update.priority.unwrap_or(BURST_UNSET),
    };
    // SAFETY: every pointer is NULL or a NUL-terminated string that lives until the end of this function.
    unsafe { raw::burst_update_job(&raw const raw) }
}

/// slurm_update_node: addresses and host names of the names, or POWER_DOWN_FORCE.
pub fn update_node(names: &str, addresses: Option<(&str, &str)>) -> c_int {
    let names = c_text(names);
    let hosts = addresses.map(|(_, h)| c_text(h));
    let addresses = addresses.map(|(a, _)| c_text(a));
    let raw = raw::burst_node_update_t {
        names: names.as_ptr(),
        addresses: pointer(addresses.as_ref()),
        hostnames: pointer(hosts.as_ref()),
        power_down_force: u8::from(addresses.is_none()),
    };
    // SAFETY: as in `update_job`.
    unsafe { raw::burst_update_node(&raw const raw) }
}

/// scancel.
pub fn cancel_job(job: &str) -> c_int {
    // SAFETY: NUL-terminated, only read.
    unsafe { raw::burst_cancel_job(c_text(job).as_ptr()) }
}

/// Whether slurmctld has read its configuration and serves as the active controller.
pub fn serves() -> bool {
    // SAFETY: no arguments; it reads one word of slurmctld's.
    unsafe { raw::burst_serves() != 0 }
}

/// Whether the primary controller answers.
pub fn primary_answers() -> bool {
    // SAFETY: no arguments.
    unsafe { raw::burst_ping_primary() == 0 }
}

/// What job_submit answers for a job that is refused; the message beside it says why.
pub fn refused() -> c_int {
    // SAFETY: no arguments.
    unsafe { raw::burst_refused() }
}

/// Whether `error` means that nothing changed.
pub fn is_no_change(error: c_int) -> bool {
    // SAFETY: no arguments.
    error == unsafe { raw::burst_no_change() }
}

/// Slurm's number in words, and whether trying again can help.
pub fn explain(error: c_int) -> (String, bool) {
    // SAFETY: slurm_strerror answers a string that is never freed (a table, or strerror's own).
    let text = unsafe {
        let t = raw::burst_strerror(error);
        if t.is_null() { String::new() } else { CStr::from_ptr(t).to_string_lossy().into_owned() }
    };
    // SAFETY: a number only.
    (text, unsafe { raw::burst_is_passing(error) } != 0)
}

/// A decoded credential: (uid, gid, payload).
pub fn munge_decode(socket: Option<&CStr>, credential: &str) -> Result<(u32, u32, Vec<u8>), String> {
    /// Largest payload that is taken (bytes).
    const MOST: usize = 64 * 1024;
    let credential = c_text(credential);
    let mut out = vec![0u8; MOST];
    let (mut len, mut uid, mut gid) = (0usize, u32::MAX, u32::MAX);
    // SAFETY: `out` has MOST bytes; every out-parameter is valid; both strings are NUL-terminated.
    let rc = unsafe {
        raw::burst_munge_decode(
            socket.map_or(ptr::null(), CStr::as_ptr),
            credential.as_ptr(),
            out.as_mut_ptr().cast(),
            MOST,
            &raw mut len,
            &raw mut uid,
            &raw mut gid,
        )
    };
    if rc == 0 {
        out.truncate(len);
        return Ok((uid, gid, out));
    }
    // SAFETY: munge_strerror answers a constant.
    let why = unsafe { CStr::from_ptr(raw::burst_munge_strerror(rc)) };
    Err(why.to_string_lossy().into_owned())
}

/// Blocks every signal in this thread: they belong to slurmctld.
pub fn block_signals() {
    // SAFETY: no arguments.
    unsafe { raw::burst_block_signals() }
}

/// This thread, and those it makes, let slurmctld's own threads finish what they are at: a thread of SCHED_BATCH that
/// wakes up takes nobody's processor away (sched(7)). Without it an answer or a tick of ours may come in the middle
/// of a submission.
pub fn stand_back() {
    // SAFETY: plain data, of which zero is a valid value; 0 is the calling thread.
    let done = unsafe {
        let param: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const param)
    };
    if done != 0 {
        tracing::debug!("SCHED_BATCH is refused: the engine's threads compete with slurmctld's");
    }
}

/// SlurmUser: slurmctld runs as it.
pub fn own_uid() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() }
}
