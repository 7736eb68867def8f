//! What a decision sees of Slurm and the site, and what it may ask for.

use super::*;

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
    /// What only the record of the life asks.
    #[serde(default)]
    pub facts: JobFacts,
}

/// What Slurm tells of a job's run and end. While the job is pending, most of it is a plan or of the life before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobFacts {
    /// Unix seconds; of a running job the latest it may end; 0 unknown.
    pub end: u64,
    /// `exit_code`, a wait status as waitpid(2) gives it.
    pub exit: u32,
    /// `derived_ec`, the highest wait status of its steps; `NO_VAL` for none.
    pub derived: u32,
    /// `num_nodes`.
    pub nodes: u32,
    /// `num_cpus`.
    pub cpus: u32,
    /// `tres_alloc_str`, empty before it is allocated.
    pub tres: String,
}

/// What is known of the job now. One for each gang, and nearly all are `Is`.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing yet by this engine: what has the job's number may be another job, where slurmctld was killed before it saved
    /// this one.
    Never,
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
    /// NodeAddr; None where it is no IP address.
    #[serde(default)]
    pub address: Option<IpAddr>,
}

impl NodeView {
    /// Registered, healthy, free.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.idle
            && !(self.down || self.drain || self.no_respond || self.powered_down || self.powering_up)
            && !(self.power_up_asked || self.powering_down || self.power_down_asked || self.completing)
    }
    /// Up, and nothing takes it down.
    #[must_use]
    pub fn is_up(&self) -> bool {
        !(self.powered_down || self.powering_down || self.power_down_asked)
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

/// Whether a gang may call CreateFleet now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Yes.
    Go,
    /// Not yet.
    Wait {
        /// When to ask again, Unix ms.
        ask_ms: u64,
        /// [`Why::Rate`] or [`Why::Outage`].
        why: Why,
    },
}

/// The world as one gang sees it.
pub trait House {
    /// The site's budget service, if it has one.
    fn budget(&self) -> Option<&crate::asbb::Service> {
        None
    }
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
    /// The fleets that a gang on this rung takes, in the order in which they are launched.
    fn parts(&self, _gang: &Gang, rung: &Rung) -> Vec<crate::parts::Part> {
        vec![crate::parts::Part::whole(rung)]
    }
    /// EC2's bucket of launched instances, as burst.toml has it.
    fn launch_rate(&self) -> crate::budget::Rate {
        crate::budget::Buckets::default().instances
    }
    /// Whether capacity is thought to be missing for this rung, and until when (Unix ms).
    fn dry_until(&self, gang: &Gang, rung: &Rung) -> Option<u64>;
    /// Why a rung cannot be launched now whatever capacity there is (its reservation has ended, is full …).
    fn unusable(&self, _gang: &Gang, _rung: &Rung, _now_ms: u64) -> Option<String> {
        None
    }
    /// Asks for the gang's turn to launch: EC2's rate budget and the breakers. What is granted is counted until the
    /// launch is settled, so that asking twice for one launch costs nothing.
    fn turn(&self, gang: &Gang, rung: &Rung, now_ms: u64) -> Turn;
    /// What Slurm lacks to start the job at all (licences), in words.
    fn shortage(&self, job: &JobView) -> Option<String>;
    /// Why nothing may be launched in the pool now, in words that do not change while it lasts.
    fn stopped(&self, _pool: &str) -> Option<String> {
        None
    }
    /// Whether an operator has set the pool to drain: not even a failed node is replaced.
    fn drained(&self, _pool: &str) -> bool {
        false
    }
    /// The site's limit on spending that a launch would pass, and whether the job is then refused instead of held.
    fn over_limit(&self, _gang: &Gang, _job: &JobView) -> Option<(crate::spending::Stop, bool)> {
        None
    }
    /// When this engine began, Unix ms: what the gang saw before, slurmctld may have been killed without having saved.
    fn born_ms(&self) -> u64 {
        0
    }
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
    /// One question to the budget service, before a launch.
    Budget {
        /// The question.
        check: crate::asbb::Check,
        /// What it is about.
        shape: crate::asbb::Shape,
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
    /// slurm_update_node with addresses and host names, all names that were not told yet in one call. From here on slurmd
    /// may be started under them.
    TellAddresses,
    /// req_nodes, node count, release; then top priority.
    Release {
        /// admin_comment.
        comment: String,
    },
    /// POWER_DOWN_FORCE of the names.
    PowerDown,
    /// The same again, of those that have not come down. One that is down already would lose its POWERED_DOWN until the next
    /// pass of power saving, and a ping in between finds a node that has long said nothing (`slurm-22.05
    /// src/slurmctld/node_mgr.c` update_node, ping_nodes.c).
    PowerDownAgain {
        /// Which.
        names: Vec<String>,
    },
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

impl Effect {
    /// Whether it changes the record of the job.
    pub(super) fn touches_job(&self) -> bool {
        matches!(
            self,
            Self::Hold { .. }
                | Self::Comment { .. }
                | Self::Release { .. }
                | Self::Cancel { .. }
                | Self::MoveLocal { .. }
        )
    }
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

/// Instance ids of one grant.
pub type Launched = Vec<String>;

/// What CreateFleet granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// `fleet-…`.
    pub fleet: String,
    /// Instance ids.
    pub instances: Launched,
    /// (code, message, meaning) of every entry of Errors.
    pub errors: Vec<(String, String, Class)>,
    /// AWS request id.
    pub request_id: Option<String>,
}

/// instance id → (address, host name).
pub type Addresses = BTreeMap<String, (Option<IpAddr>, Option<String>)>;
