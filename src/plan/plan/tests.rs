//! Both dialects, and everything that can be wrong with them.

use super::*;
use proptest::prelude::*;

const A: &str = r#"{"job_metadata":{"job_name":"lmp","user":"ann","workload_type":"distributed"},"asba_version":"1.4",
 "generated_at":"2026-01-01T00:00:00Z","should_burst":true,
 "instance_specification":{"instance_types":["hpc7a.96xlarge"],"instance_count":16,"purchasing_option":"on-demand",
  "max_spot_price":0,"subnet_ids":null,"launch_template_name":"","spot_instance_config":null,"placement_group":"cluster",
  "availability_zones":null},
 "mpi_configuration":{"is_mpi_job":true,"process_count":3072,"requires_gang_scheduling":true,"requires_efa":true,"efa_generation":0},
 "network_configuration":{"placement_group_type":"cluster","enable_efa":true,"network_latency_class":"ultra-low"},
 "cost_constraints":{"max_total_cost":500.5,"max_duration_hours":2},
 "performance_target":{"expected_runtime":3600000000000},"recommendation_reasoning":null,"confidence_level":0.9}"#;

const X: &str = r#"{"should_burst":true,"instance_specification":{"instance_types":["c5n.18xlarge"],"purchasing_option":"spot",
 "max_spot_price":1.25,"subnet_ids":["subnet-1"],"user_data":"x"},
 "mpi_configuration":{"process_count":72,"requires_efa":false},
 "network_configuration":{"availability_zones":["us-east-2b"],"placement_group_name":"mine"},
 "execution_metadata":{"job_id":17,"asba_version":"2"}}"#;

fn first(text: &str) -> PlanError {
    parse(text.as_bytes(), PLAN_BYTES).expect_err("must fail").0.into_iter().next().expect("one")
}

#[test]
fn dialect_a() {
    let p = parse(A.as_bytes(), PLAN_BYTES).expect("reads");
    assert_eq!(p.warnings, []);
    let p = p.plan;
    assert_eq!((p.nodes, p.processes, p.efa), (Some(16), Some(3072), Some(Efa::Required)));
    assert_eq!((p.max_cost, p.max_spot_price), (Some(MicroUsd(500_500_000)), None));
    assert_eq!((p.expected_runtime, p.max_duration), (Some(Seconds(3600)), Some(Seconds(7200))));
}

#[test]
fn dialect_x_and_what_the_site_decides() {
    let p = parse(X.as_bytes(), PLAN_BYTES).expect("reads");
    assert_eq!(p.plan.market, Some(Market::Spot));
    assert_eq!(p.plan.max_spot_price, Some(MicroUsd(1_250_000)));
    assert_eq!(p.plan.ignored.len(), 3, "{:?}", p.plan.ignored);
    assert_eq!(p.plan.advisor_version.as_deref(), Some("2"));
}

#[test]
fn errors_say_where_and_what_is_allowed() {
    let e = first("{\n \"should_burst\": true,\n \"cost_constraints\": {\"max_total_cost\": -3}\n}");
    assert_eq!((e.path.as_str(), e.line, e.column), ("cost_constraints.max_total_cost", 3, 41));
    assert!(e.text.contains("-3 is not an amount in USD"), "{}", e.text);
    let e = first(r#"{"should_burst":true,"instance_specification":{"purchasing_option":"sopt"}}"#);
    assert!(e.text.contains("spot, on-demand, mixed"), "{}", e.text);
    let e =
        first(r#"{"should_burst":true,"instance_specification":{"instance_types":["hpc7a.96xlarge", 7]}}"#);
    assert_eq!(e.path, "instance_specification.instance_types[1]");
    let e = first(r#"{"should_burst":true,"instance_specification":{"instance_types":["../etc/passwd"]}}"#);
    assert!(e.text.contains("is not an instance type"));
}

#[test]
fn files_that_are_no_plans() {
    assert!(first("").text.contains("empty"));
    assert!(first("{").text.contains("not JSON"));
    assert!(first("[]").text.contains("JSON object"));
    assert!(first("{\"should_burst\": NaN}").text.contains("not JSON"));
    assert!(first("{}").text.contains("missing"));
    assert!(first(&"[".repeat(10_000)).text.contains("nested deeper than 32"));
    assert!(first("{\"should_burst\":\"yes\"}").text.contains("true or false"));
    let e = parse(&vec![b' '; 70_000], PLAN_BYTES).expect_err("too large").0;
    assert!(e[0].text.contains("at most 65536"));
    assert!(parse(&[0xff, 0xfe], PLAN_BYTES).is_err());
}

#[test]
fn unknown_keys_are_told_with_a_guess() {
    let p = parse(br#"{"should_burst":true,"instance_specification":{"instance_typse":["a.b"]}}"#, 999)
        .expect("reads");
    let w = &p.warnings[0];
    assert_eq!(w.path, "instance_specification.instance_typse");
    assert!(w.text.contains("did you mean `instance_types`"), "{}", w.text);
}

#[test]
fn run_here_plans_may_be_empty() {
    let text = r#"{"should_burst":false,"instance_specification":{"instance_types":null,"purchasing_option":""},
        "cost_constraints":{"max_total_cost":0}}"#;
    let p = parse(text.as_bytes(), PLAN_BYTES).expect("reads").plan;
    assert!(!p.should_burst && p.types.is_empty() && p.max_cost.is_none());
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes, PLAN_BYTES);
    }

    #[test]
    fn never_panics_on_mutations(at in 0usize..900, b in any::<u8>(), cut in 0usize..900) {
        let mut bytes = A.as_bytes().to_vec();
        if let Some(x) = bytes.get_mut(at) { *x = b; }
        bytes.truncate(bytes.len() - cut.min(bytes.len()));
        let _ = parse(&bytes, PLAN_BYTES);
    }

    #[test]
    fn white_space_means_nothing(spaces in 0usize..8) {
        let wide = A.replace(':', &format!(":{}", " ".repeat(spaces)));
        let (a, b) = (parse(wide.as_bytes(), PLAN_BYTES), parse(A.as_bytes(), PLAN_BYTES));
        prop_assert_eq!(a.map(|p| p.plan), b.map(|p| p.plan));
    }
}

#[test]
fn a_tiny_bound_is_a_bound_and_quoted_words_stay_on_their_line() {
    let tiny = br#"{"should_burst": true, "cost_constraints": {"max_total_cost": 0.0000001}}"#;
    assert_eq!(parse(tiny, PLAN_BYTES).expect("reads").plan.max_cost, Some(MicroUsd(1)));
    let evil = "{\"should_burst\": true, \"x\\u000ay\": 1, \"instance_specification\": {\"purchasing_option\": \"\u{85}\u{202e}\u{7f}\"}}";
    let shown = format!("{:?}", parse(evil.as_bytes(), PLAN_BYTES).expect_err("no such market").0);
    assert!(shown.contains("\\\\u{85}") && shown.contains("\\\\u{202e}"), "{shown}");
    let told = parse(br#"{"should_burst": true, "x\u000ay": 1}"#, PLAN_BYTES).expect("reads").warnings;
    assert!(told.iter().all(|w| !w.path.contains('\n')), "{told:?}");
}

/// The worst 64 KiB there are: every object as wide as it may be, every key unknown.
#[test]
fn a_plan_of_unknown_keys_costs_little() {
    let keys = |n: usize| (0..n).map(|i| format!("\"{i:05}\":0")).collect::<Vec<_>>().join(",");
    let all: Vec<String> = [
        "instance_specification",
        "mpi_configuration",
        "network_configuration",
        "cost_constraints",
        "performance_target",
        "job_metadata",
    ]
    .iter()
    .map(|o| format!("\"{o}\":{{{}}}", keys(256)))
    .collect();
    let text = format!("{{\"should_burst\":true,{},{}}}", keys(240), all.join(","));
    let parsed = parse(text.as_bytes(), PLAN_BYTES).expect("reads");
    assert_eq!(parsed.warnings.len(), 21, "twenty, and one that counts the rest");
    assert!(parsed.warnings[20].text.contains("more like these"), "{:?}", parsed.warnings[20]);
}
