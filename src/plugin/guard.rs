//! The one guard around every entry: a panic never crosses into C.

use crate::startup;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
};

/// After so many panics job_submit and job_modify no longer try: ours are refused, others pass.
pub const PANICS_MOST: u64 = 3;

/// Runs `body`; after a panic counts it, logs it and answers `fallback`, which must not panic (and is caught, too).
pub fn guarded<T: Default>(entry: &str, fallback: impl FnOnce() -> T, body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(cause) => {
            let what = cause
                .downcast_ref::<&str>()
                .map(|s| (*s).to_owned())
                .or_else(|| cause.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no text".to_owned());
            let panics = startup::shared().map_or(0, |s| s.panics.fetch_add(1, Ordering::Relaxed) + 1);
            crate::shim::log(
                0,
                &format!("a bug of slurm-burst in {entry} was caught ({what}), {panics} so far"),
            );
            catch_unwind(AssertUnwindSafe(fallback)).unwrap_or_default()
        }
    }
}
