//! The simulator over the wire, by a client that knows nothing but HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![forbid(unsafe_code)]

mod api;
mod harness;
mod life;
mod regions;
mod reserve;
