//! CreateFleet on the wire, and its answer.
use super::{ec2, run, server::*};
use burst_cloud::{Cloud, FleetRequest, TemplateRef};
use burst_plan::Market;
use std::collections::BTreeMap;

pub(crate) fn request(market: Market) -> FleetRequest {
    FleetRequest {
        client_token: "0123456789abcdef0123456789abcdef".into(),
        template: TemplateRef { id: "lt-0123456789abcdef0".into(), version: "1".into() },
        instance_type: "hpc7a.96xlarge".into(),
        zone: "us-east-2b".into(),
        subnet: "subnet-0aa11".into(),
        market,
        group: Some("burst-g1".into()),
        nodes: 16,
        max_price: Some("1.25".into()),
        tags: BTreeMap::from([
            ("slurm-burst:cluster".into(), "uuid".into()),
            ("Name".into(), "a b&c".into()),
        ]),
        reservation: None,
        region: None,
    }
}

fn common() -> Params {
    let mut p: Params = [
        ("Action", "CreateFleet"),
        ("Version", "2016-11-15"),
        ("Type", "instant"),
        ("ClientToken", "0123456789abcdef0123456789abcdef"),
        ("LaunchTemplateConfigs.1.LaunchTemplateSpecification.LaunchTemplateId", "lt-0123456789abcdef0"),
        ("LaunchTemplateConfigs.1.LaunchTemplateSpecification.Version", "1"),
        ("LaunchTemplateConfigs.1.Overrides.1.InstanceType", "hpc7a.96xlarge"),
        ("LaunchTemplateConfigs.1.Overrides.1.SubnetId", "subnet-0aa11"),
        ("LaunchTemplateConfigs.1.Overrides.1.Placement.GroupName", "burst-g1"),
        ("TargetCapacitySpecification.TotalTargetCapacity", "16"),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .collect();
    for (i, kind) in ["fleet", "instance", "volume", "network-interface"].iter().enumerate() {
        let at = format!("TagSpecification.{}", i + 1);
        p.insert(format!("{at}.ResourceType"), (*kind).into());
        p.insert(format!("{at}.Tag.1.Key"), "Name".into());
        p.insert(format!("{at}.Tag.1.Value"), "a b&c".into());
        p.insert(format!("{at}.Tag.2.Key"), "slurm-burst:cluster".into());
        p.insert(format!("{at}.Tag.2.Value"), "uuid".into());
    }
    p
}

const GRANTED: &str = "<fleetId>fleet-1</fleetId><fleetInstanceSet>\
    <item><instanceType>hpc7a.96xlarge</instanceType><availabilityZone>us-east-2b</availabilityZone>\
      <instanceIds><item>i-1</item><item>i-2</item></instanceIds></item>\
    <item><launchTemplateAndOverrides><overrides><instanceType>hpc7a.96xlarge</instanceType>\
      <availabilityZone>us-east-2c</availabilityZone></overrides></launchTemplateAndOverrides>\
      <instanceIds><item>i-3</item></instanceIds></item></fleetInstanceSet>\
    <errorSet><item><errorCode>RequestLimitExceeded</errorCode><errorMessage>slow down</errorMessage></item>\
    <item><errorCode>InsufficientInstanceCapacity</errorCode><errorMessage>none</errorMessage></item></errorSet>";

#[test]
fn on_demand_parameters_are_exactly_these() {
    let server = Server::start(|_, _| ok("CreateFleet", GRANTED));
    run(async { ec2(&server.url).await.create_fleet(&request(Market::OnDemand)).await }).unwrap();
    let mut want = common();
    for (k, v) in [
        ("TargetCapacitySpecification.OnDemandTargetCapacity", "16"),
        ("TargetCapacitySpecification.SpotTargetCapacity", "0"),
        ("TargetCapacitySpecification.DefaultTargetCapacityType", "on-demand"),
        ("OnDemandOptions.MinTargetCapacity", "16"),
        ("OnDemandOptions.SingleAvailabilityZone", "true"),
        ("OnDemandOptions.SingleInstanceType", "true"),
    ] {
        want.insert(k.into(), v.into());
    }
    assert_eq!(server.asked(), [want]);
}

#[test]
fn spot_parameters_are_exactly_these() {
    let server = Server::start(|_, _| ok("CreateFleet", GRANTED));
    run(async { ec2(&server.url).await.create_fleet(&request(Market::Spot)).await }).unwrap();
    let mut want = common();
    for (k, v) in [
        ("TargetCapacitySpecification.OnDemandTargetCapacity", "0"),
        ("TargetCapacitySpecification.SpotTargetCapacity", "16"),
        ("TargetCapacitySpecification.DefaultTargetCapacityType", "spot"),
        ("SpotOptions.AllocationStrategy", "capacity-optimized"),
        ("SpotOptions.MinTargetCapacity", "16"),
        ("SpotOptions.SingleAvailabilityZone", "true"),
        ("SpotOptions.SingleInstanceType", "true"),
        ("LaunchTemplateConfigs.1.Overrides.1.MaxPrice", "1.25"),
    ] {
        want.insert(k.into(), v.into());
    }
    assert_eq!(server.asked(), [want]);
}

#[test]
fn all_ids_of_all_entries_and_all_errors_come_back() {
    let server = Server::start(|_, _| ok("CreateFleet", GRANTED));
    let a = run(async { ec2(&server.url).await.create_fleet(&request(Market::OnDemand)).await }).unwrap();
    let got: Vec<_> = a.instances.iter().map(|g| (g.id.as_str(), g.zone.as_deref().unwrap())).collect();
    assert_eq!(got, [("i-1", "us-east-2b"), ("i-2", "us-east-2b"), ("i-3", "us-east-2c")]);
    assert!(a.instances.iter().all(|g| g.instance_type == "hpc7a.96xlarge"));
    let codes: Vec<_> = a.errors.iter().map(|e| e.code.as_str()).collect();
    assert_eq!(codes, ["RequestLimitExceeded", "InsufficientInstanceCapacity"]);
    for e in &a.errors {
        assert_eq!(e.class, burst_policy::classify::classify(&e.code, &e.message));
    }
    assert_eq!(a.fleet_id, "fleet-1");
}

#[test]
fn a_replayed_request_is_byte_for_byte_the_same() {
    let server = Server::start(|_, _| ok("CreateFleet", GRANTED));
    let journalled = serde_json::to_string(&request(Market::Spot)).unwrap();
    run(async {
        let ec2 = ec2(&server.url).await;
        for _ in 0..2 {
            ec2.create_fleet(&serde_json::from_str(&journalled).unwrap()).await.unwrap();
        }
    });
    let asked = server.asked();
    assert_eq!(asked[0], asked[1]);
}

#[test]
fn impossible_requests_are_not_sent() {
    let server = Server::start(|_, _| ok("CreateFleet", GRANTED));
    run(async {
        let ec2 = ec2(&server.url).await;
        for change in [
            (|r| r.nodes = 0) as fn(&mut FleetRequest),
            |r| r.nodes = 1001,
            |r| r.client_token = "x".repeat(65),
            |r| r.client_token.clear(),
            |r| r.market = Market::Mixed,
        ] {
            let mut r = request(Market::OnDemand);
            change(&mut r);
            let e = ec2.create_fleet(&r).await.unwrap_err();
            assert_eq!((e.code.as_str(), e.ambiguous), ("InvalidRequest", false));
        }
    });
    assert!(server.asked().is_empty());
}
