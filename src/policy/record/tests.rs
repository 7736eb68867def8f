//! Records with exact figures, each against the schemas of docs/schema/.

use super::*;
use crate::life::{Cost, Phases, Ran, SlurmFacts};
use burst_plan::{
    Seconds,
    report::{EfaReport, NicReport, StepReport},
};

const PERFORMANCE: &str = include_str!("../../../docs/schema/performance.schema.json");
const RECONCILIATION: &str = include_str!("../../../docs/schema/asbb-reconciliation.schema.json");

fn wrong(schema: &str, value: &Value) -> Vec<String> {
    schema::check(&serde_json::from_str(schema).expect("the schema is JSON"), value)
}

fn ran(n: u64) -> Ran {
    Ran {
        id: format!("i-{n}"),
        node: format!("n{n}"),
        instance_type: "hpc7a.96xlarge".into(),
        zone: "us-east-2b".into(),
        market: Some(Market::OnDemand),
        launched_ms: 1_764_107_006_000,
        ended_ms: Some(1_764_107_006_000 + 1_800_000),
        billed_s: Some(1_800),
        hourly: Some(MicroUsd(7_200_000)),
        compute: Some(MicroUsd(3_600_000)),
        storage: Some(MicroUsd(5_480)),
        ..Ran::default()
    }
}

fn report(n: u64, cpu_s: u64) -> NodeReport {
    let step = StepReport {
        step: "0".into(),
        cpu_user_us: Some(cpu_s * 1_000_000 - 500_000),
        cpu_system_us: Some(500_000),
        peak_memory_bytes: Some(4 << 30),
        nics: vec![
            NicReport { name: "lo".into(), rx_bytes: 9_000, tx_bytes: 9_000 },
            NicReport { name: "ens5".into(), rx_bytes: 1_000_000_000, tx_bytes: 1_500_000_000 },
        ],
        efa: Some(EfaReport { devices: 1, tx_bytes: Some(4_500_000_000), ..EfaReport::default() }),
        ..StepReport::default()
    };
    let node = format!("n{n}");
    NodeReport {
        job: 12,
        node,
        cpus: Some(4),
        memory_bytes: Some(16 << 30),
        steps: vec![step],
        ..Default::default()
    }
}

fn life() -> Life {
    let plan = Plan {
        should_burst: true,
        types: vec!["hpc7a.96xlarge".into()],
        nodes: Some(2),
        expected_runtime: Some(Seconds(60)),
        advisor_version: Some("0.2.0".into()),
        ..Plan::default()
    };
    let slurm = SlurmFacts {
        state: "COMPLETED".into(),
        exit_code: Some(0),
        exit_signal: Some(0),
        start: Some(1_764_107_100),
        end: Some(1_764_107_175),
        node_count: Some(2),
        cpus: Some(8),
        ..SlurmFacts::default()
    };
    let phases = Phases {
        launch_ms: Some(5_000),
        started_ms: Some(66_500),
        ended_ms: Some(141_500),
        ..Phases::default()
    };
    Life {
        job: 12,
        text: "12".into(),
        name: "wave".into(),
        user: "ada".into(),
        account: "lab".into(),
        partition: "efa".into(),
        pool: "efa".into(),
        gang: "00000000000000aa".into(),
        region: "us-east-2".into(),
        plugin_version: "0.1.0".into(),
        slurm_version: "22.05.8".into(),
        attempts: 1,
        paid: 1,
        plan: Some(plan),
        slurm,
        phases,
        instances: vec![ran(1), ran(2)],
        reports: vec![report(1, 75), report(2, 150)],
        cost: Cost {
            compute: Some(MicroUsd(7_200_000)),
            storage: Some(MicroUsd(10_960)),
            wasted: Some(MicroUsd(0)),
            total: Some(MicroUsd(7_210_960)),
            known: MicroUsd(7_210_960),
            spot_savings: Some(MicroUsd(0)),
            ..Cost::default()
        },
        ..Life::default()
    }
}

#[test]
fn the_record_has_the_figures() {
    let r = performance(&life());
    assert_eq!(wrong(PERFORMANCE, &r), Vec::<String>::new());
    let actual = &r["job_metadata"]["actual_execution"];
    assert_eq!(actual["actual_cost_usd"], json!(7.21096));
    assert_eq!(actual["execution_duration"], json!("1m15s"));
    assert_eq!((&actual["success"], &actual["error_details"]), (&json!(true), &json!(null)));
    assert_eq!(actual["start_time"], json!("2025-11-25T21:45:00Z"));
    assert_eq!(
        r["job_metadata"]["original_asba_prediction"]["performance_target"]["expected_runtime"],
        json!(60_000_000_000_u64)
    );
    // Foretold 60 s, took 75; foretold 2 × 60 s of 7.20 an hour = 0.24, cost 7.20.
    let v = &r["prediction_validation"];
    assert_eq!((&v["runtime_accuracy"], &v["cost_accuracy"]), (&json!(0.75), &json!(0.0)));
    assert_eq!(v["overall_accuracy_score"], json!(0.375));
    let m = &r["aws_performance_metrics"];
    // 225 CPU seconds of 2 × 4 CPUs × 75 s; 4 of 16 GiB; 2 × 6 GB in 75 s, three quarters over EFA.
    assert_eq!((&m["cpu_utilization"], &m["memory_utilization"]), (&json!(0.375), &json!(0.25)));
    assert_eq!((&m["network_throughput_gbps"], &m["efa_utilization"]), (&json!(1.28), &json!(0.75)));
    assert_eq!(m["provisioning_time"], json!("1m1.5s"));
    assert_eq!(m["instance_launch_times"]["i-2"], json!("2025-11-25T21:43:26Z"));
    assert_eq!(r["mpi_optimization_results"]["load_balance"], json!(0.75));
    let c = &r["cost_analysis"];
    assert_eq!(c["total_cost_usd"], json!(7.21096));
    assert_eq!(c["instance_cost_breakdown"][0]["cost_usd"], json!(3.60548));
    assert_eq!(c["instance_cost_breakdown"][0]["duration_hours"], json!(0.5));
    // 8 CPUs for 75 s are a sixth of an hour.
    let per = c["cost_per_cpu_hour"].as_f64().expect("known");
    assert!((per - 7.21096 * 6.0).abs() < 1e-9, "{per}");
}

#[test]
fn what_was_not_measured_is_null() {
    let mut l = life();
    l.reports.pop();
    l.missing = vec!["n2".into()];
    l.plan = None;
    l.cost = Cost { missing: vec!["no price".into()], ..Cost::default() };
    let r = performance(&l);
    assert_eq!(wrong(PERFORMANCE, &r), Vec::<String>::new());
    let m = &r["aws_performance_metrics"];
    for key in ["cpu_utilization", "memory_utilization", "efa_utilization", "network_throughput_gbps"] {
        assert_eq!(m[key], json!(null), "{key}: one of two nodes says nothing of both");
    }
    assert_eq!(r["job_metadata"]["actual_execution"]["actual_cost_usd"], json!(null));
    assert_eq!(r["prediction_validation"]["overall_accuracy_score"], json!(null));
    assert_eq!(r["execution_context"]["execution_mode"], json!("standalone"));
    assert_eq!(r["execution_context"]["configuration_used"]["nodes_without_report"], json!(["n2"]));
    assert_eq!(wrong(PERFORMANCE, &performance(&Life::default())), Vec::<String>::new(), "even of nothing");
}

#[test]
fn a_failure_says_how_and_foretells_nothing() {
    let mut l = life();
    l.slurm.state = "FAILED".into();
    (l.slurm.exit_code, l.slurm.exit_signal) = (Some(3), Some(0));
    let r = performance(&l);
    assert_eq!(r["job_metadata"]["actual_execution"]["error_details"], json!("FAILED, exit code 3"));
    assert_eq!(r["prediction_validation"]["runtime_accuracy"], json!(null));
    l.slurm.exit_signal = Some(9);
    assert_eq!(error(&l).as_deref(), Some("FAILED, exit code 3, signal 9"));
}

#[test]
fn comment_and_reconciliation() {
    let l = life();
    assert_eq!(
        comment(&l),
        "aws_meta:{\"cost\":7.21096,\"duration\":\"1m15s\",\"instances\":2,\"mpi_eff\":null,\"success\":true}\n"
    );
    let r = reconciliation(&l, 1_764_107_200);
    assert_eq!(wrong(RECONCILIATION, &r), Vec::<String>::new());
    assert_eq!((&r["actual_cost"], &r["export_time"]), (&json!(7.21096), &json!("2025-11-25T21:46:40Z")));
    assert_eq!(r["duration_hours"], json!(75.0 / 3_600.0));
}

#[test]
fn the_schema_is_no_formality() {
    let good = performance(&life());
    let broken = |edit: fn(&mut Value)| {
        let mut r = good.clone();
        edit(&mut r);
        wrong(PERFORMANCE, &r).len()
    };
    assert_eq!(broken(|r| r["aws_performance_metrics"]["cpu_utilization"] = json!(1.5)), 1);
    assert_eq!(broken(|r| r["job_metadata"]["job_id"] = json!(12)), 1);
    assert_eq!(broken(|r| r["job_metadata"]["extra"] = json!(1)), 1);
    assert_eq!(broken(|r| r["aws_performance_metrics"]["provisioning_time"] = json!("61.5")), 1);
    assert_eq!(broken(|r| r["job_metadata"]["actual_execution"]["end_time"] = json!("today")), 1);
    assert_eq!(broken(|r| r["execution_context"]["execution_mode"] = json!("other")), 1);
    assert_eq!(broken(|r| _ = r.as_object_mut().expect("object").remove("cost_analysis")), 1);
    assert_eq!(schema::check(&json!({"oneOf": []}), &json!(1)).len(), 1, "a word nobody checks is refused");
}
