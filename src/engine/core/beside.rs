//! What cannot wait while a gang's instances are being ended, for TerminateInstances may be long in being answered: a name
//! that comes up again is powered down, and a job that could be started is held. A gang has one effect at a time but for
//! these.

use super::{Core, Event, Slot};
use crate::{
    Controller,
    controller::{JobUpdate, SlurmError},
    world::World,
};
use burst_policy::gang::{Effect, JobView, Phase, Seen, Stage, back};

/// Pause between two of a gang (ms).
const AGAIN_MS: u64 = 1_000;
/// Power-downs that fail in a row double their pause so often.
const DOUBLED: u32 = 5;

/// A call of slurmctld's beside a gang's TerminateInstances.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// Under way: the gang does nothing else meanwhile, and keeps its names.
    pub busy: bool,
    /// When the last one ended, Unix ms.
    pub ended_ms: u64,
    /// Failures in a row.
    failed: u32,
    /// Names that came up last.
    names: Vec<String>,
}

impl Slot {
    fn ends(&self) -> bool {
        matches!(self.busy, Some(Effect::Terminate { .. }))
    }

    /// Whether it must be held now although TerminateInstances is under way, after a look that was begun at `at_ms`.
    pub(super) fn is_open(&self, view: &JobView, at_ms: u64, now: u64) -> bool {
        let last = self.beside.ended_ms;
        let may = !self.beside.busy && at_ms >= last.max(self.effect_ms) && now >= last + AGAIN_MS;
        self.ends() && may && back::is_open(&self.gang, view)
    }

    /// Whether names that came up may be powered down: beside the call, or in the pause before the next one.
    fn may_power_down(&self, now: u64) -> bool {
        let Phase::Ending { stage: Stage::Terminate, retry_ms, .. } = self.gang.phase else { return false };
        let pause = AGAIN_MS << self.beside.failed.min(DOUBLED);
        let free = self.ends() || (self.busy.is_none() && now < retry_ms);
        free && !self.beside.busy && now >= self.beside.ended_ms + pause
    }
}

impl Core {
    /// After a look at the nodes.
    pub(super) fn power_down_beside(&mut self) {
        let now = self.now();
        let snapshot = self.hands.shared.snapshot.load_full();
        let mut up = Vec::new();
        for (key, s) in self.slots.iter().filter(|(_, s)| s.may_power_down(now)) {
            let (seen, own) = (Seen::Unknown, Some(&s.gang));
            let effect_ms = s.effect_ms.max(s.beside.ended_ms);
            let world = World { core: self, snapshot: &snapshot, seen, effect_ms, jitter: 0, own };
            let names = back::came_up(&s.gang, &world);
            if !names.is_empty() {
                up.push((key.clone(), names));
            }
        }
        for (key, names) in up {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            if slot.beside.names != names {
                let first = names.first().map_or("", String::as_str);
                slot.gang
                    .note(format!("{} names are up while being given back, {first} first", names.len()), now);
                slot.beside.names.clone_from(&names);
            }
            self.beside(key, move |c| c.power_down(&names.join(",")));
        }
    }

    /// Jobs, as people write them, that a look has shown to be free to start, by gang.
    pub(super) fn hold_beside(&mut self, open: Vec<(String, String)>) {
        let now = self.now();
        for (key, job) in open {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            if slot.beside.failed == 0 {
                slot.gang.note("held while its instances are being ended", now);
            }
            let update = JobUpdate { priority: Some(0), ..JobUpdate::default() };
            self.beside(key, move |c| c.update_job(&job, &update));
        }
    }

    fn beside(
        &mut self,
        key: String,
        call: impl FnOnce(&dyn Controller) -> Result<(), SlurmError> + Send + 'static,
    ) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        slot.beside.busy = true;
        let call = move |c: &dyn Controller| {
            super::poll::acting(c)?;
            call(c)
        };
        self.slurm(call, move |_, ok| Event::Beside { key, ok });
    }

    pub(super) fn beside_done(&mut self, key: &str, ok: Result<(), SlurmError>) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.beside.busy = false;
        slot.beside.ended_ms = now;
        slot.beside.failed = if ok.is_ok() { 0 } else { slot.beside.failed.saturating_add(1) };
        if let Err(error) = ok {
            tracing::warn!(gang_id = %key, %error, "a job could not be held, or names powered down, beside their end");
        }
        self.dirty.insert(key.to_owned());
    }
}
