//! What status and metrics say of pools, dead letters and the engine's own state.

use crate::{
    care::lock,
    core::{Core, operate::has},
    shared::Snapshot,
};
use burst_policy::{
    config::Pool,
    gang::{dead, step},
    stops::How,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _, sync::atomic::Ordering};

/// A pool: `refused` by slurm.conf or EC2, `paused`, `draining` or `drained` by an operator, `dry-run`, or `ok`.
pub(crate) fn pool(core: &Core, snapshot: &Snapshot, pool: &Pool) -> Value {
    let names: Vec<&String> = pool.blocks.iter().flat_map(|b| b.names.iter()).collect();
    let busy = names.iter().filter(|n| core.taken.contains(**n)).count();
    let free = names.iter().filter(|n| !core.taken.contains(**n) && core.node_view(n).is_free());
    let mut why: Vec<String> = snapshot.refusal(&pool.name).into_iter().collect();
    let stop = core.operators.stops.of(&pool.name).map(|(s, _)| s);
    let held = core.slots.values().filter(|s| s.gang.pool == pool.name && has(&s.gang)).count();
    let state = match stop.map(|s| s.how) {
        _ if !why.is_empty() => "refused",
        Some(How::Pause) => "paused",
        Some(How::Drain) if held > 0 => "draining",
        Some(How::Drain) => "drained",
        None if pool.dry_run => "dry-run",
        None => "ok",
    };
    why.extend(core.operators.stops.reason(&pool.name));
    let stopped = stop.map(|s| json!({"how": s.how, "who": s.who, "since_unix": s.since_ms / 1000}));
    json!({
        "name": pool.name, "partition": pool.partition, "state": state, "why": why, "names": names.len(), "busy": busy,
        "free": free.count(), "dry_run": pool.dry_run, "stopped": stopped, "gangs_with_instances": held,
    })
}

/// What stops everything, and what an administrator has to know of burst.toml.
pub(crate) fn warnings(core: &Core) -> Vec<String> {
    let care = &core.hands.shared.care;
    let closed = care.closed().map(|why| format!("nothing is launched or ended: {why}"));
    let journal = core.hands.journal.health().trouble().map(|why| format!("nothing new is launched: {why}"));
    let in_use = lock(&care.in_use).clone();
    let gone: Vec<&str> = core.operators.stops.pools.keys().map(String::as_str).collect();
    let snapshot = core.hands.shared.snapshot.load();
    let known = |p: &&str| snapshot.config.as_ref().is_some_and(|c| c.pools.contains_key(*p));
    let gone = gone.into_iter().filter(|p| !known(p));
    let gone = gone.map(|p| format!("pool {p} is stopped and no longer in burst.toml: burstctl resume {p}"));
    closed.into_iter().chain(journal).chain(in_use.error).chain(in_use.kept).chain(gone).collect()
}

/// burst.toml as it is in use.
pub(crate) fn config(core: &Core) -> Value {
    let c = lock(&core.hands.shared.care.in_use).clone();
    json!({"file": c.path, "read_unix": c.read_ms / 1000, "error": c.error, "after_restart": c.kept})
}

/// Operations that exhausted their retry budget, as far as `uid` may see them.
pub(crate) fn dead_letters(core: &Core, uid: u32, operator: bool) -> Vec<Value> {
    let mut out = Vec::new();
    for slot in core.slots.values().filter(|s| operator || s.gang.uid == uid) {
        let g = &slot.gang;
        let Some(letter) = dead::letter(g) else { continue };
        out.push(json!({
            "gang": g.key(), "job": g.job.as_ref().map(|j| j.text.clone()), "what": letter.what, "tries": letter.tries,
            "since_unix": g.since_ms / 1000, "next_try_unix": step::wake(g).map(|t| t / 1000),
            "error": g.last_error.as_ref().map(|e| format!("{}: {}", e.code, e.message)),
        }));
    }
    let left = lock(&core.hands.shared.care.left).clone();
    if let Some(left) = left.filter(|l| operator && l.tries >= 2) {
        out.push(json!({
            "gang": null, "job": null,
            "what": format!("TerminateInstances: {} instances of no gang run on and are paid for", left.instances),
            "tries": left.tries, "since_unix": left.since_ms / 1000, "next_try_unix": null, "error": left.error,
        }));
    }
    out
}

/// Lines of `/metrics`.
pub(crate) fn metrics(core: &Core, out: &mut String) {
    let shared = &core.hands.shared;
    let letters = dead_letters(core, 0, true).len();
    let on = |b: bool| u8::from(b);
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "# TYPE burst_dead_letters gauge\n# HELP burst_dead_letters Operations that exhausted their retry budget and are tried on.\n\
         burst_dead_letters {letters}\n\
         # TYPE burst_collected counter\n# HELP burst_collected Instances of no living gang that were ended.\n\
         burst_collected_total {}\n\
         # TYPE burst_journal_trouble gauge\n# HELP burst_journal_trouble 1: the journal cannot be written, nothing new is launched.\n\
         burst_journal_trouble {}\n\
         # TYPE burst_not_adopted gauge\n# HELP burst_not_adopted 1: the state directory is another machine's.\n\
         burst_not_adopted {}\n\
         # TYPE burst_config_refused gauge\n# HELP burst_config_refused 1: burst.toml has changed and cannot be used.\n\
         burst_config_refused {}\n",
        shared.care.collected.load(Ordering::Relaxed),
        on(core.hands.journal.health().trouble().is_some()),
        on(shared.care.closed().is_some()),
        on(lock(&shared.care.in_use).error.is_some()),
    );
    let snapshot = shared.snapshot.load();
    let mut stopped = BTreeMap::new();
    for pool in snapshot.config.iter().flat_map(|c| c.pools.keys()) {
        stopped.insert(pool, core.operators.stops.of(pool).is_some());
    }
    out.push_str("# TYPE burst_pool_stopped gauge\n# HELP burst_pool_stopped 1: paused or draining by an operator's word.\n");
    for (pool, stopped) in stopped {
        let _ = writeln!(out, "burst_pool_stopped{{pool=\"{pool}\"}} {}", on(stopped));
    }
}
