//! The gang state machine: a durable document, what is observed, and pure functions between them.
//!
//! [`step`](step::step) looks at a gang and at the world and answers at most one effect; the engine executes it and
//! hands the outcome to [`done`](done::done). Neither does I/O. A gang has one effect under way at a time, and its
//! document is on disk before an effect leaves.

pub mod back;
mod boot;
mod budget;
pub mod dead;
pub mod done;
pub mod operator;
pub mod parts;
mod phase;
pub mod says;
pub mod step;
#[cfg(test)]
mod tests;
mod turns;
mod world;

use crate::{admit::Rung, admit::Verdict, classify::Class, config::Pool};
use burst_plan::{Geometry, Request};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

pub use done::{Outcome, done};
pub use phase::*;
pub use step::step;
pub use world::*;

/// Which job, and which life of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobKey {
    /// Job id (an array task's own once it is split off).
    pub id: u32,
    /// `12` or `12_3`: what updates and people use.
    pub text: String,
    /// Submit time, Unix seconds; a requeue sets it anew (`slurm-22.05 src/slurmctld/job_mgr.c` `batch_requeue_fini`).
    pub submit: u64,
    /// `restart_cnt` this gang serves.
    pub restart: u32,
}

impl JobKey {
    /// Of a record.
    #[must_use]
    pub fn of(j: &JobView) -> Self {
        Self { id: j.id, text: j.text.clone(), submit: j.submit, restart: j.restarts }
    }
}

/// One granted instance and the name it will carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// `i-…`.
    pub instance: String,
    /// Slurm node name.
    pub node: String,
    /// Address, once EC2 shows it.
    pub ip: Option<IpAddr>,
    /// Host name, once EC2 shows it.
    pub host: Option<String>,
    /// It has asked who it is.
    pub asked: bool,
    /// It has said that slurmd was started.
    pub started: bool,
    /// It has said that it cannot serve.
    pub failed: Option<String>,
    /// Slurm knows its address: slurmd may start under its name.
    #[serde(default)]
    pub up: bool,
    /// When it was granted, Unix ms: its own boot_limit counts from here.
    #[serde(default)]
    pub granted_ms: u64,
    /// When the last part of its gang was granted, Unix ms, where there are several: boot_limit counts from there.
    #[serde(default)]
    pub whole_ms: u64,
    /// How it is paid for; None in documents of before.
    #[serde(default)]
    pub market: Option<burst_plan::Market>,
    /// EC2 was seen without it although nobody here had ended it, Unix ms.
    #[serde(default)]
    pub lost_ms: Option<u64>,
}

impl Member {
    /// An instance that has done nothing yet.
    #[must_use]
    pub fn new(instance: String, node: String, granted_ms: u64) -> Self {
        let (ip, host, failed, lost_ms) = (None, None, None, None);
        Self {
            instance,
            node,
            ip,
            host,
            asked: false,
            started: false,
            failed,
            up: false,
            granted_ms,
            whole_ms: 0,
            market: None,
            lost_ms,
        }
    }

    /// From when its boot_limit counts, Unix ms.
    #[must_use]
    pub fn boots_from(&self) -> u64 {
        self.granted_ms.max(self.whole_ms)
    }
}

/// An instance that was replaced while its gang booted, and the name it had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// `i-…`.
    pub instance: String,
    /// Slurm node name; free again with the gang.
    pub node: String,
    /// Ended in EC2 and powered down in Slurm.
    pub ended: bool,
    /// When it was granted, Unix ms.
    #[serde(default)]
    pub granted_ms: u64,
    /// As the member's.
    #[serde(default)]
    pub lost_ms: Option<u64>,
    /// As the member's.
    #[serde(default)]
    pub market: Option<burst_plan::Market>,
}

impl From<Member> for Retired {
    fn from(m: Member) -> Self {
        let Member { instance, node, granted_ms, lost_ms, market, .. } = m;
        Self { instance, node, ended: false, granted_ms, lost_ms, market }
    }
}

/// A hold that Slurm did not take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedHold {
    /// Failures so far.
    pub tries: u32,
    /// Since when, Unix ms.
    pub since_ms: u64,
    /// Tried again then, Unix ms.
    pub again_ms: u64,
}

/// A line of a gang's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Unix ms.
    pub at_ms: u64,
    /// Phase label.
    pub phase: String,
    /// What happened.
    pub text: String,
}

/// The durable document of one gang.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gang {
    /// 16 hex digits, as in the job's tag.
    pub id: String,
    /// Array task.
    pub task: Option<u32>,
    /// Owner.
    pub uid: u32,
    /// Owner's name, for tags; the uid's digits where it has none.
    pub user: String,
    /// Pool.
    pub pool: String,
    /// What the user wants.
    pub request: Request,
    /// What the job is.
    pub geometry: Geometry,
    /// The job, once seen.
    pub job: Option<JobKey>,
    /// Where it stands.
    pub phase: Phase,
    /// Since, Unix ms.
    pub since_ms: u64,
    /// job_submit's time, Unix ms.
    pub born_ms: u64,
    /// Attempts begun.
    pub attempt: u32,
    /// Launch intents so far: part of the client token.
    pub intent: u32,
    /// Attempts that cost money.
    pub paid: u32,
    /// Next rung to try.
    pub rung: usize,
    /// Times the whole ladder was without capacity in a row.
    pub rounds: u32,
    /// Since when capacity is waited for, Unix ms.
    pub dry_since_ms: Option<u64>,
    /// Places that were passed over for want of capacity when it began to wait, in words.
    #[serde(default)]
    pub dry: Vec<String>,
    /// Reservations that could not be used when places were last looked through, and why.
    #[serde(default)]
    pub shut: Vec<String>,
    /// What its owner was last told about its turn to launch.
    #[serde(default)]
    pub told_turn: Option<Why>,
    /// The parts of the attempt under way, where one fleet does not do.
    #[serde(default)]
    pub split: Option<parts::Split>,
    /// The rung that was granted.
    pub won: Option<Rung>,
    /// The most it can cost, micro-dollars.
    pub worst: Option<burst_plan::MicroUsd>,
    /// Reserved names.
    pub names: Vec<String>,
    /// Nodes its job was last seen on, as Slurm writes them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ran_on: String,
    /// Names of lives before. slurmctld tries a kill that a dead node did not take again (`slurm-22.05
    /// src/slurmctld/agent.c`), and a requeued job has its old number: on the same name it would be hit.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub former: BTreeSet<String>,
    /// When its job was last seen on others of them, or the gang was given back, Unix ms.
    #[serde(default)]
    pub former_ms: u64,
    /// Instances, in the order of their names.
    pub members: Vec<Member>,
    /// Replaced while booting.
    #[serde(default)]
    pub retired: Vec<Retired>,
    /// When the (last) grant came, Unix ms: boot_limit counts from here.
    #[serde(default)]
    pub granted_ms: Option<u64>,
    /// slurmd may have been started under the names: they have to be powered down in the end.
    pub powered: bool,
    /// Times that addresses were told again while it boots: bounded, whatever Slurm makes of them.
    #[serde(default)]
    pub retold: u8,
    /// The hold that failed while it is given back. The pauses of other effects do not put it off: the scheduler does not
    /// wait for them.
    #[serde(default)]
    pub hold: FailedHold,
    /// A CreateFleet of ours has no known answer.
    pub unsure: bool,
    /// The call of this intent was sent and its answer is not known: only a fleet, or EC2's own no, settles it.
    #[serde(default)]
    pub sent: bool,
    /// Fleet id.
    pub fleet: Option<String>,
    /// Placement group.
    pub group: Option<String>,
    /// Region its last launch went to: what it has is there. None: `aws.region`.
    #[serde(default)]
    pub region: Option<String>,
    /// What the budget service has promised for this life, to be settled when it is over.
    #[serde(default)]
    pub promises: Vec<crate::asbb::Promise>,
    /// The owner holds it.
    pub user_hold: bool,
    /// An operator wants the next round tried whatever is remembered of places without capacity.
    #[serde(default)]
    pub insist: bool,
    /// An operator wants it ended: why.
    pub end_asked: Option<String>,
    /// Last error.
    pub last_error: Option<LastError>,
    /// History, bounded.
    pub history: Vec<Entry>,
    /// The admin_comment Slurm has.
    pub commented: String,
    /// The execution plan, for the record of what became of it.
    #[serde(default)]
    pub plan: Option<burst_plan::Plan>,
    /// What the present life has seen.
    #[serde(default)]
    pub track: crate::track::Track,
}

impl Gang {
    /// A gang as job_submit hands it over.
    #[must_use]
    pub fn new(
        id: String,
        uid: u32,
        pool: String,
        request: Request,
        geometry: Geometry,
        now_ms: u64,
    ) -> Self {
        Self {
            id,
            task: None,
            uid,
            user: uid.to_string(),
            pool,
            request,
            geometry,
            job: None,
            phase: Phase::Submitted,
            since_ms: now_ms,
            born_ms: now_ms,
            attempt: 0,
            intent: 0,
            paid: 0,
            rung: 0,
            rounds: 0,
            dry_since_ms: None,
            dry: Vec::new(),
            shut: Vec::new(),
            told_turn: None,
            split: None,
            won: None,
            worst: None,
            names: Vec::new(),
            ran_on: String::new(),
            former: BTreeSet::new(),
            former_ms: 0,
            members: Vec::new(),
            retired: Vec::new(),
            granted_ms: None,
            powered: false,
            retold: 0,
            hold: FailedHold::default(),
            unsure: false,
            sent: false,
            fleet: None,
            group: None,
            region: None,
            promises: Vec::new(),
            user_hold: false,
            insist: false,
            end_asked: None,
            last_error: None,
            history: vec![Entry {
                at_ms: now_ms,
                phase: "Submitted".into(),
                text: "seen in job_submit".into(),
            }],
            commented: String::new(),
            plan: None,
            track: crate::track::Track::default(),
        }
    }

    /// GANG or GANG_TASK: the value of the EC2 tag and the engine's key.
    #[must_use]
    pub fn key(&self) -> String {
        match self.task {
            Some(t) => format!("{}_{t}", self.id),
            None => self.id.clone(),
        }
    }

    /// The client token of the current intent (docs/WIRE.md). Nothing of the job is part of it: a slurmctld that was killed
    /// forgets a requeue, and gives a lost job's number to another one, within the same second even.
    #[must_use]
    pub fn token(&self, cluster: &str) -> String {
        let text = format!("{cluster}|{}|{}|{}", self.key(), self.attempt, self.intent);
        let hash = Sha256::digest(text.as_bytes());
        hash.iter().take(16).map(|b| format!("{b:02x}")).collect()
    }

    /// Whether its job may still be killed on its former names. A slurmctld that starts sends such kills anew.
    #[must_use]
    pub fn rests(&self, born_ms: u64, now_ms: u64) -> bool {
        !self.former.is_empty() && now_ms < self.former_ms.max(born_ms) + FORMER_MS
    }

    /// Remembers where its job was seen, by whatever slurmctld believes.
    fn saw_on(&mut self, j: &JobView, born_ms: u64, now_ms: u64) {
        let there = matches!(j.state, 1 | 2) || j.completing;
        if there && !j.nodes.is_empty() && j.nodes != self.ran_on {
            let names = burst_plan::hostlist::expand(&j.nodes).unwrap_or_default();
            self.ran(names, born_ms, now_ms);
            self.ran_on.clone_from(&j.nodes);
        }
    }

    /// Its job was on these names. Those of long ago are forgotten, but not where these are only the rest of them: a job that
    /// completes is shown without its dead nodes (`slurm-22.05 src/slurmctld/job_mgr.c` `pack_job`, node_bitmap_cg).
    fn ran(&mut self, names: Vec<String>, born_ms: u64, now_ms: u64) {
        if !self.rests(born_ms, now_ms) && !names.iter().all(|n| self.former.contains(n)) {
            self.former.clear();
        }
        self.former.extend(names);
        self.former_ms = now_ms;
    }

    /// The job as people write it; the gang's id before it is known.
    #[must_use]
    pub fn job_text(&self) -> String {
        self.job.as_ref().map_or_else(|| self.id.clone(), |j| j.text.clone())
    }

    /// Every name it holds: those of its nodes and those of nodes it had to replace.
    pub fn all_names(&self) -> impl Iterator<Item = &String> {
        self.names.iter().chain(self.retired.iter().map(|r| &r.node))
    }

    /// Every instance it may still have.
    pub fn all_instances(&self) -> impl Iterator<Item = &String> {
        self.members.iter().map(|m| &m.instance).chain(self.retired.iter().map(|r| &r.instance))
    }

    /// Neither over nor waiting to be found.
    #[must_use]
    pub fn is_living(&self) -> bool {
        !matches!(self.phase, Phase::Done)
    }

    /// Whether Slurm shows a job pending whose gang was over: requeued after its end, or slurmctld was killed before it
    /// had saved that it ended. `born_ms` is when this engine began: within its life slurmctld forgets nothing.
    #[must_use]
    pub fn is_wanted_again(&self, j: &JobView, born_ms: u64) -> bool {
        let again = match &self.job {
            Some(k) => j.restarts > k.restart || (j.restarts == k.restart && self.since_ms < born_ms),
            None => self.since_ms < born_ms,
        };
        let elsewhere = !j.partition.is_empty() && j.partition != self.geometry.partition;
        !self.is_living() && j.state == 0 && again && !elsewhere
    }

    /// A new gang for a job that [is wanted again](Self::is_wanted_again).
    pub fn revive(&mut self, j: &JobView, now_ms: u64) {
        let text = match &self.job {
            Some(k) if j.restarts > k.restart => "the job was requeued after its end: a new gang follows",
            _ => "slurmctld was killed before it saved how the job ended: a new gang follows",
        };
        let key = self.job.get_or_insert_with(|| JobKey::of(j));
        (key.id, key.submit, key.restart) = (j.id, j.submit, j.restarts);
        (self.rung, self.rounds, self.dry_since_ms) = (0, 0, None);
        self.commented.clear();
        self.former_ms = now_ms;
        self.enter(Phase::Held, text, now_ms);
    }

    /// Moves to a phase and says so in the history.
    pub fn enter(&mut self, phase: Phase, text: impl Into<String>, now_ms: u64) {
        self.phase = phase;
        self.since_ms = now_ms;
        self.note(text, now_ms);
    }

    /// A line in the history; the oldest but the first go when it is full.
    pub fn note(&mut self, text: impl Into<String>, now_ms: u64) {
        if self.history.len() >= HISTORY {
            self.history.remove(1);
        }
        self.history.push(Entry { at_ms: now_ms, phase: self.phase.label().to_owned(), text: text.into() });
    }

    /// Records an error for people.
    pub fn blame(&mut self, trouble: &Trouble, now_ms: u64) {
        self.last_error = Some(LastError {
            code: trouble.code.clone(),
            message: trouble.message.chars().take(400).collect(),
            request_id: trouble.request_id.clone(),
            at_ms: now_ms,
        });
    }
}

/// How long a kill of before may still be delivered, ms: a connection that is refused is tried for 10 s
/// (`slurm-22.05 src/common/slurm_protocol_api.c`), the whole once more after 60 s (`src/slurmctld/agent.c`
/// `RPC_RETRY_INTERVAL`) where the name was not going down yet.
pub const FORMER_MS: u64 = 80_000;

/// Lines of history kept of one gang: enough for every phase of several attempts, small enough for 10,000 gangs.
pub const HISTORY: usize = 64;
