//! What owners and administrators do to a managed job: holds, changes, comments.

use crate::help::*;
use burst_e2e::proc::wait_until;
use burst_e2e::show::field;
use burst_e2e::{Cluster, User};
use serde_json::json;

const SCRIPT: &str = "srun printenv SLURMD_NODENAME";

fn owner(c: &Cluster, args: &[&str]) -> burst_e2e::Output {
    c.run(User::Ordinary, "scontrol", args, "").unwrap()
}

#[test]
fn an_owner_s_hold_stops_a_gang_that_boots_and_the_release_launches_anew() {
    let c = cluster("hold-booting");
    let sim = c.sim.as_ref().unwrap();
    sim.settings(&json!({"pending_ms": 8000})).unwrap();
    let job = submit(&c, 2, &[], SCRIPT);
    c.wait_says(job, "booting", S).unwrap();
    let id = job.to_string();
    assert!(owner(&c, &["hold", &id]).ok());
    c.wait_says(job, "held by its owner", S).unwrap();
    wait_until(S, || Ok((sim.living()?.is_empty() && c.awake()?.is_empty()).then_some(()))).unwrap();
    sim.settings(&json!({"pending_ms": 300})).unwrap();
    assert!(owner(&c, &["release", &id]).ok());
    ran(&c, job, 2);
    finish(c);
}

#[test]
fn an_array_that_was_submitted_held_runs_whole_after_one_release() {
    let c = cluster("hold-array");
    let args = ["-p", "efa", "-N", "1", "-t", "5", "-o", "task-%a", "--hold", "--array=0-3%2"];
    let job = c.sbatch(User::Ordinary, &args, SCRIPT).unwrap();
    let id = job.to_string();
    wait_until(S, || Ok(c.says(job)?.contains("each task of the array").then_some(()))).unwrap();
    assert!(asked(&c, "CreateFleet").is_empty(), "held: nothing is launched");
    assert!(owner(&c, &["release", &id]).ok());
    wait_until(S, || {
        let all = c.job_records(job)?;
        Ok((all.len() == 4 && all.iter().all(|f| f["JobState"] == "COMPLETED")).then_some(()))
    })
    .unwrap();
    finish(c);
}

#[test]
fn a_comment_written_over_is_written_again_and_the_job_runs_on() {
    let c = cluster("comment");
    let job = submit(&c, 2, &[], &format!("{SCRIPT}; sleep 20"));
    c.wait_job(job, "RUNNING", S).unwrap();
    let id = format!("JobId={job}");
    assert!(c.scontrol(&["update", &id, "AdminComment=looked at by ops"]).unwrap().ok());
    c.wait_says(job, "running on 2 x", S).unwrap();
    ran(&c, job, 2);
    assert_eq!(asked(&c, "CreateFleet").len(), 1, "one gang was enough");
    finish(c);
}

#[test]
fn a_job_that_root_submits_for_somebody_is_that_user_s() {
    let c = cluster("for-another");
    let args = ["--uid=nobody", "-p", "efa", "-N", "2", "-t", "5", "-o", "/dev/null"];
    let job = c.sbatch(User::Root, &args, "sleep 300").unwrap();
    c.wait_job(job, "RUNNING", S).unwrap();
    let id = format!("JobId={job}");
    assert!(field(&c.job(job).unwrap(), "UserId").starts_with("nobody("));
    let out = owner(&c, &["update", &id, "TimeLimit=1"]);
    assert!(!out.ok(), "any other job's owner may shorten it: {out:?}");
    c.wait_says(job, "running on 2 x", S).unwrap();
    let told = c.run(User::Ordinary, "burstctl", &["explain", &job.to_string()], "").unwrap();
    assert!(told.ok() && told.out.contains("running on 2 x"), "{told:?}");
    c.scancel(User::Ordinary, job).unwrap();
    c.wait_job(job, "CANCELLED", S).unwrap();
    finish(c);
}

#[test]
fn a_managed_job_keeps_its_shape_and_a_plain_one_its_partition() {
    let c = cluster("shape");
    let sim = c.sim.as_ref().unwrap();
    sim.capacity("hpc7a.96xlarge", Some(0)).unwrap();
    sim.capacity("hpc6a.48xlarge", Some(0)).unwrap();
    let job = submit(&c, 2, &[], "true");
    c.wait_says(job, "no capacity", S).unwrap();
    let id = format!("JobId={job}");
    for change in ["Nice=1", "MinMemoryNode=1000", "Features=x", "Gres=gpu:1", "MinCPUsNode=2", "NumTasks=4"]
    {
        let out = owner(&c, &["update", &id, change]);
        assert!(!out.ok(), "{change} was accepted: {out:?}");
    }
    // All that slurmctld reads as this number.
    for same in [format!("+{job}"), format!("0{job}"), (u64::from(job) + (1 << 32)).to_string()] {
        let out = owner(&c, &["update", &format!("JobId={same}"), "Features=x"]);
        assert!(!out.ok(), "{same} was another name of it: {out:?}");
    }
    let plain = c.sbatch(User::Ordinary, &["-p", "cpu", "--hold", "-o", "/dev/null"], "true").unwrap();
    let out = owner(&c, &["update", &format!("JobId={plain}"), "Partition=efa"]);
    assert!(!out.ok(), "a plain job went into the pool: {out:?}");
    assert_eq!(field(&c.job(plain).unwrap(), "Partition"), "cpu");
    assert!(owner(&c, &["release", &plain.to_string()]).ok());
    c.wait_job(plain, "COMPLETED", S).unwrap();
    c.scancel(User::Ordinary, job).unwrap();
    c.wait_job(job, "CANCELLED", S).unwrap();
    finish(c);
}

#[test]
fn a_job_requeued_after_its_end_gets_a_gang_again() {
    // A finished job may be requeued while slurmctld remembers it.
    let spec = spec("requeue-late").slurm("AuthInfo=socket={dir}/munge/socket,cred_expire=5");
    let c = Cluster::start(spec).unwrap();
    let job = submit(&c, 2, &["--requeue", "--open-mode=truncate"], SCRIPT);
    ran(&c, job, 2);
    c.wait_quiet(S).unwrap();
    assert!(owner(&c, &["requeue", &job.to_string()]).ok());
    wait_until(S, || Ok((field(&c.job(job)?, "Restarts") == "1").then_some(()))).unwrap();
    ran(&c, job, 2);
    finish(c);
}

#[test]
fn sbatch_shows_the_options_and_does_without_the_plugin_s_file() {
    let c = cluster("options");
    let help = c.run(User::Ordinary, "sbatch", &["--help"], "").unwrap();
    for option in ["plan", "types", "market", "efa", "max-cost", "wait", "else"] {
        holds(&help.text(), &[&format!("--burst-{option}=")], &"sbatch --help");
    }
    let gone = file(&c, "plugstack.conf", "optional /nowhere/spank_burst.so\n");
    let conf = with_plugstack(&c, &gone);
    let args = [&conf, "sbatch", "--parsable", "-p", "cpu", "-o", "/dev/null"];
    let out = c.run(User::Ordinary, "env", &args, "#!/bin/sh\ntrue\n").unwrap();
    let job = out.out.trim().parse().unwrap_or_else(|_| panic!("{out:?}"));
    c.wait_job(job, "COMPLETED", S).unwrap();
    finish(c);
}
