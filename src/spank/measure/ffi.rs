//! What only measuring needs of the C side (`c-shim/spank_shim.c`, declared in `include/burst_spank.h`), behind safe functions.

use crate::base::{Spank, value};
use std::ffi::{c_char, c_int, c_void};

mod c {
    use super::{c_char, c_int, c_void};

    unsafe extern "C" {
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

impl Spank {
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
}
