//! How many instances of a type a zone has to give, by market.

use serde::{Deserialize, Serialize};

/// A limit on living instances. `*` stands for any; the last rule in force that matches decides.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Instance type.
    #[serde(rename = "type", default = "any")]
    pub itype: String,
    /// Availability zone.
    #[serde(default = "any")]
    pub zone: String,
    /// `on-demand` or `spot`.
    #[serde(default = "any")]
    pub market: String,
    /// Instances that can live at once; absent: no limit.
    #[serde(default)]
    pub count: Option<u64>,
    /// In force after this many CreateFleet calls.
    #[serde(default)]
    pub after_fleets: u64,
}

fn any() -> String {
    "*".into()
}

impl Rule {
    /// Whether the rule speaks of this pool.
    pub fn matches(&self, itype: &str, zone: &str, market: &str) -> bool {
        let same = |rule: &str, x: &str| rule == "*" || rule == x;
        same(&self.itype, itype) && same(&self.zone, zone) && same(&self.market, market)
    }
}

/// Free places of a pool: `None` is no limit. `living` counts living instances a rule speaks of.
pub fn free(
    rules: &[Rule],
    fleets: u64,
    (itype, zone, market): (&str, &str, &str),
    living: impl Fn(&Rule) -> u64,
) -> Option<u64> {
    let rule = rules.iter().rev().find(|r| r.after_fleets <= fleets && r.matches(itype, zone, market))?;
    rule.count.map(|c| c.saturating_sub(living(rule)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_rule_in_force_decides() {
        let rules: Vec<Rule> = serde_json::from_str(
            r#"[{"type":"a","count":4},{"type":"a","zone":"z2","count":0},{"type":"a","after_fleets":2,"count":9}]"#,
        )
        .unwrap();
        let free = |f, t, z| free(&rules, f, (t, z, "spot"), |_| 1);
        assert_eq!(free(0, "a", "z1"), Some(3));
        assert_eq!(free(0, "a", "z2"), Some(0));
        assert_eq!(free(2, "a", "z2"), Some(8));
        assert_eq!(free(0, "b", "z2"), None);
    }
}
