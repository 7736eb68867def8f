//! What the plugin's entries and the engine share: a bounded queue one way, published snapshots the other.
//!
//! job_submit and job_modify only ever read what is published here and try to put a message into the letter box: nothing waits.

use crate::{care::Care, fresh::Fresh, timings::Timings};
use arc_swap::{ArcSwap, Guard};
use burst_plan::{Geometry, MicroUsd, Plan, Request, Seconds};
use burst_policy::{
    Config, Offers, TypeBook,
    gang::{Gang, says},
    prices::Prices,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
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
#[repr(C)]
pub struct Board {
    names: Mutex<Names>,
    version: AtomicU64,
    seen: Mutex<(u64, Arc<Snapshot>)>,
    swap: ArcSwap<Snapshot>,
}

/// Bytes of partition names that are kept in one place.
const NAMES: usize = 232;

/// The partitions that are ours, without a pointer to follow: every submission of the cluster looks here, and each
/// pointer is a cache miss.
#[derive(Debug)]
#[repr(C, align(64))]
struct Names {
    /// More than [`NAMES`] for those that do not fit.
    len: usize,
    default_is_ours: bool,
    text: [u8; NAMES],
}

impl Default for Names {
    fn default() -> Self {
        Self { len: 0, default_is_ours: false, text: [0; NAMES] }
    }
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
        let new = self.swap.load();
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.len = new.ours.len();
        names.default_is_ours = new.is_ours(b"");
        names.text = [0; NAMES];
        if let Some(text) = names.text.get_mut(..new.ours.len()) {
            text.copy_from_slice(new.ours.as_bytes());
        }
        drop(names);
        // After the swap: who sees the number finds at least that snapshot.
        self.version.fetch_add(1, Ordering::Release);
    }
    /// Reads what hangs there, and its number, without waiting: while another call has the copy, the board itself is read,
    /// and its number is not known.
    #[inline]
    pub fn with<T>(&self, read: impl FnOnce(Option<u64>, &Snapshot) -> T) -> T {
        let version = self.version.load(Ordering::Acquire);
        let Ok(mut seen) = self.seen.try_lock() else {
            return read(None, &self.swap.load());
        };
        if seen.0 != version {
            *seen = (version, self.swap.load_full());
        }
        read(Some(version), &seen.1)
    }
    /// Partitions that are ours, a line each, and whether the default one is, without waiting.
    #[inline]
    pub fn names<T>(&self, read: impl FnOnce(&[u8], bool) -> T) -> T {
        if let Ok(names) = self.names.try_lock()
            && let Some(text) = names.text.get(..names.len)
        {
            return read(text, names.default_is_ours);
        }
        self.with(|_, s| read(s.ours.as_bytes(), s.is_ours(b"")))
    }
}

/// Shared state. Reads never wait.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Shared {
    /// What job_submit decides with; first, because every job_submit looks there.
    pub snapshot: Board,
    /// Managed jobs by id: own ids and array ids.
    pub managed: ArcSwap<HashMap<u32, Managed>>,
    /// What job_submit has handed over and the engine has not found yet.
    pub fresh: Fresh,
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
    /// The machine, the configuration, collection.
    pub care: Care,
    /// Instances of no living gang that collection has ended: money that nobody can explain.
    pub unexplained: AtomicU64,
    /// What came of nodes' reports.
    pub reports: crate::counts::Reports,
}

/// What jobs of one shape have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Pool.
    pub pool: String,
    /// What the user wants.
    pub request: Request,
    /// The plan, for the record.
    pub plan: Option<Plan>,
    /// The job, but for owner and name.
    pub geometry: Geometry,
    /// The most it can cost.
    pub worst: Option<MicroUsd>,
}

/// A job job_submit has held; for an array the pattern of its tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Intake {
    /// Its gang's id: 16 hex digits.
    pub id: String,
    /// Owner.
    pub uid: u32,
    /// Job name.
    pub name: String,
    /// When, Unix ms.
    pub at_ms: u64,
    /// Its owner submitted it held.
    pub user_hold: bool,
    /// The rest.
    pub draft: Arc<Draft>,
}

impl Intake {
    /// The gang's document.
    #[must_use]
    pub fn gang(self) -> Gang {
        let d = &self.draft;
        let geometry = Geometry { uid: self.uid, name: self.name, ..d.geometry.clone() };
        let mut gang = Gang::new(self.id, self.uid, d.pool.clone(), d.request.clone(), geometry, self.at_ms);
        gang.user_hold = self.user_hold;
        gang.worst = d.worst;
        gang.plan.clone_from(&d.plan);
        // What job_submit has written.
        gang.commented = says::comment(&gang);
        gang
    }
}

/// Messages to the core.
#[derive(Debug)]
pub enum Msg {
    /// From job_submit.
    Intake(Box<Intake>),
    /// From job_modify: the owner holds (or releases) a managed job.
    UserHold {
        /// Who asked.
        uid: u32,
        /// The job id it names.
        job: u32,
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
        Msg::UserHold { uid: 1, job: 1, tasks: Vec::new(), hold: true }
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
        assert!(board.with(|_, s| broken(s)).is_empty());
        for name in ["a", "b"] {
            board.publish(Snapshot { broken_partitions: vec![name.into()], ..Snapshot::default() });
            // A call within a call finds the copy taken, and reads the board.
            let both = board.with(|_, outer| (broken(outer), board.with(|_, s| broken(s))));
            assert_eq!(both, (vec![name.to_owned()], vec![name.to_owned()]));
        }
        board.change(|s| s.default_partition = Some("b".into()));
        board.with(|_, s| {
            let ours = ["b", "", "x,b", "bb", "x", ","].map(|p| s.is_ours(p.as_bytes()));
            assert_eq!(ours, [true, true, true, false, false, false]);
        });
        assert!(!Snapshot::default().is_ours(b""));
    }

    #[test]
    fn names_are_the_board_s_however_many_they_are() {
        let board = Board::default();
        let read =
            |board: &Board| board.names(|n, default| (String::from_utf8_lossy(n).into_owned(), default));
        assert_eq!(read(&board), (String::new(), false));
        for many in [1, 10, 100] {
            let all: Vec<String> = (0..many).map(|n| format!("partition-{n}")).collect();
            let snapshot = Snapshot {
                broken_partitions: all.clone(),
                default_partition: Some("partition-0".into()),
                ..Snapshot::default()
            };
            board.publish(snapshot);
            assert_eq!(read(&board), (all.join("\n"), true));
            // While another call has them.
            assert_eq!(board.names(|_, _| read(&board)), (all.join("\n"), true));
        }
        board.publish(Snapshot::default());
        assert_eq!(read(&board), (String::new(), false));
    }
}
