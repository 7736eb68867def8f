//! Whole clusters, end to end.
#![forbid(unsafe_code)]

mod plain;
