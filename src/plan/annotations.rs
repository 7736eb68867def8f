//! Descriptions that travel in the script, the comment, the environment and constraints.
//!
//! Precedence: script, comment, environment, constraints; within one source the later word counts. A malformed annotation
//! is a warning, never an error: it only describes.
use crate::{Efa, Market, MicroUsd, Warning, options::is_type_name};
use serde::{Deserialize, Serialize};

/// What annotations say, merged; they describe a managed job and never make a job managed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// Instance types in order of preference.
    pub types: Option<Vec<String>>,
    /// Market asked for.
    pub market: Option<Market>,
    /// EFA wish.
    pub efa: Option<Efa>,
    /// Price bound for a spot instance-hour.
    pub max_spot_price: Option<MicroUsd>,
    /// The advisor's verdict.
    pub should_burst: Option<bool>,
    /// Placement group type asked for.
    pub placement: Option<String>,
    /// MPI processes, compared with the job's own geometry.
    pub processes: Option<u32>,
    /// Whole cost bound.
    pub max_cost: Option<MicroUsd>,
}

/// What a source says, and what is odd about it.
pub type Read = (Annotations, Vec<Warning>);

/// Most bytes of a script that are looked at.
pub const SCRIPT_BYTES: usize = 64 * 1024;
/// Most annotations of one source.
const MOST: usize = 64;

impl Annotations {
    /// `self` first, what it does not say from `lower`.
    #[must_use]
    pub fn merge(self, lower: Self) -> Self {
        Self {
            types: self.types.or(lower.types),
            market: self.market.or(lower.market),
            efa: self.efa.or(lower.efa),
            max_spot_price: self.max_spot_price.or(lower.max_spot_price),
            should_burst: self.should_burst.or(lower.should_burst),
            placement: self.placement.or(lower.placement),
            processes: self.processes.or(lower.processes),
            max_cost: self.max_cost.or(lower.max_cost),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let truth = || match value.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" => Ok(true),
            "0" | "false" | "no" => Ok(false),
            _ => Err("write true or false".to_owned()),
        };
        match key {
            "instance_types" | "types" => {
                let list: Vec<String> = value.split(',').map(|t| t.trim().to_owned()).collect();
                if list.len() > 32 || !list.iter().all(|t| is_type_name(t)) {
                    return Err("write instance types such as hpc7a.96xlarge,hpc6a.48xlarge".into());
                }
                self.types = Some(list);
            }
            "purchasing_option" | "market" => {
                self.market = Some(match value {
                    "spot" => Market::Spot,
                    "on-demand" => Market::OnDemand,
                    "mixed" => Market::Mixed,
                    _ => return Err("write on-demand, spot or mixed".into()),
                });
            }
            "requires_efa" => self.efa = truth()?.then_some(Efa::Required),
            "efa" => {
                self.efa = Some(match value {
                    "required" => Efa::Required,
                    "preferred" => Efa::Preferred,
                    "off" | "disabled" => Efa::Off,
                    _ => return Err("write required, preferred or off".into()),
                });
            }
            "max_spot_price" => self.max_spot_price = Some(MicroUsd::parse(value)?).filter(|m| m.0 > 0),
            "max_cost" | "max_total_cost" => {
                self.max_cost = Some(MicroUsd::parse(value)?).filter(|m| m.0 > 0)
            }
            "should_burst" => self.should_burst = Some(truth()?),
            "placement_group" | "placement" => {
                if !["cluster", "partition", "spread"].contains(&value) {
                    return Err("write cluster, partition or spread".into());
                }
                self.placement = Some(value.to_owned());
            }
            "mpi_processes" | "processes" => {
                self.processes = Some(value.parse().map_err(|_| "write a number of processes".to_owned())?);
            }
            "gang_scheduling" => {
                truth()?;
            }
            _ => return Err("unknown, ignored".into()),
        }
        Ok(())
    }
}

fn read<'a>(source: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Read {
    let (mut notes, mut warnings) = (Annotations::default(), Vec::new());
    for (key, value) in pairs.take(MOST) {
        if let Err(text) = notes.set(key, value) {
            let key = crate::clean(key, 40);
            warnings.push(Warning { path: format!("{source} {key}"), text });
        }
    }
    (notes, warnings)
}

/// `#BURST key=value …` and `#ASBA key=value …` in the script's leading comment block.
#[must_use]
pub fn from_script(script: &[u8]) -> Read {
    let ours: Vec<_> = own_lines(script).map(String::from_utf8_lossy).collect();
    let pairs: Vec<(String, String)> = ours
        .iter()
        .flat_map(|l| l.split_whitespace().take_while(|w| !w.starts_with('#')))
        .map(|w| w.split_once('=').map_or((w.to_owned(), String::new()), |(k, v)| (norm(k), v.to_owned())))
        .collect();
    read("#BURST", pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())))
}

/// What stands behind `#BURST` and `#ASBA` in the script's leading comment block: all that is read of a script.
pub fn own_lines(script: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut head = script.get(..script.len().min(SCRIPT_BYTES)).unwrap_or(b"");
    if head.len() < script.len() {
        // Half a line could say something else than the whole.
        head = head.rsplitn(2, |b| *b == b'\n').nth(1).unwrap_or(b"");
    }
    let block = head
        .split(|b| *b == b'\n')
        .map(<[u8]>::trim_ascii)
        .take_while(|l| matches!(l.first(), None | Some(b'#')));
    // A script can be long, and slurmctld waits: only our own lines are read as text.
    block.filter_map(|l| {
        let rest = l.strip_prefix(b"#BURST").or_else(|| l.strip_prefix(b"#ASBA"))?;
        rest.first().is_some_and(u8::is_ascii_whitespace).then_some(rest)
    })
}

/// Keys may be written with dashes and in capitals.
fn norm(key: &str) -> String {
    key.trim_start_matches("--").to_ascii_lowercase().replace('-', "_")
}

/// `asba:{json}` in `--comment`: a flat object of the same keys.
#[must_use]
pub fn from_comment(comment: &str) -> Read {
    let Some(json) = comment.trim().strip_prefix("asba:").filter(|j| j.len() <= SCRIPT_BYTES) else {
        return (Annotations::default(), Vec::new());
    };
    let map: serde_json::Map<String, serde_json::Value> = match serde_json::from_str(json) {
        Ok(m) => m,
        Err(e) => {
            let warning = Warning {
                path: "--comment asba:".into(),
                text: crate::clean(&format!("not a JSON object, ignored: {e}"), 200),
            };
            return (Annotations::default(), vec![warning]);
        }
    };
    let word = |v: &serde_json::Value| match v {
        serde_json::Value::String(s) => s.clone(),
        serde_json::Value::Array(a) => a.iter().filter_map(|x| x.as_str()).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    let pairs: Vec<(String, String)> = map.iter().map(|(k, v)| (norm(k), word(v))).collect();
    read("--comment", pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())))
}

/// `ASBA_*` of the job's environment (`NAME=value`); names that are not the advisor's are passed over.
#[must_use]
pub fn from_env<'a>(env: impl Iterator<Item = &'a str>) -> Read {
    const NAMES: [&str; 8] = [
        "SHOULD_BURST",
        "INSTANCE_TYPES",
        "PURCHASING_OPTION",
        "MAX_SPOT_PRICE",
        "REQUIRES_EFA",
        "PLACEMENT_GROUP",
        "MPI_PROCESSES",
        "GANG_SCHEDULING",
    ];
    let pairs: Vec<(String, &str)> = env
        .filter_map(|e| e.strip_prefix("ASBA_")?.split_once('='))
        .filter(|(k, v)| NAMES.contains(k) && !v.is_empty())
        .map(|(k, v)| (k.to_ascii_lowercase(), v))
        .collect();
    read("environment ASBA", pairs.iter().map(|(k, v)| (k.as_str(), *v)))
}

/// `efa`, `efa-required`, `efa-preferred`, `no-efa`, `efa-disabled` among the constraints; and the constraints without them.
#[must_use]
pub fn from_features(features: &str) -> (Annotations, String, Vec<Warning>) {
    let mut notes = Annotations::default();
    let mut left = Vec::new();
    for word in features.split(['&', ',']).map(str::trim).filter(|w| !w.is_empty()) {
        match word {
            "efa" | "efa-required" => notes.efa = Some(Efa::Required),
            "efa-preferred" => notes.efa = Some(Efa::Preferred),
            "no-efa" | "efa-disabled" => notes.efa = Some(Efa::Off),
            other => left.push(other),
        }
    }
    (notes, left.join("&"), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_leading_block_of_a_script_counts() {
        let script = b"#!/bin/sh\n#SBATCH -n 4\n#BURST types=hpc7a.96xlarge efa=required\n\necho\n#BURST market=spot\n";
        let (n, w) = from_script(script);
        assert_eq!(
            (n.types, n.efa, n.market),
            (Some(vec!["hpc7a.96xlarge".into()]), Some(Efa::Required), None)
        );
        assert!(w.is_empty(), "{w:?}");
    }

    #[test]
    fn what_is_odd_is_told() {
        let (n, w) = from_script(b"#BURST markte=spot efa=maybe\n");
        assert_eq!(n, Annotations::default());
        assert_eq!(w.len(), 2);
        assert!(w[1].text.contains("required, preferred or off"));
    }

    #[test]
    fn a_comment_ends_its_own_line_only() {
        let (n, w) =
            from_script(b"#BURST efa=off # not on this one\n#BURST market=spot\n#BURSTY x=y\n#SBATCH -N2\n");
        assert_eq!((n.efa, n.market, w), (Some(Efa::Off), Some(Market::Spot), Vec::new()));
    }

    #[test]
    fn half_a_line_at_the_bound_says_nothing() {
        let mut script = b"#BURST efa=off\n".to_vec();
        script.resize(SCRIPT_BYTES - 18, b'#');
        script.extend_from_slice(b"\n#BURST max_cost=1000\n");
        let (n, w) = from_script(&script);
        assert_eq!((n.efa, n.max_cost, w), (Some(Efa::Off), None, Vec::new()));
    }

    #[test]
    fn many_constraints_are_all_kept() {
        let all: Vec<String> = (0..100).map(|i| format!("f{i}")).collect();
        let (n, left, _) = from_features(&format!("{}&efa", all.join("&")));
        assert_eq!((n.efa, left), (Some(Efa::Required), all.join("&")));
        assert_eq!(from_features("[a*2|b],efa|c").1, "[a*2|b]&efa|c");
    }

    #[test]
    fn comments_of_the_advisor() {
        let (n, w) =
            from_comment(r#"asba:{"instance_types":["a.b","c.d"],"max-cost":12.5,"mpi_processes":64,"x":1}"#);
        assert_eq!(n.types, Some(vec!["a.b".to_owned(), "c.d".into()]));
        assert_eq!((n.max_cost, n.processes, w.len()), (Some(MicroUsd(12_500_000)), Some(64), 1));
        assert_eq!(from_comment("asba:{").1.len(), 1);
        assert_eq!(from_comment("my job").1.len(), 0);
    }

    #[test]
    fn script_beats_comment_beats_environment() {
        let a = from_script(b"#ASBA efa=off\n").0;
        let b = from_comment(r#"asba:{"efa":"required","market":"spot"}"#).0;
        let c =
            from_env(["ASBA_PURCHASING_OPTION=on-demand", "ASBA_MPI_PROCESSES=8", "HOME=/"].into_iter()).0;
        let all = a.merge(b).merge(c);
        assert_eq!((all.efa, all.market, all.processes), (Some(Efa::Off), Some(Market::Spot), Some(8)));
    }

    #[test]
    fn constraints_keep_what_is_not_ours() {
        let (n, left, _) = from_features("x86&no-efa&big");
        assert_eq!((n.efa, left.as_str()), (Some(Efa::Off), "x86&big"));
    }

    proptest! {
        #[test]
        fn nothing_panics(s in any::<Vec<u8>>(), t in ".{0,200}") {
            let _ = from_script(&s);
            let _ = from_comment(&format!("asba:{t}"));
            let _ = from_env([t.as_str()].into_iter());
            let _ = from_features(&t);
        }
    }
}
