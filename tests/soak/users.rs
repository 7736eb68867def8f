//! People: they submit, hold, cancel and requeue.

use crate::{
    life::Outside,
    slurm::{Job, State},
    story::Now,
};
use burst_engine::{Draft, Intake, Msg};
use burst_plan::{Geometry, Request, Seconds};
use burst_policy::gang::says;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// What one sbatch asks for.
fn intake(out: &Outside, uid: u32, nodes: u32, array: Option<u32>, number: u64) -> Intake {
    let geometry = Geometry {
        min_nodes: Some(nodes),
        max_nodes: Some(nodes),
        ntasks_per_node: Some(1),
        time_limit: Some(Seconds(300)),
        array: array.map(|n| format!("0-{}", n - 1)),
        partition: "efa".into(),
        account: "lab".into(),
        batch: true,
        ..Geometry::default()
    };
    let id = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let at_ms = burst_engine::host::Stage::now_ms(&out.dice);
    let mixed = (out.kind.mixed && number.is_multiple_of(2)).then_some(burst_plan::Market::Mixed);
    let request = Request { market: mixed, ..Request::default() };
    let draft = Draft { pool: "efa".into(), request, plan: None, geometry, worst: None };
    Intake { id, uid, name: "soak".into(), at_ms, user_hold: false, draft: Arc::new(draft) }
}

/// One sbatch: a job of so many nodes, or an array of such tasks. None: slurmctld is too busy.
pub async fn submit(
    out: &Outside,
    now: &Now,
    (number, uid): (u64, u32),
    nodes: u32,
    tasks: Option<u32>,
) -> Option<u32> {
    let dice = &out.dice;
    let letter = intake(out, uid, nodes, tasks, number);
    // sbatch waits for slurmctld.
    let handle = loop {
        match now.life() {
            Some(h) => break h,
            None => tokio::time::sleep(Duration::from_millis(300)).await,
        }
    };
    let comment = says::submitted(&letter.id);
    handle.sender().try_send(Msg::Intake(Box::new(letter))).ok()?;
    Some(out.slurm.submit(Job {
        id: 0,
        array: 0,
        task: None,
        rest: (0..tasks.unwrap_or(0)).collect(),
        uid,
        state: State::Pending,
        completing: None,
        held: true,
        held_admin: false,
        req: Vec::new(),
        want: nodes as usize,
        partition: "efa".into(),
        restarts: 0,
        submit: dice.true_ms() / 1_000,
        eligible: dice.true_ms() / 1_000,
        start: 0,
        nodes: Vec::new(),
        comment,
        work_ms: dice.range(500, 40_000),
        ends_ms: 0,
        over_ms: 0,
        requeue: dice.chance(700),
        starts: 0,
    }))
}

/// A job of one user's that works for so long (ms); nothing else happens to it.
pub async fn plain(out: &Outside, now: &Now, nodes: u32, work_ms: u64) -> u32 {
    let next = u64::try_from(out.slurm.tables().jobs.len()).unwrap_or(0) + 1;
    let id = submit(out, now, (next, 1_000), nodes, None).await.expect("the engine listens");
    if let Some(job) = out.slurm.tables().jobs.get_mut(&id) {
        job.work_ms = work_ms;
        job.requeue = false;
    }
    id
}

/// One person's job, from sbatch on.
pub async fn job(out: Outside, now: Now, number: u64, story_ms: u64) {
    tokio::time::sleep(out.dice.ms(0, story_ms)).await;
    let dice = &out.dice;
    let uid = 1_000 + u32::try_from(dice.range(0, 5)).unwrap_or(0);
    let nodes = dice.pick(&[1, 1, 2, 2, 3, 4, 8, 16]).unwrap_or(1);
    let tasks = dice.chance(60).then(|| u32::try_from(dice.range(2, 5)).unwrap_or(2));
    let nodes = if tasks.is_some() { nodes.min(3) } else { nodes };
    let Some(id) = submit(&out, &now, (number, uid), nodes, tasks).await else { return };
    out.slurm
        .laws
        .note(dice.passed_ms(), format!("user   {uid} submits job {id} of {nodes} nodes, tasks {tasks:?}"));
    out.slurm.laws.count("jobs");
    let fate = dice.range(0, 100);
    tokio::time::sleep(dice.ms(0, 60_000)).await;
    let all = || -> BTreeSet<u32> {
        let t = out.slurm.tables();
        t.jobs.values().filter(|j| j.id == id || j.array == id).map(|j| j.id).collect()
    };
    if fate < 20 {
        all().into_iter().for_each(|j| out.slurm.cancel(j));
    } else if fate < 30 {
        // Held by its owner, for a while.
        let push = |hold: bool| {
            if let Some(h) = now.life() {
                let hold = Msg::UserHold { uid, job: id, tasks: Vec::new(), hold };
                // A full queue tells the owner to try again; this one does not.
                let _ = h.sender().try_send(hold);
            }
        };
        push(true);
        tokio::time::sleep(dice.ms(1_000, 30_000)).await;
        // Until it is heard: a controller that is killed forgets what it was told last.
        for _ in 0..3 {
            push(false);
            tokio::time::sleep(Duration::from_secs(25)).await;
        }
    } else if fate < 45 {
        for _ in 0..240 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let running: Vec<u32> = {
                let t = out.slurm.tables();
                t.jobs
                    .values()
                    .filter(|j| (j.id == id || j.array == id) && j.state == State::Running)
                    .map(|j| j.id)
                    .collect()
            };
            if let Some(first) = running.first() {
                tokio::time::sleep(dice.ms(0, 10_000)).await;
                out.slurm.requeue(*first);
                break;
            }
        }
    }
}
