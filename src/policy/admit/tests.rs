//! What is admitted, what is refused, and that users only narrow.

use super::*;
use crate::config::tests::{GOOD, good};
use crate::prices::Prices;
use burst_plan::Efa;
use proptest::prelude::*;

mod abroad;
mod reserved;
mod wishes;

fn prices() -> Prices {
    Prices::parse(
        r#"{"source":"synthetic","regions":{"us-east-2":{"types":{
        "hpc7a.96xlarge":{"on-demand":"7.20"},"hpc6a.48xlarge":{"on-demand":"2.88"}}}}}"#,
    )
    .expect("reads")
}

fn decide_in(config: &Config, request: &Request, job: &Geometry) -> Verdict {
    let (types, prices) = (TypeBook::builtin(), prices());
    let offers = Offers::of(config, &types, &prices);
    let site = Site { config, types: &types, offers: &offers, kill_margin: Seconds(30) };
    admit(site, &config.pools["efa"], request, job)
}

fn decide(request: &Request, job: &Geometry) -> Verdict {
    decide_in(&good(), request, job)
}

fn job(tasks: u32) -> Geometry {
    Geometry {
        ntasks: Some(tasks),
        time_limit: Some(Seconds(3600)),
        partition: "efa".into(),
        ..Geometry::default()
    }
}

fn admitted(v: Verdict) -> Admission {
    match v {
        Verdict::Launch(a) => *a,
        other => panic!("{other:?}"),
    }
}

fn refused(v: Verdict) -> String {
    match v {
        Verdict::Refuse(r) => r.0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_number_of_nodes_follows_the_hardware() {
    let a = admitted(decide(&Request::default(), &job(384)));
    let sizes: Vec<(u32, &str, &str)> =
        a.ladder.iter().map(|r| (r.nodes, r.instance_type.as_str(), r.zone.as_str())).collect();
    assert_eq!(
        sizes,
        [
            (2, "hpc7a.96xlarge", "us-east-2b"),
            (2, "hpc7a.96xlarge", "us-east-2a"),
            (4, "hpc6a.48xlarge", "us-east-2b"),
            (4, "hpc6a.48xlarge", "us-east-2a"),
        ]
    );
    // 2 nodes × 7.20 × (3600 + 480 + 300 + 600 + 30 s) × 2 attempts
    assert_eq!(a.worst_cost, Some(MicroUsd(40_080_000)));
    assert!(a.notices[0].contains("2 x hpc7a.96xlarge (on-demand, us-east-2b, EFA)"), "{:?}", a.notices);
    assert!(a.notices[0].contains("USD 40.08"), "{:?}", a.notices);
}

#[test]
fn advice_is_followed_where_it_can_be() {
    let advice = Request { types: vec!["hpc6a.48xlarge".into()], ..Request::default() };
    let a = admitted(decide(&advice, &job(96)));
    assert!(a.ladder.iter().all(|r| r.instance_type == "hpc6a.48xlarge"), "nothing else: {:?}", a.ladder);
    // hpc6a has 384 GiB.
    let large = Geometry { mem_per_node: Some(600_000), ..job(96) };
    let a = admitted(decide(&advice, &large));
    assert!(a.ladder.iter().all(|r| r.instance_type == "hpc7a.96xlarge"), "{:?}", a.ladder);
    assert!(a.notices.iter().any(|n| n.contains("does not fit the plan's types (hpc6a.48xlarge)")));
    let unknown = Request { types: vec!["hpc7a.2xlarge".into()], ..Request::default() };
    let a = admitted(decide(&unknown, &job(96)));
    assert!(a.notices.iter().any(|n| n.starts_with("hpc7a.2xlarge does not exist")), "{:?}", a.notices);
    let useless =
        Request { types: vec!["m5.xlarge".into()], market: Some(Market::Spot), ..Request::default() };
    let a = admitted(decide(&useless, &job(192)));
    assert_eq!(
        (a.ladder[0].instance_type.as_str(), a.ladder[0].market),
        ("hpc7a.96xlarge", Market::OnDemand)
    );
    assert!(a.notices.iter().any(|n| n.contains("none of the plan's types (m5.xlarge)")), "{:?}", a.notices);
    assert!(a.notices.iter().any(|n| n.contains("does not allow spot: on-demand serves")), "{:?}", a.notices);
}

#[test]
fn options_and_strict_pools_bind() {
    let option = Request { types: vec!["hpc7a.2xlarge".into()], types_bind: true, ..Request::default() };
    let text = refused(decide(&option, &job(1)));
    assert!(text.contains("hpc7a.2xlarge does not exist (there are hpc7a.12xlarge"), "{text}");
    let strict = GOOD.replace("efa = \"required\"", "efa = \"required\"\nplan_types = \"strict\"");
    let strict = Config::parse(&strict, "f").expect("good");
    let plan = Request { types: vec!["m5.xlarge".into()], ..Request::default() };
    assert!(refused(decide_in(&strict, &plan, &job(1))).contains("m5.xlarge has no EFA"));
    let spot = Request { market: Some(Market::Spot), market_binds: true, ..Request::default() };
    assert!(refused(decide(&spot, &job(1))).contains("write --burst-market=on-demand"));
}

#[test]
fn law7_what_has_no_bound_is_refused() {
    assert!(refused(decide(&Request::default(), &Geometry { unlimited: true, ..job(1) })).contains("--time"));
    let cheap = Request { max_cost: Some(MicroUsd(1_000_000)), ..Request::default() };
    let text = refused(decide(&cheap, &job(192)));
    assert!(text.contains("up to USD 20.04") && text.contains("USD 1.00"), "{text}");
    let config = good();
    let (types, prices) = (TypeBook::builtin(), Prices::default());
    let offers = Offers::of(&config, &types, &prices);
    let site = Site { config: &config, types: &types, offers: &offers, kill_margin: Seconds(0) };
    let text = refused(admit(site, &config.pools["efa"], &Request::default(), &job(1)));
    assert!(text.contains("no price of hpc7a.96xlarge"), "{text}");
}

#[test]
fn what_is_not_there_yet_says_so() {
    let het = Geometry { het_offset: Some(0), ..job(1) };
    assert!(refused(decide(&Request::default(), &het)).contains("heterogeneous"));
    let home = Request { should_burst: Some(false), ..Request::default() };
    assert!(refused(decide(&home, &job(1))).contains("partition cpu"));
    let big = Geometry { min_nodes: Some(65), ..job(65) };
    assert!(refused(decide(&Request::default(), &big)).contains("at most 64"));
    let none = Geometry { min_nodes: Some(0), ..job(1) };
    assert!(refused(decide(&Request::default(), &none)).contains("--nodes=0"));
}

#[test]
fn a_pool_is_found_or_the_contradiction_named() {
    let config = good();
    let find = |r: &Request, option, p| pool_for(&config, r, option, p).map(|p| p.map(|p| p.name.clone()));
    let named = |n: &str| Request { pool: Some(n.into()), ..Request::default() };
    assert_eq!(find(&Request::default(), false, "cpu"), Ok(None));
    assert_eq!(find(&Request::default(), false, "efa"), Ok(Some("efa".into())));
    assert_eq!(find(&Request::default(), true, "cpu"), Ok(Some("efa".into())));
    assert_eq!(find(&named("efa"), true, ""), Ok(Some("efa".into())));
    assert!(find(&named("gpu"), true, "").expect_err("unknown").0.contains("pools here are efa"));
    assert!(find(&Request::default(), false, "cpu,efa").expect_err("mix").0.contains("name one partition"));
    let home = Request { should_burst: Some(false), ..Request::default() };
    assert_eq!(find(&home, true, "cpu"), Ok(None));
}

#[test]
fn small_jobs_on_huge_nodes_are_warned() {
    let a = admitted(decide(&Request::default(), &job(4)));
    assert!(a.notices.iter().any(|n| n.contains("4 of the 192 CPUs")), "{:?}", a.notices);
}

#[test]
fn a_type_named_twice_is_tried_once_and_all_its_blocks_serve() {
    let more = "[[pool.efa.block]]\ntype = \"hpc7a.96xlarge\"\nnodes = \"efb-[0001-0064]\"\n[limits]";
    let config = Config::parse(&GOOD.replace("[limits]", more), "f").expect("good");
    for binds in [true, false] {
        let types = vec!["hpc7a.96xlarge".to_owned(); 2];
        let request = Request { types, types_bind: binds, ..Request::default() };
        let a = admitted(decide_in(&config, &request, &job(96)));
        let blocks: Vec<usize> = a.ladder.iter().map(|r| r.block).collect();
        assert_eq!(blocks, [0, 0, 2, 2]);
    }
}

#[test]
fn before_the_time_limit_is_known_all_that_needs_none_is_checked() {
    let unknown = Geometry { time_limit: None, ..job(192) };
    let a = admitted(decide(&Request::default(), &unknown));
    assert_eq!(a.worst_cost, None);
    assert!(a.notices[0].contains("told once its time limit is known"), "{:?}", a.notices);
    assert!(a.notices.iter().any(|n| n.contains("checked before the launch")), "{:?}", a.notices);
    let hourly = Request { max_cost_per_hour: Some(MicroUsd(1_000_000)), ..Request::default() };
    assert!(refused(decide(&hourly, &unknown)).contains("USD 7.20 an hour"));
    let config = good();
    let (types, prices) = (TypeBook::builtin(), Prices::default());
    let offers = Offers::of(&config, &types, &prices);
    let site = Site { config: &config, types: &types, offers: &offers, kill_margin: Seconds(0) };
    let v = admit(site, &config.pools["efa"], &Request::default(), &unknown);
    assert!(refused(v).contains("no price of hpc7a.96xlarge"));
}

#[test]
fn full_nodes_are_not_called_small() {
    let full = Geometry { ntasks: None, min_nodes: Some(2), ntasks_per_node: Some(192), ..job(1) };
    let by_cpus = Geometry { ntasks: None, min_cpus: Some(190), ..job(1) };
    for g in [full, by_cpus] {
        let a = admitted(decide(&Request::default(), &g));
        assert!(!a.notices.iter().any(|n| n.contains("CPUs it pays for")), "{:?}", a.notices);
    }
}

#[test]
fn one_line_says_it_all() {
    let a = admitted(decide(&Request::default(), &job(384)));
    assert_eq!(
        summary(&a, &good().pools["efa"]),
        "pool efa: 2 x hpc7a.96xlarge (on-demand, us-east-2b, EFA), 4 places to try; at most USD 40.08; without capacity: wait"
    );
}

proptest! {
    /// Law 5: whatever a user asks for, every rung is one the pool allows.
    #[test]
    fn law5_wishes_only_narrow(
        types in proptest::collection::vec("[a-z0-9]{1,6}\\.[a-z0-9]{1,8}|hpc7a\\.96xlarge|hpc6a\\.48xlarge", 0..4),
        binds in any::<bool>(), zones in proptest::collection::vec("us-east-2[abc]", 0..3),
        efa in 0u8..4, market in 0u8..4, tasks in 1u32..20_000, nodes in proptest::option::of(0u32..100),
    ) {
        let request = Request {
            types, types_bind: binds, zones,
            efa: [None, Some(Efa::Required), Some(Efa::Preferred), Some(Efa::Off)][usize::from(efa)],
            market: [None, Some(Market::Spot), Some(Market::OnDemand), Some(Market::Mixed)][usize::from(market)],
            ..Request::default()
        };
        let g = Geometry { min_nodes: nodes, ..job(tasks) };
        let config = good();
        let pool = &config.pools["efa"];
        if let Verdict::Launch(a) = decide(&request, &g) {
            prop_assert!(!a.ladder.is_empty());
            let places: std::collections::BTreeSet<_> = a.ladder.iter().map(|r| (r.block, &r.zone)).collect();
            prop_assert_eq!(places.len(), a.ladder.len(), "a place is tried once");
            for r in &a.ladder {
                let b = &pool.blocks[r.block];
                prop_assert_eq!(&b.instance_type, &r.instance_type);
                prop_assert!(pool.zones.contains(&(r.zone.clone(), r.subnet.clone())));
                prop_assert!(pool.markets_allowed.contains(&r.market));
                prop_assert!(r.nodes >= 1 && r.nodes <= pool.max_nodes);
                let need = burst_plan::geometry::nodes_for(&g, b.cpus, b.memory_mib, b.gpus);
                prop_assert_eq!(need, Ok(r.nodes), "counted anew for each rung");
                prop_assert!(r.efa == 0 || r.efa == b.efa_max);
                prop_assert!(u64::from(r.nodes) * u64::from(b.cpus) >= u64::from(tasks));
            }
        }
    }
}
