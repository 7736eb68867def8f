//! Whole clusters, end to end. Every test ends with the checker's verdict.
#![forbid(unsafe_code)]

mod boot;
mod cancel;
mod capacity;
mod crash;
mod help;
mod netns;
mod plain;
mod refusals;
mod sim;
mod sizes;
