//! What an owner may do to a job that is ours: who it is, and holding and releasing it.

use super::{Core, effects};
use crate::shared::Managed;
use burst_policy::gang::{Gang, JobKey, Seen};
use std::{collections::HashMap, sync::Arc};

/// Which number is whose: of gangs whose job is there, and of arrays that have tasks left.
fn managed<'a>(
    gangs: impl Iterator<Item = &'a Gang> + Clone,
    arrays: impl Iterator<Item = &'a Gang>,
) -> HashMap<u32, Managed> {
    let there = gangs.filter_map(|g| Some((g, g.job.as_ref()?)));
    let own = |g: &Gang| Managed { gang: g.key(), uid: g.uid };
    let of_array = |g: &Gang| Managed { gang: g.id.clone(), uid: g.uid };
    let mut all: HashMap<_, _> = there.clone().map(|(g, job)| (job.id, own(g))).collect();
    // `12` names all tasks of an array; it is also the number of the task that was split off last.
    for (g, job) in there {
        if let Some(base) = base(job) {
            all.entry(base).or_insert_with(|| of_array(g));
        }
    }
    all.extend(arrays.filter_map(|g| Some((g.job.as_ref()?.id, of_array(g)))));
    all
}

/// The number before the `_`.
fn base(job: &JobKey) -> Option<u32> {
    job.text.split('_').next()?.parse().ok()
}

/// Whether a user who names a job means this gang. Slurm has looked whether he may change a job of that number, not whether
/// it is this one's: a number can be another one's again.
fn names(g: &Gang, uid: u32, id: u32, tasks: &[u32]) -> bool {
    let Some(job) = &g.job else { return false };
    let task = tasks.is_empty() || g.task.is_some_and(|t| tasks.contains(&t));
    g.uid == uid && (id == job.id || Some(id) == base(job)) && task
}

impl Core {
    /// Tells job_modify which jobs are ours. The number of a job that is gone may be another one's.
    pub(crate) fn publish(&self) {
        let gangs = self.slots.values().filter(|s| s.gang.is_living() && s.seen != Seen::Gone);
        let all = managed(gangs.map(|s| &s.gang), self.arrays.values().map(|a| &a.gang));
        self.hands.shared.managed.store(Arc::new(all));
        // Only now: in between neither would know a job.
        let known = |g: &Gang| g.job.is_some() || !g.is_living();
        self.hands.shared.fresh.keep(|id| {
            let slot = self.slots.get(id).is_some_and(|s| known(&s.gang));
            !slot && !self.arrays.get(id).is_some_and(|a| known(&a.gang))
        });
    }

    pub(super) fn user_hold(&mut self, uid: u32, id: u32, tasks: &[u32], hold: bool) {
        let now = self.now();
        for array in self.arrays.values_mut() {
            if tasks.is_empty() && names(&array.gang, uid, id, &[]) && array.gang.user_hold != hold {
                array.gang.user_hold = hold;
                effects::save_behind(&self.hands, &array.gang);
            }
        }
        for (key, slot) in self.slots.iter_mut().filter(|(_, s)| s.seen != Seen::Gone) {
            if names(&slot.gang, uid, id, tasks) && slot.gang.user_hold != hold {
                slot.gang.user_hold = hold;
                slot.gang.note(if hold { "held by its owner" } else { "released by its owner" }, now);
                self.dirty.insert(key.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burst_plan::{Geometry, Request};

    fn gang(uid: u32, id: u32, task: Option<u32>, text: &str) -> Gang {
        let mut g =
            Gang::new("00ff".into(), uid, "efa".into(), Request::default(), Geometry::default(), 1_000);
        g.task = task;
        g.job = Some(JobKey { id, submit: 1, restart: 0, text: text.into() });
        g
    }

    #[test]
    fn the_last_task_of_an_array_has_its_number() {
        let tasks = [gang(1, 13, Some(0), "12_0"), gang(1, 12, Some(3), "12_3")];
        let all = managed(tasks.iter(), std::iter::empty());
        assert_eq!(all.get(&12).map(|m| m.gang.as_str()), Some("00ff_3"));
        assert_eq!(all.get(&13).map(|m| m.gang.as_str()), Some("00ff_0"));
        // As long as there are others, the number is the array's; and where the last one has ended.
        let array = [gang(1, 12, None, "12")];
        assert_eq!(managed(tasks.iter(), array.iter()).get(&12).map(|m| m.gang.as_str()), Some("00ff"));
        assert_eq!(managed(tasks[..1].iter(), std::iter::empty()).get(&12).map(|m| m.uid), Some(1));
    }

    #[test]
    fn only_his_own_gang_is_meant() {
        let g = gang(1, 13, Some(0), "12_0");
        assert!(names(&g, 1, 13, &[]) && names(&g, 1, 12, &[]) && names(&g, 1, 12, &[0, 4]));
        assert!(!names(&g, 2, 13, &[]), "the number is another one's now");
        assert!(!names(&g, 1, 12, &[4]) && !names(&g, 1, 14, &[]));
    }
}
