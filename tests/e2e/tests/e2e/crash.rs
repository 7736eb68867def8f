//! slurmctld killed at the worst moments, and for good.

use crate::help::*;
use burst_e2e::proc::wait_until;
use burst_e2e::{Cluster, User};
use serde_json::json;

/// Fleets EC2 made: a replay with the same client token answers the same fleet.
fn fleets(c: &Cluster) -> usize {
    let text = std::fs::read_to_string(c.sim.as_ref().unwrap().audit()).unwrap_or_default();
    let calls =
        text.lines().filter(|l| l.contains("\"action\":\"CreateFleet\"") && l.contains("\"done\":true"));
    let tokens = calls.filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    tokens.map(|v| v["params"]["ClientToken"].to_string()).collect::<std::collections::BTreeSet<_>>().len()
}

fn restart(c: &mut Cluster) {
    c.kill_slurmctld();
    c.start_slurmctld().unwrap();
}

const SCRIPT: &str = "srun printenv SLURMD_NODENAME";

#[test]
fn law2_one_fleet_per_intent_killed_before_the_answer() {
    let mut c = cluster("kill-before");
    let sim = c.sim.as_ref().unwrap();
    sim.fault(&json!({"action": "CreateFleet", "kind": "delay", "ms": 8000})).unwrap();
    let job = submit(&c, 4, &["-J", "kill-before"], SCRIPT);
    c.wait_phase(job, "Launching", S).unwrap();
    c.wait_saved("kill-before", S).unwrap();
    restart(&mut c);
    ran(&c, job, 4);
    finish(c);
}

#[test]
fn law2_one_fleet_per_intent_when_the_answer_is_lost() {
    let c = cluster("lost-answer");
    let sim = c.sim.as_ref().unwrap();
    sim.fault(&json!({"action": "CreateFleet", "kind": "commit-then-drop", "times": 2})).unwrap();
    let job = submit(&c, 4, &[], SCRIPT);
    ran(&c, job, 4);
    finish(c);
}

#[test]
fn law3_no_orphan_killed_after_the_answer_booting_and_running() {
    let mut c = cluster("kill-after");
    c.sim.as_ref().unwrap().settings(&json!({"pending_ms": 15_000})).unwrap();
    let job = submit(&c, 4, &["-J", "kill-after", "--no-requeue"], &format!("{SCRIPT}; sleep 25"));
    c.wait_saved("kill-after", S).unwrap();
    wait_until(S, || Ok((fleets(&c) > 0).then_some(()))).unwrap();
    restart(&mut c);
    c.wait_says(job, "booting", S).unwrap();
    restart(&mut c);
    c.wait_job(job, "RUNNING", S).unwrap();
    c.wait_job_saved(job, S).unwrap();
    restart(&mut c);
    ran(&c, job, 4);
    assert_eq!(fleets(&c), 1);
    finish(c);
}

#[test]
fn a_job_whose_end_slurmctld_forgot_takes_no_name_down_and_gets_another_gang() {
    // A requeued job may start again when its old credential has expired.
    let mut c =
        Cluster::start(spec("forgotten-end").slurm("AuthInfo=socket={dir}/munge/socket,cred_expire=5"))
            .unwrap();
    let script = format!("{SCRIPT}\nuntil [ -e go ]; do sleep 0.1; done");
    let job = submit(&c, 2, &["--requeue", "--open-mode=truncate"], &script);
    c.wait_job(job, "RUNNING", S).unwrap();
    c.wait_job_saved(job, S).unwrap();
    let (state, older) = (c.at.file("state"), c.at.file("state-older"));
    let cp = |from: &std::path::Path, to: &std::path::Path| {
        std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap().success()
    };
    // slurmctld may be putting another of its files in its place.
    wait_until(S, || {
        let whole =
            cp(&state, &older) && older.join("node_state").exists() && older.join("job_state").exists();
        if !whole {
            std::fs::remove_dir_all(&older).map_err(|e| e.to_string())?;
        }
        Ok(whole.then_some(()))
    })
    .unwrap();
    std::fs::write(c.at.file("work/go"), "").unwrap();
    // Its instances have ended, its names are going down: killed now, by a table that has the job running on them.
    wait_until(S, || Ok(c.sim.as_ref().unwrap().living_of(job)?.is_empty().then_some(()))).unwrap();
    c.kill_slurmctld();
    std::fs::remove_dir_all(&state).unwrap();
    assert!(cp(&older, &state));
    c.start_slurmctld().unwrap();
    c.wait_job_where(job, "its second life", S, |f| Ok(f["Restarts"] == "1" && f["JobState"] == "COMPLETED"))
        .unwrap();
    ran(&c, job, 2);
    assert_eq!(fleets(&c), 2);
    assert!(!c.log().contains("setting DOWN"), "{}", c.log());
    finish(c);
}

#[test]
fn law3_no_orphan_when_slurmctld_is_gone_for_good() {
    let spec = spec("gone").pool("orphan_limit = \"10s\"\nepilog_limit = \"5s\"");
    let mut c = Cluster::start(spec).unwrap();
    let job = submit(&c, 3, &["--time=1"], "sleep 3");
    c.wait_job(job, "RUNNING", S).unwrap();
    c.snapshot().unwrap();
    c.kill_slurmctld();
    let sim = c.sim.as_ref().unwrap();
    // Two have no job and end after orphan_limit; the batch node's step waits for slurmctld to hear of its end, so that
    // one lives until the job's latest end (time limit and margins) has passed.
    wait_until(S, || Ok((sim.living()?.len() <= 1).then_some(()))).unwrap();
    wait_until(3 * S, || Ok(sim.living()?.is_empty().then_some(()))).unwrap();
    c.stop();
    assert!(c.processes().is_empty());
}

#[test]
fn law4_the_controller_is_unhurt_by_an_endpoint_that_fails() {
    let mut c = cluster("endpoint");
    let pid = c.slurmctld_pid();
    let sim = c.sim.as_ref().unwrap();
    sim.fault(&json!({"action": "*", "kind": "http500", "times": 6})).unwrap();
    let job = submit(&c, 2, &[], SCRIPT);
    let local = c.sbatch(User::Ordinary, &["-p", "cpu", "-o", "/dev/null"], "true").unwrap();
    c.wait_job(local, "COMPLETED", S).unwrap();
    ran(&c, job, 2);
    assert!(c.slurmctld_alive() && c.slurmctld_pid() == pid);
    finish(c);
}
