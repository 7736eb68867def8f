//! The run directory of a node: `RUN/NODE/node.json`, `RUN/NODE/jobs/JOB/STEP.json`, `RUN/NODE/spool/JOB.RESTART.json`.
//!
//! Keyed by node, since a trial has many on one machine. All of it is root's alone (0700, 0600).

use crate::file;
use burst_plan::report::{MOST_STEPS, StepReport};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Where burst-node and the plugin meet unless the site says otherwise; on tmpfs, gone with the next boot.
pub const RUN_DIR: &str = "/run/slurm-burst";

/// Longest node.json and step file, bytes.
const MOST: usize = 16 * 1024;

/// Steps with a number of which a file is kept; what is left of [`MOST_STEPS`] is for `batch`, `extern` and `interactive`.
const NUMBERED: usize = MOST_STEPS - 4;

/// A job directory untouched for so long belongs to a job whose epilog never ran.
const STALE: Duration = Duration::from_secs(40 * 86_400);

/// What burst-node tells the plugin: its being there means that this node is a pool's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFile {
    /// Slurm node name.
    pub node: String,
    /// `i-…`; empty where the node is none of EC2's.
    #[serde(default)]
    pub instance_id: String,
    /// URLs, tried in order.
    pub controllers: Vec<String>,
    /// The munge program.
    pub munge: String,
    /// Its socket.
    #[serde(default)]
    pub munge_socket: Option<String>,
}

/// A step's file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StepFile {
    /// `SLURM_RESTART_COUNT`, where the step knew it.
    pub restart: Option<u32>,
    /// What was measured.
    pub step: StepReport,
}

/// One node's run directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    dir: PathBuf,
}

impl Place {
    /// None for a name that is no node's: it becomes a part of paths.
    #[must_use]
    pub fn new(run_dir: &Path, node: &str) -> Option<Self> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let ok =
            !node.is_empty() && node.len() <= 255 && !node.starts_with(['.', '-']) && node.chars().all(fine);
        ok.then(|| Self { dir: run_dir.join(node) })
    }

    /// Where unsent reports wait.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.dir.join("spool")
    }

    fn job(&self, job: u32) -> PathBuf {
        self.dir.join("jobs").join(job.to_string())
    }

    /// What burst-node wrote; None where it wrote nothing (this is no pool's node).
    ///
    /// # Errors
    /// There is something, but it cannot be trusted or read.
    pub fn node_file(&self) -> Result<Option<NodeFile>, String> {
        let path = self.dir.join("node.json");
        match file::own(&path, MOST) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|e| format!("{}: {e}", path.display()))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Tells the plugin that this node is a pool's.
    ///
    /// # Errors
    /// The file system's.
    pub fn announce(&self, node: &NodeFile) -> io::Result<()> {
        file::private_dir(&self.dir)?;
        file::replace(&self.dir.join("node.json"), &serde_json::to_vec(node)?)
    }

    /// Keeps what a step did until the epilog. Beyond the bound a numbered step is only counted.
    ///
    /// # Errors
    /// The file system's.
    pub fn keep_step(&self, job: u32, step: &StepFile) -> io::Result<()> {
        let dir = self.job(job);
        file::private_dir(&self.dir)?;
        file::private_dir(&dir)?;
        let name = &step.step.step;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') {
            return Err(io::Error::other("a step without a name"));
        }
        let numbered = name.starts_with(|c: char| c.is_ascii_digit());
        if numbered && steps(&dir).count() >= NUMBERED {
            // One byte a step: appended by many slurmstepds at once without a lock.
            let mut count =
                OpenOptions::new().append(true).create(true).mode(0o600).open(dir.join("left-out"))?;
            return count.write_all(b".");
        }
        file::replace(&dir.join(format!("{name}.json")), &serde_json::to_vec(step)?)
    }

    /// All steps of a job that can be read, and how many cannot or were only counted.
    #[must_use]
    pub fn steps(&self, job: u32) -> (Vec<StepFile>, u32) {
        let dir = self.job(job);
        let counted = fs::symlink_metadata(dir.join("left-out")).map_or(0, |m| m.len());
        let mut lost = u32::try_from(counted).unwrap_or(u32::MAX);
        let mut all = Vec::new();
        for path in steps(&dir).take(4 * MOST_STEPS) {
            match file::own(&path, MOST).ok().and_then(|b| serde_json::from_slice(&b).ok()) {
                Some(step) => all.push(step),
                None => lost = lost.saturating_add(1),
            }
        }
        (all, lost)
    }

    /// Forgets a job, and those whose epilog never came.
    pub fn forget(&self, job: u32, now: SystemTime) {
        let _ = fs::remove_dir_all(self.job(job));
        for entry in fs::read_dir(self.dir.join("jobs")).into_iter().flatten().flatten() {
            let changed = entry.metadata().and_then(|m| m.modified());
            if changed.is_ok_and(|t| now.duration_since(t).is_ok_and(|age| age > STALE)) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Files of steps in a job's directory.
fn steps(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let is_step = |p: &PathBuf| {
        let name = p.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.ends_with(".json") && !name.starts_with('.')
    };
    fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).filter(is_step)
}
