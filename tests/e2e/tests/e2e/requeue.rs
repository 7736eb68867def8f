//! Jobs that Slurm takes back, and jobs that somebody frees by force.

use crate::help::*;
use burst_e2e::checker::Expect;
use burst_e2e::proc::wait_until;
use burst_e2e::show::field;
use burst_e2e::{Cluster, User};
use std::collections::BTreeSet;

#[test]
fn a_requeued_job_gets_a_new_whole_gang_after_the_old_one_has_ended() {
    // A requeued job may start again when its old credential has expired.
    let spec = spec("requeue").slurm("AuthInfo=socket={dir}/munge/socket,cred_expire=5");
    let c = Cluster::start(spec).unwrap();
    let sim = c.sim.as_ref().unwrap();
    let script =
        "[ \"${SLURM_RESTART_COUNT:-0}\" = 0 ] && sleep 300\nsrun printenv SLURMD_NODENAME\nsleep 20";
    let job = submit(&c, 4, &["--requeue", "--open-mode=truncate"], script);
    c.wait_job(job, "RUNNING", S).unwrap();
    c.snapshot().unwrap();
    let first: BTreeSet<String> = sim.living_of(job).unwrap().into_iter().collect();
    assert_eq!(first.len(), 4);
    let out = c.run(User::Ordinary, "scontrol", &["requeue", &job.to_string()], "").unwrap();
    assert!(out.ok(), "{out:?}");
    wait_until(S, || {
        let now: BTreeSet<String> = sim.living_of(job)?.into_iter().collect();
        let (old, new) = (now.intersection(&first).count(), now.difference(&first).count());
        if old > 0 && new > 0 {
            return Err(format!("{old} of the old gang live beside {new} of the new one"));
        }
        Ok((new == 4).then_some(()))
    })
    .unwrap();
    // A requeue has set its submit time anew, and without our tag it is known by that.
    c.wait_job(job, "RUNNING", S).unwrap();
    let id = format!("JobId={job}");
    assert!(c.scontrol(&["update", &id, "AdminComment=looked at by ops"]).unwrap().ok());
    c.wait_says(job, "running on 4 x", S).unwrap();
    ran(&c, job, 4);
    assert_eq!(field(&c.job(job).unwrap(), "Restarts"), "1");
    finish(c);
}

#[test]
fn a_node_that_fails_while_its_job_runs_is_slurm_s_to_judge_and_a_requeue_gets_a_new_whole_gang() {
    let spec = spec("fails").slurm("SlurmdTimeout=20\nAuthInfo=socket={dir}/munge/socket,cred_expire=5");
    let c = Cluster::start(spec).unwrap();
    let sim = c.sim.as_ref().unwrap();
    let script = "[ \"${SLURM_RESTART_COUNT:-0}\" = 0 ] && sleep 300\nsrun printenv SLURMD_NODENAME";
    let again = submit(&c, 3, &["--requeue", "--open-mode=truncate"], script);
    let never = submit(&c, 2, &["--no-requeue"], "sleep 300");
    let mut first = Vec::new();
    for (job, nodes) in [(again, 3), (never, 2)] {
        c.wait_job(job, "RUNNING", S).unwrap();
        let living = sim.living_of(job).unwrap();
        assert_eq!(living.len(), nodes);
        sim.stop_instance(&living[nodes - 1]).unwrap();
        first.extend(living);
    }
    c.wait_job(never, "NODE_FAIL", S).unwrap();
    ran(&c, again, 3);
    assert_eq!(field(&c.job(again).unwrap(), "Restarts"), "1");
    wait_until(S, || {
        let living = sim.living()?;
        Ok((!first.iter().any(|i| living.contains(i))).then_some(()))
    })
    .unwrap();
    finish_expecting(c, &Expect { failing: 2, ..Expect::default() });
}

#[test]
fn a_name_that_slurm_wants_up_without_a_gang_goes_down_again_and_the_job_is_held() {
    let c =
        Cluster::start(spec("tripwire").slurm("AuthInfo=socket={dir}/munge/socket,cred_expire=5")).unwrap();
    let sim = c.sim.as_ref().unwrap();
    // By hand: an operator powers a name up.
    assert!(c.scontrol(&["update", "nodename=efa7-0050", "state=power_up"]).unwrap().ok());
    wait_until(S, || Ok(c.log().contains("Slurm asked to resume efa7-0050").then_some(()))).unwrap();
    c.wait_quiet(S).unwrap();
    // By force: an operator releases a job that waits for capacity.
    sim.capacity("hpc7a.96xlarge", Some(0)).unwrap();
    sim.capacity("hpc6a.48xlarge", Some(0)).unwrap();
    let job = submit(&c, 2, &[], "srun printenv SLURMD_NODENAME");
    c.wait_says(job, "no capacity", S).unwrap();
    assert!(c.scontrol(&["release", &job.to_string()]).unwrap().ok());
    wait_until(S, || {
        let fields = c.job(job)?;
        let held = field(&fields, "JobState") == "PENDING" && field(&fields, "Priority") == "0";
        let says = field(&fields, "AdminComment").contains("no capacity");
        Ok((held && says && c.awake()?.is_empty()).then_some(()))
    })
    .unwrap();
    sim.capacity("hpc7a.96xlarge", None).unwrap();
    ran(&c, job, 2);
    finish_expecting(c, &Expect { forced: vec![job], ..Expect::default() });
}
