//! Job identifiers and array expressions of job_modify and submission.
#![no_main]
use burst_plan::jobid::{array_tasks, leading, parse};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(one) = parse(text) {
        assert_eq!(leading(text), Some(one.job), "the leading number is the job");
    }
    if let Ok((tasks, _)) = array_tasks(text) {
        assert!(!tasks.is_empty() && tasks.len() <= 100_000, "bounds");
    }
});
