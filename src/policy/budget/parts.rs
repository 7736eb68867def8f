//! Gangs that take several fleets: once the first is granted, what flows in is theirs until the last one is.
//!
//! Their instances are paid for while they wait, so nothing comes before them. Only a gang that the bucket cannot hold at
//! once lacks anything after it has begun, and it begins with a full bucket: there are never two of those, and others wait
//! for as long as it takes and no longer.

use super::{
    Answer, Budget, LEAST_MS,
    bucket::{TOKEN, ms, tokens},
};

/// A gang in parts that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Begun {
    /// Kept for its other fleets.
    spare: i64,
    /// What is to be kept for them, as far as the bucket holds it.
    wants: i64,
    /// What has flowed in since a fleet was counted and before its answer was known: EC2's bucket may have been full until
    /// the call arrived there, so it is not counted on. None once it is known.
    early: Option<i64>,
}

impl Budget {
    /// Of what was drawn for a whole gang, the first fleet's; the rest is kept.
    pub(super) fn begin_parts(&mut self, gang: &str, drawn: i64, (first, total): (u32, u32)) -> i64 {
        let need = tokens(first).min(drawn);
        if total > first {
            let wants = tokens(total - first).min(self.instances.most);
            self.begun.insert(gang.to_owned(), Begun { spare: drawn - need, wants, early: Some(0) });
        }
        need
    }

    /// A further fleet of a gang that has begun.
    pub fn admit_next(&mut self, gang: &str, nodes: u32, now_ms: u64) -> Answer {
        self.flow_in(now_ms);
        let need = match self.paid.get(gang) {
            Some(p) if p.is_due() => return Answer::Ok,
            Some(_) => 0,
            None => tokens(nodes).min(self.instances.most),
        };
        let calls_lack = TOKEN.saturating_sub(self.calls()).max(0);
        let begun = self.begun.entry(gang.to_owned()).or_default();
        begun.wants = begun.wants.max(need);
        begun.spare = (begun.spare - begun.early.take().unwrap_or(0)).max(0);
        let has = begun.spare.saturating_add(self.saved).saturating_add(self.instances.held.max(0));
        let lacks = need.saturating_sub(has).max(0);
        if lacks > 0 || calls_lack > 0 {
            let wait = ms(lacks, self.instances.flow).max(ms(calls_lack, self.launch.flow)).max(LEAST_MS);
            return Answer::waits(wait, now_ms);
        }
        let spare = need.min(begun.spare);
        begun.spare -= spare;
        begun.wants = (begun.wants - need).max(0);
        begun.early = Some(0);
        let saved = (need - spare).min(self.saved);
        self.saved -= saved;
        self.instances.held -= need - spare - saved;
        self.due(gang, need);
        Answer::Ok
    }

    /// What all of them have.
    pub(super) fn spare(&self) -> i64 {
        self.begun.values().map(|b| b.spare).sum()
    }

    /// What they lack.
    pub(super) fn parts_lack(&self) -> i64 {
        self.begun.values().map(|b| (b.wants - b.spare).max(0)).sum()
    }

    /// Takes what has flowed in, as far as they lack it. Answers how much.
    pub(super) fn keep_for_parts(&mut self, came: i64) -> i64 {
        let mut left = came;
        for b in self.begun.values_mut() {
            let more = (b.wants - b.spare).clamp(0, left.max(0));
            b.spare += more;
            b.early = b.early.map(|e| e + more);
            left -= more;
        }
        came - left
    }

    /// The gang is whole, or given up.
    pub(super) fn drop_parts(&mut self, gang: &str) {
        if let Some(b) = self.begun.remove(gang) {
            self.give_back(b.spare);
        }
    }

    /// The bucket is thought to be empty.
    pub(super) fn empty_parts(&mut self) {
        self.begun.values_mut().for_each(|b| b.spare = 0);
    }

    /// The bucket has another size.
    pub(super) fn fit_parts(&mut self) {
        let mut room = (self.instances.most - self.instances.held.max(0)).max(0);
        for b in self.begun.values_mut() {
            b.wants = b.wants.min(self.instances.most);
            b.spare = b.spare.min(room);
            room -= b.spare;
        }
    }
}
