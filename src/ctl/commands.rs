//! One file a command.

pub mod alerts;
mod ec2;
pub mod explain;
pub mod man;
pub mod operate;
pub mod plan;
mod reservations;
pub mod slurm_conf;
pub mod status;
pub mod stop;
pub mod terminate;
pub mod timings;
pub mod validate;
pub mod view;

// Of what is over, and of prices.
pub mod export;
pub mod history;
pub mod past;
pub mod prices;
pub mod report;
