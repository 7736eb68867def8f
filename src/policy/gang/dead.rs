//! Operations that have exhausted their retry budget: still tried, at a low rate, and shown to people.

use super::{Gang, Phase, Stage};

/// Tries after which an operation is a dead letter: with their pauses some three minutes.
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
}

/// The gang's dead letter, if it has one.
#[must_use]
pub fn letter(g: &Gang) -> Option<DeadLetter> {
    let (what, tries) = match &g.phase {
        Phase::Ending { stage, .. } if g.hold_again.0 >= BUDGET && !matches!(stage, Stage::Terminate) => {
            ("Slurm does not take the job's hold: it may be started on nodes that go away", g.hold_again.0)
        }
        Phase::Ending { stage: Stage::Terminate, tries, .. } => {
            ("TerminateInstances: its instances run on and are paid for", *tries)
        }
        Phase::Ending { stage: Stage::Settle { .. }, tries, .. } => {
            ("POWER_DOWN_FORCE: its node names do not come down", *tries)
        }
        Phase::Ending { tries, .. } => ("Slurm does not take the names' power-down", *tries),
        Phase::Launching { tries, .. } if g.sent => {
            ("CreateFleet: no answer, so that it may have been granted", *tries)
        }
        _ => return None,
    };
    (tries >= BUDGET).then_some(DeadLetter { what, tries })
}
