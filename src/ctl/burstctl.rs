//! `burstctl`: looks after the gangs of slurm-burst from any login node.
#![forbid(unsafe_code)]

mod cli;
mod cluster;
mod commands;
mod lives;
mod out;
mod people;
mod places;
mod report;
mod slurmconf;
mod wire;

fn main() -> std::process::ExitCode {
    cli::run()
}
