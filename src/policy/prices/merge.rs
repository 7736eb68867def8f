//! What an import changes.

use super::Prices;
use burst_plan::MicroUsd;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One price that is another than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Region.
    pub region: String,
    /// Instance type, or `ebs_gib_month`.
    pub what: String,
    /// `on-demand`, `spot`; empty for a volume's.
    pub market: String,
    /// Before, micro-dollars; None: there was none.
    pub old: Option<MicroUsd>,
    /// After, micro-dollars; None: it is gone.
    pub new: Option<MicroUsd>,
}

/// region, what, market.
type Key = (String, String, String);

fn flat(p: &Prices) -> BTreeMap<Key, MicroUsd> {
    let mut out = BTreeMap::new();
    for (region, usd) in &p.ebs_gib_month {
        out.insert((region.clone(), "ebs_gib_month".to_owned(), String::new()), *usd);
    }
    for (region, types) in &p.instance {
        for (kind, markets) in types {
            for (market, usd) in markets {
                out.insert((region.clone(), kind.clone(), market.clone()), *usd);
            }
        }
    }
    out
}

/// Longest `source`, characters.
const SOURCE: usize = 200;

/// `new` over `old`: what `new` says nothing about stays as it was, unless `replace`. Answers the changes as well.
#[must_use]
pub fn merge(old: &Prices, new: Prices, replace: bool) -> (Prices, Vec<Change>) {
    let out = if replace { new } else { over(old, new) };
    let (before, after) = (flat(old), flat(&out));
    let keys: BTreeSet<&Key> = before.keys().chain(after.keys()).collect();
    let changes = keys.into_iter().filter(|k| before.get(*k) != after.get(*k)).map(|k| Change {
        region: k.0.clone(),
        what: k.1.clone(),
        market: k.2.clone(),
        old: before.get(k).copied(),
        new: after.get(k).copied(),
    });
    let changes = changes.collect();
    (out, changes)
}

fn over(old: &Prices, new: Prices) -> Prices {
    let mut out = old.clone();
    // The figures now come from both.
    if out.source.is_empty() {
        out.source = new.source;
    } else if !new.source.is_empty() && !out.source.split("; ").any(|s| s == new.source) {
        out.source = format!("{}; {}", new.source, out.source).chars().take(SOURCE).collect();
    }
    out.ebs_gib_month.extend(new.ebs_gib_month);
    for (region, types) in new.instance {
        let here = out.instance.entry(region).or_default();
        for (kind, markets) in types {
            here.entry(kind).or_default().extend(markets);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::{Form, import};

    fn read(text: &str) -> Prices {
        import(text, Form::Csv).expect("reads").prices
    }

    #[test]
    fn what_was_there_stays_unless_replaced() {
        let old = read("us-east-2,a.b,on-demand,1\nus-east-2,a.b,spot,0.5\neu-west-1,a.b,spot,2\n");
        let new = read("us-east-2,a.b,spot,0.6\nus-east-2,c.d,spot,3\nus-east-2,ebs_gib_month,,0.08\n");
        let (kept, changes) = merge(&old, new.clone(), false);
        let said = |c: &Change| format!("{} {} {} {:?} {:?}", c.region, c.what, c.market, c.old, c.new);
        assert_eq!(
            changes.iter().map(said).collect::<Vec<_>>(),
            [
                "us-east-2 a.b spot Some(MicroUsd(500000)) Some(MicroUsd(600000))",
                "us-east-2 c.d spot None Some(MicroUsd(3000000))",
                "us-east-2 ebs_gib_month  None Some(MicroUsd(80000))",
            ]
        );
        assert_eq!(flat(&kept).len(), 5);
        let (replaced, changes) = merge(&old, new.clone(), true);
        assert_eq!((replaced, changes.len()), (new, 5));
        assert_eq!(merge(&old, old.clone(), false), (old.clone(), Vec::new()));
    }

    #[test]
    fn both_sources_are_named_once() {
        let of = |s: &str| Prices { source: s.into(), ..Prices::default() };
        let (both, _) = merge(&of("a"), of("b"), false);
        assert_eq!(both.source, "b; a");
        assert_eq!(merge(&both, of("a"), false).0.source, "b; a");
        assert_eq!(merge(&of(""), of("b"), false).0.source, "b");
    }
}
