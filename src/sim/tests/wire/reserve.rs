//! Capacity reservations over the wire.

use crate::harness::{Sim, all, fleet_params, ids, until};
use serde_json::json;

const TARGET: &str =
    "LaunchTemplateData.CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId";
const PREFERENCE: &str = "LaunchTemplateData.CapacityReservationSpecification.CapacityReservationPreference";
const MARKET: &str = "LaunchTemplateData.InstanceMarketOptions.MarketType";
const FIRST: (&str, &str) =
    ("OnDemandOptions.CapacityReservationOptions.UsageStrategy", "use-capacity-reservations-first");

fn start(kind: &str, itype: &str, more: &str) -> Sim {
    Sim::start(&format!(
        "[[capacity]]\ntype = '{itype}'\ncount = 1\n[[reservations]]\nid = 'cr-0a'\ntype = '{itype}'\n\
         zone = 'us-east-2b'\ncount = 4\nkind = '{kind}'\n{more}"
    ))
}

/// (total, available, state) of a reservation.
fn shown(s: &Sim) -> (String, String, String) {
    let xml = s.ok("DescribeCapacityReservations", &[("CapacityReservationId.1", "cr-0a")]);
    let one = |n: &str| all(&xml, n).remove(0);
    (one("totalInstanceCount"), one("availableInstanceCount"), one("state"))
}

#[test]
fn a_targeted_one_serves_who_names_it_whole_or_not() {
    let s = start("targeted", "hpc7a.96xlarge", "");
    s.template("tpl", &[(TARGET, "cr-0a")]);
    let three = s.fleet(3, true, &["hpc7a.96xlarge"], &[FIRST]);
    assert_eq!(ids(&three).len(), 3);
    assert_eq!(shown(&s), ("4".into(), "1".into(), "active".into()));
    let none = s.fleet(2, true, &["hpc7a.96xlarge"], &[FIRST]);
    assert_eq!((ids(&none).len(), all(&none, "errorCode")), (0, vec!["ReservationCapacityExceeded".into()]));
    let described = s.ok("DescribeInstances", &[]);
    assert_eq!(all(&described, "capacityReservationId"), ["cr-0a", "cr-0a", "cr-0a"]);
    // The one place outside is still there for others.
    s.template("plain", &[]);
    let mut p = fleet_params("1", true, &["hpc7a.96xlarge"]);
    for (k, v) in &mut p {
        if k.ends_with("LaunchTemplateName") {
            *v = "plain".into();
        }
    }
    let p: Vec<(&str, &str)> = p.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(ids(&s.ok("CreateFleet", &p)).len(), 1);
    assert_eq!(all(&s.ok("CreateFleet", &p), "errorCode"), ["InsufficientInstanceCapacity"]);
    // Ending gives places back.
    let named: Vec<(String, String)> =
        ids(&three).into_iter().enumerate().map(|(n, i)| (format!("InstanceId.{}", n + 1), i)).collect();
    let named: Vec<(&str, &str)> = named.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    s.ok("TerminateInstances", &named);
    until("places are back", || (shown(&s).1 == "4").then_some(()));
}

#[test]
fn an_open_one_is_used_first_and_filled_up_from_outside() {
    let s = start("open", "hpc7a.96xlarge", "");
    s.template("tpl", &[]);
    assert_eq!(ids(&s.fleet(5, true, &["hpc7a.96xlarge"], &[FIRST])).len(), 5);
    assert_eq!(shown(&s).1, "0");
    assert!(ids(&s.fleet(1, true, &["hpc7a.96xlarge"], &[FIRST])).is_empty());
    let s = start("open", "hpc7a.96xlarge", "");
    s.template("tpl", &[(PREFERENCE, "none")]);
    assert_eq!(ids(&s.fleet(1, true, &["hpc7a.96xlarge"], &[])).len(), 1);
    assert_eq!(shown(&s).1, "4", "whoever wants none gets none");
}

fn block_params<'a>(n: &'a str, itype: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("Type", "instant"),
        ("TargetCapacitySpecification.TotalTargetCapacity", n),
        ("TargetCapacitySpecification.DefaultTargetCapacityType", "capacity-block"),
        ("LaunchTemplateConfigs.1.LaunchTemplateSpecification.LaunchTemplateName", "tpl"),
        ("LaunchTemplateConfigs.1.LaunchTemplateSpecification.Version", "$Default"),
        ("LaunchTemplateConfigs.1.Overrides.1.InstanceType", itype),
        ("LaunchTemplateConfigs.1.Overrides.1.SubnetId", "subnet-0aa11"),
    ]
}

#[test]
fn a_block_has_its_market_and_gives_what_it_has() {
    let s = start("capacity-block", "p5.48xlarge", "");
    s.template("tpl", &[(TARGET, "cr-0a"), (MARKET, "capacity-block")]);
    let whole = s.ok("CreateFleet", &block_params("3", "p5.48xlarge"));
    assert_eq!(ids(&whole).len(), 3);
    assert_eq!(all(&s.ok("DescribeInstances", &[]), "instanceLifecycle"), ["capacity-block"; 3]);
    let part = s.ok("CreateFleet", &block_params("2", "p5.48xlarge"));
    assert_eq!((ids(&part).len(), all(&part, "errorCode")), (1, vec!["InsufficientInstanceCapacity".into()]));
    let refused = |more: &[(&str, &str)], code: &str| {
        let mut p = block_params("1", "p5.48xlarge");
        p.extend(more);
        assert_eq!(s.refused("CreateFleet", &p), (400, code.into()), "{more:?}");
    };
    refused(&[("TargetCapacitySpecification.OnDemandTargetCapacity", "1")], "InvalidParameterCombination");
    refused(&[FIRST], "InvalidParameterCombination");
    refused(&[("OnDemandOptions.SingleInstanceType", "true")], "UnsupportedOperation");
    // As an ordinary launch its template does not serve.
    let wrong = s.fleet(1, true, &["p5.48xlarge"], &[]);
    assert_eq!(all(&wrong, "errorCode"), ["InvalidParameterCombination"]);
    s.ok("CreatePlacementGroup", &[("GroupName", "pg"), ("Strategy", "cluster")]);
    let mut p = block_params("1", "p5.48xlarge");
    p.push(("LaunchTemplateConfigs.1.Overrides.1.Placement.GroupName", "pg"));
    assert_eq!(all(&s.ok("CreateFleet", &p), "errorCode"), ["InvalidParameterCombination"]);
}

#[test]
fn what_does_not_fit_is_said() {
    let s = start("capacity-block", "p5.48xlarge", &format!("start_ms = {}\n", u64::MAX / 4));
    s.template("tpl", &[(TARGET, "cr-0a"), (MARKET, "capacity-block")]);
    let early = s.ok("CreateFleet", &block_params("1", "p5.48xlarge"));
    assert_eq!(all(&early, "errorCode"), ["InsufficientInstanceCapacity"], "not begun");
    assert_eq!(shown(&s), ("4".into(), "0".into(), "scheduled".into()));
    let set = |id: &str, zone: &str, group: serde_json::Value| {
        let r = json!({"id": id, "type": "hpc7a.96xlarge", "zone": zone, "count": 2, "group": group});
        s.admin("POST", "reservation", &r);
    };
    set("cr-0b", "us-east-2a", serde_json::Value::Null);
    set("cr-0c", "us-east-2b", json!("theirs"));
    let code = |target: &str, group: Option<&str>| {
        let name = format!("t-{target}-{}", group.unwrap_or(""));
        s.template(&name, &[(TARGET, target)]);
        let mut p = fleet_params("1", true, &["hpc7a.96xlarge"]);
        for (k, v) in &mut p {
            if k.ends_with("LaunchTemplateName") {
                v.clone_from(&name);
            }
        }
        if let Some(g) = group {
            p.push(("LaunchTemplateConfigs.1.Overrides.1.Placement.GroupName".into(), g.into()));
        }
        let p: Vec<(&str, &str)> = p.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        all(&s.ok("CreateFleet", &p), "errorCode")
    };
    for name in ["ours", "theirs"] {
        s.ok("CreatePlacementGroup", &[("GroupName", name), ("Strategy", "cluster")]);
    }
    assert_eq!(code("cr-0b", None), ["InvalidParameterValue"], "another zone");
    assert_eq!(code("cr-none", None), ["InvalidCapacityReservationId.NotFound"]);
    assert_eq!(code("cr-0a", None), ["InvalidParameterCombination"], "a block is no ordinary reservation");
    assert_eq!(code("cr-0c", Some("ours")), ["InvalidParameterCombination"]);
    assert!(code("cr-0c", Some("theirs")).is_empty());
    assert!(code("cr-0c", None).is_empty(), "the reservation's own group serves");
    let groups = all(&s.ok("DescribeInstances", &[]), "groupName");
    assert!(groups.iter().filter(|g| *g == "theirs").count() >= 2, "{groups:?}");
    let unknown = [("CapacityReservationId.1", "cr-none")];
    assert_eq!(
        s.refused("DescribeCapacityReservations", &unknown),
        (400, "InvalidCapacityReservationId.NotFound".into())
    );
    let name = ("LaunchTemplateName", "bad");
    let image = ("LaunchTemplateData.ImageId", "ami-0burst00000000001");
    let both = [name, image, (TARGET, "cr-0a"), (PREFERENCE, "open")];
    assert_eq!(s.refused("CreateLaunchTemplate", &both), (400, "InvalidParameterCombination".into()));
    let bare = [name, image, (MARKET, "capacity-block")];
    assert_eq!(s.refused("CreateLaunchTemplate", &bare), (400, "InvalidParameterCombination".into()));
}
