//! The `--burst-*` options and their transport in `BURST_OPTS`.
use crate::{Efa, Else, Market, MicroUsd, Seconds};
use serde::{Deserialize, Serialize};

/// Options a user gave; `None` was not given. See docs/WIRE.md for the transport form.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Options {
    /// `--burst[=POOL]`; `Some("")` is `--burst` without a name.
    pub pool: Option<String>,
    /// `--burst-types=a,b`.
    pub types: Option<Vec<String>>,
    /// `--burst-market`.
    pub market: Option<Market>,
    /// `--burst-efa`.
    pub efa: Option<Efa>,
    /// `--burst-max-cost=USD`.
    pub max_cost: Option<MicroUsd>,
    /// `--burst-wait=TIME`.
    pub wait: Option<Seconds>,
    /// `--burst-else`.
    pub otherwise: Option<Else>,
}
