//! Specifications of instance types.

use serde_json::Value;
use std::sync::OnceLock;

/// One network card of a type.
#[derive(Debug, Clone)]
pub struct Card {
    /// Interfaces this card takes.
    pub max_interfaces: i64,
    /// Interface types this card takes.
    pub kinds: Vec<String>,
}

/// What the simulator has to know of an instance type.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Type's name.
    pub name: String,
    /// Everything, as DescribeInstanceTypes answers it.
    pub raw: Value,
    /// vCPUs.
    pub vcpus: i64,
    /// Cores.
    pub cores: i64,
    /// Threads per core.
    pub threads: i64,
    /// Network cards, by their index.
    pub cards: Vec<Card>,
    /// EFA interfaces it takes in all.
    pub max_efa: i64,
    /// Interfaces it takes in all.
    pub max_interfaces: i64,
}

fn texts(v: &Value, pointer: &str) -> Vec<String> {
    let list = v.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|x| x.as_str().map(str::to_owned)).collect()
}

fn int(v: &Value, pointer: &str) -> i64 {
    v.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

impl Spec {
    fn read(raw: Value) -> Self {
        let cards = raw.pointer("/networkInfo/networkCards").and_then(Value::as_array).into_iter().flatten();
        let cards = cards.map(|c| Card {
            max_interfaces: int(c, "/maximumNetworkInterfaces"),
            kinds: texts(c, "/interfaceTypeSet"),
        });
        Self {
            name: raw.get("instanceType").and_then(Value::as_str).unwrap_or_default().to_owned(),
            vcpus: int(&raw, "/vCpuInfo/defaultVCpus"),
            cores: int(&raw, "/vCpuInfo/defaultCores"),
            threads: int(&raw, "/vCpuInfo/defaultThreadsPerCore"),
            max_efa: int(&raw, "/networkInfo/efaInfo/maximumEfaInterfaces"),
            max_interfaces: int(&raw, "/networkInfo/maximumNetworkInterfaces"),
            cards: cards.collect(),
            raw,
        }
    }

    /// Whether it can be bought this way (`spot`, `on-demand`).
    pub fn sells(&self, market: &str) -> bool {
        texts(&self.raw, "/supportedUsageClasses").iter().any(|m| m == market)
    }

    /// Whether it goes into placement groups of this strategy.
    pub fn groups(&self, strategy: &str) -> bool {
        texts(&self.raw, "/placementGroupInfo/supportedStrategies").iter().any(|s| s == strategy)
    }

    /// Architectures it runs.
    pub fn architectures(&self) -> Vec<String> {
        texts(&self.raw, "/processorInfo/supportedArchitectures")
    }
}

/// Every known type, by name.
pub fn all() -> &'static [Spec] {
    static TABLE: OnceLock<Vec<Spec>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let list: Vec<Value> =
            serde_json::from_str(include_str!("data/instance-types.json")).unwrap_or_default();
        let mut specs: Vec<Spec> = list.into_iter().map(Spec::read).collect();
        specs.sort_by(|a, b| a.name.cmp(&b.name));
        specs
    })
}

/// A type by name.
pub fn find(name: &str) -> Option<&'static Spec> {
    all().iter().find(|s| s.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_matter() {
        let get = |n| find(n).unwrap();
        let h = get("hpc7a.96xlarge");
        assert_eq!((h.vcpus, h.threads, h.cards.len(), h.max_efa), (192, 1, 2, 2));
        assert!(!h.sells("spot") && h.sells("on-demand"));
        let p = get("p6-b300.48xlarge");
        assert_eq!((p.cards.len(), p.max_efa), (17, 16));
        assert_eq!(p.cards[0].kinds, ["interface"]);
        assert!(p.cards[1..].iter().all(|c| c.kinds.iter().any(|k| k == "efa-only")));
        assert_eq!((get("i7ie.48xlarge").cards.len(), get("i7ie.48xlarge").max_efa), (2, 1));
        assert_eq!(get("c6i.large").max_efa, 0);
        assert_eq!(get("hpc7g.16xlarge").architectures(), ["arm64"]);
        assert!(find("hpc7a.2xlarge").is_none());
        assert_eq!(int(&get("p5.48xlarge").raw, "/gpuInfo/gpus/0/count"), 8);
    }
}
