//! Where the engine's time and threads come from: the machine, or a test that owns both.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::AbortHandle};

/// Where this process's passed time begins.
static BEGAN: OnceLock<Instant> = OnceLock::new();

/// Calls of slurmctld's and of munge's under way at once. slurmctld's go one after the other anyway, by its locks; more
/// threads would only wait there, each with a heap of its own that never shrinks.
const TURNS: usize = 2;

/// What a test decides instead of the machine.
pub trait Stage: Send + Sync {
    /// What the wall clock shows, Unix ms.
    fn now_ms(&self) -> u64;
    /// Time that never jumps, ms.
    fn elapsed_ms(&self) -> u64;
    /// How long a call of Slurm's takes before and after its effect.
    fn pauses(&self) -> (Duration, Duration);
}

/// Clock, threads that may block, and tasks.
#[derive(Clone)]
pub struct Host {
    stage: Option<Arc<dyn Stage>>,
    /// Wall clock less time passed, ms; only ever grows: what happened must not lie in the future because the wall
    /// clock was set back.
    ahead: Arc<AtomicI64>,
    /// Tasks of a staged engine, so that a crash can end them all.
    tasks: Arc<Mutex<Vec<AbortHandle>>>,
    turns: Arc<Semaphore>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.stage.is_some() { "Host(staged)" } else { "Host(machine)" })
    }
}

impl Default for Host {
    fn default() -> Self {
        Self {
            stage: None,
            ahead: Arc::new(AtomicI64::new(i64::MIN)),
            tasks: Arc::default(),
            turns: Arc::new(Semaphore::new(TURNS)),
        }
    }
}

impl Host {
    /// A host whose time is `stage`'s and whose threads are tasks of the current runtime.
    #[must_use]
    pub fn staged(stage: Arc<dyn Stage>) -> Self {
        Self { stage: Some(stage), ..Self::default() }
    }

    /// Unix time in ms. It follows the wall clock forwards; where that is set back, time goes on from where it was.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let (wall, passed) = match &self.stage {
            Some(s) => (s.now_ms(), s.elapsed_ms()),
            None => {
                let passed = BEGAN.get_or_init(Instant::now).elapsed().as_millis();
                (crate::start::now_ms(), u64::try_from(passed).unwrap_or(u64::MAX))
            }
        };
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let seen = signed(wall).saturating_sub(signed(passed));
        let ahead = self.ahead.fetch_max(seen, Ordering::Relaxed).max(seen);
        passed.saturating_add_signed(ahead)
    }

    /// Runs what may block.
    ///
    /// # Errors
    /// It panicked, in words.
    pub async fn block<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let Some(stage) = &self.stage else {
            return tokio::task::spawn_blocking(f).await.map_err(|e| e.to_string());
        };
        let (before, after) = stage.pauses();
        tokio::time::sleep(before).await;
        let out = f();
        tokio::time::sleep(after).await;
        Ok(out)
    }

    /// Runs a call of slurmctld's or munge's, which may block, when it is its turn.
    ///
    /// # Errors
    /// It panicked, in words.
    pub async fn in_turn<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        // A stage's calls block nothing.
        let _turn = match self.stage {
            None => Some(self.turns.acquire().await.map_err(|e| e.to_string())?),
            Some(_) => None,
        };
        self.block(f).await
    }

    /// A task beside the others.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Boxed: the engine's tasks are large, and there are few kinds of them.
        let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(task);
        let handle = tokio::spawn(task).abort_handle();
        if self.stage.is_some() {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.retain(|t| !t.is_finished());
            tasks.push(handle);
        }
    }

    /// Ends every task of a staged engine where it stands, as `kill -9` would.
    pub fn crash(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Barrier, atomic::AtomicUsize};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn so_many_calls_are_under_way_and_no_more() {
        let host = Host::default();
        // A call ends only beside others: with fewer turns nothing would end.
        let (together, now, most) = (Arc::new(Barrier::new(TURNS)), Arc::default(), Arc::default());
        let calls: Vec<_> = (0..TURNS * 4)
            .map(|_| {
                let (host, together) = (host.clone(), Arc::clone(&together));
                let (now, most): (Arc<AtomicUsize>, Arc<AtomicUsize>) = (Arc::clone(&now), Arc::clone(&most));
                tokio::spawn(async move {
                    let call = move || {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        together.wait();
                        now.fetch_sub(1, Ordering::SeqCst);
                    };
                    host.in_turn(call).await
                })
            })
            .collect();
        for call in calls {
            let ended = tokio::time::timeout(Duration::from_secs(60), call).await;
            ended.expect("a turn comes").expect("no panic").expect("no panic inside");
        }
        assert_eq!(most.load(Ordering::SeqCst), TURNS);
    }
}
