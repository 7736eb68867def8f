//! What a ladder can cost, held against the limits of job, pool and site.

use super::{Rung, Site};
use crate::{config::Pool, cost, offers::Offer};
use burst_plan::{Geometry, Market, MicroUsd, Request};

/// What one node of a kind costs an hour, as far as it is known.
pub(super) fn hourly(pool: &Pool, offer: Offer, market: Market) -> Option<MicroUsd> {
    Some(cost::node_hourly(offer.price(market)?, pool.root_gib, offer.volume_price))
}

/// The most one node of a rung can be billed an hour: a spot price may rise to the on-demand price, which EC2 takes as the
/// bound where none is given.
///
/// # Errors
/// The price that is not known.
fn most_hourly(site: Site<'_>, pool: &Pool, rung: &Rung) -> Result<MicroUsd, String> {
    let region = rung.region.as_ref().unwrap_or(&site.config.aws.region);
    let kind = rung.instance_type.as_str();
    let offers = site.offers.at(&pool.name, rung.region.as_deref());
    let offer = offers.get(rung.block).copied().unwrap_or_default();
    let volume = offer.volume_price;
    if pool.root_gib.is_some() && volume.is_none() {
        return Err(format!("price of root volumes (ebs_gib_month) in {region}"));
    }
    let bound = offer.on_demand_price;
    let instance = match rung.market {
        Market::Spot => rung.max_price.map_or(bound, |m| Some(bound.map_or(m, |b| b.min(m)))),
        Market::OnDemand | Market::Mixed => bound,
    };
    instance.map(|i| cost::node_hourly(i, pool.root_gib, volume)).ok_or_else(|| match rung.market {
        Market::Spot => format!("price of {kind} (on-demand: what a spot price can rise to) in {region}"),
        _ => format!("price of {kind} ({}) in {region}", rung.market.word()),
    })
}

/// The most the job can cost over its whole ladder, held against every limit.
///
/// # Errors
/// The limit that is passed, or the price that is missing where there is a limit.
pub(super) fn costs(
    site: Site<'_>,
    pool: &Pool,
    request: &Request,
    job: &Geometry,
    ladder: &[Rung],
    notices: &mut Vec<String>,
) -> Result<Option<MicroUsd>, String> {
    let limits = [
        ("its own limit (--burst-max-cost or the plan's)", request.max_cost),
        ("the pool's max_cost_per_job", pool.max_cost_per_job),
        ("the site's max_cost_per_job", site.config.limits.max_cost_per_job),
    ];
    let limited = limits.iter().any(|(_, l)| l.is_some()) || request.max_cost_per_hour.is_some();
    let mut worst: Option<MicroUsd> = None;
    let mut unknown: Option<String> = None;
    for rung in ladder {
        let hourly = match most_hourly(site, pool, rung) {
            Ok(h) => h,
            Err(what) => {
                unknown.get_or_insert(what);
                continue;
            }
        };
        if let Some(most) = request.max_cost_per_hour
            && hourly.times(u64::from(rung.nodes)) > most
        {
            let gang = hourly.times(u64::from(rung.nodes));
            return Err(format!(
                "{} x {} cost USD {gang} an hour, the plan allows USD {most}; ask for fewer nodes or raise \
                 cost_constraints.max_cost_per_hour",
                rung.nodes, rung.instance_type
            ));
        }
        if let Some(time) = job.time_limit {
            let bound = cost::worst(hourly, rung.nodes, time, pool, site.kill_margin);
            let parts = crate::parts::of(site, pool, request, rung);
            let bound = bound.plus(crate::parts::worst_waiting(&parts, hourly, pool));
            worst = Some(worst.map_or(bound, |w| w.max(bound)));
        }
    }
    if let Some(what) = unknown {
        if limited {
            return Err(format!(
                "a cost limit is set, but no {what} is known; an administrator adds it to the price file"
            ));
        }
        return Ok(None);
    }
    let Some(time) = job.time_limit else {
        if limited {
            notices
                .push("its time limit is not known yet: the cost limit is checked before the launch".into());
        }
        return Ok(None);
    };
    for (whose, limit) in limits {
        if let (Some(limit), Some(worst)) = (limit, worst)
            && worst > limit
        {
            return Err(format!(
                "it can cost up to USD {worst} (time limit {time}, two attempts, boot and epilog included), over {whose} of \
                 USD {limit}; ask for less time or fewer nodes"
            ));
        }
    }
    Ok(worst)
}
