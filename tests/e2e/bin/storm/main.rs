//! `burst-storm KILLS [SEED]`: slurmctld is killed at the boundaries of every effect, again and again, and goes on each
//! time; then the checker judges what became of the jobs.
//!
//! Needs the plugin with fault points (`.ci/faults.sh`); which boundaries there are is the plugin's own word.
#![forbid(unsafe_code)]

mod load;
mod quota;
mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|a| a.parse::<u64>());
    let (kills, seed) = match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(kills)), None, None) => (kills, 1),
        (Some(Ok(kills)), Some(Ok(seed)), None) => (kills, seed),
        _ => {
            eprintln!("usage: burst-storm KILLS [SEED]");
            return ExitCode::from(2);
        }
    };
    match run::storm(kills, seed) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("crash-storm: {e}");
            ExitCode::FAILURE
        }
    }
}
