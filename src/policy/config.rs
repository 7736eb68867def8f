//! burst.toml: parsed raw, then validated into types that cannot be wrong.
use crate::{budget::Buckets, memory::Spans};
use burst_plan::{Efa, Else, Market, MicroUsd, Seconds};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

mod across;
mod block;
mod budget;
mod check;
mod ec2;
mod money;
mod read;
mod region;
mod reservation;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use check::is_region;

/// Default place of the configuration; `SLURM_BURST_CONF` overrides it.
pub const DEFAULT_PATH: &str = "/etc/slurm/burst.toml";

/// The whole validated configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// `[cluster]`.
    pub cluster: Cluster,
    /// `[aws]`.
    pub aws: Aws,
    /// `[budget_service]`; None: there is none.
    #[serde(default)]
    pub budget_service: Option<crate::asbb::Service>,
    /// `[pool.NAME]`, by name; at least one.
    pub pools: BTreeMap<String, Pool>,
    /// `[prices] file`, read by the caller.
    pub price_file: Option<PathBuf>,
    /// `[limits]`.
    pub limits: Limits,
    /// `[capacity]`: how long places without capacity are remembered, default 3m, growing to 15m.
    pub capacity: Spans,
    /// `[rates]`: what EC2 takes, default its published token buckets.
    pub rates: Buckets,
    /// `[record]`.
    pub record: Record,
}

/// `[record]`: the files about each life of a job (docs/RECORD.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `enabled`, default true.
    pub enabled: bool,
    /// `dir`, default /var/spool/asba/learning.
    pub dir: PathBuf,
    /// `keep_days`: files older than that are removed; default 90.
    pub keep_days: u64,
    /// `keep_bytes`: the oldest files are removed above that; default 1 GiB.
    pub keep_bytes: u64,
}

/// `[cluster]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// `name`; used in EC2 names; default: slurm.conf's ClusterName, filled in by the engine when empty.
    pub name: String,
    /// `state_dir`; None: StateSaveLocation/burst.
    pub state_dir: Option<PathBuf>,
    /// `listen`, default 0.0.0.0:6826.
    pub listen: SocketAddr,
    /// `advertise`: URLs that nodes are given, e.g. http://10.0.0.5:6826; default: http://listen.
    pub advertise: Vec<String>,
    /// `operators`: user names or uids that may see and end every gang.
    pub operators: Vec<String>,
}

/// `[aws]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aws {
    /// `region`, required.
    pub region: String,
    /// `profile` of the SDK's default chain.
    pub profile: Option<String>,
    /// `endpoint_url`, for tests and private endpoints.
    pub endpoint_url: Option<String>,
    /// `[aws.endpoints]`: the same for further Regions.
    #[serde(default)]
    pub endpoints: BTreeMap<String, String>,
    /// `tags`: the site's own cost-allocation tags on everything; values may use {account} {user} {project} {pool} {job}.
    pub tags: BTreeMap<String, String>,
}

/// Placement of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// A cluster placement group per living gang.
    Cluster,
    /// No placement group.
    None,
}

/// `[pool.NAME]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// The table's name.
    pub name: String,
    /// `partition`: the Slurm partition whose jobs are managed.
    pub partition: String,
    /// `market`, default on-demand.
    pub market: Market,
    /// `markets_allowed`: what users may choose between; default: just `market`.
    pub markets_allowed: Vec<Market>,
    /// `placement`, default cluster.
    pub placement: Placement,
    /// `efa`, default preferred: what the pool gives when the job does not say.
    pub efa: Efa,
    /// `plan_types = "strict"`: the plan's types bind.
    pub strict: bool,
    /// `zones` in order: (zone, subnet).
    pub zones: Vec<(String, String)>,
    /// `image`; absent with a site's own template.
    pub image: Option<String>,
    /// `security_groups`.
    pub security_groups: Vec<String>,
    /// `instance_profile`.
    pub instance_profile: Option<String>,
    /// `launch_template`: the site's own (id or name), instead of a managed one.
    pub launch_template: Option<String>,
    /// `root_gib`, optional size of the root volume.
    pub root_gib: Option<u32>,
    /// `key_name`.
    pub key_name: Option<String>,
    /// `public_ip`, default false.
    pub public_ip: bool,
    /// `boot_limit`, default 8m.
    pub boot_limit: Seconds,
    /// `start_limit`, default 5m.
    pub start_limit: Seconds,
    /// `epilog_limit`, default 10m.
    pub epilog_limit: Seconds,
    /// `report_grace`, default 10s: how long after the end the record waits for the nodes' reports.
    pub report_grace: Seconds,
    /// `orphan_limit`, default 15m: dead-man switch.
    pub orphan_limit: Seconds,
    /// `on_no_capacity`, default wait.
    pub on_no_capacity: Else,
    /// `wait_limit`: how long `wait` waits unless `--burst-wait` says less; None: for ever.
    pub wait_limit: Option<Seconds>,
    /// `retry_min`/`retry_max`: back-off after an exhausted ladder, default 30s / 10m.
    pub retry_min: Seconds,
    /// See `retry_min`.
    pub retry_max: Seconds,
    /// `dry_run`, default false: jobs are planned, checked and told, and nothing is launched.
    pub dry_run: bool,
    /// `split_limit`, default 10m: from the first to the last fleet of a gang that takes several.
    #[serde(default = "split_limit")]
    pub split_limit: Seconds,
    /// `critical_nodes`, default 1: on-demand nodes of a mixed gang, where the plan does not say.
    #[serde(default = "one")]
    pub critical_nodes: u32,
    /// `local_partition`.
    pub local_partition: Option<String>,
    /// `max_nodes` of one gang; default: the largest block.
    pub max_nodes: u32,
    /// `max_cost_per_job` of this pool.
    pub max_cost_per_job: Option<MicroUsd>,
    /// `[[pool.NAME.block]]`, in order of preference, at least one.
    pub blocks: Vec<Block>,
    /// `[[pool.NAME.reservation]]`, in order of preference.
    #[serde(default)]
    pub reservations: Vec<crate::reservation::Reservation>,
    /// `reservations_only`, default false: nothing is launched outside of them.
    #[serde(default)]
    pub reservations_only: bool,
    /// `[pool.NAME.region.REGION]`: further Regions, in the order of the file.
    #[serde(default)]
    pub regions: Vec<Abroad>,
}

/// `[pool.NAME.region.REGION]`: what a pool is made of in a further Region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abroad {
    /// The table's name.
    pub region: String,
    /// `zones` in order: (zone, subnet).
    pub zones: Vec<(String, String)>,
    /// `image`; absent with a site's own template.
    pub image: Option<String>,
    /// `security_groups`.
    pub security_groups: Vec<String>,
    /// `instance_profile`; default: the pool's (IAM has no Regions).
    pub instance_profile: Option<String>,
    /// `launch_template`: the site's own there.
    pub launch_template: Option<String>,
    /// `key_name`; key pairs belong to a Region.
    pub key_name: Option<String>,
}

/// `[[pool.NAME.block]]`: one hardware shape = one range of names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// `type`.
    pub instance_type: String,
    /// `nodes`, the hostlist as written.
    pub nodes: String,
    /// The expanded names, in order.
    pub names: Vec<String>,
    /// `cpus` as Slurm is told; default: cores (no hyper-threads).
    pub cpus: u32,
    /// `memory` MiB as Slurm is told; default: 95 % of nominal.
    pub memory_mib: u64,
    /// GPUs as Slurm is told (`gres`), default from the type.
    pub gpus: u32,
    /// EFA interfaces of the type; 0: none.
    pub efa_max: u32,
    /// `ports`: slurmd ports of the names, for trials on one machine (`27001-27064`).
    pub ports: Option<String>,
    /// `node_addr`/`node_hostname` written by `burstctl slurm-conf`, for trials on one machine.
    pub node_addr: Option<String>,
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// `max_nodes` of one gang, whatever its pool.
    pub max_nodes: Option<u32>,
    /// `max_cost_per_job`.
    pub max_cost_per_job: Option<MicroUsd>,
    /// `collect_most`: instances ended by one pass of collection; None: 20, or a tenth of all where that is more.
    pub collect_most: Option<u32>,
    /// `fleet_most`, default 1000: instances of one CreateFleet; larger gangs take several.
    #[serde(default = "fleet_most")]
    pub fleet_most: u32,
    /// `plan_bytes`, default 65536.
    pub plan_bytes: usize,
    /// `queue`: jobs waiting for the engine, default 4096.
    pub queue: usize,
    /// Limits on what may be spent.
    pub spending: crate::spending::Spending,
}

fn split_limit() -> Seconds {
    Seconds(600)
}

fn one() -> u32 {
    1
}

fn fleet_most() -> u32 {
    crate::limits::FLEET_MOST
}

/// One thing wrong with burst.toml.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {key}: {text}")]
pub struct ConfigError {
    /// File as given.
    pub file: String,
    /// 1-based, 0 where no line applies.
    pub line: usize,
    /// Dotted key.
    pub key: String,
    /// What is wrong and what to write instead.
    pub text: String,
}

impl Config {
    /// Parses and validates; all errors at once.
    ///
    /// # Errors
    /// Everything wrong with the text, in the order of the file.
    pub fn parse(text: &str, file: &str) -> Result<Self, Vec<ConfigError>> {
        check::config(text, file)
    }

    /// Best effort on a broken file: the partitions named by `partition = "…"`, so that their jobs are refused rather
    /// than scheduled onto nodes that do not exist.
    #[must_use]
    pub fn partitions_of_broken(text: &str) -> Vec<String> {
        text.lines().take(10_000).flat_map(partitions_of_line).collect()
    }

    /// Best effort, also on a file that cannot be used: `listen` and `advertise` of `[cluster]`.
    #[must_use]
    pub fn listeners(text: &str) -> (Option<SocketAddr>, Vec<String>) {
        let root: toml::Table = toml::from_str(text).unwrap_or_default();
        let of = |key: &str| root.get("cluster")?.get(key).cloned();
        let listen = of("listen").and_then(|l| l.as_str()?.parse().ok());
        let advertise = of("advertise").and_then(|a| a.as_array().cloned()).unwrap_or_default();
        (listen, advertise.iter().filter_map(|a| a.as_str().map(str::to_owned)).collect())
    }

    /// Every Region that pools launch into: the first is `aws.region`.
    #[must_use]
    pub fn regions(&self) -> Vec<&str> {
        let mut all = vec![self.aws.region.as_str()];
        for r in self.pools.values().flat_map(|p| &p.regions) {
            if !all.contains(&r.region.as_str()) {
                all.push(&r.region);
            }
        }
        all
    }

    /// The pool of a partition.
    #[must_use]
    pub fn pool_of_partition(&self, partition: &str) -> Option<&Pool> {
        self.pools.values().find(|p| p.partition == partition)
    }
}

/// What a line gives to the key `partition`: bare, quoted, dotted (`pool.efa.partition`) or in an inline table.
fn partitions_of_line(line: &str) -> Vec<String> {
    let mut quote = None;
    let comment = line.char_indices().find(|(_, c)| {
        match (quote, *c) {
            (None, '#') => return true,
            (None, '"' | '\'') => quote = Some(*c),
            (Some(q), c) if q == c => quote = None,
            _ => {}
        }
        false
    });
    let line = line.get(..comment.map_or(line.len(), |(i, _)| i)).unwrap_or(line);
    let value = |(at, key): (usize, &str)| {
        // Not the end of another key, such as local_partition.
        let before = line.get(..at)?.chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-') {
            return None;
        }
        let rest = line.get(at + key.len()..)?.trim_start_matches(['"', '\'']);
        let name = rest.trim_start().strip_prefix('=')?.trim_start();
        let bare = name.trim_start_matches(['"', '\'']);
        let ends: &[char] =
            if bare.len() == name.len() { &[' ', '\t', ',', '}', '\r'] } else { &['"', '\''] };
        let end = bare.find(ends).unwrap_or(bare.len());
        bare.get(..end).filter(|n| !n.is_empty()).map(str::to_owned)
    };
    line.match_indices("partition").filter_map(value).collect()
}
