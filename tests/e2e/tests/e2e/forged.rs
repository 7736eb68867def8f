//! What a user can set without SPANK's own check, and what job_submit makes of it.

use crate::help::*;
use burst_e2e::proc::wait_until;
use burst_e2e::show::field;
use burst_e2e::{Cluster, User};

/// A SPANK plugin of the user's own, built as a user would: it sends whatever FORGED says.
fn forger(c: &Cluster) -> String {
    let so = c.at.file("work/forge.so");
    let source = burst_e2e::spec::workspace().join("tests/e2e/fixtures/forge/forge.c");
    let mut cc = std::process::Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(&so).arg(source);
    if let Some(dir) = std::env::var_os("SLURM_INCLUDE_DIR") {
        cc.arg("-I").arg(dir);
    }
    assert!(cc.status().unwrap().success());
    with_plugstack(c, &file(c, "plugstack.conf", &format!("required {}\n", so.display())))
}

/// `sbatch` with a forged job-control variable.
fn forged(c: &Cluster, conf: &str, entry: &str, partition: &str) -> burst_e2e::Output {
    let entry = format!("FORGED={entry}");
    let args =
        [conf, &entry, "sbatch", "--parsable", "-p", partition, "-N", "1", "-t", "5", "-o", "/dev/null"];
    c.run(User::Ordinary, "env", &args, "#!/bin/sh\ntrue\n").unwrap()
}

#[test]
fn law5_a_forged_environment_only_narrows() {
    let c = cluster("forged");
    let long = format!("BURST_PLAN={{\"should_burst\":true,\"x\":\"{}\"}}", "a".repeat(70_000));
    let many = format!("BURST_OPTS={{\"pool\":\"{}\"}}", "a".repeat(5_000));
    let conf = forger(&c);
    for (entry, words) in [
        (long.as_str(), &["65536", "plan_bytes"][..]),
        (many.as_str(), &["burst options", "4096"]),
        ("BURST_PLAN={", &["not JSON"]),
        (
            "BURST_PLAN={\"should_burst\":true,\"cost_constraints\":{\"max_total_cost\":-1}}",
            &["max_total_cost"],
        ),
        ("BURST_OPTS=x", &["burst options"]),
        ("BURST_OPTS={\"image\":\"ami-0evil\"}", &["burst options", "image"]),
        ("BURST_OPTS={\"max_cost\":\"-1\"}", &["max_cost"]),
        ("BURST_OPTS={\"market\":\"cheap\"}", &["market"]),
        ("BURST_OPTS={\"types\":[\"p5.48xlarge\"]}", &["p5.48xlarge", "pool efa has"]),
        ("BURST_OPTS={\"pool\":\"gpu\"}", &["no pool `gpu`"]),
    ] {
        let out = forged(&c, &conf, entry, "efa");
        assert!(!out.ok(), "{entry:.80} was accepted: {}", out.text());
        holds(&out.text(), words, &&entry[..entry.len().min(80)]);
    }
    assert!(c.run(User::Root, "squeue", &["-h"], "").unwrap().out.is_empty(), "nothing was queued");

    // In the job's own environment the names mean nothing: a local job stays local.
    let export =
        "--export=ALL,BURST_OPTS=x,BURST_PLAN=x,SPANK_BURST_PLAN=x,_SLURM_SPANK_OPTION_burst_burst_plan=x";
    let local = c.sbatch(User::Ordinary, &["-p", "cpu", "-o", "/dev/null", export], "true").unwrap();
    let done = c.wait_job(local, "COMPLETED", S).unwrap();
    assert_eq!((field(&done, "AdminComment"), field(&done, "NodeList")), ("", "local1"));

    // A plan that names image, network, role and template gets the site's, and is told so.
    let greedy = plan(
        &c,
        "greedy",
        r#"{"should_burst": true, "instance_specification": {"instance_types": ["p5.48xlarge", "hpc6a.48xlarge"],
            "subnet_ids": ["subnet-0aa10"], "launch_template_name": "mine", "security_group_ids": ["sg-mine"],
            "iam_instance_profile": "Admin", "user_data": "IyEvYmluL3No", "availability_zones": ["us-east-2a"]}}"#,
    );
    let out = c
        .sbatch_raw(
            User::Ordinary,
            &usual("2", &[&greedy, "--ntasks-per-node=1", "-o", "out-%j"]),
            "srun printenv SLURMD_NODENAME",
        )
        .unwrap();
    holds(
        &out.text(),
        &["subnet_ids", "launch_template_name", "user_data", "the site's configuration decides"],
        &"greedy",
    );
    let job: u32 = out.out.trim().parse().unwrap();
    ran(&c, job, 2);
    let state = c.sim.as_ref().unwrap().state().unwrap();
    let all = state["instances"].as_array().unwrap();
    assert_eq!(all.len(), 2, "{state}");
    for i in all {
        let text = i.to_string();
        holds(
            &text,
            &["ami-0burst00000000001", "subnet-0aa11", "us-east-2b", "hpc6a.48xlarge"],
            &"the instance",
        );
        for evil in ["subnet-0aa10", "sg-mine", "Admin", "p5.48xlarge", "IyEvYmluL3No"] {
            assert!(!text.contains(evil), "{evil}: {text}");
        }
    }
    finish(c);
}

#[test]
fn an_option_whose_content_was_lost_is_refused_not_ignored() {
    let c = cluster("lost-option");
    let conf = forger(&c);
    for partition in ["efa", "cpu"] {
        let out = forged(&c, &conf, "_SLURM_SPANK_OPTION_burst_burst_plan=/tmp/plan.json", partition);
        assert!(!out.ok(), "{partition}: {}", out.text());
        holds(&out.text(), &["slurm-burst:"], &partition);
    }
    finish(c);
}

#[test]
fn law4_the_queue_is_bounded_and_job_submit_never_waits() {
    let mut c = Cluster::start({
        let mut spec = spec("queue");
        spec.burst_toml = "[limits]\nqueue = 16\n".into();
        spec
    })
    .unwrap();
    wait_until(S, || Ok(c.log().contains("engine up").then_some(()))).unwrap();
    c.stop_slurmctld();
    // Another engine holds the state: ours waits, and takes nothing from its queue.
    let lock = std::fs::File::options().write(true).open(c.at.file("burst/lock")).unwrap();
    lock.try_lock().unwrap();
    c.start_slurmctld().unwrap();
    let mut jobs = Vec::new();
    let full = loop {
        assert!(jobs.len() <= 16, "the queue is longer than it may be");
        let at = std::time::Instant::now();
        let out = c.sbatch_raw(User::Ordinary, &usual("1", &["-o", "/dev/null"]), "true").unwrap();
        assert!(at.elapsed() < std::time::Duration::from_secs(10), "job_submit waited: {:?}", at.elapsed());
        match out.out.trim().parse::<u32>() {
            Ok(job) if out.ok() => jobs.push(job),
            _ => break out.text(),
        }
    };
    holds(&full, &["too many burst jobs", "nothing was lost", "again in a minute"], &"full");
    assert_eq!(jobs.len(), 16);
    c.wait_job(foreign(&c), "COMPLETED", S).unwrap();
    drop(lock);
    for job in jobs.split_off(2) {
        c.scancel(User::Ordinary, job).unwrap();
    }
    for job in jobs {
        c.wait_job(job, "COMPLETED", S).unwrap();
    }
    finish(c);
}
