//! Circuit breakers: where EC2 fails call after call, it is left alone, and one call at a time finds out whether it is back.
//!
//! One breaker for each (Region, family of calls). An answer counts as success even where it is a refusal: throttles are
//! the budget's business, capacity the memory's, credentials an administrator's.

use crate::{budget::Family, classify::Class};
use serde::Serialize;
use std::collections::BTreeMap;

/// Failures in a row that open a breaker.
pub const FAILURES: u32 = 5;
/// Least pause before a probe, ms.
const LEAST_MS: u64 = 1_000;
/// The first pause is at most so long, ms; doubles with each failed probe.
const FIRST_MS: u64 = 5_000;
/// No pause is longer, ms.
pub const LONGEST_MS: u64 = 120_000;
/// A probe that has not told what came of it by then is given up, ms.
const PROBE_MS: u64 = 60_000;
/// Pause before the next question while a probe is under way, ms.
const ASK_MS: u64 = 2_000;
/// Most breakers kept; more than Regions × families.
const MOST: usize = 256;

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Yes.
    Go,
    /// Not before this time, Unix ms.
    Wait(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { until_ms: u64 },
    Probing { until_ms: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Breaker {
    state: State,
    /// In a row.
    failures: u32,
    /// Times it opened in a row.
    opened: u32,
    code: String,
}

impl Breaker {
    fn new() -> Self {
        Self { state: State::Closed, failures: 0, opened: 0, code: String::new() }
    }

    fn open(&mut self, jitter: u64, now_ms: u64) {
        let cap = FIRST_MS.saturating_mul(1 << self.opened.min(16)).min(LONGEST_MS);
        // Full jitter, but for a second in which nobody asks at all.
        let pause = LEAST_MS + (cap - LEAST_MS) * jitter.min(1_000) / 1_000;
        self.opened = self.opened.saturating_add(1);
        self.state = State::Open { until_ms: now_ms.saturating_add(pause) };
    }
}

/// An open breaker as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Region.
    pub region: String,
    /// Calls.
    pub calls: &'static str,
    /// `open` or `probing`.
    pub state: &'static str,
    /// Next probe, Unix ms.
    pub until_ms: u64,
    /// Failures in a row.
    pub failures: u32,
    /// Last error's code.
    pub code: String,
}

/// All breakers; lost with the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breakers(BTreeMap<(String, Family), Breaker>);

/// Whether an error says that the service does not work, rather than that it does not want to. `answered`: it carries
/// EC2's request id; a code that nobody knows is then an answer all the same.
#[must_use]
pub fn is_outage(code: &str, class: Class, answered: bool) -> bool {
    // A thing that is in use is passing trouble, but the thing's.
    let of_a_thing = code.starts_with("Invalid") || code.starts_with("Concurrent");
    match class {
        Class::Transient => !of_a_thing,
        Class::Unknown => !answered,
        _ => false,
    }
}

impl Breakers {
    /// Whether a call would be let through, without making it the probe.
    #[must_use]
    pub fn look(&self, region: &str, family: Family, now_ms: u64) -> Pass {
        match self.0.get(&(region.to_owned(), family)).map(|b| b.state) {
            Some(State::Open { until_ms }) if now_ms < until_ms => Pass::Wait(until_ms),
            Some(State::Probing { until_ms }) if now_ms < until_ms => {
                Pass::Wait(until_ms.min(now_ms.saturating_add(ASK_MS)))
            }
            _ => Pass::Go,
        }
    }

    /// The code of the last failure, for who has to wait.
    #[must_use]
    pub fn code(&self, region: &str, family: Family) -> &str {
        self.0.get(&(region.to_owned(), family)).map_or("", |b| b.code.as_str())
    }

    /// A call is to be made now; after an open breaker's pause it is the one probe.
    pub fn ask(&mut self, region: &str, family: Family, now_ms: u64) -> Pass {
        let pass = self.look(region, family, now_ms);
        if pass == Pass::Go
            && let Some(b) = self.0.get_mut(&(region.to_owned(), family))
            && b.state != State::Closed
        {
            b.state = State::Probing { until_ms: now_ms.saturating_add(PROBE_MS) };
        }
        pass
    }

    /// EC2 answered.
    pub fn good(&mut self, region: &str, family: Family) {
        if !self.0.is_empty() {
            self.0.remove(&(region.to_owned(), family));
        }
    }

    /// EC2 failed. `jitter`: 0..1000. True: the breaker has opened by it.
    pub fn bad(&mut self, region: &str, family: Family, code: &str, jitter: u64, now_ms: u64) -> bool {
        let key = (region.to_owned(), family);
        if !self.0.contains_key(&key) && self.0.len() >= MOST {
            return false;
        }
        let b = self.0.entry(key).or_insert_with(Breaker::new);
        b.failures = b.failures.saturating_add(1);
        b.code = code.chars().take(100).collect();
        match b.state {
            State::Closed if b.failures >= FAILURES => b.open(jitter, now_ms),
            State::Probing { .. } => b.open(jitter, now_ms),
            // A call from before it opened says nothing new.
            _ => return false,
        }
        true
    }

    /// The breakers that are not closed, for people.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let one = |((region, family), b): (&(String, Family), &Breaker)| {
            let (state, until_ms) = match b.state {
                State::Closed => return None,
                State::Open { until_ms } => ("open", until_ms),
                State::Probing { until_ms } => ("probing", until_ms),
            };
            let (region, calls, code) = (region.clone(), family.label(), b.code.clone());
            Some(Shown { region, calls, state, until_ms, failures: b.failures, code })
        };
        self.0.iter().filter_map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::classify;

    const R: &str = "us-east-2";

    fn opened(now: u64) -> Breakers {
        let mut b = Breakers::default();
        for i in 1..=FAILURES {
            assert_eq!(b.ask(R, Family::Launch, now), Pass::Go);
            assert_eq!(b.bad(R, Family::Launch, "InternalError", 1_000, now), i == FAILURES);
        }
        b
    }

    #[test]
    fn failures_in_a_row_open_it_for_its_calls_and_region_only() {
        let mut b = opened(100);
        assert_eq!(b.ask(R, Family::Launch, 100), Pass::Wait(5_100));
        assert_eq!(b.ask(R, Family::Describe, 100), Pass::Go);
        assert_eq!(b.ask("us-west-2", Family::Launch, 100), Pass::Go);
        assert_eq!(b.code(R, Family::Launch), "InternalError");
        let mut b = Breakers::default();
        for _ in 0..20 {
            b.bad(R, Family::Launch, "Timeout", 0, 0);
            b.good(R, Family::Launch);
        }
        assert_eq!((b.ask(R, Family::Launch, 0), b.shown()), (Pass::Go, Vec::new()), "not in a row");
    }

    #[test]
    fn one_probe_at_a_time_closes_it_or_opens_it_for_longer() {
        let mut b = opened(0);
        let mut now = 5_000;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert_eq!(b.look(R, Family::Launch, now), Pass::Go, "looking is no probe");
            assert_eq!(b.ask(R, Family::Launch, now), Pass::Go);
            assert_eq!(b.ask(R, Family::Launch, now), Pass::Wait(now + ASK_MS), "one is under way");
            assert!(b.bad(R, Family::Launch, "Timeout", 1_000, now));
            assert!(!b.bad(R, Family::Launch, "Timeout", 1_000, now), "late answers of older calls");
            let Pass::Wait(until) = b.ask(R, Family::Launch, now) else { panic!("open") };
            pauses.push(until - now);
            now = until;
        }
        assert_eq!(pauses, [10_000, 20_000, 40_000, 80_000, LONGEST_MS, LONGEST_MS, LONGEST_MS]);
        assert_eq!(b.ask(R, Family::Launch, now), Pass::Go);
        b.good(R, Family::Launch);
        assert_eq!(b, Breakers::default());
        let mut b = opened(0);
        assert_eq!(b.ask(R, Family::Launch, 5_000), Pass::Go);
        assert_eq!(b.ask(R, Family::Launch, 5_000 + PROBE_MS), Pass::Go, "the probe never told");
    }

    #[test]
    fn pauses_have_full_jitter() {
        for (jitter, pause) in [(0, LEAST_MS), (500, 3_000), (1_000, 5_000), (9_999, 5_000)] {
            let mut b = Breakers::default();
            for _ in 0..FAILURES {
                b.bad(R, Family::Change, "x", jitter, 0);
            }
            let shown = b.shown();
            let s = shown.first().expect("open");
            assert_eq!((s.until_ms, s.state, s.calls), (pause, "open", "templates and groups"));
        }
    }

    #[test]
    fn a_refusal_is_an_answer() {
        for (code, outage) in [
            ("InternalError", true),
            ("Timeout", true),
            ("BadAnswer", false),
            ("SomethingNew", false),
            ("RequestLimitExceeded", false),
            ("InsufficientInstanceCapacity", false),
            ("UnauthorizedOperation", false),
            ("InvalidPlacementGroup.InUse", false),
        ] {
            assert_eq!(is_outage(code, classify(code, ""), true), outage, "{code}");
        }
        assert!(is_outage("BadAnswer", Class::Unknown, false), "a web page is no answer of EC2's");
    }
}
