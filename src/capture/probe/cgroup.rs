//! The step's own control group, where Slurm makes one (proctrack/cgroup, task/cgroup, jobacct_gather/cgroup).
//!
//! Slurm's groups are named `…/job_J/step_S/task_T` (v1) and `…/job_J/step_S/user/task_T` (v2), source: slurm-22.05
//! src/plugins/cgroup/. Without such a component the process is in nobody's group but the daemon's, which says nothing.

use crate::file;
use std::path::{Path, PathBuf};

/// Most of a control file that is read, bytes: io.stat has a line per device.
const MOST: usize = 64 * 1024;

/// What the group has used since it was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Used {
    /// Version of the interface: 1 or 2.
    pub version: u8,
    /// CPU time in user mode, µs.
    pub cpu_user_us: Option<u64>,
    /// CPU time in the kernel, µs.
    pub cpu_system_us: Option<u64>,
    /// Peak of memory, page cache included, bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Read from block devices, bytes.
    pub read_bytes: Option<u64>,
    /// Written to block devices, bytes.
    pub write_bytes: Option<u64>,
}

/// A step's group in each hierarchy it has one in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    unified: Option<PathBuf>,
    /// v1: (controller, directory).
    split: Vec<(String, PathBuf)>,
}

/// Up to the step, whose tasks have groups of their own below; `user` holds them all without slurmstepd.
fn step_of(path: &str) -> Option<String> {
    if path.split('/').any(|c| c == "..") {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|c| !c.is_empty()).collect();
    let at = parts
        .windows(2)
        .position(|w| matches!(w, [job, step] if job.starts_with("job_") && step.starts_with("step_")))?;
    let with_user = parts.get(at + 2) == Some(&"user");
    Some(parts.get(..at + 2 + usize::from(with_user))?.join("/"))
}

impl Group {
    /// The group of a step's task.
    #[must_use]
    pub fn of(root: &Path, pid: u32) -> Option<Self> {
        let text = file::kernel(&root.join("proc").join(pid.to_string()).join("cgroup"), 16 * 1024)?;
        let base = root.join("sys/fs/cgroup");
        let mut group = Self::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let Some(step) = step_of(path) else { continue };
            if controllers.is_empty() {
                let mounts = [base.join(&step), base.join("unified").join(&step)];
                group.unified = mounts.into_iter().find(|p| p.is_dir());
                continue;
            }
            for controller in controllers.split(',') {
                let mounts = [base.join(controllers).join(&step), base.join(controller).join(&step)];
                if let Some(dir) = mounts.into_iter().find(|p| p.is_dir()) {
                    group.split.push((controller.to_owned(), dir));
                }
            }
        }
        (group != Self::default()).then_some(group)
    }

    fn v1(&self, controller: &str) -> Option<&Path> {
        self.split.iter().find(|(c, _)| c == controller).map(|(_, dir)| dir.as_path())
    }

    /// What it has used; None once it is gone, or where it measures nothing.
    #[must_use]
    pub fn used(&self) -> Option<Used> {
        let mut used = match &self.unified {
            Some(dir) => unified(dir),
            None => Used::default(),
        };
        if used == Used::default() {
            used = self.split_used();
            used.version = 1;
        } else {
            used.version = 2;
        }
        (used != Used { version: used.version, ..Used::default() }).then_some(used)
    }

    fn split_used(&self) -> Used {
        let mut used = Used::default();
        if let Some(dir) = self.v1("cpuacct") {
            let ns = |name: &str| file::number(&dir.join(name)).map(|ns| ns / 1_000);
            (used.cpu_user_us, used.cpu_system_us) = (ns("cpuacct.usage_user"), ns("cpuacct.usage_sys"));
        }
        if let Some(dir) = self.v1("memory") {
            used.peak_memory_bytes = file::number(&dir.join("memory.max_usage_in_bytes"));
        }
        if let Some(text) =
            self.v1("blkio").and_then(|d| file::kernel(&d.join("blkio.throttle.io_service_bytes"), MOST))
        {
            let sum = |what: &str| {
                let of = text.lines().filter_map(|l| {
                    let mut words = l.split_whitespace().skip(1);
                    words.next().filter(|w| *w == what)?;
                    words.next()?.parse::<u64>().ok()
                });
                of.fold(0, u64::saturating_add)
            };
            (used.read_bytes, used.write_bytes) = (Some(sum("Read")), Some(sum("Write")));
        }
        used
    }
}

fn unified(dir: &Path) -> Used {
    let mut used = Used::default();
    if let Some(text) = file::kernel(&dir.join("cpu.stat"), MOST) {
        let value = |key: &str| {
            text.lines().find_map(|l| l.split_once(' ').filter(|(k, _)| *k == key)?.1.trim().parse().ok())
        };
        (used.cpu_user_us, used.cpu_system_us) = (value("user_usec"), value("system_usec"));
    }
    used.peak_memory_bytes = file::number(&dir.join("memory.peak"));
    if let Some(text) = file::kernel(&dir.join("io.stat"), MOST) {
        let sum = |key: &str| {
            let words = text.split_whitespace().filter_map(|w| w.strip_prefix(key)?.parse::<u64>().ok());
            words.fold(0, u64::saturating_add)
        };
        (used.read_bytes, used.write_bytes) = (Some(sum("rbytes=")), Some(sum("wbytes=")));
    }
    used
}
