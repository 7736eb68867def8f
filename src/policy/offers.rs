//! What a pool's blocks are sold for: types and prices looked up once, not for every job that is submitted.

use crate::{config::Config, prices::Prices, types::TypeBook};
use burst_plan::{Market, MicroUsd};
use std::collections::BTreeMap;

/// One block of a pool on the market. A type that is not known counts as sold: EC2 has the last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offer {
    /// Sold on demand.
    pub on_demand: bool,
    /// Sold as spot.
    pub spot: bool,
    /// USD of one instance-hour on demand.
    pub on_demand_price: Option<MicroUsd>,
    /// USD of one instance-hour as spot.
    pub spot_price: Option<MicroUsd>,
    /// USD of a GiB-month of root volume in the Region.
    pub volume_price: Option<MicroUsd>,
}

impl Offer {
    /// Whether the market has it.
    #[must_use]
    pub fn sold(&self, market: Market) -> bool {
        match market {
            Market::Spot => self.spot,
            Market::OnDemand => self.on_demand,
            Market::Mixed => self.spot && self.on_demand,
        }
    }

    /// Price of one instance-hour, without its volume; a mixed market has none.
    #[must_use]
    pub fn price(&self, market: Market) -> Option<MicroUsd> {
        match market {
            Market::OnDemand => self.on_demand_price,
            Market::Spot => self.spot_price,
            Market::Mixed => None,
        }
    }
}

/// Offers of every pool, block by block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offers {
    /// In `aws.region`, by pool.
    here: BTreeMap<String, Vec<Offer>>,
    /// By (pool, further Region).
    abroad: BTreeMap<(String, String), Vec<Offer>>,
}

impl Offers {
    /// Looks everything up.
    #[must_use]
    pub fn of(config: &Config, types: &TypeBook, prices: &Prices) -> Self {
        let offer = |kind: &str, region: &String| {
            let facts = types.get(kind);
            Offer {
                on_demand: facts.is_none_or(|f| f.on_demand),
                spot: facts.is_none_or(|f| f.spot),
                on_demand_price: prices.hourly(region, kind, Market::OnDemand),
                spot_price: prices.hourly(region, kind, Market::Spot),
                volume_price: prices.ebs_gib_month.get(region).copied(),
            }
        };
        let pool =
            |p: &crate::Pool, r: &String| p.blocks.iter().map(|b| offer(&b.instance_type, r)).collect();
        let home = &config.aws.region;
        let here = config.pools.values().map(|p| (p.name.clone(), pool(p, home))).collect();
        let far = config.pools.values().flat_map(|p| p.regions.iter().map(move |a| (p, &a.region)));
        Self { here, abroad: far.map(|(p, r)| ((p.name.clone(), r.clone()), pool(p, r))).collect() }
    }

    /// One pool's in `aws.region`; empty for a pool that is not there.
    #[must_use]
    pub fn pool(&self, name: &str) -> &[Offer] {
        self.here.get(name).map_or(&[], Vec::as_slice)
    }

    /// One pool's in a Region; None: `aws.region`.
    #[must_use]
    pub fn at(&self, name: &str, region: Option<&str>) -> &[Offer] {
        match region {
            None => self.pool(name),
            Some(r) => self.abroad.get(&(name.to_owned(), r.to_owned())).map_or(&[], Vec::as_slice),
        }
    }
}
