//! Operations that have exhausted their retry budget: still tried, at a low rate, and shown to people.

use super::{Gang, Phase, Stage, done::PAUSE_MOST_MS, step::NUDGE_MS};

/// Tries after which an operation is a dead letter: with their pauses some three minutes; a hold's, which are short because
/// the scheduler does not wait, some twenty seconds.
pub const BUDGET: u32 = 10;
/// Pause between tries of a dead letter, ms: what it would end may cost money.
pub const PAUSE_MS: u64 = 120_000;

/// What does not succeed, and how often it was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The operation and what its failing means.
    pub what: &'static str,
    /// Tries so far.
    pub tries: u32,
    /// The longest pause before the next one, ms.
    pub pause_ms: u64,
}

/// The gang's dead letter, if it has one.
#[must_use]
pub fn letter(g: &Gang) -> Option<DeadLetter> {
    let hold = g.hold.tries;
    let (what, tries, pause_ms) = match &g.phase {
        Phase::Ending { stage: Stage::Terminate, tries, .. } if *tries >= BUDGET || hold < BUDGET => {
            ("TerminateInstances: its instances run on and are paid for", *tries, PAUSE_MS)
        }
        Phase::Ending { .. } if hold >= BUDGET => {
            let what = "Slurm does not take the job's hold: it may be started on nodes that go away";
            (what, hold, PAUSE_MOST_MS)
        }
        Phase::Ending { stage: Stage::Settle { .. }, tries, .. } => {
            ("POWER_DOWN_FORCE: its node names do not come down", *tries, NUDGE_MS)
        }
        Phase::Ending { tries, .. } => ("Slurm does not take the names' power-down", *tries, PAUSE_MOST_MS),
        Phase::Launching { tries, .. } if g.sent => {
            ("CreateFleet: no answer, so that it may have been granted", *tries, PAUSE_MOST_MS)
        }
        _ => return None,
    };
    (tries >= BUDGET).then_some(DeadLetter { what, tries, pause_ms })
}
