//! The price table: USD per hour by region, type and market.
use burst_plan::{Market, MicroUsd};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

mod import;
mod merge;

pub use import::{Form, Import, Wrong, import};
pub use merge::{Change, merge};

/// Characters of a table's `source`: it stands beside every cost.
const MOST_SOURCE: usize = 200;

/// region → type → market ("on-demand", "spot") → price of one instance-hour. `ebs_gib_month` prices root volumes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Prices {
    /// Instance prices.
    pub instance: BTreeMap<String, BTreeMap<String, BTreeMap<String, MicroUsd>>>,
    /// USD per GiB-month of root volume, by region.
    pub ebs_gib_month: BTreeMap<String, MicroUsd>,
    /// Where the figures come from, shown with every cost.
    pub source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    source: String,
    regions: BTreeMap<String, Region>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Region {
    #[serde(default)]
    ebs_gib_month: Option<String>,
    types: BTreeMap<String, BTreeMap<String, String>>,
}

impl Prices {
    /// Reads the JSON price file
    /// (`{"source":"…","regions":{"us-east-2":{"ebs_gib_month":"0.08","types":{"hpc7a.96xlarge":{"on-demand":"7.20"}}}}}`).
    /// Amounts are texts, so that they arrive as they were written.
    ///
    /// # Errors
    /// What is wrong, with its path.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text).map_err(|e| burst_plan::clean(&e, import::MOST_TEXT))
    }

    fn read(text: &str) -> Result<Self, String> {
        let file: File = serde_json::from_str(text).map_err(|e| format!("prices: {e}"))?;
        let mut out = Self { source: burst_plan::clean(&file.source, MOST_SOURCE), ..Self::default() };
        for (region, r) in file.regions {
            if let Some(price) = &r.ebs_gib_month {
                let price =
                    MicroUsd::parse(price).map_err(|e| format!("regions.{region}.ebs_gib_month: {e}"))?;
                out.ebs_gib_month.insert(region.clone(), price);
            }
            let types = out.instance.entry(region.clone()).or_default();
            for (kind, markets) in r.types {
                for (market, price) in markets {
                    let path = format!("regions.{region}.types.{kind}.{market}");
                    if market != "on-demand" && market != "spot" {
                        return Err(format!("{path}: a market is on-demand or spot"));
                    }
                    let price = MicroUsd::parse(&price).map_err(|e| format!("{path}: {e}"))?;
                    types.entry(kind.clone()).or_default().insert(market, price);
                }
            }
        }
        Ok(out)
    }

    /// The file's text, as [`Prices::parse`] reads it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let regions: BTreeSet<&String> = self.instance.keys().chain(self.ebs_gib_month.keys()).collect();
        let mut out = serde_json::Map::new();
        for region in regions {
            let mut one = serde_json::Map::new();
            if let Some(price) = self.ebs_gib_month.get(region) {
                one.insert("ebs_gib_month".into(), price.to_string().into());
            }
            let types = self.instance.get(region).into_iter().flatten();
            let types = types.map(|(kind, markets)| {
                let markets = markets.iter().map(|(m, p)| (m.clone(), p.to_string().into()));
                (kind.clone(), serde_json::Value::Object(markets.collect()))
            });
            one.insert("types".into(), serde_json::Value::Object(types.collect()));
            out.insert(region.clone(), one.into());
        }
        format!("{:#}\n", serde_json::json!({"source": self.source, "regions": out}))
    }

    /// Price of one instance-hour; None where unknown.
    #[must_use]
    pub fn hourly(&self, region: &str, instance_type: &str, market: Market) -> Option<MicroUsd> {
        self.instance.get(region)?.get(instance_type)?.get(market.word()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_explains() {
        let text = r#"{"source":"synthetic","regions":{"us-east-2":{"types":{"hpc7a.96xlarge":{"on-demand":"7.20"}}}}}"#;
        let p = Prices::parse(text).expect("reads");
        assert_eq!(p.hourly("us-east-2", "hpc7a.96xlarge", Market::OnDemand), Some(MicroUsd(7_200_000)));
        assert_eq!(p.hourly("us-east-2", "hpc7a.96xlarge", Market::Spot), None);
        let e = Prices::parse(&text.replace("7.20", "-1")).expect_err("negative");
        assert!(e.contains("regions.us-east-2.types.hpc7a.96xlarge.on-demand"), "{e}");
    }
}
