//! One generator for everything that happens by chance, and the simulation's clock.

use burst_cloud::fake::EPOCH;
use burst_engine::host::Stage;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering},
};
use std::time::Duration;
use tokio::time::Instant;

/// Chance and time of one story; clones are the same.
#[derive(Clone)]
pub struct Dice {
    rng: Arc<Mutex<fastrand::Rng>>,
    began: Instant,
    /// What the controller's wall clock is off by, ms: clocks jump.
    skew: Arc<AtomicI64>,
    /// All jumps together, ms.
    jumps: Arc<AtomicU64>,
}

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))),
            began: Instant::now(),
            skew: Arc::default(),
            jumps: Arc::default(),
        }
    }

    /// A number in `from..to`.
    pub fn range(&self, from: u64, to: u64) -> u64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).u64(from..to)
    }

    /// True in so many of a thousand cases.
    pub fn chance(&self, per_mille: u64) -> bool {
        self.range(0, 1_000) < per_mille
    }

    /// One of several.
    pub fn pick<T: Clone>(&self, of: &[T]) -> Option<T> {
        let n = u64::try_from(of.len()).unwrap_or(0);
        if n == 0 {
            return None;
        }
        of.get(usize::try_from(self.range(0, n)).unwrap_or(0)).cloned()
    }

    /// A time in `from..to` ms.
    pub fn ms(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.range(from, to))
    }

    /// Since the story began, ms.
    pub fn passed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Unix ms as it really is.
    pub fn true_ms(&self) -> u64 {
        EPOCH * 1_000 + self.passed_ms()
    }

    /// The controller's clock jumps.
    pub fn jump(&self, by_ms: i64) {
        self.skew.fetch_add(by_ms, Ordering::Relaxed);
        self.jumps.fetch_add(by_ms.unsigned_abs(), Ordering::Relaxed);
    }

    /// The most that a time the controller took may be wrong by, ms.
    pub fn jumped_ms(&self) -> u64 {
        self.jumps.load(Ordering::Relaxed)
    }
}

impl Stage for Dice {
    fn now_ms(&self) -> u64 {
        self.true_ms().saturating_add_signed(self.skew.load(Ordering::Relaxed))
    }

    fn elapsed_ms(&self) -> u64 {
        self.passed_ms()
    }

    fn pauses(&self) -> (Duration, Duration) {
        // Mostly short, at times as slow as a busy slurmctld.
        let most = if self.chance(50) { 400 } else { 4 };
        (self.ms(0, most), self.ms(0, most))
    }
}
