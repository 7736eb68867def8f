//! What cannot wait while a gang's instances are being ended, for TerminateInstances may be long in being answered: a name
//! that comes up again is powered down, and a job that could be started is held. A gang has one effect at a time but for
//! these.

use super::{Core, Event, Slot};
use crate::{
    Controller,
    controller::{JobUpdate, SlurmError},
    world::World,
};
use burst_policy::gang::{Effect, JobView, back};

/// Pause between two of a gang (ms).
const AGAIN_MS: u64 = 1_000;

/// A call of slurmctld's beside a gang's TerminateInstances.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// Under way: the gang does nothing else meanwhile, and keeps its names.
    pub busy: bool,
    /// When the last one ended, Unix ms.
    ended_ms: u64,
}

impl Slot {
    /// Whether a look that was begun at `at_ms` may lead to such a call.
    fn may_beside(&self, at_ms: u64, now: u64) -> bool {
        let last = self.beside.ended_ms;
        !self.beside.busy && at_ms >= last.max(self.effect_ms) && now >= last.saturating_add(AGAIN_MS)
    }

    /// Whether it must be held now although TerminateInstances is under way.
    pub(super) fn is_open(&self, view: &JobView, at_ms: u64, now: u64) -> bool {
        let under_way = matches!(self.busy, Some(Effect::Terminate { .. }));
        under_way && self.may_beside(at_ms, now) && back::is_open(&self.gang, view)
    }
}

impl Core {
    /// After a look at the nodes that was begun at `at_ms`.
    pub(super) fn power_down_beside(&mut self, at_ms: u64) {
        let now = self.now();
        let may = |s: &Slot| {
            s.busy.as_ref().is_none_or(|e| matches!(e, Effect::Terminate { .. })) && s.may_beside(at_ms, now)
        };
        let snapshot = self.hands.shared.snapshot.load_full();
        let up: Vec<(String, Vec<String>)> = self
            .slots
            .iter()
            .filter(|(_, s)| may(s))
            .map(|(key, s)| {
                let (seen, effect_ms) = (s.seen.clone(), s.effect_ms);
                let world =
                    World { core: self, snapshot: &snapshot, seen, effect_ms, jitter: 0, own: Some(&s.gang) };
                (key.clone(), back::came_up(&s.gang, &world))
            })
            .filter(|(_, names)| !names.is_empty())
            .collect();
        for (key, names) in up {
            let first = names.first().map_or("", String::as_str);
            let text = format!("{} names came up while being given back, {first} first", names.len());
            self.beside(key, text, move |c| c.power_down(&names.join(",")));
        }
    }

    /// Jobs, as people write them, that a look has shown to be free to start, by gang.
    pub(super) fn hold_beside(&mut self, open: Vec<(String, String)>) {
        for (key, job) in open {
            let update = JobUpdate { priority: Some(0), ..JobUpdate::default() };
            let text = "held again while its instances are being ended".to_owned();
            self.beside(key, text, move |c| c.update_job(&job, &update));
        }
    }

    fn beside(
        &mut self,
        key: String,
        text: String,
        call: impl FnOnce(&dyn Controller) -> Result<(), SlurmError> + Send + 'static,
    ) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(&key) else { return };
        slot.beside.busy = true;
        slot.gang.note(text, now);
        let call = move |c: &dyn Controller| {
            super::poll::acting(c)?;
            call(c)
        };
        self.slurm(call, move |_, ok| Event::Beside { key, ok });
    }

    pub(super) fn beside_done(&mut self, key: &str, ok: Result<(), SlurmError>) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.beside = Beside { busy: false, ended_ms: now };
        if let Err(error) = ok {
            tracing::warn!(gang_id = %key, %error, "a job could not be held, or names powered down, beside their end");
        }
        self.dirty.insert(key.to_owned());
    }
}
