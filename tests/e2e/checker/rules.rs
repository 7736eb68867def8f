//! The rules, one function each.

use super::Expect;
use super::evidence::{Evidence, Instance, Start, starts};
use crate::show::{field, hosts};
use crate::time;
use std::collections::{BTreeMap, BTreeSet};

/// Slurm tells times to the second.
const SLURM_CLOCK_MS: u64 = 1_000;

/// Every instance carries its owner's tags.
pub fn untagged(evidence: &Evidence, expect: &Expect, found: &mut Vec<String>) {
    for i in evidence.instances.values() {
        let missing: Vec<&str> =
            expect.tags.iter().map(String::as_str).filter(|t| i.tag(t).is_empty()).collect();
        if !missing.is_empty() {
            found.push(format!("untagged: {} of fleet {} lacks {}", i.id, i.fleet, missing.join(", ")));
        }
    }
}

/// When the run is over nothing lives; and what lives has a job that Slurm knows.
pub fn orphans(evidence: &Evidence, expect: &Expect, found: &mut Vec<String>) {
    let jobs = evidence.last_jobs();
    for i in evidence.instances.values().filter(|i| i.ended_ms.is_none()) {
        let job = evidence.job_of(i);
        if expect.over {
            found.push(format!("orphan: {} of job {job:?} was launched and never terminated", i.id));
        } else if !jobs.contains_key(job) {
            found.push(format!("orphan: {} belongs to job {job:?}, which Slurm does not know", i.id));
        }
    }
}

fn gangs(evidence: &Evidence) -> BTreeMap<(&str, &str), Vec<&Instance>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for i in evidence.instances.values() {
        all.entry((evidence.job_of(i), i.tag("slurm-burst:gang"))).or_default().push(i);
    }
    all
}

/// One fleet per launch intent, no two fleets of a gang alive at once beyond its size, and no more paid attempts than allowed
/// for each time the job was (re)queued.
pub fn double_launch(evidence: &Evidence, expect: &Expect, found: &mut Vec<String>) {
    let jobs = evidence.last_jobs();
    for ((job, gang), members) in gangs(evidence) {
        let mut intents: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        // (attempt, fleet) → when its first instance was born, and how many it has.
        let mut fleets: BTreeMap<(&str, &str), (u64, usize)> = BTreeMap::new();
        for i in &members {
            let intent = (i.tag("slurm-burst:attempt"), i.tag("slurm-burst:intent"));
            intents.entry(intent).or_default().insert(&i.fleet);
            let fleet = fleets.entry((intent.0, &i.fleet)).or_insert((i.born_ms, 0));
            *fleet = (fleet.0.min(i.born_ms), fleet.1 + 1);
        }
        for ((attempt, intent), of) in &intents {
            if of.len() > 1 {
                let list: Vec<&str> = of.iter().copied().collect();
                found.push(format!(
                    "double launch: job {job} gang {gang} attempt {attempt} intent {intent}: fleets {}",
                    list.join(", ")
                ));
            }
        }
        let record = jobs.get(job);
        let restarts = record.and_then(|j| field(&j.fields, "Restarts").parse::<usize>().ok()).unwrap_or(0);
        let allowed = expect.paid_attempts * (restarts + 1);
        let size = record.and_then(|j| nodes_wanted(field(&j.fields, "NumNodes")));
        let paid = paid(&fleets, size.unwrap_or(0));
        if paid > allowed {
            found.push(format!("double launch: job {job} gang {gang}: {paid} fleets, {allowed} allowed"));
        }
        let Some(size) = size else { continue };
        let most = members
            .iter()
            .map(|i| members.iter().filter(|o| o.lived_at(i.born_ms)).count())
            .max()
            .unwrap_or(0);
        if most > size {
            found.push(format!(
                "double launch: job {job} gang {gang}: {most} instances at once for {size} nodes"
            ));
        }
    }
}

/// Fleets, those that make up one gang of `size` nodes counted as one.
fn paid(fleets: &BTreeMap<(&str, &str), (u64, usize)>, size: usize) -> usize {
    let mut attempts: BTreeMap<&str, Vec<(u64, usize)>> = BTreeMap::new();
    for ((attempt, _), fleet) in fleets {
        attempts.entry(attempt).or_default().push(*fleet);
    }
    let of = |mut all: Vec<(u64, usize)>| {
        all.sort_unstable();
        let mut sum = 0;
        let mut count = 0;
        for (n, (_, instances)) in all.into_iter().enumerate() {
            // A further part of a gang that is not whole yet is paid for by the first one's attempt.
            count += usize::from(n == 0 || sum >= size);
            sum += instances;
        }
        count
    };
    attempts.into_values().map(of).sum()
}

/// `4` or `4-4`.
fn nodes_wanted(text: &str) -> Option<usize> {
    text.split('-').next()?.parse().ok()
}

/// A job started on our nodes has one living instance of its own for each of them, and all of its nodes.
pub fn short_gang(evidence: &Evidence, expect: &Expect, found: &mut Vec<String>) {
    let (jobs, instances) = (evidence.last_jobs(), evidence.instances_by_job());
    let mut forced: Vec<String> = expect.forced.iter().map(u32::to_string).collect();
    for Start { at_ms: at, id: job, nodes, .. } in starts(&evidence.log) {
        let ours = nodes.iter().filter(|n| expect.ours(n)).count();
        if ours == 0 {
            continue;
        }
        if ours != nodes.len() {
            found.push(format!(
                "short gang: job {job} started on {} of ours and {} others",
                ours,
                nodes.len() - ours
            ));
        }
        let own = instances.get(job.as_str()).into_iter().flatten();
        let living = own.filter(|i| i.lived_at(at)).count();
        if living == 0
            && let Some(n) = forced.iter().position(|f| *f == job)
        {
            forced.remove(n);
            continue;
        }
        if living != ours {
            found.push(format!(
                "short gang: job {job} started on {ours} nodes with {living} living instances"
            ));
        }
        if let Some(size) = jobs.get(&job).and_then(|j| nodes_wanted(field(&j.fields, "NumNodes")))
            && size != ours
        {
            found.push(format!("short gang: job {job} wants {size} nodes and started on {ours}"));
        }
    }
}

/// Instances do not outlive their job by more than the margin.
pub fn after_end(evidence: &Evidence, expect: &Expect, found: &mut Vec<String>) {
    let instances = evidence.instances_by_job();
    for (id, job) in evidence.last_jobs() {
        let state = field(&job.fields, "JobState");
        if ["PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "REQUEUED"].contains(&state) {
            continue;
        }
        let Some(end) = time::parse(field(&job.fields, "EndTime")) else { continue };
        let limit = end + SLURM_CLOCK_MS + expect.after_end_ms;
        let last_seen = job.at_ms;
        let (mut count, mut over_ms) = (0_u64, 0_u64);
        for i in instances.get(id.as_str()).into_iter().flatten() {
            let over = i.ended_ms.unwrap_or(last_seen).saturating_sub(limit.max(i.born_ms));
            if over > 0 {
                count += 1;
                over_ms += over;
            }
        }
        if count > 0 {
            found.push(format!(
                "after the end: {count} instances of job {id} ({state}) lived {} beyond the margin of {} in all",
                time::seconds(over_ms),
                time::seconds(expect.after_end_ms)
            ));
        }
    }
}

/// No node of ours is ever DOWN, by the snapshots or by slurmctld's log.
pub fn down(evidence: &Evidence, expect: &Expect, found: &mut Vec<String>) {
    // Names told of already, or that may fail.
    let (mut seen, mut failing) = (BTreeSet::new(), expect.failing);
    for line in evidence.log.lines() {
        let low = line.to_ascii_lowercase();
        let tells = low.contains("setting down")
            || low.contains("state to down")
            || low.contains("marking down")
            || low.contains("unexpectedly rebooted")
            || low.contains("set to state down");
        let named = line.split_once("Nodes ").and_then(|(_, r)| r.split(' ').next()).unwrap_or_default();
        let named: Vec<String> = hosts(named).into_iter().filter(|n| expect.ours(n)).collect();
        if tells && (1..=failing).contains(&named.len()) {
            failing -= named.len();
            seen.extend(named);
            continue;
        }
        if tells && expect.prefixes.iter().any(|p| line.contains(p.as_str())) {
            found.push(format!("node down, says slurmctld: {line}"));
        }
    }
    for node in &evidence.nodes {
        let (name, state) = (field(&node.fields, "NodeName"), field(&node.fields, "State"));
        let bad = |s: &str| s.starts_with("DOWN") || s.contains("+DRAIN") || s.contains("+FAIL");
        if expect.ours(name) && bad(state) && seen.insert(name.to_owned()) {
            found.push(format!("node down: {name} is {state} ({})", field(&node.fields, "Reason")));
        }
    }
    if expect.over {
        let last = evidence.nodes.iter().map(|n| n.at_ms).max().unwrap_or_default();
        for node in evidence.nodes.iter().filter(|n| n.at_ms == last) {
            let (name, state) = (field(&node.fields, "NodeName"), field(&node.fields, "State"));
            if expect.ours(name) && state.trim_end_matches('*') != "IDLE+CLOUD+POWERED_DOWN" {
                found.push(format!("node left: {name} is {state} at the end"));
            }
        }
    }
}

/// slurmctld was not brought down and no panic was caught.
pub fn fatal(evidence: &Evidence, found: &mut Vec<String>) {
    for line in evidence.log.lines() {
        // The second is what the plugin's guard writes of a panic.
        let bad = line.contains("] fatal: ")
            || (line.contains("a bug of slurm-burst in") && line.contains("was caught"));
        if bad {
            found.push(format!("controller: {line}"));
        }
    }
}
