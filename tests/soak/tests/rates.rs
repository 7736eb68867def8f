//! EC2's published token buckets, kept to and used up.
#![allow(clippy::expect_used, clippy::panic)]

use burst_soak::{Crowd, serve};

#[test]
fn a_hundred_gangs_of_eight_at_once_are_never_throttled_and_as_fast_as_the_bucket() {
    // 800 instances are there; 100 CreateFleet calls are 48 at once (two less than EC2 takes) and the rest at five a second.
    let crowd = Crowd { gangs: 100, nodes: 8, launches: (1_000, 2), most_ms: 60_000 };
    let served = serve(1, crowd);
    assert_eq!((served.throttled, served.fleets_ms.len()), (0, 100), "{served:#?}");
    let last = served.fleets_ms.last().copied().unwrap_or(u64::MAX);
    assert!((9_000..=11_000).contains(&last), "the bucket's own limit is 10 s: {last} ms");
    assert_eq!(served.broken, Vec::<String>::new());
    assert_eq!(served.calls.get("CreateFleet"), Some(&100));
    let looks = served.calls.get("DescribeInstances").copied().unwrap_or(u64::MAX);
    assert!(looks < 100, "looks at instances are gathered: {looks}");
}

#[test]
fn what_the_instances_bucket_does_not_hold_waits_as_long_as_was_said_before() {
    // The second gang lacks 50 instances at two a second.
    let crowd = Crowd { gangs: 2, nodes: 75, launches: (100, 2), most_ms: 100_000 };
    let served = serve(2, crowd);
    assert_eq!((served.throttled, served.fleets_ms.len()), (0, 2), "{served:#?}");
    let last = served.fleets_ms.last().copied().unwrap_or(u64::MAX);
    assert!((24_000..=27_500).contains(&last), "the bucket's own limit is 25 s: {last} ms");
    let said = served.told.iter().any(|t| t.contains("expected in about 25 s"));
    assert!(said, "{:#?}", served.told);
}
