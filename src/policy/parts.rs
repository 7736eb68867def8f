//! A gang that one CreateFleet cannot hold, cut into parts: more nodes than a fleet takes, or nodes of two markets.
//!
//! Pure. Parts are launched one after another, the smallest first, so that as few instances as possible wait for the
//! others; only all of them together are a gang. What waiting costs is foretold from EC2's token buckets.

use crate::{
    admit::{Rung, Site},
    budget::Rate,
    config::{Config, Pool},
    cost,
    offers::Offer,
};
use burst_plan::{Market, MicroUsd, Request};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// What one CreateFleet of a gang launches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Where its names begin among the gang's; those that are critical come first.
    pub first: usize,
    /// Instances.
    pub nodes: u32,
    /// On-demand or spot.
    pub market: Market,
    /// USD of one instance-hour, where it is known.
    pub hourly: Option<MicroUsd>,
}

impl Part {
    /// A gang of one part.
    #[must_use]
    pub fn whole(rung: &Rung) -> Self {
        Self { first: 0, nodes: rung.nodes, market: rung.market, hourly: rung.hourly }
    }

    /// The rung of the whole gang, narrowed to this part: what is asked of EC2.
    #[must_use]
    pub fn of(&self, whole: &Rung) -> Rung {
        let max_price = whole.max_price.filter(|_| self.market == Market::Spot);
        Rung { nodes: self.nodes, market: self.market, hourly: self.hourly, max_price, ..whole.clone() }
    }
}

/// What is foretold of a gang in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Forecast {
    /// Seconds from the first part to the last, as EC2's bucket of launched instances lets them through.
    pub apart_s: u64,
    /// Instance-seconds that are paid for until the gang is whole.
    pub idle_s: u64,
    /// What they cost; None where a price is not known.
    pub usd: Option<MicroUsd>,
}

/// Nodes of a mixed gang that must not be interrupted: at least the first one (rank 0).
#[must_use]
pub fn critical(pool: &Pool, request: &Request) -> u32 {
    request.critical.unwrap_or(pool.critical_nodes).max(1)
}

/// Whether a gang of a pool may be launched in parts at all.
#[must_use]
pub fn may_split(config: &Config, pool: &Pool) -> bool {
    pool.max_nodes > config.limits.fleet_most || pool.markets_allowed.contains(&Market::Mixed)
}

/// What a node of a mixed gang costs an hour on average, rounded up.
#[must_use]
pub fn mean_hourly(
    nodes: u32,
    critical: u32,
    on_demand: Option<MicroUsd>,
    spot: Option<MicroUsd>,
) -> Option<MicroUsd> {
    let critical = critical.min(nodes);
    let all = on_demand?.times(u64::from(critical)).plus(match nodes - critical {
        0 => MicroUsd(0),
        rest => spot?.times(u64::from(rest)),
    });
    Some(MicroUsd(all.0.div_ceil(u64::from(nodes.max(1)))))
}

/// The parts of a gang, in the order in which they are launched: one where a single fleet can do it.
#[must_use]
pub fn of(site: Site<'_>, pool: &Pool, request: &Request, rung: &Rung) -> Vec<Part> {
    let offer = site.offers.pool(&pool.name).get(rung.block).copied().unwrap_or_default();
    cut(rung, critical(pool, request), site.config.limits.fleet_most, |market| hourly(pool, offer, market))
}

/// What one node costs an hour, as far as it is known.
fn hourly(pool: &Pool, offer: Offer, market: Market) -> Option<MicroUsd> {
    Some(cost::node_hourly(offer.price(market)?, pool.root_gib, offer.volume_price))
}

/// Cuts a gang by market and then by the size of a fleet. A remainder comes before the full fleets; of two that are equal
/// spot comes first, because it is refused more often.
#[must_use]
pub fn cut(
    rung: &Rung,
    critical: u32,
    fleet_most: u32,
    hourly: impl Fn(Market) -> Option<MicroUsd>,
) -> Vec<Part> {
    let most = fleet_most.max(1);
    let kinds = match rung.market {
        Market::Mixed => {
            let critical = critical.clamp(1, rung.nodes.max(1));
            vec![(Market::OnDemand, critical), (Market::Spot, rung.nodes.saturating_sub(critical))]
        }
        _ if rung.nodes <= most => return vec![Part::whole(rung)],
        one => vec![(one, rung.nodes)],
    };
    let mut parts = Vec::new();
    let mut first = 0usize;
    for (market, nodes) in kinds {
        let mut left = nodes;
        while left > 0 {
            let nodes = match left % most {
                0 => most,
                rest => rest,
            };
            let hourly = if market == rung.market { rung.hourly } else { hourly(market) };
            parts.push(Part { first, nodes, market, hourly });
            first += usize::try_from(nodes).unwrap_or(usize::MAX);
            left -= nodes;
        }
    }
    parts.sort_by_key(|p| (p.nodes, p.market != Market::Spot, p.first));
    parts
}

/// What is foretold of parts, from a full bucket of launched instances that nobody else draws from: what has begun has
/// the whole of what flows in.
#[must_use]
pub fn forecast(parts: &[Part], rate: Rate) -> Forecast {
    let mut sum = 0u64;
    let at: Vec<u64> = parts
        .iter()
        .map(|p| {
            sum += u64::from(p.nodes);
            sum.saturating_sub(u64::from(rate.size)).div_ceil(u64::from(rate.per_s.max(1)))
        })
        .collect();
    let apart_s = at.last().copied().unwrap_or(0);
    let mut out = Forecast { apart_s, idle_s: 0, usd: Some(MicroUsd(0)) };
    for (p, at) in parts.iter().zip(at) {
        let waits = apart_s - at;
        out.idle_s = out.idle_s.saturating_add(waits.saturating_mul(u64::from(p.nodes)));
        let price = p.hourly.map(|h| h.hourly_for(waits).times(u64::from(p.nodes)));
        out.usd = out.usd.zip(price).map(|(a, b)| a.plus(b));
    }
    out
}

/// The most that waiting for each other can cost beyond what a gang of one fleet costs: every part but the last for the
/// whole of `split_limit`, in each paid attempt.
#[must_use]
pub fn worst_waiting(parts: &[Part], hourly: MicroUsd, pool: &Pool) -> MicroUsd {
    let waiting: u64 =
        parts.split_last().map_or(0, |(_, rest)| rest.iter().map(|p| u64::from(p.nodes)).sum());
    let paid = u64::from(crate::limits::PAID_ATTEMPTS);
    hourly.hourly_for(pool.split_limit.0).times(waiting).times(paid)
}

/// Why a gang in parts cannot be finished, whatever EC2 has.
///
/// # Errors
/// What EC2's rates make impossible within the pool's `split_limit`, and what to do.
pub fn fits(parts: &[Part], rate: Rate, pool: &Pool) -> Result<Forecast, String> {
    let f = forecast(parts, rate);
    if parts.len() < 2 || f.apart_s <= pool.split_limit.0 {
        return Ok(f);
    }
    let nodes: u64 = parts.iter().map(|p| u64::from(p.nodes)).sum();
    let most = u64::from(rate.size) + pool.split_limit.0.saturating_mul(u64::from(rate.per_s));
    Err(format!(
        "{nodes} nodes take {} fleets, and EC2's rates ([rates] instances = {}/{}) let the last one through {} after the \
         first, over split_limit ({}); ask for {most} nodes at most",
        parts.len(),
        rate.size,
        rate.per_s,
        burst_plan::Seconds(f.apart_s),
        pool.split_limit
    ))
}

/// The parts in words: `500 + 1000`, `1 on-demand + 7 spot`.
#[must_use]
pub fn words(parts: &[Part]) -> String {
    let one = parts.first().map(|p| p.market);
    let same = parts.iter().all(|p| Some(p.market) == one);
    let word = |p: &Part| match same {
        true => p.nodes.to_string(),
        false => format!("{} {}", p.nodes, p.market.word()),
    };
    parts.iter().map(word).collect::<Vec<_>>().join(" + ")
}

/// What the job's owner is told beforehand.
#[must_use]
pub fn notice(parts: &[Part], f: &Forecast, pool: &Pool) -> String {
    let waits = match (f.apart_s, f.usd) {
        (0, _) => "EC2's rates hold them all".to_owned(),
        (s, Some(usd)) => {
            format!(
                "EC2's rates let the last one through about {} after the first, and until then {} instance-hours are paid \
                 for (USD {usd})",
                burst_plan::Seconds(s),
                hours(f.idle_s)
            )
        }
        (s, None) => format!(
            "EC2's rates let the last one through about {} after the first, and until then {} instance-hours are paid for",
            burst_plan::Seconds(s),
            hours(f.idle_s)
        ),
    };
    format!(
        "launched as {} fleets ({}), kept only if all are granted within {}, else given back: {waits}",
        parts.len(),
        words(parts),
        pool.split_limit
    )
}

/// Instance-hours of instance-seconds, with one digit.
#[must_use]
pub fn hours(instance_s: u64) -> String {
    let tenths = instance_s.div_ceil(360);
    format!("{}.{}", tenths / 10, tenths % 10)
}
