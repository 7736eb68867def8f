//! Licences: what jobs want, what is free, and what gangs on their way have been promised.

use super::Core;
use burst_policy::gang::{JobView, Phase, Seen};
use std::collections::BTreeMap;

/// How long a look at the licences is believed (ms): other jobs take and return them at any time.
const LOOK_MS: u64 = 2_000;

/// What is known of the cluster's licences.
#[derive(Debug, Default)]
pub(crate) struct Licences {
    free: BTreeMap<String, u32>,
    known: bool,
    due_ms: u64,
    pub(super) busy: bool,
}

/// `matlab:2,ansys` as (name, count); `|` and `&` of newer Slurms part as `,` does, so that rather too much is asked.
pub(super) fn wanted(text: &str) -> Vec<(&str, u32)> {
    text.split([',', ';', '|', '&'])
        .map(str::trim)
        .filter(|p| !p.is_empty())
        .map(|p| {
            let (name, count) = p.split_once([':', '=']).unwrap_or((p, "1"));
            (name, count.parse().unwrap_or(1))
        })
        .collect()
}

impl Licences {
    pub(super) fn saw(&mut self, free: BTreeMap<String, u32>, at_ms: u64) {
        self.free = free;
        self.known = true;
        self.due_ms = at_ms + LOOK_MS;
    }

    /// A look that failed: what was known is out of date.
    pub(super) fn put_off(&mut self, at_ms: u64) {
        self.known = false;
        self.due_ms = at_ms + LOOK_MS;
    }

    /// When the next look is due for somebody who needs it.
    pub(super) fn due(&self) -> u64 {
        self.due_ms
    }
}

impl Core {
    /// Gangs that wait for an answer about licences: only then are they looked up.
    pub(super) fn wants_licences(&self) -> bool {
        self.slots.values().any(|s| {
            matches!(s.gang.phase, Phase::Held | Phase::Planned | Phase::Waiting { .. })
                && matches!(&s.seen, Seen::Is(j) if !j.licences.is_empty())
        })
    }

    /// What of the job's licences is not free, in words. Gangs that are launched but not running have their share.
    pub(crate) fn shortage(&self, job: &JobView) -> Option<String> {
        if job.licences.is_empty() {
            return None;
        }
        if !self.licences.known {
            return Some("its licences are being looked up".to_owned());
        }
        let mut promised: BTreeMap<&str, u32> = BTreeMap::new();
        for slot in self.slots.values() {
            let on_the_way = matches!(
                slot.gang.phase,
                Phase::Launching { .. }
                    | Phase::Granted { .. }
                    | Phase::Booting { .. }
                    | Phase::Ready { .. }
                    | Phase::Released { .. }
            );
            if let (true, Seen::Is(j)) = (on_the_way, &slot.seen)
                && j.text != job.text
            {
                for (name, count) in wanted(&j.licences) {
                    let sum = promised.entry(name).or_default();
                    *sum = sum.saturating_add(count);
                }
            }
        }
        let short: Vec<String> = wanted(&job.licences)
            .into_iter()
            .filter_map(|(name, count)| {
                let free = self.licences.free.get(name).copied().unwrap_or(0);
                let free = free.saturating_sub(promised.get(name).copied().unwrap_or(0));
                (free < count).then(|| format!("{name} (needs {count})"))
            })
            .collect();
        (!short.is_empty()).then(|| format!("licences are in use: {}", short.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[test]
    fn reads_what_slurm_shows() {
        assert_eq!(wanted("matlab:2,ansys"), [("matlab", 2), ("ansys", 1)]);
        assert_eq!(wanted("a@server:3|b=4"), [("a@server", 3), ("b", 4)]);
        assert!(wanted("").is_empty());
    }
}
