//! Gangs in parts, from EC2's side: every intent is in the journal before it leaves, what is not whole is gone within
//! bounded time, and an attempt is paid for once however many fleets it takes.

use crate::{
    life::{Disk, Outside},
    slurm::Tables,
};
use burst_cloud::FleetRequest;
use burst_plan::Market;
use rusqlite::OptionalExtension;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
    time::Duration,
};

/// Longest life of instances whose gang is not whole (ms): split_limit, and what crashes and lost answers add.
const PARTIAL_MS: u64 = 60_000 + 180_000;

/// Whether the journal has the request, as it is sent, under its client token.
pub fn journalled(disk: &Disk, request: &FleetRequest) -> bool {
    let db = disk.lock().unwrap_or_else(PoisonError::into_inner);
    let found = db
        .query_row("SELECT request FROM intent WHERE token = ?1", [&request.client_token], |r| {
            r.get::<_, String>(0)
        })
        .optional()
        .expect("the journal can be read");
    found.is_some_and(|text| serde_json::from_str::<FleetRequest>(&text).is_ok_and(|r| r == *request))
}

/// What one attempt of a gang was granted.
#[derive(Default)]
struct Attempt {
    /// Nodes of its job.
    want: usize,
    ids: Vec<String>,
    /// Of each fleet that granted something.
    sizes: Vec<usize>,
    markets: BTreeSet<&'static str>,
}

impl Attempt {
    fn is_whole(&self) -> bool {
        self.ids.len() >= self.want
    }

    /// Fleets that were needed to make it whole the first time; those after it replaced nodes.
    fn first(&self) -> usize {
        let mut sum = 0;
        self.sizes
            .iter()
            .take_while(|n| {
                let short = sum < self.want;
                sum += **n;
                short
            })
            .count()
    }
}

/// Nodes by gang: a number may be another job's after a kill.
fn wants(t: &Tables) -> BTreeMap<String, usize> {
    t.past.iter().chain(t.jobs.values()).filter_map(|j| Some((j.key()?, j.want))).collect()
}

/// By gang and attempt.
fn attempts(out: &Outside) -> BTreeMap<(String, String), Attempt> {
    let wants = wants(&out.slurm.tables());
    let mut all: BTreeMap<(String, String), Attempt> = BTreeMap::new();
    for (request, answer) in out.ec2.fleets() {
        let tag = |k: &str| request.tags.get(k).cloned().unwrap_or_default();
        // A job that slurmctld lost with its last seconds has no record: nothing is known of its size.
        let Some(want) = wants.get(&tag("slurm-burst:gang")) else { continue };
        if answer.instances.is_empty() {
            continue;
        }
        let a = all.entry((tag("slurm-burst:gang"), tag("slurm-burst:attempt"))).or_default();
        a.want = *want;
        a.ids.extend(answer.instances.iter().map(|i| i.id.clone()));
        a.sizes.push(answer.instances.len());
        a.markets.insert(if request.market == Market::Spot { "spot" } else { "on-demand" });
    }
    all
}

/// Watches that no part of a gang outlives its bounded time.
pub async fn watch(out: Outside) {
    let mut since: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut told = BTreeSet::new();
    loop {
        tokio::time::sleep(Duration::from_secs(4)).await;
        let at = out.dice.passed_ms();
        let mut partial = BTreeMap::new();
        for (key, a) in attempts(&out) {
            if !a.is_whole() && a.ids.iter().any(|id| out.ec2.lives(id)) {
                let from = since.get(&key).copied().unwrap_or(at);
                if at > from + PARTIAL_MS && told.insert(key.clone()) {
                    let (got, want) = (a.ids.len(), a.want);
                    let text = format!(
                        "gang {} attempt {}: {got} of {want} granted, and alive since {from}",
                        key.0, key.1
                    );
                    out.slurm.laws.broke(at, text);
                }
                partial.insert(key, from);
            }
        }
        since = partial;
    }
}

/// At the end: attempts that cost money, and what the story was rich in.
pub fn judge(out: &Outside) {
    let (laws, at) = (&out.slurm.laws, out.dice.passed_ms());
    let mut paid: BTreeMap<String, usize> = BTreeMap::new();
    for ((gang, _), a) in attempts(out) {
        // One for the attempt, one for each fleet that replaced nodes of it.
        *paid.entry(gang).or_default() += 1 + a.sizes.len() - a.first();
        match (a.is_whole(), a.first()) {
            (true, 2..) => laws.count("gangs in parts"),
            (false, _) => laws.count("parts given back"),
            _ => {}
        }
        if a.is_whole() && a.markets.len() > 1 {
            laws.count("mixed gangs");
        }
    }
    for (gang, n) in paid.into_iter().filter(|(_, n)| *n > 2) {
        laws.broke(at, format!("gang {gang}: {n} paid attempts"));
    }
}
