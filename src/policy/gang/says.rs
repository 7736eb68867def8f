//! What a gang's state is in words: the job's admin_comment.

use super::{Gang, Phase, Stage, Then, Why};

/// Most characters of an admin_comment of ours: one screen of `scontrol show job`.
const MOST: usize = 700;

/// The admin_comment: the tag, then a sentence for the job's owner. Holds no moving figures, so that it changes only
/// when the state does.
#[must_use]
pub fn comment(g: &Gang) -> String {
    let mut text = format!("[burst {}] {}", g.id, sentence(g));
    if text.chars().count() > MOST {
        text = text.chars().take(MOST - 1).collect();
        text.push('…');
    }
    text.replace(['\n', '\r'], " ")
}

/// What a job that waits for its first look is told.
const HELD: &str = "held: nodes will be launched for it";

/// The comment of a gang that job_submit has just held.
#[must_use]
pub fn submitted(id: &str) -> String {
    format!("[burst {id}] {HELD}")
}

/// The sentence alone.
#[must_use]
pub fn sentence(g: &Gang) -> String {
    let gang = what(g);
    let text = match &g.phase {
        Phase::Submitted | Phase::Held => HELD.to_owned(),
        Phase::Waiting { why, until_ms } => waiting(g, why, *until_ms),
        Phase::Planned => "choosing where to launch".to_owned(),
        Phase::Launching { .. } if g.split.is_some() => launching(g),
        Phase::Launching { rung, .. } if !g.members.is_empty() => format!(
            "replacing {} of {} nodes ({} in {}) that did not come up",
            rung.nodes,
            g.names.len(),
            rung.instance_type,
            rung.zone
        ),
        Phase::Launching { rung, .. } => format!(
            "launching {} x {} ({}) in {}, all or nothing, attempt {}",
            rung.nodes,
            rung.instance_type,
            market(rung),
            place(rung),
            g.attempt
        ),
        Phase::Granted { .. } => format!("{gang} granted, learning addresses"),
        Phase::Booting { .. } => format!("{gang} granted, nodes are booting"),
        Phase::Ready { .. } => format!("{gang} up, releasing the job"),
        Phase::Released { .. } => format!("{gang} up, job released to the scheduler"),
        Phase::Running => format!("running on {gang}"),
        Phase::Ending { then, stage, .. } => ending(then, stage),
        Phase::Failed(why) => format!("not launched: {why}"),
        Phase::Done => "over, everything given back".to_owned(),
    };
    match (&g.last_error, &g.phase) {
        (Some(e), Phase::Waiting { .. } | Phase::Planned | Phase::Launching { .. } | Phase::Failed(_)) => {
            format!(
                "{text}. Last try failed: {}: {}{}",
                e.code,
                e.message,
                e.request_id.as_deref().map(|r| format!(" (request id {r})")).unwrap_or_default()
            )
        }
        _ => text,
    }
}

/// A gang in parts: which one is launched, and what is foretold.
fn launching(g: &Gang) -> String {
    let Some(s) = &g.split else { return String::new() };
    let (at, of, f) = (s.at + 1, s.parts.len(), &s.forecast);
    let usd = f.usd.map(|u| format!(", USD {u}")).unwrap_or_default();
    let waits = match f.apart_s {
        0 => String::new(),
        apart => format!(
            "; EC2's rates let the last part through about {apart} s after the first, {} instance-hours are paid until then{usd}",
            crate::parts::hours(f.idle_s)
        ),
    };
    format!(
        "launching {} x {} ({}) in {} as {of} fleets ({}), kept only if all are granted, attempt {}: part {at}{waits}",
        s.whole.nodes,
        s.whole.instance_type,
        market(&s.whole),
        s.whole.zone,
        crate::parts::words(&s.parts),
        g.attempt
    )
}

/// ` as 2 fleets (500 + 1000)`, nothing for one.
pub(super) fn fleets(parts: &[crate::parts::Part]) -> String {
    match parts.len() {
        0 | 1 => String::new(),
        n => format!(" as {n} fleets ({})", crate::parts::words(parts)),
    }
}

pub(super) fn market(rung: &crate::admit::Rung) -> &'static str {
    let block = rung.reservation.as_ref().filter(|r| r.kind == crate::reservation::Kind::CapacityBlock);
    if let Some(r) = block {
        return r.kind.word();
    }
    match rung.market {
        burst_plan::Market::OnDemand => "on-demand",
        burst_plan::Market::Spot => "spot",
        burst_plan::Market::Mixed => "mixed",
    }
}

/// Where a rung is launched: its zone, and its reservation.
pub(super) fn place(rung: &crate::admit::Rung) -> String {
    match &rung.reservation {
        Some(r) => format!("{} (reservation {})", rung.zone, r.id),
        None => rung.zone.clone(),
    }
}

fn what(g: &Gang) -> String {
    match &g.won {
        Some(r) => format!("{} x {} ({}, {})", r.nodes, r.instance_type, market(r), place(r)),
        None => "gang".to_owned(),
    }
}

fn waiting(g: &Gang, why: &Why, until_ms: Option<u64>) -> String {
    let when = until_ms.map(|t| format!(", next try at {} UTC", clock(t))).unwrap_or_default();
    match why {
        Why::Dependency(d) => format!("nothing is launched yet: waiting for its dependency {d}"),
        Why::Begin(_) => format!(
            "nothing is launched yet: it may not begin before its --begin time (or a pause of Slurm's after a requeue){when}"
        ),
        Why::UserHold => "nothing is launched: held by its owner (scontrol release resumes it)".to_owned(),
        Why::Limits(what) => format!("nothing is launched: {what}{when}"),
        Why::Capacity => {
            let places = match g.dry.is_empty() {
                true => String::new(),
                false => format!(" (remembered: {})", g.dry.join(", ")),
            };
            let shut = match g.shut.is_empty() {
                true => String::new(),
                false => format!(" (not used: {})", g.shut.join(", ")),
            };
            format!("no capacity for the whole gang in any place the pool allows{places}{shut}{when}")
        }
        Why::Rate { said_ms, expected_ms } => {
            let s = expected_ms.saturating_sub(*said_ms).div_ceil(1_000);
            let at = clock(*expected_ms);
            format!("EC2's request budget is used by gangs before it: expected in about {s} s (at {at} UTC)")
        }
        Why::Outage { calls, code } => {
            format!("EC2's calls fail one after another ({calls}: {code}): it is left alone{when}")
        }
        Why::Names => {
            let own = if g.former.is_empty() { "" } else { ", or were this job's a moment ago" };
            format!("all node names of the pool are in use by other gangs{own}; looked at every 3 s")
        }
        Why::Budget(text) => format!("nothing is launched: {text}{when}"),
        Why::Trouble => format!("cannot launch now{when}"),
        Why::Stopped(what) => format!("nothing is launched: {what}"),
        Why::DryRun(what) => format!("dry run: nothing is launched in this pool; it would launch {what}"),
    }
}

fn ending(then: &Then, stage: &Stage) -> String {
    let what = match stage {
        Stage::Epilog { .. } => "waiting for the epilog",
        Stage::PowerDown | Stage::Terminate => "terminating its instances",
        Stage::Settle { .. } => "instances ended, node names powering down",
    };
    match then {
        Then::Done => what.to_owned(),
        Then::Again { .. } => format!("gang given back ({what}); held, another launch follows"),
        Then::Later { why } => format!("gang given back ({what}); held: Slurm would not start it: {why}"),
        Then::Failed(why) => format!("gang given back ({what}); {why}"),
    }
}

/// A rung whose capacity is remembered as missing.
pub(super) fn dry(rung: &crate::admit::Rung, until_ms: u64) -> String {
    let (n, kind, at) = (rung.nodes, &rung.instance_type, clock(until_ms));
    format!("{n} x {kind} ({}) in {} until {at} UTC", market(rung), place(rung))
}

/// `HH:MM:SS` of a Unix time in ms, UTC.
fn clock(ms: u64) -> String {
    let s = ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}
