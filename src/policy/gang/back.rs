//! Giving a gang back: names down in Slurm, instances ended in EC2, until nothing is left; then what follows.

use super::{Effect, FailedHold, Gang, House, JobView, Phase, Seen, Stage, Then, Why, says};
use super::{done::pause, step::NUDGE_MS};

/// Tries of a hold before the names go down all the same.
const HOLD_TRIES: u32 = 4;
/// And how long after the first of them at most, ms: a slurmctld that answers nothing at all does not keep the bill running.
const HOLD_MS: u64 = 10_000;
/// How long giving back waits to see what slurmctld, killed, has forgotten.
const FORGOTTEN_MS: u64 = 3_000;

pub(super) fn ending(
    g: &mut Gang,
    seen: &Seen,
    house: &dyn House,
    (then, stage, retry_ms): (&Then, &Stage, u64),
    now: u64,
) -> Option<Effect> {
    let job = match seen {
        Seen::Is(j) => Some(j),
        _ => None,
    };
    // What slurmctld forgot when it was killed is seen, and the job held, before a call that EC2 may answer late. Before the
    // first look at the jobs nothing is known; and a job whose end it had not saved was taken for running again, and is
    // requeued by the power-down.
    let blind = *seen == Seen::Never || (*seen == Seen::Unknown && g.since_ms < house.born_ms());
    let revived = matches!((then, stage), (Then::Done, Stage::Terminate))
        && g.powered
        && job.is_some_and(|j| j.state == 1);
    if blind && (now < house.born_ms() + FORGOTTEN_MS || matches!(stage, Stage::Settle { .. })) {
        return None;
    }
    if revived && retry_ms == 0 {
        if let Phase::Ending { retry_ms, .. } = &mut g.phase {
            *retry_ms = now + FORGOTTEN_MS;
        }
        return None;
    }
    let due = now >= retry_ms;
    // The race of a requeue: a pending job that is not held could be put on nodes that are going away.
    let open = !matches!(then, Then::Done) && job.is_some_and(|j| may_start(g, j));
    if open && now >= g.hold.again_ms {
        return Some(Effect::Hold { comment: says::comment(g) });
    }
    if !open && (job.is_some() || *seen == Seen::Gone) {
        g.hold = FailedHold::default();
    }
    let go = |g: &mut Gang, stage: Stage| {
        if let Phase::Ending { stage: s, retry_ms, tries, .. } = &mut g.phase {
            *s = stage;
            *retry_ms = 0;
            *tries = 0;
        }
    };
    match stage {
        Stage::Epilog { deadline_ms } => {
            if job.is_none_or(|j| !j.completing) || now >= *deadline_ms {
                go(g, Stage::PowerDown);
            }
            None
        }
        Stage::PowerDown => {
            if !g.powered {
                go(g, Stage::Terminate);
                return None;
            }
            // A job that could not be held may be started on the names in this moment; but not for ever is it waited for.
            let tried = (1..HOLD_TRIES).contains(&g.hold.tries) && now < g.hold.since_ms + HOLD_MS;
            if tried && (open || job.is_none()) {
                return None;
            }
            // POWER_DOWN_FORCE kills every job on a node: not while somebody else's runs there.
            let ours = job.is_some_and(|j| j.state == 1 || j.completing);
            // Where no instance is left no job can be: a slurmctld that was killed has forgotten an end. Before the node
            // table is seen nobody can tell.
            let allocated = || g.all_names().any(|n| house.node(n).is_none_or(|v| v.allocated));
            let taken = !g.members.is_empty() && !ours && allocated();
            let late = now >= g.since_ms + house.pool(&g.pool).map_or(600, |p| p.epilog_limit.0) * 1000;
            if taken && !late {
                return None;
            }
            if !due {
                return None;
            }
            // From here on a job that slurmctld believes to run on it, by an older table, does not.
            g.members.iter_mut().for_each(|m| m.up = false);
            Some(Effect::PowerDown)
        }
        Stage::Terminate => {
            if g.members.is_empty() && g.retired.iter().all(|r| r.ended) && !g.unsure {
                go(g, Stage::Settle { nudge_ms: now + NUDGE_MS });
                return None;
            }
            due.then_some(Effect::Terminate { sweep: g.unsure })
        }
        Stage::Settle { nudge_ms } => {
            let down = g.all_names().all(|n| house.node(n).is_some_and(|v| v.is_free()));
            // A slurmd that registered in the last moment: nothing else would take its name down again.
            let up = g.all_names().any(|n| house.node(n).is_some_and(|v| v.is_up()));
            // A killed slurmctld had forgotten the job's end and took it for running where no instance is left: nobody
            // tells it of an epilog, and it would call the name DOWN after SlurmdTimeout. The first power-down killed the
            // job, a second one takes the name out of it (slurm-22.05 src/slurmctld/job_mgr.c
            // `kill_running_job_by_node_name`, likewise 24.11).
            let haunted = g.all_names().any(|n| house.node(n).is_some_and(|v| v.completing));
            let there = |n: &&String| house.node(n).is_none_or(|v| !v.is_free());
            if !g.powered || down {
                settled(g, then, house, now);
                None
            } else if now >= *nudge_ms || ((up || haunted) && now >= retry_ms) {
                if let Phase::Ending { stage, retry_ms, tries, .. } = &mut g.phase {
                    *stage = Stage::Settle { nudge_ms: now + NUDGE_MS };
                    *retry_ms = now + pause(*tries);
                    *tries = tries.saturating_add(1);
                }
                Some(Effect::PowerDownAgain { names: g.all_names().filter(there).cloned().collect() })
            } else {
                None
            }
        }
    }
}

/// Names that a slurmd took up again while their instances are being ended: TerminateInstances may take long, and where
/// its answer is lost the node is gone before it is known to be. slurmctld would call such a name DOWN after
/// SlurmdTimeout: it is powered down beside the call.
#[must_use]
pub fn came_up(g: &Gang, house: &dyn House) -> Vec<String> {
    let terminating = matches!(g.phase, Phase::Ending { stage: Stage::Terminate, .. });
    if !terminating || !g.powered {
        return Vec::new();
    }
    g.all_names().filter(|n| house.node(n).is_some_and(|v| v.is_up())).cloned().collect()
}

/// Whether the scheduler may start it. Moved to a local partition, it is none of ours any more.
fn may_start(g: &Gang, j: &JobView) -> bool {
    let ours = j.partition.is_empty() || j.partition == g.geometry.partition;
    ours && j.state == 0 && !j.held
}

/// Whether the job may be started although its gang's instances are being ended: requeued after its end, or freed, while
/// TerminateInstances is under way. It is held beside the call. `born_ms` is when this engine began.
#[must_use]
pub fn is_open(g: &Gang, j: &JobView, born_ms: u64) -> bool {
    let Phase::Ending { stage: Stage::Terminate, then, .. } = &g.phase else { return false };
    // Held, one for which nothing follows would stay so.
    let again = g.job.as_ref().is_none_or(|k| j.restarts > k.restart) || g.since_ms < born_ms;
    may_start(g, j) && (*then != Then::Done || again)
}

fn settled(g: &mut Gang, then: &Then, house: &dyn House, now: u64) {
    g.former_ms = now;
    g.names.clear();
    g.members.clear();
    g.retired.clear();
    g.granted_ms = None;
    g.powered = false;
    g.retold = 0;
    g.fleet = None;
    g.group = None;
    g.won = None;
    g.split = None;
    match then {
        Then::Done => g.enter(Phase::Done, "instances ended, names free", now),
        Then::Again { rung } => {
            g.rung = *rung;
            g.enter(Phase::Planned, "given back; planning again", now);
        }
        Then::Later { why } => {
            g.rung = 0;
            let until_ms = Some(now + house.pool(&g.pool).map_or(600, |p| p.retry_max.0) * 1000);
            let why = Why::Limits(format!("Slurm would not start it: {why}"));
            g.enter(Phase::Waiting { until_ms, why }, "given back; tried again later", now);
        }
        Then::Failed(why) => g.enter(Phase::Failed(why.clone()), why.clone(), now),
    }
}
