//! The engine: intake, gangs, journal, reconcile, collection and the HTTP listener.
//!
//! One task owns every gang ([`core`]); it decides with `burst_policy::gang` and lets effects run beside it. What it
//! needs of Slurm is the [`Controller`] trait, of a cloud `burst_cloud::Cloud`.
#![forbid(unsafe_code)]

mod alert;
pub mod asbb;
pub mod care;
pub mod collect;
pub mod controller;
pub mod core;
pub mod counts;
pub mod custody;
pub mod effects;
pub mod expire;
mod fault;
pub mod fresh;
pub mod gate;
pub mod health;
mod history;
pub mod host;
pub mod http;
pub mod identity;
pub mod journal;
pub mod keep;
mod listen;
pub mod memo;
pub mod people;
pub mod prepare;
pub mod rates;
mod record;
pub mod regions;
pub mod reload;
pub mod reserved;
pub mod shared;
mod shown;
pub mod start;
pub mod timings;
pub mod views;
mod world;

pub use controller::Controller;
pub use host::Host;
pub use shared::{Draft, Handle, Intake, LetterBox, Msg, Shared, Slot};
