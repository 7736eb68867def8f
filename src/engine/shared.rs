//! What the plugin's entries and the engine share: a bounded queue one way, published snapshots the other.
//!
//! job_submit and job_modify only ever read what is published here and try to put a message into the letter box: nothing waits.

use crate::timings::Timings;
use arc_swap::{ArcSwap, Guard};
use burst_plan::Seconds;
use burst_policy::{Config, Offers, TypeBook, gang::Gang, prices::Prices};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc as std_mpsc,
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// How often the engine looks into the letter box: what it costs a job, and what an idle controller is woken for.
const LOOK: Duration = Duration::from_millis(10);

/// Partition facts job_submit needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionFacts {
    /// Time limit a job gets that asks for none; None: unlimited.
    pub default_time: Option<Seconds>,
}

/// Everything job_submit decides with.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The configuration, or what is wrong with it.
    pub config: Option<Config>,
    /// Text of what is wrong, for refusals.
    pub config_error: Option<String>,
    /// Partitions named by a broken configuration.
    pub broken_partitions: Vec<String>,
    /// Prices.
    pub prices: Prices,
    /// Types.
    pub types: TypeBook,
    /// Types and prices of the pools' blocks, looked up; [`Board`] keeps it true.
    pub offers: Offers,
    /// Partitions of pools and of a broken configuration, a line each; [`Board`] keeps it true.
    pub ours: Box<str>,
    /// KillWait + OverTimeLimit.
    pub kill_margin: Seconds,
    /// slurmctld's.
    pub slurm_version: String,
    /// By name; None before the first look.
    pub partitions: Option<BTreeMap<String, PartitionFacts>>,
    /// The cluster's default partition.
    pub default_partition: Option<String>,
    /// Pools that may not launch, with what slurm.conf lacks.
    pub refused_pools: BTreeMap<String, String>,
    /// Pools that may not launch, with what EC2 says of their subnets.
    pub wrong_subnets: BTreeMap<String, String>,
}

impl Snapshot {
    /// Works out what follows from the rest.
    fn settle(&mut self) {
        let mut ours = self.broken_partitions.clone();
        if let Some(config) = &self.config {
            self.offers = Offers::of(config, &self.types, &self.prices);
            ours.extend(config.pools.values().map(|p| p.partition.clone()));
        }
        self.ours = ours.join("\n").into();
    }

    /// Whether a job sent there is ours: one of its partitions is a pool's. An empty name is the cluster's default.
    #[must_use]
    #[inline]
    pub fn is_ours(&self, partition: &[u8]) -> bool {
        let default = || self.default_partition.as_deref().unwrap_or("").as_bytes();
        let given = if partition.is_empty() { default() } else { partition };
        let own = |p: &[u8]| self.ours.as_bytes().split(|b| *b == b'\n').any(|o| o == p);
        given.split(|b| *b == b',').any(|p| !p.is_empty() && own(p))
    }

    /// Why the pool may not launch, if it may not.
    #[must_use]
    pub fn refusal(&self, pool: &str) -> Option<String> {
        let why: Vec<&str> = [&self.refused_pools, &self.wrong_subnets]
            .iter()
            .filter_map(|m| Some(m.get(pool)?.as_str()))
            .collect();
        (!why.is_empty()).then(|| why.join("; "))
    }
}

/// A managed job as job_modify knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    /// Gang key.
    pub gang: String,
    /// Owner.
    pub uid: u32,
}

/// Where the snapshot hangs.
///
/// [`Board::with`] is for job_submit: slurmctld calls it on a thread that is new each time, where `ArcSwap`'s thread-local
/// state has to be made first, which takes longer than to see that a job is not ours.
#[derive(Debug, Default)]
pub struct Board {
    swap: ArcSwap<Snapshot>,
    version: AtomicU64,
    seen: Mutex<(u64, Arc<Snapshot>)>,
}

impl Board {
    /// What hangs there now.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.swap.load()
    }
    /// The same, to keep.
    #[must_use]
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.swap.load_full()
    }
    /// Hangs up another.
    pub fn publish(&self, snapshot: Snapshot) {
        self.change(|old| old.clone_from(&snapshot));
    }
    /// Hangs up a changed copy; nobody else's change is lost.
    pub fn change(&self, change: impl Fn(&mut Snapshot)) {
        self.swap.rcu(|old| {
            let mut new = (**old).clone();
            change(&mut new);
            new.settle();
            new
        });
        // After the swap: who sees the number finds at least that snapshot.
        self.version.fetch_add(1, Ordering::Release);
    }
    /// Reads what hangs there, without waiting: while another call has the copy, the board itself is read.
    #[inline]
    pub fn with<T>(&self, read: impl FnOnce(&Snapshot) -> T) -> T {
        let version = self.version.load(Ordering::Acquire);
        let Ok(mut seen) = self.seen.try_lock() else {
            return read(&self.swap.load());
        };
        if seen.0 != version {
            *seen = (version, self.swap.load_full());
        }
        read(&seen.1)
    }
}

/// Shared state. Reads never wait.
#[derive(Debug, Default)]
pub struct Shared {
    /// What job_submit decides with.
    pub snapshot: Board,
    /// Managed jobs by id: own ids and array ids.
    pub managed: ArcSwap<HashMap<u32, Managed>>,
    /// Panics caught at the border.
    pub panics: AtomicU64,
    /// Jobs refused because the queue was full.
    pub queue_full: AtomicU64,
    /// job_submit or job_modify was called in this process: it is the active controller.
    pub called: AtomicBool,
    /// The engine is up.
    pub running: AtomicBool,
    /// How long job_submit took.
    pub timings: Timings,
    /// Instances of no living gang that collection has ended: money that nobody can explain.
    pub unexplained: AtomicU64,
    /// What came of nodes' reports.
    pub reports: crate::counts::Reports,
}

/// A job job_submit has held.
#[derive(Debug, Clone, PartialEq)]
pub struct Intake {
    /// The gang's document; for an array the pattern of its tasks' gangs.
    pub gang: Gang,
    /// It is an array.
    pub array: bool,
}

/// Messages to the core.
#[derive(Debug)]
pub enum Msg {
    /// From job_submit.
    Intake(Box<Intake>),
    /// From job_modify: the owner holds (or releases) a managed job.
    UserHold {
        /// Job ids it names.
        jobs: Vec<u32>,
        /// Array tasks it names; empty: all.
        tasks: Vec<u32>,
        /// Hold or release.
        hold: bool,
    },
    /// Something of the engine's own.
    Internal(Box<crate::core::Event>),
    /// A question over HTTP, with where the answer goes.
    Ask(Box<crate::core::Question>, oneshot::Sender<crate::core::Answer>),
}

/// The queue took nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine's queue is full")]
pub struct Full;

/// The engine's queue, and what is published.
#[derive(Debug, Clone)]
pub struct Handle {
    sender: mpsc::Sender<Msg>,
    /// Published state.
    pub shared: Arc<Shared>,
}

impl Handle {
    /// A queue of at most `size` messages.
    #[must_use]
    pub fn new(size: usize, shared: Arc<Shared>) -> (Self, mpsc::Receiver<Msg>) {
        let (sender, receiver) = mpsc::channel(size.max(1));
        (Self { sender, shared }, receiver)
    }

    /// The sender, for the engine's own tasks.
    #[must_use]
    pub fn sender(&self) -> mpsc::Sender<Msg> {
        self.sender.clone()
    }
}

/// The slot of the letter box that job_submit and job_modify have.
///
/// Putting a message in wakes nobody: to wake a thread is a system call, and on a busy machine the woken one takes the
/// processor from slurmctld, which holds its locks. The engine comes to look.
#[derive(Debug, Clone)]
pub struct Slot {
    letters: std_mpsc::SyncSender<Msg>,
    /// The engine's queue and published state.
    pub handle: Handle,
}

/// The letter box's other side.
#[derive(Debug)]
pub struct LetterBox(std_mpsc::Receiver<Msg>);

impl Slot {
    /// A box of at most `size` messages in front of the engine's queue.
    #[must_use]
    pub fn new(size: usize, handle: Handle) -> (Self, LetterBox) {
        let (letters, receiver) = std_mpsc::sync_channel(size.max(1));
        (Self { letters, handle }, LetterBox(receiver))
    }

    /// Puts a message in, without waiting.
    ///
    /// # Errors
    /// The box is full (or the engine gone): the job must be refused.
    pub fn push(&self, msg: Msg) -> Result<(), Full> {
        self.letters.try_send(msg).map_err(|_| {
            self.handle.shared.queue_full.fetch_add(1, Ordering::Relaxed);
            Full
        })
    }
}

impl LetterBox {
    /// Carries messages to the engine's queue, for as long as both live. Where the queue is full they stay in the box,
    /// which fills up.
    pub async fn carry(self, to: mpsc::Sender<Msg>) {
        loop {
            match self.0.try_recv() {
                Ok(msg) => {
                    if to.send(msg).await.is_err() {
                        return;
                    }
                }
                Err(std_mpsc::TryRecvError::Empty) => tokio::time::sleep(LOOK).await,
                Err(std_mpsc::TryRecvError::Disconnected) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake() -> Msg {
        Msg::UserHold { jobs: vec![1], tasks: Vec::new(), hold: true }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_box_refuses_and_a_full_queue_loses_nothing() {
        let (handle, mut queue) = Handle::new(2, Arc::default());
        let (slot, letters) = Slot::new(3, handle.clone());
        for _ in 0..3 {
            slot.push(intake()).expect("room");
        }
        assert_eq!(slot.push(intake()), Err(Full));
        assert_eq!(handle.shared.queue_full.load(Ordering::Relaxed), 1);
        tokio::spawn(letters.carry(handle.sender()));
        tokio::time::sleep(LOOK * 3).await;
        // Two are in the queue, one is on its way: nothing is taken out further until the engine takes.
        for _ in 0..2 {
            slot.push(intake()).expect("room again");
        }
        for _ in 0..5 {
            queue.recv().await.expect("carried");
        }
    }

    #[test]
    fn what_is_read_is_what_hangs_there() {
        let board = Board::default();
        let broken = |s: &Snapshot| s.broken_partitions.clone();
        assert!(board.with(broken).is_empty());
        for name in ["a", "b"] {
            board.publish(Snapshot { broken_partitions: vec![name.into()], ..Snapshot::default() });
            // A call within a call finds the copy taken, and reads the board.
            let both = board.with(|outer| (broken(outer), board.with(broken)));
            assert_eq!(both, (vec![name.to_owned()], vec![name.to_owned()]));
        }
        board.change(|s| s.default_partition = Some("b".into()));
        board.with(|s| {
            let ours = ["b", "", "x,b", "bb", "x", ","].map(|p| s.is_ours(p.as_bytes()));
            assert_eq!(ours, [true, true, true, false, false, false]);
        });
        assert!(!Snapshot::default().is_ours(b""));
    }
}
