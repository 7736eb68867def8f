//! Submissions that the engine has not found in Slurm's job table yet: nobody knows the job's number until then.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A job that was not found for so long will not be, ms.
const LASTS_MS: u64 = 60_000;

/// Gangs by id, each with its owner and when it was submitted (Unix ms).
#[derive(Debug, Default)]
pub struct Fresh(Mutex<HashMap<String, (u32, u64)>>);

impl Fresh {
    fn all(&self) -> MutexGuard<'_, HashMap<String, (u32, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the job exists.
    pub fn add(&self, gang: &str, uid: u32, now_ms: u64) {
        self.all().insert(gang.to_owned(), (uid, now_ms));
    }

    /// It was refused.
    pub fn remove(&self, gang: &str) {
        self.all().remove(gang);
    }

    /// Whether a job of this user's may be there that nobody knows by its number.
    #[must_use]
    pub fn has(&self, uid: u32, now_ms: u64) -> bool {
        self.all().values().any(|(owner, at)| *owner == uid && now_ms < at + LASTS_MS)
    }

    /// Forgets what is known by its number now.
    pub fn keep(&self, unknown: impl Fn(&str) -> bool) {
        self.all().retain(|gang, _| unknown(gang));
    }

    /// The job table was read, from `at_ms` on, of one user or of all: what was submitted before and is not in it was refused
    /// after job_submit. It is called with slurmctld's locks held, so that no reading comes between it and the job.
    pub fn looked(&self, uid: Option<u32>, at_ms: u64, there: impl Fn(&str) -> bool) {
        self.all()
            .retain(|gang, (owner, at)| *at >= at_ms || uid.is_some_and(|u| u != *owner) || there(gang));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_s_job_is_fresh_until_it_is_known_or_was_not_there() {
        let fresh = Fresh::default();
        for (gang, uid) in [("a", 1), ("b", 1), ("c", 2)] {
            fresh.add(gang, uid, 1_000);
        }
        assert!(fresh.has(1, 1_000) && fresh.has(2, 60_999) && !fresh.has(3, 1_000));
        assert!(!fresh.has(1, 61_000), "it never came");
        fresh.keep(|gang| gang != "a" && gang != "c");
        assert!(fresh.has(1, 1_000) && !fresh.has(2, 1_000));
        fresh.looked(Some(2), 2_000, |_| false);
        fresh.looked(None, 1_000, |_| false);
        fresh.looked(None, 2_000, |gang| gang == "b");
        assert!(fresh.has(1, 2_000), "another's look, one of before, and one that has seen it");
        fresh.looked(Some(1), 2_000, |_| false);
        assert!(!fresh.has(1, 2_000));
    }
}
