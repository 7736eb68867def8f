//! What operators say, and a disk that is full, on the simulation's stage: told as it happens, without chance.

use crate::{
    dice::Dice,
    laws::Laws,
    life::{Life, Outside, ask},
    nodes,
    slurm::State,
    story::{Kind, Now, outside, quiet},
    users,
};
use burst_engine::core::{Question, operate::Wish};
use burst_policy::stops::How;
use std::{
    future::Future,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

/// A story's answers, or what did not come true.
pub type Story = Result<(), String>;

fn on_stage<F: Future<Output = Story>>(story: impl FnOnce(Outside, Now) -> F) -> Story {
    on_stage_with("", story)
}

/// The same with more in burst.toml.
pub fn on_stage_with<F: Future<Output = Story>>(more: &str, story: impl FnOnce(Outside, Now) -> F) -> Story {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be made");
    let laws = Laws::default();
    runtime.block_on(async {
        let dice = Dice::new(4);
        let out = outside(&dice, &laws, Kind::of(1), more);
        let daemon = out.slurm.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(250)).await;
                daemon.tick();
            }
        });
        let now = Now::default();
        tokio::spawn(nodes::run(out.clone(), now.clone(), Arc::new(AtomicU64::new(0))));
        story(out, now).await
    })?;
    match laws.broken().is_empty() {
        true => Ok(()),
        false => Err(format!("{:#?}", laws.broken())),
    }
}

/// Looks every 100 ms until it is so.
pub async fn until(what: &str, limit: Duration, so: impl Fn() -> bool) -> Story {
    let began = tokio::time::Instant::now();
    while !so() {
        if began.elapsed() > limit {
            return Err(format!("not within {limit:?}: {what}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

const MINUTE: Duration = Duration::from_secs(60);

fn says(out: &Outside, job: u32, text: &str) -> bool {
    out.slurm.tables().jobs.get(&job).is_some_and(|j| j.comment.contains(text))
}

fn is(out: &Outside, job: u32, state: &State) -> bool {
    out.slurm.tables().jobs.get(&job).is_some_and(|j| j.state == *state)
}

fn fleets(out: &Outside) -> usize {
    out.ec2.fleets().len()
}

/// Jobs in the order of their launches.
fn launched(out: &Outside) -> Vec<u32> {
    let of = |line: &String| line.split_once("engine job ")?.1.split_once(' ')?.0.parse().ok();
    out.slurm.laws.log().iter().filter(|l| l.contains(": Launching: ")).filter_map(of).collect()
}

async fn wish(now: &Now, wish: Wish) -> Result<String, String> {
    let question = Question::Operate { wish, who: "alice (uid 1000)".into() };
    match ask(now.sender(), question).await {
        Some((200, body)) => Ok(body.get("says").and_then(|s| s.as_str()).unwrap_or("").to_owned()),
        other => Err(format!("{other:?}")),
    }
}

/// A paused pool launches nothing, says so, a restart of slurmctld forgets nothing, and jobs are launched as they were
/// submitted when it is resumed.
///
/// # Errors
/// What did not come true.
pub fn a_pause() -> Story {
    on_stage(|out, now| async move {
        let life = Life::begin(&out);
        now.set(Some(life.handle.clone()));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let said = wish(&now, Wish::Stop { how: How::Pause, pool: Some("efa".into()) }).await?;
        if !said.contains("pool efa is paused") {
            return Err(said);
        }
        let unknown = wish(&now, Wish::Stop { how: How::Pause, pool: Some("nosuch".into()) }).await;
        if !unknown.as_ref().is_err_and(|e| e.contains("there is no pool nosuch")) {
            return Err(format!("{unknown:?}"));
        }
        let job = users::plain(&out, &now, 2, 30_000).await;
        until("the job says who paused", MINUTE, || {
            says(&out, job, "pool efa was paused by alice (uid 1000)")
        })
        .await?;
        // Their gangs' ids are in another order.
        let second = users::plain(&out, &now, 2, 30_000).await;
        let third = users::plain(&out, &now, 2, 30_000).await;
        // slurmctld has saved the jobs.
        tokio::time::sleep(Duration::from_secs(10)).await;
        life.kill(&out);
        out.slurm.killed();
        let life = Life::begin(&out);
        now.set(Some(life.handle.clone()));
        tokio::time::sleep(10 * MINUTE).await;
        if fleets(&out) > 0 || !says(&out, job, "was paused by alice") {
            return Err("a restart forgot the pause".into());
        }
        wish(&now, Wish::Resume { pool: None }).await?;
        until("the job runs", 10 * MINUTE, || is(&out, job, &State::Running)).await?;
        let jobs = [job, second, third];
        if launched(&out) != jobs {
            return Err(format!("{jobs:?} were submitted, and launched as {:?}", launched(&out)));
        }
        let again = wish(&now, Wish::Resume { pool: None }).await;
        if !again.as_ref().is_err_and(|e| e.contains("nothing is paused")) {
            return Err(format!("{again:?}"));
        }
        until("all is given back", 10 * MINUTE, || quiet(&out)).await
    })
}

/// While the journal's disk is full nothing new is launched, the job says why, and what runs is given back as ever.
///
/// # Errors
/// What did not come true.
pub fn a_full_disk() -> Story {
    on_stage(|out, now| async move {
        let life = Life::begin(&out);
        now.set(Some(life.handle.clone()));
        let first = users::plain(&out, &now, 2, 60_000).await;
        until("the first job runs", 10 * MINUTE, || is(&out, first, &State::Running)).await?;
        let before = fleets(&out);
        out.full.store(true, Ordering::Relaxed);
        let second = users::plain(&out, &now, 1, 1_000).await;
        let why = "the journal cannot be written (database or disk is full)";
        until("the second job says why", MINUTE, || says(&out, second, why)).await?;
        out.slurm.cancel(first);
        until("the first job's instances end", 5 * MINUTE, || out.ec2.alive().is_empty()).await?;
        until("its names go down", 5 * MINUTE, || out.slurm.all_off().is_empty()).await?;
        if fleets(&out) != before {
            return Err("something was launched although its intent is not on disk".into());
        }
        out.full.store(false, Ordering::Relaxed);
        until("the second job runs", 10 * MINUTE, || is(&out, second, &State::Running)).await?;
        until("all is given back", 10 * MINUTE, || quiet(&out)).await
    })
}
