//! Deterministic simulation: the real engine, journal and policy against a simulated Slurm, a simulated EC2, simulated
//! instances, users and crashes, under paused time and one seed. What DESIGN calls laws is checked as it runs.
//!
//! One seed is one story: [`run`] with the same seed and number of jobs always tells the same one, so a seed that breaks
//! a law is its own replay.
#![forbid(unsafe_code)]
// A simulation that meets what it does not expect has to stop loudly.
#![allow(clippy::expect_used, clippy::missing_panics_doc)]

mod abroad;
mod cloud;
mod crowd;
mod dice;
mod expire;
mod kills;
mod late;
mod laws;
mod life;
mod money;
mod nodes;
mod operators;
mod parts;
mod published;
mod reserves;
mod seat;
mod slurm;
mod story;
mod users;

pub use abroad::a_region_that_is_dropped;
pub use crowd::{Crowd, Served, serve};
pub use expire::a_template_that_nothing_uses;
pub use late::{a_job_that_comes_back_at_the_end, a_name_that_comes_up_at_the_end};
pub use operators::{a_full_disk, a_pause};
pub use story::{Told, run};
