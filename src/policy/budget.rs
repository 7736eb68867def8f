//! A model of EC2's token buckets, kept here so that calls are not made that EC2 would refuse.
//!
//! EC2 counts requests and, in a bucket of its own, launched instances; both per account and region. A gang is admitted
//! whole or told when to ask again. The oldest gang that has to wait saves: half of what flows in is kept for it, the
//! other half serves whoever comes. So a huge gang gets its instances in bounded time and small ones are not stopped
//! behind it. Others use the account too: a throttle empties the model and halves the flow, success brings it back.

use std::collections::BTreeMap;

/// Sizes and flows of the buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buckets {
    /// Requests at most at once.
    pub requests: u32,
    /// Requests that flow in each second.
    pub requests_per_s: u32,
    /// Instances at most at once.
    pub launches: u32,
    /// Instances that flow in each second.
    pub launches_per_s: u32,
}

impl Default for Buckets {
    /// EC2's published defaults (API throttling): mutating calls 50 and 5 a second, launched instances 1000 and 2.
    fn default() -> Self {
        Self { requests: 50, requests_per_s: 5, launches: 1_000, launches_per_s: 2 }
    }
}

/// Whether a launch may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Now; it is counted.
    Ok,
    /// Not before this time, Unix ms.
    WaitUntil(u64),
}

/// What EC2 throttled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttled {
    /// Calls (`RequestLimitExceeded`).
    Requests,
    /// Instances (`RequestResourceCountExceeded`, or a fleet's entry of Errors).
    Launches,
}

/// Parts of a token: one a millisecond is a thousandth of a token a second.
const TOKEN: u64 = 1_000_000;
/// Least pause before the next question, ms.
const LEAST_MS: u64 = 20;
/// A gang that has not asked again so long after its time has gone (ms).
const GONE_MS: u64 = 60_000;
/// Most gangs whose turn is kept.
const MOST_WAITING: usize = 16_384;
/// The flow after throttles is not believed to be less than this part of the published one.
const SLOWEST: u64 = 8;
/// Successes that bring the whole flow back.
const STEPS: u64 = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bucket {
    most: u64,
    held: u64,
    /// Thousandths of a token a second, as published and as believed now.
    published: u64,
    flow: u64,
}

impl Bucket {
    fn new(size: u32, per_s: u32) -> Self {
        let most = u64::from(size.max(1)) * TOKEN;
        let published = u64::from(per_s.max(1)) * 1_000;
        Self { most, held: most, published, flow: published }
    }
    fn slow(&mut self) {
        self.held = 0;
        self.flow = (self.flow / 2).max(self.published / SLOWEST).max(1);
    }
    fn hasten(&mut self) {
        self.flow = (self.flow + (self.published / STEPS).max(1)).min(self.published);
    }
}

/// A gang whose turn is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    turn: u64,
    ask_ms: u64,
}

/// The model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    requests: Bucket,
    launches: Bucket,
    /// Kept for the oldest gang that waits.
    saved: u64,
    waiting: BTreeMap<String, Waiting>,
    next_turn: u64,
    at_ms: u64,
}

impl Budget {
    /// Full buckets.
    #[must_use]
    pub fn new(buckets: Buckets, now_ms: u64) -> Self {
        Self {
            requests: Bucket::new(buckets.requests, buckets.requests_per_s),
            launches: Bucket::new(buckets.launches, buckets.launches_per_s),
            saved: 0,
            waiting: BTreeMap::new(),
            next_turn: 0,
            at_ms: now_ms,
        }
    }

    /// One CreateFleet of so many instances for a gang. A gang larger than the bucket is admitted when the bucket is full.
    pub fn admit(&mut self, gang: &str, nodes: u32, now_ms: u64) -> Answer {
        self.flow_in(now_ms);
        let need = (u64::from(nodes) * TOKEN).min(self.launches.most);
        let saver = self.saver().map(str::to_owned);
        // While nobody waits, the next one to wait is this one.
        let saves = saver.as_deref().is_none_or(|s| s == gang);
        let has = if saves { self.launches.held.saturating_add(self.saved) } else { self.launches.held };
        if has >= need && self.requests.held >= TOKEN {
            self.requests.held -= TOKEN;
            let from_saved = if saves { need.min(self.saved) } else { 0 };
            self.saved -= from_saved;
            self.launches.held -= need - from_saved;
            self.leave(gang);
            return Answer::Ok;
        }
        let flow = if saves { self.launches.flow } else { self.launches.flow / 2 };
        let ms = |lacks: u64, flow: u64| lacks.div_ceil(flow.max(1));
        let wait = ms(need.saturating_sub(has), flow)
            .max(ms(TOKEN.saturating_sub(self.requests.held), self.requests.flow))
            .max(LEAST_MS);
        let ask_ms = now_ms.saturating_add(wait);
        if let Some(w) = self.waiting.get_mut(gang) {
            w.ask_ms = ask_ms;
        } else if self.waiting.len() < MOST_WAITING {
            self.waiting.insert(gang.to_owned(), Waiting { turn: self.next_turn, ask_ms });
            self.next_turn += 1;
        }
        Answer::WaitUntil(ask_ms)
    }

    /// The gang does not want to launch any more: its turn and what was saved for it are given back.
    pub fn leave(&mut self, gang: &str) {
        let was = self.saver().is_some_and(|s| s == gang);
        if self.waiting.remove(gang).is_some() && was {
            self.spend_saved();
        }
    }

    /// EC2 throttled us: somebody else uses the account, or the site's limits are lower.
    pub fn throttled(&mut self, what: Throttled, now_ms: u64) {
        self.flow_in(now_ms);
        match what {
            Throttled::Requests => self.requests.slow(),
            Throttled::Launches => {
                self.launches.slow();
                self.saved = 0;
            }
        }
    }

    /// A launch was not throttled.
    pub fn succeeded(&mut self) {
        self.requests.hasten();
        self.launches.hasten();
    }

    /// Gangs whose turn is kept, for metrics.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn saver(&self) -> Option<&str> {
        self.waiting.iter().min_by_key(|(_, w)| w.turn).map(|(g, _)| g.as_str())
    }

    fn spend_saved(&mut self) {
        self.launches.held = self.launches.held.saturating_add(self.saved).min(self.launches.most);
        self.saved = 0;
    }

    /// What came in since the last look; gangs that have gone lose their turn.
    fn flow_in(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let before = self.saver().map(str::to_owned);
        let came = passed.saturating_mul(self.launches.flow);
        let room = self.launches.most.saturating_sub(self.launches.held.saturating_add(self.saved));
        let came = came.min(room);
        let keep = if before.is_some() { came - came / 2 } else { 0 };
        self.saved += keep;
        self.launches.held += came - keep;
        let requests = passed.saturating_mul(self.requests.flow);
        self.requests.held = self.requests.held.saturating_add(requests).min(self.requests.most);
        self.waiting.retain(|_, w| now_ms <= w.ask_ms.saturating_add(GONE_MS));
        if before.as_deref() != self.saver() {
            self.spend_saved();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn budget() -> Budget {
        Budget::new(Buckets::default(), 0)
    }

    /// Asks when it is told to; answers when it was admitted.
    fn until_ok(b: &mut Budget, gang: &str, nodes: u32, from_ms: u64) -> u64 {
        let mut now = from_ms;
        for _ in 0..10_000 {
            match b.admit(gang, nodes, now) {
                Answer::Ok => return now,
                Answer::WaitUntil(t) => {
                    assert!(t > now);
                    now = t;
                }
            }
        }
        panic!("never admitted");
    }

    #[test]
    fn what_is_published_holds() {
        let mut b = budget();
        assert_eq!(b.admit("a", 1_000, 0), Answer::Ok);
        // After the first thousand, 500 more take 250 s.
        assert_eq!(b.admit("b", 500, 0), Answer::WaitUntil(250_000));
        assert_eq!(b.admit("b", 500, 250_000), Answer::Ok);
        assert_eq!(b.waiting(), 0);
        let mut b = budget();
        for i in 0..50 {
            assert_eq!(b.admit(&i.to_string(), 1, 0), Answer::Ok, "request {i}");
        }
        assert_eq!(b.admit("next", 1, 0), Answer::WaitUntil(200), "five a second");
        assert_eq!(budget().admit("vast", 5_000, 0), Answer::Ok, "more than the bucket: when it is full");
    }

    #[test]
    fn small_gangs_are_served_beside_a_huge_one_and_the_huge_one_is_not_starved() {
        let mut b = budget();
        assert_eq!(b.admit("first", 1_000, 0), Answer::Ok);
        let Answer::WaitUntil(mut huge) = b.admit("huge", 800, 0) else { panic!("nothing is left") };
        let (mut now, mut served) = (0, 0u32);
        let done = loop {
            now += 500;
            // Somebody small asks all the time.
            if b.admit(&format!("small{now}"), 1, now) == Answer::Ok {
                served += 1;
            } else {
                b.leave(&format!("small{now}"));
            }
            if now >= huge {
                match b.admit("huge", 800, now) {
                    Answer::Ok => break now,
                    Answer::WaitUntil(t) => huge = t,
                }
            }
            assert!(now < 2_000_000, "starved");
        };
        assert!(done <= 802_000, "half of the flow is its own: {done}");
        assert!(served >= 380, "the other half serves the small ones: {served}");
    }

    #[test]
    fn throttles_slow_the_model_and_success_brings_it_back() {
        let mut b = budget();
        b.throttled(Throttled::Requests, 0);
        assert_eq!(b.admit("a", 1, 0), Answer::WaitUntil(400), "empty, and half the flow");
        for _ in 0..20 {
            b.throttled(Throttled::Requests, 0);
        }
        assert_eq!(b.admit("a", 1, 0), Answer::WaitUntil(1_600), "not slower than an eighth");
        for _ in 0..STEPS {
            b.succeeded();
        }
        assert_eq!(b.admit("a", 1, 0), Answer::WaitUntil(200));
        b.throttled(Throttled::Launches, 1_000);
        assert_eq!(b.admit("a", 4, 1_000), Answer::WaitUntil(5_000), "four at one a second");
    }

    #[test]
    fn who_has_gone_keeps_nothing() {
        let mut b = budget();
        assert_eq!(b.admit("first", 1_000, 0), Answer::Ok);
        let Answer::WaitUntil(t) = b.admit("gone", 100, 0) else { panic!("nothing is left") };
        let Answer::WaitUntil(_) = b.admit("next", 200, t) else { panic!("half was saved") };
        b.leave("gone");
        assert_eq!(b.admit("next", 100, t), Answer::Ok, "what was saved is free");
        let Answer::WaitUntil(t) = b.admit("silent", 10, t) else { panic!("nothing is left") };
        b.flow_in(t + GONE_MS + 1);
        assert_eq!((b.waiting(), b.saved), (0, 0));
    }

    proptest! {
        /// Never more than bucket and flow allow, in any window from the start; everybody comes through.
        #[test]
        fn the_model_never_gives_more_than_ec2(asks in proptest::collection::vec((0u8..6, 1u32..400, 0u64..30_000), 1..60)) {
            let mut b = budget();
            let (mut now, mut given, mut calls) = (0u64, 0u64, 0u64);
            for (gang, nodes, pause) in asks {
                now += pause;
                if b.admit(&gang.to_string(), nodes, now) == Answer::Ok {
                    given += u64::from(nodes);
                    calls += 1;
                }
                prop_assert!(given * 1_000 <= 1_000_000 + now * 2);
                prop_assert!(calls * 1_000 <= 50_000 + now * 5);
                prop_assert!(b.saved + b.launches.held <= b.launches.most);
            }
            for gang in 0u8..6 {
                let ok = until_ok(&mut b, &gang.to_string(), 400, now);
                prop_assert!(ok <= now + 2 * 6 * 200_000 + 100, "{gang} waited {}", ok - now);
                now = ok;
            }
        }

        #[test]
        fn nothing_overflows(a in any::<[u32; 4]>(), n in any::<u32>(), times in any::<[u64; 4]>()) {
            let [requests, requests_per_s, launches, launches_per_s] = a;
            let mut b = Budget::new(Buckets { requests, requests_per_s, launches, launches_per_s }, 7);
            for t in times {
                let _ = b.admit("x", n, t);
                let _ = b.admit("y", n, t);
                b.throttled(Throttled::Launches, t);
                b.succeeded();
            }
        }
    }
}
