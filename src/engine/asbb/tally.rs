//! What the budget service has answered, counted for `/metrics`.

use burst_policy::asbb::{Settled, Word};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since slurmctld started, and costs that wait now.
#[derive(Debug, Default)]
pub(super) struct Tally {
    agreed: AtomicU64,
    refused: AtomicU64,
    unclear: AtomicU64,
    taken: AtomicU64,
    given_up: AtomicU64,
    later: AtomicU64,
    waiting: AtomicU64,
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    /// An answer to a question before a launch, or none.
    pub fn checked(&self, word: &Word) {
        one_more(match word {
            Word::Yes { .. } => &self.agreed,
            Word::No(_) => &self.refused,
            Word::Unclear(_) => &self.unclear,
        });
    }

    /// An answer to a cost that was told, or none.
    pub fn told(&self, settled: &Settled) {
        one_more(match settled {
            Settled::Yes => &self.taken,
            Settled::Never(_) => &self.given_up,
            Settled::Again(_) => &self.later,
        });
    }

    /// So many costs wait to be told.
    pub fn waits(&self, count: usize) {
        self.waiting.store(count as u64, Ordering::Relaxed);
    }

    /// As OpenMetrics.
    pub fn metrics(&self, out: &mut String) {
        counted(
            out,
            "checks",
            "Questions to the budget service before launches, by its answer",
            [("agreed", &self.agreed), ("refused", &self.refused), ("unclear", &self.unclear)],
        );
        counted(
            out,
            "told",
            "Costs told to the budget service, by its answer",
            [("taken", &self.taken), ("given_up", &self.given_up), ("later", &self.later)],
        );
        let name = "burst_budget_service_waiting";
        let n = self.waiting.load(Ordering::Relaxed);
        // Writing to a String cannot fail.
        let _ = write!(out, "# TYPE {name} gauge\n# HELP {name} Costs that wait to be told.\n{name} {n}\n");
    }
}

/// One counter with its answers.
fn counted(out: &mut String, name: &str, help: &str, counts: [(&str, &AtomicU64); 3]) {
    let name = format!("burst_budget_service_{name}");
    // Writing to a String cannot fail.
    let _ = write!(out, "# TYPE {name} counter\n# HELP {name} {help}.\n");
    for (answer, count) in counts {
        let n = count.load(Ordering::Relaxed);
        let _ = writeln!(out, "{name}_total{{answer=\"{answer}\"}} {n}");
    }
}
