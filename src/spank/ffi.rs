//! What only options need of the C side (`c-shim/spank_shim.c`, declared in `include/burst_spank.h`), behind safe functions.

use crate::base::Spank;
use crate::table::Entry;
use std::ffi::{CStr, CString, c_char, c_int, c_void};

/// The type of an option callback, checked against Slurm's headers by the shim.
pub type OptionFn = unsafe extern "C" fn(val: c_int, optarg: *const c_char, remote: c_int) -> c_int;

mod c {
    use super::{OptionFn, c_char, c_int, c_void};

    unsafe extern "C" {
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
    }
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

impl Spank {
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
