//! Everything known of one life of a job (job, restart) after its gang has ended: what the record, the history and the
//! ledger are made of.
//!
//! What was not measured is `None`, never a constant. Stored as JSON in the journal's table `ledger`; every field has a
//! default, so that rows of an older version can be read.

use burst_plan::{Geometry, Market, MicroUsd, Plan, Request, report::NodeReport};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// One life of a job and of the gang that served it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Life {
    /// Job id (an array task's own).
    pub job: u32,
    /// `12` or `12_3`, as Slurm writes it.
    pub text: String,
    /// Job name.
    pub name: String,
    /// Owner's name; the uid's digits where it has none.
    pub user: String,
    /// Owner.
    pub uid: u32,
    /// Account, empty for none.
    pub account: String,
    /// Partition.
    pub partition: String,
    /// Pool.
    pub pool: String,
    /// GANG or GANG_TASK: the value of the EC2 tag.
    pub gang: String,
    /// `restart_cnt` of this life.
    pub restart: u32,
    /// Times slurmctld has forgotten that this (job, restart) had ended, and it was served anew.
    pub again: u32,
    /// Array task.
    pub array_task: Option<u32>,
    /// AWS Region.
    pub region: String,
    /// Version of slurm-burst that wrote it.
    pub plugin_version: String,
    /// Version of slurmctld.
    pub slurm_version: String,
    /// Launch attempts begun in this life.
    pub attempts: u32,
    /// Attempts of this life that were granted, and so cost money.
    pub paid: u32,
    /// What the job asked of nodes.
    pub geometry: Geometry,
    /// What the user wanted, merged from options, plan and annotations.
    pub request: Request,
    /// The execution plan, where one was given: as far as it reaches slurmctld (docs/RECORD.md).
    pub plan: Option<Plan>,
    /// What the budget service had promised for it, to be settled with its cost.
    pub promises: Vec<crate::asbb::Promise>,
    /// What Slurm says.
    pub slurm: SlurmFacts,
    /// When what happened.
    pub phases: Phases,
    /// Every instance EC2 ran for it, in the order of their launch.
    pub instances: Vec<Ran>,
    /// Instances that are not listed because there were too many; the cost is then not known.
    pub instances_left_out: u32,
    /// Time that granted instances waited for the other parts of their gang, all together, ms; it is in their cost.
    pub idle_ms: u64,
    /// What the nodes reported, by node name.
    pub reports: Vec<NodeReport>,
    /// Nodes that served and whose report did not come.
    pub missing: Vec<String>,
    /// What it cost.
    pub cost: Cost,
    /// The last thing that went wrong with its gang, in words.
    pub trouble: Option<String>,
    /// A launch was given up without its answer: what it may have granted was ended, and is in no figure.
    pub unseen: bool,
    /// Slurm had cleared COMPLETING, Unix ms: the grace for reports begins.
    pub cleared_ms: Option<u64>,
}

/// What Slurm's job table says of the life. Times are Unix seconds; None: not known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SlurmFacts {
    /// How the life ended: `COMPLETED`, `FAILED`, `CANCELLED`, `TIMEOUT`, `NODE_FAIL`, `PREEMPTED`, `BOOT_FAIL`,
    /// `DEADLINE`, `OUT_OF_MEMORY`; `REQUEUED` for a life that another followed; `UNKNOWN` where no record was left.
    pub state: String,
    /// Exit status of the job's script (`exit_code` of the record, high byte).
    pub exit_code: Option<u32>,
    /// Signal that ended it (`exit_code`, low seven bits); 0 for none.
    pub exit_signal: Option<u32>,
    /// Highest exit status of its steps (`derived_ec`, high byte).
    pub derived_code: Option<u32>,
    /// Signal of the same (`derived_ec`, low seven bits); 0 for none.
    pub derived_signal: Option<u32>,
    /// Submitted.
    pub submit: Option<u64>,
    /// Eligible to start.
    pub eligible: Option<u64>,
    /// Started.
    pub start: Option<u64>,
    /// Ended.
    pub end: Option<u64>,
    /// Allocated nodes as a hostlist, empty for none.
    pub nodes: String,
    /// Allocated nodes.
    pub node_count: Option<u32>,
    /// Allocated CPUs.
    pub cpus: Option<u32>,
    /// Allocated trackable resources (`cpu=32,mem=64G,node=2,billing=32`), where Slurm tells.
    pub tres: Option<String>,
    /// `restart_cnt` when it was last seen.
    pub restarts: u32,
    /// Time limit, seconds; None: unlimited or not known.
    pub time_limit: Option<u64>,
}

/// When what happened in a life, Unix ms; None: it did not, or it was not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Phases {
    /// job_submit saw it; for a later life: it was pending again.
    pub submit_ms: Option<u64>,
    /// The administrator's hold was answered.
    pub held_ms: Option<u64>,
    /// It could be launched and its place was chosen (first time).
    pub planned_ms: Option<u64>,
    /// The first CreateFleet was written down and sent.
    pub launch_ms: Option<u64>,
    /// The whole gang that served was granted.
    pub granted_ms: Option<u64>,
    /// EC2 showed every instance with its address.
    pub running_ms: Option<u64>,
    /// Every node was registered and idle.
    pub registered_ms: Option<u64>,
    /// The job was released to the scheduler.
    pub released_ms: Option<u64>,
    /// The job started on its gang.
    pub started_ms: Option<u64>,
    /// The job was over (or requeued, or its gang was given back).
    pub ended_ms: Option<u64>,
    /// EC2 had taken the order to terminate every instance.
    pub terminated_ms: Option<u64>,
    /// Names were powered down in Slurm: everything was given back.
    pub done_ms: Option<u64>,
}

/// Why an instance was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// The job ran on it.
    #[default]
    Served,
    /// Its gang was given back before the job ran on it.
    Failed,
    /// It did not come up and another took its place.
    Replaced,
}

impl Purpose {
    /// `served`, `failed`, `replaced`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Failed => "failed",
            Self::Replaced => "replaced",
        }
    }
}

/// An instance that EC2 ran for this life.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Ran {
    /// `i-…`.
    pub id: String,
    /// Slurm node name it had.
    pub node: String,
    /// EC2 type.
    pub instance_type: String,
    /// Zone.
    pub zone: String,
    /// Region; None: the life's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How it was paid for; never `Mixed`.
    pub market: Option<Market>,
    /// EFA interfaces it was launched with.
    pub efa: u32,
    /// In a cluster placement group.
    pub grouped: bool,
    /// Attempt (1, 2 …) it was launched for.
    pub attempt: u32,
    /// EC2 granted it, Unix ms.
    pub launched_ms: u64,
    /// EC2 had taken the order to terminate it, or it was seen ended, Unix ms; None: not known.
    pub ended_ms: Option<u64>,
    /// EC2 ended it, not we (a spot interruption, a fault, its own shutdown).
    pub interrupted: bool,
    /// Why it was there.
    pub purpose: Purpose,
    /// Why it failed or was replaced, in words; empty for one that served.
    pub why: String,
    /// Size of its root volume, GiB; None where the image decides.
    pub root_gib: Option<u32>,
    /// Seconds EC2 bills.
    pub billed_s: Option<u64>,
    /// USD of one instance-hour, where the price table has it.
    pub hourly: Option<MicroUsd>,
    /// The instance, without its volume.
    pub compute: Option<MicroUsd>,
    /// Its root volume.
    pub storage: Option<MicroUsd>,
}

impl Ran {
    /// Instance and volume; None where either is not known.
    #[must_use]
    pub fn cost(&self) -> Option<MicroUsd> {
        Some(self.compute?.plus(self.storage?))
    }
}

/// What a life cost, micro-dollars. A sum with a part that is not known is None, and `missing` says why; `known` is what
/// can be said all the same. Traffic is not metered, so it is in no sum.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// Instances the job ran on.
    pub compute: Option<MicroUsd>,
    /// Their root volumes.
    pub storage: Option<MicroUsd>,
    /// Instances (with volumes) of failed attempts and those that were replaced.
    pub wasted: Option<MicroUsd>,
    /// All three.
    pub total: Option<MicroUsd>,
    /// What is known of the total: at least so much.
    pub known: MicroUsd,
    /// What spot saved against on-demand; None unless all prices are known; 0 without spot.
    pub spot_savings: Option<MicroUsd>,
    /// Where the prices come from.
    pub prices: String,
    /// Why a figure is missing, a line each.
    pub missing: Vec<String>,
}

/// How long the steps of a life took, ms; None where one of the two times is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Durations {
    /// From submission to the administrator's hold.
    pub hold: Option<u64>,
    /// From the hold to the first launch: dependencies, begin times, limits, capacity.
    pub wait: Option<u64>,
    /// From the first launch to the grant of the gang that served: refused rungs and failed attempts are in it.
    pub grant: Option<u64>,
    /// From the grant to all addresses.
    pub running: Option<u64>,
    /// From the grant to all nodes registered.
    pub boot: Option<u64>,
    /// From all nodes registered to the release.
    pub release: Option<u64>,
    /// From the release to the start.
    pub start: Option<u64>,
    /// From the first launch to the start: what bursting cost in time.
    pub provisioning: Option<u64>,
    /// From the start to the end.
    pub run: Option<u64>,
    /// From the end to the order to terminate.
    pub terminate: Option<u64>,
    /// From the submission to everything given back.
    pub total: Option<u64>,
}

/// GANG, or GANG~N for a life that was served anew because slurmctld had forgotten its end.
#[must_use]
pub fn key(gang: &str, again: u32) -> String {
    match again {
        0 => gang.to_owned(),
        n => format!("{gang}~{n}"),
    }
}

impl Phases {
    /// The steps.
    #[must_use]
    pub fn durations(&self) -> Durations {
        let from = |a: Option<u64>, b: Option<u64>| b?.checked_sub(a?);
        Durations {
            hold: from(self.submit_ms, self.held_ms),
            wait: from(self.held_ms, self.launch_ms),
            grant: from(self.launch_ms, self.granted_ms),
            running: from(self.granted_ms, self.running_ms),
            boot: from(self.granted_ms, self.registered_ms),
            release: from(self.registered_ms, self.released_ms),
            start: from(self.released_ms, self.started_ms),
            provisioning: from(self.launch_ms, self.started_ms),
            run: from(self.started_ms, self.ended_ms),
            terminate: from(self.ended_ms, self.terminated_ms),
            total: from(self.submit_ms, self.done_ms),
        }
    }

    /// Names and times in the order in which they happen, for people and tables.
    #[must_use]
    pub fn list(&self) -> [(&'static str, Option<u64>); 12] {
        [
            ("submit", self.submit_ms),
            ("held", self.held_ms),
            ("planned", self.planned_ms),
            ("launch", self.launch_ms),
            ("granted", self.granted_ms),
            ("running", self.running_ms),
            ("registered", self.registered_ms),
            ("released", self.released_ms),
            ("started", self.started_ms),
            ("ended", self.ended_ms),
            ("terminated", self.terminated_ms),
            ("done", self.done_ms),
        ]
    }
}

impl Life {
    /// Name of the life in files and tables: the job as Slurm writes it; a life that was requeued carries its number
    /// (`12`, `12_3`, `12-restart0`), so that no life overwrites another.
    #[must_use]
    pub fn file_id(&self) -> String {
        let life = match self.slurm.restarts > self.restart {
            true => format!("{}-restart{}", self.text, self.restart),
            false => self.text.clone(),
        };
        match self.again {
            0 => life,
            n => format!("{life}-again{n}"),
        }
    }

    /// What the ledger knows it by, with its `restart`.
    #[must_use]
    pub fn key(&self) -> String {
        key(&self.gang, self.again)
    }

    /// The job ran to its end and said 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.slurm.state == "COMPLETED"
    }

    /// Instances the job ran on.
    pub fn served(&self) -> impl Iterator<Item = &Ran> {
        self.instances.iter().filter(|i| i.purpose == Purpose::Served)
    }

    /// How long the job ran, seconds: by Slurm's own times.
    #[must_use]
    pub fn run_s(&self) -> Option<u64> {
        self.slurm.end?.checked_sub(self.slurm.start?)
    }

    /// The report of a node.
    #[must_use]
    pub fn report(&self, node: &str) -> Option<&NodeReport> {
        self.reports.iter().find(|r| r.node == node)
    }
}
