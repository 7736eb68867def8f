//! TerminateInstances whose answer is long in coming.

use crate::{
    life::Life,
    operators::{Story, on_stage_with, until},
    slurm::State,
    story::quiet,
    users,
};
use std::{sync::atomic::Ordering, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);
/// Far longer than SlurmdTimeout here.
const LATE_MS: u64 = 60_000;

/// A slurmd that was started anew registers under its name, which is powered down already, while EC2 ends its instance and
/// has not answered yet: the name goes down again, and never DOWN.
///
/// # Errors
/// What did not come true.
pub fn a_name_that_comes_up_at_the_end() -> Story {
    on_stage_with("", |out, now| async move {
        let life = Life::begin(&out);
        now.set(Some(life.handle.clone()));
        let job = users::plain(&out, &now, 2, 600_000).await;
        let runs = || out.slurm.tables().jobs.get(&job).is_some_and(|j| j.state == State::Running);
        until("the job runs", 10 * MINUTE, runs).await?;
        let (name, instance) = {
            let t = out.slurm.tables();
            let mut all = t.nodes.iter().filter_map(|(name, n)| Some((name.clone(), n.instance.clone()?)));
            all.next().ok_or("no node is up")?
        };
        out.mood.ends_late(LATE_MS);
        out.slurm.cancel(job);
        until("its names are down", MINUTE, || out.slurm.all_off().is_empty()).await?;
        let asked = out.dice.passed_ms();
        if !out.slurm.register(&name, &instance) {
            return Err(format!("{name} did not come up"));
        }
        until("the name is down again", MINUTE, || out.slurm.all_off().is_empty()).await?;
        if out.dice.passed_ms() >= asked + LATE_MS / 2 {
            return Err("EC2's answer was waited for".into());
        }
        until("all is given back", 10 * MINUTE, || quiet(&out)).await?;
        out.mood.ends_late(0);
        let second = users::plain(&out, &now, 2, 1_000).await;
        let over = || out.slurm.tables().jobs.get(&second).is_some_and(|j| j.state == State::Over(3));
        until("the next job has its names", 10 * MINUTE, over).await?;
        until("all is given back", 10 * MINUTE, || quiet(&out)).await
    })
}

/// A job that is over is requeued by hand while EC2 ends its instances and has not answered yet: it is held before it may
/// run again, and runs on another gang in the end.
///
/// # Errors
/// What did not come true.
pub fn a_job_that_comes_back_at_the_end() -> Story {
    on_stage_with("", |out, now| async move {
        let life = Life::begin(&out);
        now.set(Some(life.handle.clone()));
        out.mood.ends_late(LATE_MS);
        let job = users::plain(&out, &now, 2, 1_000).await;
        let is = |state: State| out.slurm.tables().jobs.get(&job).is_some_and(|j| j.state == state);
        until("the job is over", 10 * MINUTE, || is(State::Over(3))).await?;
        until("its names are down", MINUTE, || out.slurm.all_off().is_empty()).await?;
        {
            let mut t = out.slurm.tables();
            t.version += 1;
            let at = out.dice.true_ms() / 1_000;
            let j = t.jobs.get_mut(&job).ok_or("no such job")?;
            (j.state, j.held, j.restarts) = (State::Pending, false, 1);
            (j.submit, j.eligible) = (at, at + 3);
        }
        // The first hold fails, and after it nothing changes in the job table.
        out.trouble.store(1_000, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        out.trouble.store(0, Ordering::Relaxed);
        let held = || out.slurm.tables().jobs.get(&job).is_some_and(|j| j.held);
        until("it is held in time", Duration::from_millis(1_800), held).await?;
        until("it runs again", 10 * MINUTE, || is(State::Running)).await?;
        if out.ec2.fleets().len() != 2 {
            return Err("its second life has no gang of its own".into());
        }
        until("all is given back", 10 * MINUTE, || quiet(&out)).await
    })
}
