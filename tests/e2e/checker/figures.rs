//! Whether target/bench/summary.json says what the raw samples beside it say, and what was promised.
//!
//! It shares nothing with the code that wrote the summary.

use crate::{Context, Res};
use serde_json::Value;
use std::path::Path;

/// Pointer into the summary, most it may be.
const LIMITS: [(&str, f64); 13] = [
    ("/submit_hook_us/4k/p50", 20.0),
    ("/submit_hook_us/4k/p99", 60.0),
    ("/foreign_job_hook_us/p50", 2.0),
    ("/submit_to_create_fleet_ms", 20.0),
    ("/calls_before_create_fleet", 1.0),
    ("/registered_to_release_ms", 100.0),
    ("/slurmctld_added_mb", 30.0),
    ("/so_mb/job_submit", 25.0),
    ("/so_mb/spank", 0.7),
    ("/sbatch_added_ms", 3.0),
    ("/capture/srun_added_ms", 2.0),
    ("/capture/sampler_cpu_percent", 0.1),
    ("/clean_build_s", 600.0),
];

/// Pointer into the summary, file of samples, hundredths of the samples, divisor.
const QUANTILES: [(&str, &str, usize, f64); 21] = [
    ("/submit_hook_us/4k/p50", "submit_hook_ns.4k", 50, 1e3),
    ("/submit_hook_us/4k/p99", "submit_hook_ns.4k", 99, 1e3),
    ("/submit_hook_us/64k/p50", "submit_hook_ns.64k", 50, 1e3),
    ("/submit_hook_us/64k/p99", "submit_hook_ns.64k", 99, 1e3),
    ("/foreign_job_hook_us/p50", "foreign_job_hook_ns", 50, 1e3),
    ("/foreign_job_hook_us/p99", "foreign_job_hook_ns", 99, 1e3),
    ("/submit_to_create_fleet_ms", "submit_to_create_fleet_ms", 50, 1.0),
    ("/calls_before_create_fleet", "calls_before_create_fleet", 100, 1.0),
    ("/registered_to_release_ms", "registered_to_release_ms", 50, 1.0),
    ("/submit_to_script_s/1", "submit_to_script_s.1", 50, 1.0),
    ("/submit_to_script_s/16", "submit_to_script_s.16", 50, 1.0),
    ("/submit_to_script_s/64", "submit_to_script_s.64", 50, 1.0),
    ("/floor_submit_to_script_s/1", "floor_submit_to_script_s.1", 50, 1.0),
    ("/floor_submit_to_script_s/16", "floor_submit_to_script_s.16", 50, 1.0),
    ("/floor_submit_to_script_s/64", "floor_submit_to_script_s.64", 50, 1.0),
    ("/so_mb/job_submit", "so_bytes.job_submit", 50, 1e6),
    ("/so_mb/spank", "so_bytes.spank", 50, 1e6),
    ("/capture/srun_ms/with", "srun_ms.with", 50, 1.0),
    ("/capture/srun_ms/without", "srun_ms.without", 50, 1.0),
    ("/capture/sampler_cpu_percent", "sampler_cpu_percent", 100, 1.0),
    ("/clean_build_s", "clean_build_s", 50, 1.0),
];

/// Files and the fewest samples they may have.
const COUNTS: [(&str, usize); 7] = [
    ("submit_hook_ns.4k", 1_000),
    ("submit_hook_ns.64k", 1_000),
    ("foreign_job_hook_ns", 1_000),
    ("submit_to_create_fleet_ms", 30),
    ("registered_to_release_ms", 30),
    ("srun_ms.with", 200),
    ("srun_ms.without", 200),
];

/// What is wrong with the figures below `dir`, and what is over its limit: (wrong, over).
///
/// # Errors
/// There are none.
pub fn judge(dir: &Path) -> Res<(Vec<String>, Vec<String>)> {
    let path = dir.join("summary.json");
    let text = std::fs::read_to_string(&path).context(path.display())?;
    let summary: Value = serde_json::from_str(&text).context(path.display())?;
    let samples = |key: &str| -> Vec<f64> {
        let text = std::fs::read_to_string(dir.join("raw").join(format!("{key}.json"))).unwrap_or_default();
        let mut all: Vec<f64> = serde_json::from_str(&text).unwrap_or_default();
        all.sort_by(f64::total_cmp);
        all
    };
    let at = |key: &str, hundredths: usize| {
        let all = samples(key);
        all.get((all.len() * hundredths).div_ceil(100).max(1) - 1).copied()
    };
    let difference = |a: &str, b: &str| Some(at(a, 50)? - at(b, 50)?);
    let mut wrong: Vec<String> = COUNTS
        .iter()
        .filter_map(|(key, fewest)| {
            let n = samples(key).len();
            (n < *fewest).then(|| format!("{key}: {n} samples, {fewest} are needed"))
        })
        .collect();
    let said = |pointer: &str| summary.pointer(pointer).and_then(Value::as_f64);
    let mut compare = |pointer: &str, own: Option<f64>| match (said(pointer), own) {
        (Some(said), Some(own)) if (said - own).abs() <= 0.001 => {}
        (Some(said), Some(own)) => wrong.push(format!("{pointer} says {said}, its samples {own}")),
        (None, _) => wrong.push(format!("{pointer} is not there")),
        (_, None) => wrong.push(format!("{pointer} has no samples")),
    };
    for (pointer, key, hundredths, divisor) in QUANTILES {
        compare(pointer, at(key, hundredths).map(|v| v / divisor));
    }
    compare("/capture/srun_added_ms", difference("srun_ms.with", "srun_ms.without"));
    compare("/sbatch_added_ms", difference("sbatch_ms.burst", "sbatch_ms.plain"));
    compare("/slurmctld_added_mb", difference("slurmctld_mb.burst", "slurmctld_mb.plain"));
    let mut over: Vec<String> = LIMITS
        .iter()
        .filter_map(|(pointer, most)| {
            let is = said(pointer)?;
            (is > *most).then(|| format!("{pointer} is {is}, promised is at most {most}"))
        })
        .collect();
    for n in crate::bench::SIZES {
        let (script, floor) = (format!("/submit_to_script_s/{n}"), format!("/floor_submit_to_script_s/{n}"));
        if let (Some(is), Some(floor)) = (said(&script), said(&floor))
            && is > floor + 1.0
        {
            over.push(format!("{script} is {is}, promised is at most {floor} + 1"));
        }
    }
    Ok((wrong, over))
}
