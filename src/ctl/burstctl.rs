//! `burstctl`: looks after the gangs of slurm-burst from any login node.
#![forbid(unsafe_code)]

mod cli;
mod cluster;
mod commands;
mod out;
mod people;
mod places;
mod slurmconf;
mod wire;

fn main() -> std::process::ExitCode {
    cli::run()
}
