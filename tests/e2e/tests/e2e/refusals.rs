//! Bad input gets a clear error and loses nothing; what is not ours is left alone.

use crate::help::*;
use burst_e2e::show::field;
use burst_e2e::{Cluster, User};

#[test]
fn law5_hostile_input_is_refused_with_a_message() {
    let c = cluster("refusals");
    refused(&c, &usual("2", &["--burst-plan=/nowhere/plan.json"]), &["/nowhere/plan.json", "no such file"]);
    let huge = format!("{{\"should_burst\":true,\"x\":\"{}\"}}", "a".repeat(10 << 20));
    for (name, text, words) in [
        ("empty", "", &["empty"][..]),
        ("broken", "{\"should_burst\": tru", &[":1:18", "not JSON"]),
        ("words", "please launch 2 nodes", &["JSON object"]),
        ("list", "[]", &["object"]),
        ("wrong", "{\n \"should_burst\": \"yes\"}", &[":2:", "should_burst", "true"]),
        (
            "count",
            "{\"should_burst\":true,\"instance_specification\":{\"instance_count\":1.5}}",
            &["instance_count"],
        ),
        (
            "negative",
            "{\"should_burst\":true,\"cost_constraints\":{\"max_total_cost\":-5}}",
            &["max_total_cost"],
        ),
        (
            "nan",
            "{\"should_burst\":true,\"cost_constraints\":{\"max_total_cost\":NaN}}",
            &["not JSON", ":1:"],
        ),
        (
            "nan-text",
            "{\"should_burst\":true,\"cost_constraints\":{\"max_total_cost\":\"NaN\"}}",
            &["max_total_cost"],
        ),
        (
            "infinite",
            "{\"should_burst\":true,\"cost_constraints\":{\"max_total_cost\":1e999}}",
            &["max_total_cost"],
        ),
        ("twice", "{\"should_burst\":true,\"should_burst\":false}", &["should_burst", "twice"]),
        ("huge", &huge, &["too large", "65536"]),
    ] {
        let plan = plan(&c, name, text);
        refused(&c, &usual("2", &[&plan]), words);
    }
    let directory = format!("--burst-plan={}", c.at.file("work").display());
    refused(&c, &usual("2", &[&directory]), &["a directory"]);
    let secret = plan(&c, "secret", "{\"should_burst\":true}");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(c.at.file("work/secret"), mode).unwrap();
    refused(&c, &usual("2", &[&secret]), &["permission"]);

    let long = format!("--job-name={}", "a".repeat(2_000));
    refused(&c, &usual("2", &[&long]), &["--job-name", "1024"]);
    refused(&c, &usual("65", &[]), &["64"]);
    refused(&c, &usual("0", &[]), &["0"]);
    refused(&c, &["-p", "efa", "-N", "1", "-t", "UNLIMITED"], &["time limit", "--time"]);
    refused(&c, &["-p", "efa,cpu", "-N", "1", "-t", "5"], &["partition lists", "efa,cpu"]);
    for (option, words) in [
        ("--burst-types=hpc7a.2xlarge", &["hpc7a.2xlarge does not exist", "hpc7a.96xlarge"][..]),
        ("--burst-types=;rm", &["instance type"]),
        ("--burst-market=cheap", &["market", "on-demand, spot or mixed"]),
        ("--burst-market=spot", &["market"]),
        ("--burst-efa=yes", &["required, preferred or off"]),
        ("--burst-max-cost=-5", &["burst-max-cost"]),
        ("--burst-max-cost=NaN", &["burst-max-cost"]),
        ("--burst-wait=soon", &["burst-wait"]),
        ("--burst-else=perhaps", &["wait, local or cancel"]),
        ("--burst=gpu", &["no pool `gpu`", "efa"]),
        ("--nodelist=efa7-0001", &["--nodelist"]),
    ] {
        refused(&c, &usual("2", &[option]), words);
    }
    refused(&c, &["-p", "cpu", "-N", "1", "-t", "5", "--burst=efa", "--nodelist=local1"], &["--nodelist"]);
    let stay = plan(&c, "stay", "{\"should_burst\":false}");
    refused(&c, &usual("2", &[&stay]), &["should_burst=false", "partition cpu"]);
    assert!(c.run(User::Root, "squeue", &["-h"], "").unwrap().out.is_empty(), "nothing was queued");

    // Where it was sent is a local partition: it runs there untouched.
    let local = c.sbatch(User::Ordinary, &["-p", "cpu", "-o", "/dev/null", &stay], "true").unwrap();
    let done = c.wait_job(local, "COMPLETED", S).unwrap();
    assert_eq!((field(&done, "AdminComment"), field(&done, "NodeList")), ("", "local1"));
    assert!(asked(&c, "CreateFleet").is_empty(), "nothing was launched");
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
