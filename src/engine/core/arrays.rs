//! Job arrays: each task its own gang, within the array's own limit.

use super::poll::acting;
use super::{Core, Event, Slot};
use crate::{
    controller::{JobRecord, JobUpdate, SlurmError},
    effects,
};
use burst_policy::gang::{Gang, JobKey, Phase, Seen, says};

/// Gangs of one array that may live at once, whatever the array allows: a typo in an index must not launch thousands.
const IN_FLIGHT: usize = 64;

/// Pause after a hold that was refused, ms.
const RETRY_MS: u64 = 2_000;

/// An array whose tasks become gangs one by one.
#[derive(Debug)]
pub(crate) struct Array {
    /// The pattern.
    pub gang: Gang,
    held: bool,
    busy: bool,
    effect_ms: u64,
    /// Not before, Unix ms: a hold that was refused.
    retry_ms: u64,
}

impl Array {
    pub(super) fn new(gang: Gang) -> Self {
        Self { gang, held: false, busy: false, effect_ms: 0, retry_ms: 0 }
    }
}

/// Tasks of an array record. Slurm cuts the text after some 60 characters (slurm-22.05
/// src/common/slurm_protocol_pack.c `xlate_array_task_str`) and puts dots over the end: what is left of the last comma
/// is whole, the rest follows when these are gone.
pub(super) fn tasks(text: &str) -> Vec<u32> {
    let whole = match text.split_once("...") {
        Some((start, _)) => start.rsplit_once(',').map_or("", |(whole, _)| whole),
        None => text,
    };
    burst_plan::jobid::array_tasks(whole).map(|(tasks, _)| tasks).unwrap_or_default()
}

/// Whether an array's record shows a task that has no record of its own. What would come after the end of a list that was cut
/// is taken to be there.
pub(super) fn shows(rest: &str, task: u32) -> bool {
    let shown = tasks(rest);
    shown.contains(&task) || (rest.contains("...") && shown.iter().all(|t| *t < task))
}

/// The tasks that are not split off, as an update names them; the whole array where Slurm cuts their list.
fn rest_of(record: &JobRecord) -> String {
    let rest = record.array_rest.as_deref().unwrap_or("").split('%').next().unwrap_or("");
    match rest.is_empty() || rest.contains("...") {
        true => record.view.id.to_string(),
        false => format!("{}_[{rest}]", record.view.id),
    }
}

impl Core {
    /// Living gangs of an array: (key, task).
    pub(super) fn tasks_of(&self, id: &str) -> Vec<(String, u32)> {
        let gangs = self.slots.values().map(|s| &s.gang).filter(|g| g.id == id && g.is_living());
        gangs.filter_map(|g| Some((g.key(), g.task?))).collect()
    }

    pub(super) fn see_arrays(&mut self, at_ms: u64, uid: Option<u32>, metas: &[(String, JobRecord)]) {
        let mut changed = false;
        for (id, _) in metas.iter().filter(|(_, r)| r.view.state == 0) {
            // slurmctld has forgotten that no task was left.
            if let Some(mut gang) = self.past_arrays.remove(id) {
                gang.enter(Phase::Submitted, "tasks are pending again", self.now());
                self.arrays.insert(id.clone(), Array::new(gang));
                // Its owner must not re-target it either.
                changed = true;
            }
        }
        let ids: Vec<String> = self.arrays.keys().cloned().collect();
        for id in ids {
            let record = metas.iter().find(|(i, _)| *i == id).map(|(_, r)| r);
            let now = self.now();
            let Some(array) = self.arrays.get_mut(&id) else { continue };
            if uid.is_some_and(|u| u != array.gang.uid) || at_ms < array.effect_ms || array.busy {
                continue;
            }
            match record.filter(|r| r.view.state <= 2) {
                None => {
                    let late = now >= array.gang.since_ms + burst_policy::gang::step::RECORD_MS;
                    if array.gang.job.is_some() || late {
                        array.gang.enter(Phase::Done, "no task is left to launch", now);
                        let doc = array.gang.clone();
                        effects::save_behind(&self.hands, &doc);
                        self.arrays.remove(&id);
                        changed = true;
                    }
                }
                Some(r) => changed |= self.array_found(&id, r, now),
            }
        }
        if changed {
            self.publish();
        }
    }

    fn array_found(&mut self, id: &str, record: &JobRecord, now: u64) -> bool {
        let Some(array) = self.arrays.get_mut(id) else { return false };
        let mut changed = false;
        if array.gang.job.is_none() {
            // As for a single job: freed before it was known is freed by its owner.
            array.gang.user_hold &= record.view.held;
            let text = record.view.id.to_string();
            array.gang.job =
                Some(JobKey { id: record.view.id, text, submit: record.view.submit, restart: 0 });
            changed = true;
        }
        // After a restart it is held already, and an update of the whole array would hold tasks that are on their way.
        array.held |= record.view.held_admin;
        if !array.held || !record.view.held {
            if now < array.retry_ms {
                return changed;
            }
            array.busy = true;
            array.held = true;
            let comment = format!("[burst {id}] held: each task of the array gets its own nodes");
            let (job, key) = (rest_of(record), id.to_owned());
            let update = JobUpdate { comment: Some(comment), priority: Some(0), ..JobUpdate::default() };
            let hold = move |c: &dyn crate::Controller| acting(c).and_then(|()| c.update_job(&job, &update));
            self.slurm(hold, move |_, ok| Event::ArrayDone { key, ok });
            return changed;
        }
        let most =
            if record.array_most == 0 { IN_FLIGHT } else { (record.array_most as usize).min(IN_FLIGHT) };
        let pattern = array.gang.clone();
        let living = self.tasks_of(id);
        let mut room = most.saturating_sub(living.len());
        for task in tasks(record.array_rest.as_deref().unwrap_or("")) {
            let key = format!("{id}_{task}");
            if room == 0 {
                break;
            }
            let mut view = record.view.clone();
            view.text = format!("{}_{task}", record.view.id);
            if let Some(slot) = self.slots.get_mut(&key) {
                // slurmctld may have forgotten that the task was split off and over.
                if slot.busy.is_none() && slot.gang.is_wanted_again(&view, self.born_ms) {
                    room -= 1;
                    slot.gang.revive(&view, now);
                    slot.effect_ms = 0;
                    slot.seen = Seen::Is(view);
                    self.dirty.insert(key);
                    changed = true;
                }
                continue;
            }
            room -= 1;
            let mut gang = pattern.clone();
            gang.task = Some(task);
            gang.geometry.array = None;
            if !record.user.is_empty() {
                gang.user.clone_from(&record.user);
            }
            if !record.account.is_empty() {
                gang.geometry.account.clone_from(&record.account);
            }
            gang.job = Some(JobKey::of(&view));
            gang.enter(Phase::Held, format!("task {task} of array {}", record.view.id), now);
            gang.commented = says::comment(&gang);
            self.dirty.insert(key.clone());
            self.slots.insert(key, Slot::new(gang, Seen::Is(view)));
            changed = true;
        }
        changed
    }

    pub(super) fn array_done(&mut self, key: &str, ok: Result<(), SlurmError>) {
        let now = self.now();
        let Some(array) = self.arrays.get_mut(key) else { return };
        array.busy = false;
        array.effect_ms = now;
        if let Err(e) = ok {
            array.held = false;
            array.retry_ms = now + RETRY_MS;
            tracing::warn!(gang_id = key, error = %e, "an array could not be held");
        }
        let (doc, uid) = (array.gang.clone(), array.gang.uid);
        effects::save_behind(&self.hands, &doc);
        self.polls.expect(uid, now);
    }
}

#[cfg(test)]
mod tests {
    use super::{shows, tasks};

    #[test]
    fn a_text_that_slurm_cut_names_only_whole_numbers() {
        assert_eq!(tasks("0-3,7%2"), [0, 1, 2, 3, 7]);
        assert_eq!(tasks("1,3,12..."), [1, 3], "12 may have been 120");
        assert!(shows("1,3,12...%4", 120) && shows("1,3,12...", 3) && shows("1...", 0));
        assert!(!shows("1,3,12...", 2) && !shows("1,3", 4) && !shows("", 0));
        assert!(tasks("1...").is_empty() && tasks("").is_empty());
    }
}
