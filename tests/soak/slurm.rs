//! slurmctld as far as the engine can see it: job table, node table, power saving, a scheduler, and its own laws.

use crate::{dice::Dice, kills, laws::Laws};
use burst_cloud::fake::FakeCloud;
use burst_engine::core::tag_of;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// SuspendTimeout (ms).
const SUSPEND_MS: u64 = 3_000;
/// SlurmdTimeout (ms).
const SILENT_MS: u64 = 10_000;
/// MinJobAge (ms).
const KEPT_MS: u64 = 90_000;
/// What has changed is on disk within this (ms).
const SAVE_MS: u64 = 5_000;
/// batch_sched_delay (ms): "Let the dust settle before doing work" (slurm-22.05 src/slurmctld/controller.c
/// `_slurmctld_background`): a controller that starts schedules nothing earlier.
pub(crate) const DUST_MS: u64 = 3_000;

/// Slurm's base states that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// PENDING
    Pending,
    /// RUNNING
    Running,
    /// Over, with Slurm's number (3 COMPLETED, 4 CANCELLED, 5 FAILED, 7 NODE_FAIL).
    Over(u32),
}

/// A record.
#[derive(Debug, Clone)]
pub struct Job {
    /// Own id.
    pub id: u32,
    /// Array it belongs to, 0 for none.
    pub array: u32,
    /// Task that was split off.
    pub task: Option<u32>,
    /// Tasks that were not, of an array's own record.
    pub rest: BTreeSet<u32>,
    /// Owner.
    pub uid: u32,
    /// State.
    pub state: State,
    /// COMPLETING until, true ms.
    pub completing: Option<u64>,
    /// Priority 0.
    pub held: bool,
    /// By an administrator.
    pub held_admin: bool,
    /// Required nodes.
    pub req: Vec<String>,
    /// Nodes.
    pub want: usize,
    /// Partition.
    pub partition: String,
    /// restart_cnt.
    pub restarts: u32,
    /// Unix s.
    pub submit: u64,
    /// Unix s.
    pub eligible: u64,
    /// Unix s.
    pub start: u64,
    /// Allocated.
    pub nodes: Vec<String>,
    /// admin_comment.
    pub comment: String,
    /// What it has to do, ms.
    pub work_ms: u64,
    /// When it is over, true ms.
    pub ends_ms: u64,
    /// When it was over, true ms.
    pub over_ms: u64,
    /// --requeue.
    pub requeue: bool,
    /// Times it began.
    pub starts: u32,
}

impl Job {
    /// `12` or `12_3`.
    pub fn text(&self) -> String {
        match self.task {
            Some(t) => format!("{}_{t}", self.array),
            None => self.id.to_string(),
        }
    }
    /// The engine's key of its gang.
    pub fn key(&self) -> Option<String> {
        let id = tag_of(&self.comment)?;
        Some(self.task.map_or_else(|| id.to_owned(), |t| format!("{id}_{t}")))
    }
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over(_))
    }
}

/// Where a node's power stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    Off,
    On,
    Down,
    OffAsked { at: u64 },
    GoingOff { until: u64 },
}

/// A node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) power: Power,
    pub(crate) job: Option<u32>,
    /// The instance whose slurmd registered.
    pub(crate) instance: Option<String>,
    /// Since when that is silent, true ms.
    pub(crate) silent: Option<u64>,
    /// NodeAddr, and when it was set, true ms.
    pub(crate) address: Option<(IpAddr, u64)>,
}

/// Both tables.
pub struct Tables {
    /// By id.
    pub jobs: BTreeMap<u32, Job>,
    /// Records that were purged, or lost by a kill.
    pub past: Vec<Job>,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) next: u32,
    pub(crate) version: u64,
    /// Instances that ended without the engine's doing.
    pub killed: BTreeSet<String>,
    /// Names whose power-down was refused: Slurm's own trouble.
    pub(crate) excused: BTreeSet<String>,
    /// Jobs that slurmctld believes to run because it has forgotten that they were over.
    pub(crate) ghosts: BTreeSet<u32>,
    /// Kills under way.
    pub(crate) kills: Vec<kills::Kill>,
    saved: Option<Saved>,
    saved_ms: u64,
    /// The scheduler does nothing before, true ms.
    pub(crate) dust_ms: u64,
}

/// What slurmctld saved: jobs, nodes, and the last number it gave.
type Saved = (BTreeMap<u32, Job>, BTreeMap<String, Node>, u32);

/// The daemon; clones are the same.
#[derive(Clone)]
pub struct Slurm {
    tables: Arc<Mutex<Tables>>,
    /// Protocol.
    pub laws: Laws,
    /// Chance and time.
    pub dice: Dice,
    /// EC2, to compare with.
    pub ec2: FakeCloud,
    /// It runs.
    pub up: Arc<AtomicBool>,
}

impl Slurm {
    /// With these names, all powered down.
    pub fn new(names: impl Iterator<Item = String>, laws: Laws, dice: Dice, ec2: FakeCloud) -> Self {
        let node = Node { power: Power::Off, job: None, instance: None, silent: None, address: None };
        let tables = Tables {
            jobs: BTreeMap::new(),
            past: Vec::new(),
            nodes: names.map(|n| (n, node.clone())).collect(),
            next: 100,
            version: 1,
            killed: BTreeSet::new(),
            excused: BTreeSet::new(),
            ghosts: BTreeSet::new(),
            kills: Vec::new(),
            saved: None,
            saved_ms: 0,
            dust_ms: 0,
        };
        Self { tables: Arc::new(Mutex::new(tables)), laws, dice, ec2, up: Arc::new(AtomicBool::new(true)) }
    }

    /// The tables.
    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, text: impl AsRef<str>) {
        self.laws.note(self.dice.passed_ms(), format!("slurm  {}", text.as_ref()));
    }

    pub(crate) fn broke(&self, text: impl AsRef<str>) {
        self.laws.broke(self.dice.passed_ms(), text);
    }

    /// sbatch, after job_submit held and tagged it.
    pub fn submit(&self, mut job: Job) -> u32 {
        let mut t = self.tables();
        t.next += 1;
        job.id = t.next;
        if !job.rest.is_empty() {
            job.array = job.id;
        }
        let id = job.id;
        t.jobs.insert(id, job);
        t.version += 1;
        id
    }

    /// slurmctld was killed: it goes on with what it saved last.
    pub fn killed(&self) {
        let mut guard = self.tables();
        let t = &mut *guard;
        t.version += 1;
        // It has just saved, now and then.
        if self.dice.chance(200) {
            return;
        }
        let Some((jobs, nodes, last)) = t.saved.clone() else { return };
        // Numbers of jobs that it lost are given again.
        t.next = last;
        let mut now = std::mem::replace(&mut t.jobs, jobs);
        for (id, j) in &t.jobs {
            let was = now.remove(id);
            let forgot = |what: &str| {
                self.laws.count(if what == "end" { "ends forgotten" } else { "starts forgotten" })
            };
            match (j.state, was.as_ref().map(|w| w.state)) {
                // Its script is done, and slurmctld waits for it.
                (State::Running, Some(State::Running)) if was.is_some_and(|w| w.starts == j.starts) => {}
                (State::Running, _) => {
                    forgot("end");
                    t.ghosts.insert(*id);
                }
                (State::Pending, Some(State::Over(_)) | None) => forgot("end"),
                (State::Pending, Some(State::Running)) => forgot("start"),
                _ => {}
            }
        }
        for (id, j) in now {
            t.ghosts.remove(&id);
            t.past.push(j);
        }
        t.nodes = nodes;
        // Those of its own life are gone; to what is completing on paper they are sent again.
        t.kills.clear();
        let completing: Vec<_> = t.jobs.values().filter(|j| j.completing.is_some()).cloned().collect();
        completing.iter().for_each(|j| self.kill(t, j));
    }

    /// slurmctld writes down what it has (slurm-22.05 src/slurmctld/state_save.c `slurmctld_state_save`: at most 5 s after a
    /// change).
    fn save(&self, t: &mut Tables, now: u64) {
        if now >= t.saved_ms + SAVE_MS {
            t.saved_ms = now;
            t.saved = Some((t.jobs.clone(), t.nodes.clone(), t.next));
        }
    }

    /// `scontrol reconfigure` inside the process: names that are powered down lose their addresses.
    pub fn reconfigure(&self) {
        let mut t = self.tables();
        for n in t.nodes.values_mut().filter(|n| n.power == Power::Off) {
            n.address = None;
        }
        t.version += 1;
        self.note("reconfigured");
    }

    /// Ends a job: scancel, or its node failed.
    pub(crate) fn finish(&self, t: &mut Tables, id: u32, number: u32) {
        let now = self.dice.true_ms();
        let Some(j) = t.jobs.get_mut(&id) else { return };
        if j.is_over() {
            return;
        }
        let ran = j.state == State::Running;
        t.ghosts.remove(&id);
        if number == 7 && j.requeue && ran {
            j.state = State::Pending;
            j.restarts += 1;
            j.submit = now / 1_000;
            // cred_expire (slurm-22.05 job_mgr.c `_job_requeue_op`), shorter here.
            j.eligible = now / 1_000 + self.dice.range(2, 20);
            self.note(format!("job {} is pending again, eligible at {}", j.text(), j.eligible));
            self.laws.count("requeues");
        } else {
            j.state = State::Over(number);
            j.over_ms = now;
        }
        if ran {
            j.completing = Some(now + self.dice.range(50, 3_000));
            let j = j.clone();
            self.kill(t, &j);
        }
        t.version += 1;
    }

    /// scancel.
    pub fn cancel(&self, id: u32) {
        if !self.up.load(Ordering::Relaxed) {
            return;
        }
        let mut t = self.tables();
        if let Some(j) = t.jobs.get(&id)
            && !j.is_over()
        {
            self.note(format!("job {} cancelled", j.text()));
        }
        self.finish(&mut t, id, 4);
    }

    /// scontrol requeue.
    pub fn requeue(&self, id: u32) {
        if !self.up.load(Ordering::Relaxed) {
            return;
        }
        let mut t = self.tables();
        if t.jobs.get(&id).is_some_and(|j| j.state == State::Running && j.completing.is_none() && j.requeue) {
            self.note(format!("job {id} requeued"));
            self.finish(&mut t, id, 7);
        }
    }

    /// A slurmd registers under a name; whether it was let in. One that is powered down comes up by it, out of band
    /// (ReturnToService=2); one that goes down waits (slurm-22.05 src/slurmctld/node_mgr.c).
    pub fn register(&self, name: &str, instance: &str) -> bool {
        if !self.up.load(Ordering::Relaxed) {
            return false;
        }
        let mut t = self.tables();
        let Some(n) = t.nodes.get_mut(name) else { return false };
        match n.power {
            Power::GoingOff { .. } => return false,
            Power::Off => n.power = Power::On,
            Power::On | Power::Down | Power::OffAsked { .. } => {}
        }
        n.instance = Some(instance.to_owned());
        n.silent = None;
        t.version += 1;
        true
    }

    /// A job's step runs there.
    pub fn busy(&self, instance: &str) -> bool {
        self.tables().nodes.values().any(|n| n.instance.as_deref() == Some(instance) && n.job.is_some())
    }

    /// Names that are not powered down.
    pub fn all_off(&self) -> Vec<String> {
        self.tables()
            .nodes
            .iter()
            .filter(|(_, n)| n.power != Power::Off)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// A quarter of a second of slurmctld's life.
    pub fn tick(&self) {
        let now = self.dice.true_ms();
        if !self.up.load(Ordering::Relaxed) {
            let mut t = self.tables();
            t.dust_ms = now + DUST_MS;
            // A slurmctld that starts sends its kills anew.
            kills::renew(&mut t.kills, now);
            // Nor is a node set DOWN before its second ping, a third of SlurmdTimeout later (ping_nodes.c `ping_nodes`).
            t.nodes.values_mut().for_each(|n| n.silent = None);
            return;
        }
        let alive = self.ec2.tagged("slurm-burst:gang");
        let mut t = self.tables();
        self.count_gangs(&t, &alive);
        if t.dust_ms == u64::MAX {
            // Another controller counts anew, and its engine, which is not played here, looks after what it finds up.
            t.nodes.values_mut().for_each(|n| n.silent = None);
        }
        self.nodes_pass(&mut t, now, &alive);
        self.jobs_pass(&mut t, now, &alive);
        if now >= t.dust_ms {
            self.schedule(&mut t, now, &alive);
        }
        self.save(&mut t, now);
    }

    /// No gang ever has more instances than its job has nodes.
    fn count_gangs(&self, t: &Tables, alive: &BTreeMap<String, String>) {
        let mut most: BTreeMap<&str, usize> = BTreeMap::new();
        for gang in alive.values() {
            *most.entry(gang).or_default() += 1;
        }
        for j in t.jobs.values() {
            let key = j.key().unwrap_or_default();
            if let Some(n) = most.get(key.as_str()).filter(|n| **n > j.want && j.rest.is_empty()) {
                self.broke(format!("job {} of {} nodes has {n} instances", j.text(), j.want));
            }
        }
    }

    fn nodes_pass(&self, t: &mut Tables, now: u64, alive: &BTreeMap<String, String>) {
        let mut fail = Vec::new();
        let mut changed = false;
        let excused = t.excused.clone();
        for (name, n) in &mut t.nodes {
            let before = (n.power, n.job);
            match n.power {
                Power::OffAsked { at } if now >= at + 700 => {
                    n.power = Power::GoingOff { until: now + SUSPEND_MS }
                }
                Power::GoingOff { until } if now >= until => {
                    n.power = Power::Off;
                    n.instance = None;
                    n.silent = None;
                }
                Power::On => {
                    let instance = n.instance.clone().unwrap_or_default();
                    if alive.contains_key(&instance) {
                        n.silent = None;
                    } else {
                        let since = *n.silent.get_or_insert(now);
                        let own = t.killed.contains(&instance);
                        let running = n.job.and_then(|j| t.jobs.get(&j));
                        let real = |j: &Job| j.state == State::Running && !t.ghosts.contains(&j.id);
                        if !own && running.is_some_and(real) {
                            self.broke(format!("{instance} was ended under job {}", n.job.unwrap_or(0)));
                            t.killed.insert(instance.clone());
                        }
                        if now >= since + SILENT_MS {
                            n.power = Power::Down;
                            fail.extend(n.job);
                            if !own && !excused.contains(name) {
                                self.broke(format!(
                                    "node {name} is DOWN: {instance} was ended before the name"
                                ));
                            }
                        }
                    }
                }
                _ => {}
            }
            changed |= before != (n.power, n.job);
        }
        for id in fail {
            self.note(format!("job {id}: node failure"));
            self.finish(t, id, 7);
        }
        if changed {
            t.version += 1;
        }
    }

    fn jobs_pass(&self, t: &mut Tables, now: u64, alive: &BTreeMap<String, String>) {
        let mut changed = false;
        let mut free = Vec::new();
        let mut purge = Vec::new();
        let mut missing = Vec::new();
        for j in t.jobs.values_mut() {
            let ghost = t.ghosts.contains(&j.id);
            if ghost && j.state == State::Running {
                // slurmd has no such job; one that does not answer tells nothing.
                let there = |n: &String| {
                    let node = t.nodes.get(n);
                    let id = node.and_then(|n| n.instance.as_ref());
                    node.is_some_and(|n| n.power == Power::On) && id.is_some_and(|i| alive.contains_key(i))
                };
                if j.nodes.iter().all(there) {
                    missing.push(j.id);
                }
                continue;
            }
            if j.state == State::Running && j.completing.is_none() && now >= j.ends_ms {
                j.state = State::Over(3);
                j.over_ms = now;
                j.completing = Some(now + self.dice.range(50, 3_000));
                changed = true;
                self.note(format!("job {} completed", j.text()));
            }
            if j.completing.is_some_and(|c| now >= c) {
                j.completing = None;
                free.push(j.id);
                if j.state == State::Pending {
                    j.nodes.clear();
                }
                changed = true;
            }
            if j.is_over() && j.completing.is_none() && now >= j.over_ms + KEPT_MS {
                purge.push(j.id);
            }
        }
        for n in t.nodes.values_mut() {
            if n.job.is_some_and(|j| free.contains(&j)) {
                n.job = None;
            }
        }
        for id in missing {
            self.note(format!("job {id}: its nodes do not have it"));
            self.finish(t, id, 7);
        }
        for id in purge {
            if let Some(j) = t.jobs.remove(&id) {
                t.past.push(j);
                changed = true;
            }
        }
        if changed {
            t.version += 1;
        }
    }

    fn schedule(&self, t: &mut Tables, now: u64, alive: &BTreeMap<String, String>) {
        let ready: Vec<u32> = t
            .jobs
            .values()
            .filter(|j| j.state == State::Pending && !j.held && j.completing.is_none())
            .filter(|j| j.rest.is_empty() && j.eligible * 1_000 <= now)
            .map(|j| j.id)
            .collect();
        for id in ready {
            let Some(j) = t.jobs.get(&id).cloned() else { continue };
            if j.partition == "cpu" {
                self.begin(t, &j, Vec::new(), now);
                continue;
            }
            let names: Vec<String> = match j.req.is_empty() {
                false => j.req.clone(),
                // Slurm would take any names, also those that are off.
                true => t
                    .nodes
                    .iter()
                    .filter(|(_, n)| n.job.is_none())
                    .map(|(n, _)| n.clone())
                    .take(j.want)
                    .collect(),
            };
            let free = |n: &String| t.nodes.get(n).is_some_and(|n| n.job.is_none());
            let usable =
                |n: &String| t.nodes.get(n).is_some_and(|n| matches!(n.power, Power::On | Power::Off));
            if names.len() != j.want || !names.iter().all(|n| free(n) && usable(n)) {
                continue;
            }
            let key = j.key().unwrap_or_default();
            for name in &names {
                let n = t.nodes.get(name);
                let instance = n.and_then(|n| n.instance.clone()).unwrap_or_default();
                let on = n.is_some_and(|n| n.power == Power::On);
                let dead = t.killed.contains(&instance);
                let address = n.and_then(|n| n.address).map(|a| a.0);
                if on && address != self.ec2.address(&instance) {
                    self.broke(format!("job {} started on {name}, whose address Slurm has lost", j.text()));
                }
                if !on || !(dead || alive.get(&instance) == Some(&key)) {
                    self.broke(format!("job {} started on {name} without an instance of its own", j.text()));
                }
            }
            self.old_kills(t, &j, &names, now);
            if names.iter().collect::<BTreeSet<_>>().len() != j.want {
                self.broke(format!("job {} started on part of its nodes", j.text()));
            }
            self.begin(t, &j, names, now);
        }
    }

    fn begin(&self, t: &mut Tables, j: &Job, names: Vec<String>, now: u64) {
        for name in &names {
            if let Some(n) = t.nodes.get_mut(name) {
                n.job = Some(j.id);
            }
        }
        let Some(j) = t.jobs.get_mut(&j.id) else { return };
        j.state = State::Running;
        j.start = now / 1_000;
        j.ends_ms = now + j.work_ms;
        j.nodes = names;
        j.starts += 1;
        if j.starts > j.restarts + 1 {
            self.broke(format!("job {} began {} times with {} restarts", j.text(), j.starts, j.restarts));
        }
        self.note(format!("job {} started on {}", j.text(), j.nodes.join(",")));
        self.laws.count("starts");
        t.version += 1;
    }
}
