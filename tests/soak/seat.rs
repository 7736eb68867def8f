//! slurmctld's interface, as one life of the engine has it.

use crate::slurm::{Job, Node, Power, Slurm, State, Tables};
use burst_engine::{
    Controller,
    controller::{
        Changed, Credential, JobRecord, JobUpdate, Loud, NodeRecord, PartitionRecord, SlurmConf, SlurmError,
    },
};
use burst_policy::gang::{JobFacts, JobView, NodeView};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

fn err(code: i32, message: &str) -> SlurmError {
    SlurmError { code, message: message.into(), passing: false }
}

/// One life's connection to slurmctld.
pub struct Seat {
    /// slurmctld.
    pub slurm: Slurm,
    /// When this life stopped being the active controller, true ms; 0: it is.
    pub passive_since: Arc<AtomicU64>,
    /// How often a call fails for a passing reason, in thousandths.
    pub trouble: Arc<AtomicU64>,
    /// Versions of the tables that were handed out last.
    pub told: [AtomicU64; 2],
}

impl Seat {
    fn enter(&self, what: &str) -> Result<MutexGuard<'_, Tables>, SlurmError> {
        if !self.slurm.up.load(Ordering::Relaxed)
            || self.slurm.dice.chance(self.trouble.load(Ordering::Relaxed))
        {
            return Err(SlurmError { passing: true, ..err(1001, "Unable to contact slurm controller") });
        }
        let since = self.passive_since.load(Ordering::Relaxed);
        let now = self.slurm.dice.true_ms();
        if !what.is_empty() && since > 0 && now > since + crate::cloud::UNDER_WAY_MS {
            self.slurm.broke(format!("{what} by a controller that is not the active one"));
        }
        Ok(self.slurm.tables())
    }

    fn changed<T>(&self, which: usize, make: impl Fn(&Tables) -> Vec<T>) -> Result<Changed<T>, SlurmError> {
        let t = self.enter("")?;
        let told = self.told.get(which).expect("two tables");
        // As the plugin does: everything is read anew now and then.
        let age = self.slurm.dice.passed_ms() / 5_000;
        let version = t.version << 20 | age & 0xf_ffff;
        if told.swap(version, Ordering::Relaxed) == version {
            return Ok(None);
        }
        Ok(Some(make(&t)))
    }
}

fn record(j: &Job) -> JobRecord {
    let number = match j.state {
        State::Pending => 0,
        State::Running => 1,
        State::Over(n) => n,
    };
    let rest: Vec<String> = j.rest.iter().map(ToString::to_string).collect();
    JobRecord {
        view: JobView {
            id: j.id,
            text: j.text(),
            state: number,
            completing: j.completing.is_some(),
            held: j.held,
            held_admin: j.held_admin,
            restarts: j.restarts,
            submit: j.submit,
            eligible: j.eligible,
            start: j.start,
            dependency: String::new(),
            partition: j.partition.clone(),
            minutes: Some(5),
            nodes: j.nodes.join(","),
            reason: String::new(),
            licences: String::new(),
            facts: JobFacts {
                end: if j.over_ms > 0 { j.over_ms / 1_000 } else { 0 },
                exit: if number == 5 { 256 } else { 0 },
                nodes: u32::try_from(j.want).unwrap_or(0),
                ..JobFacts::default()
            },
        },
        uid: j.uid,
        user: format!("user{}", j.uid),
        account: "lab".into(),
        array_job: j.array,
        array_task: j.task,
        array_rest: (!j.rest.is_empty()).then(|| rest.join(",")),
        array_most: 0,
        comment: j.comment.clone(),
    }
}

fn view(n: &Node, jobs: &BTreeMap<u32, Job>) -> NodeView {
    let on = matches!(n.power, Power::On);
    let completing = n.job.is_some_and(|j| jobs.get(&j).is_some_and(|j| j.completing.is_some()));
    NodeView {
        idle: n.job.is_none() && n.power != Power::Down,
        allocated: n.job.is_some() && !completing,
        down: n.power == Power::Down,
        drain: false,
        no_respond: on && n.silent.is_some(),
        powered_down: n.power == Power::Off,
        powering_up: false,
        power_up_asked: false,
        powering_down: matches!(n.power, Power::GoingOff { .. }),
        power_down_asked: matches!(n.power, Power::OffAsked { .. }),
        completing,
        address: n.address.map(|a| a.0),
    }
}

/// The record an update names; an array's task is split off first.
fn find(t: &mut Tables, text: &str) -> Option<u32> {
    let Some((array, task)) = text.split_once('_') else { return text.parse().ok() };
    if task.starts_with('[') {
        // All pending tasks at once: their common record.
        return array.parse().ok();
    }
    let (array, task): (u32, u32) = (array.parse().ok()?, task.parse().ok()?);
    if let Some(j) = t.jobs.values().find(|j| j.array == array && j.task == Some(task)) {
        return Some(j.id);
    }
    let meta = t.jobs.get_mut(&array)?;
    if !meta.rest.remove(&task) {
        return None;
    }
    let mut one = meta.clone();
    if meta.rest.is_empty() {
        // The last task keeps the record.
        meta.task = Some(task);
        return Some(array);
    }
    t.next += 1;
    one.id = t.next;
    one.rest.clear();
    one.task = Some(task);
    let id = one.id;
    t.jobs.insert(id, one);
    Some(id)
}

impl Controller for Seat {
    fn jobs(&self) -> Result<Changed<JobRecord>, SlurmError> {
        self.changed(0, |t| t.jobs.values().map(record).collect())
    }
    fn jobs_of(&self, uid: u32) -> Result<Vec<JobRecord>, SlurmError> {
        Ok(self.enter("")?.jobs.values().filter(|j| j.uid == uid).map(record).collect())
    }
    fn nodes(&self) -> Result<Changed<NodeRecord>, SlurmError> {
        self.changed(1, |t| {
            let all = t.nodes.iter();
            all.map(|(name, n)| NodeRecord {
                name: name.clone(),
                view: view(n, &t.jobs),
                cloud: true,
                cpus: 192,
                memory_mib: 700_000,
            })
            .collect()
        })
    }
    fn partitions(&self) -> Result<Vec<PartitionRecord>, SlurmError> {
        Ok(Vec::new())
    }
    fn licences(&self) -> Result<BTreeMap<String, u32>, SlurmError> {
        Ok(BTreeMap::new())
    }
    fn conf(&self) -> Result<SlurmConf, SlurmError> {
        Ok(SlurmConf::default())
    }
    fn update_job(&self, job: &str, update: &JobUpdate) -> Result<(), SlurmError> {
        let mut t = self.enter("an update of a job")?;
        let id = find(&mut t, job).ok_or_else(|| err(2017, "Invalid job id specified"))?;
        t.version += 1;
        let j = t.jobs.get_mut(&id).ok_or_else(|| err(2017, "Invalid job id specified"))?;
        if j.is_over() {
            return Err(err(2021, "Job/step already completing or completed"));
        }
        let pending = j.state == State::Pending;
        let needs = update.priority.is_some() || update.req_nodes.is_some() || update.partition.is_some();
        if needs && !pending {
            return Err(err(2028, "Job is no longer pending execution"));
        }
        if let Some(c) = &update.comment {
            j.comment.clone_from(c);
        }
        if let Some(p) = &update.partition {
            j.partition.clone_from(p);
        }
        if let Some(r) = &update.req_nodes {
            j.req = r.split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect();
        }
        match update.priority {
            Some(0) => {
                if !j.held {
                    self.slurm.note(format!("job {} is held", j.text()));
                }
                j.held = true;
                j.held_admin = true;
            }
            Some(u32::MAX) => {
                j.held = false;
                j.held_admin = false;
            }
            Some(_) if j.held => return Err(err(2000, "ignore priority reset request on held JobId")),
            _ => {}
        }
        Ok(())
    }
    fn set_addresses(&self, names: &str, addresses: &str, _: &str) -> Result<(), SlurmError> {
        let now = self.slurm.dice.true_ms();
        let mut t = self.enter("addresses")?;
        self.slurm.note(format!("NodeAddr {names} {addresses}"));
        t.version += 1;
        for (name, address) in names.split(',').zip(addresses.split(',')) {
            let n = t.nodes.get_mut(name).ok_or_else(|| err(2039, "Invalid node name specified"))?;
            n.address = address.parse().ok().map(|ip| (ip, now));
        }
        Ok(())
    }
    fn power_down(&self, names: &str) -> Result<(), SlurmError> {
        let now = self.slurm.dice.true_ms();
        let mut t = match self.enter("POWER_DOWN_FORCE") {
            Ok(t) => t,
            Err(e) => {
                self.slurm.tables().excused.extend(names.split(',').map(str::to_owned));
                return Err(e);
            }
        };
        self.slurm.note(format!("POWER_DOWN_FORCE {names}"));
        t.version += 1;
        let mut killed = BTreeSet::new();
        for name in names.split(',').filter(|n| !n.is_empty()) {
            let n = t.nodes.get_mut(name).ok_or_else(|| err(2039, "Invalid node name specified"))?;
            if !matches!(n.power, Power::Off | Power::GoingOff { .. } | Power::OffAsked { .. }) {
                n.power = Power::OffAsked { at: now };
                killed.extend(n.job);
            }
        }
        for id in killed {
            if let Some(j) = t.jobs.get(&id)
                && j.state == State::Running
                && !t.ghosts.contains(&id)
            {
                let text = format!("job {} was killed by POWER_DOWN_FORCE", j.text());
                self.slurm.broke(text);
            }
            self.slurm.finish(&mut t, id, 7);
        }
        Ok(())
    }
    fn cancel(&self, job: &str) -> Result<(), SlurmError> {
        let id =
            find(&mut *self.enter("scancel")?, job).ok_or_else(|| err(2017, "Invalid job id specified"))?;
        self.slurm.cancel(id);
        Ok(())
    }
    fn active(&self) -> bool {
        self.passive_since.load(Ordering::Relaxed) == 0
    }
    fn decode(&self, _: &str) -> Result<Credential, String> {
        Err("no munge here".into())
    }
    fn log(&self, loud: Loud, text: &str) {
        if loud != Loud::Debug {
            self.slurm.laws.note(self.slurm.dice.passed_ms(), format!("engine {text}"));
        }
    }
}
