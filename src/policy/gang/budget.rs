//! The budget service's word, asked before a launch.

use super::{Effect, Gang, House, Phase, Why};
use crate::{
    admit::Rung,
    asbb::{Check, Decision, MOST_PROMISES, Promise, Shape, covers},
};

/// First pause after a service that did not answer, ms; the pool's `retry_min` where that is longer.
const PAUSE_MS: u64 = 15_000;

/// The question that has to be answered before this rung is launched; None: it may be.
pub(super) fn ask(g: &Gang, rung: &Rung, house: &dyn House, now_ms: u64) -> Option<Effect> {
    house.budget()?;
    let shape = Shape::of(rung.nodes, rung.block, house.pool(&g.pool)?, &g.geometry)?;
    if covers(&g.promises, &shape, now_ms) {
        return None;
    }
    Some(Effect::Budget { check: Check::new(&g.geometry, &g.user, &shape), shape })
}

/// Takes the answer into the gang.
pub(super) fn answered(g: &mut Gang, shape: &Shape, decision: Decision, house: &dyn House, now_ms: u64) {
    let pool = house.pool(&g.pool);
    let pause = |s: Option<u64>| now_ms + s.unwrap_or(0).saturating_mul(1000).max(PAUSE_MS);
    match decision {
        Decision::Go { transaction, note } => {
            // Waivers are out of date by now, and a promise for every shape is more than a ladder has.
            g.promises.retain(|p| !p.transaction.is_empty());
            g.promises.truncate(MOST_PROMISES - 1);
            g.promises.push(Promise { transaction, shape: *shape, at_ms: now_ms });
            g.note(note, now_ms);
        }
        // A gang that is being given back asks nothing: its answer only had to be kept.
        _ if !matches!(g.phase, Phase::Planned) => {}
        Decision::Wait(why) => {
            // The cheapest place may be in the budget when the ladder begins anew.
            g.rung = 0;
            let until_ms = Some(pause(pool.map(|p| p.retry_min.0)));
            g.enter(Phase::Waiting { until_ms, why: Why::Budget(why.clone()) }, why, now_ms);
        }
        Decision::Stop(why) => g.enter(Phase::Failed(why.clone()), why, now_ms),
    }
}
