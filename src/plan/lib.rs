//! Execution plans, annotations, job geometry, durations, money and hostlists.
//!
//! Shared by the controller plugin, the SPANK plugin and the command line, so that a plan means the same
//! everywhere. Everything here is pure: bytes in, values or explained errors out. Nothing panics on foreign input.
#![forbid(unsafe_code)]

pub mod annotations;
pub mod duration;
pub mod geometry;
pub mod hostlist;
pub mod jobid;
pub mod money;
pub mod options;
pub mod plan;
pub mod request;

pub use annotations::Annotations;
pub use duration::Seconds;
pub use geometry::Geometry;
pub use jobid::JobSpec;
pub use money::MicroUsd;
pub use options::Options;
pub use plan::{Parsed, Plan, PlanError, PlanErrors, Warning};
pub use request::Request;

use serde::{Deserialize, Serialize};

/// How instances are paid for (EC2 `Lifecycle`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Market {
    /// EC2 On-Demand.
    OnDemand,
    /// EC2 Spot.
    Spot,
    /// Part on-demand, part spot; refused by admission with a message.
    Mixed,
}

/// What the job asks of the Elastic Fabric Adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Efa {
    /// Only types with EFA, interfaces of type EFA.
    Required,
    /// EFA where the type has it.
    Preferred,
    /// Never EFA interfaces.
    Off,
}

/// What happens when no rung of the ladder has capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Else {
    /// Keep the job held and try again with back-off.
    Wait,
    /// Move the job to the pool's `local_partition`.
    Local,
    /// Cancel the job with a reason.
    Cancel,
}

impl Efa {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Preferred => "preferred",
            Self::Off => "off",
        }
    }
}

impl Else {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Local => "local",
            Self::Cancel => "cancel",
        }
    }
}

impl Market {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
            Self::Mixed => "mixed",
        }
    }
}

/// Whether two words are alike but for one letter: for "did you mean".
#[must_use]
pub fn near(a: &str, b: &str) -> bool {
    plan::read::near(a, b)
}
