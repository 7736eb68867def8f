//! What nodes report of a job, and the record that is made of it: any number can be forged.
#![no_main]
use burst_plan::report::NodeReport;
use burst_policy::life::{Life, Ran, SlurmFacts};
use burst_policy::record::{comment, performance, reconciliation};
use serde_json::Value;

/// Nothing that is counted is less than nothing; what is no number became null.
fn sane(v: &Value) -> bool {
    match v {
        Value::Number(n) => n.as_f64().is_some_and(|n| n.is_finite() && n >= 0.0),
        Value::Array(a) => a.iter().all(sane),
        Value::Object(o) => o.values().all(sane),
        _ => true,
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(reports) = serde_json::from_slice::<Vec<NodeReport>>(bytes) else { return };
    // The engine refuses such a report before it is kept.
    let busy = |r: &NodeReport| r.steps.iter().filter_map(|s| s.gpu.as_ref()?.busy).all(|b| (0.0..=1.0).contains(&b));
    if !reports.iter().all(busy) {
        return;
    }
    let ran = |r: &NodeReport| Ran { id: "i-1".into(), node: r.node.clone(), ..Ran::default() };
    let mut life = Life {
        job: 12,
        instances: reports.iter().map(ran).collect(),
        slurm: SlurmFacts { start: Some(1_764_107_000), end: Some(1_764_107_060), ..SlurmFacts::default() },
        reports,
        ..Life::default()
    };
    let record = performance(&life);
    assert!(sane(&record), "{record:#}");
    assert!(sane(&reconciliation(&life, 1_764_107_100)));
    assert_eq!(comment(&life).lines().count(), 1, "a comment is one line");
    // What is kept is read back as the same.
    let kept: Life = serde_json::from_value(serde_json::to_value(&life).expect("JSON")).expect("its own JSON");
    life.slurm.end = None;
    let _ = performance(&life);
    assert_eq!(performance(&kept), record);
});
