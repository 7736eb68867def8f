//! What exists in the simulated account.

use crate::config::{Config, Knobs};
use crate::query::Tree;
use crate::throttle::Buckets;
use crate::{capacity, faults, reserve};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// Tags of a resource.
pub type Tags = BTreeMap<String, String>;

/// State of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Being started.
    Pending,
    /// Started.
    Running,
    /// Being ended.
    ShuttingDown,
    /// Ended for good.
    Terminated,
    /// Being halted.
    Stopping,
    /// Halted.
    Stopped,
}

impl State {
    /// EC2's code and name.
    pub fn code(self) -> u16 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }

    /// EC2's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }

    /// Whether it runs or is about to.
    pub fn up(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

/// A network interface of an instance.
#[derive(Debug, Clone, Serialize)]
pub struct Nic {
    /// `eni-…`.
    pub id: String,
    /// Network card.
    pub card: i64,
    /// Device index on the card.
    pub device: i64,
    /// interface, efa or efa-only.
    pub kind: String,
    /// Security groups.
    pub groups: Vec<String>,
}

/// An instance.
#[derive(Debug, Clone, Serialize)]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// Order of launch over all instances.
    pub seq: u64,
    /// Index within its launch.
    pub index: u64,
    /// Reservation.
    pub reservation: String,
    /// Fleet.
    pub fleet_id: String,
    /// Client token of the fleet.
    pub client_token: String,
    /// Type.
    pub itype: String,
    /// Zone.
    pub zone: String,
    /// Subnet.
    pub subnet: String,
    /// on-demand or spot.
    pub market: String,
    /// Image.
    pub image: String,
    /// Tags.
    pub tags: Tags,
    /// Tags of its volumes and interfaces.
    pub extra_tags: BTreeMap<String, Tags>,
    /// State.
    pub state: State,
    /// Why it ended: code and text.
    pub reason: Option<(String, String)>,
    /// Launch time.
    pub launched_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// Address.
    pub private_ip: String,
    /// Host name.
    pub private_dns: String,
    /// Placement group.
    pub group: Option<String>,
    /// Capacity reservation it runs in.
    pub capacity_reservation: Option<String>,
    /// Interfaces.
    pub nics: Vec<Nic>,
    /// Security groups of the instance.
    pub security_groups: Vec<String>,
    /// What the launch template said.
    #[serde(skip)]
    pub data: Tree,
    /// Process, while there is one.
    pub pid: Option<i32>,
    /// Whether its process is still to start (terminated meanwhile: it must not).
    pub started: bool,
    /// It runs, as EC2 sees it, and nothing of it ever answers.
    pub hung: bool,
    /// Spot notice: action and time.
    pub notice: Option<(String, u64)>,
    /// Tokens of its metadata service, with their ends.
    #[serde(skip)]
    pub imds_tokens: HashMap<String, u64>,
}

impl Instance {
    /// Addresses it takes from its subnet.
    pub fn addresses(&self) -> u64 {
        self.nics.iter().filter(|n| n.kind != "efa-only").count() as u64
    }
}

/// A launch template (one version: the API for more is not simulated).
#[derive(Debug, Clone, Serialize)]
pub struct Template {
    /// `lt-…`.
    pub id: String,
    /// Name.
    pub name: String,
    /// Description of its version.
    pub description: Option<String>,
    /// Creation time.
    pub created_ms: u64,
    /// Its own tags.
    pub tags: Tags,
    /// LaunchTemplateData.
    #[serde(skip)]
    pub data: Tree,
}

/// A placement group.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// `pg-…`.
    pub id: String,
    /// Name.
    pub name: String,
    /// Strategy.
    pub strategy: String,
    /// Partitions, of that strategy.
    pub partitions: Option<i64>,
    /// host or rack, of strategy spread.
    pub spread: Option<String>,
    /// Tags.
    pub tags: Tags,
}

/// A fleet.
#[derive(Debug, Clone, Serialize)]
pub struct Fleet {
    /// `fleet-…`.
    pub id: String,
    /// Creation time.
    pub created_ms: u64,
    /// Client token.
    pub client_token: String,
    /// Capacity asked for.
    pub target: i64,
    /// Tags.
    pub tags: Tags,
    /// Instances launched.
    pub instances: Vec<String>,
    /// The answer that was given.
    pub answer: Value,
}

/// Everything that changes.
#[derive(Debug)]
pub struct World {
    /// Instances by id.
    pub instances: BTreeMap<String, Instance>,
    /// Templates by id.
    pub templates: BTreeMap<String, Template>,
    /// Placement groups by name.
    pub groups: BTreeMap<String, Group>,
    /// Fleets by id.
    pub fleets: BTreeMap<String, Fleet>,
    /// Tags set later on things of the configuration.
    pub other_tags: BTreeMap<String, Tags>,
    /// Client tokens by (action, token): the parameters and the answer.
    pub tokens: HashMap<(&'static str, String), (String, Value)>,
    /// Capacity rules.
    pub capacity: Vec<capacity::Rule>,
    /// Capacity reservations by id.
    pub reservations: BTreeMap<String, reserve::Reservation>,
    /// Fault rules.
    pub faults: Vec<faults::Rule>,
    /// Token buckets.
    pub buckets: Buckets,
    /// Knobs.
    pub knobs: Knobs,
    /// CreateFleet calls that were carried out.
    pub fleet_calls: u64,
    /// Number of the next instance.
    pub next_seq: u64,
}

impl World {
    /// The account at the start.
    pub fn new(cfg: &Config) -> Self {
        Self {
            instances: BTreeMap::new(),
            templates: BTreeMap::new(),
            groups: BTreeMap::new(),
            fleets: BTreeMap::new(),
            other_tags: BTreeMap::new(),
            tokens: HashMap::new(),
            capacity: cfg.capacity.clone(),
            reservations: cfg.reservations.iter().map(|r| (r.id.clone(), r.clone())).collect(),
            faults: cfg.faults.clone(),
            buckets: Buckets::default(),
            knobs: cfg.knobs.clone(),
            fleet_calls: 0,
            next_seq: 0,
        }
    }

    /// Instances that still hold capacity.
    pub fn living(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter(|i| !matches!(i.state, State::Terminated | State::Stopped))
    }

    /// Free places of a pool.
    pub fn free(&self, itype: &str, zone: &str, market: &str) -> Option<u64> {
        capacity::free(&self.capacity, self.fleet_calls, (itype, zone, market), |rule| {
            // What runs in a reservation takes nothing of what everybody may have.
            let outside = self.living().filter(|i| i.capacity_reservation.is_none());
            outside.filter(|i| rule.matches(&i.itype, &i.zone, &i.market)).count() as u64
        })
    }

    /// Free addresses of a subnet.
    pub fn free_addresses(&self, cfg: &Config, subnet: &str) -> u64 {
        let all = cfg.subnets.iter().find(|s| s.id == subnet).map_or(0, |s| s.addresses);
        // A stopped instance keeps its interfaces, hence its addresses.
        let held = self.instances.values().filter(|i| i.state != State::Terminated && i.subnet == subnet);
        all.saturating_sub(held.map(Instance::addresses).sum())
    }

    /// Forgets instances that ended long ago.
    pub fn forget(&mut self, now: u64) {
        let keep = self.knobs.terminated_visible_ms;
        self.instances.retain(|_, i| {
            i.state != State::Terminated || i.ended_ms.is_none_or(|t| t.saturating_add(keep) > now)
        });
    }
}
