//! Looks at Slurm: how often, and what they mean.

use super::{Core, Event};
use crate::{
    controller::{Changed, JobRecord, NodeRecord, SlurmError},
    shared::Msg,
};
use burst_policy::gang::{Gang, JobKey, JobView, Phase, Seen, Stage};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Looks nobody waits for (ms).
const SLOW_MS: u64 = 5_000;
/// Looks while gangs live (ms).
const NORMAL_MS: u64 = 1_000;
/// Looks while a release or an ending is awaited (ms).
const BRISK_MS: u64 = 200;
/// Node looks while instances ask to start or have started (ms).
const FAST_MS: u64 = 20;
/// First and longest pause between looks for a submitted job's record (ms).
const EXPECT_MS: (u64, u64) = (1, 500);

/// When to look next.
#[derive(Debug, Default)]
pub(crate) struct Polls {
    jobs_ms: u64,
    nodes_ms: u64,
    jobs_busy: bool,
    nodes_busy: bool,
    /// uid → (next look, pause, under way).
    expected: BTreeMap<u32, (u64, u64, bool)>,
    /// How long the last look at the nodes took, ms.
    nodes_took: u64,
}

impl Polls {
    pub(super) fn expect(&mut self, uid: u32, now: u64) {
        let busy = self.expected.get(&uid).is_some_and(|e| e.2);
        self.expected.insert(uid, (now, EXPECT_MS.0, busy));
    }

    /// The same, where one that is on its way does as well.
    pub(super) fn expect_by(&mut self, uid: u32, at_ms: u64) {
        if self.expected.get(&uid).is_none_or(|e| e.2) {
            self.expect(uid, at_ms);
        }
    }

    pub(super) fn next(&self, _now: u64) -> u64 {
        let mut next = u64::MAX;
        if !self.jobs_busy {
            next = next.min(self.jobs_ms);
        }
        if !self.nodes_busy {
            next = next.min(self.nodes_ms);
        }
        for (at, _, busy) in self.expected.values() {
            if !busy {
                next = next.min(*at);
            }
        }
        next
    }
}

impl Core {
    fn job_pace(&self) -> u64 {
        let mut pace = if self.arrays.is_empty() { SLOW_MS } else { NORMAL_MS };
        for slot in self.slots.values() {
            pace = pace.min(match slot.gang.phase {
                Phase::Done => SLOW_MS,
                Phase::Released { .. } | Phase::Ending { stage: Stage::Epilog { .. }, .. } => BRISK_MS,
                _ => NORMAL_MS,
            });
        }
        pace
    }

    fn node_pace(&self) -> u64 {
        let mut pace = SLOW_MS;
        for slot in self.slots.values() {
            let gang = &slot.gang;
            pace = pace.min(match &gang.phase {
                Phase::Booting { .. } if gang.members.iter().any(|m| m.asked) => FAST_MS,
                Phase::Booting { .. } => BRISK_MS,
                Phase::Granted { .. } if gang.born_ms < self.born_ms => BRISK_MS,
                Phase::Ending { stage: Stage::Settle { .. } | Stage::PowerDown, .. } => BRISK_MS,
                Phase::Ending { stage: Stage::Terminate, .. } => NORMAL_MS,
                _ => SLOW_MS,
            });
        }
        // A big node table must not keep slurmctld busy with us.
        pace.max(self.polls.nodes_took * 4)
    }

    pub(super) fn start_polls(&mut self, now: u64) {
        let (jobs_due, nodes_due) = (self.polls.jobs_ms, self.polls.nodes_ms);
        if !self.polls.jobs_busy && jobs_due.min(now + self.job_pace()) <= now {
            self.polls.jobs_busy = true;
            self.slurm(|c| c.jobs(), |at_ms, found| Event::Jobs { at_ms, uid: None, found });
        }
        let pace = self.node_pace();
        if !self.polls.nodes_busy && nodes_due <= now {
            self.polls.nodes_busy = true;
            self.slurm(|c| c.nodes(), |at_ms, found| Event::Nodes { at_ms, found });
        } else if nodes_due > now + pace {
            self.polls.nodes_ms = now + pace;
        }
        let job_pace = self.job_pace();
        if self.polls.jobs_ms > now + job_pace {
            self.polls.jobs_ms = now + job_pace;
        }
        if !self.licences.busy && self.licences.due() <= now && self.wants_licences() {
            self.licences.busy = true;
            self.slurm(|c| c.licences(), |_, found| Event::Licences(found));
        }
        let due: Vec<u32> = self
            .polls
            .expected
            .iter()
            .filter(|(_, (at, _, busy))| !busy && *at <= now)
            .map(|(u, _)| *u)
            .collect();
        for uid in due {
            if let Some(e) = self.polls.expected.get_mut(&uid) {
                e.2 = true;
            }
            self.slurm(
                move |c| c.jobs_of(uid).map(Some),
                move |at_ms, found| Event::Jobs { at_ms, uid: Some(uid), found },
            );
        }
    }

    /// Asks or tells Slurm something on a thread that may block; the answer comes back as an event, with the time at
    /// which the call began.
    pub(super) fn slurm<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn crate::Controller) -> Result<T, SlurmError> + Send + 'static,
        event: impl FnOnce(u64, Result<T, SlurmError>) -> Event + Send + 'static,
    ) {
        let (controller, sender) = (self.hands.controller.clone(), self.sender.clone());
        let (host, clock) = (self.hands.host.clone(), self.hands.host.clone());
        self.hands.host.spawn(async move {
            let called = host.in_turn(move || (clock.now_ms(), call(&*controller))).await;
            // A call that panicked has told nothing: who waits for it must not wait for ever.
            let (at_ms, found) =
                called.unwrap_or_else(|message| (0, Err(SlurmError { code: -1, message, passing: true })));
            // The core lives as long as the process.
            let _ = sender.send(Msg::Internal(Box::new(event(at_ms, found)))).await;
        });
    }

    /// Tells Slurm something and only logs where that fails.
    pub(super) fn tell(
        &self,
        what: String,
        call: impl FnOnce(&dyn crate::Controller) -> Result<(), SlurmError> + Send + 'static,
    ) {
        let (controller, host) = (self.hands.controller.clone(), self.hands.host.clone());
        self.hands.host.spawn(async move {
            match host.in_turn(move || acting(&*controller).and_then(|()| call(&*controller))).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => tracing::warn!(what, error = %e, "Slurm refused"),
                Err(e) => tracing::error!(what, error = e, "a call of Slurm's ended badly"),
            }
        });
    }

    pub(super) fn saw_jobs(
        &mut self,
        at_ms: u64,
        uid: Option<u32>,
        found: Result<Changed<JobRecord>, SlurmError>,
    ) {
        let now = self.now();
        let (mut wanted, mut again) = (false, Vec::new());
        match uid {
            None => {
                self.polls.jobs_busy = false;
                self.polls.jobs_ms = now + self.job_pace();
            }
            Some(uid) => {
                if let Some(e) = self.polls.expected.get_mut(&uid) {
                    let pause = (e.1 * 2).min(EXPECT_MS.1);
                    // One that was asked for since this one began has still to come, and one that failed has told nothing.
                    wanted = e.0 > at_ms || found.is_err();
                    *e = (now + e.1, pause, false);
                }
            }
        }
        match found {
            Err(e) => tracing::warn!(error = %e, "the job table could not be read"),
            Ok(None) => {}
            Ok(Some(records)) => again = self.apply_jobs(at_ms, uid, records),
        }
        if let Some(uid) = uid.filter(|_| !wanted) {
            let waiting =
                self.slots.values().any(|s| s.gang.uid == uid && matches!(s.gang.phase, Phase::Submitted));
            let array = self.arrays.values().any(|a| a.gang.uid == uid && a.gang.job.is_none());
            if !waiting && !array {
                self.polls.expected.remove(&uid);
            }
        }
        for uid in again {
            self.polls.expect_by(uid, now + super::beside::AGAIN_MS);
        }
    }

    /// Answers whose jobs are to be looked at again soon.
    fn apply_jobs(&mut self, at_ms: u64, uid: Option<u32>, records: Vec<JobRecord>) -> Vec<u32> {
        // In order: a seed of the simulation must tell the same story again.
        let mut found: BTreeMap<String, (JobView, JobRecord)> = BTreeMap::new();
        let mut metas: Vec<(String, JobRecord)> = Vec::new();
        if uid.is_none() {
            self.looked = true;
            self.lost_running.clear();
        }
        for record in records {
            let Some(id) = tag_of(&record.comment).map(str::to_owned) else {
                self.untagged(record, &mut found, &mut metas);
                continue;
            };
            match (record.array_task, &record.array_rest) {
                (None, Some(_)) => metas.push((id, record)),
                (Some(task), _) => {
                    let mut view = record.view.clone();
                    view.text = format!("{}_{task}", record.array_job);
                    found.insert(format!("{id}_{task}"), (view, record));
                }
                (None, None) => {
                    found.insert(id, (record.view.clone(), record));
                }
            }
        }
        // A task that has not been split off shows only in its array's record.
        for (id, record) in &metas {
            for (key, task) in self.tasks_of(id) {
                if record.array_rest.as_deref().is_some_and(|rest| super::arrays::shows(rest, task)) {
                    let mut view = record.view.clone();
                    view.text = format!("{}_{task}", record.view.id);
                    found.entry(key).or_insert_with(|| (view, record.clone()));
                }
            }
        }
        // An array that the journal lost has no gang that could tell its owner.
        for (id, record) in &metas {
            let known = self.arrays.contains_key(id) || self.past_arrays.contains_key(id);
            if !known && self.tasks_of(id).is_empty() {
                self.stranger(id, &record.view);
            }
        }
        let (mut known, mut open, mut again) = (HashSet::new(), Vec::new(), Vec::new());
        let born_ms = self.born_ms;
        let mut renamed = false;
        let now = self.now();
        for (key, (view, record)) in found {
            known.insert(key.clone());
            let Some(slot) = self.slots.get_mut(&key) else {
                if view.completing || matches!(view.state, 1 | 2) {
                    self.lost_running.insert(key.clone());
                }
                self.stranger(&key, &view);
                continue;
            };
            if slot.busy.is_none()
                && at_ms >= slot.effect_ms
                && slot.gang.is_wanted_again(&view, self.born_ms)
            {
                slot.gang.revive(&view, self.hands.host.now_ms());
                slot.effect_ms = 0;
                renamed = true;
            }
            match slot.open(&view, at_ms, born_ms, now) {
                Some(true) => open.push((key.clone(), view.text.clone())),
                Some(false) => again.push(slot.gang.uid),
                None => {}
            }
            if at_ms < slot.effect_ms || slot.busy.is_some() {
                // What it showed may not be shown again ("nothing changed"): look once more when the effect is over.
                slot.missed = true;
                continue;
            }
            if let Some(job) = &mut slot.gang.job
                && job.id != view.id
                && slot.gang.task.is_some()
            {
                job.id = view.id;
                renamed = true;
            }
            if slot.gang.user == slot.gang.uid.to_string() && !record.user.is_empty() {
                slot.gang.user.clone_from(&record.user);
            }
            // The one that slurmctld counts by: of what was asked for it takes only what its associations allow.
            let unlaunched = matches!(
                slot.gang.phase,
                Phase::Submitted | Phase::Held | Phase::Planned | Phase::Waiting { .. }
            );
            let account = &mut slot.gang.geometry.account;
            if !record.account.is_empty() && (unlaunched || account.is_empty()) {
                account.clone_from(&record.account);
            }
            // Before this engine has said anything: slurmctld may have forgotten what was said last.
            if slot.effect_ms == 0 && record.array_rest.is_none() && slot.gang.commented != record.comment {
                slot.gang.commented.clone_from(&record.comment);
                self.dirty.insert(key.clone());
            }
            let seen = Seen::Is(view);
            if slot.seen != seen {
                renamed |= slot.seen == Seen::Gone;
                slot.seen = seen;
                self.dirty.insert(key);
            }
        }
        for (key, slot) in &mut self.slots {
            let covered = uid.is_none_or(|u| u == slot.gang.uid);
            // A record that was never seen may only be on its way.
            let late =
                slot.gang.job.is_none() && at_ms >= slot.gang.since_ms + burst_policy::gang::step::RECORD_MS;
            if covered && !known.contains(key) && (slot.gang.job.is_some() || late) {
                if at_ms < slot.effect_ms || slot.busy.is_some() {
                    slot.missed = true;
                } else if slot.seen != Seen::Gone {
                    slot.seen = Seen::Gone;
                    self.dirty.insert(key.clone());
                    // Its number may be given again.
                    renamed = true;
                }
            }
        }
        self.hold_beside(open);
        if renamed {
            self.publish();
        }
        let array = |gang: &str| metas.iter().any(|(id, _)| id == gang);
        self.hands.shared.fresh.looked(uid, at_ms, |gang| known.contains(gang) || array(gang));
        self.see_arrays(at_ms, uid, &metas);
        again
    }

    /// A managed job whose comment somebody else has written over: known by number, owner and submit time, and tagged again.
    fn untagged(
        &mut self,
        record: JobRecord,
        found: &mut BTreeMap<String, (JobView, JobRecord)>,
        metas: &mut Vec<(String, JobRecord)>,
    ) {
        let Some(known) = self.hands.shared.managed.load().get(&record.view.id).cloned() else { return };
        // A number may be another job's: of one that slurmctld, killed, has lost.
        let same = |g: &Gang| {
            // A requeue sets the submit time anew.
            let life = |k: &JobKey| k.submit == record.view.submit || record.view.restarts > k.restart;
            g.uid == record.uid && g.job.as_ref().is_some_and(life)
        };
        if record.array_rest.is_some() {
            let tasks = self.slots.values().map(|s| &s.gang).filter(|g| g.id == known.gang);
            if self.arrays.get(&known.gang).map(|a| &a.gang).into_iter().chain(tasks).any(same) {
                metas.push((known.gang, record));
            }
            return;
        }
        let Some(slot) = self.slots.get_mut(&known.gang) else { return };
        if same(&slot.gang) {
            slot.gang.commented.clear();
            let mut view = record.view.clone();
            if let Some(job) = &slot.gang.job {
                view.text.clone_from(&job.text);
            }
            self.dirty.insert(known.gang.clone());
            found.insert(known.gang, (view, record));
        }
    }

    /// A job with our tag that nobody knows: the journal lost it. It stays held, and says so; one that runs runs on. One that
    /// was moved to a local partition is none of ours any more.
    fn stranger(&mut self, key: &str, view: &JobView) {
        let fresh = self.now().saturating_sub(self.born_ms) < 5_000;
        let snapshot = self.hands.shared.snapshot.load();
        let local = snapshot.config.as_ref().is_some_and(|c| {
            !view.partition.is_empty() && c.pools.values().all(|p| p.partition != view.partition)
        });
        if fresh || local || view.state > 2 || !self.strangers.insert(key.to_owned()) {
            return;
        }
        let text = match view.state {
            0 => format!(
                "[burst {key}] held: its launch request was lost when the controller stopped; cancel it and submit it again"
            ),
            _ => format!(
                "[burst {key}] running, but the record of its gang was lost: its instances are kept until it is over"
            ),
        };
        self.hands.controller.log(crate::controller::Loud::Error, &format!("job {}: {text}", view.text));
        let job = view.text.clone();
        let update = crate::controller::JobUpdate {
            comment: Some(text),
            priority: (view.state == 0).then_some(0),
            ..Default::default()
        };
        self.tell(format!("job {job}, which is lost"), move |c| c.update_job(&job, &update));
    }

    pub(super) fn saw_licences(&mut self, found: Result<BTreeMap<String, u32>, SlurmError>) {
        self.licences.busy = false;
        let now = self.now();
        match found {
            Ok(free) => self.licences.saw(free, now),
            // Not known is not free: the gangs wait on, and the next look is tried as if this one had told nothing.
            Err(e) => {
                tracing::warn!(error = %e, "licences could not be read");
                self.licences.put_off(now);
            }
        }
        let waiting =
            |s: &super::Slot| matches!(s.gang.phase, Phase::Planned | Phase::Waiting { .. } | Phase::Held);
        for (key, slot) in &self.slots {
            if slot.busy.is_none() && waiting(slot) {
                self.dirty.insert(key.clone());
            }
        }
    }

    pub(super) fn saw_nodes(&mut self, at_ms: u64, found: Result<Changed<NodeRecord>, SlurmError>) {
        self.polls.nodes_busy = false;
        let now = self.now();
        let mut changed = false;
        match found {
            Err(e) => tracing::warn!(error = %e, "the node table could not be read"),
            Ok(None) => self.nodes_at_ms = at_ms,
            Ok(Some(records)) => {
                self.polls.nodes_took = now.saturating_sub(at_ms);
                self.nodes_at_ms = at_ms;
                let nodes: HashMap<_, _> = records.into_iter().map(|n| (n.name, n.view)).collect();
                changed = nodes != self.nodes;
                self.nodes = nodes;
            }
        }
        self.polls.nodes_ms = now + self.node_pace();
        let waiting = |p: &Phase| {
            matches!(
                p,
                Phase::Booting { .. }
                    | Phase::Ending { .. }
                    | Phase::Planned
                    | Phase::Ready { .. }
                    | Phase::Waiting { .. }
            )
        };
        for (key, slot) in &self.slots {
            if slot.busy.is_none() && waiting(&slot.gang.phase) {
                self.dirty.insert(key.clone());
            }
        }
        self.power_down_beside();
        self.look_for_strays(at_ms);
        if changed {
            self.nodes_changed.send_modify(|n| *n += 1);
        }
    }
}

/// Another controller may have taken over since the decision.
pub(super) fn acting(controller: &dyn crate::Controller) -> Result<(), SlurmError> {
    let message = "this controller is not the active one".to_owned();
    if controller.active() { Ok(()) } else { Err(SlurmError { code: 0, message, passing: true }) }
}

/// The gang id in an admin_comment that begins with our tag.
#[must_use]
pub fn tag_of(comment: &str) -> Option<&str> {
    let id = comment.strip_prefix("[burst ")?.split_once(']')?.0;
    (id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
}
