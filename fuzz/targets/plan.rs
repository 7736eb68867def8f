//! A plan file, or a forged `BURST_PLAN`.
#![no_main]
use burst_plan::plan::{PLAN_BYTES, compact, parse, render_errors};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // What is no JSON to us is none to serde_json, and the other way round; but for the line SPANK sends.
    let theirs = serde_json::from_slice::<serde_json::Value>(bytes);
    match parse(bytes, PLAN_BYTES) {
        Ok(parsed) => {
            let same = theirs.as_ref().map_or_else(|e| e.to_string().contains("out of range"), |_| true);
            let other = bytes.starts_with(b"\xef\xbb\xbf") || bytes.starts_with(b"plan1 ") || bytes == b"plan1";
            assert!(same || other, "serde_json refuses it: {theirs:?}");
            let mut plan = parsed.plan;
            (plan.advisor_version, plan.ignored) = (None, Vec::new());
            let line = compact(&plan);
            let sent = parse(line.as_bytes(), PLAN_BYTES).unwrap_or_else(|e| panic!("{line} is not read: {e:?}"));
            assert_eq!(sent.plan, plan, "{line} says something else");
        }
        Err(e) => {
            assert!(!e.0.is_empty(), "an error without words");
            assert!(e.0.iter().all(|e| e.line > 0 && e.column > 0 && !e.text.is_empty()), "{e:?}");
            assert!(
                theirs.is_err() || !e.0.iter().any(|e| e.text.starts_with("not JSON")),
                "serde_json takes it: {e:?}"
            );
            assert_eq!(render_errors(&e, "f").lines().count(), e.0.len(), "one line each: {e:?}");
        }
    }
});
