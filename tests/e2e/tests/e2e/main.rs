//! Whole clusters, end to end. Every test ends with the checker's verdict.
#![forbid(unsafe_code)]
// The workspace lets tests do this, but only in functions marked #[test]; helpers of tests are no different.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod abroad;
mod asbb;
mod boot;
mod cancel;
mod capacity;
mod capture;
mod config;
mod crash;
mod endpoint;
mod faces;
mod forged;
mod help;
mod holds;
mod known;
mod lost;
mod moto;
mod netns;
mod nodes;
mod operate;
mod orphan;
mod past;
mod plain;
mod rates;
mod record;
mod refusals;
mod requeue;
mod sim;
mod sizes;
mod vast;
