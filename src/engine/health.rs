//! The journal's health: whether its disk takes what is written, and how much waits for it.
//!
//! What is written waits in memory, inside slurmctld: a disk that does not answer must not fill that.

use crate::journal::JournalError;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Most that waits to be written, bytes.
const MOST_BYTES: u64 = 64 << 20;
/// A disk that has written nothing for so long, although something waits, does not answer.
pub const SLOW: Duration = Duration::from_secs(5);

/// What the writer and those who ask it share.
#[derive(Debug, Default)]
pub struct Health {
    /// Bytes that wait.
    waiting: AtomicU64,
    /// Since when the writer has owed something, or when it wrote last; None: nothing waits.
    owed: Mutex<Option<Instant>>,
    /// Why the last write failed.
    failing: Mutex<Option<String>>,
}

impl Health {
    /// Something of this size joins the queue.
    ///
    /// # Errors
    /// The queue has no room.
    pub(crate) fn enter(&self, bytes: u64) -> Result<(), JournalError> {
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > MOST_BYTES {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            let text = "its queue is full: the disk of the state directory does not take what is written";
            return Err(JournalError(text.into()));
        }
        lock(&self.owed).get_or_insert_with(Instant::now);
        Ok(())
    }

    /// So much was taken out, written or not; what was only `read` says nothing about writing where it works.
    pub(crate) fn left(&self, bytes: u64, read: bool, outcome: Result<(), &JournalError>) {
        let before = self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        *lock(&self.owed) = (before > bytes).then(Instant::now);
        let mut failing = lock(&self.failing);
        match outcome {
            Ok(()) if read => {}
            Ok(()) => *failing = None,
            Err(e) => {
                failing.get_or_insert_with(|| e.0.clone());
            }
        }
    }

    /// Whether the last write failed: only another one can show that this is over.
    pub(crate) fn is_failing(&self) -> bool {
        lock(&self.failing).is_some()
    }

    /// Why nothing new can be launched: what is launched must be on disk before. In words that do not change while it
    /// lasts.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let look = "an administrator must look at the disk of the state directory";
        if let Some(e) = &*lock(&self.failing) {
            return Some(format!("the journal cannot be written ({e}); {look}"));
        }
        let slow = lock(&self.owed).is_some_and(|since| since.elapsed() >= SLOW);
        slow.then(|| format!("the journal's disk does not answer; {look}"))
    }
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_fails_or_does_not_answer_is_told_until_it_writes_again() {
        let h = Health::default();
        assert_eq!(h.trouble(), None);
        h.enter(10).unwrap();
        tokio::time::advance(SLOW).await;
        assert!(h.trouble().is_some_and(|t| t.contains("does not answer")), "{h:?}");
        h.left(10, false, Ok(()));
        assert_eq!(h.trouble(), None);
        h.enter(10).unwrap();
        h.left(10, false, Err(&JournalError("database or disk is full".into())));
        h.enter(10).unwrap();
        h.left(10, false, Err(&JournalError("something else".into())));
        h.enter(10).unwrap();
        h.left(10, true, Ok(()));
        let text = h.trouble().unwrap();
        assert!(text.contains("(database or disk is full)"), "the first reason stays: {text}");
        h.enter(10).unwrap();
        h.left(10, false, Ok(()));
        assert_eq!(h.trouble(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_bounded() {
        let h = Health::default();
        h.enter(MOST_BYTES).unwrap();
        let full = h.enter(1).unwrap_err().to_string();
        assert!(full.contains("queue is full"), "{full}");
        h.left(MOST_BYTES, false, Ok(()));
        h.enter(1).unwrap();
    }
}
