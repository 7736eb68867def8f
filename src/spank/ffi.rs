//! The C side (`c-shim/spank_shim.c`, declared in `include/burst_spank.h`) behind safe functions.

use crate::line::{Line, printable};
use crate::table::Entry;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;

/// The type of an option callback, checked against Slurm's headers by the shim.
pub type OptionFn = unsafe extern "C" fn(val: c_int, optarg: *const c_char, remote: c_int) -> c_int;

mod c {
    use super::{OptionFn, c_char, c_int, c_void};

    unsafe extern "C" {
        pub fn burst_spank_where() -> c_int;
        pub fn burst_spank_say(how: c_int, text: *const c_char);
        pub fn burst_spank_register(
            spank: *mut c_void,
            name: *const c_char,
            arginfo: *const c_char,
            usage: *const c_char,
            has_arg: c_int,
            val: c_int,
            callback: OptionFn,
        ) -> c_int;
        pub fn burst_spank_job_setenv(spank: *mut c_void, name: *const c_char, value: *const c_char)
        -> c_int;
        pub fn burst_spank_job_unsetenv(spank: *mut c_void, name: *const c_char) -> c_int;
        pub fn burst_spank_strerror(code: c_int) -> *const c_char;
        pub fn burst_spank_forget_env(name: *const c_char);
        pub fn burst_spank_number(spank: *mut c_void, what: c_int, out: *mut u32) -> c_int;
        pub fn burst_spank_status(spank: *mut c_void, out: *mut c_int) -> c_int;
        pub fn burst_spank_environment(spank: *mut c_void) -> *const *const c_char;
    }
}

/// A number that SPANK knows, as `burst_spank.h` numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Job id.
    Job = 0,
    /// Step id.
    Step = 1,
    /// Nodes of the step.
    Nodes = 2,
    /// Tasks on this node.
    TasksHere = 3,
    /// Tasks of the step.
    Tasks = 4,
    /// Global id of the callback's task.
    Task = 5,
    /// Its process.
    Pid = 6,
}

/// Longest environment that is looked at, variables.
const VARIABLES: usize = 65_536;

/// The kind of program, as `burst_spank.h` numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// sbatch, salloc, scrontab.
    Submit,
    /// srun.
    Srun,
    /// slurmstepd.
    Step,
    /// slurmd, prolog, epilog.
    Other,
}

/// Which program loaded the plugin.
pub fn host() -> Host {
    // SAFETY: no arguments; `spank_context` reads one global that Slurm sets before it calls a plugin.
    match unsafe { c::burst_spank_where() } {
        1 => Host::Submit,
        2 => Host::Srun,
        3 => Host::Step,
        _ => Host::Other,
    }
}

/// Shows a line to the user through Slurm's own logging (prefix, `--quiet`, log files).
pub fn say(line: &Line) {
    let Ok(text) = CString::new(printable(&line.text)) else { return };
    // SAFETY: `text` is NUL-terminated and lives through the call; the shim passes it as data of "%s".
    unsafe { c::burst_spank_say(line.how as c_int, text.as_ptr()) }
}

/// Takes variables out of this process's environment.
///
/// To be called from `slurm_spank_init` only: sbatch, salloc and srun have a single thread then.
pub fn forget_environment(names: &[String]) {
    for name in names {
        let Ok(name) = CString::new(name.as_str()) else { continue };
        // SAFETY: NUL-terminated name; no other thread exists that could read the environment meanwhile.
        unsafe { c::burst_spank_forget_env(name.as_ptr()) }
    }
}

/// Slurm's handle, valid during the callback that received it.
#[derive(Clone, Copy)]
pub struct Spank(*mut c_void);

impl Spank {
    /// Wraps the handle of the running callback.
    ///
    /// # Safety
    /// `handle` is what Slurm passed to the SPANK callback that is running, and the value is not used after
    /// that callback has returned.
    pub unsafe fn new(handle: *mut c_void) -> Self {
        Self(handle)
    }

    /// Registers an option; only within `slurm_spank_init`.
    ///
    /// # Errors
    /// Slurm's words for the refusal.
    pub fn register(self, entry: &Entry, val: c_int, callback: OptionFn) -> Result<(), String> {
        let has_arg = if entry.optional { 2 } else { 1 };
        // SAFETY: the handle is live (see `new`); the strings are 'static and NUL-terminated, Slurm copies them;
        // the callback is a function of this plugin, which is never unmapped (-z nodelete).
        answer(unsafe {
            c::burst_spank_register(
                self.0,
                entry.name.as_ptr(),
                entry.argument.as_ptr(),
                entry.usage.as_ptr(),
                has_arg,
                val,
                callback,
            )
        })
    }

    /// Sets a job-control variable: `NAME=value` in the job description, `SPANK_NAME` in prolog and epilog.
    ///
    /// # Errors
    /// Slurm's words for the refusal.
    pub fn set(self, name: &str, value: &str) -> Result<(), String> {
        let (name, value) = (terminated(name)?, terminated(value)?);
        // SAFETY: live handle, NUL-terminated strings that outlive the call; Slurm copies them.
        answer(unsafe { c::burst_spank_job_setenv(self.0, name.as_ptr(), value.as_ptr()) })
    }

    /// A number; None where this callback has no such thing.
    pub fn number(self, what: What) -> Option<u32> {
        let mut out = 0;
        // SAFETY: the handle is live (see `new`), and `out` is a number of the type that the shim writes.
        (unsafe { c::burst_spank_number(self.0, what as c_int, &raw mut out) } == 0).then_some(out)
    }

    /// Wait status of the callback's task.
    pub fn status(self) -> Option<i32> {
        let mut out = 0;
        // SAFETY: as in `number`.
        (unsafe { c::burst_spank_status(self.0, &raw mut out) } == 0).then_some(out)
    }

    /// Variables of the step's environment whose names are wanted; copied, since the array lives for the callback only.
    pub fn environment(self, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        // SAFETY: the handle is live; the answer is NULL or a NULL-terminated array that nobody changes meanwhile.
        let array = unsafe { c::burst_spank_environment(self.0) };
        let mut all = Vec::new();
        if array.is_null() {
            return all;
        }
        for i in 0..VARIABLES {
            // SAFETY: every entry before this one was not NULL, so this one exists; a string is NUL-terminated.
            let Some(entry) = (unsafe { value(*array.add(i)) }) else { break };
            let pair = entry.to_str().and_then(|e| e.split_once('='));
            if let Some((name, value)) = pair.filter(|(name, value)| value.len() <= 4096 && wanted(name)) {
                all.push((name.to_owned(), value.to_owned()));
            }
        }
        all
    }

    /// Takes a job-control variable out; none of that name is no error.
    ///
    /// # Errors
    /// Slurm's words for the refusal.
    pub fn unset(self, name: &str) -> Result<(), String> {
        let name = terminated(name)?;
        // SAFETY: live handle, NUL-terminated string that outlives the call.
        answer(unsafe { c::burst_spank_job_unsetenv(self.0, name.as_ptr()) })
    }
}

/// An option's value as SPANK passes it.
///
/// # Safety
/// `text` is NULL or a NUL-terminated string that lives as long as `'a`.
pub unsafe fn value<'a>(text: *const c_char) -> Option<&'a OsStr> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not NULL, and the caller promises the rest.
    Some(OsStr::from_bytes(unsafe { CStr::from_ptr(text) }.to_bytes()))
}

/// The plugin's arguments in plugstack.conf.
///
/// # Safety
/// `argv` is NULL or has `argc` entries, each NULL or a NUL-terminated string living as long as `'a`.
pub unsafe fn arguments<'a>(argc: c_int, argv: *const *mut c_char) -> Vec<&'a str> {
    let count = usize::try_from(argc).unwrap_or(0);
    if argv.is_null() {
        return Vec::new();
    }
    (0..count)
        .filter_map(|i| {
            // SAFETY: i < argc, so the entry exists; the caller promises what it points at.
            unsafe { value(*argv.add(i)) }
        })
        .filter_map(OsStr::to_str)
        .collect()
}

fn terminated(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| "a NUL character is in the value".to_owned())
}

fn answer(code: c_int) -> Result<(), String> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: any code is allowed; Slurm answers with a static string (or NULL, which is looked at).
    let text = unsafe { c::burst_spank_strerror(code) };
    if text.is_null() {
        return Err(format!("SPANK error {code}"));
    }
    // SAFETY: not NULL, a NUL-terminated string with static lifetime.
    Err(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
