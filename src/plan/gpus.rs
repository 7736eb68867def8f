//! GPUs in Slurm's TRES texts: what `--gpus`, `--gpus-per-node`, `--gpus-per-socket`, `--gpus-per-task` and `--gres` become.
use crate::Geometry;

/// GPUs a job asks for, by what they are counted against; 0 where nothing was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gpus {
    /// In the whole job (`--gpus`).
    pub job: u32,
    /// On each node (`--gpus-per-node`, `--gres=gpu:N`).
    pub node: u32,
    /// On each socket (`--gpus-per-socket`).
    pub socket: u32,
    /// For each task (`--gpus-per-task`).
    pub task: u32,
}

/// GPUs of `gres:gpu:8`, `gpu:8`, `gres:gpu:h100:8`, `gres/gpu=8` or a list of such; 0 where none are asked for.
#[must_use]
pub fn count(tres: &str) -> u32 {
    tres.split([',', ';']).map(one).fold(0, u32::saturating_add)
}

fn one(item: &str) -> u32 {
    let item = item.trim();
    let item = item.strip_prefix("gres:").or_else(|| item.strip_prefix("gres/")).unwrap_or(item);
    let Some(rest) = item.strip_prefix("gpu").filter(|r| r.is_empty() || r.starts_with([':', '=', '/']))
    else {
        return 0;
    };
    // What stands last is the number, unless only a kind of GPU was named.
    number(rest.rsplit([':', '=']).next().unwrap_or("")).unwrap_or(1)
}

/// Digits, and perhaps one of Slurm's units. A number too large to be a count is more than any node has.
fn number(text: &str) -> Option<u32> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text.get(digits.len()..)? {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    Some(n.and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX))
}

impl Gpus {
    /// What a job asks for.
    #[must_use]
    pub fn of(job: &Geometry) -> Self {
        let of = |t: &Option<String>| t.as_deref().map_or(0, count);
        Self {
            job: of(&job.tres_per_job),
            node: of(&job.tres_per_node),
            socket: of(&job.tres_per_socket),
            task: of(&job.tres_per_task),
        }
    }

    /// Whether it asks for any.
    #[must_use]
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Tasks of a job that gives none: all its GPUs, so many for each, as Slurm counts them.
    #[must_use]
    pub fn tasks(&self) -> Option<u32> {
        (self.job > 0 && self.task > 0).then(|| self.job.div_ceil(self.task))
    }

    /// GPUs the job may use on one node that has so many.
    ///
    /// # Errors
    /// For the job's owner: what a node lacks.
    pub fn room(&self, have: u32) -> Result<u32, String> {
        if self.any() && have == 0 {
            return Err(format!("it asks for GPUs ({}), this type has none", self.words()));
        }
        let room = if self.node > 0 { self.node.min(have) } else { have };
        for (need, of, what) in [
            (self.node, have, "GPUs on each node (--gpus-per-node or --gres)"),
            (self.socket, room, "GPUs on each socket (--gpus-per-socket)"),
            (self.task, room, "GPUs for one task (--gpus-per-task)"),
        ] {
            if need > of {
                return Err(format!("it needs {need} {what}, a node has {of} for it"));
            }
        }
        Ok(room)
    }

    /// The options that ask for them.
    fn words(&self) -> String {
        let all = [
            ("--gpus", self.job),
            ("--gpus-per-node", self.node),
            ("--gpus-per-socket", self.socket),
            ("--gpus-per-task", self.task),
        ];
        let given: Vec<String> =
            all.iter().filter(|(_, n)| *n > 0).map(|(o, n)| format!("{o}={n}")).collect();
        given.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::nodes_for;
    use proptest::prelude::*;

    fn asks(job: &str, node: &str, socket: &str, task: &str) -> Geometry {
        let given = |t: &str| (!t.is_empty()).then(|| t.to_owned());
        let mut g = Geometry::default();
        g.set_tres(given(job), given(node), given(socket), given(task));
        g
    }

    #[test]
    fn every_spelling() {
        for (text, gpus) in [
            ("gres:gpu:8", 8),
            ("gres/gpu:8", 8),
            ("gpu", 1),
            ("gpu=2", 2),
            ("gpu:h100", 1),
            ("gres:gpu:h100:8", 8),
            ("gres:gpu:a100:2", 2),
            ("gres/gpu=4", 4),
            ("gres/gpu:a100=4", 4),
            ("gres:gpu:a100:2,gres:gpu:h100:4", 6),
            ("cpu:2,gres/gpu:1", 1),
            (" gpu:3 , gres:efa:1", 3),
            ("gres:gpumem:80", 0),
            ("gres:gres:gpu:2", 0),
            ("gres:efa:1", 0),
            ("gpu:1K", 1_024),
            ("gpu:99999999999", u32::MAX),
            ("gpu:18446744073709551616", u32::MAX),
            ("gpu:4294967295,gpu:2", u32::MAX),
            ("gpu:-1", 1),
            ("gpu:0", 0),
            ("", 0),
        ] {
            assert_eq!(count(text), gpus, "{text}");
        }
    }

    #[test]
    fn nodes_follow_from_gpus() {
        let nodes = |g: &Geometry, gpus| nodes_for(g, 96, 1_000_000, gpus);
        assert_eq!(nodes(&asks("gres:gpu:16", "", "", ""), 8), Ok(2));
        assert_eq!(nodes(&asks("gres:gpu:17", "", "", ""), 8), Ok(3));
        assert_eq!(nodes(&asks("gres:gpu:16", "gres:gpu:4", "", ""), 8), Ok(4), "four a node, as asked");
        assert_eq!(nodes(&asks("gres:gpu:16", "", "", "gres:gpu:2"), 8), Ok(2), "eight tasks of two");
        let tasks = |g: Geometry, n: u32| Geometry { ntasks: Some(n), ..g };
        assert_eq!(nodes(&tasks(asks("", "", "", "gres:gpu:a100:2"), 8), 8), Ok(2));
        assert_eq!(
            nodes(&tasks(asks("", "", "", "gres:gpu:3"), 4), 8),
            Ok(2),
            "two tasks of three on a node of eight"
        );
        let packed = Geometry { ntasks_per_node: Some(2), ..tasks(asks("", "", "", "gpu:1"), 8) };
        assert_eq!(nodes(&packed, 8), Ok(4));
        let fixed = Geometry { min_nodes: Some(4), max_nodes: Some(4), ..asks("gpu:8", "", "", "") };
        assert_eq!(nodes(&fixed, 8), Ok(4));
        assert_eq!(nodes(&asks("", "", "gpu:4", ""), 8), Ok(1));
        assert_eq!(nodes(&asks("gpu:0", "", "", ""), 0), Ok(1), "--gpus=0 asks for none");
    }

    #[test]
    fn what_a_node_lacks_is_said() {
        let why = |g: &Geometry, gpus| nodes_for(g, 96, 1_000_000, gpus).expect_err("does not fit");
        let e = why(&asks("gres:gpu:2", "", "", ""), 0);
        assert!(e.contains("asks for GPUs (--gpus=2), this type has none"), "{e}");
        let e = why(&asks("", "", "", "gres:gpu:9"), 8);
        assert!(e.contains("9 GPUs for one task"), "{e}");
        let e = why(&asks("", "gpu:2", "", "gpu:4"), 8);
        assert!(e.contains("4 GPUs for one task") && e.contains("2 for it"), "{e}");
        assert!(why(&asks("", "", "gpu:9", ""), 8).contains("on each socket"));
        assert!(why(&asks("", "gpu:99999999999", "", ""), 8).contains("GPUs on each node"));
        let few = Geometry { max_nodes: Some(2), ..asks("gpu:32", "", "", "") };
        assert!(why(&few, 8).contains("at most 2"));
        let many = Geometry { ntasks_per_node: Some(8), ..asks("", "", "", "gpu:2") };
        assert!(why(&many, 8).contains("8 tasks"), "{}", why(&many, 8));
    }

    proptest! {
        #[test]
        fn the_gang_has_what_was_asked(
            job in 0u32..200, node in 0u32..9, task in 0u32..9, tasks in proptest::option::of(1u32..100), have in 1u32..17,
        ) {
            let text = |n: u32| if n > 0 { format!("gres:gpu:{n}") } else { String::new() };
            let g = Geometry { ntasks: tasks, ..asks(&text(job), &text(node), "", &text(task)) };
            if let Ok(n) = nodes_for(&g, 96, 1_000_000, have) {
                prop_assert!(n * have >= job);
                prop_assert!(n * have >= tasks.unwrap_or(1) * task);
                prop_assert!(have >= node);
                prop_assert!(nodes_for(&g, 96, 1_000_000, have + 1).expect("more fits") <= n);
            }
        }

        #[test]
        fn nothing_panics(texts in any::<[String; 4]>(), have in any::<u32>()) {
            let [a, b, c, d] = texts.map(|t| format!("gpu{t}"));
            let _ = nodes_for(&asks(&a, &b, &c, &d), 1, 1, have);
        }
    }
}
