//! What people are shown (docs/WIRE.md GANGVIEW).

use crate::{
    core::{Core, Slot},
    shown,
    timings::Timings,
};
use burst_plan::MicroUsd;
use burst_policy::{
    gang::{Gang, Phase, says, step},
    life::Life,
    parts::words,
    spending::gauges,
};
use serde_json::{Value, json};
use std::{fmt::Write as _, sync::atomic::Ordering, time::Duration};

/// One gang.
pub(crate) fn gang(slot: &Slot) -> Value {
    let g = &slot.gang;
    let next = match &g.phase {
        Phase::Waiting { .. } | Phase::Launching { .. } | Phase::Ending { .. } => {
            step::wake(g).map(|t| t / 1000)
        }
        _ => None,
    };
    let error = g.last_error.as_ref().map(|e| {
        json!({"code": e.code, "message": e.message, "request_id": e.request_id, "at_unix": e.at_ms / 1000})
    });
    let rung = g.won.clone().or_else(|| match &g.phase {
        Phase::Launching { rung, .. } => Some(g.split.as_ref().map_or(rung, |s| &s.whole).clone()),
        _ => None,
    });
    let parts = g.split.as_ref().map(|s| {
        let f = &s.forecast;
        json!({
            "fleets": words(&s.parts), "granted": s.at, "of": s.parts.len(), "apart_s": f.apart_s,
            "idle_instance_s": f.idle_s, "idle_usd": f.usd.map(|u| u.to_string()),
        })
    });
    let instances: Vec<Value> = g
        .members
        .iter()
        .map(|m| json!({"id": m.instance, "node": m.node, "ip": m.ip, "state": member_state(g, m)}))
        .collect();
    let history: Vec<Value> = g
        .history
        .iter()
        .map(|e| json!({"at_unix": e.at_ms / 1000, "at_ms": e.at_ms, "phase": e.phase, "text": e.text}))
        .collect();
    json!({
        "gang": g.key(), "job": g.job.as_ref().map(|j| j.text.clone()), "user": g.user, "uid": g.uid, "pool": g.pool,
        "phase": g.phase.label(), "since_unix": g.since_ms / 1000, "says": says::sentence(g),
        "nodes_wanted": rung.as_ref().map(|r| r.nodes), "attempt": g.attempt, "paid_attempts": g.paid,
        "instance_type": rung.as_ref().map(|r| r.instance_type.clone()),
        "zone": rung.as_ref().map(|r| r.zone.clone()), "market": rung.as_ref().map(|r| r.market),
        "parts": parts, "fleet_id": g.fleet, "nodes": g.names, "instances": instances, "last_error": error,
        "next_try_unix": next, "worst_cost_usd": g.worst.map(|w| w.to_string()), "history": history,
    })
}

fn member_state(g: &Gang, m: &burst_policy::gang::Member) -> &'static str {
    match (&g.phase, m) {
        (_, m) if m.failed.is_some() => "failed",
        (Phase::Ending { .. }, _) => "ending",
        (_, m) if m.started => "started",
        (_, m) if m.asked => "asking",
        _ => "booting",
    }
}

/// A life that is over, without its long parts.
pub(crate) fn life(l: &Life) -> Value {
    let phases: Vec<Value> = l
        .phases
        .list()
        .into_iter()
        .filter_map(|(name, at)| Some(json!({"phase": name, "at_ms": at?})))
        .collect();
    json!({
        "restart": l.restart, "state": l.slurm.state, "exit_code": l.slurm.exit_code,
        "exit_signal": l.slurm.exit_signal, "derived_code": l.slurm.derived_code, "nodes": l.slurm.nodes,
        "start_unix": l.slurm.start, "end_unix": l.slurm.end, "run_s": l.run_s(), "phases": phases,
        "durations_ms": l.phases.durations(), "cost": cost(l), "attempts": l.attempts, "paid_attempts": l.paid,
        "idle_instance_s": l.idle_ms / 1_000, "nodes_without_report": l.missing, "trouble": l.trouble,
    })
}

fn cost(l: &Life) -> Value {
    let text = |m: Option<MicroUsd>| m.map(|m| m.to_string());
    let c = &l.cost;
    json!({
        "total_usd": text(c.total), "at_least_usd": c.known.to_string(), "compute_usd": text(c.compute),
        "storage_usd": text(c.storage), "wasted_usd": text(c.wasted), "prices": c.prices, "missing": c.missing,
    })
}

/// The whole, as far as `uid` may see it.
pub(crate) fn status(core: &Core, uid: u32, operator: bool) -> Value {
    let snapshot = core.hands.shared.snapshot.load();
    let mut pools = Vec::new();
    let mut warnings = Vec::new();
    if let Some(e) = &snapshot.config_error {
        warnings.push(e.clone());
    }
    for pool in snapshot.config.iter().flat_map(|c| c.pools.values()) {
        pools.push(shown::pool(core, &snapshot, pool));
    }
    warnings.extend(shown::warnings(core));
    let panics = core.hands.shared.panics.load(Ordering::Relaxed);
    if panics > 0 {
        warnings.push(format!("{panics} panics were caught at the plugin's border: see slurmctld's log"));
    }
    let mut gangs: Vec<&Slot> = core.slots.values().filter(|s| s.gang.is_living()).collect();
    gangs.retain(|s| operator || s.gang.uid == uid);
    gangs.sort_by_key(|s| s.gang.born_ms);
    json!({
        "cluster": {"name": &*core.hands.name, "uuid": &*core.hands.cluster, "active": core.hands.controller.active(),
                    "version": env!("CARGO_PKG_VERSION")},
        "ec2": core.hands.rates.view(core.now()), "places": core.memory.shown(core.now()),
        "reservations": core.hands.prepare.reserved.shown(),
        "pools": pools, "gangs": gangs.into_iter().map(gang).collect::<Vec<_>>(), "warnings": warnings,
        "dead_letters": shown::dead_letters(core, uid, operator), "config": shown::config(core),
    })
}

/// What job_submit cost slurmctld.
pub(crate) fn timings(t: &Timings) -> Value {
    let of = |managed| {
        let took = t.took(managed);
        json!({"calls": took.calls, "ns": took.ns})
    };
    json!({"job_submit": {"managed": of(true), "foreign": of(false)}})
}

/// OpenMetrics text.
pub(crate) fn metrics(core: &Core) -> String {
    let mut phases = std::collections::BTreeMap::new();
    let mut instances = 0usize;
    for slot in core.slots.values().filter(|s| s.gang.is_living()) {
        *phases.entry((slot.gang.pool.as_str(), slot.gang.phase.label())).or_insert(0u64) += 1;
        instances += slot.gang.members.len();
    }
    let mut out =
        String::from("# TYPE burst_gangs gauge\n# HELP burst_gangs Living gangs by pool and phase.\n");
    for ((pool, phase), n) in phases {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "burst_gangs{{pool=\"{pool}\",phase=\"{phase}\"}} {n}");
    }
    let shared = &core.hands.shared;
    let _ = write!(
        out,
        "# TYPE burst_instances gauge\n# HELP burst_instances Instances of living gangs.\nburst_instances {instances}\n\
         # TYPE burst_panics counter\n# HELP burst_panics Panics caught at the plugin's border.\nburst_panics_total {}\n\
         # TYPE burst_queue_full counter\n# HELP burst_queue_full Jobs refused because the queue was full.\n\
         burst_queue_full_total {}\n# TYPE burst_job_submit_seconds summary\n\
         # HELP burst_job_submit_seconds Time in job_submit, of the last {} calls.\n",
        shared.panics.load(Ordering::Relaxed),
        shared.queue_full.load(Ordering::Relaxed),
        crate::timings::KEPT,
    );
    for managed in [true, false] {
        let took = shared.timings.took(managed);
        for part in [0.5, 0.99, 1.0] {
            let Some(ns) = took.quantile(part) else { continue };
            let seconds = Duration::from_nanos(ns).as_secs_f64();
            let _ = writeln!(
                out,
                "burst_job_submit_seconds{{managed=\"{managed}\",quantile=\"{part}\"}} {seconds}"
            );
        }
        let _ = writeln!(out, "burst_job_submit_seconds_count{{managed=\"{managed}\"}} {}", took.calls);
    }
    out.push_str(&core.hands.rates.metrics(core.now()));
    shown::metrics(core, &mut out);
    money(core, &mut out);
    out.push_str("# EOF\n");
    out
}

/// Reports, records and limits on spending.
fn money(core: &Core, out: &mut String) {
    let reports = &core.hands.shared.reports;
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "# TYPE burst_reports counter\n# HELP burst_reports Reports of jobs that nodes sent and that were kept.\n\
         burst_reports_total {}\n# TYPE burst_reports_refused counter\n\
         # HELP burst_reports_refused Reports of jobs that were refused, by why.\n",
        reports.taken()
    );
    for (why, n) in reports.refused() {
        let _ = writeln!(out, "burst_reports_refused_total{{why=\"{why}\"}} {n}");
    }
    let _ = write!(
        out,
        "# TYPE burst_records counter\n# HELP burst_records Lives of jobs that were recorded.\nburst_records_total {}\n\
         # TYPE burst_records_incomplete counter\n\
         # HELP burst_records_incomplete Recorded lives of which a node's report is missing.\n\
         burst_records_incomplete_total {}\n# TYPE burst_spending_alerts counter\n\
         # HELP burst_spending_alerts Thresholds of spending that were passed.\nburst_spending_alerts_total {}\n\
         # TYPE burst_unexplained_instances counter\n\
         # HELP burst_unexplained_instances Instances of no living gang that were ended.\n\
         burst_unexplained_instances_total {}\n",
        core.lives.recorded,
        core.lives.without_reports,
        core.money.alerts,
        core.hands.shared.unexplained.load(Ordering::Relaxed),
    );
    let snapshot = core.hands.shared.snapshot.load();
    if snapshot.config.as_ref().is_some_and(|c| c.budget_service.is_some()) {
        core.hands.budget.metrics(out);
    }
    let Some(rules) = snapshot.config.as_ref().map(|c| &c.limits.spending) else { return };
    let all = gauges(rules, &core.book(core.now()));
    for (name, help) in [("now", "What is in flight, or spent and committed"), ("limit", "The limit")] {
        let _ = write!(
            out,
            "# TYPE burst_spending_{name}_usd gauge\n# HELP burst_spending_{name}_usd {help}, USD.\n"
        );
        for g in &all {
            let amount = if name == "now" { g.now } else { g.limit };
            let who = g.who.to_string().replace(['\\', '"', '\n'], "_");
            let _ = writeln!(
                out,
                "burst_spending_{name}_usd{{who=\"{who}\",window=\"{}\"}} {amount}",
                g.window.word()
            );
        }
    }
}
