//! Gangs of 1, 2, 16 and 64 nodes, from sbatch to nothing left.

use crate::help::*;
use burst_e2e::show::{field, hosts};
use std::collections::BTreeSet;

/// The job runs on the nodes of its own gang, each with an instance of that gang's.
fn on_its_gang(c: &burst_e2e::Cluster, job: u32) {
    let fields = c.wait_job(job, "RUNNING", S).unwrap();
    let nodes: BTreeSet<String> = hosts(field(&fields, "NodeList")).into_iter().collect();
    let view = c.explain(job).unwrap();
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    let named: BTreeSet<String> = view["nodes"].as_array().unwrap().iter().map(text).collect();
    assert_eq!(nodes, named, "{view}");
    let members = view["instances"].as_array().unwrap();
    let carried: BTreeSet<String> = members.iter().map(|m| text(&m["node"])).collect();
    assert_eq!(nodes, carried, "{view}");
    let ids: BTreeSet<String> = members.iter().map(|m| text(&m["id"])).collect();
    let living: BTreeSet<String> = c.sim.as_ref().unwrap().living_of(job).unwrap().into_iter().collect();
    assert_eq!(ids, living);
}

#[test]
fn sizes_1_2_16_64_run_on_exactly_their_gang() {
    // Sixty-four slurmds start, and launch a step, on two processors that others use as well.
    let mut spec = spec("sizes").pool("boot_limit = \"3m\"").slurm("MessageTimeout=30");
    spec.aws_toml = "tags = { team = \"hpc-{account}\", owner = \"{user}\" }\n".into();
    let c = burst_e2e::Cluster::start(spec).unwrap();
    let mut jobs = Vec::new();
    for size in [1_u32, 2, 16] {
        jobs.push((size, submit(&c, size, &[], "srun printenv SLURMD_NODENAME; sleep 15")));
    }
    for (_, job) in &jobs {
        on_its_gang(&c, *job);
    }
    for (size, job) in &jobs {
        ran(&c, *job, *size);
    }
    let big = submit(&c, 64, &[], "srun -N 64 printenv SLURMD_NODENAME");
    c.wait_job(big, "COMPLETED", 3 * S).unwrap();
    ran(&c, big, 64);
    // Epilogs of 64 nodes at once on two cores.
    let mut expect = burst_e2e::checker::Expect { after_end_ms: 60_000, ..Default::default() };
    expect.tags.extend(["team", "owner"].map(str::to_owned));
    finish_expecting(c, &expect);
}

/// One look at the whole geometry: nothing is launched, the answer says what would be.
#[test]
fn test_only_tells_what_the_geometry_needs_and_leaves_nothing() {
    let c = cluster("test-only");
    // While the engine begins, a job is to be submitted again, which sbatch does not do by itself with --test-only.
    let told = |args: &[&str]| {
        let all = [&["-p", "efa", "--test-only", "-o", "/dev/null"], args].concat();
        let up = || {
            let out = c.sbatch_raw(burst_e2e::User::Ordinary, &all, "true")?;
            Ok((!out.text().contains("has just started;")).then_some(out))
        };
        burst_e2e::proc::wait_until(S, up).unwrap()
    };
    // Without a time limit: accepted with a warning until the engine has seen the partition, which has no default.
    burst_e2e::proc::wait_until(S, || {
        let out = told(&["-n", "384"]);
        let known = !out.text().contains("time limit is not known yet");
        holds(&out.text(), &[if known { "needs a time limit" } else { "2 x hpc7a.96xlarge" }], &"-n 384");
        Ok(known.then_some(()))
    })
    .unwrap();
    for (args, words) in [
        (&["-n", "384", "-t", "1:00:00"][..], &["2 x hpc7a.96xlarge", "the most it can cost is USD"][..]),
        (&["-n", "10", "-c", "96", "-t", "5"], &["5 x hpc7a.96xlarge"]),
        (&["-n", "8", "--ntasks-per-node=2", "-t", "5"], &["4 x hpc7a.96xlarge"]),
        (&["-n", "4", "--mem-per-cpu=300G", "-t", "5"], &["2 x hpc7a.96xlarge"]),
        (&["-N", "3", "--mem=500G", "-t", "5"], &["3 x hpc7a.96xlarge"]),
        (&["-N", "2", "--exclusive", "--burst-types=hpc6a.48xlarge", "-t", "5"], &["2 x hpc6a.48xlarge"]),
    ] {
        holds(&told(args).text(), words, &args);
    }
    let out = told(&["-N", "1", "--gres=gpu:1", "-t", "5"]);
    assert!(!out.ok(), "a type without GPUs: {out:?}");
    assert!(c.run(burst_e2e::User::Root, "squeue", &["-h"], "").unwrap().out.is_empty());
    assert!(asked(&c, "CreateFleet").is_empty());
    finish(c);
}

#[test]
fn array_tasks_are_gangs_of_their_own_within_the_array_s_limit() {
    let c = cluster("array");
    let args = ["-p", "efa", "-N", "2", "-t", "5", "--ntasks-per-node=1", "-o", "array-%a", "--array=0-3%2"];
    let job = c.sbatch(burst_e2e::User::Ordinary, &args, "srun printenv SLURMD_NODENAME; sleep 1").unwrap();
    burst_e2e::proc::wait_until(S, || {
        let all = c.job_records(job)?;
        let running = all.iter().filter(|f| f["JobState"] == "RUNNING").count();
        assert!(running <= 2, "{running} tasks run at once");
        Ok((all.len() == 4 && all.iter().all(|f| f["JobState"] == "COMPLETED")).then_some(()))
    })
    .unwrap();
    for task in 0..4 {
        let out = std::fs::read_to_string(c.at.file(&format!("work/array-{task}"))).unwrap();
        assert_eq!(out.lines().count(), 2, "task {task}: {out}");
    }
    finish(c);
}
