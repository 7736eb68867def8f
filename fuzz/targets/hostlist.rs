//! Hostlist expressions.
#![no_main]
use burst_plan::hostlist::{MAX_NAMES, compress, count, expand};
use std::collections::BTreeSet;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let counted = count(text);
    let Ok(names) = expand(text) else {
        assert!(counted.is_err(), "counted, but not expanded: {text}");
        return;
    };
    assert!(names.len() <= MAX_NAMES, "more names than allowed");
    assert_eq!(counted, Ok(names.len()), "counted otherwise than expanded");
    if names.len() > 2_000 {
        return;
    }
    let back = expand(&compress(&names));
    let set = |v: &[String]| v.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(back.as_deref().map(set), Ok(set(&names)), "{text} → {}", compress(&names));
});
