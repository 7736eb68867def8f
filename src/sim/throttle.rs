//! EC2's request throttling: token buckets per account and Region, with the published sizes.

use std::collections::HashMap;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    size: f64,
    refill: f64,
    level: f64,
    at_ms: u64,
}

impl Bucket {
    fn new(size: f64, refill: f64, now: u64) -> Self {
        Self { size, refill, level: size, at_ms: now }
    }

    fn fill(&mut self, now: u64) {
        let seconds = now.saturating_sub(self.at_ms) as f64 / 1000.0;
        self.level = (self.level + seconds * self.refill).min(self.size);
        self.at_ms = now;
    }
}

/// All buckets of the account.
#[derive(Debug, Default)]
pub struct Buckets(HashMap<&'static str, Bucket>);

/// Name, size and refill per second of the bucket a call draws on.
fn class(action: &str, filtered: bool) -> (&'static str, f64, f64) {
    match action {
        "CreateFleet" => ("CreateFleet", 50.0, 5.0),
        "TerminateInstances" => ("TerminateInstances", 100.0, 5.0),
        "CreateTags" => ("CreateTags", 100.0, 10.0),
        a if a.starts_with("Describe") && filtered => ("filtered", 100.0, 20.0),
        a if a.starts_with("Describe") => ("unfiltered", 50.0, 10.0),
        "GetCallerIdentity" => ("sts", 600.0, 600.0),
        _ => ("mutating", 50.0, 5.0),
    }
}

impl Buckets {
    fn bucket(&mut self, (name, size, refill): (&'static str, f64, f64), now: u64) -> &mut Bucket {
        let b = self.0.entry(name).or_insert_with(|| Bucket::new(size, refill, now));
        b.fill(now);
        b
    }

    /// Takes one request token; false is RequestLimitExceeded.
    pub fn request(&mut self, action: &str, filtered: bool, now: u64) -> bool {
        let b = self.bucket(class(action, filtered), now);
        let ok = b.level >= 1.0;
        if ok {
            b.level -= 1.0;
        }
        ok
    }

    /// Takes up to `wanted` of the tokens that launching instances draws on, and says how many it got.
    pub fn launches(&mut self, wanted: u64, now: u64) -> u64 {
        let b = self.bucket(("RunInstances resources", 1000.0, 2.0), now);
        let got = (b.level.floor().max(0.0) as u64).min(wanted);
        b.level -= got as f64;
        got
    }

    /// Launch tokens there are now.
    pub fn launches_left(&mut self, now: u64) -> u64 {
        self.bucket(("RunInstances resources", 1000.0, 2.0), now).level.floor().max(0.0) as u64
    }

    /// Takes the tokens for ending `n` instances; all or none.
    pub fn terminations(&mut self, n: u64, now: u64) -> bool {
        let b = self.bucket(("TerminateInstances resources", 1000.0, 20.0), now);
        let ok = b.level >= n as f64;
        if ok {
            b.level -= n as f64;
        }
        ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_drain_and_refill() {
        let mut b = Buckets::default();
        assert!((0..50).all(|_| b.request("CreateFleet", false, 0)));
        assert!(!b.request("CreateFleet", false, 0));
        assert!(b.request("CreateFleet", false, 200));
        assert_eq!(b.launches(600, 0), 600);
        assert_eq!(b.launches(600, 0), 400);
        assert_eq!(b.launches(600, 10_000), 20);
        assert!(b.terminations(1000, 0) && !b.terminations(1, 0) && b.terminations(20, 1000));
    }
}
