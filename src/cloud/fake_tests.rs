//! Tests of the cloud in memory.
use super::*;
use std::collections::BTreeMap;

pub(crate) fn spec(pool: &str) -> TemplateSpec {
    TemplateSpec {
        cluster: "uuid".into(),
        pool: pool.into(),
        facts: TypeFacts {
            name: "hpc7a.96xlarge".into(),
            vcpus: 192,
            cores: 192,
            memory_mib: 786_432,
            gpus: 0,
            efa_max: 2,
            cards: Vec::new(),
            on_demand: true,
            spot: false,
        },
        efa: 0,
        image: "ami-1".into(),
        security_groups: Vec::new(),
        instance_profile: None,
        key_name: None,
        root_gib: None,
        public_ip: false,
        user_data: String::new(),
        reservation: None,
    }
}

pub(crate) fn request(token: &str, nodes: u32, template: &TemplateRef) -> FleetRequest {
    FleetRequest {
        client_token: token.into(),
        template: template.clone(),
        instance_type: "hpc7a.96xlarge".into(),
        zone: "us-east-2b".into(),
        subnet: "subnet-1".into(),
        market: Market::OnDemand,
        group: None,
        nodes,
        max_price: None,
        tags: BTreeMap::from([("slurm-burst:cluster".into(), "uuid".into())]),
        reservation: None,
        region: None,
    }
}

fn ids(a: &FleetAnswer) -> Vec<String> {
    a.instances.iter().map(|g| g.id.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_same_token_is_one_fleet_and_another_request_is_refused() {
    let cloud = FakeCloud::new();
    let t = cloud.ensure_template(&spec("efa")).await.unwrap();
    let first = cloud.create_fleet(&request("a", 4, &t)).await.unwrap();
    assert_eq!(first.instances.len(), 4);
    assert_eq!(cloud.create_fleet(&request("a", 4, &t)).await.unwrap(), first);
    let e = cloud.create_fleet(&request("a", 5, &t)).await.unwrap_err();
    assert_eq!(e.code, "IdempotentParameterMismatch");
    assert_eq!((cloud.alive().len(), cloud.fleets().len(), cloud.count("CreateFleet")), (4, 1, 3));
}

#[tokio::test(start_paused = true)]
async fn capacity_is_all_or_nothing_and_comes_back() {
    let cloud = FakeCloud::new();
    let t = cloud.ensure_template(&spec("efa")).await.unwrap();
    cloud.set_capacity("hpc7a.96xlarge", "us-east-2b", Market::OnDemand, 3);
    let refused = cloud.create_fleet(&request("a", 4, &t)).await.unwrap();
    assert!(refused.instances.is_empty());
    assert_eq!(refused.errors[0].class, Class::Capacity);
    let granted = cloud.create_fleet(&request("b", 3, &t)).await.unwrap();
    assert_eq!(cloud.create_fleet(&request("c", 1, &t)).await.unwrap().instances.len(), 0);
    cloud.terminate(&ids(&granted)).await.unwrap();
    cloud.terminate(&ids(&granted)).await.unwrap();
    assert_eq!(cloud.create_fleet(&request("d", 3, &t)).await.unwrap().instances.len(), 3);
    assert_eq!(cloud.create_fleet(&request("e", 1, &t)).await.unwrap().instances.len(), 0);
    // The refused fleet stays refused under its token.
    assert!(cloud.create_fleet(&request("a", 4, &t)).await.unwrap().instances.is_empty());
}

#[tokio::test(start_paused = true)]
async fn instances_appear_boot_and_end_with_time() {
    let cloud = FakeCloud::new();
    let t = cloud.ensure_template(&spec("efa")).await.unwrap();
    let s = Duration::from_secs;
    cloud.set_delays(Delays {
        visible: s(2),
        address: s(3),
        boot: s(10),
        shutdown: s(5),
        fleet: s(1),
        ..Delays::default()
    });
    let start = Instant::now();
    let granted = cloud.create_fleet(&request("a", 2, &t)).await.unwrap();
    assert_eq!(start.elapsed(), s(1));
    let ids = ids(&granted);
    assert!(cloud.describe(&ids).await.unwrap().is_empty());
    tokio::time::advance(s(2)).await;
    let seen = cloud.describe(&ids).await.unwrap();
    assert!(seen.len() == 2 && seen.iter().all(|i| i.ip.is_none() && i.state == InstanceState::Pending));
    tokio::time::advance(s(8)).await;
    let seen = cloud.owned("uuid").await.unwrap();
    assert!(
        seen.iter().all(|i| i.ip.is_some() && i.state == InstanceState::Running && i.launched == EPOCH + 1)
    );
    assert!(cloud.owned("other").await.unwrap().is_empty());
    cloud.terminate(&[ids[0].clone(), "i-unknown".into()]).await.unwrap();
    assert_eq!(cloud.describe(&ids[..1]).await.unwrap()[0].state, InstanceState::ShuttingDown);
    cloud.kill(&ids[1]);
    tokio::time::advance(s(5)).await;
    assert!(cloud.owned("uuid").await.unwrap().is_empty());
    assert_eq!(cloud.describe(&ids).await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_group_in_use_stays() {
    let cloud = FakeCloud::new();
    let t = cloud.ensure_template(&spec("efa")).await.unwrap();
    let mut r = request("a", 1, &t);
    r.group = Some("g".into());
    assert_eq!(cloud.create_fleet(&r).await.unwrap().errors.len(), 1);
    cloud.create_group("uuid", "g").await.unwrap();
    cloud.create_group("uuid", "g").await.unwrap();
    r.client_token = "b".into();
    let granted = cloud.create_fleet(&r).await.unwrap();
    assert_eq!(cloud.delete_group("g").await.unwrap_err().class, Class::Transient);
    cloud.terminate(&ids(&granted)).await.unwrap();
    cloud.delete_group("g").await.unwrap();
    cloud.delete_group("g").await.unwrap();
    assert!(cloud.groups("uuid").await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn templates_are_one_per_content_and_must_exist() {
    let cloud = FakeCloud::new();
    let a = cloud.ensure_template(&spec("efa")).await.unwrap();
    assert_eq!(cloud.ensure_template(&spec("efa")).await.unwrap(), a);
    assert_ne!(cloud.ensure_template(&spec("other")).await.unwrap(), a);
    let gone = TemplateRef { id: "lt-none".into(), version: "1".into() };
    let e = cloud.create_fleet(&request("a", 1, &gone)).await.unwrap_err();
    assert_eq!(e.code, "InvalidLaunchTemplateId.NotFound");
    cloud.add_site_template("mine", gone.clone(), false);
    assert_eq!(cloud.site_template("mine", false).await.unwrap(), gone);
    assert_eq!(cloud.site_template("mine", true).await.unwrap_err().code, "NoEfaInterfaces");
    cloud.grant_short(1);
    assert_eq!(cloud.create_fleet(&request("s", 3, &a)).await.unwrap().instances.len(), 1);
}

fn reservation(kind: burst_policy::reservation::Kind) -> Facts {
    Facts {
        id: "cr-1".into(),
        state: "active".into(),
        kind,
        instance_type: "hpc7a.96xlarge".into(),
        zone: "us-east-2b".into(),
        total: 4,
        available: 0,
        group: None,
        start_s: None,
        end_s: None,
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_reserved_is_beside_the_market_and_comes_back_with_its_instances() {
    use burst_policy::reservation::{Kind, Reserved};
    let cloud = FakeCloud::new();
    let t = cloud.ensure_template(&spec("efa")).await.unwrap();
    cloud.set_capacity("hpc7a.96xlarge", "us-east-2b", Market::OnDemand, 1);
    cloud.set_reservation(reservation(Kind::Targeted));
    let into = |token: &str, nodes: u32, kind: Kind| FleetRequest {
        reservation: Some(Reserved { id: "cr-1".into(), kind, group: None }),
        ..request(token, nodes, &t)
    };
    let a = cloud.create_fleet(&into("a", 3, Kind::Targeted)).await.unwrap();
    assert_eq!((a.instances.len(), cloud.in_reservation("cr-1")), (3, 3));
    assert_eq!(cloud.reservations(&["cr-1".into(), "cr-2".into()]).await.unwrap()[0].available, 1);
    let b = cloud.create_fleet(&into("b", 2, Kind::Targeted)).await.unwrap();
    assert_eq!((b.instances.len(), b.errors[0].class), (0, Class::Capacity), "nothing in part");
    let other = FleetRequest {
        reservation: Some(Reserved { id: "cr-2".into(), kind: Kind::Targeted, group: None }),
        ..request("c", 1, &t)
    };
    assert_eq!(cloud.create_fleet(&other).await.unwrap().errors[0].class, Class::Capacity);
    // An open one is filled up from the market.
    cloud.set_reservation(reservation(Kind::Open));
    let d = cloud.create_fleet(&into("d", 2, Kind::Open)).await.unwrap();
    assert_eq!((d.instances.len(), cloud.in_reservation("cr-1")), (2, 4));
    cloud.terminate(&ids(&a)).await.unwrap();
    assert_eq!(cloud.in_reservation("cr-1"), 1);
    // A Capacity Block gives what it has.
    cloud.set_reservation(reservation(Kind::CapacityBlock));
    let e = cloud.create_fleet(&into("e", 5, Kind::CapacityBlock)).await.unwrap();
    assert_eq!((e.instances.len(), e.errors.len()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn templates_are_listed_by_owner_and_deleted() {
    let cloud = FakeCloud::new();
    let a = cloud.ensure_template(&spec("efa")).await.unwrap();
    cloud.ensure_template(&spec("gpu")).await.unwrap();
    assert_eq!(cloud.templates("uuid").await.unwrap().len(), 2);
    assert!(cloud.templates("other").await.unwrap().is_empty());
    cloud.delete_template(&a.id).await.unwrap();
    cloud.delete_template(&a.id).await.unwrap();
    assert_eq!(cloud.templates("uuid").await.unwrap()[0].name, "burst-gpu-lt-00000002");
}
