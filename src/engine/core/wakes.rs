//! When the core looks again although nothing was said.

use super::{Core, SAVE_MS};
use burst_policy::gang::step::wake;

impl Core {
    pub(super) fn next_wake(&self, now: u64) -> u64 {
        if !self.dirty.is_empty() {
            return 0;
        }
        let gangs = self
            .slots
            .values()
            .filter(|s| s.busy.is_none() && s.gang.is_living())
            .filter_map(|s| wake(&s.gang));
        let gang = gangs.min().unwrap_or(u64::MAX);
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
            if slot.busy.is_none() && slot.gang.is_living() && wake(&slot.gang).is_some_and(|t| t <= now) {
                self.dirty.insert(key.clone());
            }
        }
    }
}
