//! Capacity reservations and the end of launch templates on the wire.
use super::{ec2, launching::request, run, server::*, strings, templates::spec};
use burst_cloud::{Cloud, FleetRequest, TemplateSpec};
use burst_plan::Market;
use burst_policy::reservation::{Kind, Reserved};

fn into(kind: Kind) -> FleetRequest {
    let reservation = Some(Reserved { id: "cr-0a".into(), kind, group: None });
    FleetRequest { reservation, group: None, ..request(Market::OnDemand) }
}

const FLEET: &str = "<fleetId>fleet-1</fleetId><fleetInstanceSet><item><instanceIds><item>i-1</item></instanceIds>\
    </item></fleetInstanceSet>";

#[test]
fn an_on_demand_reservation_is_used_first_and_a_block_has_its_own_market() {
    let server = Server::start(|_, _| ok("CreateFleet", FLEET));
    run(async {
        let ec2 = ec2(&server.url).await;
        for kind in [Kind::Open, Kind::Targeted, Kind::CapacityBlock] {
            ec2.create_fleet(&into(kind)).await.unwrap();
        }
    });
    let asked = server.asked();
    let first = "OnDemandOptions.CapacityReservationOptions.UsageStrategy";
    for p in &asked[..2] {
        assert_eq!(p[first], "use-capacity-reservations-first");
        assert_eq!(p["OnDemandOptions.MinTargetCapacity"], "16");
        assert_eq!(p["TargetCapacitySpecification.DefaultTargetCapacityType"], "on-demand");
    }
    let block = &asked[2];
    assert_eq!(block["TargetCapacitySpecification.DefaultTargetCapacityType"], "capacity-block");
    assert_eq!(block["TargetCapacitySpecification.TotalTargetCapacity"], "16");
    let others = ["OnDemandOptions", "SpotOptions", "TargetCapacitySpecification.OnDemand"];
    assert!(!block.keys().any(|k| others.iter().any(|o| k.starts_with(o))), "{block:?}");
}

#[test]
fn contradictions_are_refused_before_the_call() {
    let server = Server::start(|_, _| ok("CreateFleet", FLEET));
    let refused = |r: FleetRequest, why: &str| {
        let e = run(async { ec2(&server.url).await.create_fleet(&r).await }).unwrap_err();
        assert!(e.message.contains(why) && !e.ambiguous, "{e}");
    };
    let spot = FleetRequest { market: Market::Spot, ..into(Kind::Targeted) };
    refused(spot, "spot instances do not run in a capacity reservation");
    let grouped = FleetRequest { group: Some("g".into()), ..into(Kind::CapacityBlock) };
    refused(grouped, "a Capacity Block takes no placement group");
    assert!(server.asked().is_empty());
}

#[test]
fn the_template_names_the_reservation_and_only_a_block_its_market() {
    let server = Server::start(|_, p| match p["Action"].as_str() {
        "DescribeLaunchTemplates" => ok("DescribeLaunchTemplates", "<launchTemplates/>"),
        "DescribeImages" => {
            ok("DescribeImages", "<imagesSet><item><imageId>ami-1</imageId></item></imagesSet>")
        }
        _ => ok(
            "CreateLaunchTemplate",
            "<launchTemplate><launchTemplateId>lt-1</launchTemplateId></launchTemplate>",
        ),
    });
    let named = |kind| TemplateSpec {
        reservation: Some(Reserved { id: "cr-0a".into(), kind, group: None }),
        ..spec()
    };
    run(async {
        let ec2 = ec2(&server.url).await;
        for s in [spec(), named(Kind::Targeted), named(Kind::CapacityBlock)] {
            ec2.ensure_template(&s).await.unwrap();
        }
    });
    let made: Vec<_> = server.asked().into_iter().filter(|p| p["Action"] == "CreateLaunchTemplate").collect();
    let id =
        "LaunchTemplateData.CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId";
    let market = "LaunchTemplateData.InstanceMarketOptions.MarketType";
    let of = |p: &Params| (p.get(id).cloned(), p.get(market).cloned());
    assert_eq!(of(&made[0]), (None, None));
    assert_eq!(of(&made[1]), (Some("cr-0a".into()), None));
    assert_eq!(of(&made[2]), (Some("cr-0a".into()), Some("capacity-block".into())));
    let names: std::collections::BTreeSet<_> = made.iter().map(|p| p["LaunchTemplateName"].clone()).collect();
    assert_eq!(names.len(), 3, "another reservation is another template");
}

fn item(id: &str, rest: &str) -> String {
    format!(
        "<item><capacityReservationId>{id}</capacityReservationId><state>active</state><instanceType>p5.48xlarge\
         </instanceType><availabilityZone>us-east-2b</availabilityZone><totalInstanceCount>8</totalInstanceCount>\
         <availableInstanceCount>3</availableInstanceCount>{rest}</item>"
    )
}

#[test]
fn reservations_are_read_and_unknown_ids_are_absent() {
    let server = Server::start(|_, p| {
        let unknown = p.values().any(|v| v == "cr-gone");
        if unknown {
            return err(
                400,
                "InvalidCapacityReservationId.NotFound",
                "The capacity reservation ID is not found",
            );
        }
        let open = item("cr-a", "<instanceMatchCriteria>open</instanceMatchCriteria>");
        let block = item(
            "cr-b",
            "<instanceMatchCriteria>targeted</instanceMatchCriteria><reservationType>capacity-block</reservationType>\
             <startDate>2026-01-02T03:04:05.000Z</startDate><endDate>2026-01-02T11:30:00.000Z</endDate>",
        );
        let grouped = item(
            "cr-c",
            "<instanceMatchCriteria>targeted</instanceMatchCriteria>\
             <placementGroupArn>arn:aws:ec2:us-east-2:1:placement-group/ours</placementGroupArn>",
        );
        let all = [("cr-a", open), ("cr-b", block), ("cr-c", grouped)];
        let named = |id: &str| p.values().any(|v| v == id);
        let items: String = all.into_iter().filter(|(id, _)| named(id)).map(|(_, t)| t).collect();
        ok(
            "DescribeCapacityReservations",
            &format!("<capacityReservationSet>{items}</capacityReservationSet>"),
        )
    });
    let ids = strings(&["cr-a", "cr-b", "cr-c"]);
    let got = run(async { ec2(&server.url).await.reservations(&ids).await }).unwrap();
    assert_eq!(server.asked().len(), 1);
    assert_eq!(server.asked()[0]["CapacityReservationId.2"], "cr-b");
    let kinds: Vec<_> = got.iter().map(|f| (f.id.as_str(), f.kind, f.group.as_deref())).collect();
    assert_eq!(
        kinds,
        [
            ("cr-a", Kind::Open, None),
            ("cr-b", Kind::CapacityBlock, None),
            ("cr-c", Kind::Targeted, Some("ours"))
        ]
    );
    assert_eq!((got[1].total, got[1].available, got[1].state.as_str()), (8, 3, "active"));
    assert_eq!((got[1].start_s, got[1].end_s), (Some(1_767_323_045), Some(1_767_353_400)));
    let ids = strings(&["cr-a", "cr-gone"]);
    let got = run(async { ec2(&server.url).await.reservations(&ids).await }).unwrap();
    assert_eq!(got.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(), ["cr-a"]);
}

#[test]
fn our_templates_are_listed_by_tag_and_one_that_is_gone_is_deleted() {
    let server = Server::start(|_, p| match p["Action"].as_str() {
        "DescribeLaunchTemplates" if !p.contains_key("NextToken") => ok(
            "DescribeLaunchTemplates",
            "<launchTemplates><item><launchTemplateId>lt-1</launchTemplateId><launchTemplateName>burst-efa-1\
             </launchTemplateName><createTime>2026-01-02T03:04:05.000Z</createTime></item></launchTemplates>\
             <nextToken>t</nextToken>",
        ),
        "DescribeLaunchTemplates" => ok("DescribeLaunchTemplates", "<launchTemplates/>"),
        _ => err(400, "InvalidLaunchTemplateId.NotFound", "does not exist"),
    });
    let got = run(async {
        let ec2 = ec2(&server.url).await;
        ec2.delete_template("lt-1").await.unwrap();
        ec2.templates("uuid").await.unwrap()
    });
    let asked = server.asked();
    assert_eq!(
        (asked[0]["Action"].as_str(), asked[0]["LaunchTemplateId"].as_str()),
        ("DeleteLaunchTemplate", "lt-1")
    );
    assert_eq!(asked[1]["Filter.1.Name"], "tag:slurm-burst:cluster");
    assert_eq!((asked.len(), got.len(), got[0].created), (3, 1, 1_767_323_045));
}
