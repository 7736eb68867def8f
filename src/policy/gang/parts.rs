//! A gang in parts: several intents of one attempt, kept only if all are granted.
//!
//! The first grant begins a bounded time (`split_limit`); what is refused, or not granted by then, gives back all that
//! was granted. Each part is an intent of its own: its own client token, journalled before it leaves.

use super::{Gang, House, Launched, Member, Phase, step};
use crate::{
    admit::Rung,
    classify::Class,
    parts::{Forecast, Part, forecast, hours, words},
};
use burst_plan::{Market, MicroUsd};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The attempt of a gang in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The rung of all of them.
    pub whole: Rung,
    /// In the order in which they are launched.
    pub parts: Vec<Part>,
    /// The one that is being launched.
    pub at: usize,
    /// When the first one was granted, Unix ms.
    pub begun_ms: Option<u64>,
    /// How long it may wait for the last one (the pool's split_limit when it was planned), ms.
    pub limit_ms: u64,
    /// What was foretold.
    pub forecast: Forecast,
}

impl Split {
    /// The part that is being launched.
    #[must_use]
    pub fn part(&self) -> Option<&Part> {
        self.parts.get(self.at)
    }
}

/// Pause after an answer that says nothing about capacity, ms.
const AGAIN_MS: u64 = 1_000;

/// Whether a part was granted and the gang is not whole: it costs money and serves nobody.
#[must_use]
pub fn has_begun(g: &Gang) -> bool {
    g.split.as_ref().is_some_and(|s| s.begun_ms.is_some())
}

/// Begins an attempt: the rung to launch first.
pub(super) fn begin(g: &mut Gang, whole: &Rung, parts: Vec<Part>, house: &dyn House) -> Rung {
    g.split = None;
    let forecast = forecast(&parts, house.launch_rate());
    let limit_ms = house.pool(&g.pool).map_or(600, |p| p.split_limit.0).saturating_mul(1_000);
    let first = parts.first().map_or_else(|| whole.clone(), |p| p.of(whole));
    if parts.len() > 1 {
        g.split = Some(Split { whole: whole.clone(), parts, at: 0, begun_ms: None, limit_ms, forecast });
    }
    first
}

/// The names that the launch is to fill.
pub(super) fn bare(g: &Gang) -> Vec<String> {
    let (from, count) = g
        .split
        .as_ref()
        .and_then(Split::part)
        .map_or((0, usize::MAX), |p| (p.first, usize::try_from(p.nodes).unwrap_or(usize::MAX)));
    let free = |n: &&String| !g.members.iter().any(|m| m.node == **n);
    g.names.iter().skip(from).take(count).filter(free).cloned().collect()
}

/// A launch was granted whole. True: it was the last one.
pub(super) fn granted(g: &mut Gang, fleet: &str, now: u64) -> bool {
    let Some(split) = &mut g.split else {
        g.paid += 1;
        return true;
    };
    if split.begun_ms.is_none() {
        split.begun_ms = Some(now);
        g.paid += 1;
    }
    split.at += 1;
    let (at, of) = (split.at, split.parts.len());
    if let Some(next) = split.part() {
        let rung = next.of(&split.whole);
        let text = format!("{fleet} grants part {at} of {of}; part {} ({}) follows", at + 1, rung.nodes);
        again(g, rung, now, text, now);
        return false;
    }
    whole(g, now);
    true
}

/// Another intent of the same attempt.
fn again(g: &mut Gang, rung: Rung, retry_ms: u64, text: String, now: u64) {
    // Until it leaves nothing is unsure; after a crash the core takes it to have left.
    g.intent += 1;
    g.enter(Phase::Launching { rung, retry_ms, tries: 0 }, text, now);
}

/// All parts are there: what waiting for each other has cost is measured.
fn whole(g: &mut Gang, now: u64) {
    let Some(split) = g.split.take() else { return };
    let (mut idle_ms, mut usd) = (0u64, Some(MicroUsd(0)));
    for m in &mut g.members {
        let waited = now.saturating_sub(m.granted_ms);
        idle_ms = idle_ms.saturating_add(waited);
        let part = split.parts.iter().find(|p| Some(p.market) == m.market);
        let price = part.and_then(|p| p.hourly).map(|h| h.hourly_for(waited.div_ceil(1_000)));
        usd = usd.zip(price).map(|(a, b)| a.plus(b));
        // Slurm hears of it only now: its boot_limit begins.
        m.whole_ms = now;
    }
    g.track.idle_ms = g.track.idle_ms.saturating_add(idle_ms);
    let cost = usd.map(|u| format!(", USD {u}")).unwrap_or_default();
    let apart = now.saturating_sub(split.begun_ms.unwrap_or(now)).div_ceil(1_000);
    let text = format!(
        "whole in {} parts ({}) after {apart} s: {} instance-hours waited for the others{cost} ({} were foretold)",
        split.parts.len(),
        words(&split.parts),
        hours(idle_ms / 1_000),
        hours(split.forecast.idle_s)
    );
    let at: BTreeMap<&str, usize> = g.names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
    g.members.sort_by_key(|m| at.get(m.node.as_str()).copied());
    g.won = Some(split.whole);
    g.note(text, now);
}

/// EC2 said no to a part. True: it was of a gang that has begun, and is taken care of.
pub(super) fn refused(g: &mut Gang, class: Class, code: &str, now: u64) -> bool {
    let Some(split) = g.split.as_ref().filter(|s| s.begun_ms.is_some()) else { return false };
    let (at, of) = (split.at + 1, split.parts.len());
    if matches!(class, Class::Throttle | Class::Transient | Class::Unknown | Class::NotFound)
        && let Some(part) = split.part()
    {
        // Nothing was launched, and nothing is said about capacity: the time that is left is used.
        let rung = part.of(&split.whole);
        let text = format!("{code}: part {at} of {of} is asked for again");
        again(g, rung, now + AGAIN_MS, text, now);
        return true;
    }
    let why = g.last_error.as_ref().map_or_else(String::new, |e| e.message.clone());
    let text = format!(
        "part {at} of {of} was refused ({code}: {why}): the {} granted are given back",
        g.members.len()
    );
    step::give_up(g, code, text, now);
    true
}

/// Why the parts that were granted are given back now although the next one was not refused.
pub(super) fn late(g: &Gang, house: &dyn House, now: u64) -> Option<(&'static str, String)> {
    let split = g.split.as_ref()?;
    let deadline = deadline(g)?;
    let (at, of) = (split.at + 1, split.parts.len());
    if now >= deadline {
        let text = format!("part {at} of {of} was not granted within split_limit");
        return Some(("SplitLimit", text));
    }
    let stop = house.stopped(&g.pool).filter(|_| !g.sent)?;
    Some(("Stopped", format!("part {at} of {of} may not be launched any more: {stop}")))
}

/// When that is at the latest, Unix ms; None for a gang that is not in parts or has none yet.
#[must_use]
pub fn deadline(g: &Gang) -> Option<u64> {
    let split = g.split.as_ref()?;
    Some(split.begun_ms?.saturating_add(split.limit_ms))
}

/// Until when capacity is thought to be missing for a gang, or for any of its parts (Unix ms).
pub(super) fn dry_until(g: &Gang, house: &dyn House, rung: &Rung, parts: &[Part]) -> Option<u64> {
    let whole = house.dry_until(g, rung);
    let of = |p: &Part| house.dry_until(g, &p.of(rung));
    let part = if parts.len() > 1 { parts.iter().filter_map(of).max() } else { None };
    whole.max(part)
}

/// The place that proved to be without room: beside what was granted, for the whole gang only.
pub(super) fn without_room(g: &Gang, rung: &Rung) -> Rung {
    match &g.split {
        Some(s) if s.begun_ms.is_some() => s.whole.clone(),
        _ => rung.clone(),
    }
}

/// The members of a grant, in the order of their names.
pub(super) fn members(launched: Launched, names: Vec<String>, market: Market, now: u64) -> Vec<Member> {
    let of = |(instance, node)| Member { market: Some(market), ..Member::new(instance, node, now) };
    launched.into_iter().zip(names).map(of).collect()
}
