//! What a job did on a node: readers of /proc, /sys and cgroups, the run directory, the report, and its way to the controller.
//!
//! Shared by the SPANK plugin, which measures inside slurmstepd and reports in the epilog, and by burst-node, which sends what
//! an epilog could not. Readers take the root of the file system, so that tests can give them another; production says `/`.
//! Nothing here forks inside slurmstepd: munge is run by the epilog's own process and by burst-node only.
#![forbid(unsafe_code)]

pub mod file;
pub mod merge;
pub mod mpi;
pub mod place;
pub mod probe;
pub mod sampler;
pub mod send;
pub mod spool;
pub mod step;

pub use place::{NodeFile, Place};
pub use send::Verdict;

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix ms; 0 for a clock before 1970.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX))
}
