//! The tripwire: names of ours that Slurm has or wants up and that no gang backs. ResumeProgram tells at once; a look at
//! the node table finds what it could not tell (while the engine did not listen, Slurm's call went into the void), and
//! what slurmctld has forgotten: killed before it saved that a name was powered down, it would wait for a node that is
//! gone, set it DOWN in the end, and keep a job there that is long over.

use super::Core;
use crate::controller::Loud;
use burst_policy::gang::{Gang, NodeView, Seen};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A name is believed to be stray when looks so far apart agree, ms: a look may be older than what it is held against.
const SURE_MS: u64 = 3_000;
/// A name that stays up is told, and powered down, again after this, ms.
const AGAIN_MS: u64 = 60_000;

/// The names that were seen up without a gang.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    /// Name → (first seen so, last told; Unix ms).
    seen: BTreeMap<String, (u64, Option<u64>)>,
}

impl Strays {
    /// The names to be powered down now, of those that a look of `at_ms` showed up without a gang.
    fn due(&mut self, at_ms: u64, bare: &HashSet<&str>) -> Vec<String> {
        self.seen.retain(|name, _| bare.contains(name.as_str()));
        for name in bare {
            self.seen.entry((*name).to_owned()).or_insert((at_ms, None));
        }
        let mut due = Vec::new();
        for (name, (first, told)) in &mut self.seen {
            let again = told.is_none_or(|t| at_ms.saturating_sub(t) >= AGAIN_MS);
            if again && at_ms.saturating_sub(*first) >= SURE_MS {
                *told = Some(at_ms);
                due.push(name.clone());
            }
        }
        due
    }
}

/// Up or on its way up, and nothing takes it down yet. One that a job has may be a stranger's, whose instances are kept.
fn is_up(view: &NodeView) -> bool {
    let off = view.powering_down || view.power_down_asked;
    let up = !view.powered_down && !view.allocated && !view.completing;
    !off && (view.powering_up || view.power_up_asked || up)
}

/// Names of `nodes` that are `ours`, up and not `backed`, or up for a job whose gang is over (`haunted`).
fn bare<'a>(
    nodes: &'a HashMap<String, NodeView>,
    ours: &HashSet<&String>,
    backed: &HashSet<&String>,
    haunted: &HashSet<String>,
) -> HashSet<&'a str> {
    let busy = |n: &String, v: &NodeView| haunted.contains(n) && !(v.powering_down || v.power_down_asked);
    let up = nodes.iter().filter(|(name, view)| is_up(view) || busy(name, view)).map(|(name, _)| name);
    up.filter(|n| ours.contains(n) && !backed.contains(n)).map(String::as_str).collect()
}

/// Where a job is believed to run although its gang was over before this engine began, or has other names: it ran there in a
/// life before.
fn haunts(gang: &Gang, seen: &Seen, born_ms: u64) -> Option<Vec<String>> {
    let Seen::Is(j) = seen else { return None };
    let runs = matches!(j.state, 1 | 2);
    let over = !gang.is_living() && gang.since_ms < born_ms && (runs || j.completing);
    if !over && !runs {
        return None;
    }
    let nodes = burst_plan::hostlist::expand(&j.nodes).unwrap_or_default();
    (over || nodes.iter().all(|n| !gang.all_names().any(|own| own == n))).then_some(nodes)
}

impl Core {
    /// The names that living gangs may have up.
    fn backed(&self) -> HashSet<&String> {
        self.slots.values().filter(|s| s.gang.powered).flat_map(|s| s.gang.all_names()).collect()
    }

    /// Of names that Slurm resumes now, those without a gang are powered down again. What was done, in words.
    pub(super) fn resumed(&self, nodes: &[String]) -> Option<String> {
        let backed = self.backed();
        let bare: Vec<String> = nodes.iter().filter(|n| !backed.contains(n)).cloned().collect();
        (!bare.is_empty()).then(|| self.power_down_again(&bare))
    }

    /// Nodes of jobs that slurmctld, by an older table, believes to run on.
    fn haunted(&self) -> HashSet<String> {
        self.slots.values().filter_map(|s| haunts(&s.gang, &s.seen, self.born_ms)).flatten().collect()
    }

    /// The same for names that a look at the node table shows up.
    pub(super) fn look_for_strays(&mut self, at_ms: u64) {
        // Jobs come first: their nodes are not known to be haunted before a look at them.
        let haunted = self.haunted();
        if haunted.is_empty() && !self.nodes.values().any(is_up) {
            self.strays = Strays::default();
            return;
        }
        let snapshot = self.hands.shared.snapshot.load();
        let Some(config) = &snapshot.config else { return };
        // Where nothing may be launched (a journal that is not known to be ours), what is up may be in good hands.
        let pools = config.pools.values().filter(|p| snapshot.refusal(&p.name).is_none());
        let ours = pools.flat_map(|p| p.blocks.iter().flat_map(|b| &b.names)).collect();
        let bare = bare(&self.nodes, &ours, &self.backed(), &haunted);
        let mut strays = std::mem::take(&mut self.strays);
        let due = strays.due(at_ms, &bare);
        self.strays = strays;
        let coming = |n: &String| self.nodes.get(n).is_some_and(|v| v.powering_up || v.power_up_asked);
        let (coming, due): (Vec<String>, Vec<String>) = due.into_iter().partition(coming);
        if !coming.is_empty() {
            self.power_down_again(&coming);
        }
        if !due.is_empty() {
            let names = due.join(",");
            let text = format!("{names}: up in Slurm, and no gang backs it: powered down");
            self.hands.controller.log(Loud::Error, &text);
            self.tell(text, move |c| c.power_down(&names));
        }
    }

    fn power_down_again(&self, bare: &[String]) -> String {
        let names = bare.join(",");
        let text = format!("Slurm asked to resume {names}, which no gang backs: powered down again");
        self.hands.controller.log(Loud::Error, &text);
        self.tell(format!("{names}, which no gang backs"), move |c| c.power_down(&names));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up() -> NodeView {
        NodeView { idle: true, powering_up: true, ..NodeView::default() }
    }

    #[test]
    fn only_names_of_ours_that_are_up_without_a_gang_are_bare() {
        let names: Vec<String> = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(str::to_owned).to_vec();
        let down = NodeView { power_down_asked: true, ..up() };
        let off = NodeView { idle: true, powered_down: true, ..NodeView::default() };
        let idle = NodeView { idle: true, ..NodeView::default() };
        let busy = NodeView { allocated: true, ..NodeView::default() };
        let going = NodeView { powering_down: true, ..busy.clone() };
        let views = [up(), up(), up(), down, off, idle, busy.clone(), busy, going];
        let nodes: HashMap<_, _> = names.iter().cloned().zip(views).collect();
        let ours = names.iter().filter(|n| *n != "b").collect();
        let backed = names.iter().filter(|n| *n == "c").collect();
        let haunted = HashSet::from(["h".to_owned(), "i".to_owned()]);
        assert_eq!(bare(&nodes, &ours, &backed, &haunted), HashSet::from(["a", "f", "h"]));
    }

    #[test]
    fn a_job_haunts_the_names_it_ran_on_in_a_life_before() {
        use burst_policy::gang::JobView;
        let (request, geometry) = (burst_plan::Request::default(), burst_plan::Geometry::default());
        let mut g = Gang::new("00ff".into(), 1, "efa".into(), request, geometry, 2_000);
        g.names = vec!["n3".into()];
        let seen =
            |state, nodes: &str| Seen::Is(JobView { state, nodes: nodes.into(), ..JobView::default() });
        let there = Some(vec!["n1".to_owned(), "n2".to_owned()]);
        assert_eq!(haunts(&g, &seen(1, "n[1-2]"), 1_000), there, "it has other names now");
        assert_eq!(haunts(&g, &seen(1, "n[2-3]"), 1_000), None, "its own");
        assert_eq!(haunts(&g, &seen(0, ""), 1_000), None);
        g.phase = burst_policy::gang::Phase::Done;
        g.names.clear();
        assert_eq!(haunts(&g, &seen(1, "n[1-2]"), 1_000), there);
        assert_eq!(haunts(&g, &seen(3, "n[1-2]"), 3_000), None, "it is over");
        assert_eq!(haunts(&g, &Seen::Gone, 3_000), None);
    }

    #[test]
    fn a_stray_is_told_when_looks_agree_and_not_at_each_look() {
        let mut strays = Strays::default();
        let bare = HashSet::from(["a"]);
        assert!(strays.due(1_000, &bare).is_empty());
        assert!(strays.due(1_000 + SURE_MS - 1, &bare).is_empty());
        assert_eq!(strays.due(1_000 + SURE_MS, &bare), ["a"]);
        assert!(strays.due(1_000 + SURE_MS + AGAIN_MS - 1, &bare).is_empty());
        assert_eq!(strays.due(1_000 + SURE_MS + AGAIN_MS, &bare), ["a"]);
        // Quiet in between: it begins anew.
        assert!(strays.due(200_000, &HashSet::new()).is_empty());
        assert!(strays.due(201_000, &bare).is_empty());
    }
}
