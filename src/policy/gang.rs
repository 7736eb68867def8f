//! The gang state machine: a durable document, what is observed, and pure functions between them.
//!
//! [`step`](step::step) looks at a gang and at the world and answers at most one effect; the engine executes it and
//! hands the outcome to [`done`](done::done). Neither does I/O. A gang has one effect under way at a time, and its
//! document is on disk before an effect leaves.

mod boot;
pub mod done;
pub mod says;
pub mod step;
#[cfg(test)]
mod tests;

use crate::{admit::Rung, admit::Verdict, classify::Class, config::Pool};
use burst_plan::{Geometry, Request};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, net::IpAddr};

pub use done::{Outcome, done};
pub use step::step;

/// Which job, and which life of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobKey {
    /// Job id (an array task's own once it is split off).
    pub id: u32,
    /// `12` or `12_3`: what updates and people use.
    pub text: String,
    /// Submit time, Unix seconds.
    pub submit: u64,
    /// `restart_cnt` this gang serves.
    pub restart: u32,
}

/// One granted instance and the name it will carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// `i-…`.
    pub instance: String,
    /// Slurm node name.
    pub node: String,
    /// Address, once EC2 shows it.
    pub ip: Option<IpAddr>,
    /// Host name, once EC2 shows it.
    pub host: Option<String>,
    /// It has asked who it is.
    pub asked: bool,
    /// It has said that slurmd was started.
    pub started: bool,
    /// It has said that it cannot serve.
    pub failed: Option<String>,
    /// POWER_UP was answered for its name.
    #[serde(default)]
    pub up: bool,
    /// When it was granted, Unix ms: its own boot_limit counts from here.
    #[serde(default)]
    pub granted_ms: u64,
}

impl Member {
    /// An instance that has done nothing yet.
    #[must_use]
    pub fn new(instance: String, node: String, granted_ms: u64) -> Self {
        let (ip, host, failed) = (None, None, None);
        Self { instance, node, ip, host, asked: false, started: false, failed, up: false, granted_ms }
    }
}

/// An instance that was replaced while its gang booted, and the name it had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// `i-…`.
    pub instance: String,
    /// Slurm node name; free again with the gang.
    pub node: String,
    /// Ended in EC2 and powered down in Slurm.
    pub ended: bool,
}

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
    /// EC2 or Slurm could not be asked; the last error says how.
    Trouble,
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
    /// Names are POWERING_UP.
    Booting {
        /// When the first of those that are not there is late, Unix ms.
        deadline_ms: u64,
        /// When POWER_UP was asked, Unix ms.
        #[serde(default)]
        asked_ms: u64,
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

/// A line of a gang's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Unix ms.
    pub at_ms: u64,
    /// Phase label.
    pub phase: String,
    /// What happened.
    pub text: String,
}

/// The durable document of one gang.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gang {
    /// 16 hex digits, as in the job's tag.
    pub id: String,
    /// Array task.
    pub task: Option<u32>,
    /// Owner.
    pub uid: u32,
    /// Owner's name, for tags; the uid's digits where it has none.
    pub user: String,
    /// Pool.
    pub pool: String,
    /// What the user wants.
    pub request: Request,
    /// What the job is.
    pub geometry: Geometry,
    /// The job, once seen.
    pub job: Option<JobKey>,
    /// Where it stands.
    pub phase: Phase,
    /// Since, Unix ms.
    pub since_ms: u64,
    /// job_submit's time, Unix ms.
    pub born_ms: u64,
    /// Attempts begun.
    pub attempt: u32,
    /// Launch intents so far: part of the client token.
    pub intent: u32,
    /// Attempts that cost money.
    pub paid: u32,
    /// Next rung to try.
    pub rung: usize,
    /// Times the whole ladder was without capacity in a row.
    pub rounds: u32,
    /// Since when capacity is waited for, Unix ms.
    pub dry_since_ms: Option<u64>,
    /// The rung that was granted.
    pub won: Option<Rung>,
    /// The most it can cost, micro-dollars.
    pub worst: Option<burst_plan::MicroUsd>,
    /// Reserved names.
    pub names: Vec<String>,
    /// Instances, in the order of their names.
    pub members: Vec<Member>,
    /// Replaced while booting.
    #[serde(default)]
    pub retired: Vec<Retired>,
    /// When the (last) grant came, Unix ms: boot_limit counts from here.
    #[serde(default)]
    pub granted_ms: Option<u64>,
    /// POWER_UP was (perhaps) asked for the names.
    pub powered: bool,
    /// A CreateFleet of ours has no known answer.
    pub unsure: bool,
    /// The call of this intent was sent and its answer is not known: only a fleet, or EC2's own no, settles it.
    #[serde(default)]
    pub sent: bool,
    /// Fleet id.
    pub fleet: Option<String>,
    /// Placement group.
    pub group: Option<String>,
    /// The owner holds it.
    pub user_hold: bool,
    /// An operator wants it ended: why.
    pub end_asked: Option<String>,
    /// Last error.
    pub last_error: Option<LastError>,
    /// History, bounded.
    pub history: Vec<Entry>,
    /// The admin_comment Slurm has.
    pub commented: String,
}

/// A job as the job table shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobView {
    /// Own id.
    pub id: u32,
    /// `12` or `12_3`.
    pub text: String,
    /// Base state as Slurm numbers it (0 pending, 1 running, 2 suspended, above: over).
    pub state: u32,
    /// COMPLETING flag.
    pub completing: bool,
    /// Priority 0.
    pub held: bool,
    /// Held by an administrator (not releasable by the owner).
    pub held_admin: bool,
    /// `restart_cnt`.
    pub restarts: u32,
    /// Unix seconds.
    pub submit: u64,
    /// Earliest start, Unix seconds; 0 unknown.
    pub eligible: u64,
    /// Unix seconds; 0 unknown.
    pub start: u64,
    /// Unmet dependencies, empty for none.
    pub dependency: String,
    /// Partition.
    pub partition: String,
    /// Time limit, minutes; None: unlimited.
    pub minutes: Option<u64>,
    /// Allocated nodes as a hostlist.
    pub nodes: String,
    /// Why Slurm does not start it (`AssocGrpCpuLimit`), empty for no reason.
    #[serde(default)]
    pub reason: String,
    /// Licences it needs (`matlab:2,ansys:1`).
    #[serde(default)]
    pub licences: String,
}

/// What is known of the job now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// No snapshot that could tell.
    Unknown,
    /// A complete snapshot does not have it.
    Gone,
    /// Its record.
    Is(JobView),
}

/// A node as the node table shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeView {
    /// Base state IDLE.
    pub idle: bool,
    /// ALLOCATED or MIXED.
    pub allocated: bool,
    /// DOWN.
    pub down: bool,
    /// DRAIN or FAIL.
    pub drain: bool,
    /// NO_RESPOND.
    pub no_respond: bool,
    /// POWERED_DOWN.
    pub powered_down: bool,
    /// POWERING_UP.
    pub powering_up: bool,
    /// POWER_UP asked, power thread not there yet.
    pub power_up_asked: bool,
    /// POWERING_DOWN.
    pub powering_down: bool,
    /// POWER_DOWN asked.
    pub power_down_asked: bool,
    /// COMPLETING.
    pub completing: bool,
}

impl NodeView {
    /// Registered, healthy, free.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.idle
            && !(self.down || self.drain || self.no_respond || self.powered_down || self.powering_up)
            && !(self.power_up_asked || self.powering_down || self.power_down_asked || self.completing)
    }
    /// Down for good: the name can be given to another gang.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.idle
            && self.powered_down
            && !(self.down || self.drain || self.powering_up || self.power_up_asked || self.powering_down)
            && !(self.power_down_asked || self.completing)
    }
}

/// The world as one gang sees it.
pub trait House {
    /// The job.
    fn job(&self, gang: &Gang) -> Seen;
    /// A node of the cluster; None while it is unknown (no snapshot younger than the gang's last effect). A name that
    /// the cluster no longer has is answered as powered down.
    fn node(&self, name: &str) -> Option<NodeView>;
    /// The gang's pool; None when the configuration no longer has it.
    fn pool(&self, name: &str) -> Option<&Pool>;
    /// Decides anew with today's configuration, prices and types.
    fn admit(&self, gang: &Gang) -> Verdict;
    /// Free names of a block, or None where there are too few.
    fn free_names(&self, pool: &str, block: usize, count: u32) -> Option<Vec<String>>;
    /// Whether capacity is thought to be missing for this rung, and until when (Unix ms).
    fn dry_until(&self, rung: &Rung) -> Option<u64>;
    /// What Slurm lacks to start the job at all (licences), in words.
    fn shortage(&self, job: &JobView) -> Option<String>;
    /// Measured provisioning time of the pool, seconds.
    fn lead_s(&self, pool: &str) -> u64;
    /// A number in 0..1000 for jitter, from the caller's generator.
    fn jitter(&self) -> u64;
}

/// Something the engine is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Priority 0 as SlurmUser, with the comment.
    Hold {
        /// admin_comment.
        comment: String,
    },
    /// Only the comment.
    Comment {
        /// admin_comment.
        comment: String,
    },
    /// One CreateFleet by the journalled intent.
    Launch {
        /// The rung.
        rung: Rung,
        /// admin_comment to be written meanwhile, where it has changed.
        comment: Option<String>,
    },
    /// TerminateInstances and POWER_DOWN_FORCE of what was replaced.
    Retire,
    /// DescribeInstances of the members.
    Addresses,
    /// slurm_update_node POWER_UP with addresses, all names that are not up yet in one call.
    PowerUp,
    /// req_nodes, node count, release; then top priority.
    Release {
        /// admin_comment.
        comment: String,
    },
    /// POWER_DOWN_FORCE of the names.
    PowerDown,
    /// TerminateInstances of the members, and of whatever carries the gang's tag when `sweep`.
    Terminate {
        /// Look the tag up too.
        sweep: bool,
    },
    /// scancel with a reason in the comment.
    Cancel {
        /// admin_comment.
        comment: String,
    },
    /// Move to the local partition and release.
    MoveLocal {
        /// Partition.
        partition: String,
        /// admin_comment.
        comment: String,
    },
}

/// Error with its meaning, as [`done`] takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Code.
    pub code: String,
    /// Text.
    pub message: String,
    /// Meaning.
    pub class: Class,
    /// AWS request id.
    pub request_id: Option<String>,
    /// May have taken effect.
    pub ambiguous: bool,
}

/// What CreateFleet granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// `fleet-…`.
    pub fleet: String,
    /// Instance ids.
    pub instances: Vec<String>,
    /// (code, message, meaning) of every entry of Errors.
    pub errors: Vec<(String, String, Class)>,
    /// AWS request id.
    pub request_id: Option<String>,
}

/// instance id → (address, host name).
pub type Addresses = BTreeMap<String, (Option<IpAddr>, Option<String>)>;

impl Gang {
    /// A gang as job_submit hands it over.
    #[must_use]
    pub fn new(
        id: String,
        uid: u32,
        pool: String,
        request: Request,
        geometry: Geometry,
        now_ms: u64,
    ) -> Self {
        Self {
            id,
            task: None,
            uid,
            user: uid.to_string(),
            pool,
            request,
            geometry,
            job: None,
            phase: Phase::Submitted,
            since_ms: now_ms,
            born_ms: now_ms,
            attempt: 0,
            intent: 0,
            paid: 0,
            rung: 0,
            rounds: 0,
            dry_since_ms: None,
            won: None,
            worst: None,
            names: Vec::new(),
            members: Vec::new(),
            retired: Vec::new(),
            granted_ms: None,
            powered: false,
            unsure: false,
            sent: false,
            fleet: None,
            group: None,
            user_hold: false,
            end_asked: None,
            last_error: None,
            history: vec![Entry {
                at_ms: now_ms,
                phase: "Submitted".into(),
                text: "seen in job_submit".into(),
            }],
            commented: String::new(),
        }
    }

    /// GANG or GANG_TASK: the value of the EC2 tag and the engine's key.
    #[must_use]
    pub fn key(&self) -> String {
        match self.task {
            Some(t) => format!("{}_{t}", self.id),
            None => self.id.clone(),
        }
    }

    /// The client token of the current intent (docs/WIRE.md).
    #[must_use]
    pub fn token(&self, cluster: &str) -> String {
        let (job, submit, restart) =
            self.job.as_ref().map_or(("", 0, 0), |j| (j.text.as_str(), j.submit, j.restart));
        let text = format!("{cluster}|{job}|{submit}|{restart}|{}|{}", self.attempt, self.intent);
        let hash = Sha256::digest(text.as_bytes());
        hash.iter().take(16).map(|b| format!("{b:02x}")).collect()
    }

    /// The job as people write it; the gang's id before it is known.
    #[must_use]
    pub fn job_text(&self) -> String {
        self.job.as_ref().map_or_else(|| self.id.clone(), |j| j.text.clone())
    }

    /// Every name it holds: those of its nodes and those of nodes it had to replace.
    pub fn all_names(&self) -> impl Iterator<Item = &String> {
        self.names.iter().chain(self.retired.iter().map(|r| &r.node))
    }

    /// Every instance it may still have.
    pub fn all_instances(&self) -> impl Iterator<Item = &String> {
        self.members.iter().map(|m| &m.instance).chain(self.retired.iter().map(|r| &r.instance))
    }

    /// Neither over nor waiting to be found.
    #[must_use]
    pub fn is_living(&self) -> bool {
        !matches!(self.phase, Phase::Done)
    }

    /// A job whose gang was over is pending again (requeued after its end): a new gang follows.
    pub fn revive(&mut self, restart: u32, now_ms: u64) {
        if let Some(job) = &mut self.job {
            job.restart = restart;
        }
        (self.rung, self.rounds, self.dry_since_ms) = (0, 0, None);
        self.enter(Phase::Held, "the job was requeued after its end: a new gang follows", now_ms);
    }

    /// Moves to a phase and says so in the history.
    pub fn enter(&mut self, phase: Phase, text: impl Into<String>, now_ms: u64) {
        self.phase = phase;
        self.since_ms = now_ms;
        self.note(text, now_ms);
    }

    /// A line in the history; the oldest but the first go when it is full.
    pub fn note(&mut self, text: impl Into<String>, now_ms: u64) {
        if self.history.len() >= HISTORY {
            self.history.remove(1);
        }
        self.history.push(Entry { at_ms: now_ms, phase: self.phase.label().to_owned(), text: text.into() });
    }

    /// Records an error for people.
    pub fn blame(&mut self, trouble: &Trouble, now_ms: u64) {
        self.last_error = Some(LastError {
            code: trouble.code.clone(),
            message: trouble.message.chars().take(400).collect(),
            request_id: trouble.request_id.clone(),
            at_ms: now_ms,
        });
    }
}

/// Lines of history kept of one gang: enough for every phase of several attempts, small enough for 10,000 gangs.
pub const HISTORY: usize = 64;

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
