//! Gangs of before, as a new engine finds them in the journal: what slurmctld may have lost meanwhile is looked at again.

use super::{Core, Slot, arrays};
use burst_policy::gang::{FailedHold, Gang, Phase, Seen, Stage};

impl Core {
    pub(super) fn adopt(&mut self, mut gang: Gang) {
        // Whatever the clock says (it may have been set back since): all of it was before this engine.
        let before = self.born_ms.saturating_sub(1);
        gang.since_ms = gang.since_ms.min(before);
        for m in &mut gang.members {
            m.granted_ms = m.granted_ms.min(before);
        }
        if matches!(gang.phase, Phase::Submitted) {
            // Its record is looked for from now on, however long the queue or the controller stood still.
            gang.since_ms = self.now();
        }
        if gang.task.is_none() && gang.geometry.array.is_some() {
            if gang.is_living() {
                self.arrays.insert(gang.id.clone(), arrays::Array::new(gang));
            } else {
                self.past_arrays.insert(gang.id.clone(), gang);
            }
            return;
        }
        if let Phase::Booting { .. } | Phase::Ready { .. } = gang.phase {
            // slurmctld may have been killed before it saved the addresses, or that the nodes had registered.
            gang.phase = Phase::Granted { look_ms: 0 };
            for m in &mut gang.members {
                m.up = false;
            }
        }
        // A hold that fails now is a first try: the scheduler begins, too.
        gang.hold = FailedHold::default();
        if let Phase::Ending { stage, retry_ms, tries, .. } = &mut gang.phase
            && gang.powered
            && matches!(stage, Stage::Terminate | Stage::Settle { .. })
        {
            // Nor, perhaps, that the names go down. A first try again.
            (*stage, *retry_ms, *tries) = (Stage::PowerDown, 0, 0);
            // Whatever Slurm says of the job: they may be gone.
            gang.members.iter_mut().for_each(|m| m.up = false);
        }
        // On disk as Launching: its intent is there, too, and may have been sent.
        gang.sent |= matches!(gang.phase, Phase::Launching { .. });
        gang.unsure |= gang.sent;
        self.take_over(&gang);
        let key = gang.key();
        let ours = |g: &&str| crate::prepare::is_ours(&self.hands.cluster, g);
        if let Some(group) = gang.group.as_deref().filter(|_| gang.is_living()).filter(ours) {
            self.hands.prepare.claim(group, &key, gang.region.clone());
        }
        self.dirty.insert(key.clone());
        self.taken.extend(gang.all_names().cloned());
        self.slots.insert(key, Slot::new(gang, Seen::Never));
    }
}
