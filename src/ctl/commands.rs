//! One file a command.

pub mod explain;
mod life;
pub mod man;
pub mod plan;
pub mod slurm_conf;
pub mod status;
pub mod stop;
pub mod terminate;
pub mod timings;
pub mod validate;
pub mod view;
