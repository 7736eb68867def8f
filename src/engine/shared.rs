//! What the plugin's entries and the engine share: a bounded queue one way, published snapshots the other.
//!
//! job_submit and job_modify only ever read what is published here and try to push: no lock is held, nothing waits.

use crate::timings::Timings;
use arc_swap::ArcSwap;
use burst_plan::Seconds;
use burst_policy::{Config, TypeBook, gang::Gang, prices::Prices};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::sync::{mpsc, oneshot};

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
    /// KillWait + OverTimeLimit.
    pub kill_margin: Seconds,
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

/// Shared state. Reads are lock-free.
#[derive(Debug, Default)]
pub struct Shared {
    /// What job_submit decides with.
    pub snapshot: ArcSwap<Snapshot>,
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

/// The queue's end that the plugin keeps.
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

    /// Pushes without waiting.
    ///
    /// # Errors
    /// The queue is full (or the engine gone): the job must be refused.
    pub fn push(&self, msg: Msg) -> Result<(), Full> {
        self.sender.try_send(msg).map_err(|_| {
            self.shared.queue_full.fetch_add(1, Ordering::Relaxed);
            Full
        })
    }

    /// The sender, for the engine's own tasks.
    #[must_use]
    pub fn sender(&self) -> mpsc::Sender<Msg> {
        self.sender.clone()
    }
}
