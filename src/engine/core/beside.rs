//! What cannot wait while a gang's instances are being ended, for TerminateInstances may be long in being answered: a name
//! that comes up again is powered down, and a job that could be started is held. A gang has one effect at a time but for
//! these.

use super::{Core, Event, Slot};
use crate::{
    Controller,
    controller::{JobUpdate, SlurmError},
    world::World,
};
use burst_policy::gang::{Effect, FailedHold, JobView, Phase, Seen, Stage, back};

/// Pause between two of a gang (ms).
pub(super) const AGAIN_MS: u64 = 1_000;
/// Power-downs that fail in a row double their pause so often.
const DOUBLED: u32 = 5;

/// A call of slurmctld's beside a gang's TerminateInstances.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// Under way: the gang does nothing else meanwhile, and keeps its names.
    pub busy: bool,
    /// When the last one ended, Unix ms.
    pub ended_ms: u64,
    /// Power-downs that failed in a row.
    failed: u32,
    /// Names that came up last.
    names: Vec<String>,
}

impl Slot {
    fn ends(&self) -> bool {
        matches!(self.busy, Some(Effect::Terminate { .. }))
    }

    /// Whether the job may be started although TerminateInstances is under way, by a look that was begun at `at_ms`; and
    /// then, whether it may be held now.
    pub(super) fn open(&self, view: &JobView, at_ms: u64, born_ms: u64, now: u64) -> Option<bool> {
        let last = self.beside.ended_ms;
        let may = !self.beside.busy && at_ms >= last.max(self.effect_ms) && now >= last + AGAIN_MS;
        (self.ends() && back::is_open(&self.gang, view, born_ms)).then_some(may)
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
            self.beside(key, false, move |c| c.power_down(&names.join(",")));
        }
    }

    /// Jobs, as people write them, that a look has shown to be free to start, by gang.
    pub(super) fn hold_beside(&mut self, open: Vec<(String, String)>) {
        let now = self.now();
        for (key, job) in open {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            if slot.gang.hold.tries == 0 {
                slot.gang.note("held while its instances are being ended", now);
            }
            let update = JobUpdate { priority: Some(0), ..JobUpdate::default() };
            self.beside(key, true, move |c| c.update_job(&job, &update));
        }
    }

    fn beside(
        &mut self,
        key: String,
        hold: bool,
        call: impl FnOnce(&dyn Controller) -> Result<(), SlurmError> + Send + 'static,
    ) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        slot.beside.busy = true;
        let call = move |c: &dyn Controller| {
            super::poll::acting(c)?;
            call(c)
        };
        self.slurm(call, move |_, ok| Event::Beside { key, hold, ok });
    }

    pub(super) fn beside_done(&mut self, key: &str, hold: bool, ok: Result<(), SlurmError>) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.beside.busy = false;
        slot.beside.ended_ms = now;
        match (&ok, hold) {
            (Ok(()), true) => slot.gang.hold = FailedHold::default(),
            (Err(_), true) => slot.gang.hold.tries = slot.gang.hold.tries.saturating_add(1),
            (Ok(()), false) => slot.beside.failed = 0,
            (Err(_), false) => slot.beside.failed = slot.beside.failed.saturating_add(1),
        }
        if hold && ok.is_err() {
            // "Nothing has changed" would not show it again.
            self.polls.expect_by(slot.gang.uid, now + AGAIN_MS);
        }
        if let Err(error) = ok {
            tracing::warn!(gang_id = %key, %error, "a job could not be held, or names powered down, beside their end");
        }
        self.dirty.insert(key.to_owned());
    }
}
