//! Plan × geometry × pool × limits = a ladder of rungs, or a refusal.
use crate::{
    config::{Config, Pool},
    offers::Offers,
    types::TypeBook,
};
use burst_plan::{Else, Geometry, Market, MicroUsd, Request, Seconds};
use serde::{Deserialize, Serialize};

mod bill;
mod ladder;
mod reserved;
#[cfg(test)]
mod tests;

/// One candidate launch: a homogeneous gang in one zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// Index into the pool's blocks.
    pub block: usize,
    /// EC2 type.
    pub instance_type: String,
    /// Zone name.
    pub zone: String,
    /// Subnet id.
    pub subnet: String,
    /// Market.
    pub market: Market,
    /// Whole gang's size on this hardware.
    pub nodes: u32,
    /// EFA interfaces each instance gets; 0 for none.
    pub efa: u32,
    /// USD of one instance-hour; None where unknown.
    pub hourly: Option<MicroUsd>,
    /// Per-instance bound for spot (`Overrides.MaxPrice`).
    pub max_price: Option<MicroUsd>,
    /// The capacity reservation it is launched into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<crate::reservation::Reserved>,
    /// Region; None: `aws.region`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// A job that may be launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Pool's name.
    pub pool: String,
    /// Non-empty, in the order they are tried.
    pub ladder: Vec<Rung>,
    /// The most the whole ladder's dearest rung can cost, all paid attempts included; None where a price is unknown and no limit is set.
    pub worst_cost: Option<MicroUsd>,
    /// What to do without capacity.
    pub otherwise: Else,
    /// How long to wait; None: for ever.
    pub wait: Option<Seconds>,
    /// Lines for the user: counts that differ, advice not followed, small job on huge nodes …
    pub notices: Vec<String>,
}

/// Why a job cannot be launched, for its owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{0}")]
pub struct Refusal(pub String);

/// What is to become of a submitted job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Hold, tag and launch.
    Launch(Box<Admission>),
    /// The plan says not to burst and the job sits in a partition that is no pool: leave it alone.
    Local(Vec<String>),
    /// Refuse with this message.
    Refuse(Refusal),
}

/// Facts a decision needs beside the job.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Configuration.
    pub config: &'a Config,
    /// Types.
    pub types: &'a TypeBook,
    /// What the pools' blocks are sold for.
    pub offers: &'a Offers,
    /// KillWait + OverTimeLimit of slurm.conf.
    pub kill_margin: Seconds,
}

/// Which pool manages a job, if any: by `--burst=POOL`, by any other burst option where the partition is a pool's or there
/// is only one pool, or by the partition.
///
/// # Errors
/// A refusal with what to write instead.
pub fn pool_for<'a>(
    config: &'a Config,
    request: &Request,
    has_burst_option: bool,
    partition: &str,
) -> Result<Option<&'a Pool>, Refusal> {
    // Slurm takes any bytes as a partition's name, and what is refused is logged.
    let shown = || burst_plan::clean(partition, 100);
    let parts = || partition.split(',').filter(|p| !p.is_empty());
    let by_partition = parts().find_map(|p| config.pool_of_partition(p));
    if parts().nth(1).is_some() && (by_partition.is_some() || has_burst_option) {
        let text = format!(
            "partition lists that name a burst pool are not supported yet (you asked for {}); name one partition",
            shown()
        );
        return Err(Refusal(text));
    }
    // The advisor says that the job should stay: outside of a pool it does, whatever else was asked for.
    if request.should_burst == Some(false) && by_partition.is_none() {
        return Ok(None);
    }
    let names = || config.pools.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Some(name) = &request.pool {
        let Some(pool) = config.pools.get(name) else {
            let name = burst_plan::clean(name, 64);
            return Err(Refusal(format!("there is no pool `{name}`; pools here are {}", names())));
        };
        return match by_partition {
            Some(other) if other.name != pool.name => Err(Refusal(format!(
                "--burst={name} and partition {} contradict each other: that partition is pool {}'s; leave one out",
                shown(),
                other.name
            ))),
            _ => Ok(Some(pool)),
        };
    }
    if by_partition.is_some() || !has_burst_option {
        return Ok(by_partition);
    }
    let mut pools = config.pools.values();
    match (pools.next(), pools.next()) {
        (Some(only), None) => Ok(Some(only)),
        _ => Err(Refusal(format!("which pool? write --burst=POOL with one of {}", names()))),
    }
}

/// An admission in one line, for logs and tables.
#[must_use]
pub fn summary(admission: &Admission, pool: &Pool) -> String {
    let cost =
        admission.worst_cost.map_or_else(|| "cost not known".to_owned(), |c| format!("at most USD {c}"));
    let Some(r) = admission.ladder.first() else {
        return format!("pool {}: nothing to launch", pool.name);
    };
    format!(
        "pool {}: {} x {} ({}, {}{}), {} places to try; {cost}; without capacity: {}",
        pool.name,
        r.nodes,
        r.instance_type,
        r.market.word(),
        r.zone,
        if r.efa > 0 { ", EFA" } else { "" },
        admission.ladder.len(),
        admission.otherwise.word()
    )
}

/// Decides on a job of `pool`. Pure; called in job_submit, by burstctl and by the engine.
#[must_use]
pub fn admit(site: Site<'_>, pool: &Pool, request: &Request, geometry: &Geometry) -> Verdict {
    match ladder::admission(site, pool, request, geometry) {
        Ok(a) => Verdict::Launch(Box::new(a)),
        Err(text) => Verdict::Refuse(Refusal(text)),
    }
}
