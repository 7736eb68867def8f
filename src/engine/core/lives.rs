//! Lives that are over: their reports, their cost, their record.
//!
//! Terminating waits for none of this: a life is recorded when every node that served has reported, or `report_grace`
//! after Slurm has cleared COMPLETING, whichever comes first, and not before its gang is given back.

use super::{Core, Event};
use crate::{
    controller::Loud,
    journal::lives::{Past, Row},
    record,
    shared::Msg,
};
use burst_plan::{MicroUsd, report::NodeReport};
use burst_policy::{
    gang::{Gang, Phase, Seen, Stage},
    ledger,
    life::{Life, Purpose},
    track,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// (gang key as [`Life::key`] writes it, restart).
pub(crate) type Key = (String, u32);

/// Pause after a journal that did not take a row, ms.
const AGAIN_MS: u64 = 5_000;
/// Ended lives kept in memory for `explain`, without their long parts.
const RECENT: usize = 500;
/// Pause between looks at the directory of records for what is too old or too much, ms.
const SWEEP_MS: u64 = 600_000;

/// What the engine tells itself about lives.
#[derive(Debug)]
pub enum LifeEvent {
    /// What the journal has of before.
    Past(Result<Past, String>),
    /// A life's row is on disk.
    Kept(Key),
    /// A node's report is on disk.
    Came {
        /// Gang key and restart.
        key: Key,
        /// Node.
        node: String,
        /// Length of the report.
        bytes: u64,
    },
    /// A record was written, or could not be.
    Recorded {
        /// The life as it was written.
        life: Box<Life>,
        /// Its row is on disk.
        saved: bool,
        /// What hindered the files.
        trouble: Option<String>,
    },
}

/// A life that waits for its record.
#[derive(Debug)]
pub(crate) struct Open {
    pub life: Box<Life>,
    due_ms: u64,
    busy: bool,
}

/// What came of one life's nodes.
#[derive(Debug, Default)]
pub(crate) struct Came {
    pub nodes: BTreeSet<String>,
    pub bytes: u64,
}

/// Lives that are over.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    pub open: BTreeMap<Key, Open>,
    pub came: BTreeMap<Key, Came>,
    /// By gang key: the latest, and in the order in which they were over.
    recent: BTreeMap<String, Box<Life>>,
    order: std::collections::VecDeque<String>,
    /// The journal was asked, and has answered.
    asked: bool,
    pub known: bool,
    retry_ms: u64,
    swept_ms: u64,
    told: String,
    pub recorded: u64,
    pub without_reports: u64,
}

impl Lives {
    /// The last life of a gang that is over.
    pub fn last(&self, gang: &str) -> Option<&Life> {
        let open = self.open.values().map(|o| &*o.life).filter(|l| l.gang == gang);
        open.max_by_key(|l| (l.restart, l.again)).or_else(|| self.recent.get(gang).map(|l| &**l))
    }

    fn keep(&mut self, mut life: Box<Life>) {
        life.instances = Vec::new();
        life.reports = Vec::new();
        let key = life.gang.clone();
        if self.recent.insert(key.clone(), life).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.recent.remove(&oldest);
        }
    }

    /// When something is to be done, Unix ms.
    pub fn next(&self) -> u64 {
        let open = self.open.values().filter(|o| !o.busy).map(|o| o.due_ms).min().unwrap_or(u64::MAX);
        match (self.known, self.asked) {
            (true, _) => open,
            (false, true) => u64::MAX,
            (false, false) => self.retry_ms,
        }
    }
}

/// In which Region a life was: its instances' own, where one was abroad.
fn place(life: &mut Life, home: &str) {
    home.clone_into(&mut life.region);
    if life.instances.iter().all(|ran| ran.region.is_none()) {
        return;
    }
    for ran in &mut life.instances {
        ran.region.get_or_insert_with(|| home.to_owned());
    }
    let served = life.served().next().and_then(|ran| ran.region.clone());
    life.region = served.unwrap_or_else(|| home.to_owned());
}

/// Nodes the job ran on.
fn served(life: &Life) -> impl Iterator<Item = &str> {
    life.served().map(|i| i.node.as_str())
}

impl Core {
    /// Looks at what has become of a gang; a life that is over with it is kept at once, before the gang's own document
    /// forgets it.
    pub(super) fn observe(&mut self, before: &Gang, gang: &mut Gang, seen: &Seen, now: u64) {
        if before.phase.label() != gang.phase.label() || before.won != gang.won {
            self.money.changed();
        }
        let Some(mut life) = track::observe(before, gang, seen, now) else { return };
        let snapshot = self.hands.shared.snapshot.load();
        if let Some(config) = &snapshot.config {
            place(&mut life, &config.aws.region);
        }
        life.plugin_version = env!("CARGO_PKG_VERSION").to_owned();
        life.slurm_version.clone_from(&snapshot.slurm_version);
        let grace =
            snapshot.config.as_ref().and_then(|c| c.pools.get(&life.pool)).map_or(10, |p| p.report_grace.0);
        let due_ms = life.cleared_ms.unwrap_or(now).saturating_add(grace.saturating_mul(1_000)).max(now);
        drop(snapshot);
        let key = (life.key(), life.restart);
        match self.hands.journal.post_life(row(&life, true)) {
            Ok(word) => {
                let (sender, key) = (self.sender.clone(), key.clone());
                self.hands.host.spawn(async move {
                    // One that could not be written stays with its gang until its record is.
                    if matches!(word.await, Ok(Ok(_))) {
                        // The core lives as long as the process.
                        let event = Event::Life(LifeEvent::Kept(key));
                        let _ = sender.send(Msg::Internal(Box::new(event))).await;
                    }
                });
            }
            Err(error) => tracing::error!(gang_id = %life.gang, %error, "a life could not be written"),
        }
        self.lives.open.insert(key, Open { life, due_ms, busy: false });
    }

    /// Lives that an earlier engine owed the ledger.
    pub(super) fn take_over(&mut self, gang: &Gang) {
        let due_ms = self.now() + AGAIN_MS;
        for life in &gang.track.owed {
            let open = Open { life: Box::new(life.clone()), due_ms, busy: false };
            self.lives.open.entry((life.key(), life.restart)).or_insert(open);
        }
    }

    /// A life's row is on disk: its gang need not carry it any more.
    fn kept(&mut self, key: &Key) {
        let gang = key.0.split('~').next().unwrap_or_default();
        let Some(slot) = self.slots.get_mut(gang) else { return };
        let before = slot.gang.track.owed.len();
        slot.gang.track.owed.retain(|l| (l.key(), l.restart) != *key);
        if slot.gang.track.owed.len() < before {
            self.unsaved.0.insert(key.0.clone());
        }
    }

    /// Records what waits no longer.
    pub(super) fn record_lives(&mut self, now: u64) {
        self.ask_past(now);
        self.look_at_money(now);
        // What was recorded before must not be recorded again without its reports.
        if !self.lives.known {
            return;
        }
        let came = &self.lives.came;
        let all_there = |key: &Key, o: &Open| match came.get(key) {
            Some(c) => served(&o.life).all(|n| c.nodes.contains(n)),
            None => served(&o.life).next().is_none(),
        };
        let due: Vec<Key> = self
            .lives
            .open
            .iter()
            .filter(|(key, o)| !o.busy && (o.due_ms <= now || all_there(key, o)))
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.record(&key, now);
        }
    }

    fn ask_past(&mut self, now: u64) {
        if self.lives.known || self.lives.asked || now < self.lives.retry_ms {
            return;
        }
        self.lives.asked = true;
        let (journal, sender) = (self.hands.journal.clone(), self.sender.clone());
        let since = burst_policy::spending::days(now).1 * 86_400_000;
        self.hands.host.spawn(async move {
            let past = journal.past(since).await.map_err(|e| e.to_string());
            // The core lives as long as the process.
            let _ = sender.send(Msg::Internal(Box::new(Event::Life(LifeEvent::Past(past))))).await;
        });
    }

    fn record(&mut self, key: &Key, now: u64) {
        let Some(open) = self.lives.open.get_mut(key) else { return };
        open.busy = true;
        let (mut life, hands, sender) = (open.life.clone(), self.hands.clone(), self.sender.clone());
        let sweep = now >= self.lives.swept_ms.saturating_add(SWEEP_MS);
        if sweep {
            self.lives.swept_ms = now;
        }
        self.hands.host.spawn(async move {
            let mut saved = false;
            let mut trouble = None;
            match hands.journal.reports(life.key(), life.restart).await {
                Ok(docs) => {
                    complete(&mut life, &docs, &hands);
                    saved = match hands.journal.post_life(row(&life, false)) {
                        Ok(word) => matches!(word.await, Ok(Ok(_))),
                        Err(_) => false,
                    };
                    if saved {
                        hands.budget.settle_life(&hands, &life).await;
                    }
                }
                Err(e) => tracing::warn!(gang_id = %life.gang, error = %e, "reports could not be read"),
            }
            let config = hands.shared.snapshot.load().config.as_ref().map(|c| c.record.clone());
            if saved
                && let Some(config) = config.filter(|c| c.enabled)
                && hands.controller.active()
            {
                let (copy, now_ms) = (life.clone(), hands.host.now_ms());
                let wrote = hands.host.block(move || record::write(&config, &copy, now_ms, sweep)).await;
                trouble = wrote.and_then(|w| w).err();
            }
            let event = Event::Life(LifeEvent::Recorded { life, saved, trouble });
            // The core lives as long as the process.
            let _ = sender.send(Msg::Internal(Box::new(event))).await;
        });
    }

    pub(super) fn life_event(&mut self, event: LifeEvent) {
        match event {
            LifeEvent::Past(Ok(past)) => self.saw_past(past),
            LifeEvent::Past(Err(error)) => {
                tracing::warn!(error, "the ledger could not be read");
                self.lives.asked = false;
                self.lives.retry_ms = self.now() + AGAIN_MS;
            }
            LifeEvent::Kept(key) => self.kept(&key),
            LifeEvent::Came { key, node, bytes } => {
                let came = self.lives.came.entry(key).or_default();
                if came.nodes.insert(node) {
                    came.bytes = came.bytes.saturating_add(bytes);
                }
            }
            LifeEvent::Recorded { life, saved, trouble } => self.recorded(life, saved, trouble),
        }
    }

    fn saw_past(&mut self, past: Past) {
        self.lives.known = true;
        let now = self.now();
        for doc in past.open {
            match serde_json::from_str::<Box<Life>>(&doc) {
                Ok(life) => {
                    // Reports on their way get what a grace is at least.
                    let open = Open { life, due_ms: now + AGAIN_MS, busy: false };
                    let key = (open.life.key(), open.life.restart);
                    self.lives.open.entry(key).or_insert(open);
                }
                Err(error) => tracing::error!(%error, "a row of the ledger cannot be read and is skipped"),
            }
        }
        for (gang, restart, node, bytes) in past.reports {
            self.life_event(LifeEvent::Came { key: (gang, restart), node, bytes });
        }
        for doc in past.recent.iter().rev() {
            if let Ok(life) = serde_json::from_str::<Box<Life>>(doc) {
                let key = (life.key(), life.restart);
                self.lives.open.remove(&key);
                self.kept(&key);
                self.lives.keep(life);
            }
        }
        self.money.past(past.days);
    }

    fn recorded(&mut self, life: Box<Life>, saved: bool, trouble: Option<String>) {
        let key = (life.key(), life.restart);
        let now = self.now();
        if !saved {
            if let Some(open) = self.lives.open.get_mut(&key) {
                (open.busy, open.due_ms) = (false, now + AGAIN_MS);
            }
            return;
        }
        self.lives.open.remove(&key);
        self.lives.came.remove(&key);
        self.kept(&key);
        self.lives.recorded += 1;
        self.lives.without_reports += u64::from(!life.missing.is_empty());
        self.money.spent(&life);
        let cost = life.cost.total.map_or_else(|| format!("at least {}", life.cost.known), |t| t.to_string());
        let missing = match life.missing.len() {
            0 => String::new(),
            n => format!("; no report of {n} nodes"),
        };
        let wasted =
            life.cost.wasted.filter(|w| w.0 > 0).map_or(String::new(), |w| format!(", {w} of it wasted"));
        let text = format!("job {} gang {}: cost {cost} USD{wasted}{missing}", life.text, life.gang);
        self.hands.controller.log(Loud::Info, &text);
        let trouble = trouble.unwrap_or_default();
        if trouble != self.lives.told {
            if !trouble.is_empty() {
                let text =
                    format!("records cannot be written: {trouble}; the ledger has the figures ([record])");
                self.hands.controller.log(Loud::Error, &text);
            }
            self.lives.told = trouble;
        }
        self.lives.keep(life);
    }
}

/// An instance that EC2 does not list so long after it was granted is gone (as for [`super::VISIBLE_MS`]): nobody here
/// has ended it while its gang is not being given back.
pub(super) fn miss(gang: &mut Gang, at_ms: u64, ids: &HashSet<String>) {
    let ours = match &gang.phase {
        Phase::Ending { stage, .. } => !matches!(stage, Stage::Epilog { .. }),
        _ => false,
    };
    if ours {
        return;
    }
    for m in gang.members.iter_mut().filter(|m| m.lost_ms.is_none()) {
        if m.granted_ms + super::VISIBLE_MS <= at_ms && !ids.contains(&m.instance) {
            m.lost_ms = Some(at_ms);
        }
    }
}

/// Reports and prices.
fn complete(life: &mut Life, docs: &[String], hands: &crate::effects::Hands) {
    let nodes: BTreeSet<String> = served(life).map(str::to_owned).collect();
    let reports: Vec<NodeReport> = docs.iter().filter_map(|d| serde_json::from_str(d).ok()).collect();
    life.missing = nodes.iter().filter(|n| !reports.iter().any(|r| r.node == **n)).cloned().collect();
    life.reports = reports;
    let snapshot = hands.shared.snapshot.load();
    let root_gib = snapshot.config.as_ref().and_then(|c| c.pools.get(&life.pool)).and_then(|p| p.root_gib);
    ledger::price(life, &snapshot.prices, root_gib);
}

fn row(life: &Life, open: bool) -> Row {
    // A life is made of texts, numbers and lists: it can always be written.
    let doc = serde_json::to_string(life).unwrap_or_default();
    Row {
        gang: life.key(),
        restart: life.restart,
        job: life.text.clone(),
        user: life.user.clone(),
        account: life.account.clone(),
        pool: life.pool.clone(),
        began_ms: life.phases.started_ms,
        ended_ms: life.phases.done_ms.unwrap_or(0),
        cost: life.cost.known.0,
        open,
        doc,
    }
}

/// What a gang has cost that is not over, as far as it can be said now: instances of its failed attempts.
pub(crate) fn wasted_so_far(gang: &Gang) -> MicroUsd {
    let Some(hourly) = gang.track.rung.as_ref().and_then(|r| r.hourly) else { return MicroUsd(0) };
    let spent = gang.track.spent.iter().filter(|r| r.purpose != Purpose::Served);
    spent.filter_map(ledger::billed_s).map(|s| hourly.hourly_for(s)).fold(MicroUsd(0), MicroUsd::plus)
}
