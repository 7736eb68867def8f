//! What must never be seen, whatever happens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The story's protocol, and what was broken in it.
#[derive(Clone, Default)]
pub struct Laws(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    broken: Vec<String>,
    log: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
}

impl Laws {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A law was broken.
    pub fn broke(&self, at_ms: u64, text: impl AsRef<str>) {
        let line = format!("{at_ms:>8} BROKEN {}", text.as_ref());
        let mut i = self.inner();
        i.log.push(line.clone());
        i.broken.push(line);
    }

    /// Something happened.
    pub fn note(&self, at_ms: u64, text: impl AsRef<str>) {
        self.inner().log.push(format!("{at_ms:>8} {}", text.as_ref()));
    }

    /// Counts an event of a kind.
    pub fn count(&self, kind: &'static str) {
        *self.inner().counts.entry(kind).or_default() += 1;
    }

    /// What was broken.
    pub fn broken(&self) -> Vec<String> {
        self.inner().broken.clone()
    }

    /// All that happened.
    pub fn log(&self) -> Vec<String> {
        self.inner().log.clone()
    }

    /// Events by kind.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.inner().counts.clone()
    }
}
