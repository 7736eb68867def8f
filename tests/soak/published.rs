//! EC2's token buckets as AWS publishes them (API throttling, per account and Region), enforced and counted. Shares
//! nothing with the engine's own model of them.

use burst_cloud::{CloudError, fake::refusal};
use burst_policy::classify::Class;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[derive(Debug, Default)]
struct Inner {
    /// What was taken out of each bucket so far: (level in thousandths, when, ms).
    levels: BTreeMap<&'static str, (u64, u64)>,
    /// Launched instances: size and refill a second.
    launches: (u64, u64),
    refused: u64,
    calls: BTreeMap<&'static str, u64>,
}

/// The account's buckets; clones are the same.
#[derive(Debug, Clone)]
pub struct Published(Arc<Mutex<Inner>>);

/// Bucket, size and refill a second of a call.
fn bucket(api: &'static str) -> (&'static str, u64, u64) {
    match api {
        "CreateFleet" => (api, 50, 5),
        "TerminateInstances" => (api, 100, 5),
        a if a.starts_with("Describe") => ("describe", 100, 20),
        _ => ("mutating", 50, 5),
    }
}

impl Published {
    /// With so many launched instances at once and a second (EC2: 1000 and 2).
    pub fn new(launches: (u64, u64)) -> Self {
        Self(Arc::new(Mutex::new(Inner { launches, ..Inner::default() })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, (name, size, per_s): (&'static str, u64, u64), n: u64, now_ms: u64) -> bool {
        let mut i = self.inner();
        let (level, at) = i.levels.get(name).copied().unwrap_or((size * 1_000, now_ms));
        let level = (level + now_ms.saturating_sub(at) * per_s).min(size * 1_000);
        let ok = level >= n * 1_000;
        i.levels.insert(name, (if ok { level - n * 1_000 } else { level }, now_ms));
        i.refused += u64::from(!ok);
        ok
    }

    /// A call comes in; false: it is throttled.
    pub fn request(&self, api: &'static str, now_ms: u64) -> bool {
        *self.inner().calls.entry(api).or_default() += 1;
        self.take(bucket(api), 1, now_ms)
    }

    /// So many instances are to be launched.
    pub fn launches(&self, n: u64, now_ms: u64) -> bool {
        let (size, per_s) = self.inner().launches;
        self.take(("instances", size, per_s), n, now_ms)
    }

    /// The answer to who is throttled.
    pub fn refuse(&self, api: &str) -> CloudError {
        refusal(api, "RequestLimitExceeded", "Request limit exceeded.", Class::Throttle)
    }

    /// Throttled calls so far.
    pub fn refused(&self) -> u64 {
        self.inner().refused
    }

    /// Calls by API.
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.inner().calls.clone()
    }
}
