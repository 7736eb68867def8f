//! What a job asks of nodes, as slurmctld knows it.
use crate::duration::Seconds;
use serde::{Deserialize, Serialize};

/// The job's own geometry: the truth about counts, whatever a plan says.
/// `None` means the user did not say (Slurm's NO_VAL). Memory is in MiB.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Geometry {
    /// `--nodes=min[-max]`.
    pub min_nodes: Option<u32>,
    /// Upper bound of `--nodes`.
    pub max_nodes: Option<u32>,
    /// `--ntasks`.
    pub ntasks: Option<u32>,
    /// `--cpus-per-task`.
    pub cpus_per_task: Option<u32>,
    /// `--ntasks-per-node`.
    pub ntasks_per_node: Option<u32>,
    /// Lower bound on CPUs as Slurm computed it (`min_cpus`).
    pub min_cpus: Option<u32>,
    /// `--mem` (MiB per node).
    pub mem_per_node: Option<u64>,
    /// `--mem-per-cpu` (MiB per CPU).
    pub mem_per_cpu: Option<u64>,
    /// `--gres`, `--gpus-per-node` as `tres_per_node` text, e.g. `gres:gpu:8`.
    pub tres_per_node: Option<String>,
    /// Time limit; `None` before the partition's default is known.
    pub time_limit: Option<Seconds>,
    /// The job asked for (or inherited) no limit at all.
    pub unlimited: bool,
    /// `--exclusive`.
    pub exclusive: bool,
    /// `--constraint` text.
    pub features: Option<String>,
    /// Array specification text (`0-9%2`), `None` for no array.
    pub array: Option<String>,
    /// Het component offset, `None` for an ordinary job.
    pub het_offset: Option<u32>,
    /// Partition list as given (empty: the cluster's default).
    pub partition: String,
    /// Account, may be empty.
    pub account: String,
    /// QOS, may be empty.
    pub qos: String,
    /// Job name.
    pub name: String,
    /// Owner.
    pub uid: u32,
    /// Batch job (has a script); false for salloc and srun.
    pub batch: bool,
    /// `--begin`, Unix seconds.
    pub begin: Option<u64>,
    /// `--dependency` text.
    pub dependency: Option<String>,
}
