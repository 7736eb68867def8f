//! Where a gang stands, and why.

use super::*;

/// Why a gang is not being launched now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// A dependency is not met.
    Dependency(String),
    /// `--begin` lies ahead, Unix seconds.
    Begin(u64),
    /// The owner holds the job.
    UserHold,
    /// Slurm would not start it now: licences, or a limit of an association or QOS.
    Limits(String),
    /// No rung had capacity.
    Capacity,
    /// No free node names.
    Names,
    /// EC2's rate budget is used by gangs before it.
    Rate {
        /// When that was said, Unix ms.
        said_ms: u64,
        /// When it is expected to be launched, Unix ms.
        expected_ms: u64,
    },
    /// EC2 fails call after call: it is left alone for a while.
    Outage {
        /// Which calls, where.
        calls: String,
        /// The last error's code.
        code: String,
    },
    /// The budget service refuses, or gives no answer: in words.
    Budget(String),
    /// EC2 or Slurm could not be asked; the last error says how.
    Trouble,
    /// Nothing may be launched now: an operator, or the engine's own state, in words.
    Stopped(String),
    /// The pool only plans: what would be launched.
    DryRun(String),
}

/// What comes after a gang was given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// Nothing: the job is over or not ours any more.
    Done,
    /// Another try from this rung on.
    Again {
        /// Index into the ladder.
        rung: usize,
    },
    /// Another try when what Slurm said has gone.
    Later {
        /// Slurm's reason.
        why: String,
    },
    /// The job stays held until an operator acts.
    Failed(String),
}

/// Where the giving back stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Slurm has not cleared COMPLETING: the site's Epilog may still run.
    Epilog {
        /// Unix ms after which it is not waited for.
        deadline_ms: u64,
    },
    /// Names go down in Slurm.
    PowerDown,
    /// Instances end in EC2.
    Terminate,
    /// Until the names are powered down.
    Settle {
        /// When to ask again, Unix ms.
        nudge_ms: u64,
    },
}

/// Where a gang stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// job_submit has seen it; its record has not been found yet.
    Submitted,
    /// Found; the administrator's hold is being put on.
    Held,
    /// Not before something else.
    Waiting {
        /// Unix ms, None: until the reason goes away.
        until_ms: Option<u64>,
        /// The reason.
        why: Why,
    },
    /// May be launched now.
    Planned,
    /// A CreateFleet is journalled and may be under way.
    Launching {
        /// The rung being tried.
        rung: Rung,
        /// Not before, Unix ms (a replay after a lost answer, a throttle).
        retry_ms: u64,
        /// Failures of this intent so far.
        tries: u32,
    },
    /// The whole gang is granted; addresses are being learnt.
    Granted {
        /// Next look, Unix ms.
        look_ms: u64,
    },
    /// Slurm knows the addresses; instances boot and register.
    Booting {
        /// When the first of those that are not there is late, Unix ms.
        deadline_ms: u64,
    },
    /// Every node is idle; the release is on its way.
    Ready {
        /// Not before, Unix ms.
        retry_ms: u64,
        /// Failures so far.
        tries: u32,
    },
    /// The scheduler may start it.
    Released {
        /// Unix ms.
        deadline_ms: u64,
    },
    /// On its gang.
    Running,
    /// Being given back.
    Ending {
        /// What follows.
        then: Then,
        /// How far.
        stage: Stage,
        /// Not before, Unix ms (after a failed effect).
        retry_ms: u64,
        /// Failures of this stage.
        tries: u32,
    },
    /// Held for an operator.
    Failed(String),
    /// Over.
    Done,
}

/// The last thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// EC2's or Slurm's code.
    pub code: String,
    /// Its text.
    pub message: String,
    /// AWS request id.
    pub request_id: Option<String>,
    /// Unix ms.
    pub at_ms: u64,
}

impl Phase {
    /// Name as people see it.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Submitted => "Submitted",
            Self::Held => "Held",
            Self::Waiting { .. } => "Waiting",
            Self::Planned => "Planned",
            Self::Launching { .. } => "Launching",
            Self::Granted { .. } => "Granted",
            Self::Booting { .. } => "Booting",
            Self::Ready { .. } => "Ready",
            Self::Released { .. } => "Released",
            Self::Running => "Running",
            Self::Ending { .. } => "Ending",
            Self::Failed(_) => "Failed",
            Self::Done => "Done",
        }
    }
}
