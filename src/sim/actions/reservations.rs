//! Capacity reservations: what they show, and what a launch may ask of them.

use super::Request;
use super::shared::{Filters, dry_run, page};
use crate::clock::{iso8601, now_ms};
use crate::errors::{ApiError, ApiResult};
use crate::query::Tree;
use crate::reserve::{Kind, Place, Reservation, Wanted};
use crate::world::World;
use serde_json::{Value, json};

fn combination(text: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterCombination", text)
}

fn unknown(id: &str) -> ApiError {
    ApiError::new(
        "InvalidCapacityReservationId.NotFound",
        format!("The capacity reservation ID '{id}' is not found"),
    )
}

/// What a template says of reservations and of its market has to make sense by itself.
pub fn check(data: &Tree) -> ApiResult<()> {
    let at = |k: &str| data.str(&format!("CapacityReservationSpecification.{k}"));
    let id = at("CapacityReservationTarget.CapacityReservationId");
    let arn = at("CapacityReservationTarget.CapacityReservationResourceGroupArn");
    if id.is_some() && arn.is_some() {
        return Err(combination(
            "Specify either a Capacity Reservation ID or a Capacity Reservation resource group ARN, not both.",
        ));
    }
    if arn.is_some() {
        return Err(ApiError::new(
            "UnsupportedOperation",
            "Groups of capacity reservations are not simulated.",
        ));
    }
    let preference = at("CapacityReservationPreference");
    if id.is_some() && preference.is_some_and(|p| p != "capacity-reservations-only") {
        return Err(combination(
            "CapacityReservationPreference and CapacityReservationTarget can only both be specified when the \
             preference is capacity-reservations-only.",
        ));
    }
    if data.str("InstanceMarketOptions.MarketType") == Some("capacity-block") && id.is_none() {
        return Err(combination(
            "A Capacity Block must be named as the Capacity Reservation target when the market type is capacity-block.",
        ));
    }
    Ok(())
}

/// Whether the market of a launch is the one its template is made for.
pub fn market(data: &Tree, market: &str) -> ApiResult<()> {
    let block = data.str("InstanceMarketOptions.MarketType") == Some("capacity-block");
    match (block, market == "capacity-block") {
        (true, true) => Ok(()),
        (false, true) => Err(combination(
            "The launch template must set the market type capacity-block when the default target capacity type is \
             capacity-block.",
        )),
        _ if data.at("InstanceMarketOptions").is_none() => Ok(()),
        _ => Err(combination("The launch template of a fleet must not set InstanceMarketOptions.")),
    }
}

/// What a launch names has to be there and of its kind; whether it has room is told later.
pub fn usable(w: &World, wanted: &Wanted, p: Place<'_>) -> ApiResult<()> {
    let Wanted::Named(id) = wanted else { return Ok(()) };
    let r = w.reservations.get(id).ok_or_else(|| unknown(id))?;
    if p.market == "spot" {
        return Err(combination("Spot Instances cannot run in a Capacity Reservation."));
    }
    if (r.kind == Kind::CapacityBlock) != (p.market == "capacity-block") {
        return Err(combination(format!(
            "The Capacity Reservation '{id}' is {}a Capacity Block; the market type of the launch has to match.",
            if r.kind == Kind::CapacityBlock { "" } else { "not " }
        )));
    }
    if r.kind == Kind::CapacityBlock && p.group.is_some() {
        return Err(combination("Placement groups cannot be used with Capacity Blocks."));
    }
    if r.itype != p.itype || r.zone != p.zone {
        return Err(ApiError::new(
            "InvalidParameterValue",
            format!(
                "The Capacity Reservation '{id}' is for {} in {}, and the launch for {} in {}.",
                r.itype, r.zone, p.itype, p.zone
            ),
        ));
    }
    if let (Some(theirs), Some(asked)) = (&r.group, p.group)
        && theirs != asked
    {
        return Err(combination(format!(
            "The Capacity Reservation '{id}' was created in the placement group '{theirs}', not in '{asked}'."
        )));
    }
    Ok(())
}

/// Several Capacity Blocks in one fleet are not supported (EC2 user guide, EC2 Fleet and Capacity Blocks).
pub fn one_block(ids: impl Iterator<Item = Wanted>) -> ApiResult<()> {
    let mut all: Vec<Wanted> = Vec::new();
    for w in ids {
        if !all.contains(&w) {
            all.push(w);
        }
    }
    if all.len() > 1 {
        return Err(combination("Multiple Capacity Blocks in the same EC2 Fleet request are not supported."));
    }
    Ok(())
}

/// The error of a reservation without room: a Capacity Block's as for any missing capacity.
pub fn full(wanted: &Wanted, market: &str) -> Option<ApiError> {
    let Wanted::Named(id) = wanted else { return None };
    Some(match market {
        "capacity-block" => ApiError::new(
            "InsufficientInstanceCapacity",
            format!("There is insufficient capacity in the Capacity Block '{id}' to fulfill your request."),
        ),
        _ => ApiError::new(
            "ReservationCapacityExceeded",
            format!(
                "The requested reservation '{id}' does not have sufficient compatible and available capacity for this request."
            ),
        ),
    })
}

fn show(r: &Request<'_>, w: &World, c: &Reservation, now: u64) -> Value {
    let (region, account) = (&r.sim.cfg.region, &r.sim.cfg.account);
    let block = c.kind == Kind::CapacityBlock;
    json!({
        "capacityReservationId": c.id, "ownerId": account,
        "capacityReservationArn": format!("arn:aws:ec2:{region}:{account}:capacity-reservation/{}", c.id),
        "availabilityZone": c.zone, "availabilityZoneId": r.sim.zone_id(&c.zone), "instanceType": c.itype,
        "instancePlatform": "Linux/UNIX", "tenancy": "default", "totalInstanceCount": c.count,
        "availableInstanceCount": w.places(c, now), "ebsOptimized": false, "ephemeralStorage": false,
        "state": c.state(now), "startDate": c.start_ms.map(iso8601), "endDate": c.end_ms.map(iso8601),
        "endDateType": if c.end_ms.is_some() { "limited" } else { "unlimited" },
        "instanceMatchCriteria": if c.kind == Kind::Open { "open" } else { "targeted" },
        "reservationType": if block { "capacity-block" } else { "default" },
        "placementGroupArn":
            c.group.as_ref().map(|g| format!("arn:aws:ec2:{region}:{account}:placement-group/{g}")),
    })
}

/// DescribeCapacityReservations.
pub fn describe(r: &Request<'_>) -> ApiResult<Value> {
    let filters =
        Filters::read(&r.tree, &["instance-type", "availability-zone", "state", "instance-match-criteria"])?;
    let ids = r.tree.strings("CapacityReservationId");
    let w = r.sim.world();
    if let Some(id) = ids.iter().find(|i| !w.reservations.contains_key(*i)) {
        return Err(unknown(id));
    }
    let now = now_ms();
    let list: Vec<Value> = w
        .reservations
        .values()
        .filter(|c| ids.is_empty() || ids.contains(&c.id))
        .filter(|c| {
            filters.pass(None, |n| {
                vec![match n {
                    "instance-type" => c.itype.clone(),
                    "availability-zone" => c.zone.clone(),
                    "state" => c.state(now).to_owned(),
                    _ => if c.kind == Kind::Open { "open" } else { "targeted" }.to_owned(),
                }]
            })
        })
        .map(|c| show(r, &w, c, now))
        .collect();
    let (list, next) = page(&r.tree, list, (1, 1000))?;
    dry_run(&r.tree)?;
    Ok(json!({"capacityReservationSet": list, "nextToken": next}))
}
