//! A life as it is lived: what the state machine lets go of, kept until the life is over.
//!
//! [`observe`] compares a gang before and after a decision or an outcome; it decides nothing and changes only
//! [`Gang::track`]. So the state machine stays as it is, and whatever it does is seen.

use crate::{
    admit::Rung,
    gang::{Gang, JobView, Member, Phase, Seen, Stage},
    life::{Life, Phases, Purpose, Ran, SlurmFacts},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[cfg(test)]
mod tests;

/// Instances remembered of one life: two paid attempts of the largest fleet, with what they replace.
pub const SPENT: usize = 8_192;
/// Slurm's NO_VAL (slurm.h): a number that was never set.
const NO_VAL: u32 = 0xffff_fffe;

/// What is known of the present life.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Track {
    /// `restart_cnt` of the life; None before the job is known.
    pub restart: Option<u32>,
    /// Times slurmctld has forgotten that a life had ended: with `restart` it tells the lives of a gang apart.
    pub again: u32,
    /// `restart_cnt` of the life before.
    pub last: Option<u32>,
    /// Where the life took its instances over from the one before, Unix ms; they are counted from here.
    pub split_ms: u64,
    /// Attempts and paid attempts of earlier lives.
    pub before: (u32, u32),
    /// When what happened.
    pub phases: Phases,
    /// What is, or was last, launched.
    pub rung: Option<Rung>,
    /// Instances that have ended.
    pub spent: Vec<Ran>,
    /// Ended instances that had no room in `spent`.
    pub left_out: u32,
    /// Slurm's record of this life, as it was last seen.
    pub facts: SlurmFacts,
    /// Time that granted instances waited for the other parts of their gang, all together, ms.
    pub idle_ms: u64,
    /// Why the gang was last given back.
    pub why: String,
    /// Slurm had cleared COMPLETING (or there was nothing to wait for), Unix ms.
    pub cleared_ms: Option<u64>,
    /// A launch was given up without its answer: what it may have granted was ended unseen.
    pub unseen: bool,
    /// Lives that are over and whose rows are not known to be on disk: until then this document has them.
    pub owed: Vec<Life>,
}

/// Lives that one document has at most.
const OWED: usize = 4;

/// Looks at what has just become of the gang. Answers the life that is over with it: without reports and prices.
pub fn observe(before: &Gang, g: &mut Gang, seen: &Seen, now: u64) -> Option<Box<Life>> {
    let restart = g.job.as_ref()?.restart;
    let mut track = std::mem::take(&mut g.track);
    let was_ending = matches!(before.phase, Phase::Ending { .. });
    let is_ending = matches!(g.phase, Phase::Ending { .. });
    // What has neither run nor instances is the life that the job's number now says: a killed slurmctld may have forgotten
    // a requeue, and a gang that was done may be wanted again.
    let idle = before.members.is_empty() && g.members.is_empty() && track.phases.started_ms.is_none();
    if idle && !was_ending && !is_ending && g.phase != Phase::Running && track.restart != Some(restart) {
        track.restart = None;
    }
    let own = match g.phase {
        // No life begins here: a requeue may follow, with a number of its own.
        Phase::Done => track.restart.unwrap_or(restart),
        _ => number(&mut track, restart),
    };
    track.phases.submit_ms.get_or_insert(g.born_ms);
    let job = match seen {
        Seen::Is(j) => Some(j),
        _ => None,
    };
    if let Some(j) = job {
        facts(&mut track.facts, j, own);
    }
    if is_ending && !was_ending {
        track.why = g.history.last().map_or_else(String::new, |e| e.text.clone());
        track.phases.ended_ms = Some(now);
        // A job may begin and end between two looks.
        let ran = job.filter(|j| j.restarts == own && j.state > 2 && j.start > 0 && !j.nodes.is_empty());
        if let Some(j) = ran.filter(|_| matches!(before.phase, Phase::Ready { .. } | Phase::Released { .. }))
        {
            track.phases.started_ms.get_or_insert(j.start.saturating_mul(1_000));
        }
    }
    stamp(&mut track, before, g, now);
    gone(&mut track, before, g, now);
    let over = was_ending && !is_ending && (g.phase == Phase::Done || restart != own);
    // Requeued, and started again on the same nodes before it could be held or given back.
    let split = restart != own && !is_ending && (!was_ending || g.phase == Phase::Running);
    if over || split {
        return finish(track, before, g, (own, split), now);
    }
    if was_ending && !is_ending {
        let p = &mut track.phases;
        (p.ended_ms, p.terminated_ms) = (None, None);
        if p.started_ms.is_none() {
            (p.granted_ms, p.running_ms, p.registered_ms, p.released_ms) = (None, None, None, None);
        }
    }
    g.track = track;
    None
}

/// The life's number, from when its job is known. No two lives of a gang have the same (again, restart): the ledger keeps the
/// first.
fn number(track: &mut Track, restart: u32) -> u32 {
    if let Some(own) = track.restart {
        return own;
    }
    // Where it has not grown, slurmctld has forgotten what was before.
    let forgotten = track.last.is_some_and(|last| restart <= last);
    track.again = track.again.saturating_add(u32::from(forgotten));
    *track.restart.insert(restart)
}

/// Ends a life and begins the next.
fn finish(
    mut track: Track,
    before: &Gang,
    g: &mut Gang,
    (own, split): (u32, bool),
    now: u64,
) -> Option<Box<Life>> {
    let restart = g.job.as_ref().map_or(own, |j| j.restart);
    // What the next life has begun in the same look is its own.
    let mut next =
        Track { before: (before.attempt, g.paid), again: track.again, last: Some(own), ..Track::default() };
    next.phases.submit_ms = Some(now);
    if split {
        track.phases.ended_ms = Some(now);
        track.cleared_ms = Some(now);
        for m in &g.members {
            let ran = ran(&track, g, m, Purpose::Served, now);
            keep(&mut track, ran);
        }
        number(&mut next, restart);
        (next.split_ms, next.rung) = (now, track.rung.clone());
        next.phases.started_ms = (g.phase == Phase::Running).then_some(now);
    } else {
        stamp(&mut next, before, g, now);
        (next.phases.terminated_ms, next.cleared_ms, next.unseen) = (None, None, false);
    }
    track.phases.done_ms = Some(now);
    if restart != own {
        track.facts.state = "REQUEUED".to_owned();
        track.facts.restarts = track.facts.restarts.max(restart);
        track.facts.end = track.phases.ended_ms.map(|t| t / 1_000);
    } else if track.facts.end.is_none() && track.phases.started_ms.is_some() {
        track.facts.state = "UNKNOWN".to_owned();
        track.facts.end = track.phases.ended_ms.map(|t| t / 1_000);
    }
    let (attempts, paid) = track.before;
    next.owed = std::mem::take(&mut track.owed);
    let cost_money = track.phases.launch_ms.is_some() || track.phases.started_ms.is_some();
    g.track = next;
    if !cost_money {
        return None;
    }
    let job = g.job.as_ref()?;
    let trouble = before.last_error.as_ref().map(|e| format!("{}: {}", e.code, e.message));
    let life = Box::new(Life {
        promises: std::mem::take(&mut g.promises),
        job: job.id,
        text: job.text.clone(),
        name: g.geometry.name.clone(),
        user: g.user.clone(),
        uid: g.uid,
        account: g.geometry.account.clone(),
        partition: g.geometry.partition.clone(),
        pool: g.pool.clone(),
        gang: g.key(),
        restart: own,
        again: track.again,
        array_task: g.task,
        attempts: before.attempt.saturating_sub(attempts),
        paid: g.paid.saturating_sub(paid),
        geometry: g.geometry.clone(),
        request: g.request.clone(),
        plan: g.plan.clone(),
        slurm: track.facts,
        phases: track.phases,
        instances: track.spent,
        instances_left_out: track.left_out,
        idle_ms: track.idle_ms,
        unseen: track.unseen,
        cleared_ms: track.cleared_ms,
        trouble,
        ..Life::default()
    });
    if g.track.owed.len() < OWED {
        g.track.owed.push((*life).clone());
    }
    Some(life)
}

/// Slurm's record, as long as it is about this life.
fn facts(f: &mut SlurmFacts, j: &JobView, own: u32) {
    f.restarts = f.restarts.max(j.restarts);
    if j.restarts != own {
        return;
    }
    let known = |t: u64| (t > 0).then_some(t);
    f.submit = known(j.submit).or(f.submit);
    f.time_limit = j.minutes.map(|m| m.saturating_mul(60)).or(f.time_limit);
    f.eligible = known(j.eligible).or(f.eligible);
    f.state = state(j.state).to_owned();
    if j.state == 0 || j.nodes.is_empty() {
        if j.state > 2 {
            f.end = known(j.facts.end);
        }
        return;
    }
    f.start = known(j.start).or(f.start);
    f.nodes.clone_from(&j.nodes);
    let count = |n: u32| (n > 0 && n < NO_VAL).then_some(n);
    f.node_count = count(j.facts.nodes).or(f.node_count);
    f.cpus = count(j.facts.cpus).or(f.cpus);
    if !j.facts.tres.is_empty() {
        f.tres = Some(j.facts.tres.clone());
    }
    if j.state > 2 {
        f.end = known(j.facts.end);
        // A wait status, as waitpid(2) has it.
        let parts = |s: u32| (s < NO_VAL).then_some((s >> 8 & 0xff, s & 0x7f));
        (f.exit_code, f.exit_signal) = parts(j.facts.exit).unzip();
        (f.derived_code, f.derived_signal) = parts(j.facts.derived).unzip();
    }
}

/// Slurm's names of base states (slurm.h `enum job_states`).
fn state(base: u32) -> &'static str {
    const NAMES: [&str; 12] = [
        "PENDING",
        "RUNNING",
        "SUSPENDED",
        "COMPLETED",
        "CANCELLED",
        "FAILED",
        "TIMEOUT",
        "NODE_FAIL",
        "PREEMPTED",
        "BOOT_FAIL",
        "DEADLINE",
        "OUT_OF_MEMORY",
    ];
    usize::try_from(base).ok().and_then(|b| NAMES.get(b)).copied().unwrap_or("UNKNOWN")
}

/// When what happened.
fn stamp(track: &mut Track, before: &Gang, g: &Gang, now: u64) {
    let p = &mut track.phases;
    let entered = before.phase.label() != g.phase.label();
    match &g.phase {
        Phase::Submitted | Phase::Held | Phase::Failed(_) | Phase::Done => {}
        Phase::Waiting { .. } => _ = p.held_ms.get_or_insert(now),
        Phase::Planned => {
            p.held_ms.get_or_insert(now);
            if entered && p.launch_ms.is_none() {
                p.planned_ms = Some(now);
            }
        }
        Phase::Launching { rung, .. } => {
            p.held_ms.get_or_insert(now);
            // Waiting, planned and launched in one look.
            if matches!(before.phase, Phase::Waiting { .. }) && p.launch_ms.is_none() {
                p.planned_ms = Some(now);
            }
            p.planned_ms.get_or_insert(now);
            p.launch_ms.get_or_insert(now);
            let rung = g.split.as_ref().map_or(rung, |s| &s.whole);
            if g.members.is_empty() && track.rung.as_ref() != Some(rung) {
                track.rung = Some(rung.clone());
            }
        }
        Phase::Granted { .. } | Phase::Booting { .. } => {
            if matches!(before.phase, Phase::Launching { .. }) {
                p.granted_ms = Some(now);
                (p.running_ms, p.registered_ms) = (None, None);
            }
            if p.running_ms.is_none() && g.members.iter().all(|m| m.ip.is_some()) {
                p.running_ms = Some(now);
            }
        }
        Phase::Ready { .. } => _ = p.registered_ms.get_or_insert(now),
        Phase::Released { .. } => _ = p.released_ms.get_or_insert(now),
        Phase::Running => {
            p.started_ms.get_or_insert(now);
            p.ended_ms = None;
        }
        Phase::Ending { stage, .. } => {
            if !matches!(stage, Stage::Epilog { .. }) {
                track.cleared_ms.get_or_insert(now);
            }
            if matches!(stage, Stage::Settle { .. }) {
                p.terminated_ms.get_or_insert(now);
            }
        }
    }
    if matches!(before.phase, Phase::Ending { .. })
        && !matches!(g.phase, Phase::Ending { .. } | Phase::Running)
    {
        p.terminated_ms.get_or_insert(now);
    }
    if !matches!(before.phase, Phase::Ending { .. })
        && matches!(g.phase, Phase::Ending { stage: Stage::Epilog { .. }, .. })
    {
        track.cleared_ms = None;
    }
    // Ended with its answer outstanding: the sweep by tag ends what nobody has counted.
    track.unseen |= before.unsure && !g.unsure && matches!(before.phase, Phase::Ending { .. });
}

/// Instances that are no longer the gang's have ended.
fn gone(track: &mut Track, before: &Gang, g: &Gang, now: u64) {
    let still: BTreeSet<&str> = match before.members.len() == g.members.len() && before.retired == g.retired {
        // The usual case: nothing has gone.
        true if before.members.first().map(|m| &m.instance) == g.members.first().map(|m| &m.instance) => {
            return;
        }
        _ => g
            .members
            .iter()
            .map(|m| m.instance.as_str())
            .chain(g.retired.iter().filter(|r| !r.ended).map(|r| r.instance.as_str()))
            .collect(),
    };
    let purpose = match track.phases.started_ms.is_some() {
        true => Purpose::Served,
        false => Purpose::Failed,
    };
    let replaced: BTreeSet<&str> = g.retired.iter().map(|r| r.instance.as_str()).collect();
    for m in &before.members {
        let id = m.instance.as_str();
        if !still.contains(id) && !replaced.contains(id) {
            let ran = ran(track, before, m, purpose, now);
            keep(track, ran);
        }
    }
    for r in before.retired.iter().filter(|r| !r.ended && !still.contains(r.instance.as_str())) {
        let mut m = Member::new(r.instance.clone(), r.node.clone(), r.granted_ms);
        (m.lost_ms, m.market) = (r.lost_ms, r.market);
        let ran = ran(track, before, &m, Purpose::Replaced, now);
        keep(track, ran);
    }
}

fn keep(track: &mut Track, ran: Ran) {
    if track.spent.len() < SPENT {
        track.spent.push(ran);
    } else {
        track.left_out = track.left_out.saturating_add(1);
    }
}

fn ran(track: &Track, g: &Gang, m: &Member, purpose: Purpose, now: u64) -> Ran {
    let rung = track.rung.as_ref();
    let why = match purpose {
        Purpose::Served => String::new(),
        Purpose::Failed => track.why.chars().take(200).collect(),
        Purpose::Replaced => "it did not come up".to_owned(),
    };
    Ran {
        id: m.instance.clone(),
        node: m.node.clone(),
        instance_type: rung.map_or_else(String::new, |r| r.instance_type.clone()),
        zone: rung.map_or_else(String::new, |r| r.zone.clone()),
        region: rung.and_then(|r| r.region.clone()),
        market: m.market.or(rung.map(|r| r.market)),
        efa: rung.map_or(0, |r| r.efa),
        grouped: g.group.is_some(),
        attempt: g.attempt.saturating_sub(track.before.0).max(1),
        launched_ms: m.granted_ms.max(track.split_ms),
        ended_ms: Some(m.lost_ms.unwrap_or(now)),
        interrupted: m.lost_ms.is_some(),
        purpose,
        why,
        ..Ran::default()
    }
}
