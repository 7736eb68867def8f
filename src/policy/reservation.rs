//! Capacity reservations as rungs: what the site has reserved is tried before what EC2 happens to have.
//!
//! An On-Demand Capacity Reservation is used by an ordinary on-demand launch that targets it, or, where it is open, by
//! any launch of its type in its zone. A Capacity Block needs a market type of its own. What contradicts itself is
//! refused in burst.toml; what EC2 says of a reservation (ended, another zone, too few left) is looked at before each
//! launch, so that no call is made that cannot be granted.

use crate::{admit::Rung, when::utc};
use burst_plan::Seconds;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// EC2 begins to end a Capacity Block's instances so long before the block's end (EC2 user guide, Capacity Blocks: the
/// warning comes 40 minutes before the end and tells of an end of the instances 10 minutes later).
pub const BLOCK_MARGIN_S: u64 = 1_800;

/// How a reservation is bought and used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An On-Demand Capacity Reservation that takes every matching instance (`InstanceMatchCriteria` open).
    Open,
    /// An On-Demand Capacity Reservation that takes only instances which name it (targeted).
    Targeted,
    /// A Capacity Block: reserved for days, launched with the market type `capacity-block`.
    CapacityBlock,
}

impl Kind {
    /// The word of burst.toml.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Targeted => "targeted",
            Self::CapacityBlock => "capacity-block",
        }
    }
}

/// `[[pool.NAME.reservation]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// `id`: `cr-…`.
    pub id: String,
    /// `kind`, default targeted.
    pub kind: Kind,
    /// `type`: one of the pool's blocks.
    pub instance_type: String,
    /// `zone`: one of the pool's zones, or of its further Regions'.
    pub zone: String,
    /// `group`: the placement group the reservation was made in; None: launched without one.
    pub group: Option<String>,
}

/// The reservation a rung is launched into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// `cr-…`.
    pub id: String,
    /// How.
    pub kind: Kind,
    /// The site's placement group, where the reservation was made in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// What EC2 says of a reservation (`DescribeCapacityReservations`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `CapacityReservationId`.
    pub id: String,
    /// `State`: active, scheduled, expired, …
    pub state: String,
    /// Capacity Block (`ReservationType`), open or targeted (`InstanceMatchCriteria`).
    pub kind: Kind,
    /// `InstanceType`.
    pub instance_type: String,
    /// `AvailabilityZone`.
    pub zone: String,
    /// `TotalInstanceCount`.
    pub total: u32,
    /// `AvailableInstanceCount`.
    pub available: u32,
    /// The name in `PlacementGroupArn`.
    pub group: Option<String>,
    /// `StartDate`, Unix seconds.
    pub start_s: Option<u64>,
    /// `EndDate`, Unix seconds.
    pub end_s: Option<u64>,
}

/// What contradicts burst.toml in what EC2 says of a reservation: these do not change by waiting.
#[must_use]
pub fn contradictions(configured: &Reservation, facts: &Facts) -> Vec<String> {
    let mut out = Vec::new();
    let mut differs = |key: &str, ours: &str, real: &str| {
        if ours != real {
            out.push(format!("its {key} is {real}, not {ours}"));
        }
    };
    differs("kind", configured.kind.word(), facts.kind.word());
    differs("type", &configured.instance_type, &facts.instance_type);
    differs("zone", &configured.zone, &facts.zone);
    match (&configured.group, &facts.group) {
        (None, Some(real)) => out.push(format!("it was made in placement group {real}: write group")),
        (Some(ours), None) => out.push(format!("it was not made in placement group {ours}: leave group out")),
        (Some(ours), Some(real)) if ours != real => {
            out.push(format!("it was made in placement group {real}, not {ours}"));
        }
        _ => {}
    }
    out
}

/// What is known of a rung's reservation when it may be launched.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// EC2's word; None: it does not know the reservation.
    pub facts: Option<&'a Facts>,
    /// Places that gangs have taken since that word.
    pub taken: u32,
    /// The longest that the gang may live: boot, start, time limit and end.
    pub lasts: Seconds,
    /// Unix seconds.
    pub now_s: u64,
}

/// Why a rung's reservation cannot take its gang now; None: it can, or the rung has none.
#[must_use]
pub fn unusable(rung: &Rung, now: Now<'_>) -> Option<String> {
    let r = rung.reservation.as_ref()?;
    let id = &r.id;
    let Some(f) = now.facts else {
        return Some(format!("{id}: EC2 does not know this reservation"));
    };
    let own = Reservation {
        id: id.clone(),
        kind: r.kind,
        instance_type: rung.instance_type.clone(),
        zone: rung.zone.clone(),
        group: r.group.clone(),
    };
    let wrong = contradictions(&own, f);
    if !wrong.is_empty() {
        return Some(format!("{id}: {}", wrong.join("; ")));
    }
    if let Some(start) = f.start_s.filter(|s| *s > now.now_s) {
        return Some(format!("{id}: begins {}", utc(start)));
    }
    if f.state != "active" {
        return Some(format!("{id}: is {}", burst_plan::clean(&f.state, 40)));
    }
    if let Some(end) = f.end_s.filter(|_| r.kind == Kind::CapacityBlock) {
        let last = end.saturating_sub(BLOCK_MARGIN_S);
        if now.now_s >= last {
            return Some(format!("{id}: has ended (EC2 ends its instances from {} on)", utc(last)));
        }
        if now.now_s.saturating_add(now.lasts.0) > last {
            return Some(format!("{id}: the job could run beyond its end (instances end {})", utc(last)));
        }
    }
    let left = f.available.saturating_sub(now.taken);
    // Instances beyond an open reservation would be ordinary ones: that is the next rung's business.
    (left < rung.nodes).then(|| format!("{id}: {left} of {} instances are free", f.total))
}
