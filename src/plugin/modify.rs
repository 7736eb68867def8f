//! job_modify: an owner neither frees nor re-targets nor re-sizes a managed job; operators may do anything.

use crate::{
    guard::PANICS_MOST,
    shim::{self, BURST_UNSET, Job, Message},
    startup,
};
use burst_engine::{Msg, shared::Managed};
use burst_plan::jobid;
use std::{ffi::c_int, sync::atomic::Ordering};

const PASS: c_int = 0;
/// ESLURM_ACCESS_DENIED (slurm-22.05 slurm/slurm_errno.h).
const DENY: c_int = 2002;
/// More of an identifier is not read: what it begins with is enough to protect the whole job.
const ID_MOST: usize = 64 * 1_024;

/// What job_modify answers after a panic: an owner of managed jobs is refused, everybody else passes.
pub fn after_panic(uid: u32, message: Message) -> c_int {
    let Some(slot) = startup::slot() else { return PASS };
    let own = uid != 0
        && uid != shim::own_uid()
        && slot.handle.shared.managed.load().values().any(|m| m.uid == uid);
    if !own {
        return PASS;
    }
    message.set("slurm-burst: a bug was caught while this change was read; it is refused. Please tell your administrator");
    DENY
}

/// The entry.
pub fn modify(job: Job, uid: u32, message: Message) -> c_int {
    let Some(slot) = startup::slot() else { return PASS };
    slot.handle.shared.called.store(true, Ordering::Relaxed);
    // Our own updates come through here, too: SlurmUser and root are never looked at.
    if uid == 0 || uid == shim::own_uid() {
        return PASS;
    }
    let managed = slot.handle.shared.managed.load();
    let Some(v) = job.view() else { return PASS };
    if slot.handle.shared.panics.load(Ordering::Relaxed) >= PANICS_MOST {
        return after_panic(uid, message);
    }
    let text = shim::text(&shim::burst_str_t { len: v.job_id_str.len.min(ID_MOST), ..v.job_id_str });
    // Where there is a text slurmctld does not look at the number, whatever a client has put there (slurm-22.05
    // src/slurmctld/proc_req.c `_slurm_rpc_update_job`).
    let (job_id, tasks) = if text.is_empty() {
        (Some(v.job_id), Vec::new())
    } else if let Ok(spec) = jobid::parse(&text) {
        (Some(spec.job), spec.tasks)
    } else {
        // What we cannot read slurmctld may: the protection then covers the whole job.
        (jobid::leading(&text), Vec::new())
    };
    // Whoever may change somebody else's job is an operator: Slurm checks that itself. Not a number at all (Slurm 26.05 takes
    // `sluid`s): it may be any of his.
    let own = |m: &Managed| m.uid == uid;
    let own = match job_id {
        Some(id) => managed.get(&id).is_some_and(own),
        None => managed.values().any(own),
    };
    if !own {
        // A job that job_submit has not seen as ours would start on other gangs' nodes, or on none.
        let pool = shim::text(&v.partition);
        if slot.handle.shared.snapshot.load().is_ours(pool.as_bytes()) && !pool.is_empty() {
            message.set(
                "slurm-burst: a job cannot be moved into a partition whose nodes are launched for each job; \
                 submit it there",
            );
            return DENY;
        }
        // His last submission may be this one, which the engine has not seen in the job table yet: its hold is an owner's to
        // lift, as far as slurmctld knows.
        let moves = |t: &shim::burst_str_t| !shim::bytes(t).is_empty();
        let frees =
            v.priority != BURST_UNSET || v.nice != BURST_UNSET || moves(&v.partition) || moves(&v.req_nodes);
        if frees && slot.handle.shared.fresh.has(uid, burst_engine::start::now_ms()) {
            message
                .set("slurm-burst: your last submission is still being taken in; try again in a few seconds");
            return DENY;
        }
        return PASS;
    }
    // A nice value gives a held job a priority again under PriorityType=priority/basic (slurm-22.05
    // src/slurmctld/job_mgr.c `_update_job`).
    if v.nice != BURST_UNSET {
        message.set("slurm-burst: the nice value of a job whose nodes are launched for it cannot be changed; ask an operator");
        return DENY;
    }
    let target = !shim::bytes(&v.partition).is_empty()
        || !shim::bytes(&v.req_nodes).is_empty()
        || !shim::bytes(&v.exc_nodes).is_empty();
    let asks = [&v.tres_per_job, &v.tres_per_node, &v.tres_per_socket, &v.tres_per_task, &v.features];
    let resized = v.resizes != 0 || asks.iter().any(|a| !shim::bytes(a).is_empty());
    if target || resized || v.time_limit != BURST_UNSET {
        message.set(
            "slurm-burst: nodes are launched for this job as it was submitted; its size, memory, GPUs, features, time \
             limit, partition and nodes cannot be changed any more. Cancel it and submit it again, or ask an operator",
        );
        return DENY;
    }
    let Some(id) = job_id else {
        if v.priority == BURST_UNSET {
            return PASS;
        }
        message.set(
            "slurm-burst: name the job by its number; by another name it can be neither held nor released",
        );
        return DENY;
    };
    if v.priority != BURST_UNSET {
        // The owner's hold stops launching and the release resumes it; neither frees the job before its nodes are up.
        let hold = v.priority == 0;
        job.drop_priority();
        if slot.push(Msg::UserHold { uid, job: id, tasks, hold }).is_err() {
            message.set("slurm-burst: the controller is busy; try again in a minute");
            return DENY;
        }
        message.set(match hold {
            true => "slurm-burst: held; no nodes are launched until you release it",
            false => "slurm-burst: released; the job starts when its nodes are up",
        });
    }
    PASS
}
