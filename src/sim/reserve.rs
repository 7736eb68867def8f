//! Capacity reservations of the account: what is kept for who names it, beside what the zone has.

use crate::query::Tree;
use crate::world::{State, World};
use serde::{Deserialize, Serialize};

/// Kind of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Any matching launch takes a place.
    Open,
    /// Only launches that name it do.
    Targeted,
    /// Only launches that name it and its market do.
    CapacityBlock,
}

fn targeted() -> Kind {
    Kind::Targeted
}

/// A reservation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// `cr-…`.
    pub id: String,
    /// Instance type.
    #[serde(rename = "type")]
    pub itype: String,
    /// Availability zone.
    pub zone: String,
    /// Instances it holds places for.
    pub count: u64,
    /// Kind.
    #[serde(default = "targeted")]
    pub kind: Kind,
    /// Placement group it was made in.
    #[serde(default)]
    pub group: Option<String>,
    /// When it begins, Unix ms; absent: it has begun.
    #[serde(default)]
    pub start_ms: Option<u64>,
    /// When it ends, Unix ms; absent: never.
    #[serde(default)]
    pub end_ms: Option<u64>,
}

impl Reservation {
    /// Whether it can be there.
    pub fn check(&self, zones: &[String]) -> Result<(), String> {
        if !self.id.starts_with("cr-") {
            return Err(format!("reservation {}: an id looks like cr-…", self.id));
        }
        if crate::specs::find(&self.itype).is_none() {
            return Err(format!(
                "reservation {}: instance type {} is not known to the simulator",
                self.id, self.itype
            ));
        }
        if !zones.contains(&self.zone) {
            return Err(format!("reservation {}: zone {} is not in zones", self.id, self.zone));
        }
        Ok(())
    }

    /// EC2's word for where it stands.
    pub fn state(&self, now: u64) -> &'static str {
        match (self.start_ms, self.end_ms) {
            (_, Some(end)) if end <= now => "expired",
            (Some(start), _) if start > now => "scheduled",
            _ => "active",
        }
    }
}

/// Where a launch may run, by its template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// In any open reservation, else outside.
    Open,
    /// Outside of any.
    Outside,
    /// In any open reservation only.
    OpenOnly,
    /// In this one only.
    Named(String),
}

impl Wanted {
    /// Reads a template; its form was checked when it was made.
    pub fn of(data: &Tree) -> Self {
        let at = |k: &str| data.str(&format!("CapacityReservationSpecification.{k}"));
        match (at("CapacityReservationTarget.CapacityReservationId"), at("CapacityReservationPreference")) {
            (Some(id), _) => Self::Named(id.to_owned()),
            (None, Some("none")) => Self::Outside,
            (None, Some("capacity-reservations-only")) => Self::OpenOnly,
            _ => Self::Open,
        }
    }

    /// Whether it can run outside of reservations.
    pub fn outside(&self) -> bool {
        matches!(self, Self::Open | Self::Outside)
    }
}

/// A launch, as far as reservations matter.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Instance type.
    pub itype: &'a str,
    /// Zone.
    pub zone: &'a str,
    /// Placement group.
    pub group: Option<&'a str>,
    /// Market.
    pub market: &'a str,
}

impl World {
    /// Free places of a reservation.
    pub fn places(&self, r: &Reservation, now: u64) -> u64 {
        if r.state(now) != "active" {
            return 0;
        }
        let holds = |i: &&crate::world::Instance| {
            i.state != State::Terminated && i.capacity_reservation.as_deref() == Some(r.id.as_str())
        };
        r.count.saturating_sub(self.instances.values().filter(holds).count() as u64)
    }

    /// The placement group of a reservation.
    pub fn group_of(&self, id: Option<&str>) -> Option<String> {
        self.reservations.get(id?).and_then(|r| r.group.clone())
    }

    /// The reservations a launch can run in, in their order.
    pub fn serving<'a>(&'a self, wanted: &Wanted, p: Place<'_>) -> Vec<&'a Reservation> {
        let fits = |r: &&Reservation| {
            let same = r.itype == p.itype && r.zone == p.zone;
            // Without a group of its own a launch takes the reservation's (EC2 user guide, cluster placement groups).
            let grouped = r.group.is_none() || p.group.is_none() || r.group.as_deref() == p.group;
            let named = match wanted {
                Wanted::Named(id) => {
                    r.id == *id && (r.kind == Kind::CapacityBlock) == (p.market == "capacity-block")
                }
                Wanted::Open | Wanted::OpenOnly => r.kind == Kind::Open && p.market == "on-demand",
                Wanted::Outside => false,
            };
            same && grouped && named
        };
        self.reservations.values().filter(fits).collect()
    }
}
