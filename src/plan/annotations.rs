//! Descriptions that travel in the script, the comment, the environment and constraints.
use crate::{Efa, Market, MicroUsd};
use serde::{Deserialize, Serialize};

/// What annotations say, merged; they describe a managed job and never make a job managed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// Instance types in order of preference.
    pub types: Option<Vec<String>>,
    /// Market asked for.
    pub market: Option<Market>,
    /// EFA wish.
    pub efa: Option<Efa>,
    /// Price bound for a spot instance-hour.
    pub max_spot_price: Option<MicroUsd>,
    /// The advisor's verdict.
    pub should_burst: Option<bool>,
    /// Placement group type asked for.
    pub placement: Option<String>,
    /// MPI processes, compared with the job's own geometry.
    pub processes: Option<u32>,
    /// Whole cost bound.
    pub max_cost: Option<MicroUsd>,
}
