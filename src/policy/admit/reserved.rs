//! The pool's reservations as rungs: before what is bought without one.

use super::Rung;
use crate::{config::Pool, reservation::Reserved};
use burst_plan::Market;

/// Puts before the rungs those of the pool's reservations that serve one of them: the same hardware in the same zone,
/// bought on demand.
pub(super) fn put(pool: &Pool, ladder: &mut Vec<Rung>) {
    let rung = |r: &crate::reservation::Reservation| {
        let serves = |l: &&Rung| l.instance_type == r.instance_type && l.zone == r.zone;
        let base = ladder.iter().filter(|l| l.market == Market::OnDemand).find(serves)?;
        let reservation = Reserved { id: r.id.clone(), kind: r.kind, group: r.group.clone() };
        Some(Rung { reservation: Some(reservation), ..base.clone() })
    };
    let mut all: Vec<Rung> = pool.reservations.iter().filter_map(rung).collect();
    all.append(ladder);
    *ladder = all;
}

/// Leaves only reservations where the pool has nothing else; why nothing is left.
pub(super) fn only(pool: &Pool, ladder: &mut Vec<Rung>) -> Option<String> {
    if !pool.reservations_only || ladder.is_empty() {
        return None;
    }
    ladder.retain(|r| r.reservation.is_some());
    ladder.is_empty().then(|| {
        let ids: Vec<&str> = pool.reservations.iter().map(|r| r.id.as_str()).collect();
        format!(
            "it launches only into its reservations ({}), which are on-demand capacity of their own type and zone",
            ids.join(", ")
        )
    })
}

/// What a job is told that does not use the pool's reservations.
pub(super) fn unused(pool: &Pool, market: Market) -> Option<String> {
    let none = pool.reservations.is_empty() || market == Market::OnDemand;
    (!none).then(|| format!("{} instances do not run in the pool's capacity reservations", market.word()))
}
