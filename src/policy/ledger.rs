//! What a life cost: every instance by the second, a minute at least, by the price table; volumes by the GiB-month.
//!
//! A price the table does not have is never invented: the figure is missing, and `missing` says why. Money is integer
//! micro-dollars, each figure rounded up once.

use crate::{
    cost::actual,
    life::{Cost, Life, Purpose, Ran},
    limits::{BILLED_LEAST_S, MONTH_HOURS},
    prices::Prices,
};
use burst_plan::{Market, MicroUsd};
use std::collections::BTreeSet;

#[cfg(test)]
mod tests;

/// Most reasons that are told.
const REASONS: usize = 16;

/// Seconds EC2 bills: begun ones whole, a minute at least; None while the end is not known.
#[must_use]
pub fn billed_s(ran: &Ran) -> Option<u64> {
    let ms = ran.ended_ms?.saturating_sub(ran.launched_ms);
    Some(ms.div_ceil(1_000).max(BILLED_LEAST_S))
}

/// What a volume costs in so many seconds, rounded up.
#[must_use]
pub fn volume(gib: u32, gib_month: MicroUsd, seconds: u64) -> MicroUsd {
    let exact = u128::from(gib_month.0) * u128::from(gib) * u128::from(seconds);
    MicroUsd(u64::try_from(exact.div_ceil(u128::from(MONTH_HOURS) * 3_600)).unwrap_or(u64::MAX))
}

/// Prices every instance of the life, and sums up. `root_gib` is the pool's size of root volumes.
pub fn price(life: &mut Life, prices: &Prices, root_gib: Option<u32>) {
    let home = life.region.clone();
    let mut missing: BTreeSet<String> = BTreeSet::new();
    let mut saved = Some(MicroUsd(0));
    for ran in &mut life.instances {
        let region = ran.region.clone().unwrap_or_else(|| home.clone());
        let gib_month = prices.ebs_gib_month.get(&region).copied();
        ran.billed_s = billed_s(ran);
        ran.root_gib = root_gib;
        let market = ran.market.unwrap_or(Market::OnDemand);
        ran.hourly = match ran.market {
            Some(m) => prices.hourly(&region, &ran.instance_type, m),
            None => None,
        };
        (ran.compute, ran.storage) = (None, None);
        let Some(seconds) = ran.billed_s else {
            missing.insert(format!("when {} ended is not known", ran.id));
            saved = None;
            continue;
        };
        match ran.hourly {
            Some(hourly) => ran.compute = Some(actual(hourly, seconds)),
            None => {
                let kind = &ran.instance_type;
                let word = market.word();
                missing.insert(format!("the price table has no {word} price of {kind} in {region}"));
            }
        }
        ran.storage = match (root_gib, gib_month) {
            (Some(gib), Some(price)) => Some(volume(gib, price, seconds)),
            (None, _) => {
                missing.insert("the size of the root volumes is not known (root_gib of the pool)".to_owned());
                None
            }
            (_, None) => {
                missing.insert(format!("the price table has no ebs_gib_month of {region}"));
                None
            }
        };
        if market == Market::Spot && ran.purpose == Purpose::Served {
            let full = prices.hourly(&region, &ran.instance_type, Market::OnDemand);
            saved = match (saved, full, ran.compute) {
                (Some(s), Some(full), Some(paid)) => {
                    Some(s.plus(MicroUsd(actual(full, seconds).0.saturating_sub(paid.0))))
                }
                _ => None,
            };
        }
    }
    let mut unknown = false;
    if life.unseen {
        missing.insert(
            "an answer of CreateFleet was lost: what it may have granted was ended, and is in no sum"
                .to_owned(),
        );
        unknown = true;
    }
    if life.instances_left_out > 0 {
        missing.insert(format!("{} instances are not listed and in no sum", life.instances_left_out));
        unknown = true;
    }
    let all = &life.instances;
    let served = |r: &&Ran| r.purpose == Purpose::Served;
    let compute = sum(all.iter().filter(served).map(|r| r.compute));
    let storage = sum(all.iter().filter(served).map(|r| r.storage));
    let wasted = sum(all.iter().filter(|r| !served(r)).map(Ran::cost)).filter(|_| !unknown);
    let total = compute.zip(storage).zip(wasted).map(|((c, s), w)| c.plus(s).plus(w));
    let known = all.iter().flat_map(|r| [r.compute, r.storage]).flatten().fold(MicroUsd(0), MicroUsd::plus);
    life.cost = Cost {
        compute,
        storage,
        wasted,
        total,
        known,
        spot_savings: saved,
        prices: prices.source.clone(),
        missing: missing.into_iter().take(REASONS).collect(),
    };
}

/// The sum, unless a part is missing.
fn sum(mut parts: impl Iterator<Item = Option<MicroUsd>>) -> Option<MicroUsd> {
    parts.try_fold(MicroUsd(0), |a, b| Some(a.plus(b?)))
}
