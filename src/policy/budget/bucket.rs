//! One token bucket, and which ones EC2 has.

use serde::{Deserialize, Serialize};

/// Parts of a token: one a millisecond is a thousandth of a token a second.
pub(super) const TOKEN: i64 = 1_000_000;
/// The flow after throttles is not believed to be less than this part of the published one.
const SLOWEST: i64 = 8;
/// Successes that bring the whole flow back.
pub(super) const STEPS: i64 = 16;

/// Calls that share a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// CreateFleet.
    Launch,
    /// Every other call that changes something but ends no instance: templates, placement groups, tags.
    Change,
    /// Describe calls; ours are filtered or have pages, which is the larger of EC2's two buckets.
    Describe,
    /// TerminateInstances.
    Terminate,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Launch, Self::Change, Self::Describe, Self::Terminate];

    /// As people read it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Launch => "CreateFleet",
            Self::Change => "templates and groups",
            Self::Describe => "Describe",
            Self::Terminate => "TerminateInstances",
        }
    }
}

/// Size of a bucket and what flows into it each second (burst.toml: `"50/5"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Tokens at most at once.
    pub size: u32,
    /// Tokens a second.
    pub per_s: u32,
}

impl Rate {
    /// Reads `SIZE/PER_SECOND`.
    ///
    /// # Errors
    /// In words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a bucket: write its size and its refill a second, as in \"50/5\"");
        let (size, per_s) = text.split_once('/').ok_or_else(wrong)?;
        let number = |t: &str| t.trim().parse::<u32>().ok().filter(|n| (1..=1_000_000).contains(n));
        Ok(Self { size: number(size).ok_or_else(wrong)?, per_s: number(per_s).ok_or_else(wrong)? })
    }
}

/// Sizes and flows of the buckets (`[rates]` of burst.toml).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buckets {
    /// CreateFleet calls.
    pub launch: Rate,
    /// Other changes.
    pub change: Rate,
    /// Describe calls.
    pub describe: Rate,
    /// TerminateInstances calls.
    pub terminate: Rate,
    /// Launched instances.
    pub instances: Rate,
    /// Ended instances.
    pub ended: Rate,
}

impl Default for Buckets {
    /// EC2's published defaults (API throttling, per account and Region).
    fn default() -> Self {
        let rate = |size, per_s| Rate { size, per_s };
        Self {
            launch: rate(50, 5),
            change: rate(50, 5),
            describe: rate(100, 20),
            terminate: rate(100, 5),
            instances: rate(1_000, 2),
            ended: rate(1_000, 20),
        }
    }
}

impl Rate {
    /// A little less at once than EC2 takes: a repetition is counted before it is made, and a call may be longer on its way
    /// than is thought (`calls.rs`).
    pub(super) fn cautious(self) -> Self {
        Self { size: self.size - (self.size / 20).min(2), ..self }
    }
}

/// A token bucket; below nothing are tokens that somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket {
    pub most: i64,
    pub held: i64,
    /// Parts of a token a millisecond, as published and as believed now.
    published: i64,
    pub flow: i64,
}

/// Tokens in parts.
pub(super) fn tokens(n: u32) -> i64 {
    i64::from(n).saturating_mul(TOKEN)
}

/// Whole tokens.
fn whole(parts: i64) -> u64 {
    u64::try_from(parts / TOKEN).unwrap_or(0)
}

/// How long a flow takes to bring so much, ms.
pub(super) fn ms(lacks: i64, flow: i64) -> u64 {
    let lacks = u64::try_from(lacks).unwrap_or(0);
    lacks.div_ceil(u64::try_from(flow).unwrap_or(1).max(1))
}

impl Bucket {
    pub fn new(rate: Rate) -> Self {
        let most = tokens(rate.size.max(1));
        let published = i64::from(rate.per_s.max(1)) * 1_000;
        Self { most, held: most, published, flow: published }
    }
    /// Other sizes from now on; what it holds stays, as far as it fits.
    pub fn resize(&mut self, rate: Rate) {
        let held = self.held;
        *self = Self::new(rate);
        self.held = held.min(self.most);
    }
    /// What came in so many milliseconds.
    pub fn came(&self, passed_ms: u64) -> i64 {
        i64::try_from(passed_ms).unwrap_or(i64::MAX).saturating_mul(self.flow)
    }
    pub fn flow_in(&mut self, passed_ms: u64) {
        self.held = self.held.saturating_add(self.came(passed_ms)).min(self.most);
    }
    /// Takes tokens and answers after how long they are there, ms; not longer than `most_ms`, whatever is lacking then.
    pub fn draw(&mut self, n: u32, most_ms: u64) -> u64 {
        self.held = self.held.saturating_sub(tokens(n).min(self.most));
        let wait = ms(self.held.saturating_neg(), self.flow);
        if wait > most_ms {
            self.held = self.came(most_ms).saturating_neg();
        }
        wait.min(most_ms)
    }
    pub fn slow(&mut self) {
        self.held = self.held.min(0);
        self.flow = (self.flow / 2).max(self.published / SLOWEST).max(1);
    }
    pub fn hasten(&mut self) {
        self.flow = (self.flow + (self.published / STEPS).max(1)).min(self.published);
    }
    pub fn shown(&self, name: &'static str, saved: i64) -> Shown {
        Shown {
            name,
            size: whole(self.most),
            left: whole(self.held.saturating_add(saved).max(0)),
            per_s: self.flow as f64 / 1_000.0,
            slowed: self.flow < self.published,
        }
    }
}

/// A bucket as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// Which.
    pub name: &'static str,
    /// Tokens at most.
    pub size: u64,
    /// Tokens now.
    pub left: u64,
    /// Tokens a second, as believed now.
    pub per_s: f64,
    /// After throttles less is believed than what is published.
    pub slowed: bool,
}
