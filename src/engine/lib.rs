//! The engine: intake, gangs, journal, reconcile, collection and the HTTP listener.
//!
//! One task owns every gang ([`core`]); it decides with `burst_policy::gang` and lets effects run beside it. What it
//! needs of Slurm is the [`Controller`] trait, of a cloud `burst_cloud::Cloud`.
#![forbid(unsafe_code)]

pub mod collect;
pub mod controller;
pub mod core;
pub mod counts;
pub mod effects;
pub mod host;
pub mod http;
pub mod journal;
pub mod prepare;
mod record;
pub mod shared;
pub mod start;
pub mod timings;
pub mod views;
mod world;

pub use controller::Controller;
pub use host::Host;
pub use shared::{Handle, Intake, LetterBox, Msg, Shared, Slot};
