//! Tests of the failing wrapper.
use super::*;
use crate::fake::{
    FakeCloud,
    tests::{request, spec},
};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn refused_before_does_nothing_and_lost_after_has_done_it() {
    let cloud = Failing::new(FakeCloud::new());
    let t = cloud.ensure_template(&spec("efa")).await.unwrap();
    cloud.next("CreateFleet", 1, Fault::Refuse("VcpuLimitExceeded".into(), Class::Quota));
    let e = cloud.create_fleet(&request("a", 2, &t)).await.unwrap_err();
    assert_eq!((e.class, e.ambiguous, cloud.inner().alive().len()), (Class::Quota, false, 0));
    cloud.next("CreateFleet", 1, Fault::LostRequest);
    let e = cloud.create_fleet(&request("a", 2, &t)).await.unwrap_err();
    assert!(e.ambiguous && cloud.inner().alive().is_empty());
    cloud.next("CreateFleet", 1, Fault::LostAnswer);
    let e = cloud.create_fleet(&request("a", 2, &t)).await.unwrap_err();
    assert!(e.ambiguous && e.request_id.is_none());
    assert_eq!(cloud.inner().alive().len(), 2);
    let replay = cloud.create_fleet(&request("a", 2, &t)).await.unwrap();
    assert_eq!((replay.instances.len(), cloud.inner().alive().len(), cloud.seen("CreateFleet")), (2, 2, 4));
}

#[tokio::test(start_paused = true)]
async fn faults_hit_the_calls_they_were_made_for() {
    let cloud = Failing::new(FakeCloud::new());
    cloud.nth("DescribeInstances", 2, Fault::Throttle);
    assert!(cloud.owned("u").await.is_ok());
    assert_eq!(cloud.describe(&[]).await.unwrap_err().class, Class::Throttle);
    assert!(cloud.owned("u").await.is_ok());
    cloud.always("DescribeInstances", Fault::Unreachable);
    for _ in 0..3 {
        let e = cloud.owned("u").await.unwrap_err();
        assert_eq!((e.code.as_str(), e.ambiguous), ("Connect", false));
    }
    assert!(cloud.groups("u").await.is_ok());
    cloud.clone().heal("DescribeInstances");
    assert!(cloud.owned("u").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn delays_pass_and_hangs_do_not_end() {
    let cloud = Failing::new(FakeCloud::new());
    let start = Instant::now();
    cloud.next("TerminateInstances", 1, Fault::Delay(Duration::from_secs(7)));
    cloud.terminate(&[]).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(7));
    cloud.next("CreatePlacementGroup", 1, Fault::Hang);
    let waited = tokio::time::timeout(Duration::from_secs(3600), cloud.create_group("u", "g")).await;
    assert!(waited.is_err());
    assert_eq!(cloud.inner().group_names(), ["g"]);
}
