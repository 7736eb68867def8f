//! Reading the evidence: one directory with `jobs.txt`, `nodes.txt`, `slurmctld.log` and `audit.jsonl`.

use crate::show::{self, Fields, field};
use crate::{Context, Res, time};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Begins a snapshot; the time in milliseconds follows.
pub const MARK: &str = "=== at_ms ";

/// One EC2 instance by the simulator's audit log.
#[derive(Debug, Clone, Default)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// The fleet that launched it.
    pub fleet: String,
    /// Its type.
    pub kind: String,
    /// Its zone.
    pub zone: String,
    /// Tags at birth.
    pub tags: BTreeMap<String, String>,
    /// When it was granted.
    pub born_ms: u64,
    /// When its end began or was complete, whichever is known first.
    pub ended_ms: Option<u64>,
}

impl Instance {
    /// A tag, empty when there is none.
    #[must_use]
    pub fn tag(&self, key: &str) -> &str {
        self.tags.get(key).map_or("", String::as_str)
    }

    /// Whether it lived at that time.
    #[must_use]
    pub fn lived_at(&self, ms: u64) -> bool {
        self.born_ms <= ms && self.ended_ms.is_none_or(|end| end > ms)
    }
}

/// A job record of a snapshot.
#[derive(Debug, Clone)]
pub struct Job {
    /// When it was looked at.
    pub at_ms: u64,
    /// Its fields.
    pub fields: Fields,
}

/// A node record of a snapshot.
#[derive(Debug, Clone)]
pub struct Node {
    /// When it was looked at.
    pub at_ms: u64,
    /// Its fields.
    pub fields: Fields,
}

/// What a run left.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Every instance, by id.
    pub instances: BTreeMap<String, Instance>,
    /// CreateFleet calls that did something.
    pub fleet_calls: usize,
    /// Job records, in the order they were taken.
    pub jobs: Vec<Job>,
    /// Array tasks as people name them (`12_3`) → id of the job record.
    tasks: BTreeMap<String, String>,
    /// Node records, in the order they were taken.
    pub nodes: Vec<Node>,
    /// slurmctld's log.
    pub log: String,
    /// What could not be understood: evidence that cannot be read proves nothing.
    pub complaints: Vec<String>,
}

impl Evidence {
    /// The id of the job record an instance belongs to: an array task's tag names it as people do (`12_3`), Slurm's
    /// record has an id of its own.
    pub fn job_of<'a>(&'a self, instance: &'a Instance) -> &'a str {
        let tag = instance.tag("slurm-burst:job");
        self.tasks.get(tag).map_or(tag, String::as_str)
    }

    /// Every job's instances.
    #[must_use]
    pub fn instances_by_job(&self) -> BTreeMap<&str, Vec<&Instance>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for i in self.instances.values() {
            all.entry(self.job_of(i)).or_default().push(i);
        }
        all
    }

    /// Reads a directory. Without an audit log the run is taken to have had no simulator.
    ///
    /// # Errors
    /// A file is missing or cannot be read.
    pub fn read(dir: &Path) -> Res<Self> {
        let text = |name: &str| {
            let path = dir.join(name);
            std::fs::read(&path).map(|b| String::from_utf8_lossy(&b).into_owned()).context(path.display())
        };
        let mut evidence = Self { log: text("slurmctld.log")?, ..Self::default() };
        evidence.jobs =
            snapshots(&text("jobs.txt")?).into_iter().map(|(at_ms, fields)| Job { at_ms, fields }).collect();
        for fields in evidence.jobs.iter().map(|j| &j.fields) {
            let (array, task) = (field(fields, "ArrayJobId"), field(fields, "ArrayTaskId"));
            let id = || field(fields, "JobId").to_owned();
            evidence.tasks.entry(format!("{array}_{task}")).or_insert_with(id);
        }
        evidence.nodes = snapshots(&text("nodes.txt")?)
            .into_iter()
            .map(|(at_ms, fields)| Node { at_ms, fields })
            .collect();
        if evidence.nodes.is_empty() {
            evidence.complaints.push("evidence: nodes.txt has no node".into());
        }
        if dir.join("audit.jsonl").exists() {
            evidence.audit(&text("audit.jsonl")?);
        }
        Ok(evidence)
    }

    fn audit(&mut self, text: &str) {
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let Ok(value) = serde_json::from_str::<Value>(line) else {
                self.complaints.push(format!("evidence: audit.jsonl line {} is no JSON", number + 1));
                continue;
            };
            let word = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
            let at = value.get("at_ms").and_then(Value::as_u64).unwrap_or_default();
            let event = word("event");
            if event == "call"
                && word("action") == "CreateFleet"
                && value.get("done") == Some(&Value::Bool(true))
            {
                self.fleet_calls += 1;
            }
            // An administrator's orders have no instance of their own.
            let Some(state) = event.strip_prefix("instance-").filter(|_| !word("instance_id").is_empty())
            else {
                continue;
            };
            let i = self.instances.entry(word("instance_id").to_owned()).or_insert_with(|| Instance {
                id: word("instance_id").into(),
                fleet: word("fleet_id").into(),
                kind: word("type").into(),
                zone: word("zone").into(),
                tags: tags(value.get("tags")),
                born_ms: at,
                ended_ms: None,
            });
            match state {
                "shutting-down" | "terminated" => i.ended_ms = Some(i.ended_ms.unwrap_or(at)),
                _ => {}
            }
        }
    }

    /// The last record of each job, by id.
    #[must_use]
    pub fn last_jobs(&self) -> BTreeMap<String, &Job> {
        self.jobs.iter().map(|j| (field(&j.fields, "JobId").to_owned(), j)).collect()
    }
}

/// Tags as a map, or as a list of pairs or of objects.
fn tags(value: Option<&Value>) -> BTreeMap<String, String> {
    let word = |v: &Value| v.as_str().map_or_else(|| v.to_string(), ToOwned::to_owned);
    match value {
        Some(Value::Object(map)) => map.iter().map(|(k, v)| (k.clone(), word(v))).collect(),
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(|t| match t {
                Value::Array(pair) => Some((word(pair.first()?), word(pair.get(1)?))),
                Value::Object(o) => {
                    let get = |a: &str, b: &str| o.get(a).or_else(|| o.get(b)).map(word);
                    Some((get("key", "Key")?, get("value", "Value")?))
                }
                _ => None,
            })
            .collect(),
        _ => BTreeMap::new(),
    }
}

fn snapshots(text: &str) -> Vec<(u64, Fields)> {
    let mut all = Vec::new();
    for part in text.split(MARK).skip(1) {
        let (at, body) = part.split_once('\n').unwrap_or((part, ""));
        let at = at.trim().parse().unwrap_or_default();
        all.extend(show::records(body).into_iter().map(|fields| (at, fields)));
    }
    all
}

/// `JobId=12`, `JobId=12_3(15)` in a line of slurmctld's log: what stands there.
fn told_job(line: &str) -> Option<&str> {
    line.split("JobId=").nth(1)?.split_whitespace().next()
}

/// A start as slurmctld's log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// When, Unix ms.
    pub at_ms: u64,
    /// The record's number: 15 for `12_3(15)`.
    pub id: String,
    /// The job's name for people: `12_3` for `12_3(15)`. Records of array tasks may change their numbers when slurmctld was
    /// killed.
    pub name: String,
    /// Nodes.
    pub nodes: Vec<String>,
}

/// Starts of jobs by slurmctld's log.
#[must_use]
pub fn starts(log: &str) -> Vec<Start> {
    log.lines()
        .filter_map(|line| {
            let at = line.strip_prefix('[')?.split(']').next()?;
            let nodes = if line.contains("sched: Allocate JobId=") {
                line.split("NodeList=").nth(1)?.split_whitespace().next()?
            } else if line.contains("sched/backfill:") && line.contains(": Started JobId=") {
                line.rsplit(" on ").next()?.split_whitespace().next()?
            } else {
                return None;
            };
            let told = told_job(line)?;
            let (name, id) = told.split_once('(').unwrap_or((told, told));
            let id = id.trim_end_matches(|c: char| !c.is_ascii_digit()).to_owned();
            Some(Start { at_ms: time::parse(at)?, id, name: name.to_owned(), nodes: show::hosts(nodes) })
        })
        .collect()
}
