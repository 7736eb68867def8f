//! `burst-demo`: slurm-burst on one machine. A private Slurm, a simulated EC2, five jobs, and a check of every claim.
//!
//! `KEEP=1` leaves everything running at the end.
#![forbid(unsafe_code)]

mod report;
mod story;
mod watch;

use report::Report;
use std::process::ExitCode;

fn main() -> ExitCode {
    let keep = std::env::var("KEEP").is_ok_and(|k| !k.is_empty() && k != "0");
    let mut report = Report::default();
    if let Err(e) = story::tell(&mut report, keep) {
        report.check("the demo ran to its end", Err(e));
    }
    report.finish()
}
