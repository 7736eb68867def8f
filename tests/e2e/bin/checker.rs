//! `burst-checker DIR [--running] [--margin SECONDS]`: judges the evidence of a run. `burst-checker --bench DIR`: judges
//! figures. `burst-checker --storm DIR`: judges a crash storm.
#![forbid(unsafe_code)]

use burst_e2e::checker::{Evidence, Expect, check, figures, storm};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: burst-checker DIR [--running] [--margin SECONDS] | burst-checker --bench DIR | burst-checker --storm DIR
DIR holds jobs.txt, nodes.txt, slurmctld.log and audit.jsonl; for --bench summary.json and raw/; for --storm also what
burst-storm did. Exit codes: 0 all right, 1 violations, 2 usage.";

fn main() -> ExitCode {
    let mut expect = Expect::default();
    let mut dir = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--running" => expect.over = false,
            "--margin" => match args.next().and_then(|s| s.parse::<u64>().ok()) {
                Some(seconds) => expect.after_end_ms = seconds.saturating_mul(1000),
                None => return usage("--margin needs a number of seconds"),
            },
            "--bench" => {
                return args.next().map_or_else(|| usage("--bench needs a directory"), |d| bench(d.as_ref()));
            }
            "--storm" => {
                return args
                    .next()
                    .map_or_else(|| usage("--storm needs a directory"), |d| stormed(d.as_ref()));
            }
            other if other.starts_with('-') || dir.is_some() => {
                return usage(&format!("unknown argument {other}"));
            }
            other => dir = Some(other.to_owned()),
        }
    }
    let Some(dir) = dir else { return usage("no directory given") };
    let evidence = match Evidence::read(dir.as_ref()) {
        Ok(evidence) => evidence,
        Err(e) => return usage(&e),
    };
    let found = check(&evidence, &expect);
    for line in &found {
        println!("{line}");
    }
    println!(
        "checker: {} violations; {} instances, {} fleets, {} jobs",
        found.len(),
        evidence.instances.len(),
        evidence.fleet_calls,
        evidence.last_jobs().len()
    );
    if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A figure that its samples do not give is a violation, one over its limit is only told: machines differ.
fn bench(dir: &Path) -> ExitCode {
    let (wrong, over) = match figures::judge(dir) {
        Ok(found) => found,
        Err(e) => return usage(&e),
    };
    wrong.iter().for_each(|line| println!("{line}"));
    over.iter().for_each(|line| println!("over its limit: {line}"));
    println!("checker: {} violations in the figures, {} over their limits", wrong.len(), over.len());
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Kills by boundary, what is wrong, and the line that sums it up.
fn stormed(dir: &Path) -> ExitCode {
    let verdict = match storm::judge(dir) {
        Ok(verdict) => verdict,
        Err(e) => return usage(&e),
    };
    for (boundary, kills) in &verdict.kills {
        println!("{kills:>5} kills  {boundary}");
    }
    verdict.pending.iter().for_each(|line| println!("pending with a reason: {line}"));
    verdict.on_paper.iter().for_each(|line| println!("started by an older table: {line}"));
    verdict.purged.iter().for_each(|line| println!("a race of slurmd's own: {line}"));
    verdict.wrong().for_each(|line| println!("{line}"));
    println!(
        "checker: {} violations; {} jobs and {} starts were not saved when slurmctld was killed, {} jobs pending with a reason",
        verdict.wrong().count(),
        verdict.slurm_lost,
        verdict.starts_lost,
        verdict.pending.len()
    );
    println!("{}", verdict.line());
    if verdict.wrong().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage(why: &str) -> ExitCode {
    eprintln!("burst-checker: {why}\n{USAGE}");
    ExitCode::from(2)
}
