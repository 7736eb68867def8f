//! Slurm hostlist expressions.

/// Most names one expression may expand to.
pub const MAX_NAMES: usize = 65_536;
