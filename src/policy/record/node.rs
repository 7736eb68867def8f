//! Counters of a whole node, read by each step: two steps that run at once both see all of it.

use burst_plan::report::{NodeReport, StepReport};

/// What a counter of the node (its interfaces, its EFA devices) moved while the job's steps ran, each moment once: the batch
/// script runs beside the steps that it starts. Of a step that overlaps another one in part, what it saw counts by the share of
/// its time that was its own. A step that does not say when it ran counts whole. None: no step counted it.
#[must_use]
pub fn moved_once(report: &NodeReport, of: impl Fn(&StepReport) -> Option<u64>) -> Option<u64> {
    let mut timed: Vec<(u64, u64, u64)> = Vec::new();
    let mut sum: Option<u64> = None;
    let mut add = |n: u64| sum = Some(sum.unwrap_or(0).saturating_add(n));
    for step in &report.steps {
        match (of(step), step.began_ms, step.ended_ms) {
            (Some(n), Some(began), Some(ended)) if began <= ended => timed.push((began, ended, n)),
            (Some(n), ..) => add(n),
            (None, ..) => {}
        }
    }
    timed.sort_by_key(|(began, ended, _)| (*began, std::cmp::Reverse(*ended)));
    let mut covered = 0;
    for (began, ended, n) in timed {
        let own = if began >= covered {
            n
        } else if ended <= covered {
            continue;
        } else {
            let part = u128::from(n) * u128::from(ended - covered) / u128::from(ended - began);
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        add(own);
        covered = ended;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, when it ran, bytes.
    type Ran = (&'static str, Option<(u64, u64)>, u64);

    fn moved(steps: &[Ran]) -> Option<u64> {
        let step = |(name, time, bytes): &Ran| StepReport {
            step: (*name).to_owned(),
            began_ms: time.map(|t| t.0),
            ended_ms: time.map(|t| t.1),
            read_bytes: Some(*bytes),
            ..StepReport::default()
        };
        let report = NodeReport { steps: steps.iter().map(step).collect(), ..NodeReport::default() };
        moved_once(&report, |s| s.read_bytes)
    }

    #[test]
    fn each_moment_counts_once() {
        assert_eq!(moved(&[]), None);
        // The script sees what its steps move; what came before and between them, too.
        assert_eq!(
            moved(&[("0", Some((10, 20)), 500), ("1", Some((30, 40)), 400), ("batch", Some((0, 50)), 1_000)]),
            Some(1_000)
        );
        // One after the other.
        assert_eq!(moved(&[("0", Some((0, 10)), 500), ("1", Some((10, 40)), 400)]), Some(900));
        // A third of it was seen by the other already.
        assert_eq!(moved(&[("0", Some((0, 20)), 500), ("1", Some((10, 40)), 300)]), Some(700));
        assert_eq!(moved(&[("0", None, 500), ("1", Some((10, 40)), 300)]), Some(800));
        assert_eq!(moved(&[("0", Some((5, 5)), 5), ("1", Some((5, 5)), 5)]), Some(10));
        assert_eq!(moved(&[("0", Some((0, 10)), u64::MAX), ("1", Some((5, 20)), u64::MAX)]), Some(u64::MAX));
    }
}
