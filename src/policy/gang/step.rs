//! From a gang and the world to the next effect.

use super::{
    Effect, FailedHold, Gang, House, JobKey, JobView, Phase, Seen, Stage, Then, Turn, Why, back, boot,
    budget, parts, says, turns,
};
use crate::admit::Verdict;
use burst_plan::Else;

/// A submitted job that a look at the job table begun so long after does not show was refused by slurmctld or only
/// tested (ms).
pub const RECORD_MS: u64 = 60_000;
/// Remembered places that a comment names.
const DRY_SHOWN: usize = 4;
/// Pause between looks at names, ms.
const NAMES_MS: u64 = 3_000;
const NO_NAMES: &str = "no free node names";
/// A plan of a pool in dry-run mode is made anew after this time, ms: prices and names change.
const DRY_MS: u64 = 900_000;
/// A name that does not go down is asked again after this time (ms).
pub const NUDGE_MS: u64 = 60_000;
pub use crate::limits::PAID_ATTEMPTS;

/// Moves the gang as far as it goes without an effect and answers the effect it then needs. The document has to be on
/// disk before the effect leaves.
pub fn step(g: &mut Gang, house: &dyn House, now_ms: u64) -> Option<Effect> {
    let seen = house.job(g);
    watch(g, &seen, house, now_ms);
    // Phases only move forward within one call, but bound it all the same: this runs inside slurmctld.
    for _ in 0..8 {
        let before = g.phase.clone();
        if let Some(effect) = advance(g, &seen, house, now_ms) {
            // Before its job is seen a gang is given back at most: the number may be another job's, and a job that may start
            // by an older table has to be held before a call that EC2 answers late.
            let early =
                seen == Seen::Never && (effect.touches_job() || !matches!(g.phase, Phase::Ending { .. }));
            return (!early).then_some(effect);
        }
        if g.phase == before {
            break;
        }
    }
    let comment = says::comment(g);
    let pending = matches!(&seen, Seen::Is(j) if j.state <= 1);
    if pending && comment != g.commented && !matches!(g.phase, Phase::Submitted | Phase::Held | Phase::Done) {
        return Some(Effect::Comment { comment });
    }
    None
}

/// When the gang wants to be looked at again although nothing happened, Unix ms.
#[must_use]
pub fn wake(g: &Gang) -> Option<u64> {
    match &g.phase {
        Phase::Submitted => Some(g.since_ms + RECORD_MS),
        Phase::Waiting { until_ms, .. } => *until_ms,
        // Parts that are granted do not wait longer than they may.
        Phase::Launching { retry_ms, .. } => Some(parts::deadline(g).map_or(*retry_ms, |t| t.min(*retry_ms))),
        Phase::Ready { retry_ms, .. } => Some(*retry_ms),
        Phase::Granted { look_ms } => Some(*look_ms),
        Phase::Booting { deadline_ms, .. } | Phase::Released { deadline_ms } => Some(*deadline_ms),
        Phase::Ending { stage, retry_ms, .. } => {
            let next = match stage {
                Stage::Epilog { deadline_ms } => *deadline_ms,
                Stage::Settle { nudge_ms } => *nudge_ms,
                Stage::PowerDown | Stage::Terminate => *retry_ms,
            };
            Some(if g.hold.tries > 0 { next.min(g.hold.again_ms) } else { next })
        }
        _ => None,
    }
}

/// Begins to give the gang back.
pub fn end(g: &mut Gang, then: Then, stage: Stage, text: impl Into<String>, now_ms: u64) {
    count_unanswered(g);
    g.hold = FailedHold::default();
    g.enter(Phase::Ending { then, stage, retry_ms: 0, tries: 0 }, text, now_ms);
}

/// What became of the job, whatever the gang was doing.
fn watch(g: &mut Gang, seen: &Seen, house: &dyn House, now_ms: u64) {
    match seen {
        Seen::Never | Seen::Unknown => {}
        Seen::Gone => match g.phase {
            Phase::Submitted | Phase::Done => {}
            Phase::Ending { ref mut then, ref mut stage, .. } => {
                *then = Then::Done;
                if matches!(stage, Stage::Epilog { .. }) {
                    *stage = Stage::PowerDown;
                }
            }
            _ => end(g, Then::Done, Stage::PowerDown, "the job's record is gone", now_ms),
        },
        Seen::Is(j) => watch_record(g, j, house, now_ms),
    }
    if let Some(why) = g.end_asked.clone()
        && !matches!(g.phase, Phase::Ending { .. } | Phase::Done | Phase::Failed(_))
    {
        end(g, Then::Failed(why), Stage::PowerDown, "an operator ends the gang", now_ms);
        g.end_asked = None;
    }
}

fn watch_record(g: &mut Gang, j: &JobView, house: &dyn House, now_ms: u64) {
    g.saw_on(j, house.born_ms(), now_ms);
    if matches!(g.phase, Phase::Done) {
        return;
    }
    let limit_ms = house.pool(&g.pool).map_or(600, |p| p.epilog_limit.0) * 1000;
    let epilog = || match j.completing {
        true => Stage::Epilog { deadline_ms: now_ms + limit_ms },
        false => Stage::PowerDown,
    };
    let over = j.state > 2;
    let restarted = g.job.as_ref().is_some_and(|k| j.restarts > k.restart);
    // slurmctld was killed before it saved a requeue: the next one has the same number.
    if let Some(k) = &mut g.job {
        k.restart = k.restart.min(j.restarts);
        // What tells the record from another one of that number: by now it may be another time, too.
        k.submit = j.submit;
    }
    if over {
        match &mut g.phase {
            Phase::Ending { then, .. } => *then = Then::Done,
            _ => end(g, Then::Done, epilog(), "the job is over", now_ms),
        }
        return;
    }
    // A hostlist is long: it is expanded only where somebody asks.
    let on_its_own = |g: &Gang| (j.state == 1 || j.state == 2) && !j.completing && on_members(g, &j.nodes);
    if restarted {
        if g.powered {
            // Perhaps it ran between two looks.
            let names = g.all_names().cloned().collect();
            g.ran(names, house.born_ms(), now_ms);
        }
        let key = g.job.get_or_insert_with(|| JobKey::of(j));
        key.restart = j.restarts;
        if matches!(g.phase, Phase::Running | Phase::Ready { .. } | Phase::Released { .. }) && on_its_own(g) {
            // Requeued and started again before it could be held (slurmctld was away meanwhile): whole, on its own gang.
            g.enter(Phase::Running, "requeued, and started again on the same nodes", now_ms);
            return;
        }
        match &mut g.phase {
            // Over, and requeued while it was given back: held at once.
            Phase::Ending { then: then @ Then::Done, retry_ms, .. } => {
                *then = Then::Again { rung: 0 };
                *retry_ms = 0;
                g.hold = FailedHold::default();
            }
            Phase::Ending { .. } => {}
            _ => {
                end(g, Then::Again { rung: 0 }, epilog(), "the job was requeued: a new gang follows", now_ms)
            }
        }
        return;
    }
    if j.state == 1 || j.state == 2 {
        match g.phase {
            // It was started at the very end of start_limit, before the hold: its nodes are still up.
            Phase::Ending {
                then: Then::Again { .. } | Then::Later { .. },
                stage: Stage::Epilog { .. } | Stage::PowerDown,
                ..
            } if on_its_own(g) => {
                g.enter(Phase::Running, "started while it was about to be given back", now_ms);
            }
            Phase::Running | Phase::Ending { .. } => {}
            Phase::Released { .. } | Phase::Ready { .. } => g.enter(Phase::Running, "started", now_ms),
            // The engine that released it was gone before it wrote so.
            Phase::Granted { .. } | Phase::Booting { .. } if on_names(g, &j.nodes) => {
                g.members.iter_mut().for_each(|m| m.up = true);
                g.enter(Phase::Running, "started", now_ms);
            }
            _ => end(g, Then::Done, Stage::PowerDown, format!("started elsewhere, on {}", j.nodes), now_ms),
        }
        return;
    }
    // Pending, the same life.
    if g.job.is_some() && g.since_ms < house.born_ms() {
        forgotten(g, j, house, now_ms);
    }
    let paid = matches!(
        g.phase,
        Phase::Granted { .. } | Phase::Booting { .. } | Phase::Ready { .. } | Phase::Released { .. }
    ) || parts::has_begun(g);
    if g.user_hold && paid && !matches!(g.phase, Phase::Ending { .. }) {
        end(g, Then::Again { rung: 0 }, Stage::PowerDown, "held by its owner: given back", now_ms);
        return;
    }
    if g.job.is_some() && !j.partition.is_empty() && j.partition != g.geometry.partition {
        match g.phase {
            Phase::Ending { .. } => {}
            _ => end(g, Then::Done, Stage::PowerDown, format!("moved to partition {}", j.partition), now_ms),
        }
    }
}

/// slurmctld was killed before it had saved what the gang has seen: the job is pending as it was before.
fn forgotten(g: &mut Gang, j: &JobView, house: &dyn House, now_ms: u64) {
    const LOST: &str = "slurmctld was killed before it saved";
    let limit_ms = house.pool(&g.pool).map_or(600, |p| p.start_limit.0) * 1000;
    match &mut g.phase {
        Phase::Ending { then: then @ Then::Done, .. } if j.partition == g.geometry.partition => {
            *then = Then::Again { rung: 0 };
        }
        Phase::Running if j.held => {
            let text = format!("{LOST} the job's release and start: a new gang follows");
            end(g, Then::Again { rung: 0 }, Stage::PowerDown, text, now_ms);
        }
        Phase::Running => {
            let phase = Phase::Released { deadline_ms: now_ms + limit_ms };
            g.enter(phase, format!("{LOST} the job's start: the scheduler starts it again"), now_ms);
        }
        Phase::Released { .. } if j.held => {
            // Nor, perhaps, that the nodes had registered: that is looked at again, too.
            g.members.iter_mut().for_each(|m| m.up = false);
            let phase = Phase::Granted { look_ms: 0 };
            g.enter(phase, format!("{LOST} the job's release: it is released again"), now_ms);
        }
        _ => {}
    }
}

/// Whether a job runs on exactly the gang's nodes, each with an instance that nobody has begun to end.
fn on_members(g: &Gang, nodes: &str) -> bool {
    g.members.iter().all(|m| m.up) && on_names(g, nodes)
}

/// Whether a job runs on exactly the gang's nodes.
fn on_names(g: &Gang, nodes: &str) -> bool {
    let mut named = burst_plan::hostlist::expand(nodes).unwrap_or_default();
    let mut own: Vec<&String> = g.members.iter().map(|m| &m.node).collect();
    named.sort_unstable();
    own.sort_unstable();
    !own.is_empty() && named.iter().eq(own)
}

fn advance(g: &mut Gang, seen: &Seen, house: &dyn House, now: u64) -> Option<Effect> {
    let job = match seen {
        Seen::Is(j) => Some(j),
        _ => None,
    };
    // Of a gang that another engine began, slurmctld may have forgotten that its job is held.
    let before = g.born_ms < house.born_ms();
    let open = before && job.is_some_and(|j| j.state == 0 && !j.held);
    if open && matches!(g.phase, Phase::Launching { .. } | Phase::Granted { .. } | Phase::Booting { .. }) {
        return Some(Effect::Hold { comment: says::comment(g) });
    }
    match g.phase.clone() {
        Phase::Submitted => {
            if let Some(j) = job {
                g.job = Some(JobKey::of(j));
                // job_submit has held it: whoever freed it before it was known to be managed was its owner.
                g.user_hold &= j.held;
                if !j.partition.is_empty() {
                    g.geometry.partition.clone_from(&j.partition);
                }
                g.enter(Phase::Held, format!("found as job {}", j.text), now);
            } else if *seen == Seen::Gone {
                g.enter(Phase::Done, "no job record appeared: refused by Slurm, or only tested", now);
            }
            None
        }
        Phase::Held => Some(Effect::Hold { comment: says::comment(g) }),
        Phase::Waiting { until_ms, why } => {
            let j = job?;
            if !j.held {
                return Some(Effect::Hold { comment: says::comment(g) });
            }
            if let Some((now_why, until)) = blocked(g, j, house, now) {
                if now_why != why || until != until_ms {
                    g.phase = Phase::Waiting { until_ms: until, why: now_why };
                }
                return None;
            }
            let free = match why {
                Why::Dependency(_) | Why::Begin(_) | Why::UserHold | Why::Stopped(_) => true,
                Why::DryRun(_) => until_ms.is_none_or(|t| now >= t) || !is_dry(g, house),
                Why::Limits(_) => until_ms.is_none_or(|t| now >= t),
                _ => until_ms.is_none_or(|t| now >= t),
            };
            if free && (turns::waits(&why) || why == Why::Names) {
                // Asking for its turn again is nothing new.
                g.phase = Phase::Planned;
            } else if free {
                g.enter(Phase::Planned, "may be launched now", now);
            }
            None
        }
        Phase::Planned => {
            let j = job?;
            if !j.held {
                return Some(Effect::Hold { comment: says::comment(g) });
            }
            if let Some((why, until_ms)) = blocked(g, j, house, now) {
                g.enter(Phase::Waiting { until_ms, why }, "may not run yet", now);
                return None;
            }
            plan(g, j, house, now)
        }
        Phase::Launching { .. } if g.retired.iter().any(|r| !r.ended) => Some(Effect::Retire),
        // What EC2 has refused so far is no launch yet: it waits like the others.
        Phase::Launching { .. } if !g.sent && g.members.is_empty() && house.stopped(&g.pool).is_some() => {
            g.unsure = false;
            g.split = None;
            g.names.clear();
            g.enter(Phase::Planned, "stopped before anything was granted", now);
            None
        }
        Phase::Launching { .. } | Phase::Granted { .. } if boot::overdue(g, house, now).is_some() => {
            let text = boot::overdue(g, house, now).unwrap_or_default();
            give_up(g, "BootLimit", text, now);
            None
        }
        Phase::Launching { .. } if parts::late(g, house, now).is_some() => {
            let (code, text) = parts::late(g, house, now).unwrap_or_default();
            give_up(g, code, text, now);
            None
        }
        Phase::Launching { rung, retry_ms, tries } => {
            if now < retry_ms {
                return None;
            }
            if let Turn::Wait { ask_ms, .. } = house.turn(g, &rung, now) {
                g.phase = Phase::Launching { rung, retry_ms: ask_ms, tries };
                return None;
            }
            let comment = Some(says::comment(g)).filter(|c| *c != g.commented);
            Some(Effect::Launch { rung, comment })
        }
        Phase::Granted { look_ms } => {
            if g.members.iter().any(|m| m.ip.is_none()) {
                return (now >= look_ms).then_some(Effect::Addresses);
            }
            // A job that was cancelled meanwhile touches no node: it has to be seen after the grant.
            job?;
            if now < look_ms {
                return None;
            }
            if before {
                // Or that the names went down: what is up is another gang's, and long gone.
                let views: Option<Vec<_>> =
                    g.members.iter().map(|m| Some((m.started, house.node(&m.node)?))).collect();
                if views?.iter().any(|(started, v)| !started && v.is_up()) {
                    g.powered = true;
                    let text = "slurmctld was killed before it saved that the names went down: given back";
                    end(g, Then::Again { rung: 0 }, Stage::PowerDown, text, now);
                    return None;
                }
            }
            // From here on the names may be touched, whatever becomes of the answer.
            g.powered = true;
            Some(Effect::TellAddresses)
        }
        Phase::Booting { deadline_ms } => {
            boot::watch(g, house, deadline_ms, now);
            None
        }
        Phase::Ready { retry_ms, .. } => {
            (now >= retry_ms).then(|| Effect::Release { comment: says::comment(g) })
        }
        Phase::Released { deadline_ms } => {
            // What was not looked at may have started.
            boot::watch_start(g, job?, deadline_ms, now);
            None
        }
        Phase::Running | Phase::Done => None,
        Phase::Failed(_) => job.filter(|j| !j.held).map(|_| Effect::Hold { comment: says::comment(g) }),
        Phase::Ending { then, stage, retry_ms, .. } => {
            back::ending(g, seen, house, (&then, &stage, retry_ms), now)
        }
    }
}

/// Why the job may not be launched yet, and until when.
fn blocked(g: &Gang, j: &JobView, house: &dyn House, now: u64) -> Option<(Why, Option<u64>)> {
    if g.user_hold {
        return Some((Why::UserHold, None));
    }
    if let Some(what) = house.stopped(&g.pool) {
        return Some((Why::Stopped(what), None));
    }
    if !j.dependency.is_empty() {
        return Some((Why::Dependency(j.dependency.clone()), None));
    }
    if let Some(what) = house.shortage(j) {
        return Some((Why::Limits(what), None));
    }
    let begin = j.eligible.max(g.geometry.begin.unwrap_or(0));
    let from = begin.saturating_sub(house.lead_s(&g.pool)) * 1000;
    if from > now {
        return Some((Why::Begin(begin), Some(from)));
    }
    // One that is refused for it is refused where its place is chosen.
    let (stop, _) = house.over_limit(g, j).filter(|(_, refuse)| !refuse)?;
    let text = match &g.phase {
        // The figures move with every job that ends; the sentence need not.
        Phase::Waiting { why: Why::Limits(old), .. } if old.starts_with(&stop.which) => old.clone(),
        _ => stop.text(),
    };
    Some((Why::Limits(text), None))
}

/// Whether the gang's pool only plans.
fn is_dry(g: &Gang, house: &dyn House) -> bool {
    house.pool(&g.pool).is_some_and(|p| p.dry_run)
}

/// Chooses the next rung and reserves names, or waits, or gives up, as the job wants it.
fn plan(g: &mut Gang, j: &JobView, house: &dyn House, now: u64) -> Option<Effect> {
    if g.geometry.time_limit.is_none() {
        g.geometry.time_limit = j.minutes.map(|m| burst_plan::Seconds(m * 60));
        g.geometry.unlimited = j.minutes.is_none();
    }
    if g.paid >= PAID_ATTEMPTS {
        let why =
            format!("{PAID_ATTEMPTS} paid attempts failed; ask an operator, or cancel and submit again");
        g.enter(Phase::Failed(why.clone()), why, now);
        return None;
    }
    let admission = match house.admit(g) {
        Verdict::Launch(a) => a,
        Verdict::Refuse(r) => {
            g.enter(Phase::Failed(r.0.clone()), format!("refused: {}", r.0), now);
            return None;
        }
        Verdict::Local(_) => {
            g.enter(Phase::Failed("its plan says not to burst".into()), "its plan says not to burst", now);
            return None;
        }
    };
    if let Some((stop, true)) = house.over_limit(g, j) {
        let why = format!("refused: {}", stop.text());
        g.enter(Phase::Failed(why.clone()), why, now);
        return None;
    }
    g.worst = admission.worst_cost;
    let mut no_names = false;
    let mut dry = Vec::new();
    let mut shut = Vec::new();
    while let Some(rung) = admission.ladder.get(g.rung) {
        if let Some(why) = house.unusable(g, rung, now) {
            shut.push(why);
            g.rung += 1;
            continue;
        }
        let parts = house.parts(g, rung);
        if let Some(t) = parts::dry_until(g, house, rung, &parts).filter(|t| !g.insist && *t > now) {
            dry.push(says::dry(rung, t));
            g.rung += 1;
            continue;
        }
        let Some(names) = house.free_names(&g.pool, rung.block, rung.nodes) else {
            no_names = true;
            g.rung += 1;
            continue;
        };
        if is_dry(g, house) {
            let at_most = g.worst.map(|w| format!(", for at most USD {w}")).unwrap_or_default();
            let what = format!(
                "{} x {} ({}) in {}{at_most}{}",
                rung.nodes,
                rung.instance_type,
                says::market(rung),
                says::place(rung),
                says::fleets(&parts)
            );
            let until_ms = Some(now + DRY_MS);
            g.enter(
                Phase::Waiting { until_ms, why: Why::DryRun(what) },
                "dry run: planned, not launched",
                now,
            );
            return None;
        }
        if let Some(question) = budget::ask(g, rung, house, now) {
            return Some(question);
        }
        if let Turn::Wait { ask_ms, why } = house.turn(g, rung, now) {
            turns::wait(g, why, ask_ms, now);
            return None;
        }
        g.names = names;
        g.region.clone_from(&rung.region);
        g.attempt += 1;
        g.intent += 1;
        g.unsure = true;
        let passed = match (dry.first(), shut.first()) {
            (Some(place), _) => format!("; no capacity for {place}"),
            (None, Some(why)) => format!("; not into {why}"),
            (None, None) => String::new(),
        };
        let fleets = says::fleets(&parts);
        let text =
            format!("{} x {} in {}{fleets}{passed}", rung.nodes, rung.instance_type, says::place(rung));
        let rung = parts::begin(g, rung, parts, house);
        g.enter(Phase::Launching { rung, retry_ms: 0, tries: 0 }, text, now);
        return None;
    }
    g.rung = 0;
    if no_names {
        let waiting = Phase::Waiting { until_ms: Some(now + NAMES_MS), why: Why::Names };
        match g.history.last() {
            // Looked at again, and nothing new.
            Some(last) if last.phase == waiting.label() && last.text == NO_NAMES => g.phase = waiting,
            _ => g.enter(waiting, NO_NAMES, now),
        }
        return None;
    }
    exhausted(g, house, &admission, now)
}

fn exhausted(g: &mut Gang, house: &dyn House, adm: &crate::admit::Admission, now: u64) -> Option<Effect> {
    g.rounds = g.rounds.saturating_add(1);
    g.insist = false;
    let since = *g.dry_since_ms.get_or_insert(now);
    let late = adm.wait.is_some_and(|w| now.saturating_sub(since) >= w.0 * 1000);
    let local = house.pool(&g.pool).and_then(|p| p.local_partition.clone());
    match (adm.otherwise, local) {
        (Else::Local, Some(partition)) => {
            let comment = format!("[burst {}] no capacity: moved to {partition}, as asked", g.id);
            return Some(Effect::MoveLocal { partition, comment });
        }
        (Else::Cancel, _) => {
            let comment = format!("[burst {}] no capacity: cancelled, as asked", g.id);
            return Some(Effect::Cancel { comment });
        }
        _ if late => {
            let comment = format!("[burst {}] no capacity within the time to wait: cancelled", g.id);
            return Some(Effect::Cancel { comment });
        }
        _ => {}
    }
    let (least, most) = house.pool(&g.pool).map_or((30, 600), |p| (p.retry_min.0, p.retry_max.0));
    let full = least.saturating_mul(1 << (g.rounds - 1).min(16)).min(most).max(1) * 1000;
    // Half fixed, half random: gangs that failed together do not come back together.
    let pause = full / 2 + full / 2 * house.jitter().min(1000) / 1000;
    let (usable, shut): (Vec<&crate::Rung>, Vec<_>) =
        adm.ladder.iter().partition(|r| house.unusable(g, r, now).is_none());
    g.shut = shut.into_iter().filter_map(|r| house.unusable(g, r, now)).take(DRY_SHOWN).collect();
    let dry: Vec<(&crate::Rung, u64)> =
        usable.iter().filter_map(|r| Some((*r, dry_until(g, house, r).filter(|t| *t > now)?))).collect();
    g.dry = dry.iter().take(DRY_SHOWN).map(|(r, t)| says::dry(r, *t)).collect();
    // Where every place is remembered, nothing can come of a try before the first is forgotten.
    let first = dry.iter().map(|(_, t)| *t).min().filter(|_| dry.len() == usable.len());
    let next = (now + pause).max(first.map_or(0, |t| t + full / 4 * house.jitter().min(1000) / 1000));
    let until = adm.wait.map_or(next, |w| next.min(since + w.0 * 1000));
    g.enter(Phase::Waiting { until_ms: Some(until), why: Why::Capacity }, "no rung had capacity", now);
    None
}

fn dry_until(g: &Gang, house: &dyn House, rung: &crate::Rung) -> Option<u64> {
    parts::dry_until(g, house, rung, &house.parts(g, rung))
}

/// A launch that is left without its answer may have been granted, and is counted as if it was (law 7).
fn count_unanswered(g: &mut Gang) {
    if std::mem::take(&mut g.sent) && !parts::has_begun(g) {
        g.paid += 1;
    }
}

/// A paid gang that cannot be used: given back whole, the next rung is tried.
pub fn give_up(g: &mut Gang, code: &str, text: String, now: u64) {
    count_unanswered(g);
    g.last_error =
        Some(super::LastError { code: code.into(), message: text.clone(), request_id: None, at_ms: now });
    let then = match g.paid >= PAID_ATTEMPTS {
        true => Then::Failed(format!("{PAID_ATTEMPTS} paid attempts failed; last: {text}")),
        false => Then::Again { rung: g.rung + 1 },
    };
    end(g, then, Stage::PowerDown, text, now);
}
