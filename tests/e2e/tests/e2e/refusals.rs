//! Bad input gets a clear error and loses nothing; what is not ours is left alone.

use crate::help::*;
use burst_e2e::show::field;
use burst_e2e::{Cluster, User};

/// Refused, with every word in the message.
fn refused(c: &Cluster, args: &[&str], words: &[&str]) {
    let out = c.sbatch_raw(User::Ordinary, args, "true").unwrap();
    let text = out.text();
    assert!(!out.ok(), "{args:?} was accepted: {text}");
    for word in words {
        assert!(text.to_lowercase().contains(&word.to_lowercase()), "{args:?}: {word:?} is not in: {text}");
    }
}

fn file(c: &Cluster, name: &str, text: &str) -> String {
    let path = c.at.file("work").join(name);
    std::fs::write(&path, text).unwrap();
    format!("--burst-plan={}", path.display())
}

#[test]
fn law5_hostile_input_is_refused_with_a_message() {
    let c = cluster("refusals");
    let base = ["-p", "efa", "-N", "2", "-t", "5"];
    let with = |more: &[&'static str]| -> Vec<&'static str> {
        base.iter().copied().chain(more.iter().copied()).collect()
    };
    refused(&c, &with(&["--burst-plan=/nowhere/plan.json"]), &["/nowhere/plan.json"]);
    for (name, text, words) in [
        ("empty", "", &["empty"][..]),
        ("broken", "{\"should_burst\": tru", &[":1:18", "not JSON"]),
        (
            "negative",
            "{\"should_burst\":true,\"cost_constraints\":{\"max_total_cost\":-5}}",
            &["max_total_cost"],
        ),
        ("list", "[]", &["object"]),
    ] {
        let plan = file(&c, name, text);
        let mut args = base.to_vec();
        args.push(&plan);
        refused(&c, &args, words);
    }
    let huge = file(&c, "huge", &format!("{{\"should_burst\":true,\"x\":\"{}\"}}", "a".repeat(10 << 20)));
    let mut args = base.to_vec();
    args.push(&huge);
    refused(&c, &args, &["65536"]);
    refused(&c, &["-p", "efa", "-N", "65", "-t", "5"], &["64"]);
    refused(&c, &["-p", "efa", "-N", "1", "-t", "UNLIMITED"], &["time limit"]);
    refused(&c, &["-p", "efa,cpu", "-N", "1", "-t", "5"], &["partition"]);
    refused(&c, &with(&["--burst-types=hpc7a.2xlarge"]), &["hpc7a.2xlarge"]);
    refused(&c, &with(&["--burst-market=mixed"]), &["market"]);
    // Forged: the environment without SPANK's own check.
    let out = c
        .run(
            User::Ordinary,
            "env",
            &[
                "_SLURM_SPANK_OPTION_burst_burst-plan=x",
                "SPANK_BURST_PLAN={",
                "sbatch",
                "-p",
                "efa",
                "-N",
                "999",
                "--wrap",
                "true",
            ],
            "",
        )
        .unwrap();
    assert!(!out.ok(), "{out:?}");
    assert!(c.run(User::Root, "squeue", &["-h"], "").unwrap().out.is_empty(), "nothing was queued");
    finish(c);
}

#[test]
fn law7_money_is_a_limit() {
    let spec = spec("money").pool("max_cost_per_job = 50.0");
    let c = Cluster::start(spec).unwrap();
    refused(&c, &["-p", "efa", "-N", "16", "-t", "600"], &["cost", "50"]);
    refused(&c, &["-p", "efa", "-N", "2", "-t", "5", "--burst", "--burst-max-cost=0.01"], &["0.01"]);
    let job = submit(&c, 2, &["--burst", "--burst-max-cost=20"], "srun printenv SLURMD_NODENAME");
    ran(&c, job, 2);
    finish(c);
}

#[test]
fn the_owner_cannot_free_or_retarget_and_others_are_left_alone() {
    let c = cluster("owner");
    let sim = c.sim.as_ref().unwrap();
    sim.capacity("hpc7a.96xlarge", Some(0)).unwrap();
    sim.capacity("hpc6a.48xlarge", Some(0)).unwrap();
    let job = submit(&c, 2, &[], "srun printenv SLURMD_NODENAME");
    c.wait_says(job, "no capacity", S).unwrap();
    let id = job.to_string();
    for change in ["Partition=cpu", "NumNodes=1", "TimeLimit=60", "NodeList=efa7-[0001-0002]"] {
        let out = c.run(User::Ordinary, "scontrol", &["update", &format!("JobId={id}"), change], "").unwrap();
        assert!(!out.ok(), "{change} was accepted");
    }
    let _ = c.run(User::Ordinary, "scontrol", &["release", &id], "").unwrap();
    let fields = c.job(job).unwrap();
    assert_eq!((field(&fields, "JobState"), field(&fields, "Priority")), ("PENDING", "0"), "{fields:#?}");
    let other = c.sbatch(User::Other, &["-p", "cpu", "-o", "/dev/null"], "true").unwrap();
    let done = c.wait_job(other, "COMPLETED", S).unwrap();
    assert_eq!((field(&done, "AdminComment"), field(&done, "NodeList")), ("", "local1"));
    sim.capacity("hpc7a.96xlarge", None).unwrap();
    ran(&c, job, 2);
    finish(c);
}
