//! job_submit: whose job it is, whether it may be launched, and the hold.
//!
//! No RPC, no file, no waiting: work is bounded by `plan_bytes` and the script's leading comment block.

use crate::{
    guard::PANICS_MOST,
    shim::{self, BURST_UNSET, Job, Message},
    startup, view,
};
use burst_engine::{
    Draft, Intake, Msg, Slot,
    memo::{Key, Memo},
    shared::Snapshot,
};
use burst_plan::{Geometry, Options, Plan, Request, plan, request};
use burst_policy::{
    admit::{Site, Verdict, admit, pool_for},
    config::Pool,
    gang::says,
};
use std::{
    ffi::{CString, c_int},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// SLURM_SUCCESS.
const PASS: c_int = 0;

/// EAGAIN: sbatch, salloc and srun try again by themselves, up to 15 times (slurm-22.05 … 26.05 src/sbatch/sbatch.c).
const AGAIN: c_int = libc::EAGAIN;
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
    shim::refused()
}

/// The entry, timed. Most submissions are not for us, and every one is delayed by this: only what tells whose it is gets
/// looked at.
pub fn submit(job: Job, uid: u32, message: Message) -> c_int {
    let began = Instant::now();
    let Some(slot) = startup::slot() else { return PASS };
    let shared = &slot.handle.shared;
    shared.called.store(true, Ordering::Relaxed);
    if !shared.snapshot.names(|names, default| job.is_ours(names, default)) {
        shared.timings.note(false, began.elapsed());
        return PASS;
    }
    let answer = shared.snapshot.with(|version, s| answer(job, uid, message, slot, version, s));
    shared.timings.note(answer.is_some(), began.elapsed());
    answer.unwrap_or(PASS)
}

/// None: the job is not ours.
fn answer(
    job: Job,
    uid: u32,
    message: Message,
    slot: &Slot,
    version: Option<u64>,
    snapshot: &Snapshot,
) -> Option<c_int> {
    let v = job.view()?;
    let options = view::spank_value(&v, "BURST_OPTS");
    let plan = view::spank_value(&v, "BURST_PLAN");
    let lost = lost(&v, options, plan);
    if options.is_none() && plan.is_none() && lost.is_none() && !snapshot.is_ours(shim::bytes(&v.partition)) {
        return None;
    }
    if let Some(why) = lost {
        message.set(&shorten(&format!("slurm-burst: {why}")));
        return Some(shim::refused());
    }
    if slot.handle.shared.panics.load(Ordering::Relaxed) >= PANICS_MOST {
        return Some(after_panic(job, message));
    }
    if let Some((what, most)) = view::too_long(&v, options) {
        message
            .set(&format!("slurm-burst: {what} is longer than the {most} bytes that are taken; shorten it"));
        return Some(shim::refused());
    }
    let decided = recall(&v, options, plan, version, snapshot);
    if matches!(decided, Ok(Some(_))) && startup::is_starting() {
        message.set("slurm-burst: the controller has just started; the job is submitted again in a moment");
        return Some(AGAIN);
    }
    let held =
        decided.and_then(|d| d.map(|d| hand_over(&v, uid, &d, slot).map(|comment| (d, comment))).transpose());
    Some(match held {
        Ok(None) => PASS,
        Ok(Some((decided, comment))) => {
            job.hold(&comment);
            if let Some(partition) = &decided.partition {
                job.set_partition(partition);
            }
            message.set_c(&decided.told);
            PASS
        }
        Err(why) => {
            message.set(&shorten(&format!("slurm-burst: {why}")));
            shim::refused()
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

/// What was decided for jobs of one shape.
#[derive(Debug)]
struct Decided {
    draft: Arc<Draft>,
    /// Where the job is sent.
    partition: Option<CString>,
    /// What its owner reads.
    told: CString,
}

/// Decisions of before and a buffer for keys.
#[derive(Debug, Default)]
struct Known {
    memo: Memo<Decided>,
    key: Key,
}

static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

/// The decision of before where the same was asked, or a new one. None: the job is not ours.
fn recall(
    v: &shim::burst_job_view_t,
    options: Option<&[u8]>,
    plan: Option<&[u8]>,
    version: Option<u64>,
    snapshot: &Snapshot,
) -> Result<Option<Arc<Decided>>, String> {
    // Without waiting: a second thread decides for itself. What is too long to be read is not copied first.
    let most = snapshot.config.as_ref().map_or(0, |c| c.limits.plan_bytes);
    let fits = plan.is_none_or(|p| p.len() <= most);
    let (Some(version), true, Ok(mut known)) = (version, fits, KNOWN.try_lock()) else {
        return Ok(decide(v, options, plan, snapshot)?.map(Arc::new));
    };
    let known = known.get_or_insert_default();
    view::key(&mut known.key, v, options, plan);
    if let Some(decided) = known.memo.get(version, known.key.bytes()) {
        return Ok(Some(decided));
    }
    let decided = decide(v, options, plan, snapshot)?.map(Arc::new);
    if let Some(d) = &decided {
        known.memo.put(version, known.key.bytes(), d.clone());
    }
    Ok(decided)
}

/// Hands the job to the engine; its comment.
fn hand_over(
    v: &shim::burst_job_view_t,
    uid: u32,
    decided: &Decided,
    slot: &Slot,
) -> Result<CString, String> {
    let intake = Intake {
        id: new_id(),
        // Root and operators may submit for somebody else; slurmctld has checked that already.
        uid: if v.user_id == BURST_UNSET { uid } else { v.user_id },
        name: shim::text(&v.name),
        at_ms: burst_engine::start::now_ms(),
        user_hold: v.priority == 0,
        draft: decided.draft.clone(),
    };
    let comment = shim::c_text(&says::submitted(&intake.id));
    let (fresh, id) = (&slot.handle.shared.fresh, intake.id.clone());
    fresh.add(&id, intake.uid, intake.at_ms);
    slot.push(Msg::Intake(Box::new(intake))).map_err(|_| {
        fresh.remove(&id);
        "too many burst jobs are being submitted at once; nothing was lost, submit this one again in a minute"
            .to_owned()
    })?;
    Ok(comment)
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

/// Reads nothing of the job that is not in its key (`view::key`).
fn decide(
    v: &shim::burst_job_view_t,
    options: Option<&[u8]>,
    plan_bytes: Option<&[u8]>,
    snapshot: &Snapshot,
) -> Result<Option<Decided>, String> {
    let Some(config) = &snapshot.config else {
        let why = snapshot.config_error.as_deref().unwrap_or("it has not been read");
        return Err(format!(
            "bursting is off: the site's burst.toml cannot be used ({why}); tell your administrator"
        ));
    };
    let mut geometry = view::geometry(v);
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
    let all = admission.notices.iter().chain(&notices);
    let told: Vec<String> = all.map(|n| format!("slurm-burst: {n}")).collect();
    let draft = Draft { pool: pool.name.clone(), request, plan, geometry, worst: admission.worst_cost };
    Ok(Some(Decided {
        draft: Arc::new(draft),
        partition: sent.then(|| shim::c_text(&pool.partition)),
        told: shim::c_text(&shorten(&told.join("\n"))),
    }))
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
