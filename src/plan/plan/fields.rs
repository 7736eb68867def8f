//! Every key of both dialects, and what it means to us.

use super::{
    Plan,
    read::{Notes, Object},
};
use crate::{Efa, Market, Seconds, options::is_type_name};
use serde_json::Value;

/// Most types, zones a plan may name.
const MOST: usize = 32;

pub(super) fn plan(root: &Object<'_>, notes: &Notes<'_>) -> Plan {
    let mut plan = Plan { should_burst: root.flag("should_burst").unwrap_or(true), ..Plan::default() };
    if !root.has("should_burst") {
        notes.error("should_burst", "missing: a plan says true (launch nodes) or false (run here)");
    }
    plan.advisor_version = root.text("asba_version");
    instances(&mut plan, root, notes);
    mpi(&mut plan, root);
    network(&mut plan, root);
    costs(&mut plan, root);
    performance(&mut plan, root);
    metadata(&mut plan, root);
    root.finish(&["generated_at", "recommendation_reasoning", "confidence_level", "optimization_applied"]);
    if plan.should_burst && plan.types.is_empty() {
        notes.warn("instance_specification.instance_types", "no types named: the pool's own order serves");
    }
    plan.ignored.sort();
    plan.ignored.dedup();
    for key in plan.ignored.clone() {
        notes.warn(&key, "ignored: the site's configuration decides this, a plan cannot");
    }
    plan
}

fn instances(plan: &mut Plan, root: &Object<'_>, notes: &Notes<'_>) {
    let o = root.object("instance_specification");
    plan.types = o.texts("instance_types", MOST);
    for (i, t) in plan.types.iter().enumerate() {
        if !is_type_name(t) {
            let path = format!("{}[{i}]", o.at("instance_types"));
            notes.error(&path, format!("`{t}` is not an instance type; they look like hpc7a.96xlarge"));
        }
    }
    plan.nodes = o.count("instance_count");
    let market = o.word("purchasing_option", &["spot", "on-demand", "mixed"]);
    plan.market = market.map(|m| match m.as_str() {
        "spot" => Market::Spot,
        "mixed" => Market::Mixed,
        _ => Market::OnDemand,
    });
    plan.max_spot_price = o.usd("max_spot_price");
    plan.zones = o.texts("availability_zones", MOST);
    plan.placement = o.word("placement_group", &["cluster", "partition", "spread"]);
    let spot = o.object("spot_instance_config");
    if let Some(price) = spot.usd("max_spot_price") {
        plan.max_spot_price = Some(plan.max_spot_price.map_or(price, |p| p.min(price)));
    }
    spot.finish(&["enable_spot", "spot_fleet_request", "spot_interruption_tolerance", "fallback_to_on_demand"]);
    let decided = [
        ("subnet_ids", o.get("subnet_ids")),
        ("launch_template_name", o.get("launch_template_name")),
        ("launch_template_id", o.get("launch_template_id")),
        ("security_group_ids", o.get("security_group_ids")),
        ("iam_instance_profile", o.get("iam_instance_profile")),
        ("user_data", o.get("user_data")),
    ];
    for (key, value) in decided {
        if value.is_some_and(says_something) {
            plan.ignored.push(o.at(key));
        }
    }
    o.finish(&[]);
}

fn says_something(v: &Value) -> bool {
    match v {
        Value::Null => false,
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        _ => true,
    }
}

fn mpi(plan: &mut Plan, root: &Object<'_>) {
    let o = root.object("mpi_configuration");
    plan.processes = o.count("process_count");
    o.flag("is_mpi_job");
    o.flag("requires_gang_scheduling");
    if o.flag("requires_efa") == Some(true) {
        plan.efa = Some(Efa::Required);
    }
    o.count("efa_generation");
    o.count("processes_per_node");
    o.finish(&["mpi_implementation", "mpi_library", "communication_pattern", "mpi_tuning_params"]);
}

fn network(plan: &mut Plan, root: &Object<'_>) {
    let o = root.object("network_configuration");
    if let Some(p) = o.word("placement_group_type", &["cluster", "partition", "spread"]) {
        plan.placement = Some(p);
    }
    if o.flag("enable_efa") == Some(true) && plan.efa.is_none() {
        plan.efa = Some(Efa::Preferred);
    }
    let zones = o.texts("availability_zones", MOST);
    if !zones.is_empty() {
        plan.zones = zones;
    }
    if o.get("placement_group_name").is_some_and(says_something) {
        plan.ignored.push(o.at("placement_group_name"));
    }
    o.word("network_latency_class", &["ultra-low", "low", "medium", "standard", "high"]);
    o.finish(&["enhanced_networking", "bandwidth_requirement", "enable_sr_iov", "single_az_required"]);
}

fn costs(plan: &mut Plan, root: &Object<'_>) {
    let o = root.object("cost_constraints");
    plan.max_cost = o.usd("max_total_cost");
    plan.max_cost_per_hour = o.usd("max_cost_per_hour");
    plan.max_duration = o.hours("max_duration_hours");
    o.usd("cost_alert_threshold");
    o.hours("auto_terminate_hours");
    o.finish(&["prefer_spot", "allow_mixed_pricing", "budget_account", "cost_tolerance"]);
}

fn performance(plan: &mut Plan, root: &Object<'_>) {
    let o = root.object("performance_target");
    // Nanoseconds of a Go time.Duration.
    if let Some(ns) = o.number("expected_runtime", 0.0, 3.2e17).filter(|n| *n > 0.0) {
        plan.expected_runtime = Seconds::from_hours(ns / 3.6e12).ok();
    }
    o.finish(&[
        "scaling_efficiency",
        "network_utilization",
        "cpu_efficiency_target",
        "memory_efficiency_target",
        "performance_model",
    ]);
}

fn metadata(plan: &mut Plan, root: &Object<'_>) {
    let o = root.object("execution_metadata");
    if let Some(v) = o.text("asba_version") {
        plan.advisor_version = Some(v);
    }
    let expected = o.object("expected_performance");
    expected.finish(&["onpremise_wait_time", "aws_provision_time", "network_latency", "storage_latency"]);
    o.finish(&["job_id", "user_id", "project_id", "priority", "analysis_timestamp", "decision_factors", "tags"]);
    let job = root.object("job_metadata");
    job.finish(&["job_name", "script_path", "script_hash", "user", "account", "detected_domain", "workload_type"]);
}
