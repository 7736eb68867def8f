//! From an effect's outcome to the gang's next phase.

use super::{
    Addresses, Effect, FailedHold, Gang, Grant, House, Member, Phase, Stage, Then, Trouble, Why, boot,
    budget, dead, parts, step,
};
use crate::{admit::Rung, classify::Class};

/// What came of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Ok,
    /// CreateFleet's answer.
    Fleet(Grant),
    /// What the budget service's word means.
    Budget(crate::asbb::Decision),
    /// Addresses known so far.
    Addresses(Addresses),
    /// It failed.
    Failed(Trouble),
}

/// Replays or tries of one intent before the next rung is taken.
const INTENT_TRIES: u32 = 8;
/// First pause after a failed call, ms; doubles up to [`PAUSE_MOST_MS`].
const PAUSE_MS: u64 = 500;
/// Shortest pause after a failed call of EC2's, ms.
const PAUSE_LEAST_MS: u64 = 50;
/// Longest pause after a failed call, ms.
pub(super) const PAUSE_MOST_MS: u64 = 30_000;
/// Pause when credentials or configuration are wrong: a person has to act, ms.
const BROKEN_MS: u64 = 60_000;
/// Tries of a power-down before the instances end all the same: nothing else ends the bill.
const DOWN_TRIES: u32 = 4;
/// Pause after a power-up that a moment's trouble stopped, ms.
const AGAIN_MS: u64 = 1_000;
/// Longest pause before a failed hold of a gang that is given back, ms: the scheduler may start the job meanwhile.
const HOLD_MOST_MS: u64 = 2_000;
/// Pause between looks for addresses, ms.
const LOOK_MS: u64 = 250;

/// Takes an effect's outcome into the gang. Answers the rung that proved to be without capacity, for the memory.
pub fn done(g: &mut Gang, effect: &Effect, outcome: Outcome, house: &dyn House, now: u64) -> Option<Rung> {
    match (effect, outcome) {
        (Effect::Comment { comment }, outcome) => {
            match outcome {
                // Tried again at the next look.
                Outcome::Failed(t) if matches!(t.class, Class::Transient | Class::Auth) => {}
                // One that Slurm does not take must not be tried for ever: the next state writes the next one.
                Outcome::Failed(t) => {
                    g.commented.clone_from(comment);
                    g.note(format!("admin_comment could not be written: {}", t.message), now);
                }
                _ => g.commented.clone_from(comment),
            }
            None
        }
        (Effect::Hold { comment }, Outcome::Ok) => {
            g.commented.clone_from(comment);
            g.hold = FailedHold::default();
            if matches!(g.phase, Phase::Held) {
                g.enter(Phase::Planned, "held by the administrator", now);
            }
            None
        }
        (Effect::Launch { rung, comment }, outcome) => {
            if let Some(comment) = comment {
                g.commented.clone_from(comment);
            }
            match outcome {
                Outcome::Fleet(grant) => fleet(g, rung, grant, now),
                Outcome::Failed(t) => launch_failed(g, rung, &t, house, now),
                _ => None,
            }
        }
        (Effect::Budget { shape, .. }, Outcome::Budget(decision)) => {
            budget::answered(g, shape, decision, house, now);
            None
        }
        (Effect::Retire, Outcome::Ok) => {
            for r in &mut g.retired {
                r.ended = true;
            }
            None
        }
        (Effect::Retire, Outcome::Failed(t)) => {
            g.blame(&t, now);
            step::give_up(g, &t.code, format!("a failed node could not be given back: {}", t.message), now);
            None
        }
        (Effect::Addresses, Outcome::Addresses(found)) => {
            for m in &mut g.members {
                if let Some((ip, host)) = found.get(&m.instance) {
                    m.ip = *ip;
                    m.host.clone_from(host);
                }
            }
            look_again(g, house, now);
            None
        }
        (Effect::Addresses, Outcome::Failed(t)) => {
            g.blame(&t, now);
            look_again(g, house, now);
            None
        }
        (Effect::TellAddresses, Outcome::Ok) => {
            for m in &mut g.members {
                m.up = true;
            }
            // One boot_limit for everything between its grant and its registration: it is what the cost counts. One that
            // is replaced gets another; those that wait with it do not.
            let granted = g.members.iter().map(Member::boots_from).min().unwrap_or(now);
            let deadline_ms = granted + boot::limit_ms(g, house);
            g.enter(Phase::Booting { deadline_ms }, "instances are booting", now);
            None
        }
        (Effect::TellAddresses, Outcome::Failed(t)) => {
            g.blame(&t, now);
            // A moment's trouble (a full disk, slurmctld busy, a standby) is not worth a paid gang.
            let passing = matches!(t.class, Class::Transient | Class::Auth);
            if passing && now < g.granted_ms.unwrap_or(now) + boot::limit_ms(g, house) {
                g.note(format!("{}: {}; trying again", t.code, t.message), now);
                g.phase = Phase::Granted { look_ms: now + AGAIN_MS };
                return None;
            }
            let text = format!("Slurm refused the addresses of the nodes: {}", t.message);
            step::give_up(g, &t.code, text, now);
            None
        }
        (Effect::Release { comment }, Outcome::Ok) => {
            g.commented.clone_from(comment);
            // start_limit counts from the moment all nodes were up: tries of the release are not free.
            let deadline_ms = g.since_ms + boot::start_ms(g, house);
            g.rounds = 0;
            g.dry_since_ms = None;
            g.last_error = None;
            g.enter(Phase::Released { deadline_ms }, "bound to its nodes and released", now);
            None
        }
        (Effect::Release { .. }, Outcome::Failed(t)) => {
            g.blame(&t, now);
            if let Phase::Ready { tries, .. } = g.phase {
                if tries >= 5 || now >= g.since_ms + boot::start_ms(g, house) {
                    step::give_up(g, &t.code, format!("the job could not be released: {}", t.message), now);
                } else {
                    g.phase = Phase::Ready { retry_ms: now + pause(tries), tries: tries + 1 };
                }
            }
            None
        }
        (Effect::PowerDown, outcome) => {
            if let Outcome::Failed(t) = outcome {
                // A name that is still up when its instance ends goes DOWN: a moment's trouble is waited out, and a
                // controller that is not the active one does nothing at all.
                if let Phase::Ending { retry_ms, tries, .. } = &mut g.phase
                    && (t.code == "Standby" || (t.class == Class::Transient && *tries < DOWN_TRIES))
                {
                    *retry_ms = now + pause(*tries);
                    *tries += 1;
                    return None;
                }
                g.note(format!("power down: {}", t.message), now);
            }
            // Whatever Slurm the money stops: names are asked again while they settle.
            if let Phase::Ending { stage: stage @ Stage::PowerDown, retry_ms, tries, .. } = &mut g.phase {
                *stage = Stage::Terminate;
                *retry_ms = 0;
                *tries = 0;
            }
            None
        }
        (Effect::Terminate { .. }, Outcome::Ok) => {
            g.members.clear();
            for r in &mut g.retired {
                r.ended = true;
            }
            // What an unanswered CreateFleet launched is listed late (EC2's eventual consistency).
            if g.unsure
                && let Phase::Ending { retry_ms, tries, .. } = &mut g.phase
                && now < g.since_ms + SWEEP_MS
            {
                *retry_ms = now + SWEEP_PAUSE_MS;
                *tries = 0;
                return None;
            }
            g.unsure = false;
            g.note("instances terminated", now);
            settle(g, now);
            None
        }
        (Effect::PowerDownAgain { .. }, outcome) => {
            // Asked again while it settles, with pauses.
            if let Outcome::Failed(t) = outcome
                && t.code != "Standby"
            {
                g.note(format!("power down: {}", t.message), now);
            }
            None
        }
        (Effect::Hold { .. }, Outcome::Failed(t)) if matches!(g.phase, Phase::Ending { .. }) => {
            g.blame(&t, now);
            let tries = g.hold.tries;
            let since_ms = if tries == 0 { now } else { g.hold.since_ms };
            // A controller that is not the active one does nothing at all.
            let counted = u32::from(t.code != "Standby");
            let most = if tries < dead::BUDGET { HOLD_MOST_MS } else { PAUSE_MOST_MS };
            let again_ms = now + pause(tries).min(most);
            g.hold = FailedHold { tries: tries.saturating_add(counted), since_ms, again_ms };
            None
        }
        (Effect::MoveLocal { partition, .. }, Outcome::Ok) => {
            step::end(
                g,
                Then::Done,
                Stage::PowerDown,
                format!("moved to {partition} for want of capacity"),
                now,
            );
            None
        }
        (Effect::Cancel { .. }, Outcome::Ok) => {
            step::end(g, Then::Done, Stage::PowerDown, "cancelled for want of capacity", now);
            None
        }
        (_, Outcome::Failed(t)) => {
            g.blame(&t, now);
            failed(g, &t, house, now);
            None
        }
        (_, _) => None,
    }
}

/// How long what a launch without an answer left is looked for, and how often.
const SWEEP_MS: u64 = 30_000;
const SWEEP_PAUSE_MS: u64 = 3_000;

/// Pause after so many tries, ms.
pub(super) fn pause(tries: u32) -> u64 {
    PAUSE_MS.saturating_mul(1 << tries.min(10)).min(PAUSE_MOST_MS)
}

/// The same with full jitter, for EC2: calls that failed together do not come back together.
fn backoff(tries: u32, house: &dyn House) -> u64 {
    (pause(tries) * house.jitter().min(1_000) / 1_000).max(PAUSE_LEAST_MS)
}

fn settle(g: &mut Gang, now: u64) {
    if let Phase::Ending { stage, retry_ms, tries, .. } = &mut g.phase {
        *stage = Stage::Settle { nudge_ms: now + step::NUDGE_MS };
        *retry_ms = 0;
        *tries = 0;
    }
}

/// Hold (but of a gang that is given back), Terminate, Cancel or MoveLocal failed.
fn failed(g: &mut Gang, t: &Trouble, house: &dyn House, now: u64) {
    match &mut g.phase {
        // Terminating is tried for ever: nothing else ends the bill.
        Phase::Ending { retry_ms, tries, .. } => {
            let full = backoff(*tries, house);
            *tries = tries.saturating_add(1);
            let dead = *tries >= dead::BUDGET;
            *retry_ms = now + if dead { dead::PAUSE_MS } else { full };
        }
        Phase::Held | Phase::Waiting { .. } | Phase::Planned => {
            let until_ms = Some(now + PAUSE_MS * 4);
            let text = format!("Slurm refused: {}", t.message);
            g.enter(Phase::Waiting { until_ms, why: Why::Trouble }, text, now);
        }
        _ => {}
    }
}

fn look_again(g: &mut Gang, house: &dyn House, now: u64) {
    if g.members.iter().all(|m| m.ip.is_some()) {
        return;
    }
    if now >= g.granted_ms.unwrap_or(g.since_ms) + boot::limit_ms(g, house) {
        step::give_up(g, "NoAddress", "EC2 showed no address within boot_limit".into(), now);
    } else {
        g.phase = Phase::Granted { look_ms: now + LOOK_MS };
    }
}

fn fleet(g: &mut Gang, rung: &Rung, grant: Grant, now: u64) -> Option<Rung> {
    g.unsure = false;
    g.sent = false;
    let got = u32::try_from(grant.instances.len()).unwrap_or(u32::MAX);
    // A replacement has members already, and so has a later part: only the names nobody has are to be filled.
    let bare = parts::bare(g);
    if got == rung.nodes && bare.len() == grant.instances.len() {
        let mut ids = grant.instances;
        ids.sort();
        let text = match (g.members.is_empty(), &g.split) {
            (true, _) => format!("{} granted whole: {got} instances", grant.fleet),
            (_, None) => format!("{} replaces {got} of {} instances", grant.fleet, g.names.len()),
            (_, Some(_)) => format!("{} granted the last part: {got} instances", grant.fleet),
        };
        g.members.extend(parts::members(ids, bare, rung.market, now));
        if !parts::granted(g, &grant.fleet, now) {
            g.fleet = Some(grant.fleet);
            return None;
        }
        g.granted_ms = Some(now);
        g.won.get_or_insert_with(|| rung.clone());
        g.fleet = Some(grant.fleet);
        g.enter(Phase::Granted { look_ms: 0 }, text, now);
        return None;
    }
    let first = grant.errors.first();
    let class = worst_class(&grant);
    let (code, message) = first.map_or_else(
        || ("Partial".to_owned(), format!("{got} of {} granted and nothing said why", rung.nodes)),
        |(c, m, _)| (c.clone(), m.clone()),
    );
    let t = Trouble { code, message, class, request_id: grant.request_id, ambiguous: false };
    g.blame(&t, now);
    if got > 0 {
        // EC2 broke its promise of all or nothing: give the part back, whatever it is.
        let nameless = vec![String::new(); grant.instances.len()];
        g.members.extend(parts::members(grant.instances, nameless, rung.market, now));
        g.paid += u32::from(!parts::has_begun(g));
        let text = format!("{got} of {} granted: given back", rung.nodes);
        let then = match g.paid >= step::PAID_ATTEMPTS {
            true => Then::Failed(text.clone()),
            false => Then::Again { rung: g.rung + 1 },
        };
        step::end(g, then, Stage::PowerDown, text, now);
        return None;
    }
    refused(g, rung, class, now)
}

/// What the entries of Errors mean together: throttling wins, it says nothing about capacity.
fn worst_class(grant: &Grant) -> Class {
    let has = |c: Class| grant.errors.iter().any(|(_, _, k)| *k == c);
    let order =
        [Class::Throttle, Class::Auth, Class::Configuration, Class::Quota, Class::Subnet, Class::Capacity];
    order
        .into_iter()
        .find(|c| has(*c))
        .unwrap_or_else(|| grant.errors.first().map_or(Class::Capacity, |e| e.2))
}

fn launch_failed(g: &mut Gang, rung: &Rung, t: &Trouble, house: &dyn House, now: u64) -> Option<Rung> {
    g.blame(t, now);
    let tries = match g.phase {
        Phase::Launching { tries, .. } => tries,
        _ => 0,
    };
    // An error of ours, of credentials or of the moment speaks of this try and not of the one that was sent before.
    let says_nothing = matches!(t.class, Class::Auth | Class::Throttle | Class::Transient | Class::Unknown);
    if t.ambiguous || (g.sent && says_nothing) {
        g.sent = true;
        g.unsure = true;
        // Only a replay with the same token can tell: never give an unanswered intent up.
        let retry_ms = now + if t.class == Class::Auth { PAUSE_MOST_MS } else { backoff(tries, house) };
        g.phase = Phase::Launching { rung: rung.clone(), retry_ms, tries: tries.saturating_add(1) };
        g.note(format!("no answer to CreateFleet ({}); asking again with the same token", t.code), now);
        return None;
    }
    if matches!(t.class, Class::Throttle | Class::Transient | Class::Unknown) && tries < INTENT_TRIES {
        let retry_ms = now + backoff(tries, house);
        g.phase = Phase::Launching { rung: rung.clone(), retry_ms, tries: tries + 1 };
        g.note(format!("{}: trying again", t.code), now);
        return None;
    }
    g.unsure = false;
    g.sent = false;
    refused(g, rung, t.class, now)
}

/// EC2 said no: no instance exists, no node was touched.
fn refused(g: &mut Gang, rung: &Rung, class: Class, now: u64) -> Option<Rung> {
    let code = g.last_error.as_ref().map_or_else(String::new, |e| e.code.clone());
    let place = parts::without_room(g, rung);
    if parts::refused(g, class, &code, now) {
        return (class == Class::Capacity).then_some(place);
    }
    if !g.members.is_empty() {
        let why = g.last_error.as_ref().map_or_else(String::new, |e| e.message.clone());
        step::give_up(g, &code, format!("a failed node could not be replaced: {code}: {why}"), now);
        return (class == Class::Capacity).then(|| rung.clone());
    }
    g.names.clear();
    g.split = None;
    match class {
        Class::Auth | Class::Configuration => {
            let until_ms = Some(now + BROKEN_MS);
            g.enter(
                Phase::Waiting { until_ms, why: Why::Trouble },
                format!("{code}: an administrator must act"),
                now,
            );
            None
        }
        Class::Throttle | Class::Transient | Class::Unknown => {
            let until_ms = Some(now + PAUSE_MOST_MS);
            g.enter(
                Phase::Waiting { until_ms, why: Why::Trouble },
                format!("{code}: EC2 is not answering well"),
                now,
            );
            None
        }
        // A thing of ours that somebody deleted: the same place again, with a new one.
        Class::NotFound => {
            let until_ms = Some(now + PAUSE_MS * 4);
            let text = format!("{code}: something the launch needs is gone; made anew");
            g.enter(Phase::Waiting { until_ms, why: Why::Trouble }, text, now);
            None
        }
        Class::Capacity | Class::Quota | Class::Subnet => {
            g.rung += 1;
            g.enter(Phase::Planned, format!("refused: {code}; the next place follows"), now);
            (class == Class::Capacity).then(|| rung.clone())
        }
    }
}
