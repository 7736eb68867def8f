//! Capacity reservations of the cloud in memory: their places are beside what the market has.

use super::{FakeCloud, Machine, State};
use crate::{FleetRequest, InstanceState};
use burst_policy::reservation::{Facts, Kind};

impl FakeCloud {
    /// Adds or replaces a capacity reservation; its places are beside what [`FakeCloud::set_capacity`] says.
    pub fn set_reservation(&self, facts: Facts) {
        self.state().reservations.insert(facts.id.clone(), facts);
    }
    /// Instances that take a place of a reservation now.
    #[must_use]
    pub fn in_reservation(&self, id: &str) -> u32 {
        self.state().held(id)
    }
}

/// Whether a launch goes into a Capacity Block: that gives what it has.
pub(super) fn is_block(r: &FleetRequest) -> bool {
    r.reservation.as_ref().is_some_and(|w| w.kind == Kind::CapacityBlock)
}

impl State {
    /// Places of a reservation that are taken: until an instance is terminated for good.
    pub(super) fn held(&self, id: &str) -> u32 {
        let holds = |m: &&Machine| {
            m.reservation.as_deref() == Some(id) && m.shown(&self.delays).state != InstanceState::Terminated
        };
        u32::try_from(self.machines.values().filter(holds).count()).unwrap_or(u32::MAX)
    }

    /// A reservation as EC2 shows it.
    pub(super) fn reserved(&self, id: &str) -> Option<Facts> {
        let f = self.reservations.get(id)?;
        Some(Facts { available: f.total.saturating_sub(self.held(id)), ..f.clone() })
    }

    /// Room for a launch that names a reservation; None: an ordinary launch, or one that takes an open one first.
    pub(super) fn reserved_room(&self, r: &FleetRequest) -> Option<Result<u32, (&'static str, String)>> {
        let wanted = r.reservation.as_ref().filter(|w| w.kind != Kind::Open)?;
        let Some(f) = self.reserved(&wanted.id) else {
            let text = format!("The capacity reservation ID '{}' does not exist", wanted.id);
            return Some(Err(("InvalidCapacityReservationId.NotFound", text)));
        };
        let same = f.instance_type == r.instance_type && f.zone == r.zone && f.kind == wanted.kind;
        if !same || f.group != r.group {
            let text = format!("the launch contradicts {}: {f:?}", f.id);
            return Some(Err(("ReservationCapacityExceeded", text)));
        }
        if f.state != "active" {
            return Some(Err(("ReservationCapacityExceeded", format!("{} is {}", f.id, f.state))));
        }
        Some(Ok(f.available))
    }
}
