//! What is remembered of places without capacity, so that gangs do not knock at closed doors one after another.
//!
//! EC2 says that a gang of n did not fit; that says nothing about a smaller one, another market, or a launch without a
//! placement group. A failure is remembered for a short time, longer when it repeats, and forgotten when somebody wins.

use crate::admit::Rung;
use burst_plan::Market;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long the first failure is remembered unless burst.toml says otherwise, ms: capacity comes back in minutes.
pub const FIRST_MS: u64 = 180_000;
/// Longest memory of repeated failures unless burst.toml says otherwise, ms.
pub const LONGEST_MS: u64 = 900_000;

/// How long failures are remembered (`[capacity]` of burst.toml).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spans {
    /// `forget`: the first failure, ms.
    pub first_ms: u64,
    /// `longest`: repeated ones, ms. One that comes so long after the last one's end is a first one again.
    pub longest_ms: u64,
}

impl Default for Spans {
    fn default() -> Self {
        Self { first_ms: FIRST_MS, longest_ms: LONGEST_MS }
    }
}

/// What is remembered of one place, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remembered {
    /// Instance type.
    pub instance_type: String,
    /// Zone.
    pub zone: String,
    /// Market.
    pub market: Market,
    /// Of launches into a cluster placement group.
    pub grouped: bool,
    /// Of launches into this capacity reservation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<String>,
    /// Gangs of so many nodes and more are not tried.
    pub nodes: u32,
    /// Unix ms.
    pub until_ms: u64,
}

/// Most places remembered; more than types × zones × markets of any site.
pub const MOST_PLACES: usize = 4_096;
/// Most sizes remembered of one place.
const MOST_SIZES: usize = 16;

/// Where capacity was missing; the gang's size stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    kind: String,
    zone: String,
    market: Market,
    grouped: bool,
    /// What is reserved says nothing about the rest, nor the rest about it.
    reservation: Option<String>,
}

/// A size that did not fit, and for how long that is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failure {
    nodes: u32,
    until_ms: u64,
    /// How long it was remembered last.
    span_ms: u64,
}

/// The memory; bounded, and lost with the process: it saves calls and nothing depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    places: BTreeMap<Place, Vec<Failure>>,
}

fn place(rung: &Rung, grouped: bool) -> Place {
    Place {
        kind: rung.instance_type.clone(),
        zone: rung.zone.clone(),
        market: rung.market,
        grouped: grouped && rung.reservation.is_none(),
        reservation: rung.reservation.as_ref().map(|r| r.id.clone()),
    }
}

impl Memory {
    /// The rung's whole gang found no capacity. `grouped`: it was launched into a cluster placement group.
    pub fn failed(&mut self, rung: &Rung, grouped: bool, spans: Spans, now_ms: u64) {
        let key = place(rung, grouped);
        if !self.places.contains_key(&key) && self.places.len() >= MOST_PLACES {
            self.make_room();
        }
        let all = self.places.entry(key).or_default();
        all.retain(|f| now_ms < f.until_ms.saturating_add(spans.longest_ms));
        // A repeated failure: of this size, or of a smaller one that says the same of this one.
        let before = all.iter().filter(|f| f.nodes <= rung.nodes).max_by_key(|f| f.until_ms).copied();
        let span_ms = match before {
            // Several gangs that failed at the same time are one failure.
            Some(f) if now_ms < f.until_ms => f.span_ms,
            Some(f) => f.span_ms.saturating_mul(2).min(spans.longest_ms),
            None => spans.first_ms,
        };
        let until_ms = now_ms.saturating_add(span_ms);
        // Larger gangs that are believed to fail no longer than this one say nothing more.
        all.retain(|f| f.nodes < rung.nodes || f.until_ms > until_ms);
        all.push(Failure { nodes: rung.nodes, until_ms, span_ms });
        if all.len() > MOST_SIZES
            && let Some(oldest) = all.iter().enumerate().min_by_key(|(_, f)| f.until_ms).map(|(i, _)| i)
        {
            all.swap_remove(oldest);
        }
    }

    /// The rung was granted whole: so many fit, and fewer do.
    pub fn won(&mut self, rung: &Rung, grouped: bool) {
        let key = place(rung, grouped);
        let mut forget = |key: &Place| {
            if let Some(all) = self.places.get_mut(key) {
                all.retain(|f| f.nodes > rung.nodes);
                if all.is_empty() {
                    self.places.remove(key);
                }
            }
        };
        forget(&key);
        // What fits close together fits anywhere in the zone.
        if grouped {
            forget(&Place { grouped: false, ..key });
        }
    }

    /// Until when the rung is not worth a try, Unix ms; `None`: try.
    #[must_use]
    pub fn dry_until(&self, rung: &Rung, grouped: bool, now_ms: u64) -> Option<u64> {
        let of = |grouped: bool| {
            let all = self.places.get(&place(rung, grouped)).into_iter().flatten();
            all.filter(|f| f.nodes <= rung.nodes && now_ms < f.until_ms).map(|f| f.until_ms).max()
        };
        // What does not fit in the whole zone does not fit close together either.
        of(false).max(if grouped { of(true) } else { None })
    }

    /// What is remembered now, for people: in the order of places, then sizes.
    #[must_use]
    pub fn shown(&self, now_ms: u64) -> Vec<Remembered> {
        let mut out = Vec::new();
        for (p, all) in &self.places {
            let mut live: Vec<&Failure> = all.iter().filter(|f| now_ms < f.until_ms).collect();
            live.sort_by_key(|f| f.nodes);
            out.extend(live.into_iter().map(|f| Remembered {
                instance_type: p.kind.clone(),
                zone: p.zone.clone(),
                market: p.market,
                grouped: p.grouped,
                reservation: p.reservation.clone(),
                nodes: f.nodes,
                until_ms: f.until_ms,
            }));
        }
        out
    }

    /// Places remembered, for metrics.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The place whose failures end first goes.
    fn make_room(&mut self) {
        let last = |all: &Vec<Failure>| all.iter().map(|f| f.until_ms).max().unwrap_or(0);
        let oldest = self.places.iter().min_by_key(|(_, all)| last(all)).map(|(k, _)| k.clone());
        if let Some(key) = oldest {
            self.places.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rung(kind: &str, nodes: u32, market: Market) -> Rung {
        Rung {
            block: 0,
            instance_type: kind.into(),
            zone: "us-east-2b".into(),
            subnet: "subnet-1".into(),
            market,
            nodes,
            efa: 2,
            hourly: None,
            max_price: None,
            reservation: None,
            region: None,
        }
    }

    fn plain(nodes: u32) -> Rung {
        rung("a.b", nodes, Market::OnDemand)
    }

    #[test]
    fn a_reservation_is_a_place_of_its_own() {
        let reserved = |id: &str| Rung {
            reservation: Some(crate::reservation::Reserved {
                id: id.into(),
                kind: crate::reservation::Kind::Targeted,
                group: None,
            }),
            ..plain(8)
        };
        let mut m = Memory::default();
        m.failed(&reserved("cr-1"), true, Spans::default(), 1_000);
        assert!(m.dry_until(&reserved("cr-1"), true, 1_000).is_some());
        assert_eq!(m.dry_until(&reserved("cr-2"), true, 1_000), None);
        assert_eq!(m.dry_until(&plain(8), false, 1_000), None);
        assert_eq!(m.shown(1_000)[0].reservation.as_deref(), Some("cr-1"));
        m.failed(&plain(8), false, Spans::default(), 1_000);
        m.won(&reserved("cr-1"), true);
        assert_eq!(m.dry_until(&reserved("cr-1"), true, 1_000), None);
        assert!(m.dry_until(&plain(8), true, 1_000).is_some(), "what is reserved was not for sale");
    }

    #[test]
    fn a_failure_speaks_of_its_size_and_larger_ones_of_its_place_only() {
        let mut m = Memory::default();
        m.failed(&plain(8), true, Spans::default(), 1_000);
        let until = Some(1_000 + FIRST_MS);
        assert_eq!(m.dry_until(&plain(8), true, 1_000), until);
        assert_eq!(m.dry_until(&plain(9), true, 1_000), until);
        assert_eq!(m.dry_until(&plain(7), true, 1_000), None, "a smaller gang may fit");
        assert_eq!(m.dry_until(&plain(8), false, 1_000), None, "without a group it may fit");
        assert_eq!(m.dry_until(&rung("a.b", 8, Market::Spot), true, 1_000), None);
        assert_eq!(m.dry_until(&rung("c.d", 8, Market::OnDemand), true, 1_000), None);
        assert_eq!(m.dry_until(&plain(8), true, 1_000 + FIRST_MS), None, "it ends");
        m.failed(&plain(8), false, Spans::default(), 1_000);
        assert_eq!(m.dry_until(&plain(8), true, 2_000), until, "nor close together");
    }

    #[test]
    fn repeated_failures_are_remembered_longer_up_to_a_bound_and_success_forgets() {
        let mut m = Memory::default();
        let (mut now, mut spans) = (0, Vec::new());
        for _ in 0..6 {
            m.failed(&plain(4), true, Spans::default(), now);
            m.failed(&plain(4), true, Spans::default(), now);
            let until = m.dry_until(&plain(4), true, now).expect("dry");
            spans.push(until - now);
            now = until;
        }
        assert_eq!(spans, [180_000, 360_000, 720_000, LONGEST_MS, LONGEST_MS, LONGEST_MS]);
        m.won(&plain(3), true);
        m.failed(&plain(4), true, Spans::default(), now);
        assert_eq!(
            m.dry_until(&plain(4), true, now),
            Some(now + LONGEST_MS),
            "fewer won: nothing is forgotten"
        );
        m.won(&plain(4), true);
        assert_eq!((m.dry_until(&plain(4), true, now), m.len()), (None, 0));
        m.failed(&plain(4), true, Spans::default(), now);
        assert_eq!(m.dry_until(&plain(4), true, now), Some(now + FIRST_MS), "begins anew");
        let later = now + FIRST_MS + LONGEST_MS;
        m.failed(&plain(4), true, Spans::default(), later);
        assert_eq!(m.dry_until(&plain(4), true, later), Some(later + FIRST_MS), "long ago is no repetition");
    }

    #[test]
    fn spans_are_the_sites_and_people_are_shown_what_is_remembered() {
        let spans = Spans { first_ms: 1_000, longest_ms: 1_500 };
        let mut m = Memory::default();
        m.failed(&plain(4), true, spans, 0);
        m.failed(&plain(2), false, spans, 0);
        assert_eq!(m.dry_until(&plain(4), true, 0), Some(1_000));
        m.failed(&plain(4), true, spans, 1_000);
        let shown: Vec<_> = m.shown(1_200).into_iter().map(|r| (r.nodes, r.grouped, r.until_ms)).collect();
        assert_eq!(shown, [(4, true, 2_500)], "twice as long would pass the longest");
        m.failed(&plain(4), true, spans, 4_000);
        assert_eq!(m.dry_until(&plain(4), true, 4_000), Some(5_000), "long ago is no repetition");
        assert!(m.shown(9_000).is_empty());
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut m = Memory::default();
        for i in 0..MOST_PLACES + 50 {
            m.failed(&rung(&format!("t{i}.x"), 1, Market::OnDemand), true, Spans::default(), i as u64);
        }
        assert_eq!(m.len(), MOST_PLACES);
        assert_eq!(m.dry_until(&rung("t0.x", 1, Market::OnDemand), true, 0), None, "the oldest went");
        assert!(
            m.dry_until(&rung(&format!("t{}.x", MOST_PLACES + 49), 1, Market::OnDemand), true, 0).is_some()
        );
        for n in (1..=1_000).rev() {
            m.failed(&plain(n), true, Spans::default(), u64::from(1_000 - n));
        }
        assert!(m.places.values().all(|all| all.len() <= MOST_SIZES));
    }

    proptest! {
        #[test]
        fn whatever_happens_a_place_is_dry_no_longer_than_the_bound_and_larger_gangs_at_least_as_long(
            events in proptest::collection::vec((any::<bool>(), any::<bool>(), 1u32..6, 0u64..600_000), 1..40),
        ) {
            let (mut m, mut now) = (Memory::default(), 0);
            for (win, grouped, nodes, pause) in events {
                now += pause;
                match win {
                    true => {
                        m.won(&plain(nodes), grouped);
                        if grouped {
                            prop_assert_eq!(m.dry_until(&plain(nodes), true, now), None);
                        }
                        prop_assert_eq!(m.dry_until(&plain(nodes), false, now), None);
                    }
                    false => {
                        m.failed(&plain(nodes), grouped, Spans::default(), now);
                        prop_assert!(m.dry_until(&plain(nodes), grouped, now).is_some_and(|t| t >= now + FIRST_MS));
                    }
                }
                for grouped in [false, true] {
                    let dry: Vec<Option<u64>> = (1..7).map(|n| m.dry_until(&plain(n), grouped, now)).collect();
                    prop_assert!(dry.windows(2).all(|w| w[0] <= w[1]), "{dry:?}");
                    prop_assert!(dry.iter().flatten().all(|t| *t > now && *t <= now + LONGEST_MS));
                }
            }
        }
    }
}
