//! Harness, checker and demo: whole clusters on one machine.
//!
//! [`Cluster`] starts a private Slurm (own munge, own ports, own state, an unprivileged SlurmUser) with the EC2
//! simulator beside whatever Slurm the machine already runs; [`checker`] judges what happened from text alone.
#![forbid(unsafe_code)]

pub mod bench;
pub mod checker;
pub mod cluster;
pub mod files;
pub mod proc;
pub mod relay;
pub mod show;
pub mod sim;
pub mod spec;
pub mod time;

pub use cluster::{Cluster, User};
pub use proc::Output;
pub use spec::{BlockSpec, ClusterSpec, Network};

/// What the harness returns: the error is a text for the person who reads the test's output.
pub type Res<T> = Result<T, String>;

/// Adds what was being done to an error.
pub trait Context<T> {
    /// Prefixes the error with `what`.
    ///
    /// # Errors
    /// The same error, longer.
    fn context(self, what: impl std::fmt::Display) -> Res<T>;
}

impl<T, E: std::fmt::Display> Context<T> for Result<T, E> {
    fn context(self, what: impl std::fmt::Display) -> Res<T> {
        self.map_err(|e| format!("{what}: {e}"))
    }
}
