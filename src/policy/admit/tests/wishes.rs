//! EFA that nobody has, GPUs, unknown types and spot's bound.

use super::*;

const PLAIN: &str = "[[pool.efa.block]]\ntype = \"m5.2xlarge\"\nnodes = \"m5-[1-64]\"\n[limits]";

/// The pool of a site without any EFA type.
fn plain(more: &str) -> Config {
    let (head, _) = GOOD.split_once("[[pool.efa.block]]").expect("blocks");
    Config::parse(&format!("{}\n{more}\n{PLAIN}", head.replace("efa = \"required\"", "")), "f").expect("good")
}

fn efa(binds: bool) -> Request {
    Request { efa: Some(Efa::Required), efa_binds: binds, ..Request::default() }
}

#[test]
fn a_plan_that_wants_efa_where_there_is_none_is_told_and_served() {
    let a = admitted(decide_in(&plain(""), &efa(false), &job(4)));
    assert_eq!((a.ladder[0].instance_type.as_str(), a.ladder[0].efa), ("m5.2xlarge", 0));
    let told = a.notices.iter().find(|n| n.contains("asks for EFA")).expect("told");
    assert!(told.contains("no type of pool efa has it: launched without"), "{told}");
}

#[test]
fn an_option_or_a_strict_pool_that_wants_efa_is_refused() {
    let text = refused(decide_in(&plain(""), &efa(true), &job(4)));
    assert!(text.contains("EFA is required, but no type of pool efa has it (m5.2xlarge)"), "{text}");
    assert!(text.contains("--burst-efa=preferred"), "{text}");
    let strict = plain("plan_types = \"strict\"");
    assert!(refused(decide_in(&strict, &efa(false), &job(4))).contains("EFA is required"));
}

#[test]
fn a_plans_efa_counts_where_somebody_has_it() {
    let more = "[[pool.efa.block]]\ntype = \"m5.2xlarge\"\nnodes = \"m5-[1-64]\"\n[limits]";
    let config = GOOD.replace("efa = \"required\"", "").replace("[limits]", more);
    let config = Config::parse(&config, "f").expect("good");
    let limitless = Config {
        limits: crate::config::Limits { max_cost_per_job: None, ..config.limits.clone() },
        ..config
    };
    let a = admitted(decide_in(&limitless, &efa(false), &job(4)));
    assert!(a.ladder.iter().all(|r| r.efa > 0), "{:?}", a.ladder);
    // The option names a type without EFA: it beats the plan's wish.
    let both = Request { types: vec!["m5.2xlarge".into()], types_bind: true, ..efa(false) };
    let a = admitted(decide_in(&limitless, &both, &job(4)));
    assert!(a.ladder.iter().all(|r| r.instance_type == "m5.2xlarge" && r.efa == 0), "{:?}", a.ladder);
    assert!(a.notices.iter().any(|n| n.contains("--burst-types m5.2xlarge")), "{:?}", a.notices);
    let binds = Request { efa_binds: true, ..both };
    assert!(refused(decide_in(&limitless, &binds, &job(4))).contains("m5.2xlarge has no EFA"));
}

#[test]
fn gpus_size_the_gang_or_are_refused() {
    let mut g = Geometry { ntasks: None, ..job(1) };
    g.set_tres(Some("gres:gpu:20".into()), None, None, None);
    let text = refused(decide(&Request::default(), &g));
    assert!(text.contains("on hpc7a.96xlarge: it asks for GPUs (--gpus=20), this type has none"), "{text}");
    let config = plain("").pools["efa"].clone();
    assert_eq!(config.blocks[0].gpus, 0);
    let gpu = GOOD.replace("hpc7a.96xlarge", "p5.48xlarge").replace("2000.0", "9000.0");
    let (head, tail) = gpu.split_once("[[pool.efa.block]]\ntype = \"hpc6a").expect("two");
    let gpu = format!("{head}[limits]{}", tail.split_once("[limits]").expect("limits").1);
    let gpu = Config::parse(&gpu.replace("max_cost_per_job = 9000.0", ""), "f").expect("good");
    let a = admitted(decide_in(&gpu, &Request::default(), &g));
    assert_eq!(a.ladder[0].nodes, 3, "20 GPUs, 8 a node");
    assert!(!a.notices.iter().any(|n| n.contains("CPUs it pays for")), "{:?}", a.notices);
}

#[test]
fn spot_is_bounded_by_what_it_can_rise_to() {
    let config = plain("market = \"spot\"");
    let types = TypeBook::builtin();
    let of = |prices: &str, request: &Request| {
        let text = format!(
            r#"{{"source":"synthetic","regions":{{"us-east-2":{{"types":{{"m5.2xlarge":{prices}}}}}}}}}"#
        );
        let prices = Prices::parse(&text).expect("reads");
        let offers = Offers::of(&config, &types, &prices);
        let site = Site { config: &config, types: &types, offers: &offers, kill_margin: Seconds(30) };
        let request = Request { max_cost: Some(MicroUsd(9_000_000)), ..request.clone() };
        admit(site, &config.pools["efa"], &request, &job(4))
    };
    let hours = |cost: u64| Some(MicroUsd(cost).hourly_for(3600 + 480 + 300 + 600 + 30).times(2));
    let plain = Request::default();
    let both = r#"{"spot":"0.10","on-demand":"0.40"}"#;
    assert_eq!(admitted(of(both, &plain)).worst_cost, hours(400_000));
    let bound = Request { max_spot_price: Some(MicroUsd(150_000)), ..Request::default() };
    assert_eq!(admitted(of(both, &bound)).worst_cost, hours(150_000), "EC2 ends what costs more");
    let high = Request { max_spot_price: Some(MicroUsd(900_000)), ..Request::default() };
    assert_eq!(admitted(of(both, &high)).worst_cost, hours(400_000));
    assert_eq!(admitted(of(r#"{"spot":"0.10"}"#, &bound)).worst_cost, hours(150_000));
    assert!(
        refused(of(r#"{"spot":"0.10"}"#, &plain))
            .contains("m5.2xlarge (on-demand: what a spot price can rise to)")
    );
}

#[test]
fn a_root_volume_without_a_price_is_a_refusal_where_money_is_limited() {
    let config = plain("root_gib = 100");
    let types = TypeBook::builtin();
    let prices = |ebs: &str| {
        let text = format!(
            r#"{{"source":"synthetic","regions":{{"us-east-2":{{{ebs}"types":{{"m5.2xlarge":{{"on-demand":"0.40"}}}}}}}}}}"#
        );
        Prices::parse(&text).expect("reads")
    };
    let of = |prices: &Prices, limit: Option<u64>| {
        let offers = Offers::of(&config, &types, prices);
        let site = Site { config: &config, types: &types, offers: &offers, kill_margin: Seconds(30) };
        let request = Request { max_cost: limit.map(MicroUsd), ..Request::default() };
        admit(site, &config.pools["efa"], &request, &job(4))
    };
    let text = refused(of(&prices(""), Some(9_000_000)));
    assert!(text.contains("no price of root volumes (ebs_gib_month) in us-east-2"), "{text}");
    assert_eq!(admitted(of(&prices(""), None)).worst_cost, None);
    let known = prices(r#""ebs_gib_month":"0.73","#);
    let hourly = 400_000 + 100 * 1_000;
    let want = MicroUsd(hourly).hourly_for(3600 + 480 + 300 + 600 + 30).times(2);
    assert_eq!(admitted(of(&known, Some(9_000_000))).worst_cost, Some(want));
}

#[test]
fn a_type_the_crate_does_not_know_is_what_its_block_says() {
    let block =
        "[[pool.efa.block]]\ntype = \"hpc9z.96xlarge\"\nnodes = \"z-[1-4]\"\ncpus = 96\nmemory = 500000\n";
    let with = |more: &str| GOOD.replace("[limits]", &format!("{block}{more}\n[limits]"));
    let wrong = |text: &str| {
        Config::parse(text, "f").expect_err("wrong").iter().map(|e| format!("{e}\n")).collect::<String>()
    };
    let config = Config::parse(&with("efa = 4\ngpus = 2"), "f").expect("good");
    let b = &config.pools["efa"].blocks[2];
    assert_eq!((b.cpus, b.memory_mib, b.gpus, b.efa_max), (96, 500_000, 2, 4));
    let only = Request { types: vec!["hpc9z.96xlarge".into()], types_bind: true, ..efa(true) };
    let free = Config {
        limits: crate::config::Limits { max_cost_per_job: None, ..config.limits.clone() },
        ..config
    };
    assert_eq!(admitted(decide_in(&free, &only, &job(4))).ladder[0].efa, 4);
    let e = wrong(&with(""));
    assert!(
        e.contains("hpc9z.96xlarge has no EFA that is known of: if it has, write efa = N in its block"),
        "{e}"
    );
    let e = wrong(&with("efa = 65"));
    assert!(e.contains("block[2].efa: is a whole number from 0 to 64"), "{e}");
    let e = wrong(&GOOD.replacen("nodes = \"efa7", "efa = 3\nnodes = \"efa7", 1));
    assert!(e.contains("hpc7a.96xlarge takes 2 EFA interfaces, not 3"), "{e}");
    let fewer =
        Config::parse(&GOOD.replacen("nodes = \"efa7", "efa = 1\nnodes = \"efa7", 1), "f").expect("good");
    assert_eq!(fewer.pools["efa"].blocks[0].efa_max, 1);
    let e = wrong(&with("efa = 4").replace("cpus = 96\n", ""));
    assert!(
        e.contains("nothing is known of hpc9z.96xlarge") && e.contains("gpus and efa where it has them"),
        "{e}"
    );
    let e = wrong(&with("efa = 4").replace("hpc9z.96xlarge", "hpc9z.96xlarge\\nNodeName=evil"));
    assert!(e.contains("is not an instance type") && !e.contains("\nNodeName"), "{e}");
}

#[test]
fn refusals_stay_on_their_line() {
    let config = good();
    let evil = "cpu,efa\n[x] error: forged";
    let e = pool_for(&config, &Request::default(), true, evil).expect_err("a list").0;
    assert!(!e.contains('\n'), "{e:?}");
    let named = Request { pool: Some("a\nb".into()), ..Request::default() };
    assert!(!pool_for(&config, &named, true, "").expect_err("unknown").0.contains('\n'));
}

#[test]
fn an_array_is_told_that_figures_are_of_one_task() {
    let told = |g: &Geometry| admitted(decide(&Request::default(), g)).notices.join("\n");
    assert!(
        told(&Geometry { array: Some("0-9".into()), ..job(192) }).contains("cost limits are of one task")
    );
    assert!(!told(&job(192)).contains("one task"));
}

fn offered(text: &str) -> Config {
    Config::parse(text, "f").expect("good")
}

const SPOT: &str = r#"
[cluster]
listen = "10.0.0.5:6826"
[aws]
region = "us-east-2"
[pool.efa]
partition = "efa"
market = "on-demand"
markets_allowed = ["on-demand", "mixed"]
zones = { "us-east-2b" = "subnet-0aa11" }
image = "ami-1"
security_groups = ["sg-1"]
max_nodes = 3000
critical_nodes = 2
[[pool.efa.block]]
type = "c6in.32xlarge"
nodes = "c-[0001-3000]"
"#;

fn priced(config: &Config, request: &Request, job: &Geometry) -> Verdict {
    let prices = r#"{"source":"synthetic","regions":{"us-east-2":{"types":{
        "c6in.32xlarge":{"on-demand":"7.20","spot":"3.60"}}}}}"#;
    let (types, prices) = (TypeBook::builtin(), Prices::parse(prices).expect("reads"));
    let offers = Offers::of(config, &types, &prices);
    let site = Site { config, types: &types, offers: &offers, kill_margin: Seconds(0) };
    admit(site, &config.pools["efa"], request, job)
}

fn wide(nodes: u32) -> Geometry {
    Geometry { ntasks: None, min_nodes: Some(nodes), max_nodes: Some(nodes), ..job(1) }
}

#[test]
fn a_mixed_gang_is_priced_by_its_parts_and_bounded_as_if_it_was_on_demand() {
    let config = offered(SPOT);
    let mixed =
        Request { market: Some(Market::Mixed), max_spot_price: Some(MicroUsd(1)), ..Request::default() };
    let a = admitted(priced(&config, &mixed, &wide(4)));
    let first = &a.ladder[0];
    assert_eq!((first.market, first.hourly), (Market::Mixed, Some(MicroUsd(5_400_000))), "two of each");
    assert!(a.notices[1].contains("as 2 fleets (2 spot + 2 on-demand), kept only if all"), "{:?}", a.notices);
    // 4 × 7.20 × (3600 + 480 + 300 + 600 s) × 2, and 2 of them waiting for 600 s, twice.
    assert_eq!(a.worst_cost, Some(MicroUsd(79_680_000 + 4_800_000)));
    let told = Request { critical: Some(1), ..mixed.clone() };
    assert!(admitted(priced(&config, &told, &wide(4))).notices[1].contains("1 on-demand + 3 spot"));
    let never = Config { pools: config.pools.clone(), ..config.clone() };
    let strict = offered(&SPOT.replace(", \"mixed\"", ""));
    let bound = Request { market_binds: true, ..mixed.clone() };
    assert!(refused(priced(&strict, &bound, &wide(4))).contains("does not allow mixed"));
    assert!(admitted(priced(&never, &bound, &wide(4))).ladder[0].market == Market::Mixed);
}

#[test]
fn what_takes_several_fleets_is_told_or_refused_before_anything_is_paid_for() {
    let config = offered(SPOT);
    let a = admitted(priced(&config, &Request::default(), &wide(1_500)));
    assert!(a.notices[1].contains("(500 + 1000)") && a.notices[1].contains("4 min 10 s"), "{:?}", a.notices);
    assert!(a.notices[1].contains("USD 250.00"), "125,000 instance-seconds at 7.20: {:?}", a.notices);
    let no = refused(priced(&config, &Request::default(), &wide(2_500)));
    assert!(no.contains("ask for 2200 nodes at most"), "{no}");
    // A site to which AWS has granted more.
    let more = offered(&format!("{SPOT}[rates]\ninstances = \"3000/10\"\n"));
    let a = admitted(priced(&more, &Request::default(), &wide(2_500)));
    assert!(a.notices[1].contains("EC2's rates hold them all"), "{:?}", a.notices);
}
