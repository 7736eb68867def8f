//! `job_submit_burst.so`: the symbols slurmctld calls.
//!
//! Every entry is one guard around safe code: it fills a view, decides, applies an edit. Nothing here waits, and
//! nothing that Slurm owns outlives the call. The engine runs on threads of its own, started by `init`.

mod guard;
mod log;
mod modify;
mod shim;
mod slurm;
mod startup;
mod submit;
mod view;

use guard::guarded;
use std::ffi::{c_char, c_int, c_void};

/// What Slurm's loader reads. With the type "spank" it compares major.minor only, so that a micro upgrade of Slurm
/// does not stop slurmctld (source: slurm-22.05 src/common/plugin.c).
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static plugin_name: [u8; 12] = *b"slurm-burst\0";
/// See [`plugin_name`].
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static plugin_type: [u8; 6] = *b"spank\0";
/// See [`plugin_name`]; the number of the headers this was built with.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static plugin_version: u32 = decimal(env!("BURST_SLURM_VERSION_NUMBER"));

const fn decimal(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let mut value = 0;
    let mut i = 0;
    while i < bytes.len() {
        // A constant of the build script: it is all digits.
        #[allow(clippy::indexing_slicing)]
        let digit = bytes[i] - b'0';
        value = value * 10 + digit as u32;
        i += 1;
    }
    value
}

/// Called once by Slurm's loader, after slurmctld has daemonised. A failure here would be fatal to slurmctld: always 0.
#[unsafe(no_mangle)]
pub extern "C" fn init() -> c_int {
    guarded("init", || 0, startup::init)
}

/// Called by `scontrol reconfigure` on old Slurm only. The engine goes on: its threads outlive the call.
#[unsafe(no_mangle)]
pub extern "C" fn fini() -> c_int {
    0
}

/// `int job_submit(job_desc_msg_t *, uint32_t submit_uid, char **err_msg)`, slurm-22.05 … 26.05.
///
/// # Safety
/// Called by slurmctld with a valid job description and a place for a message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn job_submit(job: *mut c_void, uid: u32, err_msg: *mut *mut c_char) -> c_int {
    let fallback = || submit::after_panic(shim::Job::new(job), shim::Message::new(err_msg));
    guarded("job_submit", fallback, || submit::submit(shim::Job::new(job), uid, shim::Message::new(err_msg)))
}

/// `int job_modify(job_desc_msg_t *, job_record_t *, uint32_t submit_uid, char **err_msg)`; the last from 23.02 on. On
/// 22.05 the fourth register holds nothing of ours, so it is not looked at there.
///
/// # Safety
/// Called by slurmctld with a valid job description.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn job_modify(
    job: *mut c_void,
    _record: *mut c_void,
    uid: u32,
    err_msg: *mut *mut c_char,
) -> c_int {
    let message = match plugin_version >= 0x17_02_00 {
        true => shim::Message::new(err_msg),
        false => shim::Message::new(std::ptr::null_mut()),
    };
    let fallback = || {
        let message = match plugin_version >= 0x17_02_00 {
            true => shim::Message::new(err_msg),
            false => shim::Message::new(std::ptr::null_mut()),
        };
        modify::after_panic(uid, message)
    };
    guarded("job_modify", fallback, || modify::modify(shim::Job::new(job), uid, message))
}
