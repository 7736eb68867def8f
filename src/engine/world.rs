//! The world as one gang sees it: the core's snapshots behind the state machine's `House`.

use crate::{core::Core, rates::Wanted};
use burst_plan::Seconds;
use burst_policy::{
    Rung,
    admit::{Site, Verdict, admit},
    budget::Rate,
    config::{Placement, Pool},
    gang::{Gang, House, JobView, NodeView, Seen, Turn},
    parts::{self, Part},
    spending::Stop,
};
use std::collections::BTreeSet;

pub(crate) struct World<'a> {
    pub core: &'a Core,
    pub snapshot: &'a crate::shared::Snapshot,
    pub seen: Seen,
    /// When the gang's last effect ended, Unix ms: older snapshots say nothing.
    pub effect_ms: u64,
    pub jitter: u64,
    /// The gang: it may take again what it has, and what it gave up and nobody else can have yet.
    pub own: Option<&'a Gang>,
}

impl World<'_> {
    /// What decisions go by.
    fn site(&self) -> Option<Site<'_>> {
        Some(Site {
            config: self.snapshot.config.as_ref()?,
            types: &self.snapshot.types,
            offers: &self.snapshot.offers,
            kill_margin: self.snapshot.kill_margin,
        })
    }

    /// What the gang would launch now, for EC2's rates.
    fn wanted(&self, gang: &Gang, rung: &Rung) -> Wanted {
        if gang.sent {
            // A launch whose answer is not known is asked for again: it launches nothing new.
            return Wanted::Fleet(0);
        }
        if let Some(split) = &gang.split {
            return match split.begun_ms {
                Some(_) => Wanted::Next(rung.nodes),
                None => Wanted::First { nodes: rung.nodes, total: split.whole.nodes },
            };
        }
        let first = self.parts(gang, rung).first().map_or(rung.nodes, |p| p.nodes);
        Wanted::First { nodes: first, total: rung.nodes }
    }

    /// Whether the gang's pool launches into cluster placement groups.
    pub fn grouped(&self, gang: &Gang) -> bool {
        self.pool(&gang.pool).is_some_and(|p| p.placement == Placement::Cluster)
    }
}

impl House for World<'_> {
    fn budget(&self) -> Option<&burst_policy::asbb::Service> {
        self.snapshot.config.as_ref()?.budget_service.as_ref()
    }

    fn job(&self, _gang: &Gang) -> Seen {
        self.seen.clone()
    }

    fn node(&self, name: &str) -> Option<NodeView> {
        if self.core.nodes_at_ms < self.effect_ms || self.core.nodes_at_ms == 0 {
            return None;
        }
        Some(self.core.node_view(name))
    }

    fn pool(&self, name: &str) -> Option<&Pool> {
        self.snapshot.config.as_ref()?.pools.get(name)
    }

    fn admit(&self, gang: &Gang) -> Verdict {
        let refuse = |text: String| Verdict::Refuse(burst_policy::Refusal(text));
        let Some(config) = &self.snapshot.config else {
            return refuse(
                "burst.toml cannot be used now; an administrator finds the reason in slurmctld's log".into(),
            );
        };
        let Some(pool) = config.pools.get(&gang.pool) else {
            return refuse(format!("pool {} is not in burst.toml any more", gang.pool));
        };
        if let Some(why) = self.snapshot.refusal(&gang.pool) {
            return refuse(format!("pool {} may not launch: {why}", gang.pool));
        }
        let site = Site {
            config,
            types: &self.snapshot.types,
            offers: &self.snapshot.offers,
            kill_margin: self.snapshot.kill_margin,
        };
        admit(site, pool, &gang.request, &gang.geometry)
    }

    fn free_names(&self, pool: &str, block: usize, count: u32) -> Option<Vec<String>> {
        let block = self.pool(pool)?.blocks.get(block)?;
        if self.core.nodes_at_ms == 0 {
            return None;
        }
        let own = |name: &String| self.own.is_some_and(|g| self.core.has_or_had(g, name));
        // A replacement's name is none that the gang has at work: the look at the nodes may be older than that.
        let at_work = |name: &String| {
            self.own.is_some_and(|g| {
                g.members.iter().any(|m| m.node == *name) || g.retired.iter().any(|r| r.node == *name)
            })
        };
        let mine = |name: &String| !self.core.taken.contains(name) || (own(name) && !at_work(name));
        let free = |name: &&String| mine(name) && self.core.node_view(name).is_free();
        let none = BTreeSet::new();
        let former = self.own.map_or(&none, |g| &g.former);
        let rests = self.own.is_some_and(|g| g.rests(self.core.born_ms, self.core.now()));
        chosen(block.names.iter().filter(free), (former, rests), count as usize)
    }

    fn dry_until(&self, gang: &Gang, rung: &Rung) -> Option<u64> {
        self.core.memory.dry_until(rung, self.grouped(gang), self.core.now())
    }

    fn unusable(&self, gang: &Gang, rung: &Rung, now_ms: u64) -> Option<String> {
        let r = rung.reservation.as_ref()?;
        let pool = self.pool(&gang.pool)?;
        let taken = self.core.reserved_since(&r.id, &gang.key());
        let lasts = crate::reserved::lasts(pool, gang, self.snapshot.kill_margin);
        self.core.hands.prepare.reserved.unusable(rung, taken, lasts, now_ms)
    }

    fn turn(&self, gang: &Gang, rung: &Rung, now_ms: u64) -> Turn {
        if let Some(config) = &self.snapshot.config {
            self.core.hands.rates.configure(config, now_ms);
        }
        let (home, wanted) = (&self.core.hands.rates, self.wanted(gang, rung));
        match &rung.region {
            None => home.turn_of(&gang.key(), wanted, now_ms),
            Some(r) => home.region(r).turn_of(&gang.key(), wanted, now_ms),
        }
    }

    fn parts(&self, gang: &Gang, rung: &Rung) -> Vec<Part> {
        let pool = self.pool(&gang.pool);
        match self.site().zip(pool) {
            Some((site, pool)) => parts::of(site, pool, &gang.request, rung),
            None => vec![Part::whole(rung)],
        }
    }

    fn launch_rate(&self) -> Rate {
        self.snapshot.config.as_ref().map_or_else(Default::default, |c| c.rates).instances
    }

    fn shortage(&self, job: &JobView) -> Option<String> {
        self.core.shortage(job)
    }

    fn stopped(&self, pool: &str) -> Option<String> {
        self.core.stopped(pool)
    }

    fn drained(&self, pool: &str) -> bool {
        self.core.operators.stops.drained(pool)
    }

    fn over_limit(&self, gang: &Gang, job: &JobView) -> Option<(Stop, bool)> {
        let rules = &self.snapshot.config.as_ref()?.limits.spending;
        if rules.rules.is_empty() {
            return None;
        }
        let mut gang = gang.clone();
        let minutes = job.minutes.map(|m| Seconds(m.saturating_mul(60)));
        gang.geometry.time_limit = gang.geometry.time_limit.or(minutes);
        // What is refused anyway is told so where its place is chosen.
        let Verdict::Launch(admission) = self.admit(&gang) else { return None };
        Some((self.core.over_limit(&gang, &admission)?, rules.refuse))
    }

    fn born_ms(&self) -> u64 {
        self.core.born_ms
    }

    fn lead_s(&self, pool: &str) -> u64 {
        self.core.lead.get(pool).copied().unwrap_or(0)
    }

    fn jitter(&self) -> u64 {
        self.jitter
    }
}

/// The first names, those of the life before only where there are no others, and not while they rest.
fn chosen<'a>(
    free: impl Iterator<Item = &'a String> + Clone,
    (former, rests): (&BTreeSet<String>, bool),
    count: usize,
) -> Option<Vec<String>> {
    let others = free.clone().filter(|n| !former.contains(*n));
    let again = free.filter(|n| !rests && former.contains(*n));
    let names: Vec<String> = others.chain(again).take(count).cloned().collect();
    (names.len() == count).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_life_before_are_taken_last() {
        let all = ["a", "b", "c", "d"].map(str::to_owned);
        let names = |former: &[&str], rests, count| {
            let former = former.iter().map(|n| (*n).to_owned()).collect();
            chosen(all.iter(), (&former, rests), count).map(|n| n.concat())
        };
        assert_eq!(names(&[], true, 2).as_deref(), Some("ab"));
        assert_eq!(names(&["a", "b"], true, 2).as_deref(), Some("cd"));
        assert_eq!(names(&["a", "b"], false, 3).as_deref(), Some("cda"));
        assert_eq!(names(&["a", "b"], true, 3), None, "a kill may still be on its way to them");
        assert_eq!(names(&["a"], false, 5), None);
    }
}
