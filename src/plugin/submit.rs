//! job_submit: whose job it is, whether it may be launched, and the hold.
//!
//! No RPC, no file, no waiting: work is bounded by `plan_bytes` and the script's leading comment block.

use crate::{
    guard::PANICS_MOST,
    shim::{self, Job, Message},
    startup, view,
};
use burst_engine::{Intake, Msg, Slot, shared::Snapshot};
use burst_plan::{Geometry, Options, Plan, Request, plan, request};
use burst_policy::{
    admit::{Site, Verdict, admit, pool_for},
    config::Pool,
    gang::{Gang, says},
};
use std::{
    ffi::c_int,
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// SLURM_SUCCESS.
const PASS: c_int = 0;
/// ESLURM_NOT_SUPPORTED: the message beside it says what is wrong (slurm-22.05 slurm/slurm_errno.h).
const REFUSE: c_int = 2052;

/// Longest message a user is shown (bytes).
const MESSAGE_MOST: usize = 4_000;

/// What job_submit answers after a panic: a job that could be ours would be scheduled onto nodes that do not exist.
pub fn after_panic(job: Job, message: Message) -> c_int {
    let Some(v) = job.view() else { return PASS };
    let named = view::spank_value(&v, "BURST_OPTS").is_some()
        || view::spank_value(&v, "BURST_PLAN").is_some()
        || view::has_burst_option(&v);
    let ours = startup::shared().is_some_and(|s| s.snapshot.load().is_ours(shim::bytes(&v.partition)));
    if !(named || ours) {
        return PASS;
    }
    message.set("slurm-burst: a bug was caught while this job was read; it is refused. Please tell your administrator");
    REFUSE
}

/// The entry, timed.
pub fn submit(job: Job, uid: u32, message: Message) -> c_int {
    let began = Instant::now();
    let Some(slot) = startup::slot() else { return PASS };
    let shared = &slot.handle.shared;
    shared.called.store(true, Ordering::Relaxed);
    let answer =
        shared.snapshot.with(|s| if is_ours(job, s) { answer(job, uid, message, slot, s) } else { None });
    shared.timings.note(answer.is_some(), began.elapsed());
    answer.unwrap_or(PASS)
}

/// Most submissions are not for us, and every one is delayed by this: only what tells whose it is gets looked at.
#[inline]
fn is_ours(job: Job, snapshot: &Snapshot) -> bool {
    let Some(glance) = job.glance() else { return false };
    let said = |prefix| shim::entries(glance.spank_env, glance.spank_env_size, prefix).next().is_some();
    snapshot.is_ours(shim::bytes(&glance.partition)) || said(c"BURST_") || said(c"_SLURM_SPANK_OPTION_burst_")
}

/// None: the job is not ours.
fn answer(job: Job, uid: u32, message: Message, slot: &Slot, snapshot: &Snapshot) -> Option<c_int> {
    let v = job.view()?;
    let options = view::spank_value(&v, "BURST_OPTS");
    let plan = view::spank_value(&v, "BURST_PLAN");
    let lost = lost(&v, options, plan);
    if options.is_none() && plan.is_none() && lost.is_none() && !snapshot.is_ours(shim::bytes(&v.partition)) {
        return None;
    }
    if let Some(why) = lost {
        message.set(&shorten(&format!("slurm-burst: {why}")));
        return Some(REFUSE);
    }
    if slot.handle.shared.panics.load(Ordering::Relaxed) >= PANICS_MOST {
        return Some(after_panic(job, message));
    }
    Some(match decide(&v, uid, options, plan, snapshot, slot) {
        Ok(None) => PASS,
        Ok(Some(held)) => {
            job.hold(&held.comment);
            if let Some(partition) = held.partition {
                job.set_partition(&partition);
            }
            message.set(&shorten(&held.told));
            PASS
        }
        Err(why) => {
            message.set(&shorten(&format!("slurm-burst: {why}")));
            REFUSE
        }
    })
}

/// An option that was given while what it said did not arrive: SPANK's `optional` lets sbatch go on after a
/// failure (slurm-22.05 src/common/plugstack.c `_do_call_stack`), and a job must not run as if nothing had been asked.
fn lost(v: &shim::burst_job_view_t, options: Option<&[u8]>, plan: Option<&[u8]>) -> Option<String> {
    let what = if plan.is_none() && view::spank_value(v, view::PLAN_OPTION).is_some() {
        "--burst-plan was given, but the plan"
    } else if options.is_none() && plan.is_none() && view::has_burst_option(v) {
        "a burst option was given, but what it said"
    } else {
        return None;
    };
    Some(format!(
        "{what} did not arrive with the job; submit it again with the option typed to sbatch itself"
    ))
}

struct Held {
    comment: String,
    partition: Option<String>,
    told: String,
}

fn shorten(text: &str) -> String {
    if text.len() <= MESSAGE_MOST {
        return text.to_owned();
    }
    let mut end = MESSAGE_MOST;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} …", text.get(..end).unwrap_or(""))
}

/// Options, plan and annotations in one; with the notices they give rise to.
fn wishes(
    v: &shim::burst_job_view_t,
    options: Option<&[u8]>,
    plan_bytes: Option<&[u8]>,
    limit: usize,
) -> Result<(Request, Option<Plan>, bool, Vec<String>), String> {
    let options = match options {
        Some(bytes) => {
            Options::from_json(bytes).map_err(|e| format!("the burst options cannot be read: {e}"))?
        }
        None => Options::default(),
    };
    let mut notices = Vec::new();
    let plan = match plan_bytes {
        Some(bytes) => {
            let parsed = plan::parse(bytes, limit).map_err(|e| plan::render_errors(&e, "the plan"))?;
            notices.extend(parsed.warnings.iter().map(|w| format!("plan: {}: {}", w.path, w.text)));
            Some(parsed.plan)
        }
        None => None,
    };
    let (notes, warnings) = view::annotations(v);
    notices.extend(warnings.iter().map(|w| format!("{}: {}", w.path, w.text)));
    let (request, warnings) = request::merge(&options, plan.as_ref(), &notes);
    notices.extend(warnings.iter().map(|w| format!("{}: {}", w.path, w.text)));
    let named = options != Options::default() || plan.is_some();
    Ok((request, plan, named, notices))
}

fn decide(
    v: &shim::burst_job_view_t,
    uid: u32,
    options: Option<&[u8]>,
    plan_bytes: Option<&[u8]>,
    snapshot: &Snapshot,
    slot: &Slot,
) -> Result<Option<Held>, String> {
    let Some(config) = &snapshot.config else {
        let why = snapshot.config_error.as_deref().unwrap_or("it has not been read");
        return Err(format!(
            "bursting is off: the site's burst.toml cannot be used ({why}); tell your administrator"
        ));
    };
    let mut geometry = view::geometry(v, uid);
    if geometry.partition.is_empty()
        && let Some(p) = &snapshot.default_partition
    {
        geometry.partition.clone_from(p);
    }
    let (request, plan, named, mut notices) = wishes(v, options, plan_bytes, config.limits.plan_bytes)?;
    let Some(pool) = pool_for(config, &request, named, &geometry.partition).map_err(|r| r.0)? else {
        return Ok(None);
    };
    refuse_what_cannot_be(v, pool, snapshot)?;
    let sent = geometry.partition != pool.partition;
    geometry.partition.clone_from(&pool.partition);
    default_time(&mut geometry, snapshot, &mut notices);
    let site =
        Site { config, types: &snapshot.types, offers: &snapshot.offers, kill_margin: snapshot.kill_margin };
    let admission = match admit(site, pool, &request, &geometry) {
        Verdict::Launch(a) => a,
        Verdict::Local(_) => return Ok(None),
        Verdict::Refuse(r) => return Err(r.0),
    };
    let array = geometry.array.is_some();
    let mut gang =
        Gang::new(new_id(), uid, pool.name.clone(), request, geometry, burst_engine::start::now_ms());
    gang.plan = plan;
    gang.user_hold = v.priority == 0;
    gang.worst = admission.worst_cost;
    let comment = says::comment(&gang);
    gang.commented.clone_from(&comment);
    slot.push(Msg::Intake(Box::new(Intake { gang, array }))).map_err(|_| {
        "too many burst jobs are being submitted at once; nothing was lost, submit this one again in a minute".to_owned()
    })?;
    let mut told: Vec<String> = admission.notices.iter().map(|n| format!("slurm-burst: {n}")).collect();
    told.extend(notices.iter().map(|n| format!("slurm-burst: {n}")));
    Ok(Some(Held { comment, partition: sent.then(|| pool.partition.clone()), told: told.join("\n") }))
}

fn refuse_what_cannot_be(v: &shim::burst_job_view_t, pool: &Pool, snapshot: &Snapshot) -> Result<(), String> {
    if let Some(why) = snapshot.refusal(&pool.name) {
        return Err(format!("pool {} may not launch: {why}; tell your administrator", pool.name));
    }
    if !shim::bytes(&v.req_nodes).is_empty() {
        return Err(format!(
            "--nodelist cannot be used in pool {}: the job gets nodes that are launched for it; leave it out",
            pool.name
        ));
    }
    Ok(())
}

/// The partition's default, once it is known; before the first look at the partitions the engine checks later.
fn default_time(geometry: &mut Geometry, snapshot: &Snapshot, notices: &mut Vec<String>) {
    if geometry.time_limit.is_some() || geometry.unlimited {
        return;
    }
    match &snapshot.partitions {
        None => notices.push(
            "the partition's time limit is not known yet (the controller has just started): cost is checked before the launch"
                .to_owned(),
        ),
        Some(all) => {
            let default = all.get(&geometry.partition).and_then(|p| p.default_time);
            geometry.unlimited = default.is_none() && all.contains_key(&geometry.partition);
            geometry.time_limit = default;
        }
    }
}

/// 16 hex digits nobody can guess: random keys of the process, a counter.
fn new_id() -> String {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}", KEYS.hash_one((n, burst_engine::start::now_ms())))
}
