//! Every key of both dialects, and what it means to us.

use super::{
    Plan,
    read::{Notes, Object, says_something},
};
use crate::{Efa, Market, options::is_type_name};

/// Most types, zones a plan may name.
const MOST: usize = 32;
pub(super) const PLACEMENTS: [&str; 4] = ["cluster", "partition", "spread", "none"];

pub(super) fn plan(root: &Object<'_, '_>, notes: &Notes<'_>) -> Plan {
    let mut plan = Plan { should_burst: true, ..Plan::default() };
    match root.get("should_burst") {
        Some(_) => plan.should_burst = root.flag("should_burst").unwrap_or(true),
        None => root.lacks("should_burst", "missing: a plan says true (launch nodes) or false (run here)"),
    }
    plan.advisor_version = root.text("asba_version");
    instances(&mut plan, root, notes);
    mpi(&mut plan, root);
    network(&mut plan, root, notes);
    costs(&mut plan, root);
    performance(&mut plan, root);
    metadata(&mut plan, root);
    root.finish(&["generated_at", "recommendation_reasoning", "confidence_level", "optimization_applied"]);
    if plan.should_burst && plan.types.is_empty() {
        notes.warn("instance_specification.instance_types", "no types named: the pool's own order serves");
    }
    plan.ignored.sort();
    plan.ignored.dedup();
    for key in &plan.ignored {
        notes.warn(key, "ignored: the site's configuration decides this, a plan cannot");
    }
    plan
}

fn placement(o: &Object<'_, '_>, key: &'static str) -> Option<String> {
    o.word(key, &PLACEMENTS).filter(|p| *p != "none").map(str::to_owned)
}

pub(super) fn is_zone(text: &str) -> bool {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(fine)
}

fn zones(o: &Object<'_, '_>, notes: &Notes<'_>) -> Vec<String> {
    let mut out = Vec::new();
    for (i, zone, node) in o.texts("availability_zones", MOST) {
        if !is_zone(&zone) {
            let path = format!("{}[{i}]", o.path("availability_zones"));
            notes.error(
                &path,
                node.at,
                format!("{} is not a zone; they look like us-east-2b", notes.shown(node)),
            );
        }
        out.push(zone);
    }
    out
}

fn instances(plan: &mut Plan, root: &Object<'_, '_>, notes: &Notes<'_>) {
    let o = root.object("instance_specification");
    for (i, name, node) in o.texts("instance_types", MOST) {
        if !is_type_name(&name) {
            let path = format!("{}[{i}]", o.path("instance_types"));
            let text =
                format!("{} is not an instance type; they look like hpc7a.96xlarge", notes.shown(node));
            notes.error(&path, node.at, text);
        }
        plan.types.push(name);
    }
    plan.nodes = o.count("instance_count");
    plan.market = o.word("purchasing_option", &["spot", "on-demand", "mixed"]).map(|m| match m {
        "spot" => Market::Spot,
        "mixed" => Market::Mixed,
        _ => Market::OnDemand,
    });
    plan.critical = o.count("critical_nodes");
    plan.max_spot_price = o.usd("max_spot_price");
    plan.zones = zones(&o, notes);
    plan.placement = placement(&o, "placement_group");
    let spot = o.object("spot_instance_config");
    if let Some(price) = spot.usd("max_spot_price") {
        plan.max_spot_price = Some(plan.max_spot_price.map_or(price, |p| p.min(price)));
    }
    spot.finish(&[
        "enable_spot",
        "spot_fleet_request",
        "spot_interruption_tolerance",
        "fallback_to_on_demand",
    ]);
    let decided = [
        "subnet_ids",
        "launch_template_name",
        "launch_template_id",
        "security_group_ids",
        "iam_instance_profile",
        "user_data",
    ];
    for key in decided {
        if o.get(key).is_some_and(says_something) {
            plan.ignored.push(o.path(key));
        }
    }
    o.finish(&[]);
}

/// `requires_efa: true` asks for it; `false` asks for nothing, so that the pool decides, and so does its absence.
fn mpi(plan: &mut Plan, root: &Object<'_, '_>) {
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

fn network(plan: &mut Plan, root: &Object<'_, '_>, notes: &Notes<'_>) {
    let o = root.object("network_configuration");
    if let Some(p) = placement(&o, "placement_group_type") {
        plan.placement = Some(p);
    }
    if o.flag("enable_efa") == Some(true) && plan.efa.is_none() {
        plan.efa = Some(Efa::Preferred);
    }
    let named = zones(&o, notes);
    if !named.is_empty() {
        plan.zones = named;
    }
    if o.get("placement_group_name").is_some_and(says_something) {
        plan.ignored.push(o.path("placement_group_name"));
    }
    o.word("network_latency_class", &["ultra-low", "low", "medium", "standard", "high"]);
    o.finish(&["enhanced_networking", "bandwidth_requirement", "enable_sr_iov", "single_az_required"]);
}

fn costs(plan: &mut Plan, root: &Object<'_, '_>) {
    let o = root.object("cost_constraints");
    plan.max_cost = o.usd("max_total_cost");
    plan.max_cost_per_hour = o.usd("max_cost_per_hour");
    plan.max_duration = o.hours("max_duration_hours");
    o.usd("cost_alert_threshold");
    o.hours("auto_terminate_hours");
    o.finish(&["prefer_spot", "allow_mixed_pricing", "budget_account", "cost_tolerance"]);
}

fn performance(plan: &mut Plan, root: &Object<'_, '_>) {
    let o = root.object("performance_target");
    plan.expected_runtime = o.go_time("expected_runtime");
    o.finish(&[
        "scaling_efficiency",
        "network_utilization",
        "cpu_efficiency_target",
        "memory_efficiency_target",
        "performance_model",
    ]);
}

fn metadata(plan: &mut Plan, root: &Object<'_, '_>) {
    let o = root.object("execution_metadata");
    if let Some(v) = o.text("asba_version") {
        plan.advisor_version = Some(v);
    }
    let expected = o.object("expected_performance");
    for key in ["onpremise_wait_time", "aws_provision_time", "network_latency", "storage_latency"] {
        expected.go_time(key);
    }
    expected.finish(&[]);
    o.finish(&[
        "job_id",
        "user_id",
        "project_id",
        "priority",
        "analysis_timestamp",
        "decision_factors",
        "tags",
    ]);
    let job = root.object("job_metadata");
    job.finish(&[
        "job_name",
        "script_path",
        "script_hash",
        "user",
        "account",
        "detected_domain",
        "workload_type",
    ]);
}
