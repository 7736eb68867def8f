//! Settings: what the simulated account holds and how it behaves. Everything has a default.

use crate::{capacity, faults, reserve};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A subnet.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subnet {
    /// Id, `subnet-…`.
    pub id: String,
    /// Its availability zone.
    pub zone: String,
    /// CIDR block.
    #[serde(default = "cidr")]
    pub cidr: String,
    /// Addresses that are free at the start.
    #[serde(default = "addresses")]
    pub addresses: u64,
}

/// A machine image.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Id, `ami-…`.
    pub id: String,
    /// Name.
    #[serde(default)]
    pub name: String,
    /// `x86_64` or `arm64`.
    #[serde(default = "x86")]
    pub architecture: String,
}

/// A security group.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityGroup {
    /// Id, `sg-…`.
    pub id: String,
    /// Name.
    pub name: String,
    /// Whether it lets everything of itself in and out, as EFA needs.
    #[serde(default = "yes")]
    pub allows_itself: bool,
}

/// Whether instances get PID namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PidNamespace {
    /// Where root and `unshare` allow it.
    Auto,
    /// Never.
    Off,
}

/// Which network instances live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// This host's: every instance is 127.0.0.1.
    Shared,
    /// A network namespace and an address each.
    Netns,
}

/// Times and knobs that can be changed while the simulator runs (`POST /_sim/settings`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Knobs {
    /// From pending to running, when the instance's process starts.
    pub pending_ms: u64,
    /// Added to every API call.
    pub latency_ms: u64,
    /// For how long after launch an instance is not found.
    pub consistency_ms: u64,
    /// For how long after launch the private address is missing.
    pub address_ms: u64,
    /// From shutting-down to the kill; with 0 the instance is not told to shut down before.
    pub shutdown_ms: u64,
    /// For how long a terminated instance can still be described.
    pub terminated_visible_ms: u64,
    /// Whether the published token buckets apply.
    pub throttling: bool,
    /// Share of what was asked that a fleet gets (1.0: everything).
    pub partial_fleet: f64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            pending_ms: 0,
            latency_ms: 0,
            consistency_ms: 0,
            address_ms: 0,
            shutdown_ms: 0,
            terminated_visible_ms: 3_600_000,
            throttling: false,
            partial_fleet: 1.0,
        }
    }
}

/// A further Region: what it has of its own; everything else is as in the first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Region {
    /// Zones.
    pub zones: Vec<String>,
    /// Subnets.
    pub subnets: Vec<Subnet>,
    /// Images.
    pub images: Vec<Image>,
    /// Security groups.
    pub security_groups: Vec<SecurityGroup>,
    /// Zones of a type, as in the first Region.
    pub offerings: BTreeMap<String, Vec<String>>,
    /// Capacity rules.
    pub capacity: Vec<capacity::Rule>,
    /// Capacity reservations.
    pub reservations: Vec<reserve::Reservation>,
}

/// The file's content.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Region.
    pub region: String,
    /// Account number.
    pub account: String,
    /// VPC of every subnet.
    pub vpc: String,
    /// Zones.
    pub zones: Vec<String>,
    /// Subnets.
    pub subnets: Vec<Subnet>,
    /// Images.
    pub images: Vec<Image>,
    /// Security groups.
    pub security_groups: Vec<SecurityGroup>,
    /// Zones of a type; types not named are offered in all (hpc types: in the second zone only).
    pub offerings: BTreeMap<String, Vec<String>>,
    /// Capacity rules.
    pub capacity: Vec<capacity::Rule>,
    /// Capacity reservations.
    pub reservations: Vec<reserve::Reservation>,
    /// Further Regions by name; a call is for the Region that its credential is scoped to.
    pub regions: BTreeMap<String, Region>,
    /// vCPU quota by market.
    pub vcpu_limit: BTreeMap<String, i64>,
    /// Fault rules.
    pub faults: Vec<faults::Rule>,
    /// Knobs.
    pub knobs: Knobs,
    /// Program of an instance and its arguments; empty: instances merely exist.
    pub instance_command: Vec<String>,
    /// Its environment, beside this process's.
    pub instance_env: BTreeMap<String, String>,
    /// PID namespaces.
    pub pid_namespace: PidNamespace,
    /// Networks.
    pub network: Network,
    /// First two numbers of the /16 that instances with their own network get.
    pub netns_prefix: String,
}

fn cidr() -> String {
    "10.0.0.0/16".into()
}
fn addresses() -> u64 {
    65_531
}
fn x86() -> String {
    "x86_64".into()
}
fn yes() -> bool {
    true
}

impl Default for Config {
    fn default() -> Self {
        let subnet = |id: &str, zone: &str, n: u8| Subnet {
            id: id.into(),
            zone: zone.into(),
            cidr: format!("10.{n}.0.0/16"),
            addresses: addresses(),
        };
        let image = |id: &str, arch: &str| Image {
            id: id.into(),
            name: format!("burst-{arch}"),
            architecture: arch.into(),
        };
        Self {
            region: "us-east-2".into(),
            account: "123456789012".into(),
            vpc: "vpc-0burst0000000001".into(),
            zones: ["us-east-2a", "us-east-2b", "us-east-2c"].map(String::from).to_vec(),
            subnets: vec![
                subnet("subnet-0aa10", "us-east-2a", 0),
                subnet("subnet-0aa11", "us-east-2b", 1),
                subnet("subnet-0aa12", "us-east-2c", 2),
            ],
            images: vec![image("ami-0burst00000000001", "x86_64"), image("ami-0burst00000000002", "arm64")],
            security_groups: vec![SecurityGroup {
                id: "sg-0burst0000000001".into(),
                name: "burst".into(),
                allows_itself: true,
            }],
            offerings: BTreeMap::new(),
            capacity: Vec::new(),
            reservations: Vec::new(),
            regions: BTreeMap::new(),
            vcpu_limit: BTreeMap::new(),
            faults: Vec::new(),
            knobs: Knobs::default(),
            instance_command: Vec::new(),
            instance_env: BTreeMap::new(),
            pid_namespace: PidNamespace::Auto,
            network: Network::Shared,
            netns_prefix: "10.200".into(),
        }
    }
}

impl Config {
    /// Reads a TOML file, or a JSON file when its name ends in `.json`.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text =
            std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let parsed = if path.extension().is_some_and(|e| e == "json") {
            serde_json::from_str(&text).map_err(|e| e.to_string())
        } else {
            toml::from_str(&text).map_err(|e| e.to_string())
        };
        let cfg: Self = parsed.map_err(|e| format!("{}: {e}", path.display()))?;
        cfg.check().map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(cfg)
    }

    /// The account as it is in a further Region.
    pub fn in_region(&self, name: &str) -> Option<Self> {
        let r = self.regions.get(name)?.clone();
        Some(Self {
            region: name.to_owned(),
            zones: r.zones,
            subnets: r.subnets,
            images: r.images,
            security_groups: r.security_groups,
            offerings: r.offerings,
            capacity: r.capacity,
            reservations: r.reservations,
            regions: BTreeMap::new(),
            faults: Vec::new(),
            ..self.clone()
        })
    }

    fn check(&self) -> Result<(), String> {
        for (name, far) in self.regions.keys().filter_map(|n| Some((n, self.in_region(n)?))) {
            if *name == self.region {
                return Err(format!("regions: {name} is the first Region"));
            }
            far.check().map_err(|e| format!("regions.{name}: {e}"))?;
        }
        for s in &self.subnets {
            if !self.zones.contains(&s.zone) {
                return Err(format!("subnet {} is in zone {}, which is not in zones", s.id, s.zone));
            }
        }
        for (t, zones) in &self.offerings {
            if crate::specs::find(t).is_none() {
                return Err(format!("offerings: instance type {t} is not known to the simulator"));
            }
            if let Some(z) = zones.iter().find(|z| !self.zones.contains(z)) {
                return Err(format!("offerings of {t}: zone {z} is not in zones"));
            }
        }
        for r in &self.reservations {
            r.check(&self.zones)?;
        }
        if !(0.0..=1.0).contains(&self.knobs.partial_fleet) {
            return Err("knobs.partial_fleet must be between 0 and 1".into());
        }
        let octets: Vec<_> = self.netns_prefix.split('.').filter(|o| o.parse::<u8>().is_ok()).collect();
        if octets.len() != 2 || self.netns_prefix.split('.').count() != 2 {
            return Err(format!("netns_prefix {:?} is not two numbers, as in \"10.200\"", self.netns_prefix));
        }
        Ok(())
    }

    /// Zones a type can be launched in.
    pub fn zones_of(&self, itype: &str) -> Vec<&str> {
        if let Some(z) = self.offerings.get(itype) {
            return z.iter().map(String::as_str).collect();
        }
        let one = itype.starts_with("hpc") && self.zones.len() > 1;
        let (skip, take) = if one { (1, 1) } else { (0, usize::MAX) };
        self.zones.iter().skip(skip).take(take).map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_hpc_types_live_in_one_zone() {
        let c = Config::default();
        c.check().unwrap();
        assert_eq!(c.zones_of("hpc7a.96xlarge"), ["us-east-2b"]);
        assert_eq!(c.zones_of("m5.xlarge").len(), 3);
    }

    #[test]
    fn wrong_files_say_what_is_wrong() {
        let wrong = |t: &str| {
            toml::from_str::<Config>(t).map_err(|e| e.to_string()).and_then(|c| c.check()).unwrap_err()
        };
        assert!(wrong("regoin = 'x'").contains("regoin"));
        assert!(wrong("zones = ['a']").contains("subnet-0aa10"));
        assert!(wrong("netns_prefix = '10.200.1'").contains("netns_prefix"));
        assert!(wrong("[offerings]\n'x9.huge' = []").contains("x9.huge"));
    }
}
