//! The verdict on a crash storm: slurmctld was killed again and again, and lost each time what it had not saved.
//!
//! A lost job's number is given again to the next one, so that here a gang is told by its tag and a job by the time of its
//! submission, and a second start is right where the first one was lost with slurmctld's memory.

use super::evidence::{Evidence, Instance, starts};
use super::{Expect, rules};
use crate::show::{Fields, field, hosts};
use crate::{Context, Res};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A save takes its copy a moment before the file's time, and Slurm tells times to the second.
const SAVE_MS: u64 = 2_000;
/// slurmctld saves what has changed within this.
const SAVED_WITHIN_MS: u64 = 8_000;
/// A job starts no earlier after its submission than this, and `sbatch` answers sooner.
const ANSWER_MS: u64 = 500;
/// An answer is written down within this.
const WRITTEN_MS: u64 = 1_000;
/// A slurmctld that starts may schedule by its older table until the engine has looked at the jobs and held what is over.
const LOOK_MS: u64 = 10_000;

/// What a job is told in its first moment: no reason to be pending for ever.
const NO_REASON: &str = "held: nodes will be launched for it";

/// What became of a storm.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Kills by boundary.
    pub kills: BTreeMap<String, u64>,
    /// Jobs, those that Slurm lost included.
    pub jobs: usize,
    /// Jobs that slurmctld had not saved when it was killed.
    pub slurm_lost: usize,
    /// Starts, and ends of jobs on local nodes, that slurmctld had not saved when it was killed.
    pub starts_lost: usize,
    /// Jobs that were neither run nor pending with a reason.
    pub lost: Vec<String>,
    /// Jobs that ran twice, intents that were launched twice.
    pub twice: Vec<String>,
    /// Instances that nobody ended.
    pub orphans: Vec<String>,
    /// Nodes that were DOWN or did not come back.
    pub down: Vec<String>,
    /// Whatever else is wrong.
    pub other: Vec<String>,
    /// Jobs that were pending with a reason at the end.
    pub pending: Vec<String>,
    /// Starts by an older table: the job had started on these nodes already, which a killed slurmctld had not saved.
    pub on_paper: Vec<String>,
    /// Jobs whose script slurmd removed as it started (`slurm-22.05 src/common/stepd_api.c` `_handle_stray_script`: whoever
    /// asks for a step between its socket's bind and listen takes it for a dead one).
    pub purged: Vec<String>,
}

impl Verdict {
    /// Everything that is wrong.
    pub fn wrong(&self) -> impl Iterator<Item = &String> {
        let all = [&self.lost, &self.twice, &self.orphans, &self.down, &self.other];
        all.into_iter().flatten()
    }

    /// The last line.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "crash-storm: {} kills, {} jobs, {} lost, {} twice, {} orphans, {} down",
            self.kills.values().sum::<u64>(),
            self.jobs,
            self.lost.len(),
            self.twice.len(),
            self.orphans.len(),
            self.down.len()
        )
    }
}

struct Kill {
    at_ms: u64,
    saved_ms: u64,
}

struct Submission {
    job: String,
    at_ms: u64,
    nodes: usize,
    tasks: usize,
}

struct Storm {
    evidence: Evidence,
    kills: Vec<Kill>,
    submitted: Vec<Submission>,
    cancelled: BTreeMap<String, Vec<Value>>,
    /// job → (what, Unix ms) its script wrote.
    ran: BTreeMap<String, Vec<(String, u64)>>,
    /// (job, Unix ms) of scripts that slurmds removed.
    purged: Vec<(String, u64)>,
}

/// Judges a directory: an evidence's files and `kills.jsonl`, `submitted.jsonl`, `cancelled.jsonl`, `ran.txt`, `purged.txt`.
///
/// # Errors
/// A file is missing or cannot be read.
pub fn judge(dir: &Path) -> Res<Verdict> {
    let mut verdict = Verdict::default();
    let storm = read(dir, &mut verdict)?;
    let expect = Expect { after_end_ms: 60_000, ..Expect::default() };
    rules::untagged(&storm.evidence, &expect, &mut verdict.other);
    rules::after_end(&storm.evidence, &expect, &mut verdict.other);
    rules::fatal(&storm.evidence, &mut verdict.other);
    rules::orphans(&storm.evidence, &expect, &mut verdict.orphans);
    rules::down(&storm.evidence, &expect, &mut verdict.down);
    verdict.other.extend(storm.evidence.complaints.iter().cloned());
    storm.launches(&mut verdict);
    storm.jobs(&expect, &mut verdict);
    Ok(verdict)
}

fn read(dir: &Path, verdict: &mut Verdict) -> Res<Storm> {
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).context(name);
    let values = |name: &str| -> Res<Vec<Value>> {
        text(name)?.lines().map(|l| serde_json::from_str(l).context(name)).collect()
    };
    let number = |v: &Value, key: &str| v.get(key).and_then(Value::as_u64).unwrap_or_default();
    let count = |v: &Value, key: &str| usize::try_from(number(v, key)).unwrap_or(usize::MAX);
    for boundary in text("boundaries.txt")?.lines() {
        verdict.kills.insert(boundary.to_owned(), 0);
    }
    let mut kills = Vec::new();
    for v in values("kills.jsonl")? {
        let boundary = v.get("boundary").and_then(Value::as_str).unwrap_or_default();
        *verdict.kills.entry(boundary.to_owned()).or_default() += 1;
        kills.push(Kill { at_ms: number(&v, "at_ms"), saved_ms: number(&v, "saved_ms") });
    }
    let submitted = values("submitted.jsonl")?
        .iter()
        .map(|v| Submission {
            job: number(v, "job").to_string(),
            at_ms: number(v, "at_ms"),
            nodes: count(v, "nodes"),
            tasks: count(v, "tasks"),
        })
        .collect();
    let mut cancelled: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for v in values("cancelled.jsonl")? {
        cancelled.entry(number(&v, "job").to_string()).or_default().push(v);
    }
    let mut ran: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for line in text("ran.txt")?.lines() {
        if let [what, job, at] = line.split(' ').collect::<Vec<_>>()[..] {
            ran.entry(job.to_owned()).or_default().push((what.to_owned(), at.parse().unwrap_or_default()));
        }
    }
    let purged = text("purged.txt")?;
    let purged = purged.lines().filter_map(|l| l.split_once(' '));
    let purged = purged.map(|(job, at)| (job.to_owned(), at.parse().unwrap_or_default())).collect();
    Ok(Storm { evidence: Evidence::read(dir)?, kills, submitted, cancelled, ran, purged })
}

/// The gang that a job's comment names, an array task's with its task.
fn gang_of(fields: &Fields) -> Option<String> {
    let tag = field(fields, "AdminComment").strip_prefix("[burst ")?.split(']').next()?;
    let task = field(fields, "ArrayTaskId");
    let whole = task.is_empty() || tag.contains('_');
    Some(if whole { tag.to_owned() } else { format!("{tag}_{task}") })
}

impl Storm {
    /// Whether slurmctld was killed after `at_ms` without having saved it.
    fn unsaved(&self, at_ms: u64) -> bool {
        let next = self.kills.iter().find(|k| k.at_ms >= at_ms);
        next.is_some_and(|k| k.saved_ms < at_ms + SAVE_MS)
    }

    /// One fleet for an intent, and never more instances of a gang than its nodes.
    fn launches(&self, verdict: &mut Verdict) {
        let mut gangs: BTreeMap<&str, Vec<&Instance>> = BTreeMap::new();
        for i in self.evidence.instances.values() {
            gangs.entry(i.tag("slurm-burst:gang")).or_default().push(i);
        }
        for (gang, members) in gangs {
            let mut intents: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
            for i in &members {
                let intent = (i.tag("slurm-burst:attempt"), i.tag("slurm-burst:intent"));
                intents.entry(intent).or_default().insert(&i.fleet);
            }
            for ((attempt, intent), fleets) in intents.iter().filter(|(_, f)| f.len() > 1) {
                verdict.twice.push(format!(
                    "twice: gang {gang} attempt {attempt} intent {intent} was launched as {}",
                    fleets.iter().copied().collect::<Vec<_>>().join(", ")
                ));
            }
            let job = members.first().map_or("", |i| i.tag("slurm-burst:job"));
            let base = job.split('_').next().unwrap_or_default();
            let size = self.submitted.iter().filter(|s| s.job == base).map(|s| s.nodes).max();
            let alive = |at: u64| members.iter().filter(|o| o.lived_at(at)).count();
            let most = members.iter().map(|i| alive(i.born_ms)).max().unwrap_or(0);
            if size.is_some_and(|s| most > s) {
                verdict.twice.push(format!("twice: gang {gang} of job {job} had {most} instances at once"));
            }
        }
    }

    fn jobs(&self, expect: &Expect, verdict: &mut Verdict) {
        let records = self.evidence.last_jobs();
        let mut started: BTreeMap<String, Vec<(u64, Vec<String>)>> = BTreeMap::new();
        for s in starts(&self.evidence.log) {
            started.entry(s.name).or_default().push((s.at_ms, s.nodes));
        }
        for (id, job) in &records {
            verdict.jobs += 1;
            let fields = &job.fields;
            let array = field(fields, "ArrayJobId");
            let base = if array.is_empty() { id.as_str() } else { array };
            let task = field(fields, "ArrayTaskId");
            let name = if task.is_empty() { id.clone() } else { format!("{array}_{task}") };
            // Of several submissions with one number only the last can be there.
            let submission = self.submitted.iter().filter(|s| s.job == base).map(|s| s.at_ms).max();
            let asked = submission.unwrap_or(0);
            // A number is given again only after a kill that lost it.
            let killed = self.kills.iter().map(|k| k.at_ms).filter(|at| *at < asked).max();
            let since = asked.saturating_sub(ANSWER_MS).max(killed.unwrap_or(0));
            let own: Vec<&(u64, Vec<String>)> =
                started.get(&name).into_iter().flatten().filter(|(at, _)| *at >= since).collect();
            let paper = own.iter().filter(|s| self.on_paper(&own, s)).count();
            self.outcome((id, base), fields, (since, paper > 0), verdict);
            self.repeated(id, fields, &own, verdict);
            for start in &own {
                let (at, nodes) = start;
                let Some(short) = self.short(id, fields, (*at, nodes), expect) else { continue };
                match self.on_paper(&own, start) {
                    true => verdict.on_paper.push(format!("job {id} at {at} on {}", nodes.join(","))),
                    false => verdict.other.push(short),
                }
            }
        }
        let mut latest: BTreeMap<&str, u64> = BTreeMap::new();
        for s in &self.submitted {
            let at = latest.entry(s.job.as_str()).or_default();
            *at = (*at).max(s.at_ms);
        }
        for s in &self.submitted {
            let known = records.contains_key(&s.job)
                || records.values().any(|r| field(&r.fields, "ArrayJobId") == s.job);
            let last = latest.get(s.job.as_str()) == Some(&s.at_ms);
            if known && last {
                continue;
            }
            verdict.jobs += s.tasks;
            verdict.slurm_lost += s.tasks;
            // Whose answer came while slurmctld was killed is written down a moment later.
            let next = self.kills.iter().find(|k| k.at_ms + WRITTEN_MS >= s.at_ms);
            if next.is_none_or(|k| k.saved_ms > s.at_ms + SAVED_WITHIN_MS) {
                verdict
                    .lost
                    .push(format!("lost: job {}, submitted at {}, was saved and is gone", s.job, s.at_ms));
            }
        }
    }

    /// Whether slurmctld started the job where it had started before, by a table older than that.
    fn on_paper(&self, own: &[&(u64, Vec<String>)], (at, nodes): &(u64, Vec<String>)) -> bool {
        let killed =
            |was: u64| self.kills.iter().any(|k| (was..*at).contains(&k.at_ms) && *at <= k.at_ms + LOOK_MS);
        own.iter().any(|(was, on)| was < at && on == nodes && self.unsaved(*was) && killed(*was))
    }

    /// It ran to its end, or somebody wanted it otherwise.
    fn outcome(
        &self,
        (id, base): (&str, &str),
        fields: &Fields,
        (since, paper): (u64, bool),
        verdict: &mut Verdict,
    ) {
        let state = field(fields, "JobState");
        let says = field(fields, "AdminComment");
        let orders = || [id, base].into_iter().filter_map(|j| self.cancelled.get(j)).flatten();
        let stuck = orders().find(|v| v.get("stuck").is_some());
        let own = self.ran.get(id).into_iter().flatten();
        let ended: Vec<u64> = own.filter(|(w, at)| w == "end" && *at >= since).map(|(_, at)| *at).collect();
        let ends = ended.len();
        // On a node that is none of a pool's: nothing of ours is there to tell slurmctld what it forgot.
        let local = field(fields, "Partition") == "cpu";
        // Its last start; one before it may have been forgotten.
        let started = crate::time::parse(field(fields, "StartTime")).unwrap_or_default().max(since);
        match state {
            "COMPLETED" if ends > 0 => {}
            "TIMEOUT" if local && ended.iter().any(|at| self.unsaved(*at)) => verdict.starts_lost += 1,
            "CANCELLED" if stuck.is_some() => {
                let word =
                    |key: &str| stuck.and_then(|v| v.get(key)).and_then(Value::as_str).unwrap_or_default();
                let text = format!("job {id} was {}: {}", word("stuck"), word("says"));
                let reason = word("says").starts_with("[burst ") && !word("says").contains(NO_REASON);
                // What it waits for has to be there.
                let at = stuck.and_then(|v| v.get("at_ms")).and_then(Value::as_u64).unwrap_or_default();
                let granted = word("says").contains(") granted, ");
                let gang = gang_of(fields).unwrap_or_default();
                let of = |i: &Instance| i.tag("slurm-burst:gang") == gang && i.lived_at(at);
                let there = !granted || self.evidence.instances.values().any(of);
                match word("stuck") == "PENDING" && reason && there {
                    true => verdict.pending.push(text),
                    false => verdict.lost.push(format!("lost: {text}")),
                }
            }
            // It was started again where it had ended, and that could not be.
            "FAILED" if paper && ends > 0 => {}
            "FAILED"
                if !self.ran.get(id).into_iter().flatten().any(|(_, at)| *at >= started)
                    && self.purged.iter().any(|(job, at)| job == id && *at >= started) =>
            {
                verdict.purged.push(format!("job {id}: its script was removed by slurmd"));
            }
            "CANCELLED" if orders().next().is_some() || says.contains("cancelled, as asked") => {}
            _ => verdict.lost.push(format!(
                "lost: job {id} is {state} ({}) and wrote {ends} ends: {says}",
                field(fields, "Reason")
            )),
        }
    }

    /// Each start after the first has a requeue, or a start before it that slurmctld forgot.
    fn repeated(&self, id: &str, fields: &Fields, own: &[&(u64, Vec<String>)], verdict: &mut Verdict) {
        let requeues = field(fields, "Restarts").parse::<usize>().unwrap_or(0);
        let forgotten = own.iter().filter(|(at, _)| self.unsaved(*at)).count();
        verdict.starts_lost += forgotten;
        if own.len() > 1 + requeues + forgotten {
            let times: Vec<String> = own.iter().map(|(at, _)| at.to_string()).collect();
            verdict.twice.push(format!(
                "twice: job {id} started {} times ({}), {requeues} requeues, {forgotten} starts forgotten",
                own.len(),
                times.join(", ")
            ));
        }
    }

    /// A start is on all nodes of the job's own gang, each with a living instance; what it is, where it is not.
    fn short(
        &self,
        id: &str,
        fields: &Fields,
        (at, nodes): (u64, &[String]),
        expect: &Expect,
    ) -> Option<String> {
        let ours = nodes.iter().filter(|n| expect.ours(n)).count();
        if ours == 0 {
            return None;
        }
        let gang = gang_of(fields).unwrap_or_default();
        let of = |i: &&Instance| i.tag("slurm-burst:gang") == gang && i.lived_at(at);
        let living = self.evidence.instances.values().filter(of).count();
        let wanted = hosts(field(fields, "ReqNodeList")).len();
        let short = living != ours || ours != nodes.len() || (wanted > 0 && wanted != ours);
        short.then(|| {
            format!(
                "short gang: job {id} of gang {gang} started at {at} on {} nodes ({ours} of ours, {wanted} wanted) with {living} living instances",
                nodes.len()
            )
        })
    }
}
