//! When the core looks again although nothing was said.

use super::{Core, SAVE_MS, Slot};
use burst_policy::gang::step::wake;
use burst_policy::gang::{Effect, Gang};

/// A gang whose time has come and that does nothing waits for something else: for its job, or its nodes.
const AGAIN_MS: u64 = 100;

fn due(slot: &Slot) -> Option<u64> {
    let idle = slot.busy.is_none() && !slot.beside.busy && slot.gang.is_living();
    idle.then(|| wake(&slot.gang)).flatten().map(|t| t.max(slot.again_ms))
}

/// When a gang that was looked at may be looked at again because its time has come.
pub(super) fn again(gang: &Gang, effect: Option<&Effect>, now: u64) -> u64 {
    match effect {
        None if wake(gang).is_some_and(|t| t <= now) => now + AGAIN_MS,
        _ => 0,
    }
}

impl Core {
    pub(super) fn next_wake(&self, now: u64) -> u64 {
        if !self.dirty.is_empty() || !self.round.is_empty() {
            return 0;
        }
        let gang = self.slots.values().filter_map(due).min().unwrap_or(u64::MAX);
        let licences = match self.wants_licences() && !self.licences.busy {
            true => self.licences.due(),
            false => u64::MAX,
        };
        let unsaved = if self.unsaved.0.is_empty() { u64::MAX } else { self.unsaved.1 + SAVE_MS };
        gang.min(unsaved)
            .min(self.lives.next())
            .min(licences)
            .min(self.polls.next(now))
            .saturating_sub(now)
            .clamp(1, 5_000)
    }

    pub(super) fn wake_due(&mut self, now: u64) {
        for (key, slot) in &self.slots {
            if due(slot).is_some_and(|t| t <= now) {
                self.dirty.insert(key.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burst_plan::{Geometry, Request};
    use burst_policy::gang::{Phase, Seen, Stage, Then};

    #[test]
    fn a_gang_whose_time_has_come_and_that_does_nothing_is_not_looked_at_without_end() {
        let mut gang = Gang::new("g".into(), 1, "efa".into(), Request::default(), Geometry::default(), 1_000);
        gang.phase = Phase::Ending { then: Then::Done, stage: Stage::PowerDown, retry_ms: 0, tries: 0 };
        let mut slot = Slot::new(gang, Seen::Unknown);
        slot.again_ms = again(&slot.gang, None, 5_000);
        assert_eq!(due(&slot), Some(5_000 + AGAIN_MS));
        assert_eq!(again(&slot.gang, Some(&Effect::PowerDown), 5_000), 0, "it did something");
        slot.gang.phase = Phase::Waiting { until_ms: Some(9_000), why: burst_policy::gang::Why::Capacity };
        assert_eq!(again(&slot.gang, None, 5_000), 0, "its time has not come");
        slot.again_ms = 0;
        assert_eq!(due(&slot), Some(9_000));
        slot.busy = Some(Effect::PowerDown);
        assert_eq!(due(&slot), None);
    }
}
