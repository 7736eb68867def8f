//! The jobs of a storm: gangs of 1 to 16 nodes, arrays, some that find no capacity, some cancelled.

use crate::quota::Dice;
use burst_e2e::cluster::COMMAND_LIMIT;
use burst_e2e::proc::run;
use burst_e2e::time::now_ms;
use burst_e2e::{Cluster, User};
use serde_json::{Value, json};
use std::thread::JoinHandle;

/// What a job is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A gang that runs.
    Plain,
    /// An array of gangs.
    Array,
    /// No capacity: cancelled.
    Cancel,
    /// No capacity: runs in the local partition.
    Local,
}

/// Submissions and cancels, each in a thread of its own: what they wait for may be dead.
#[derive(Debug, Default)]
pub struct Load {
    under_way: Vec<JoinHandle<Option<Value>>>,
    /// Jobs that were accepted: id, when, nodes, tasks.
    pub submitted: Vec<Value>,
    /// Cancels that were asked for.
    pub cancelled: Vec<Value>,
}

impl Load {
    /// Submits a job in the background.
    pub fn submit(&mut self, c: &Cluster, kind: Kind, nodes: u64, dice: &mut Dice) {
        let (nodes, mut tasks) = (if kind == Kind::Local { 1 } else { nodes }, 1);
        // Longer than the storm: an instance whose job's end slurmctld forgot does not end at the job's limit meanwhile, which
        // slurmctld would call a node that failed. Of a job on a local node it is the limit that ends it.
        let minutes = if kind == Kind::Local { "2" } else { "60" };
        let mut args: Vec<String> =
            ["--parsable", "-p", "efa", "-t", minutes, "--ntasks-per-node=1", "-o", "/dev/null"]
                .map(str::to_owned)
                .to_vec();
        args.extend(["-N".to_owned(), nodes.to_string()]);
        match kind {
            Kind::Plain => {}
            Kind::Array => {
                tasks = 3;
                args.push("--array=0-2".to_owned());
            }
            Kind::Cancel => {
                args.extend(["--burst-types=hpc6a.48xlarge", "--burst-else=cancel"].map(str::to_owned))
            }
            Kind::Local => {
                args.extend(["--burst-types=hpc6a.48xlarge", "--burst-else=local"].map(str::to_owned))
            }
        }
        let script = format!(
            "#!/bin/sh\necho begin $SLURM_JOB_ID $(date +%s%3N) >>ran.txt\nsleep {}\necho end $SLURM_JOB_ID $(date +%s%3N) >>ran.txt\n",
            dice.below(3)
        );
        let mut command = c.command(&c.program("sbatch"), User::Ordinary);
        command.args(args);
        self.under_way.push(std::thread::spawn(move || {
            let out = run(&mut command, &script, COMMAND_LIMIT).ok()?;
            let job: u32 = out.out.trim().parse().ok()?;
            Some(json!({"job": job, "at_ms": now_ms(), "nodes": nodes, "tasks": tasks}))
        }));
    }

    /// Cancels a job of lately.
    pub fn cancel(&mut self, c: &Cluster, dice: &mut Dice) {
        let lately = self.submitted.len().min(6) as u64;
        let back = usize::try_from(dice.below(lately)).unwrap_or(0);
        let Some(job) = self.submitted.iter().rev().nth(back).and_then(|s| s["job"].as_u64()) else { return };
        self.cancelled.push(json!({"job": job, "at_ms": now_ms()}));
        let mut command = c.command(&c.program("scancel"), User::Ordinary);
        command.arg(job.to_string());
        self.under_way.push(std::thread::spawn(move || {
            // It may come too late, or find nobody.
            let _ = run(&mut command, "", COMMAND_LIMIT);
            None
        }));
    }

    /// Takes what has ended; with `all`, waits for the rest.
    pub fn gather(&mut self, all: bool) {
        let (ended, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.under_way).into_iter().partition(|t| all || t.is_finished());
        self.under_way = open;
        self.submitted.extend(ended.into_iter().filter_map(|t| t.join().ok().flatten()));
    }

    /// How many are under way.
    pub fn waiting(&self) -> usize {
        self.under_way.len()
    }
}

/// 1 to 16, more of the small.
pub fn size(dice: &mut Dice) -> u64 {
    match dice.below(20) {
        0 => 16,
        1 | 2 => 8,
        3..=6 => 4,
        7..=9 => 3,
        10..=14 => 2,
        _ => 1,
    }
}
