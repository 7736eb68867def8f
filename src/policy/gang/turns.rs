//! Waiting for a turn to launch, without telling the same thing again and again.

use super::{Gang, Phase, Why};

/// An expectation that has moved by less than this, or by less than a fifth of the wait, is not told anew (ms): the
/// comment holds no moving figures.
const MOVED_MS: u64 = 5_000;

/// Whether the reason is one that asking for a turn gave.
pub(super) fn waits(why: &Why) -> bool {
    matches!(why, Why::Rate { .. } | Why::Outage { .. })
}

/// The gang waits for its turn, and asks again then.
pub(super) fn wait(g: &mut Gang, why: Why, ask_ms: u64, now: u64) {
    let text = match &why {
        Why::Outage { calls, code } => format!("EC2 fails ({calls}: {code}): waits for it"),
        _ => "EC2's request budget: waits for its turn".to_owned(),
    };
    let last = g.history.last().filter(|e| e.phase == "Waiting" && e.text == text);
    let until_ms = Some(ask_ms);
    if last.is_none() {
        g.told_turn = Some(why.clone());
        g.enter(Phase::Waiting { until_ms, why }, text, now);
        return;
    }
    let why = match (&g.told_turn, why) {
        (Some(Why::Rate { said_ms, expected_ms: old }), Why::Rate { expected_ms, said_ms: now })
            if old.abs_diff(expected_ms) <= MOVED_MS.max(expected_ms.saturating_sub(now) / 5) =>
        {
            Why::Rate { said_ms: *said_ms, expected_ms: *old }
        }
        (_, why) => why,
    };
    g.told_turn = Some(why.clone());
    g.phase = Phase::Waiting { until_ms, why };
}
