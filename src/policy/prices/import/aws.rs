//! AWS's price list (AWS Price List Bulk API, `offers/v1.0/aws/AmazonEC2/…/index.json`, and the `GetProducts` answer of
//! `aws pricing get-products`). Of its hundreds of attributes only these are read: `regionCode`, `instanceType`,
//! `operatingSystem`, `tenancy`, `capacitystatus`, `preInstalledSw`, `marketoption`, `volumeApiName`; of the terms
//! `OnDemand` with `unit` and `pricePerUnit.USD`.

use super::{Import, Wrong, at, is_region, is_type, price};
use crate::prices::Prices;
use burst_plan::MicroUsd;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The volume type that our launch templates use.
const VOLUME: &str = "gp3";

#[derive(Deserialize)]
struct Bulk {
    #[serde(default)]
    version: String,
    #[serde(default, rename = "publicationDate")]
    published: String,
    products: BTreeMap<String, Product>,
    #[serde(default)]
    terms: Terms,
}

#[derive(Deserialize)]
struct Products {
    #[serde(rename = "PriceList")]
    list: Vec<Item>,
}

/// The command-line client writes each product as a text that holds JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Text(String),
    Value(Box<One>),
}

#[derive(Deserialize)]
struct One {
    product: Product,
    #[serde(default)]
    terms: OneTerms,
    #[serde(default, rename = "publicationDate")]
    published: String,
}

#[derive(Deserialize, Default)]
struct OneTerms {
    #[serde(default, rename = "OnDemand")]
    on_demand: BTreeMap<String, Term>,
}

#[derive(Deserialize)]
struct Product {
    #[serde(default, rename = "productFamily")]
    family: String,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Attributes {
    region_code: String,
    instance_type: String,
    operating_system: String,
    tenancy: String,
    capacitystatus: String,
    pre_installed_sw: String,
    marketoption: String,
    volume_api_name: String,
}

#[derive(Deserialize, Default)]
struct Terms {
    #[serde(default, rename = "OnDemand")]
    on_demand: BTreeMap<String, BTreeMap<String, Term>>,
}

#[derive(Deserialize)]
struct Term {
    #[serde(default, rename = "priceDimensions")]
    dimensions: BTreeMap<String, Dimension>,
}

#[derive(Deserialize)]
struct Dimension {
    #[serde(default)]
    unit: String,
    #[serde(default, rename = "pricePerUnit")]
    per_unit: BTreeMap<String, String>,
}

pub(super) fn bulk(text: &str) -> Result<Import, Wrong> {
    let file: Bulk = serde_json::from_str(text).map_err(|e| at(&e))?;
    let mut out = Import::default();
    out.prices.source = source(&file.published, &file.version);
    for (sku, product) in &file.products {
        let terms = file.terms.on_demand.get(sku).map(|t| t.values());
        take(&mut out, sku, product, terms.into_iter().flatten())?;
    }
    Ok(out)
}

pub(super) fn products(text: &str) -> Result<Import, Wrong> {
    let file: Products = serde_json::from_str(text).map_err(|e| at(&e))?;
    let mut out = Import::default();
    for (i, item) in file.list.into_iter().enumerate() {
        let name = format!("PriceList[{i}]");
        let one = match item {
            Item::Value(one) => *one,
            Item::Text(text) => {
                serde_json::from_str(&text).map_err(|e| Wrong { line: 0, text: format!("{name}: {e}") })?
            }
        };
        if out.prices.source.is_empty() {
            out.prices.source = source(&one.published, "");
        }
        take(&mut out, &name, &one.product, one.terms.on_demand.values())?;
    }
    Ok(out)
}

fn source(published: &str, version: &str) -> String {
    let when = if published.is_empty() { version } else { published };
    format!("AWS price list {}", burst_plan::clean(when, 40)).trim_end().to_owned()
}

/// What a product is to us.
enum What<'a> {
    Instance(&'a str),
    Volume,
}

fn what(p: &Product) -> Option<What<'_>> {
    let a = &p.attributes;
    let is = |value: &str, wanted: &str| value.is_empty() || value == wanted;
    if p.family == "Storage" {
        return (a.volume_api_name == VOLUME).then_some(What::Volume);
    }
    let usual = a.operating_system == "Linux"
        && a.tenancy == "Shared"
        && is(&a.capacitystatus, "Used")
        && is(&a.pre_installed_sw, "NA")
        && is(&a.marketoption, "OnDemand");
    (p.family.starts_with("Compute Instance") && usual).then_some(What::Instance(&a.instance_type))
}

fn take<'a>(
    out: &mut Import,
    name: &str,
    product: &Product,
    terms: impl Iterator<Item = &'a Term>,
) -> Result<(), Wrong> {
    let wrong = |text: String| Wrong { line: 0, text: format!("{}: {text}", burst_plan::clean(name, 40)) };
    let region = product.attributes.region_code.as_str();
    let Some(what) = what(product) else {
        out.passed_over += 1;
        return Ok(());
    };
    let unit = match what {
        What::Instance(kind) if !is_type(kind) => {
            out.passed_over += 1;
            return Ok(());
        }
        What::Instance(_) => "Hrs",
        What::Volume => "GB-Mo",
    };
    let mut found: Option<MicroUsd> = None;
    let dimensions = terms.flat_map(|t| t.dimensions.values()).filter(|d| d.unit == unit);
    for usd in dimensions.filter_map(|d| d.per_unit.get("USD")) {
        // A free entry is one of AWS's placeholders.
        if usd.bytes().all(|b| b == b'0' || b == b'.') {
            continue;
        }
        let usd = price(usd).map_err(|e| wrong(format!("pricePerUnit.USD: {e}")))?;
        // Of several the dearest: the bound of a cost must hold.
        found = Some(found.map_or(usd, |f| f.max(usd)));
    }
    let Some(usd) = found else {
        out.passed_over += 1;
        return Ok(());
    };
    if !is_region(region) {
        let shown = burst_plan::clean(region, 40);
        return Err(wrong(format!("regionCode `{shown}` is not a region such as us-east-2")));
    }
    match what {
        What::Instance(kind) => put(&mut out.prices, region, kind, usd),
        What::Volume => {
            let had = out.prices.ebs_gib_month.entry(region.to_owned()).or_insert(usd);
            *had = usd.max(*had);
        }
    }
    Ok(())
}

fn put(prices: &mut Prices, region: &str, kind: &str, usd: MicroUsd) {
    let types = prices.instance.entry(region.to_owned()).or_default();
    let had = types.entry(kind.to_owned()).or_default().entry("on-demand".to_owned()).or_insert(usd);
    *had = usd.max(*had);
}
