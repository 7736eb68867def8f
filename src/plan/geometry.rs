//! What a job asks of nodes, as slurmctld knows it.
use crate::{duration::Seconds, gpus::Gpus};
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
    /// `--gpus` as `tres_per_job` text.
    pub tres_per_job: Option<String>,
    /// `--gpus-per-socket` as `tres_per_socket` text.
    pub tres_per_socket: Option<String>,
    /// `--gpus-per-task` as `tres_per_task` text.
    pub tres_per_task: Option<String>,
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

impl Geometry {
    /// Slurm's four TRES texts; `None` and empty texts ask for nothing.
    pub fn set_tres(
        &mut self,
        per_job: Option<String>,
        per_node: Option<String>,
        per_socket: Option<String>,
        per_task: Option<String>,
    ) {
        let given = |t: Option<String>| t.filter(|t| !t.is_empty());
        self.tres_per_job = given(per_job);
        self.tres_per_node = given(per_node);
        self.tres_per_socket = given(per_socket);
        self.tres_per_task = given(per_task);
    }
}

/// Nodes the job needs on hardware of this shape (CPUs, memory in MiB and GPUs of one node).
///
/// # Errors
/// For the job's owner: what does not fit.
pub fn nodes_for(job: &Geometry, cpus: u32, memory_mib: u64, gpus: u32) -> Result<u32, String> {
    let per_task = job.cpus_per_task.unwrap_or(1).max(1);
    let has = |what: &str, need: u64, have: u64| match need > have {
        true => Err(format!("it needs {need} {what}, a node has {have}")),
        false => Ok(()),
    };
    has("CPUs for one task", u64::from(per_task), u64::from(cpus))?;
    if let Some(mem) = job.mem_per_node {
        has("MiB of memory on each node", mem, memory_mib)?;
    }
    let wish = Gpus::of(job);
    let room = wish.room(gpus)?;
    let (mut tasks_fit, mut cpus_fit) = (cpus / per_task, cpus.max(1));
    if let Some(mem) = job.mem_per_cpu.filter(|m| *m > 0) {
        let each = mem.saturating_mul(u64::from(per_task));
        has("MiB of memory for one task", each, memory_mib)?;
        let most = |of: u64| u32::try_from(memory_mib / of.max(1)).unwrap_or(u32::MAX);
        tasks_fit = tasks_fit.min(most(each));
        cpus_fit = cpus_fit.min(most(mem)).max(1);
    }
    if let Some(by_gpus) = room.checked_div(wish.task) {
        tasks_fit = tasks_fit.min(by_gpus);
    }
    if let Some(n) = job.ntasks_per_node {
        if n > tasks_fit {
            let of = if wish.task > 0 { format!(", {} GPUs", wish.task) } else { String::new() };
            let has = if wish.task > 0 { format!(", {room} GPUs") } else { String::new() };
            return Err(format!(
                "{n} tasks of {per_task} CPUs{of} do not fit a node of {cpus} CPUs{has} and {memory_mib} MiB"
            ));
        }
        tasks_fit = n;
    }
    let least = job.min_nodes.unwrap_or(1).max(1);
    let tasks = job.ntasks.or_else(|| wish.tasks()).unwrap_or(0).max(1);
    let by_tasks = tasks.div_ceil(tasks_fit.max(1));
    let by_cpus = job.min_cpus.unwrap_or(0).div_ceil(cpus_fit);
    let by_gpus = wish.job.div_ceil(room.max(1));
    let need = by_tasks.max(by_cpus).max(by_gpus);
    match job.max_nodes.filter(|m| *m > 0 && need > *m) {
        Some(most) => {
            let with = if wish.any() { format!(" and {gpus} GPUs") } else { String::new() };
            Err(format!("it needs {need} nodes of {cpus} CPUs{with}, but asks for at most {most}"))
        }
        None => Ok(need.max(least)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_same_job_on_other_hardware() {
        let job = Geometry { ntasks: Some(384), ..Geometry::default() };
        assert_eq!((nodes_for(&job, 192, 700_000, 0), nodes_for(&job, 96, 350_000, 0)), (Ok(2), Ok(4)));
        let job = Geometry { min_nodes: Some(16), ..Geometry::default() };
        assert_eq!(nodes_for(&job, 192, 700_000, 0), Ok(16));
    }

    #[test]
    fn tasks_per_node_memory_and_cpus_count() {
        let job = Geometry { ntasks: Some(12), ntasks_per_node: Some(4), ..Geometry::default() };
        assert_eq!(nodes_for(&job, 96, 1_000, 0), Ok(3));
        let job = Geometry { ntasks: Some(8), mem_per_cpu: Some(1_000), ..Geometry::default() };
        assert_eq!(nodes_for(&job, 96, 2_500, 0), Ok(4));
        let job = Geometry { min_cpus: Some(200), ..Geometry::default() };
        assert_eq!(nodes_for(&job, 96, 1_000, 0), Ok(3));
        let job = Geometry { min_cpus: Some(200), mem_per_cpu: Some(100), ..Geometry::default() };
        assert_eq!(nodes_for(&job, 96, 1_000, 0), Ok(20), "ten CPUs a node, for want of memory");
        let job = Geometry { min_nodes: Some(4), ntasks: Some(8), ..Geometry::default() };
        assert_eq!(nodes_for(&job, 96, 1_000, 0), Ok(4), "the job's own node count counts");
        let job = Geometry { ntasks_per_node: Some(97), ..Geometry::default() };
        assert!(nodes_for(&job, 96, 1_000, 0).expect_err("too many").contains("97 tasks"));
        let job = Geometry { mem_per_node: Some(2_000), ..Geometry::default() };
        assert!(
            nodes_for(&job, 96, 1_000, 0).expect_err("too much").contains("2000 MiB of memory on each node")
        );
        assert_eq!(nodes_for(&Geometry::default(), 96, 1_000, 0), Ok(1));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let job = Geometry { cpus_per_task: Some(200), ..Geometry::default() };
        assert!(nodes_for(&job, 192, 1, 0).expect_err("too big").contains("200 CPUs"));
        let job = Geometry { tres_per_node: Some("gres:gpu:h100:8".into()), ..Geometry::default() };
        assert!(
            nodes_for(&job, 192, 1, 0)
                .expect_err("no GPUs")
                .contains("(--gpus-per-node=8), this type has none")
        );
        let job = Geometry { ntasks: Some(500), max_nodes: Some(2), ..Geometry::default() };
        assert!(nodes_for(&job, 192, 1, 0).expect_err("too few").contains("at most 2"));
    }

    proptest! {
        #[test]
        fn nothing_panics(a in any::<[Option<u32>; 6]>(), m in any::<[Option<u64>; 2]>(), c in any::<u32>(), g in any::<u32>(), mem in any::<u64>(), tres in ".{0,20}") {
            let [min_nodes, max_nodes, ntasks, cpus_per_task, ntasks_per_node, min_cpus] = a;
            let [mem_per_node, mem_per_cpu] = m;
            let job = Geometry {
                min_nodes, max_nodes, ntasks, cpus_per_task, ntasks_per_node, min_cpus, mem_per_node, mem_per_cpu,
                tres_per_node: Some(tres), ..Geometry::default()
            };
            if let Ok(n) = nodes_for(&job, c, mem, g) {
                prop_assert!(n >= 1 && n >= min_nodes.unwrap_or(1));
            }
        }

        #[test]
        fn enough_and_monotone(tasks in 1u32..5000, per in 1u32..64, mem in 0u64..4000) {
            let mut job = Geometry { ntasks: Some(tasks), cpus_per_task: Some(per), ..Geometry::default() };
            job.mem_per_cpu = (mem > 0).then_some(mem);
            if let Ok(n) = nodes_for(&job, 96, 350_000, 0) {
                prop_assert!(u64::from(n) * 96 >= u64::from(tasks) * u64::from(per));
                prop_assert!(u64::from(n) * 350_000 >= u64::from(tasks) * u64::from(per) * mem);
                job.ntasks = Some(tasks + 1);
                prop_assert!(nodes_for(&job, 96, 350_000, 0).expect("still fits") >= n);
            }
        }
    }
}
