//! Sample plans of both dialects, good and bad, and what is said of each: `tests/plans/*/NAME.txt` beside `NAME.json`.
//! After a wanted change: `BLESS=1 cargo test -p burst-plan --test plans`, and read the difference.

// Helpers of tests are tests.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

use burst_plan::plan::{PLAN_BYTES, compact, parse, render_errors};
use std::{fmt::Write, fs, path::Path};

fn said(name: &str, bytes: &[u8]) -> Result<String, String> {
    match parse(bytes, PLAN_BYTES) {
        Ok(p) => {
            let mut text = serde_json::to_string_pretty(&p.plan).expect("writes");
            for w in &p.warnings {
                write!(text, "\n{}: {}", w.path, w.text).expect("writes");
            }
            Ok(text + "\n")
        }
        Err(e) => Err(render_errors(&e, name) + "\n"),
    }
}

fn check(folder: &str, good: bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans").join(folder);
    let (mut seen, mut differ) = (0, Vec::new());
    for entry in fs::read_dir(&folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        seen += 1;
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let bytes = fs::read(&path).expect("the plan");
        let said = said(&name, &bytes);
        assert_eq!(said.is_ok(), good, "{name}: {said:?}");
        let (Ok(text) | Err(text)) = said;
        assert!(!text.contains('\u{1b}'), "{name}: what a plan says must not reach a terminal as it is");
        let golden = path.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&golden, &text).expect("writes");
        }
        let want = fs::read_to_string(&golden).unwrap_or_default();
        if want != text {
            differ.push(format!("--- {name}\nwanted:\n{want}\nis:\n{text}"));
        }
        if good {
            // What SPANK sends of it is all that it says to slurmctld.
            let mut plan = parse(&bytes, PLAN_BYTES).expect("good").plan;
            (plan.advisor_version, plan.ignored) = (None, Vec::new());
            let sent = compact(&plan);
            assert_eq!(parse(sent.as_bytes(), PLAN_BYTES).map(|p| p.plan), Ok(plan), "{name}: {sent}");
        }
    }
    assert!(seen >= 8, "only {seen} plans in {}", folder.display());
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn good_plans() {
    check("good", true);
}

#[test]
fn bad_plans() {
    check("bad", false);
}

#[test]
fn a_plan_of_ten_mebibytes_is_not_read() {
    let e = parse(&vec![b'['; 10 << 20], PLAN_BYTES).expect_err("too large");
    assert_eq!(
        render_errors(&e, "plan.json"),
        "plan.json:1:1: plan: 10485760 bytes; at most 65536 are taken ([limits] plan_bytes)"
    );
}

#[test]
fn warnings_are_few_however_many_keys_are_unknown() {
    let keys: Vec<String> = (0..200).map(|i| format!("\"key{i}\":1")).collect();
    let text = format!("{{\"should_burst\":false,{}}}", keys.join(","));
    let warnings = parse(text.as_bytes(), PLAN_BYTES).expect("reads").warnings;
    assert_eq!(warnings.len(), 21);
    assert!(warnings[20].text.contains("and 180 more"), "{:?}", warnings[20]);
}
