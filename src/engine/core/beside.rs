//! A name that comes up while its instance is being ended: powered down beside TerminateInstances, whose answer may be long
//! in coming. A gang has one effect at a time but for this one.

use super::{Core, Event, Slot};
use crate::{controller::SlurmError, world::World};
use burst_policy::gang::{Effect, back};

/// Pause between two of a gang (ms).
const AGAIN_MS: u64 = 1_000;

/// A gang's power-down beside its TerminateInstances.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// Under way: the gang does nothing else meanwhile, and keeps its names.
    pub busy: bool,
    /// When the last one ended, Unix ms.
    ended_ms: u64,
}

impl Core {
    /// After a look at the nodes that was begun at `at_ms`.
    pub(super) fn power_down_beside(&mut self, at_ms: u64) {
        let now = self.now();
        let may = |s: &Slot| {
            let ending = s.busy.as_ref().is_none_or(|e| matches!(e, Effect::Terminate { .. }));
            ending && !s.beside.busy && at_ms >= s.beside.ended_ms && now >= s.beside.ended_ms + AGAIN_MS
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
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            slot.beside.busy = true;
            let first = names.first().map_or("", String::as_str);
            let text = format!("{} names came up while being given back, {first} first", names.len());
            slot.gang.note(text, now);
            let call = move |c: &dyn crate::Controller| {
                super::poll::acting(c)?;
                c.power_down(&names.join(","))
            };
            self.slurm(call, move |_, ok| Event::Beside { key, ok });
        }
    }

    pub(super) fn powered_down_beside(&mut self, key: &str, ok: Result<(), SlurmError>) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.beside = Beside { busy: false, ended_ms: now };
        if let Err(error) = ok {
            tracing::warn!(gang_id = %key, %error, "names that came up could not be powered down; tried again");
        }
        self.dirty.insert(key.to_owned());
    }
}
