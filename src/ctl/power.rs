//! `burst-power`: the cluster's ResumeProgram and SuspendProgram.
//!
//! Names of burst pools are slurm-burst's own business; slurmctld's power thread must not start anything for them.
//! They are filtered out here and told to the engine, which notices when Slurm wants a node that no living gang
//! backs. Everything else goes to the program the site used before.
#![forbid(unsafe_code)]

#[path = "power/ours.rs"]
mod ours;
#[path = "power/run.rs"]
mod run;
mod slurmconf;
mod wire;

fn main() -> std::process::ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    run::main(&args)
}
