//! What the engine needs of Slurm. Every call may block for the length of an RPC: callers use blocking threads.

use burst_policy::gang::{JobView, NodeView};
use std::collections::BTreeMap;

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (Slurm error {code})")]
pub struct SlurmError {
    /// Slurm's number.
    pub code: i32,
    /// Slurm's text.
    pub message: String,
    /// Trying again can help.
    pub passing: bool,
}

/// A record of the job table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobRecord {
    /// The view the state machine takes.
    pub view: JobView,
    /// Owner.
    pub uid: u32,
    /// Owner's name, where Slurm knows it.
    pub user: String,
    /// Account.
    pub account: String,
    /// Array job id, 0 for none.
    pub array_job: u32,
    /// Array task of this record.
    pub array_task: Option<u32>,
    /// Tasks of an array that are not split off (`0-4`), for the meta record.
    pub array_rest: Option<String>,
    /// `%N` of the array, 0 for none.
    pub array_most: u32,
    /// admin_comment.
    pub comment: String,
}

/// A record of the node table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeRecord {
    /// Name.
    pub name: String,
    /// State.
    pub view: NodeView,
    /// State=CLOUD.
    pub cloud: bool,
    /// CPUs slurm.conf gives it.
    pub cpus: u32,
    /// MiB slurm.conf gives it.
    pub memory_mib: u64,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionRecord {
    /// Name.
    pub name: String,
    /// Nodes as a hostlist.
    pub nodes: String,
    /// Time limit a job gets that asks for none, minutes; None: unlimited.
    pub default_minutes: Option<u64>,
    /// The cluster's default partition.
    pub is_default: bool,
}

/// What matters of slurm.conf. Times in seconds; None: not set or infinite.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlurmConf {
    /// ClusterName.
    pub cluster: String,
    /// StateSaveLocation.
    pub state_save: String,
    /// ResumeProgram.
    pub resume_program: String,
    /// SuspendProgram.
    pub suspend_program: String,
    /// AuthInfo.
    pub auth_info: String,
    /// Version of slurmctld.
    pub version: String,
    /// SuspendTimeout.
    pub suspend_timeout: Option<u64>,
    /// SuspendRate, nodes a minute; 0: all at once.
    pub suspend_rate: u32,
    /// SuspendTime.
    pub suspend_time: Option<u64>,
    /// KillWait.
    pub kill_wait: u64,
    /// OverTimeLimit, minutes; None: unlimited.
    pub over_minutes: Option<u64>,
    /// ReturnToService.
    pub return_to_service: u32,
    /// SlurmctldHost lines: host names, the primary first.
    pub controllers: Vec<String>,
    /// SlurmUser's uid.
    pub slurm_uid: u32,
}

/// A snapshot, or the word that nothing changed since the last one.
pub type Changed<T> = Option<Vec<T>>;

/// An update of a job; None leaves a field alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobUpdate {
    /// admin_comment.
    pub comment: Option<String>,
    /// Required nodes as a hostlist.
    pub req_nodes: Option<String>,
    /// Exactly so many nodes.
    pub nodes: Option<u32>,
    /// Partition.
    pub partition: Option<String>,
    /// Priority: 0 holds, `u32::MAX` releases.
    pub priority: Option<u32>,
}

/// A decoded munge credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Who made it.
    pub uid: u32,
    /// Their group.
    pub gid: u32,
    /// What it binds.
    pub payload: Vec<u8>,
}

/// How loud a line is in Slurm's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loud {
    /// error()
    Error,
    /// info()
    Info,
    /// debug()
    Debug,
}

/// Slurm, as the engine sees it.
pub trait Controller: Send + Sync + 'static {
    /// Every job, when anything changed since the last call of this method.
    fn jobs(&self) -> Result<Changed<JobRecord>, SlurmError>;
    /// One user's jobs.
    fn jobs_of(&self, uid: u32) -> Result<Vec<JobRecord>, SlurmError>;
    /// Every node, when anything changed since the last call of this method.
    fn nodes(&self) -> Result<Changed<NodeRecord>, SlurmError>;
    /// Partitions.
    fn partitions(&self) -> Result<Vec<PartitionRecord>, SlurmError>;
    /// Licences of the cluster and how many of each are free.
    fn licences(&self) -> Result<BTreeMap<String, u32>, SlurmError>;
    /// slurm.conf.
    fn conf(&self) -> Result<SlurmConf, SlurmError>;
    /// Updates a job (`12`, `12_3`).
    fn update_job(&self, job: &str, update: &JobUpdate) -> Result<(), SlurmError>;
    /// Addresses and host names of all names at once, in the same order.
    fn set_addresses(&self, names: &str, addresses: &str, hosts: &str) -> Result<(), SlurmError>;
    /// POWER_DOWN_FORCE.
    fn power_down(&self, names: &str) -> Result<(), SlurmError>;
    /// scancel.
    fn cancel(&self, job: &str) -> Result<(), SlurmError>;
    /// Whether this process is the active controller.
    fn active(&self) -> bool;
    /// Decodes a munge credential.
    ///
    /// # Errors
    /// munge's own words.
    fn decode(&self, credential: &str) -> Result<Credential, String>;
    /// A line in Slurm's log.
    fn log(&self, loud: Loud, text: &str);
}
