//! Job identifiers and array expressions of job_modify and submission.
#![no_main]
use burst_plan::jobid::{array_tasks, leading, parse, parse_list};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(one) = parse(text) {
        assert_eq!(leading(text), Some(one.job), "the leading number is the job");
    }
    if let Ok(list) = parse_list(text) {
        let tasks: usize = list.iter().map(|j| j.tasks.len()).sum();
        assert!(list.len() <= 1_000 && tasks <= 200_000, "bounds");
    }
    if let Ok((tasks, _)) = array_tasks(text) {
        assert!(!tasks.is_empty() && tasks.len() <= 100_000, "bounds");
    }
});
