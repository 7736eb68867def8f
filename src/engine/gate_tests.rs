//! The gate under paused time, before a cloud in memory.

use super::*;
use crate::host::Stage;
use burst_cloud::{
    InstanceState,
    failing::{Failing, Fault},
    fake::{EPOCH, FakeCloud},
};
use burst_policy::{breaker::FAILURES, config::Config};
use std::sync::atomic::{AtomicBool, Ordering};

/// Paused time.
struct Clock(Instant);

impl Stage for Clock {
    fn now_ms(&self) -> u64 {
        EPOCH * 1_000 + self.elapsed_ms()
    }
    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).expect("short")
    }
    fn pauses(&self) -> (Duration, Duration) {
        (Duration::ZERO, Duration::ZERO)
    }
}

struct Stand {
    ec2: FakeCloud,
    failing: Failing<FakeCloud>,
    gate: Gate,
    active: Arc<AtomicBool>,
    began: Instant,
}

const TOML: &str = r#"
[cluster]
listen = "10.0.0.5:6826"
[aws]
region = "us-east-2"
[pool.efa]
partition = "efa"
zones = { "us-east-2b" = "subnet-1" }
image = "ami-1"
security_groups = ["sg-1"]
[pool.efa.region.us-west-2]
zones = { "us-west-2b" = "subnet-2" }
image = "ami-2"
security_groups = ["sg-2"]
[[pool.efa.block]]
type = "hpc7a.96xlarge"
nodes = "e-[1-8]"
[rates]
change = "2/1"
"#;

fn stand() -> Stand {
    let began = Instant::now();
    let ec2 = FakeCloud::new();
    let failing = Failing::new(ec2.clone());
    let active = Arc::new(AtomicBool::new(true));
    let host = Host::staged(Arc::new(Clock(began)));
    let rates = Arc::new(Rates::default());
    rates.configure(&Config::parse(TOML, "burst.toml").expect("good"), host.now_ms());
    let is = active.clone();
    let is: Active = Arc::new(move || is.load(Ordering::Relaxed));
    let gate = Gate::new(Arc::new(failing.clone()), rates, is, host);
    Stand { ec2, failing, gate, active, began }
}

impl Stand {
    fn plant(&self, ids: &[String]) {
        for id in ids {
            self.ec2.plant(Instance {
                id: id.clone(),
                state: InstanceState::Running,
                ip: None,
                dns: None,
                instance_type: "hpc7a.96xlarge".into(),
                zone: "us-east-2b".into(),
                group: String::new(),
                launched: EPOCH,
                tags: BTreeMap::new(),
            });
        }
    }
    fn passed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).expect("short")
    }
    /// A look of its own, under way.
    fn look(&self, ids: &[String]) -> tokio::task::JoinHandle<Word> {
        let (gate, ids) = (self.gate.clone(), ids.to_vec());
        tokio::spawn(async move { gate.describe(&ids).await })
    }
}

fn ids(from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|n| format!("i-{n:04}")).collect()
}

fn found(word: Result<Word, tokio::task::JoinError>) -> Vec<String> {
    word.expect("no panic").expect("an answer").into_iter().map(|i| i.id).collect()
}

#[tokio::test(start_paused = true)]
async fn looks_of_several_gangs_are_one_call_and_each_has_its_own_answer() {
    let s = stand();
    s.plant(&ids(0, 24));
    let looks = [s.look(&ids(0, 8)), s.look(&ids(8, 8)), s.look(&ids(16, 8))];
    for (n, look) in looks.into_iter().enumerate() {
        assert_eq!(found(look.await), ids(n * 8, 8));
    }
    assert_eq!(
        (s.ec2.count("DescribeInstances"), s.passed()),
        (1, 35),
        "one call, when nobody came for 35 ms"
    );
    assert_eq!(found(s.look(&ids(0, 1)).await), ids(0, 1));
    assert_eq!(s.ec2.count("DescribeInstances"), 2, "later is another one");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_a_second_and_a_call_holds_what_it_can() {
    let s = stand();
    s.plant(&ids(0, 450));
    let first = s.look(&ids(0, 1));
    let mut others = Vec::new();
    while !first.is_finished() && others.len() < 1_000 {
        sleep(Duration::from_millis(20)).await;
        others.push(s.look(&ids(1, 1)));
    }
    assert_eq!((found(first.await), s.ec2.count("DescribeInstances")), (ids(0, 1), 1));
    assert!((1_000..1_050).contains(&s.passed()), "{} ms", s.passed());
    for other in others {
        assert_eq!(found(other.await), ids(1, 1));
    }
    let calls = s.ec2.count("DescribeInstances");
    let mut all = found(s.look(&ids(0, 450)).await);
    all.sort();
    assert_eq!((all, s.ec2.count("DescribeInstances") - calls), (ids(0, 450), 3), "200 ids a call");
}

#[tokio::test(start_paused = true)]
async fn an_error_about_one_gangs_ids_is_that_gangs_alone() {
    let s = stand();
    s.plant(&ids(0, 2));
    s.failing.nth(
        "DescribeInstances",
        1,
        Fault::Refuse("InvalidInstanceID.Malformed".into(), Class::Configuration),
    );
    s.failing.nth(
        "DescribeInstances",
        3,
        Fault::Refuse("InvalidInstanceID.Malformed".into(), Class::Configuration),
    );
    let (good, bad) = (s.look(&ids(0, 2)), s.look(&["i-odd".to_owned()]));
    assert_eq!(found(good.await), ids(0, 2));
    assert_eq!(bad.await.expect("no panic").expect_err("its own").code, "InvalidInstanceID.Malformed");
    // A throttle is everybody's: asking one by one would make it worse.
    s.failing.next("DescribeInstances", 1, Fault::Throttle);
    let before = s.failing.seen("DescribeInstances");
    let (a, b) = (s.look(&ids(0, 1)), s.look(&ids(1, 1)));
    for look in [a, b] {
        assert_eq!(look.await.expect("no panic").expect_err("throttled").class, Class::Throttle);
    }
    assert_eq!(s.failing.seen("DescribeInstances"), before + 1);
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_their_tokens_and_a_standby_makes_none() {
    let s = stand();
    for n in 0..4 {
        s.gate.create_group("c", &format!("g{n}")).await.expect("made");
    }
    assert_eq!(s.passed(), 2_000, "two at once, then one a second");
    s.active.store(false, Ordering::Relaxed);
    let e = s.gate.create_group("c", "late").await.expect_err("another controller is active");
    assert_eq!((e.code.as_str(), s.ec2.count("CreatePlacementGroup")), ("Standby", 4));
}

#[tokio::test(start_paused = true)]
async fn an_outage_stops_what_changes_things_and_neither_ends_nor_looks() {
    let s = stand();
    s.plant(&ids(0, 2));
    for api in ["CreatePlacementGroup", "TerminateInstances", "DescribeInstances"] {
        s.failing.always(api, Fault::Unreachable);
    }
    for _ in 0..FAILURES {
        s.gate.create_group("c", "g").await.expect_err("down");
        s.gate.terminate(&ids(0, 1)).await.expect_err("down");
        s.look(&ids(0, 1)).await.expect("no panic").expect_err("down");
    }
    let calls = s.failing.seen("CreatePlacementGroup");
    let e = s.gate.create_group("c", "g").await.expect_err("left alone");
    assert_eq!((e.code.as_str(), e.class, e.ambiguous), ("CircuitOpen", Class::Transient, false));
    assert!(e.message.contains("(Connect)"), "{}", e.message);
    assert_eq!(s.failing.seen("CreatePlacementGroup"), calls, "no call was made");
    // Instances are ended whatever the breaker says, and looks wait for the next probe.
    s.failing.heal("TerminateInstances");
    s.failing.heal("DescribeInstances");
    s.gate.terminate(&ids(0, 1)).await.expect("ended");
    assert_eq!(found(s.look(&ids(1, 1)).await), ids(1, 1));
    // One probe a pause, until EC2 is back.
    s.failing.heal("CreatePlacementGroup");
    sleep(Duration::from_secs(130)).await;
    s.gate.create_group("c", "g").await.expect("back");
    s.gate.create_group("c", "h").await.expect("closed again");
}

#[tokio::test(start_paused = true)]
async fn each_region_has_its_own_rates_and_breakers() {
    let s = stand();
    let west = s.gate.region("us-west-2").await.expect("a Region");
    let again = s.gate.region("us-west-2").await.expect("a Region");
    for name in ["a", "b"] {
        s.gate.create_group("c", name).await.expect("two at once");
        west.create_group("c", name).await.expect("and two there");
    }
    assert_eq!(s.passed(), 0);
    again.create_group("c", "d").await.expect("it is the same Region");
    assert_eq!(s.passed(), 1_000, "its bucket is empty");
    assert_eq!(s.ec2.count("CreatePlacementGroup"), 2);
    assert_eq!(s.ec2.in_region("us-west-2").group_names(), ["a", "b", "d"]);
    // An outage here is none there.
    s.failing.always("CreatePlacementGroup", Fault::Unreachable);
    for n in 0..FAILURES {
        let e = s.gate.create_group("c", &format!("x{n}")).await.expect_err("fails");
        assert_eq!(e.code, "Connect");
    }
    let e = s.gate.create_group("c", "y").await.expect_err("left alone");
    assert_eq!(e.code, "CircuitOpen");
    west.create_group("c", "y").await.expect("works there");
}
