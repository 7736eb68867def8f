//! Nothing unwinds into C.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body`; a panic becomes a line for `report` and the value `fallback`.
///
/// State that a panic may have left half-changed is the caller's to judge: here it is the session of one
/// submission, which the fallback ends.
pub fn guarded<R>(fallback: R, report: impl FnOnce(&str), body: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) => {
            let text = format!("burst: internal error, please report it: {}", message(payload.as_ref()));
            // The payload's own destructor could panic; a few bytes are leaked instead.
            std::mem::forget(payload);
            let _ = catch_unwind(AssertUnwindSafe(|| report(&text)));
            fallback
        }
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panic without a message")
}
