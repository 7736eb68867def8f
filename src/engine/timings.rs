//! How long job_submit took lately: slurmctld holds its job lock meanwhile.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

/// Calls that are remembered.
pub const KEPT: usize = 4_096;

/// The last [`KEPT`] calls. Noting one is two atomic operations.
#[derive(Debug)]
pub struct Timings {
    /// Nanoseconds doubled, odd for a managed job; 0: not used yet.
    ring: Box<[AtomicU64]>,
    next: AtomicUsize,
    calls: [AtomicU64; 2],
}

/// Nanoseconds of the calls that are remembered, and how many there were since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Took {
    /// Oldest call last or first: in no promised order.
    pub ns: Vec<u64>,
    /// Since slurmctld's start.
    pub calls: u64,
}

impl Took {
    /// The least that at least this part of the calls stayed within (nearest rank), nanoseconds.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let mut sorted = self.ns.clone();
        sorted.sort_unstable();
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied()
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            ring: (0..KEPT).map(|_| AtomicU64::new(0)).collect(),
            next: AtomicUsize::new(0),
            calls: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }
}

impl Timings {
    /// Notes a call.
    pub fn note(&self, managed: bool, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX >> 1).clamp(1, u64::MAX >> 1);
        let at = self.next.fetch_add(1, Ordering::Relaxed) % KEPT;
        if let Some(slot) = self.ring.get(at) {
            slot.store(ns << 1 | u64::from(managed), Ordering::Relaxed);
        }
        if let Some(n) = self.calls.get(usize::from(managed)) {
            n.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Of managed jobs, or of the others.
    #[must_use]
    pub fn took(&self, managed: bool) -> Took {
        let all = self.ring.iter().map(|s| s.load(Ordering::Relaxed)).filter(|v| *v != 0);
        Took {
            ns: all.filter(|v| v & 1 == u64::from(managed)).map(|v| v >> 1).collect(),
            calls: self.calls.get(usize::from(managed)).map_or(0, |n| n.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_calls_are_kept_apart_by_kind() {
        let t = Timings::default();
        for n in 0..u64::try_from(KEPT).unwrap() + 10 {
            t.note(n % 2 == 0, Duration::from_nanos(n + 1));
        }
        let (ours, others) = (t.took(true), t.took(false));
        assert_eq!((ours.ns.len(), others.ns.len()), (KEPT / 2, KEPT / 2));
        assert_eq!(ours.calls, 2_053);
        assert_eq!(ours.ns.iter().min(), Some(&11), "the first ten were overwritten");
    }

    #[test]
    fn quantiles_are_of_nearest_rank() {
        let took = Took { ns: (1..=100).rev().collect(), calls: 100 };
        assert_eq!((took.quantile(0.5), took.quantile(0.99)), (Some(50), Some(99)));
        assert_eq!((took.quantile(0.0), took.quantile(1.0)), (Some(1), Some(100)));
        assert_eq!(Took::default().quantile(0.5), None);
    }
}
