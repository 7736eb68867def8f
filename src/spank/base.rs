//! What both SPANK plugins need of the C side (`c-shim/spank_shim.c`, declared in `include/burst_spank.h`), behind safe
//! functions.

use crate::line::{Line, printable};
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;

mod c {
    use super::{c_char, c_int};

    unsafe extern "C" {
        pub fn burst_spank_where() -> c_int;
        pub fn burst_spank_say(how: c_int, text: *const c_char);
    }
}

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

/// Slurm's handle, valid during the callback that received it.
#[derive(Clone, Copy)]
pub struct Spank(pub(crate) *mut c_void);

impl Spank {
    /// Wraps the handle of the running callback.
    ///
    /// # Safety
    /// `handle` is what Slurm passed to the SPANK callback that is running, and the value is not used after
    /// that callback has returned.
    pub unsafe fn new(handle: *mut c_void) -> Self {
        Self(handle)
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
