//! Configuration and pure decisions: ladder, gang state machine, error classes, cost guard.
//!
//! Nothing here does I/O or reads a clock: functions from values to values.
#![forbid(unsafe_code)]

pub mod admit;
pub mod asbb;
pub mod breaker;
pub mod budget;
pub mod classify;
pub mod config;
pub mod cost;
pub mod export;
pub mod gang;
pub mod history;
pub mod ledger;
pub mod life;
pub mod limits;
pub mod memory;
pub mod offers;
pub mod parts;
pub mod prices;
pub mod record;
pub mod reservation;
pub mod spending;
pub mod stops;
pub mod track;
pub mod types;
pub mod when;

pub use admit::{Admission, Refusal, Rung};
pub use config::{Config, ConfigError, Pool};
pub use offers::Offers;
pub use types::{TypeBook, TypeFacts};
