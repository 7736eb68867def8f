//! What the API answers.

use crate::harness::{Sim, all, fleet_params, ids, until};
use serde_json::{Value, json};

const EFA: &str = "LaunchTemplateData.NetworkInterface";
const SG: &str = "sg-0burst0000000001";

#[test]
fn a_gang_is_whole_or_nothing_and_its_token_buys_it_once() {
    let s = Sim::start("[[capacity]]\ntype = 'hpc7a.96xlarge'\ncount = 5\n");
    s.template("tpl", &[]);
    let first = s.fleet(4, true, &["hpc7a.96xlarge"], &[("ClientToken", "tok")]);
    assert_eq!(ids(&first).len(), 4);
    assert_eq!(all(&first, "instanceIds").len(), 1, "several ids in one entry");
    let again = s.fleet(4, true, &["hpc7a.96xlarge"], &[("ClientToken", "tok")]);
    assert_eq!((ids(&again), all(&again, "fleetId")), (ids(&first), all(&first, "fleetId")));
    let p = fleet_params("1", true, &["hpc7a.96xlarge"]);
    let mut p: Vec<(&str, &str)> = p.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    p.push(("ClientToken", "tok"));
    assert_eq!(s.refused("CreateFleet", &p), (400, "IdempotentParameterMismatch".into()));
    // One place is left: two do not fit, whole or nothing; without a minimum one is granted, with an error.
    let none = s.fleet(2, true, &["hpc7a.96xlarge", "hpc7a.48xlarge"], &[]);
    assert_eq!(ids(&none).len(), 2, "the other override serves");
    let none = s.fleet(2, true, &["hpc7a.96xlarge"], &[]);
    assert!(ids(&none).is_empty());
    assert_eq!(all(&none, "errorCode"), ["InsufficientInstanceCapacity"]);
    let part = s.fleet(2, false, &["hpc7a.96xlarge"], &[]);
    assert_eq!((ids(&part).len(), all(&part, "errorCode").len()), (1, 1));
    assert_eq!(s.state()["instances"].as_array().unwrap().len(), 7);
    // Ending gives the places back.
    let mine = ids(&first);
    let named: Vec<(String, &str)> =
        mine.iter().enumerate().map(|(n, i)| (format!("InstanceId.{}", n + 1), i.as_str())).collect();
    let named: Vec<(&str, &str)> = named.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    s.ok("TerminateInstances", &named);
    until("places are back", || (ids(&s.fleet(4, true, &["hpc7a.96xlarge"], &[])).len() == 4).then_some(()));
}

#[test]
fn minimum_capacity_has_aws_rules() {
    let s = Sim::start("");
    s.template("tpl", &[]);
    for (n, drop, code) in
        [("1001", "", "InvalidParameterValue"), ("4", "Single", "InvalidParameterCombination")]
    {
        let p = fleet_params(n, true, &["c5n.18xlarge"]);
        let p: Vec<(&str, &str)> = p
            .iter()
            .filter(|(k, _)| drop.is_empty() || !k.contains(drop))
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(s.refused("CreateFleet", &p), (400, code.into()), "{n} {drop}");
    }
    let big = s.fleet(1000, true, &["c5n.18xlarge"], &[]);
    assert_eq!(ids(&big).len(), 1000);
}

#[test]
fn a_missed_minimum_of_one_market_stops_both() {
    let s = Sim::start("");
    s.template("tpl", &[]);
    let mut p = fleet_params("4", false, &["hpc7a.96xlarge"]);
    let capacity = "TargetCapacitySpecification";
    for (k, v) in [
        (format!("{capacity}.OnDemandTargetCapacity"), "2"),
        (format!("{capacity}.SpotTargetCapacity"), "2"),
        ("OnDemandOptions.SingleInstanceType".into(), "true"),
        ("SpotOptions.SingleInstanceType".into(), "true"),
        ("SpotOptions.MinTargetCapacity".into(), "2"),
    ] {
        p.push((k, v.to_owned()));
    }
    let q: Vec<(&str, &str)> = p.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    // hpc7a is never sold as spot.
    let both = s.ok("CreateFleet", &q);
    assert_eq!((ids(&both).len(), all(&both, "errorCode")), (0, vec!["UnsupportedOperation".to_owned()]));
    let q: Vec<(&str, &str)> = q.into_iter().filter(|(k, _)| !k.ends_with("MinTargetCapacity")).collect();
    let part = s.ok("CreateFleet", &q);
    assert_eq!(ids(&part).len(), 2, "without a minimum the other market serves: {part}");
    let fleet = all(&part, "fleetId").remove(0);
    let shown = s.ok("DescribeFleets", &[("FleetId.1", &fleet)]);
    assert_eq!(ids(&shown), ids(&part));
    assert!(!shown.contains("<availabilityZone>us-"), "DescribeFleets names no zones: {shown}");
}

#[test]
fn interfaces_are_checked_against_the_cards() {
    let s = Sim::start("");
    let nic = |n: u32, card: &str, device: &str, kind: &str| {
        [
            ("NetworkCardIndex", card),
            ("DeviceIndex", device),
            ("InterfaceType", kind),
            ("SecurityGroupId.1", SG),
        ]
        .map(|(k, v)| (format!("{EFA}.{n}.{k}"), v.to_owned()))
        .to_vec()
    };
    type Params = Vec<(String, String)>;
    let cases: Vec<(&str, Vec<Params>, Option<&str>)> = vec![
        (
            "hpc7a.96xlarge",
            vec![nic(1, "0", "0", "interface"), nic(2, "0", "1", "efa-only"), nic(3, "1", "0", "efa-only")],
            None,
        ),
        ("p6-b300.48xlarge", vec![nic(1, "0", "0", "interface"), nic(2, "16", "0", "efa-only")], None),
        ("p6-b300.48xlarge", vec![nic(1, "0", "0", "efa")], Some("InvalidParameterCombination")),
        ("hpc7a.96xlarge", vec![nic(1, "0", "0", "efa-only")], Some("InvalidParameterCombination")),
        (
            "hpc6a.48xlarge",
            vec![nic(1, "0", "0", "efa"), nic(2, "1", "0", "efa-only")],
            Some("InvalidParameterValue"),
        ),
        (
            "i7ie.48xlarge",
            vec![nic(1, "0", "0", "efa"), nic(2, "1", "0", "efa")],
            Some("AttachmentLimitExceeded"),
        ),
        ("m5.xlarge", vec![nic(1, "0", "0", "efa")], Some("InvalidParameterCombination")),
        ("c5n.18xlarge", vec![nic(1, "0", "1", "efa")], Some("InvalidParameterValue")),
        (
            "c6in.32xlarge",
            vec![
                nic(1, "0", "0", "interface"),
                nic(2, "0", "1", "efa-only"),
                vec![(format!("{EFA}.1.AssociatePublicIpAddress"), "true".into())],
            ],
            Some("InvalidParameterCombination"),
        ),
        (
            "c5n.18xlarge",
            vec![nic(1, "0", "0", "efa"), vec![("LaunchTemplateData.SecurityGroupId.1".into(), SG.into())]],
            Some("InvalidParameterCombination"),
        ),
    ];
    for (itype, nics, want) in cases {
        let flat: Vec<(String, String)> = nics.into_iter().flatten().collect();
        let flat: Vec<(&str, &str)> = flat.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        s.template("tpl", &flat);
        let answer = s.fleet(1, true, &[itype], &[]);
        assert_eq!(all(&answer, "errorCode").first().map(String::as_str), want, "{itype} {flat:?}: {answer}");
        assert_eq!(ids(&answer).len(), usize::from(want.is_none()));
        s.ok("DeleteLaunchTemplate", &[("LaunchTemplateName", "tpl")]);
    }
}

#[test]
fn what_cannot_be_launched_is_an_error_per_override() {
    let s = Sim::start(
        "[[subnets]]\nid='subnet-0aa11'\nzone='us-east-2b'\naddresses=3\n[[subnets]]\nid='subnet-0aa12'\nzone='us-east-2c'\n",
    );
    s.template("tpl", &[]);
    let a = s.fleet(4, true, &["hpc7a.96xlarge", "hpc7a.2xlarge", "hpc7g.16xlarge"], &[]);
    assert_eq!(ids(&a).len(), 0);
    let mut codes = all(&a, "errorCode");
    codes.sort();
    assert_eq!(
        codes,
        ["InsufficientFreeAddressesInSubnet", "InvalidParameterValue", "InvalidParameterValue"],
        "{a}"
    );
    // hpc types are in one zone only, and never spot.
    let zone = s.fleet(1, true, &["hpc7a.96xlarge"], &[]).replace('\n', "");
    assert_eq!(ids(&zone).len(), 1);
    let mut p = fleet_params("1", false, &["hpc7a.96xlarge"]);
    p.iter_mut().filter(|(k, _)| k.ends_with("SubnetId")).for_each(|(_, v)| *v = "subnet-0aa12".into());
    let q: Vec<(&str, &str)> = p.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(all(&s.ok("CreateFleet", &q), "errorCode"), ["Unsupported"]);
    p.iter_mut().filter(|(_, v)| v == "on-demand").for_each(|(_, v)| *v = "spot".into());
    let q: Vec<(&str, &str)> = p.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(all(&s.ok("CreateFleet", &q), "errorCode"), ["UnsupportedOperation"]);
}

#[test]
fn calls_that_are_not_right_are_refused() {
    let s = Sim::start("");
    let is = |a: &str, p: &[(&str, &str)], status: u16, code: &str| {
        assert_eq!(s.refused(a, p), (status, code.to_owned()), "{a} {p:?}");
    };
    is("RunInstances", &[], 400, "InvalidAction");
    is("DescribeInstances", &[("InstanceIds.1", "i-1")], 400, "UnknownParameter");
    is(
        "DescribeInstances",
        &[("Filter.1.Name", "colour"), ("Filter.1.Value.1", "x")],
        400,
        "InvalidParameterValue",
    );
    is("DescribeInstances", &[("InstanceId.1", "i-00000000000000001")], 400, "InvalidInstanceID.NotFound");
    is("DescribeInstances", &[("InstanceId.1", "bad")], 400, "InvalidInstanceID.Malformed");
    is("DescribeInstances", &[("DryRun", "true")], 412, "DryRunOperation");
    is("DescribeInstances", &[("NextToken", "x")], 400, "InvalidPaginationToken");
    is("DescribeInstanceTypes", &[("InstanceType.1", "hpc7a.2xlarge")], 400, "InvalidInstanceType");
    is(
        "DescribeLaunchTemplates",
        &[("LaunchTemplateName.1", "no")],
        400,
        "InvalidLaunchTemplateName.NotFoundException",
    );
    is("CreateFleet", &[("Type", "maintain")], 400, "UnsupportedOperation");
    s.template("tpl", &[]);
    is(
        "CreateLaunchTemplate",
        &[("LaunchTemplateName", "t12"), ("LaunchTemplateData.UserData", "%%")],
        400,
        "InvalidUserData.Malformed",
    );
    let twice = [("LaunchTemplateName", "tpl"), ("LaunchTemplateData.ImageId", "ami-x")];
    is("CreateLaunchTemplate", &twice, 400, "InvalidLaunchTemplateName.AlreadyExistsException");
    let short = [("LaunchTemplateName", "t"), ("LaunchTemplateData.ImageId", "ami-x")];
    is("CreateLaunchTemplate", &short, 400, "InvalidLaunchTemplateName.MalformedException");
    let (status, text) = s.http("POST", "/", &[], "Action=DescribeInstances&Version=2016-11-15").unwrap();
    assert_eq!((status, all(&text, "Code")), (401, vec!["AuthFailure".to_owned()]));
}

#[test]
fn placement_groups() {
    let s = Sim::start("");
    s.template("tpl", &[]);
    s.ok("CreatePlacementGroup", &[("GroupName", "g"), ("Strategy", "cluster")]);
    assert_eq!(s.refused("CreatePlacementGroup", &[("GroupName", "g")]).1, "InvalidPlacementGroup.Duplicate");
    assert_eq!(s.refused("DeletePlacementGroup", &[("GroupName", "h")]).1, "InvalidPlacementGroup.Unknown");
    let placed = ("LaunchTemplateConfigs.1.Overrides.1.Placement.GroupName", "g");
    let f = s.fleet(2, true, &["c5n.18xlarge"], &[placed]);
    assert_eq!(s.refused("DeletePlacementGroup", &[("GroupName", "g")]).1, "InvalidPlacementGroup.InUse");
    let mut p = fleet_params("1", false, &["c5n.18xlarge"]);
    p.iter_mut().filter(|(k, _)| k.ends_with("SubnetId")).for_each(|(_, v)| *v = "subnet-0aa12".into());
    let mut q: Vec<(&str, &str)> = p.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    q.push(placed);
    assert_eq!(
        all(&s.ok("CreateFleet", &q), "errorCode"),
        ["InvalidParameterCombination"],
        "a cluster group has one zone"
    );
    // Nor does one fleet spread it over two.
    s.ok("CreatePlacementGroup", &[("GroupName", "wide"), ("Strategy", "cluster")]);
    let mut p = fleet_params("4", false, &["c5n.18xlarge", "c5n.18xlarge"]);
    p.push(("OnDemandOptions.AllocationStrategy".into(), "prioritized".into()));
    for n in ["1", "2"] {
        p.push((format!("LaunchTemplateConfigs.1.Overrides.{n}.Placement.GroupName"), "wide".into()));
    }
    let second = |(k, _): &&mut (String, String)| k == "LaunchTemplateConfigs.1.Overrides.2.SubnetId";
    p.iter_mut().find(second).unwrap().1 = "subnet-0aa12".into();
    let q: Vec<(&str, &str)> = p.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    s.admin("POST", "capacity", &json!({"type": "c5n.18xlarge", "zone": "us-east-2b", "count": 4}));
    let wide = s.ok("CreateFleet", &q);
    assert_eq!((ids(&wide).len(), all(&wide, "errorCode").len()), (2, 2), "{wide}");
    let found =
        s.ok("DescribeInstances", &[("Filter.1.Name", "placement-group-name"), ("Filter.1.Value.1", "g")]);
    assert_eq!(all(&found, "instanceId").len(), 2);
    let i = ids(&f);
    s.ok("TerminateInstances", &[("InstanceId.1", &i[0]), ("InstanceId.2", &i[1])]);
    until("group is free", || (s.call("DeletePlacementGroup", &[("GroupName", "g")]).0 == 200).then_some(()));
}

#[test]
fn termination_is_refused_by_zone() {
    let s = Sim::start("");
    s.template("tpl", &[]);
    let free = ids(&s.fleet(1, true, &["c5n.18xlarge"], &[])).remove(0);
    s.template("kept", &[("LaunchTemplateData.DisableApiTermination", "true")]);
    let launch = |template: &str, subnet: &str| {
        let mut p = fleet_params("1", true, &["c5n.18xlarge"]);
        for (k, v) in &mut p {
            match k.rsplit('.').next() {
                Some("LaunchTemplateName") => *v = template.into(),
                Some("SubnetId") => *v = subnet.into(),
                _ => {}
            }
        }
        let p: Vec<(&str, &str)> = p.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        ids(&s.ok("CreateFleet", &p)).remove(0)
    };
    let (kept, beside) = (launch("kept", "subnet-0aa12"), launch("tpl", "subnet-0aa12"));
    let mut named = vec![("InstanceId.1", free.as_str()), ("InstanceId.2", &kept), ("InstanceId.3", &beside)];
    // An unknown id stops the whole call, a protected one only its own zone.
    named.push(("InstanceId.4", "i-0123456789abcdef0"));
    assert_eq!(s.refused("TerminateInstances", &named).1, "InvalidInstanceID.NotFound");
    named.truncate(3);
    let running =
        |id: &str| s.ok("DescribeInstances", &[("InstanceId.1", id)]).contains("<name>running</name>");
    until("all run", || [&free, &kept, &beside].iter().all(|id| running(id)).then_some(()));
    assert_eq!(s.refused("TerminateInstances", &named).1, "OperationNotPermitted");
    assert!(!running(&free) && running(&kept) && running(&beside));
}

#[test]
fn faults_do_what_they_say() {
    let s = Sim::start("");
    s.template("tpl", &[]);
    let try_fleet = |token: &str| {
        let p = fleet_params("2", true, &["c5n.18xlarge"]);
        let mut p: Vec<(&str, &str)> = p.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        p.push(("ClientToken", token));
        s.try_call("CreateFleet", &p)
    };
    let fault = |v: Value| s.admin("POST", "fault", &v);
    let count = || s.state()["instances"].as_array().unwrap().len();
    fault(json!({"action": "CreateFleet", "kind": "drop-connection-before"}));
    assert!(try_fleet("a").is_err());
    assert_eq!(count(), 0);
    fault(json!({"action": "CreateFleet", "kind": "commit-then-drop"}));
    assert!(try_fleet("a").is_err());
    assert_eq!(count(), 2);
    let (_, answer) = try_fleet("a").unwrap();
    assert_eq!((ids(&answer).len(), count()), (2, 2), "the token finds what the lost answer said");
    fault(json!({"action": "CreateFleet", "kind": "error", "code": "RequestLimitExceeded", "status": 503}));
    let (status, text) = try_fleet("b").unwrap();
    assert_eq!((status, all(&text, "Code")), (503, vec!["RequestLimitExceeded".to_owned()]));
    fault(json!({"action": "CreateFleet", "kind": "http500"}));
    let (status, text) = try_fleet("b").unwrap();
    assert!(status == 500 && text.contains("<html>"));
    fault(json!({"action": "CreateFleet", "kind": "fleet-error", "code": "RequestLimitExceeded"}));
    let (status, text) = try_fleet("b").unwrap();
    assert_eq!(
        (status, ids(&text).len(), all(&text, "errorCode")),
        (200, 0, vec!["RequestLimitExceeded".to_owned()])
    );
    let kinds: Vec<String> =
        s.audit().iter().filter_map(|l| l["fault"].as_str().map(str::to_owned)).collect();
    assert_eq!(kinds, ["drop-connection-before", "commit-then-drop", "error", "http500", "fleet-error"]);
}

#[test]
fn launches_are_throttled_inside_the_answer() {
    let s = Sim::start("[knobs]\nthrottling = true\n");
    s.template("tpl", &[]);
    assert_eq!(ids(&s.fleet(990, true, &["c5n.18xlarge"], &[])).len(), 990);
    let over = s.fleet(500, true, &["c5n.18xlarge"], &[]);
    assert_eq!((ids(&over).len(), all(&over, "errorCode")), (0, vec!["RequestLimitExceeded".to_owned()]));
}

#[test]
fn new_instances_are_not_seen_at_once() {
    let s = Sim::start("[knobs]\nconsistency_ms = 600000\n");
    s.template("tpl", &[]);
    let id = ids(&s.fleet(1, true, &["c5n.18xlarge"], &[])).remove(0);
    assert_eq!(s.refused("DescribeInstances", &[("InstanceId.1", &id)]).1, "InvalidInstanceID.NotFound");
    assert!(all(&s.ok("DescribeInstances", &[]), "instanceId").is_empty());
    assert_eq!(s.refused("TerminateInstances", &[("InstanceId.1", &id)]).1, "InvalidInstanceID.NotFound");
    s.admin("POST", "settings", &json!({"consistency_ms": 0, "address_ms": 600_000}));
    let seen = s.ok("DescribeInstances", &[("InstanceId.1", &id)]);
    assert!(all(&seen, "privateIpAddress").is_empty(), "{seen}");
    s.admin("POST", "settings", &json!({"address_ms": 0}));
    assert_eq!(all(&s.ok("DescribeInstances", &[("InstanceId.1", &id)]), "privateIpAddress")[0], "127.0.0.1");
}

#[test]
fn tags_pages_and_the_audit_log() {
    let s = Sim::start("");
    s.template("tpl", &[]);
    let tag = [
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "slurm-burst:gang"),
        ("TagSpecification.1.Tag.1.Value", "g & <1>"),
    ];
    s.fleet(7, true, &["c5n.18xlarge"], &tag);
    s.fleet(2, true, &["c5n.18xlarge"], &[]);
    let by_tag = [("Filter.1.Name", "tag:slurm-burst:gang"), ("Filter.1.Value.1", "g*"), ("MaxResults", "5")];
    let first = s.ok("DescribeInstances", &by_tag);
    let next = all(&first, "nextToken").remove(0);
    let mut p = by_tag.to_vec();
    p.push(("NextToken", &next));
    let second = s.ok("DescribeInstances", &p);
    assert_eq!((all(&first, "instanceId").len(), all(&second, "instanceId").len()), (5, 2));
    assert!(second.contains("<value>g &amp; &lt;1&gt;</value>") && !second.contains("<nextToken>"));
    let text = s.admin("GET", "audit", &Value::Null);
    let line = text.lines().find(|l| l.contains("\"CreateFleet\"")).unwrap();
    let keys: Vec<usize> =
        ["\"Action\"", "\"Type\"", "TotalTargetCapacity", "TagSpecification.1.Tag.1.Value"]
            .map(|k| line.find(k).unwrap())
            .to_vec();
    assert!(keys.is_sorted(), "parameters keep their order: {line}");
    let born: Vec<Value> = s.audit().into_iter().filter(|l| l["event"] == "instance-pending").collect();
    assert_eq!(born.len(), 9);
    assert_eq!(born[0]["tags"]["slurm-burst:gang"], "g & <1>");
}
