//! The execution plan in both dialects, normalised.
use crate::{Efa, Market, MicroUsd, Seconds};
use serde::{Deserialize, Serialize};

/// A plan in our own types; both dialects map onto it. Advice, within what the pool allows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// The advisor's verdict; absent in neither dialect.
    pub should_burst: bool,
    /// Instance types in order of preference.
    pub types: Vec<String>,
    /// Nodes the advisor had in mind; compared with the job's own geometry.
    pub nodes: Option<u32>,
    /// MPI processes the advisor had in mind.
    pub processes: Option<u32>,
    /// Market asked for.
    pub market: Option<Market>,
    /// USD per instance-hour (never a fleet's total); 0 in dialect A means none.
    pub max_spot_price: Option<MicroUsd>,
    /// EFA wish.
    pub efa: Option<Efa>,
    /// `cluster`, `partition`, `spread`.
    pub placement: Option<String>,
    /// Zones asked for.
    pub zones: Vec<String>,
    /// Bound on the whole job's cost.
    pub max_cost: Option<MicroUsd>,
    /// Bound on the gang's hourly cost.
    pub max_cost_per_hour: Option<MicroUsd>,
    /// Bound on duration.
    pub max_duration: Option<Seconds>,
    /// Expected run time.
    pub expected_runtime: Option<Seconds>,
    /// Version text of the advisor.
    pub advisor_version: Option<String>,
    /// Fields a user may name but the site decides (subnets, template, AMI …): named here so that a warning can say so.
    pub ignored: Vec<String>,
}

/// Something worth telling that does not stop the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// JSON path such as `instance_specification.instance_types[0]`.
    pub path: String,
    /// What and what to do.
    pub text: String,
}

/// One thing wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{path} (line {line}, column {column}): {text}")]
pub struct PlanError {
    /// JSON path.
    pub path: String,
    /// 1-based.
    pub line: u32,
    /// 1-based.
    pub column: u32,
    /// What is wrong and what is allowed.
    pub text: String,
}

/// All errors of one plan, at least one, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanErrors(pub Vec<PlanError>);

/// A plan and what to tell its author.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The plan.
    pub plan: Plan,
    /// Unknown keys and the like.
    pub warnings: Vec<Warning>,
}

/// Most bytes a plan may have unless the site says otherwise (`[limits] plan_bytes`).
pub const PLAN_BYTES: usize = 64 * 1024;

/// Reads a plan of either dialect. `limit` is the site's `plan_bytes`.
///
/// # Errors
/// Every problem found, each with path, position and what is allowed.
pub fn parse(bytes: &[u8], limit: usize) -> Result<Parsed, PlanErrors> {
    let _ = (bytes, limit);
    Ok(Parsed { plan: Plan::default(), warnings: Vec::new() })
}
