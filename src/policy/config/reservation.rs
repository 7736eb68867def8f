//! `[[pool.NAME.reservation]]`: what the site has reserved, and what of it contradicts the pool.

use super::{Placement, Pool, read::Table};
use crate::reservation::{Kind, Reservation};
use burst_plan::Market;

const KINDS: [(&str, Kind); 3] =
    [("open", Kind::Open), ("targeted", Kind::Targeted), ("capacity-block", Kind::CapacityBlock)];

/// All reservations of a pool's table, in the order of the file.
pub(super) fn reservations(t: &Table<'_, '_>, placement: Placement) -> Vec<Reservation> {
    let mut out: Vec<Reservation> = Vec::new();
    let Some(value) = t.get("reservation") else { return out };
    let Some(list) = value.get_ref().as_array() else {
        t.error("reservation", format!("is a list of tables: write [[{}]]", t.at("reservation")));
        return out;
    };
    for (i, item) in list.iter().enumerate() {
        let path = format!("{}[{i}]", t.at("reservation"));
        let Some(map) = item.get_ref().as_table() else {
            let text = format!("is a table: write [[{}]]", t.at("reservation"));
            t.notes.error(item.span().start, &path, text);
            continue;
        };
        let r = Table::new(Some(map), path, item.span().start, t.notes);
        if let Some(one) = reservation(&r, placement) {
            if out.iter().any(|o| o.id == one.id) {
                r.error("id", format!("{} stands twice in this pool", one.id));
            }
            out.push(one);
        }
        r.finish();
    }
    out
}

fn reservation(r: &Table<'_, '_>, placement: Placement) -> Option<Reservation> {
    let (id, kind) = (r.text("id"), r.word("kind", &KINDS).unwrap_or(Kind::Targeted));
    let (instance_type, zone, group) = (r.text("type"), r.text("zone"), r.text("group"));
    let missing = |key: &str, example: &str| r.error(key, format!("missing: write {key} = \"{example}\""));
    if id.is_none() {
        missing("id", "cr-0123456789abcdef0");
    }
    if instance_type.is_none() {
        missing("type", "hpc7a.96xlarge");
    }
    if zone.is_none() {
        missing("zone", "us-east-2b");
    }
    let id = id?;
    let hex = id.strip_prefix("cr-").unwrap_or("");
    if hex.is_empty() || hex.len() > 64 || !hex.bytes().all(|b| b.is_ascii_alphanumeric()) {
        r.error("id", format!("`{}` does not look like cr-…", burst_plan::clean(&id, 40)));
    }
    let none = group.as_deref() == Some("none");
    if kind == Kind::CapacityBlock && group.is_some() && !none {
        r.error("group", "a Capacity Block takes no placement group, it is one place already: leave it out");
    }
    // Instances of a reservation stand where it was made, and a group of ours is another place: EC2 would answer that
    // there is no capacity although the reservation has some.
    if kind != Kind::CapacityBlock && group.is_none() && placement == Placement::Cluster {
        r.error(
            "group",
            format!(
                "the pool launches into placement groups of its own, and {id} was not made in one of them: write the \
                 group it was made in, or group = \"none\" to launch into it without one"
            ),
        );
    }
    if group.as_deref().is_some_and(|g| g.len() > 255 || g.contains(|c: char| c.is_control())) {
        r.error("group", "a placement group's name has at most 255 characters");
    }
    let group = group.filter(|_| !none);
    Some(Reservation { id, kind, instance_type: instance_type?, zone: zone?, group })
}

/// What contradicts the rest of the pool.
pub(super) fn check(t: &Table<'_, '_>, p: &Pool) {
    if p.reservations.is_empty() {
        if p.reservations_only {
            t.error("reservations_only", format!("there is none: write [[{}]]", t.at("reservation")));
        }
        return;
    }
    let error = |text: String| t.error("reservation", text);
    if !p.markets_allowed.contains(&Market::OnDemand) {
        error(
            "spot instances do not run in reservations: write market = \"on-demand\", or leave it out".into(),
        );
    }
    if p.launch_template.is_some() {
        error(
            "the launch template names the reservation, so that it must be ours: write image instead of \
             launch_template"
                .into(),
        );
    }
    for r in &p.reservations {
        if !p.blocks.iter().any(|b| b.instance_type == r.instance_type) {
            error(format!("{}: no block of this pool has type {}: write one", r.id, r.instance_type));
        }
        let abroad = p.regions.iter().flat_map(|a| &a.zones);
        if !p.zones.iter().chain(abroad).any(|(z, _)| *z == r.zone) {
            error(format!("{}: zone {} is not one of this pool's zones: write it there", r.id, r.zone));
        }
    }
}
