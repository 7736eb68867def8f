//! A plan file, or a forged `BURST_PLAN`.
#![no_main]
use burst_plan::plan::{PLAN_BYTES, minify, parse, render_errors};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // What is no JSON to us is none to serde_json, and the other way round.
    let theirs = serde_json::from_slice::<serde_json::Value>(bytes);
    let small = minify(bytes);
    match (parse(bytes, PLAN_BYTES), parse(&small, PLAN_BYTES)) {
        (Ok(wide), Ok(thin)) => {
            let same = theirs.as_ref().map_or_else(|e| e.to_string().contains("out of range"), |_| true);
            assert!(same || bytes.starts_with(b"\xef\xbb\xbf"), "serde_json refuses it: {theirs:?}");
            assert_eq!(wide.plan, thin.plan, "white space changed the meaning");
            assert_eq!(wide.warnings.len(), thin.warnings.len(), "white space changed the warnings");
        }
        (Err(e), _) => {
            assert!(!e.0.is_empty(), "an error without words");
            assert!(e.0.iter().all(|e| e.line > 0 && e.column > 0 && !e.text.is_empty()), "{e:?}");
            assert!(
                theirs.is_err() || !e.0.iter().any(|e| e.text.starts_with("not JSON")),
                "serde_json takes it: {e:?}"
            );
            assert_eq!(render_errors(&e, "f").lines().count(), e.0.len(), "one line each: {e:?}");
        }
        (Ok(_), Err(e)) => panic!("minifying broke it: {e:?}"),
    }
});
