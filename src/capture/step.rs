//! One step on this node, from its begin to the figures in its file. Values only; who calls when is the plugin's.

use crate::{
    mpi::{self, Environment},
    place::StepFile,
    probe::{
        cgroup::{Group, Used},
        efa, net,
        proc::{self, Io},
    },
    sampler::Seen,
    unix_ms,
};
use burst_plan::report::{ExitReport, MOST_EACH, NicReport, StepReport};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// `getrusage(RUSAGE_CHILDREN)` of slurmstepd: exact for everything that was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rusage {
    /// CPU time in user mode, µs.
    pub user_us: u64,
    /// CPU time in the kernel, µs.
    pub system_us: u64,
    /// Largest process, bytes.
    pub max_rss: u64,
    /// Voluntary context switches.
    pub voluntary: u64,
    /// Involuntary context switches.
    pub involuntary: u64,
}

/// Name of a step by its number (source: slurm-22.05 slurm/slurm.h `SLURM_BATCH_SCRIPT` and its neighbours).
#[must_use]
pub fn name(id: u32) -> String {
    match id {
        0xffff_fffb => "batch".to_owned(),
        0xffff_fffc => "extern".to_owned(),
        0xffff_fffa => "interactive".to_owned(),
        id => id.to_string(),
    }
}

/// A step under way.
pub struct Step {
    root: PathBuf,
    report: StepReport,
    began: Instant,
    nics: Vec<NicReport>,
    environment: Environment,
    ranks: Option<u32>,
    nodes: Option<u32>,
    restart: Option<u32>,
    group: Option<Group>,
    ended: u32,
    /// Read while the group still exists.
    end: Option<End>,
}

#[derive(Default)]
struct End {
    wall_ms: u64,
    used: Option<Used>,
    io: Option<Io>,
    nics: Vec<NicReport>,
}

/// How large the step is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Size {
    /// Tasks here.
    pub tasks: Option<u32>,
    /// Tasks of the step.
    pub ranks: Option<u32>,
    /// Nodes of the step.
    pub nodes: Option<u32>,
}

impl Step {
    /// Before its tasks are there.
    #[must_use]
    pub fn begin(root: &Path, id: u32, size: Size) -> Self {
        let report = StepReport {
            step: name(id),
            tasks: size.tasks,
            began_ms: Some(unix_ms()),
            ..StepReport::default()
        };
        Self {
            root: root.to_path_buf(),
            report,
            began: Instant::now(),
            nics: net::totals(root),
            environment: Environment::new(),
            ranks: size.ranks,
            nodes: size.nodes,
            restart: None,
            group: None,
            ended: 0,
            end: None,
        }
    }

    /// A task has been forked.
    pub fn task_began(&mut self, pid: Option<u32>) {
        if self.group.is_none() {
            self.group = pid.and_then(|pid| Group::of(&self.root, pid));
        }
    }

    /// What the step's environment says; later words count.
    pub fn environment(&mut self, environment: Environment) {
        self.environment.extend(environment);
    }

    /// A task has been waited for; with the node's last one, what its group and descendants did is read.
    pub fn task_ended(&mut self, task: u32, status: i32) {
        self.count(task, status);
        if self.report.tasks.is_none_or(|tasks| self.ended >= tasks) {
            self.measure();
        }
    }

    /// The same in a process that is not the daemon: what it would read there is not the step's.
    pub fn task_ended_elsewhere(&mut self, task: u32, status: i32) {
        self.count(task, status);
    }

    fn count(&mut self, task: u32, status: i32) {
        self.ended = self.ended.saturating_add(1);
        if status != 0 && self.report.exits.len() < MOST_EACH {
            self.report.exits.push(ExitReport { task, status });
        }
    }

    fn measure(&mut self) {
        self.end = Some(End {
            wall_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            used: self.group.as_ref().and_then(Group::used),
            io: proc::children_io(&self.root, "self"),
            nics: net::totals(&self.root),
        });
    }

    /// The step is over.
    #[must_use]
    pub fn finish(mut self, rusage: Option<Rusage>, seen: Seen) -> StepFile {
        if self.group.is_none() {
            self.group = seen.group.clone();
        }
        if self.end.is_none() {
            self.measure();
        }
        let end = self.end.take().unwrap_or_default();
        self.environment.extend(seen.environment);
        let number = |name: &str| self.environment.get(name).and_then(|v| v.parse::<u32>().ok());
        self.restart = number("SLURM_RESTART_COUNT");
        let mut r = self.report;
        r.ended_ms = r.began_ms.map(|b| b.saturating_add(end.wall_ms));
        let used = end.used.unwrap_or_default();
        let source = || Some(format!("cgroup{}", used.version));
        cpu(&mut r, &used, rusage);
        if let Some(peak) = used.peak_memory_bytes {
            (r.peak_memory_bytes, r.memory_source) = (Some(peak), source());
        } else {
            let largest = rusage.map(|u| u.max_rss).filter(|n| *n > 0);
            r.peak_memory_bytes = seen.peak_memory.max(largest);
            r.memory_source = r.peak_memory_bytes.map(|_| "proc".to_owned());
        }
        if used.read_bytes.is_some() || used.write_bytes.is_some() {
            (r.read_bytes, r.write_bytes, r.io_source) = (used.read_bytes, used.write_bytes, source());
        } else if let Some(io) = end.io {
            (r.read_bytes, r.write_bytes) = (Some(io.read), Some(io.write));
            r.io_source = Some("proc".to_owned());
        }
        r.switches_voluntary = rusage.map(|u| u.voluntary);
        r.switches_involuntary = rusage.map(|u| u.involuntary);
        r.nics = net::moved(&self.nics, &end.nics);
        r.efa = seen.efa.as_ref().and_then(|before| Some(efa::moved(before, &efa::totals(&self.root)?)));
        r.gpu = seen.gpu;
        // A batch script is one task on one node, but what it starts may be everywhere.
        let (ranks, nodes) = match r.step.as_str() {
            "batch" => (number("SLURM_NTASKS"), number("SLURM_JOB_NUM_NODES")),
            _ => (self.ranks, self.nodes),
        };
        r.mpi = mpi::facts(&self.environment, ranks, nodes, r.efa.as_ref());
        if r.step != "extern" {
            r.flags = mpi::flags(&self.environment, r.mpi.as_ref(), r.efa.as_ref(), end.wall_ms);
        }
        r.sampler_cpu_us = (seen.looks > 0).then(|| u64::try_from(seen.cpu.as_micros()).unwrap_or(u64::MAX));
        StepFile { restart: self.restart, step: r }
    }
}

/// The group also knows processes that nobody waited for; the daemon also those that left the group. The larger sum counts.
fn cpu(r: &mut StepReport, used: &Used, rusage: Option<Rusage>) {
    let group = used.cpu_user_us.zip(used.cpu_system_us);
    let waited = rusage.map(|u| (u.user_us, u.system_us));
    let sum = |pair: (u64, u64)| pair.0.saturating_add(pair.1);
    let most = match (group, waited) {
        (Some(g), Some(w)) => Some(if sum(g) >= sum(w) { g } else { w }),
        (g, w) => g.or(w),
    };
    (r.cpu_user_us, r.cpu_system_us) = (most.map(|m| m.0), most.map(|m| m.1));
}
