//! Capacity reservations of a story: half of the stories have some, they fill, shrink and end, and nothing may contradict
//! them.

use crate::{dice::Dice, laws::Laws, life::Outside};
use burst_cloud::{FleetAnswer, FleetRequest, fake::FakeCloud};
use burst_policy::reservation::{Facts, Kind};

/// What burst.toml says of them: one of each kind, one of them in a placement group of the site's.
pub const TOML: &str = r#"
[[pool.efa.reservation]]
id = "cr-0a"
type = "hpc7a.96xlarge"
zone = "us-east-2b"
group = "site"
[[pool.efa.reservation]]
id = "cr-0b"
kind = "open"
type = "hpc6a.48xlarge"
zone = "us-east-2a"
group = "none"
[[pool.efa.reservation]]
id = "cr-0c"
kind = "capacity-block"
type = "hpc7a.96xlarge"
zone = "us-east-2a"
"#;

const IDS: [&str; 3] = ["cr-0a", "cr-0b", "cr-0c"];
/// The site's placement group: never ours to delete.
pub const GROUP: &str = "site";

fn reservation(id: &str, total: u32, state: &str) -> Facts {
    let (kind, instance_type, zone, group) = match id {
        "cr-0a" => (Kind::Targeted, "hpc7a.96xlarge", "us-east-2b", Some(GROUP.to_owned())),
        "cr-0b" => (Kind::Open, "hpc6a.48xlarge", "us-east-2a", None),
        _ => (Kind::CapacityBlock, "hpc7a.96xlarge", "us-east-2a", None),
    };
    Facts {
        id: id.into(),
        state: state.into(),
        kind,
        instance_type: instance_type.into(),
        zone: zone.into(),
        total,
        available: 0,
        group,
        start_s: None,
        end_s: None,
    }
}

fn some(dice: &Dice, most: u64) -> u32 {
    u32::try_from(dice.range(0, most)).unwrap_or(0)
}

/// Before slurmctld starts.
pub async fn set_up(ec2: &FakeCloud, dice: &Dice) {
    use burst_cloud::Cloud;
    ec2.create_group("the site", GROUP).await.expect("a group can be made");
    for id in IDS {
        ec2.set_reservation(reservation(id, some(dice, 12), "active"));
    }
}

/// One of them changes.
pub fn change(out: &Outside) {
    let dice = &out.dice;
    let id = dice.pick(&IDS).unwrap_or("cr-0a");
    let state = if dice.chance(300) { "expired" } else { "active" };
    let total = some(dice, 12);
    out.slurm.laws.note(dice.passed_ms(), format!("====   reservation {id}: {total}, {state}"));
    out.ec2.set_reservation(reservation(id, total, state));
}

/// An answer of CreateFleet.
pub fn seen(request: &FleetRequest, answer: &FleetAnswer, laws: &Laws, at_ms: u64) {
    let Some(r) = &request.reservation else { return };
    if !answer.instances.is_empty() {
        laws.count("reserved");
    }
    for e in answer.errors.iter().filter(|e| e.message.contains("contradicts")) {
        laws.broke(at_ms, format!("a launch into {}: {}", r.id, e.message));
    }
    if r.kind == Kind::CapacityBlock && request.group.is_some() {
        laws.broke(at_ms, format!("a launch into Capacity Block {} with a placement group", r.id));
    }
}

/// Whether nothing runs in them any more.
pub fn quiet(out: &Outside) -> bool {
    IDS.iter().all(|id| out.ec2.in_reservation(id) == 0)
}

/// At the end.
pub fn judge(out: &Outside, laws: &Laws, at_ms: u64) {
    for id in IDS.iter().filter(|id| out.ec2.in_reservation(id) > 0) {
        laws.broke(at_ms, format!("{} instances are left in {id}", out.ec2.in_reservation(id)));
    }
    if out.reserved && !out.ec2.group_names().iter().any(|g| g == GROUP) {
        laws.broke(at_ms, "the site's placement group was deleted");
    }
}
