//! What one node saw of one life of one job: measured by the SPANK plugin, sent by its epilog, read by the engine.
//!
//! What was not measured is `None`, never a constant. All counters are differences over the step, not totals of the node.

use serde::{Deserialize, Serialize};

/// One node's report of one life of a job (`/v1/report`, kind `job`; docs/WIRE.md).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeReport {
    /// Slurm's job id.
    pub job: u32,
    /// `SLURM_RESTART_COUNT` of the life it is about.
    pub restart: u32,
    /// Slurm node name.
    pub node: String,
    /// Instance id, where the node knows it.
    pub instance: Option<String>,
    /// When the first step began here, Unix ms.
    pub began_ms: Option<u64>,
    /// When the last step ended here, Unix ms.
    pub ended_ms: Option<u64>,
    /// CPUs of the node.
    pub cpus: Option<u32>,
    /// Memory of the node, bytes.
    pub memory_bytes: Option<u64>,
    /// Its steps, in the order of their begin; bounded.
    pub steps: Vec<StepReport>,
    /// Steps that are not listed because there were too many.
    pub steps_left_out: u32,
}

/// One step on one node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StepReport {
    /// `batch`, `extern`, `interactive`, or the step's number.
    pub step: String,
    /// Tasks on this node.
    pub tasks: Option<u32>,
    /// Unix ms.
    pub began_ms: Option<u64>,
    /// Unix ms.
    pub ended_ms: Option<u64>,
    /// CPU time in user mode, µs.
    pub cpu_user_us: Option<u64>,
    /// CPU time in the kernel, µs.
    pub cpu_system_us: Option<u64>,
    /// Peak of the step's memory, bytes; `memory_source` says of what.
    pub peak_memory_bytes: Option<u64>,
    /// `cgroup1`, `cgroup2`: with page cache; `proc`: largest sum of the processes' own peaks that was seen, or the largest
    /// process, whichever is more.
    pub memory_source: Option<String>,
    /// Read from block devices or by system calls, bytes; `io_source` says which.
    pub read_bytes: Option<u64>,
    /// Written, bytes.
    pub write_bytes: Option<u64>,
    /// `cgroup1`, `cgroup2` or `proc`.
    pub io_source: Option<String>,
    /// Voluntary context switches.
    pub switches_voluntary: Option<u64>,
    /// Involuntary context switches.
    pub switches_involuntary: Option<u64>,
    /// Network interfaces of the node that moved anything (`lo` too).
    pub nics: Vec<NicReport>,
    /// EFA, where the node has such devices.
    pub efa: Option<EfaReport>,
    /// GPUs, where NVML is there.
    pub gpu: Option<GpuReport>,
    /// What the environment says about MPI.
    pub mpi: Option<MpiReport>,
    /// Tasks that ended with another status than 0; bounded.
    pub exits: Vec<ExitReport>,
    /// What is wrong in words a user understands, such as an EFA step that moved next to nothing over EFA.
    pub flags: Vec<String>,
    /// CPU time that measuring took, µs.
    pub sampler_cpu_us: Option<u64>,
}

/// One network interface, over the step.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NicReport {
    /// `ens5`, `lo`.
    pub name: String,
    /// Received, bytes.
    pub rx_bytes: u64,
    /// Sent, bytes.
    pub tx_bytes: u64,
}

/// All EFA devices of the node together (`/sys/class/infiniband/*/ports/*/hw_counters`), over the step.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EfaReport {
    /// Devices.
    pub devices: u32,
    /// Received, bytes.
    pub rx_bytes: Option<u64>,
    /// Sent, bytes.
    pub tx_bytes: Option<u64>,
    /// RDMA reads, bytes.
    pub rdma_read_bytes: Option<u64>,
    /// RDMA writes, bytes.
    pub rdma_write_bytes: Option<u64>,
    /// Packets dropped at receipt.
    pub rx_drops: Option<u64>,
}

/// All GPUs of the node together, over the step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuReport {
    /// How many.
    pub count: u32,
    /// Mean utilisation, 0 to 1.
    pub busy: Option<f64>,
    /// Peak memory in use, bytes.
    pub peak_memory_bytes: Option<u64>,
}

/// What the environment of the step's tasks says about MPI.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MpiReport {
    /// `openmpi`, `intelmpi`, `mpich`.
    pub library: Option<String>,
    /// `efa`, `tcp`, as libfabric was told or was seen to use.
    pub provider: Option<String>,
    /// Ranks of the step on all its nodes.
    pub ranks: Option<u32>,
    /// Nodes of the step.
    pub nodes: Option<u32>,
    /// EFA was asked for.
    pub efa_asked: bool,
}

/// A task that failed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExitReport {
    /// Global task id.
    pub task: u32,
    /// Wait status, as waitpid(2) gives it.
    pub status: i32,
}

/// Most steps of one report.
pub const MOST_STEPS: usize = 64;
/// Most entries of `nics`, `exits` and `flags` of one step.
pub const MOST_EACH: usize = 16;
/// A report's longest form, bytes: far below what munge and the listener take.
pub const REPORT_MOST: usize = 48 * 1024;
