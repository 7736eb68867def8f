//! The learning record, the comment and the reconciliation of one life (docs/RECORD.md), made of what is known.
//!
//! What was not measured is null, never a constant. Ratios are from 0 to 1, amounts in USD, times RFC 3339 in UTC,
//! durations as Go writes them.

use crate::life::{Life, Purpose};
use burst_plan::{Market, MicroUsd, Plan, report::NodeReport};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

mod node;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod tests;
mod time;
mod validation;

pub use node::moved_once;
pub(crate) use time::date;
pub use time::{go_duration, rfc3339};
pub use validation::{Validation, validate};

/// USD as a number.
#[must_use]
pub fn usd(amount: MicroUsd) -> f64 {
    // Exact up to 2^53 micro-dollars, thousands of millions of dollars.
    #[allow(clippy::cast_precision_loss)]
    let micro = amount.0 as f64;
    micro / 1e6
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    #[allow(clippy::cast_precision_loss)]
    let r = (whole > 0).then(|| (part as f64 / whole as f64).clamp(0.0, 1.0));
    r
}

fn hours(seconds: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let s = seconds as f64;
    s / 3_600.0
}

/// Distinct values in the order in which they come.
fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut out: Vec<&str> = Vec::new();
    for v in all.filter(|v| !v.is_empty()) {
        if !out.contains(&v) {
            out.push(v);
        }
    }
    out
}

/// `job-<id>-performance.json`.
#[must_use]
pub fn performance(life: &Life) -> Value {
    let zones = distinct(life.served().map(|i| i.zone.as_str()));
    let v = validate(life);
    json!({
        "job_metadata": metadata(life),
        "prediction_validation": {
            "cost_accuracy": v.cost, "runtime_accuracy": v.runtime,
            // What would have been best, and what the job's domain is, was not measured.
            "instance_type_optimal": null, "domain_detection_correct": null,
            "overall_accuracy_score": v.overall,
        },
        "aws_performance_metrics": metrics(life, &zones),
        "mpi_optimization_results": mpi(life),
        "cost_analysis": costs(life),
        "execution_context": {
            "aws_region": text(&life.region), "availability_zones": zones,
            "plugin_version": text(&life.plugin_version),
            "asba_version": life.plan.as_ref().and_then(|p| p.advisor_version.clone()),
            "slurm_version": text(&life.slurm_version),
            "execution_mode": if life.plan.is_some() { "asba" } else { "standalone" },
            "configuration_used": {
                "pool": life.pool, "gang": life.gang, "restart": life.restart, "attempts": life.attempts,
                "paid_attempts": life.paid, "nodes_without_report": life.missing, "prices": text(&life.cost.prices),
                "cost_missing": life.cost.missing, "wasted_cost_usd": life.cost.wasted.map(usd),
            },
            "environment_variables": null,
        },
    })
}

fn text(t: &str) -> Option<&str> {
    (!t.is_empty()).then_some(t)
}

fn metadata(life: &Life) -> Value {
    let s = &life.slurm;
    json!({
        "job_id": life.text, "job_name": text(&life.name), "user_id": life.user, "project_id": text(&life.account),
        "partition": text(&life.partition),
        "original_asba_prediction": life.plan.as_ref().map(prediction),
        "actual_execution": {
            "instance_types_used": distinct(life.served().map(|i| i.instance_type.as_str())),
            "actual_cost_usd": life.cost.total.map(usd),
            "execution_duration": life.run_s().map(|t| go_duration(t.saturating_mul(1_000))),
            "success": life.succeeded(), "error_details": error(life), "node_count": s.node_count,
            "start_time": s.start.map(rfc3339), "end_time": s.end.map(rfc3339),
        },
    })
}

/// The plan in the advisor's own words, as far as it reaches slurmctld; what it did not say is null.
fn prediction(p: &Plan) -> Value {
    json!({
        "asba_version": p.advisor_version,
        "should_burst": p.should_burst,
        "instance_specification": {
            "instance_types": p.types, "instance_count": p.nodes, "purchasing_option": p.market.map(Market::word),
            "max_spot_price": p.max_spot_price.map(usd), "availability_zones": p.zones,
        },
        "mpi_configuration": {
            "process_count": p.processes,
            "requires_efa": p.efa.map(|e| e == burst_plan::Efa::Required),
        },
        "network_configuration": { "placement_group_type": p.placement },
        "cost_constraints": {
            "max_total_cost": p.max_cost.map(usd), "max_cost_per_hour": p.max_cost_per_hour.map(usd),
            "max_duration_hours": p.max_duration.map(|d| hours(d.0)),
        },
        "performance_target": { "expected_runtime": p.expected_runtime.map(|r| r.0.saturating_mul(1_000_000_000)) },
    })
}

/// Why the job did not end well, in one line.
#[must_use]
pub fn error(life: &Life) -> Option<String> {
    let s = &life.slurm;
    if life.succeeded() {
        return None;
    }
    let mut out = s.state.clone();
    if let Some(code) = s.exit_code.filter(|c| *c > 0) {
        out.push_str(&format!(", exit code {code}"));
    }
    if let Some(signal) = s.exit_signal.filter(|c| *c > 0) {
        out.push_str(&format!(", signal {signal}"));
    }
    if let Some(t) = &life.trouble {
        out.push_str(&format!("; {t}"));
    }
    Some(out)
}

/// CPU time of a node's steps, µs.
fn cpu_us(r: &NodeReport) -> Option<u64> {
    let all = r.steps.iter().filter_map(|s| Some(s.cpu_user_us?.saturating_add(s.cpu_system_us?)));
    all.reduce(u64::saturating_add)
}

/// The reports of nodes that served, all of them or none: a part says nothing of the whole.
fn whole(life: &Life) -> Option<Vec<&NodeReport>> {
    let nodes: BTreeSet<&str> = life.served().map(|i| i.node.as_str()).collect();
    let all: Option<Vec<_>> = nodes.iter().map(|n| life.report(n)).collect();
    all.filter(|a| !a.is_empty())
}

/// The sum, unless a part is missing.
fn sum(mut all: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    all.try_fold(0, |a: u64, b| Some(a.saturating_add(b?)))
}

fn cpu_utilization(life: &Life) -> Option<f64> {
    let (reports, run_s) = (whole(life)?, life.run_s()?);
    let used = sum(reports.iter().map(|r| cpu_us(r)))?;
    let cpus = sum(reports.iter().map(|r| r.cpus.map(u64::from)))?;
    ratio(used, cpus.saturating_mul(run_s).saturating_mul(1_000_000))
}

/// Mean over the nodes of the largest step's peak.
fn memory_utilization(life: &Life) -> Option<f64> {
    let reports = whole(life)?;
    let node = |r: &&NodeReport| {
        ratio(r.steps.iter().filter_map(|s| s.peak_memory_bytes).max()?, r.memory_bytes.filter(|m| *m > 0)?)
    };
    let all: Option<Vec<f64>> = reports.iter().map(node).collect();
    mean(&all?)
}

fn mean(all: &[f64]) -> Option<f64> {
    #[allow(clippy::cast_precision_loss)]
    let n = all.len() as f64;
    (!all.is_empty()).then(|| all.iter().sum::<f64>() / n)
}

/// Mean CPU time of a node over the busiest node's.
fn load_balance(life: &Life) -> Option<f64> {
    let all: Option<Vec<u64>> = whole(life)?.iter().map(|r| cpu_us(r)).collect();
    let all = all?;
    let most = all.iter().copied().max().filter(|m| *m > 0)?;
    let n = u64::try_from(all.len()).ok()?;
    ratio(all.iter().fold(0, |a, b| a.saturating_add(*b)), most.saturating_mul(n))
}

/// Bytes sent over EFA, and over everything but loopback; None where nothing was counted.
fn sent(reports: &[&NodeReport]) -> (Option<u64>, Option<u64>) {
    let efa = reports.iter().filter_map(|r| moved_once(r, |s| s.efa.as_ref()?.tx_bytes));
    let nics = reports.iter().filter_map(|r| {
        moved_once(r, |s| {
            let away = s.nics.iter().filter(|n| n.name != "lo").map(|n| n.tx_bytes);
            away.reduce(u64::saturating_add)
        })
    });
    (efa.reduce(u64::saturating_add), nics.reduce(u64::saturating_add))
}

fn metrics(life: &Life, zones: &[&str]) -> Value {
    let (efa, nics) = whole(life).map_or((None, None), |r| sent(&r));
    let all = match (efa, nics) {
        (None, None) => None,
        (e, n) => Some(e.unwrap_or(0).saturating_add(n.unwrap_or(0))),
    };
    let gbps = all.zip(life.run_s().filter(|s| *s > 0)).map(|(bytes, s)| {
        #[allow(clippy::cast_precision_loss)]
        let rate = bytes as f64 * 8.0 / s as f64;
        rate / 1e9
    });
    let launches: Map<String, Value> =
        life.served().map(|i| (i.id.clone(), Value::String(rfc3339(i.launched_ms / 1_000)))).collect();
    let interrupted = |i: &&crate::life::Ran| i.interrupted && i.market == Some(Market::Spot);
    json!({
        "efa_utilization": efa.zip(all).and_then(|(e, a)| ratio(e, a)),
        "placement_group_effectiveness": null,
        "spot_interruptions": life.instances.iter().filter(interrupted).count(),
        "network_throughput_gbps": gbps,
        "cpu_utilization": cpu_utilization(life),
        "memory_utilization": memory_utilization(life),
        "provisioning_time": life.phases.durations().provisioning.map(go_duration),
        "availability_zones": zones,
        "instance_launch_times": launches,
    })
}

fn mpi(life: &Life) -> Value {
    let flags: BTreeSet<&str> =
        life.reports.iter().flat_map(|r| &r.steps).flat_map(|s| &s.flags).map(String::as_str).collect();
    let bottlenecks = (!life.reports.is_empty()).then(|| flags.into_iter().collect::<Vec<_>>());
    json!({
        "communication_overhead": null, "scaling_efficiency": null, "load_balance": load_balance(life),
        "mpi_collective_efficiency": null, "communication_pattern": null,
        "message_size_distribution": {
            "small_messages": null, "medium_messages": null, "large_messages": null, "average_size": null,
        },
        "synchronization_frequency": null, "network_bottlenecks": bottlenecks,
    })
}

fn costs(life: &Life) -> Value {
    let c = &life.cost;
    let per = |units: Option<u64>| {
        let seconds = units?.checked_mul(life.run_s()?).filter(|s| *s > 0)?;
        Some(usd(c.total?) / hours(seconds))
    };
    let gpus = whole(life).and_then(|all| {
        let node =
            |r: &&NodeReport| r.steps.iter().filter_map(|s| s.gpu.as_ref()).map(|g| u64::from(g.count)).max();
        all.iter().map(node).sum::<Option<u64>>().filter(|n| *n > 0)
    });
    let rows: Vec<Value> = life
        .instances
        .iter()
        .map(|i| {
            json!({
                "instance_id": i.id, "instance_type": i.instance_type,
                "purchase_option": i.market.map(Market::word), "cost_usd": i.cost().map(usd),
                "duration_hours": i.billed_s.map(hours), "interrupted": i.interrupted,
            })
        })
        .collect();
    json!({
        "compute_cost_usd": c.compute.map(usd), "storage_cost_usd": c.storage.map(usd), "network_cost_usd": null,
        "total_cost_usd": c.total.map(usd), "spot_savings_usd": c.spot_savings.map(usd),
        "cost_per_cpu_hour": per(life.slurm.cpus.map(u64::from)), "cost_per_gpu_hour": per(gpus),
        "instance_cost_breakdown": rows,
    })
}

/// `job-<id>-comment.txt`: one line.
#[must_use]
pub fn comment(life: &Life) -> String {
    let body = json!({
        "cost": life.cost.total.map(usd),
        "duration": life.run_s().map(|t| go_duration(t.saturating_mul(1_000))),
        "instances": life.instances.iter().filter(|i| i.purpose == Purpose::Served).count(),
        "mpi_eff": null,
        "success": life.succeeded(),
    });
    format!("aws_meta:{body}\n")
}

/// `job-<id>-asbb-reconciliation.json`. `now_s` is the time of the export, Unix seconds.
#[must_use]
pub fn reconciliation(life: &Life, now_s: u64) -> Value {
    let c = &life.cost;
    json!({
        "job_id": life.text, "account": text(&life.account), "user_id": life.user, "partition": text(&life.partition),
        "actual_cost": c.total.map(usd), "compute_cost": c.compute.map(usd), "storage_cost": c.storage.map(usd),
        "network_cost": null, "spot_savings": c.spot_savings.map(usd),
        "instance_types": distinct(life.served().map(|i| i.instance_type.as_str())),
        "duration_hours": life.run_s().map(hours), "success": life.succeeded(), "export_time": rfc3339(now_s),
        "plugin_version": text(&life.plugin_version),
    })
}
