//! The one task that owns every gang.
//!
//! It takes messages, lets the state machine decide and starts effects; it never waits for one. A gang has at most one
//! effect under way. Snapshots of Slurm are taken by blocking threads, as often as somebody waits for them.

mod adopt;
mod arrays;
pub mod ask;
mod beside;
mod budget;
mod licences;
pub mod lives;
mod money;
mod names;
pub mod operate;
mod owners;
mod poll;
pub mod reports;
mod strays;
mod wakes;

use crate::{
    controller::{Changed, JobRecord, NodeRecord, SlurmError},
    effects::{self, Done, Hands},
    shared::{Intake, Msg},
    world::World,
};
use burst_policy::{
    gang::{Effect, Gang, NodeView, Phase, Seen, done, step},
    memory::Memory,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    time::Duration,
};
use tokio::sync::{mpsc, watch};

pub use ask::{Answer, Question};
pub use poll::tag_of;

/// What the engine tells itself.
#[derive(Debug)]
pub enum Event {
    /// A look at the job table, begun at `at_ms`; of one user or of all.
    Jobs {
        /// Unix ms.
        at_ms: u64,
        /// One user's, or everybody's.
        uid: Option<u32>,
        /// What it found.
        found: Result<Changed<JobRecord>, SlurmError>,
    },
    /// A look at the node table.
    Nodes {
        /// Unix ms.
        at_ms: u64,
        /// What it found.
        found: Result<Changed<NodeRecord>, SlurmError>,
    },
    /// A look at the licences.
    Licences(Result<BTreeMap<String, u32>, SlurmError>),
    /// An effect ended.
    Done {
        /// Gang key.
        key: String,
        /// Which.
        effect: Box<Effect>,
        /// How.
        done: Done,
    },
    /// All instances of the cluster that EC2 still has, listed from `at_ms` on.
    Cloud {
        /// Unix ms.
        at_ms: u64,
        /// Where; None: `aws.region`.
        region: Option<String>,
        /// Ids of those that run or begin to.
        ids: HashSet<String>,
    },
    /// Names that a gang gave up, once its document says so on disk: after a restart an older one would take them back.
    Free {
        /// Gang key.
        key: String,
        /// Which.
        names: Vec<String>,
        /// Whether it was written.
        saved: bool,
    },
    /// What all gangs go by has changed: stops, burst.toml, the journal's disk.
    Reconsider,
    /// What could not wait beside a gang's TerminateInstances was done, or could not be.
    Beside {
        /// Gang key.
        key: String,
        /// It was the job's hold.
        hold: bool,
        /// Slurm's answer.
        ok: Result<(), SlurmError>,
    },
    /// Something about lives that are over.
    Life(lives::LifeEvent),
    /// An effect on an array's record ended.
    ArrayDone {
        /// Gang id.
        key: String,
        /// Slurm's answer.
        ok: Result<(), SlurmError>,
    },
}

/// A gang and what is known around it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub gang: Gang,
    pub busy: Option<Effect>,
    pub seen: Seen,
    /// When the last effect ended, Unix ms.
    pub effect_ms: u64,
    /// A look at its job came while an effect was under way.
    pub missed: bool,
    /// Not looked at before this for its own time's sake, Unix ms.
    pub again_ms: u64,
    /// What was done beside its TerminateInstances.
    pub beside: beside::Beside,
}

impl Slot {
    pub(crate) fn new(gang: Gang, seen: Seen) -> Self {
        Self {
            gang,
            busy: None,
            seen,
            effect_ms: 0,
            missed: false,
            again_ms: 0,
            beside: beside::Beside::default(),
        }
    }
}

/// The state of the engine.
pub struct Core {
    pub(crate) hands: Hands,
    sender: mpsc::Sender<Msg>,
    pub(crate) slots: BTreeMap<String, Slot>,
    pub(crate) arrays: BTreeMap<String, arrays::Array>,
    /// Arrays that an earlier engine was done with.
    pub(crate) past_arrays: BTreeMap<String, Gang>,
    pub(crate) nodes: HashMap<String, NodeView>,
    pub(crate) nodes_at_ms: u64,
    pub(crate) taken: HashSet<String>,
    /// Names on their way to being free, by gang.
    freeing: BTreeMap<String, BTreeSet<String>>,
    /// Places without capacity.
    pub(crate) memory: Memory,
    pub(crate) lead: HashMap<String, u64>,
    /// Gangs to be looked at in the next round.
    dirty: BTreeSet<String>,
    /// Those of this round that were not looked at yet.
    round: VecDeque<String>,
    /// Gangs whose members have said something that is not on disk yet, and when that was written last, Unix ms.
    unsaved: (BTreeSet<String>, u64),
    polls: poll::Polls,
    pub(crate) licences: licences::Licences,
    jitter: u64,
    nodes_changed: watch::Sender<u64>,
    pub(crate) strangers: HashSet<String>,
    /// Gangs that the journal lost and whose jobs run.
    pub(crate) lost_running: HashSet<String>,
    /// The whole job table was read since the start.
    pub(crate) looked: bool,
    strays: strays::Strays,
    pub(crate) operators: operate::Operators,
    pub(crate) lives: lives::Lives,
    pub(crate) money: money::Money,
    pub(crate) born_ms: u64,
}

/// An instance that EC2 does not list so long after it was granted is gone (DescribeInstances is eventually
/// consistent), ms.
const VISIBLE_MS: u64 = 30_000;
/// Pause between writes of what members say, ms.
const SAVE_MS: u64 = 200;
/// Gangs looked at before other messages have their turn.
const TURN: usize = 256;
/// Ended gangs kept in memory for `explain`.
const KEEP_ENDED: usize = 500;

impl Core {
    /// A core with the gangs of before.
    #[must_use]
    pub fn new(
        hands: Hands,
        sender: mpsc::Sender<Msg>,
        docs: Vec<Gang>,
        changed: watch::Sender<u64>,
    ) -> Self {
        let now = hands.host.now_ms();
        let mut core = Self {
            hands,
            sender,
            slots: BTreeMap::new(),
            arrays: BTreeMap::new(),
            past_arrays: BTreeMap::new(),
            nodes: HashMap::new(),
            nodes_at_ms: 0,
            taken: HashSet::new(),
            freeing: BTreeMap::new(),
            memory: Memory::default(),
            lead: HashMap::new(),
            dirty: BTreeSet::new(),
            round: VecDeque::new(),
            unsaved: (BTreeSet::new(), 0),
            polls: poll::Polls::default(),
            licences: licences::Licences::default(),
            jitter: now | 1,
            nodes_changed: changed,
            strangers: HashSet::new(),
            lost_running: HashSet::new(),
            looked: false,
            strays: strays::Strays::default(),
            operators: operate::Operators::default(),
            lives: lives::Lives::default(),
            money: money::Money::default(),
            born_ms: now,
        };
        for gang in docs {
            core.adopt(gang);
        }
        core.publish();
        core
    }

    /// A node as the last snapshot shows it. Slurm hides CLOUD nodes that are powered down (unless PrivateData=cloud): a
    /// name that is not shown is down (that slurm.conf has all names is checked with the partitions).
    pub(crate) fn node_view(&self, name: &str) -> NodeView {
        let down = NodeView { idle: true, powered_down: true, ..NodeView::default() };
        self.nodes.get(name).cloned().unwrap_or(down)
    }

    /// Unix ms.
    pub(crate) fn now(&self) -> u64 {
        self.hands.host.now_ms()
    }

    /// Runs for ever (until the queue's last sender is gone).
    pub async fn run(mut self, mut receiver: mpsc::Receiver<Msg>) {
        loop {
            let now = self.now();
            self.start_polls(now);
            self.write_unsaved(now);
            self.record_lives(now);
            let mut again = 0;
            // Other messages want their turn, too.
            while again < TURN
                && let Some(key) = self.next_dirty()
            {
                self.advance(&key, now);
                again += 1;
            }
            let next = self.next_wake(now);
            // In a fixed order: the queue first, so that nothing waits behind a timer.
            tokio::select! {
                biased;
                msg = receiver.recv() => {
                    let Some(msg) = msg else { return };
                    self.take(msg);
                    for _ in 0..128 {
                        match receiver.try_recv() {
                            Ok(m) => self.take(m),
                            Err(_) => break,
                        }
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(next)) => self.wake_due(self.now()),
            }
        }
    }

    /// The next gang to be looked at: round after round, each in the order of submission, so that who asks first is launched
    /// first and the youngest has its turn, too.
    fn next_dirty(&mut self) -> Option<String> {
        if self.round.is_empty() {
            let mut keys: Vec<String> = std::mem::take(&mut self.dirty).into_iter().collect();
            let slots = &self.slots;
            keys.sort_by_cached_key(|k| {
                slots.get(k).map(|s| (s.gang.born_ms, s.gang.id.clone(), s.gang.task))
            });
            self.round = keys.into();
        }
        let key = self.round.pop_front()?;
        self.dirty.remove(&key);
        Some(key)
    }

    /// What members said, gathered: a gang of a thousand is not written a thousand times.
    fn write_unsaved(&mut self, now: u64) {
        if self.unsaved.0.is_empty() || now < self.unsaved.1 + SAVE_MS {
            return;
        }
        self.unsaved.1 = now;
        for key in std::mem::take(&mut self.unsaved.0) {
            if let Some(slot) = self.slots.get(&key) {
                effects::save_behind(&self.hands, &slot.gang);
            }
        }
    }

    fn take(&mut self, msg: Msg) {
        match msg {
            Msg::Intake(i) => self.intake(*i),
            Msg::UserHold { uid, job, tasks, hold } => self.user_hold(uid, job, &tasks, hold),
            Msg::Internal(e) => self.event(*e),
            Msg::Ask(q, reply) => {
                let answer = match *q {
                    Question::JobReport(r) => return self.job_report(*r, reply),
                    q => self.answer(q),
                };
                // Who asked may have hung up.
                let _ = reply.send(answer);
            }
        }
    }

    fn intake(&mut self, intake: Intake) {
        let mut gang = intake.gang();
        let array = gang.geometry.array.is_some();
        gang.user = gang.uid.to_string();
        // On disk at once: slurmctld saves the job itself only seconds later.
        effects::save_behind(&self.hands, &gang);
        self.polls.expect(gang.uid, self.now());
        if array {
            self.arrays.insert(gang.id.clone(), arrays::Array::new(gang));
        } else {
            self.adopt(gang);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Jobs { at_ms, uid, found } => self.saw_jobs(at_ms, uid, found),
            Event::Nodes { at_ms, found } => self.saw_nodes(at_ms, found),
            Event::Done { key, effect, done } => self.effect_done(&key, &effect, done),
            Event::Beside { key, hold, ok } => self.beside_done(&key, hold, ok),
            Event::Life(e) => self.life_event(e),
            Event::ArrayDone { key, ok } => self.array_done(&key, ok),
            Event::Free { key, names, saved } => self.free(&key, names, saved),
            Event::Licences(found) => self.saw_licences(found),
            Event::Cloud { at_ms, region, ids } => self.saw_cloud(at_ms, region.as_deref(), &ids),
            Event::Reconsider => self.reconsider(),
        }
    }

    /// An instance that EC2 has ended will never register: the boot limit need not be waited for.
    fn saw_cloud(&mut self, at_ms: u64, region: Option<&str>, ids: &HashSet<String>) {
        // A Region says nothing of gangs that are in another one.
        for (key, slot) in &mut self.slots {
            if slot.gang.region.as_deref() != region {
                continue;
            }
            lives::miss(&mut slot.gang, at_ms, ids);
            if !matches!(slot.gang.phase, Phase::Booting { .. }) {
                continue;
            }
            for m in &mut slot.gang.members {
                let old = m.granted_ms + VISIBLE_MS <= at_ms;
                if old && !ids.contains(&m.instance) && m.failed.is_none() {
                    m.failed = Some("EC2 has ended the instance".to_owned());
                    self.dirty.insert(key.clone());
                }
            }
        }
    }

    fn effect_done(&mut self, key: &str, effect: &Effect, outcome: Done) {
        let now = self.now();
        let Some(mut slot) = self.slots.remove(key) else { return };
        slot.busy = None;
        slot.effect_ms = now;
        let held: Vec<String> = slot.gang.all_names().cloned().collect();
        let refused = matches!(outcome.outcome, burst_policy::gang::Outcome::Failed(_));
        // A refusal of Slurm's often means that the job is not what it was.
        let launched = matches!(effect, Effect::Launch { .. });
        if (launched || refused) && matches!(slot.seen, Seen::Is(_)) {
            // What was seen before is not what Slurm or EC2 went by.
            slot.seen = Seen::Unknown;
        }
        if std::mem::take(&mut slot.missed) || refused || launched {
            self.polls.expect(slot.gang.uid, now + 1);
        }
        if let Some(group) = outcome.group {
            slot.gang.group = Some(group);
        }
        let ok = !matches!(outcome.outcome, burst_policy::gang::Outcome::Failed(_));
        if let Seen::Is(view) = &mut slot.seen {
            // What we did is true at once; an older snapshot must not deny it.
            match effect {
                Effect::Hold { .. } if ok => {
                    view.held = true;
                    view.held_admin = true;
                }
                Effect::Release { .. } if ok => view.held = false,
                Effect::MoveLocal { partition, .. } if ok => {
                    view.held = false;
                    view.partition.clone_from(partition);
                }
                _ => {}
            }
        }
        let snapshot = self.hands.shared.snapshot.load_full();
        let world = World {
            core: self,
            snapshot: &snapshot,
            seen: slot.seen.clone(),
            effect_ms: now,
            jitter: self.jitter % 1000,
            own: None,
        };
        let before = slot.gang.clone();
        let dry = done(&mut slot.gang, effect, outcome.outcome, &world, now);
        let grouped = world.grouped(&slot.gang);
        self.observe(&before, &mut slot.gang, &slot.seen, now);
        self.after(&slot.gang, before.phase.label());
        self.alarm(&slot.gang);
        if launched && let Some(e) = slot.gang.last_error.as_ref().filter(|e| e.at_ms == now) {
            self.hands.prepare.forget(&e.code, slot.gang.group.as_deref());
        }
        if let Some(rung) = dry {
            let spans = snapshot.config.as_ref().map(|c| c.capacity).unwrap_or_default();
            self.memory.failed(&rung, grouped, spans, now);
        } else if let (Effect::Launch { rung, .. }, Phase::Granted { .. }) = (effect, &slot.gang.phase) {
            self.memory.won(rung, grouped);
        }
        if *effect == Effect::TellAddresses && ok {
            // Instances that wait for their names.
            self.nodes_changed.send_modify(|n| *n += 1);
        }
        self.give_names_back(&slot.gang, held);
        if matches!(effect, Effect::Launch { .. })
            && !matches!(
                slot.gang.phase,
                Phase::Launching { .. } | Phase::Granted { .. } | Phase::Ending { .. }
            )
        {
            self.hands.prepare.release_of(key);
            slot.gang.group = None;
        }
        self.put(key, slot);
    }

    fn put(&mut self, key: &str, slot: Slot) {
        if slot.gang.is_living() {
            self.dirty.insert(key.to_owned());
        }
        self.taken.extend(slot.gang.all_names().cloned());
        self.slots.insert(key.to_owned(), slot);
    }

    /// Lets one gang go as far as it can.
    fn advance(&mut self, key: &str, now: u64) {
        let Some(mut slot) = self.slots.remove(key) else { return };
        // Names are not free while a power-down of them is under way: it would hit the next gang's.
        if slot.busy.is_some() || slot.beside.busy || !slot.gang.is_living() {
            self.slots.insert(key.to_owned(), slot);
            return;
        }
        self.jitter =
            self.jitter.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let snapshot = self.hands.shared.snapshot.load_full();
        let before = slot.gang.clone();
        let world = World {
            core: self,
            snapshot: &snapshot,
            seen: slot.seen.clone(),
            effect_ms: slot.effect_ms.max(slot.beside.ended_ms),
            jitter: (self.jitter >> 33) % 1000,
            own: Some(&before),
        };
        let effect = step(&mut slot.gang, &world, now);
        self.observe(&before, &mut slot.gang, &slot.seen, now);
        self.give_names_back(&slot.gang, before.all_names().cloned().collect());
        self.taken.extend(slot.gang.all_names().cloned());
        self.after(&slot.gang, before.phase.label());
        self.settle_unlaunched(&mut slot.gang);
        let settled =
            matches!(before.phase, Phase::Ending { .. }) && !matches!(slot.gang.phase, Phase::Ending { .. });
        if settled {
            self.hands.prepare.release_of(key);
        }
        slot.again_ms = wakes::again(&slot.gang, effect.as_ref(), now);
        let changed = slot.gang != before;
        let hands = self.hands.clone();
        match effect {
            Some(effect) => {
                slot.busy = Some(effect.clone());
                let (gang, key, sender) = (slot.gang.clone(), key.to_owned(), self.sender.clone());
                self.hands.host.spawn(async move {
                    let done = effects::execute(&hands, &gang, &effect).await;
                    let event = Event::Done { key, effect: Box::new(effect), done };
                    // The core lives as long as the process.
                    let _ = sender.send(Msg::Internal(Box::new(event))).await;
                });
            }
            None if changed => effects::save_behind(&hands, &slot.gang),
            None => {}
        }
        let ended = !slot.gang.is_living();
        let new_job = slot.gang.job != before.job;
        if ended && slot.gang.task.is_some() {
            // The array's next task may be launched, although nothing changes in the job table.
            self.polls.expect(slot.gang.uid, now);
        }
        self.slots.insert(key.to_owned(), slot);
        if ended {
            self.prune();
        }
        if ended || new_job {
            self.publish();
        }
    }

    /// What a change of phase means beyond the gang.
    fn after(&mut self, gang: &Gang, before: &'static str) {
        let label = gang.phase.label();
        if label == before {
            return;
        }
        if !matches!(label, "Planned" | "Waiting" | "Launching") {
            self.hands.rates.leave(&gang.key(), self.now());
        }
        let last = gang.history.last().map_or("", |e| e.text.as_str());
        tracing::info!(
            gang_id = %gang.key(), job_id = %gang.job_text(), attempt = gang.attempt, phase = label, reason = last,
            "gang"
        );
        let loud = match gang.phase {
            Phase::Failed(_) => crate::controller::Loud::Error,
            _ => crate::controller::Loud::Info,
        };
        let text = format!("job {} gang {}: {label}: {last}", gang.job_text(), gang.key());
        self.hands.controller.log(loud, &text);
        if label == "Ready"
            && let Some(planned) = gang.history.iter().rev().find(|e| e.phase == "Launching")
        {
            let took = self.now().saturating_sub(planned.at_ms) / 1000;
            let lead = self.lead.entry(gang.pool.clone()).or_insert(took);
            // A slow average: one odd boot does not move every --begin.
            *lead = (*lead * 3 + took) / 4;
        }
    }

    fn prune(&mut self) {
        let ended: Vec<(u64, String)> = self
            .slots
            .iter()
            .filter(|(_, s)| !s.gang.is_living())
            .map(|(k, s)| (s.gang.since_ms, k.clone()))
            .collect();
        if ended.len() > KEEP_ENDED {
            let mut ended = ended;
            ended.sort();
            for (_, key) in ended.iter().take(ended.len() - KEEP_ENDED) {
                self.slots.remove(key);
            }
        }
    }
}
