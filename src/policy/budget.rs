//! A model of EC2's token buckets, kept here so that calls are not made that EC2 would refuse.
//!
//! EC2 counts requests and, in buckets of their own, launched and ended instances; per account and Region. A gang is
//! admitted whole or told when to ask again. The gang that waits longest saves: half of what flows in is kept for it, the
//! other half serves the others, smaller ones first. So a huge gang gets its instances in bounded time and small ones are
//! not stopped behind it. Others use the account too: a throttle empties the model and halves the flow, success brings it
//! back.

mod bucket;
mod calls;
mod parts;
#[cfg(test)]
mod tests;

use bucket::{Bucket, TOKEN, ms, tokens};
pub use bucket::{Buckets, Family, Rate, Shown};
use calls::Paid;
use std::collections::BTreeMap;

/// Whether a launch may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Now; it is counted.
    Ok,
    /// Not yet.
    Wait {
        /// When to ask again, Unix ms.
        ask_ms: u64,
        /// When it is expected to be admitted, Unix ms.
        expected_ms: u64,
    },
}

impl Answer {
    /// A wait of so many ms: a short one is slept through, of a longer one half.
    fn waits(wait: u64, now_ms: u64) -> Self {
        let pause = if wait <= SHORT_MS { wait } else { (wait / 2).min(ASK_MS) };
        Self::Wait { ask_ms: now_ms.saturating_add(pause), expected_ms: now_ms.saturating_add(wait) }
    }
}

/// What EC2 throttled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttled {
    /// Calls (`RequestLimitExceeded`).
    Requests(Family),
    /// Launched instances (`RequestResourceCountExceeded`, or a fleet's entry of Errors).
    Launches,
    /// Ended instances (`RequestResourceCountExceeded` of TerminateInstances).
    Ends,
}

/// What came of an admitted launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Instances were launched.
    Granted,
    /// EC2 said no and launched nothing.
    Refused,
    /// EC2 counts otherwise than we do.
    Throttled,
}

/// Least pause before the next question, ms.
const LEAST_MS: u64 = 20;
/// A wait that is shorter is slept through; of a longer one half, so that who leaves makes room for others, ms.
const SHORT_MS: u64 = 10_000;
/// Longest pause between questions, ms.
const ASK_MS: u64 = 30_000;
/// A gang that has not asked again so long after its time has gone (ms).
const GONE_MS: u64 = 60_000;
/// Pause between looks for such gangs, ms.
const SWEEP_MS: u64 = 1_000;
/// Most gangs whose turn is kept.
const MOST_WAITING: usize = 16_384;

/// A gang whose turn is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    turn: u64,
    need: i64,
    ask_ms: u64,
}

/// The model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    sizes: Buckets,
    launch: Bucket,
    change: Bucket,
    describe: Bucket,
    terminate: Bucket,
    instances: Bucket,
    ended: Bucket,
    /// Kept for the gang that waits longest.
    saved: i64,
    waiting: BTreeMap<String, Waiting>,
    turns: BTreeMap<u64, String>,
    paid: BTreeMap<String, Paid>,
    /// Gangs in parts that have begun.
    begun: BTreeMap<String, parts::Begun>,
    next_turn: u64,
    at_ms: u64,
    swept_ms: u64,
}

impl Budget {
    /// Full buckets.
    #[must_use]
    pub fn new(sizes: Buckets, now_ms: u64) -> Self {
        Self {
            sizes,
            launch: Bucket::new(sizes.launch.cautious()),
            change: Bucket::new(sizes.change),
            describe: Bucket::new(sizes.describe),
            terminate: Bucket::new(sizes.terminate),
            instances: Bucket::new(sizes.instances),
            ended: Bucket::new(sizes.ended),
            saved: 0,
            waiting: BTreeMap::new(),
            turns: BTreeMap::new(),
            paid: BTreeMap::new(),
            begun: BTreeMap::new(),
            next_turn: 0,
            at_ms: now_ms,
            swept_ms: now_ms,
        }
    }

    /// Takes over what burst.toml says now.
    pub fn resize(&mut self, sizes: Buckets) {
        if sizes == self.sizes {
            return;
        }
        self.sizes = sizes;
        self.launch.resize(sizes.launch.cautious());
        self.change.resize(sizes.change);
        self.describe.resize(sizes.describe);
        self.terminate.resize(sizes.terminate);
        self.instances.resize(sizes.instances);
        self.ended.resize(sizes.ended);
        self.fit_parts();
        self.saved = self.saved.min(self.instances.most - self.instances.held - self.spare()).max(0);
    }

    /// One CreateFleet of so many instances for a gang. A gang larger than the bucket is admitted when the bucket is
    /// full. Asked again for a launch that is not settled, only the call is counted.
    pub fn admit(&mut self, gang: &str, nodes: u32, now_ms: u64) -> Answer {
        self.admit_first(gang, nodes, nodes, now_ms)
    }

    /// The same for the first fleet of a gang that takes several, `total` instances in all: it is admitted when the bucket
    /// holds all of them, or as many as it can; the others' share is kept for it.
    pub fn admit_first(&mut self, gang: &str, first: u32, total: u32, now_ms: u64) -> Answer {
        self.flow_in(now_ms);
        let need = match self.paid.get(gang) {
            Some(p) if p.is_due() => return Answer::Ok,
            Some(_) => 0,
            None => {
                self.drop_parts(gang);
                tokens(total.max(first)).min(self.instances.most)
            }
        };
        let turn = self.waiting.get(gang).map_or(self.next_turn, |w| w.turn);
        // While nobody waits, the next one to wait is this one.
        let saver = self.turns.first_key_value().map(|(t, _)| *t);
        let saves = saver.is_none_or(|t| t == turn);
        let (before, calls) = if saves { (0, 0) } else { self.before(saver, need, turn) };
        let has = self.instances.held.saturating_add(if saves { self.saved } else { 0 });
        // The instances of a launch that is not settled are counted already.
        let lacks = if need == 0 { 0 } else { before.saturating_add(need).saturating_sub(has).max(0) };
        let calls_lack = (calls + 1).saturating_mul(TOKEN).saturating_sub(self.calls()).max(0);
        if lacks == 0 && calls_lack == 0 {
            let from_saved = if saves { need.min(self.saved) } else { 0 };
            self.saved -= from_saved;
            self.instances.held -= need - from_saved;
            self.forget(gang);
            let need = if need > 0 { self.begin_parts(gang, need, (first, total)) } else { 0 };
            self.due(gang, need);
            return Answer::Ok;
        }
        let wait =
            self.expected(saves, turn, need, lacks).max(ms(calls_lack, self.launch.flow)).max(LEAST_MS);
        // What has begun comes first.
        let wait = if lacks > 0 { wait + ms(self.parts_lack(), self.instances.flow) } else { wait };
        let pause = if wait <= SHORT_MS { wait } else { (wait / 2).min(ASK_MS) };
        let (ask_ms, expected_ms) = (now_ms.saturating_add(pause), now_ms.saturating_add(wait));
        if let Some(w) = self.waiting.get_mut(gang) {
            (w.ask_ms, w.need) = (ask_ms, need);
        } else if self.waiting.len() < MOST_WAITING {
            self.waiting.insert(gang.to_owned(), Waiting { turn, need, ask_ms });
            self.turns.insert(turn, gang.to_owned());
            self.next_turn += 1;
        }
        Answer::Wait { ask_ms, expected_ms }
    }

    /// Instances and calls of those that come first: smaller gangs, and older ones of the same size. The one that saves
    /// comes first, too, once it lacks nothing but a call.
    fn before(&self, saver: Option<u64>, need: i64, turn: u64) -> (i64, i64) {
        let (mut instances, mut calls) = (0i64, 0i64);
        for w in self.waiting.values().filter(|w| w.turn != turn) {
            let first = match Some(w.turn) == saver {
                true if w.need <= self.instances.held.saturating_add(self.saved) => {
                    (w.need - self.saved).max(0)
                }
                true => continue,
                false if (w.need, w.turn) < (need, turn) => w.need,
                false => continue,
            };
            instances = instances.saturating_add(first);
            calls += 1;
        }
        (instances, calls)
    }

    /// How long the instances may take, ms: with the others' half of the flow behind the smaller ones, or with the whole
    /// behind the older ones, whichever is sooner.
    fn expected(&self, saves: bool, turn: u64, need: i64, lacks: i64) -> u64 {
        if lacks == 0 {
            return 0;
        }
        let alone = self.waiting.values().all(|w| w.turn == turn);
        if saves && alone {
            return ms(lacks, self.instances.flow);
        }
        let all = self.instances.held.saturating_add(self.saved);
        let older = self.waiting.values().filter(|w| w.turn < turn);
        let queue = older.fold(need, |sum, w| sum.saturating_add(w.need)).saturating_sub(all);
        let half = ms(lacks, self.instances.flow / 2);
        if saves { half } else { half.min(ms(queue.max(1), self.instances.flow)) }
    }

    /// What came of a launch. Without a known answer it is not settled.
    pub fn settled(&mut self, gang: &str, how: Settled, now_ms: u64) {
        self.flow_in(now_ms);
        let Some(p) = self.paid.remove(gang) else { return };
        self.count(p.call);
        match how {
            Settled::Refused => self.give_back(p.need),
            // EC2 counted it when it arrived, and a full bucket takes nothing in until then: no more than this launch
            // left room for, however late the answer is.
            Settled::Granted if p.need > 0 && !self.begun.contains_key(gang) => {
                self.instances.held -= self.instances.came(now_ms.saturating_sub(p.at_ms)).min(p.need);
            }
            _ => {}
        }
    }

    /// The gang does not want to launch any more: its turn, what was saved for it and what it did not use are given back.
    pub fn leave(&mut self, gang: &str) {
        self.forget(gang);
        self.drop_parts(gang);
        let Some(p) = self.paid.remove(gang) else { return };
        self.count(p.call);
        if p.is_due() {
            self.give_back(p.need);
        }
    }

    fn give_back(&mut self, need: i64) {
        let room = self.instances.most - self.saved - self.spare();
        self.instances.held = self.instances.held.saturating_add(need).min(room);
    }

    fn forget(&mut self, gang: &str) {
        let Some(w) = self.waiting.remove(gang) else { return };
        let saver = self.turns.first_key_value().map(|(t, _)| *t);
        self.turns.remove(&w.turn);
        if saver == Some(w.turn) {
            // The next one saves anew: what is left serves whoever comes.
            let room = self.instances.most - self.spare();
            self.instances.held = self.instances.held.saturating_add(self.saved).min(room);
            self.saved = 0;
        }
    }

    /// Any call but an admitted launch: it is counted now, and made after so many ms, `most_ms` at most.
    pub fn draw(&mut self, family: Family, most_ms: u64, now_ms: u64) -> u64 {
        self.flow_in(now_ms);
        // Calls that are due come first.
        let kept = if family == Family::Launch { self.launch.held - self.calls() } else { 0 };
        let bucket = self.of(family);
        bucket.held -= kept;
        let wait = bucket.draw(1, most_ms);
        bucket.held += kept;
        wait
    }

    /// A TerminateInstances of so many instances, as [`Self::draw`].
    pub fn draw_ends(&mut self, instances: u32, most_ms: u64, now_ms: u64) -> u64 {
        let call = self.draw(Family::Terminate, most_ms, now_ms);
        call.max(self.ended.draw(instances, most_ms))
    }

    fn of(&mut self, family: Family) -> &mut Bucket {
        match family {
            Family::Launch => &mut self.launch,
            Family::Change => &mut self.change,
            Family::Describe => &mut self.describe,
            Family::Terminate => &mut self.terminate,
        }
    }

    /// EC2 throttled us: somebody else uses the account, or the site's limits are lower.
    pub fn throttled(&mut self, what: Throttled, now_ms: u64) {
        self.flow_in(now_ms);
        match what {
            Throttled::Requests(family) => self.of(family).slow(),
            Throttled::Ends => self.ended.slow(),
            Throttled::Launches => {
                self.instances.slow();
                self.saved = 0;
                self.empty_parts();
            }
        }
    }

    /// A call was not throttled.
    pub fn succeeded(&mut self, family: Family) {
        self.of(family).hasten();
        match family {
            Family::Launch => self.instances.hasten(),
            Family::Terminate => self.ended.hasten(),
            Family::Change | Family::Describe => {}
        }
    }

    /// Gangs whose turn is kept.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The buckets, for people.
    #[must_use]
    pub fn shown(&mut self, now_ms: u64) -> Vec<Shown> {
        self.flow_in(now_ms);
        let saved = self.saved + self.spare();
        let due = self.calls() - self.launch.held;
        let less = |f| if f == Family::Launch { due } else { 0 };
        let mut out: Vec<Shown> =
            Family::ALL.into_iter().map(|f| self.of(f).shown(f.label(), less(f))).collect();
        out.push(self.instances.shown("launched instances", saved));
        out.push(self.ended.shown("ended instances", 0));
        out
    }

    /// What came in since the last look; gangs that have gone lose their turn.
    fn flow_in(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        for family in Family::ALL {
            self.of(family).flow_in(passed);
        }
        self.ended.flow_in(passed);
        self.arrive();
        let all = self.instances.held.saturating_add(self.saved).saturating_add(self.spare());
        let room = self.instances.most.saturating_sub(all);
        let came = self.instances.came(passed).min(room.max(0));
        let came = came - self.keep_for_parts(came);
        let keep = if self.turns.is_empty() { 0 } else { came - came / 2 };
        self.saved += keep;
        self.instances.held += came - keep;
        if self.at_ms < self.swept_ms.saturating_add(SWEEP_MS) {
            return;
        }
        self.swept_ms = self.at_ms;
        let gone = |w: &Waiting| now_ms > w.ask_ms.saturating_add(GONE_MS);
        let gone: Vec<String> =
            self.waiting.iter().filter(|(_, w)| gone(w)).map(|(g, _)| g.clone()).collect();
        for gang in gone {
            self.forget(&gang);
        }
    }
}
