//! Prices from elsewhere: AWS's price list, our own file, a table of comma-separated values.

use super::Prices;
use burst_plan::{Market, MicroUsd};
use serde::{Deserialize, Deserializer, de::Error};
use std::collections::BTreeMap;

mod aws;

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON: AWS's price list (the bulk file of a region, or `aws pricing get-products`), or our own file.
    Json,
    /// `region,type,market,usd_per_hour`, a line each; `REGION,ebs_gib_month,,USD` for root volumes.
    Csv,
}

/// Something wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// 1-based; 0 where no line applies.
    pub line: usize,
    /// What, and what to write instead.
    pub text: String,
}

/// What a text says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Import {
    /// The prices; `source` is what the text says of itself, empty where it says nothing.
    pub prices: Prices,
    /// Entries that say nothing about instances on Linux, or carry no price.
    pub passed_over: usize,
}

/// Most errors told at once.
const MOST_WRONG: usize = 50;

/// Characters of one of them.
pub(super) const MOST_TEXT: usize = 400;

/// Reads a text.
///
/// # Errors
/// All that is wrong in a table (up to 50); the first that is wrong in JSON.
pub fn import(text: &str, form: Form) -> Result<Import, Vec<Wrong>> {
    // Whatever a reader says repeats words of a foreign text: serde_json the names of keys.
    let clean = |w: Wrong| Wrong { text: burst_plan::clean(&w.text, MOST_TEXT), ..w };
    let mut read = match form {
        Form::Csv => csv(text),
        Form::Json => json(text).map_err(|w| vec![w]),
    }
    .map_err(|all| all.into_iter().map(clean).collect::<Vec<_>>())?;
    read.prices.source = burst_plan::clean(&read.prices.source, super::MOST_SOURCE);
    if read.prices.instance.values().all(BTreeMap::is_empty) && read.prices.ebs_gib_month.is_empty() {
        let text = "no price in it that can be used: wanted are on-demand or spot prices of EC2 instances (Linux, shared tenancy)";
        return Err(vec![Wrong { line: 0, text: text.into() }]);
    }
    Ok(read)
}

/// An amount that is a price: more than nothing, rounded up to a micro-dollar. AWS writes ten digits after the point.
pub(super) fn price(text: &str) -> Result<MicroUsd, String> {
    let text = text.trim();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let (head, tail) = part.split_at_checked(6).unwrap_or((part, ""));
    if !tail.bytes().all(|b| b.is_ascii_digit()) {
        return MicroUsd::parse(text);
    }
    let short = if head.is_empty() { whole.to_owned() } else { format!("{whole}.{head}") };
    let up = MicroUsd(u64::from(tail.bytes().any(|b| b != b'0')));
    // Once more: rounded up, it may be more than an amount can be.
    match MicroUsd::parse(&MicroUsd::parse(&short)?.plus(up).to_string())? {
        MicroUsd(0) => {
            Err("nothing costs 0.00 USD an hour: leave the line out where no price is known".into())
        }
        price => Ok(price),
    }
}

/// `us-east-2`, `us-gov-west-1`.
fn is_region(text: &str) -> bool {
    crate::config::is_region(text)
}

/// `hpc7a.96xlarge`, `u-6tb1.112xlarge`.
fn is_type(text: &str) -> bool {
    let word = |w: &str| {
        !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= 64 && text.split_once('.').is_some_and(|(family, size)| word(family) && word(size))
}

/// The row that prices root volumes.
const EBS: &str = "ebs_gib_month";

fn csv(text: &str) -> Result<Import, Vec<Wrong>> {
    let mut out = Import::default();
    let mut wrong = Vec::new();
    let mut lines: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for (i, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let number = i + 1;
        let cells: Vec<&str> = line.split(',').map(|c| c.trim().trim_matches('"').trim()).collect();
        let head = cells.first().is_some_and(|c| c.eq_ignore_ascii_case("region"));
        if line.trim().is_empty() || line.trim_start().starts_with('#') || (head && lines.is_empty()) {
            continue;
        }
        match row(&cells) {
            Ok((region, kind, market, usd)) => {
                let key = (region.to_owned(), kind.to_owned(), market.to_owned());
                if let Some(first) = lines.insert(key, number) {
                    wrong.push(Wrong {
                        line: number,
                        text: format!(
                            "{kind} {market} in {region} is priced in line {first} already: keep one"
                        ),
                    });
                    continue;
                }
                if kind == EBS {
                    out.prices.ebs_gib_month.insert(region.to_owned(), usd);
                } else {
                    let types = out.prices.instance.entry(region.to_owned()).or_default();
                    types.entry(kind.to_owned()).or_default().insert(market.to_owned(), usd);
                }
            }
            Err(text) => wrong.push(Wrong { line: number, text }),
        }
        if wrong.len() >= MOST_WRONG {
            break;
        }
    }
    if wrong.is_empty() { Ok(out) } else { Err(wrong) }
}

fn row<'a>(cells: &[&'a str]) -> Result<(&'a str, &'a str, &'a str, MicroUsd), String> {
    let [region, kind, market, usd] = *cells else {
        return Err(format!(
            "{} columns: write four, region,type,market,usd_per_hour, such as us-east-2,hpc7a.96xlarge,on-demand,7.20",
            cells.len()
        ));
    };
    let shown = |t: &str| burst_plan::clean(t, 40);
    if !is_region(region) {
        return Err(format!("`{}` is not a region: write one such as us-east-2", shown(region)));
    }
    if kind == EBS {
        if !market.is_empty() {
            return Err(format!("{EBS} has no market: write {region},{EBS},,0.08"));
        }
    } else if !is_type(kind) {
        return Err(format!("`{}` is not an instance type: write one such as hpc7a.96xlarge", shown(kind)));
    } else if market != Market::OnDemand.word() && market != Market::Spot.word() {
        return Err(format!("`{}` is not a market: write on-demand or spot", shown(market)));
    }
    Ok((region, kind, market, price(usd)?))
}

/// Which JSON it is, by its keys.
#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    regions: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    products: Option<serde::de::IgnoredAny>,
    #[serde(default, rename = "PriceList")]
    list: Option<serde::de::IgnoredAny>,
}

fn at(e: &serde_json::Error) -> Wrong {
    // serde_json ends its messages with ` at line 3 column 7`: the line is told apart.
    let text = e.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(t, _)| t);
    Wrong { line: e.line(), text: text.to_owned() }
}

fn json(text: &str) -> Result<Import, Wrong> {
    let kind: Kind = serde_json::from_str(text).map_err(|e| at(&e))?;
    match kind {
        Kind { regions: Some(_), .. } => own(text),
        Kind { products: Some(_), .. } => aws::bulk(text),
        Kind { list: Some(_), .. } => aws::products(text),
        _ => Err(Wrong {
            line: 1,
            text: "neither AWS's price list (`products` and `terms`, or `PriceList`) nor our own file (`source` and `regions`)"
                .into(),
        }),
    }
}

/// An amount, checked where it stands, so that an error knows its line.
#[derive(Debug, Clone, Copy)]
struct Usd(MicroUsd);

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        price(&String::deserialize(d)?).map(Self).map_err(D::Error::custom)
    }
}

macro_rules! checked {
    ($name:ident, $test:expr, $what:literal) => {
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        struct $name(String);
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                let good: fn(&str) -> bool = $test;
                if good(&text) {
                    return Ok(Self(text));
                }
                Err(D::Error::custom(format!("`{}` is not {}", burst_plan::clean(&text, 40), $what)))
            }
        }
    };
}

checked!(RegionName, is_region, "a region: write one such as us-east-2");
checked!(TypeName, is_type, "an instance type: write one such as hpc7a.96xlarge");
checked!(MarketName, |t| t == "on-demand" || t == "spot", "a market: write on-demand or spot");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    source: String,
    regions: BTreeMap<RegionName, OwnRegion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnRegion {
    #[serde(default)]
    ebs_gib_month: Option<Usd>,
    #[serde(default)]
    types: BTreeMap<TypeName, BTreeMap<MarketName, Usd>>,
}

fn own(text: &str) -> Result<Import, Wrong> {
    let file: Own = serde_json::from_str(text).map_err(|e| at(&e))?;
    let mut prices = Prices { source: file.source, ..Prices::default() };
    for (region, r) in file.regions {
        if let Some(usd) = r.ebs_gib_month {
            prices.ebs_gib_month.insert(region.0.clone(), usd.0);
        }
        // A type without a market has no price.
        let types = r.types.into_iter().filter(|(_, markets)| !markets.is_empty()).map(|(kind, markets)| {
            (kind.0, markets.into_iter().map(|(m, usd)| (m.0, usd.0)).collect::<BTreeMap<_, _>>())
        });
        prices.instance.insert(region.0, types.collect());
    }
    Ok(Import { prices, passed_over: 0 })
}

#[cfg(test)]
mod tests;
