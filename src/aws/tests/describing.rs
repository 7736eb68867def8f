//! Types, subnets, groups, instances and their end.
use super::{ec2, run, server::*, strings};
use burst_cloud::{Cloud, InstanceState};
use burst_policy::classify::Class;

fn instance(id: &str) -> String {
    format!(
        "<item><instancesSet><item><instanceId>{id}</instanceId><instanceState><code>16</code><name>running</name>\
         </instanceState><privateDnsName>ip-10-0-0-1</privateDnsName><privateIpAddress>10.0.0.1</privateIpAddress>\
         <instanceType>hpc7a.96xlarge</instanceType><launchTime>2026-01-02T03:04:05.000Z</launchTime><placement>\
         <availabilityZone>us-east-2b</availabilityZone><groupName>g</groupName></placement><tagSet><item>\
         <key>slurm-burst:gang</key><value>abc</value></item></tagSet></item></instancesSet></item>"
    )
}

#[test]
fn instances_are_asked_for_by_filter_in_batches_and_pages() {
    let server = Server::start(|_, p| {
        let first = p.get("Filter.1.Value.1").cloned().unwrap_or_default();
        let more = first == "i-0" && !p.contains_key("NextToken");
        let token = if more { "<nextToken>t</nextToken>" } else { "" };
        ok("DescribeInstances", &format!("<reservationSet>{}</reservationSet>{token}", instance(&first)))
    });
    let ids: Vec<String> = (0..450).map(|i| format!("i-{i}")).collect();
    let got = run(async { ec2(&server.url).await.describe(&ids).await }).unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|p| p["Filter.1.Name"] == "instance-id" && !p.contains_key("InstanceId.1")));
    assert!(!asked[0].contains_key("Filter.1.Value.201") && asked[0].contains_key("Filter.1.Value.200"));
    assert_eq!(asked[1]["NextToken"], "t");
    assert_eq!(got.len(), 4);
    let i = &got[0];
    assert_eq!((i.state, i.launched, i.group.as_str()), (InstanceState::Running, 1_767_323_045, "g"));
    assert_eq!(i.ip.unwrap().to_string(), "10.0.0.1");
    assert_eq!(i.tags["slurm-burst:gang"], "abc");
}

#[test]
fn no_ids_are_no_calls() {
    let server = Server::start(|_, _| err(400, "MissingParameter", "ids"));
    run(async {
        let ec2 = ec2(&server.url).await;
        assert!(ec2.describe(&[]).await.unwrap().is_empty());
        ec2.terminate(&[]).await.unwrap();
        assert!(ec2.instance_types(&[]).await.unwrap().is_empty());
        assert!(ec2.subnets(&[]).await.unwrap().is_empty());
    });
    assert!(server.asked().is_empty());
}

#[test]
fn owned_filters_by_tag_and_state() {
    let server = Server::start(|_, _| ok("DescribeInstances", "<reservationSet/>"));
    run(async { ec2(&server.url).await.owned("uuid").await }).unwrap();
    let p = &server.asked()[0];
    assert_eq!(
        (p["Filter.1.Name"].as_str(), p["Filter.1.Value.1"].as_str()),
        ("tag:slurm-burst:cluster", "uuid")
    );
    let states: Vec<_> =
        p.iter().filter(|(k, _)| k.starts_with("Filter.2.Value")).map(|(_, v)| v.as_str()).collect();
    assert!(states.len() == 5 && !states.contains(&"terminated"));
}

#[test]
fn terminate_leaves_out_unknown_ids_and_asks_again_for_them() {
    let server = Server::start(|_, p| {
        let ids: Vec<&str> =
            p.iter().filter(|(k, _)| k.starts_with("InstanceId.")).map(|(_, v)| v.as_str()).collect();
        // i-late becomes known with the second round, i-never never.
        let unknown: Vec<&str> =
            ids.iter().copied().filter(|i| *i == "i-never" || (*i == "i-late" && ids.len() > 2)).collect();
        if unknown.is_empty() {
            ok("TerminateInstances", "<instancesSet/>")
        } else {
            let plural = format!("The instance IDs '{}' do not exist", unknown.join(", "));
            err(400, "InvalidInstanceID.NotFound", &plural)
        }
    });
    let ids = strings(&["i-a", "i-b", "i-late", "i-never", "i-a"]);
    run(async { ec2(&server.url).await.terminate(&ids).await }).unwrap();
    let sent: Vec<Vec<String>> = server
        .asked()
        .iter()
        .map(|p| p.iter().filter(|(k, _)| k.starts_with("InstanceId.")).map(|(_, v)| v.clone()).collect())
        .collect();
    assert_eq!(sent[0], ["i-a", "i-b", "i-late", "i-never"]);
    assert_eq!(sent[1], ["i-a", "i-b"]);
    assert_eq!(sent[2], ["i-late", "i-never"]);
    assert_eq!(sent[3], ["i-late"]);
    assert_eq!(sent[4], ["i-never"]);
    assert_eq!(sent.len(), 5);
}

#[test]
fn terminate_without_names_in_the_error_asks_which_exist() {
    let server = Server::start(|_, p| match p["Action"].as_str() {
        "DescribeInstances" => {
            ok("DescribeInstances", &format!("<reservationSet>{}</reservationSet>", instance("i-a")))
        }
        _ if p.values().any(|v| v == "i-gone") => err(400, "InvalidInstanceID.NotFound", "some do not exist"),
        _ => ok("TerminateInstances", "<instancesSet/>"),
    });
    run(async { ec2(&server.url).await.terminate(&strings(&["i-a", "i-gone"])).await }).unwrap();
    let done = server.asked().iter().any(|p| {
        p["Action"] == "TerminateInstances" && p["InstanceId.1"] == "i-a" && !p.contains_key("InstanceId.2")
    });
    assert!(done, "{:?}", server.asked());
}

#[test]
fn a_failed_batch_does_not_keep_the_next_alive() {
    let server = Server::start(|n, _| match n {
        1 => err(403, "UnauthorizedOperation", "no"),
        _ => ok("TerminateInstances", "<instancesSet/>"),
    });
    let ids: Vec<String> = (0..501).map(|i| format!("i-{i:05}")).collect();
    let e = run(async { ec2(&server.url).await.terminate(&ids).await }).unwrap_err();
    assert_eq!(e.code, "UnauthorizedOperation");
    assert_eq!(server.asked()[1]["InstanceId.1"], "i-00500");
}

#[test]
fn groups_are_created_once_and_deleted_for_good() {
    let server = Server::start(|_, p| match (p["Action"].as_str(), p.get("GroupName").map(String::as_str)) {
        ("CreatePlacementGroup", Some("old")) => err(400, "InvalidPlacementGroup.Duplicate", "exists"),
        ("CreatePlacementGroup", Some("bad")) => err(400, "PlacementGroupLimitExceeded", "500"),
        ("CreatePlacementGroup", _) => ok("CreatePlacementGroup", ""),
        ("DeletePlacementGroup", Some("gone")) => err(400, "InvalidPlacementGroup.Unknown", "unknown"),
        ("DeletePlacementGroup", Some("used")) => err(400, "InvalidPlacementGroup.InUse", "in use"),
        ("DeletePlacementGroup", _) => ok("DeletePlacementGroup", "<return>true</return>"),
        _ => ok(
            "DescribePlacementGroups",
            "<placementGroupSet><item><groupName>a</groupName><state>available</state></item><item><groupName>b\
             </groupName><state>pending</state></item><item><groupName>c</groupName><state>deleting</state></item>\
             </placementGroupSet>",
        ),
    });
    run(async {
        let ec2 = ec2(&server.url).await;
        ec2.create_group("uuid", "new").await.unwrap();
        ec2.create_group("uuid", "old").await.unwrap();
        assert_eq!(ec2.create_group("uuid", "bad").await.unwrap_err().code, "PlacementGroupLimitExceeded");
        ec2.delete_group("mine").await.unwrap();
        ec2.delete_group("gone").await.unwrap();
        assert_eq!(ec2.delete_group("used").await.unwrap_err().class, Class::Transient);
        let groups: Vec<_> =
            ec2.groups("uuid").await.unwrap().into_iter().map(|g| (g.name, g.available)).collect();
        assert_eq!(groups, [("a".into(), true), ("b".into(), false)]);
    });
    let p = &server.asked()[0];
    assert_eq!(p["Strategy"], "cluster");
    assert_eq!(p["TagSpecification.1.ResourceType"], "placement-group");
    assert_eq!(p["TagSpecification.1.Tag.1.Value"], "uuid");
}

fn card(index: u32, types: &[&str]) -> String {
    let types: String = types.iter().map(|t| format!("<item>{t}</item>")).collect();
    let set = if types.is_empty() {
        String::new()
    } else {
        format!("<interfaceTypeSet>{types}</interfaceTypeSet>")
    };
    format!(
        "<item><networkCardIndex>{index}</networkCardIndex><maximumNetworkInterfaces>2</maximumNetworkInterfaces>{set}</item>"
    )
}

fn a_type(name: &str, efa: u32, cards: &str) -> String {
    format!(
        "<item><instanceType>{name}</instanceType><supportedUsageClasses><item>on-demand</item><item>spot</item>\
         </supportedUsageClasses><vCpuInfo><defaultVCpus>192</defaultVCpus><defaultCores>96</defaultCores></vCpuInfo>\
         <memoryInfo><sizeInMiB>2097152</sizeInMiB></memoryInfo><gpuInfo><gpus><item><count>8</count></item></gpus>\
         </gpuInfo><networkInfo><networkCards>{cards}</networkCards><efaSupported>{}</efaSupported><efaInfo>\
         <maximumEfaInterfaces>{efa}</maximumEfaInterfaces></efaInfo></networkInfo></item>",
        efa > 0
    )
}

#[test]
fn cards_with_efa_are_those_ec2_names() {
    let server = Server::start(|_, _| {
        let named = card(0, &["interface"]) + &card(1, &["interface", "efa-only"]) + &card(2, &["efa"]);
        let none: String = (0..3).map(|i| card(i, &[])).collect();
        let all = [
            a_type("named", 2, &named),
            a_type("counted.all", 3, &none),
            a_type("counted.last", 2, &none),
            a_type("counted.one", 1, &none),
            a_type("without", 0, &card(0, &["interface"])),
        ];
        ok("DescribeInstanceTypes", &format!("<instanceTypeSet>{}</instanceTypeSet>", all.concat()))
    });
    let got = run(async { ec2(&server.url).await.instance_types(&strings(&["named"])).await }).unwrap();
    let efa: Vec<Vec<bool>> = got.iter().map(|f| f.cards.iter().map(|c| c.efa).collect()).collect();
    assert_eq!(efa[0], [false, true, true]);
    assert_eq!(efa[1], [true, true, true]);
    assert_eq!(efa[2], [false, true, true]);
    assert_eq!(efa[3], [true, false, false]);
    assert_eq!(efa[4], [false]);
    let f = &got[0];
    assert_eq!((f.vcpus, f.cores, f.memory_mib, f.gpus, f.efa_max), (192, 96, 2_097_152, 8, 2));
    assert!(f.on_demand && f.spot && got[4].efa_max == 0);
}

#[test]
fn an_unknown_type_does_not_hide_the_others() {
    let server = Server::start(|_, p| {
        if p.contains_key("InstanceType.1") {
            return err(
                400,
                "InvalidInstanceType",
                "The following supplied instance types do not exist: [x]",
            );
        }
        ok("DescribeInstanceTypes", &format!("<instanceTypeSet>{}</instanceTypeSet>", a_type("a", 0, "")))
    });
    let got = run(async { ec2(&server.url).await.instance_types(&strings(&["a", "x"])).await }).unwrap();
    assert_eq!(got.len(), 1);
    assert_eq!(server.asked()[1]["Filter.1.Name"], "instance-type");
}

#[test]
fn subnets_give_zone_and_free_addresses() {
    let server = Server::start(|_, _| {
        ok(
            "DescribeSubnets",
            "<subnetSet><item><subnetId>subnet-1</subnetId><availabilityZone>us-east-2b</availabilityZone>\
             <availableIpAddressCount>4091</availableIpAddressCount></item></subnetSet>",
        )
    });
    let got = run(async { ec2(&server.url).await.subnets(&strings(&["subnet-1"])).await }).unwrap();
    assert_eq!(got["subnet-1"], ("us-east-2b".to_owned(), 4091));
}
