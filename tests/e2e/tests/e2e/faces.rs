//! What users meet: options of all three commands, machines without SPANK, explain, and what scontrol shows.

use crate::help::*;
use burst_e2e::proc::wait_until;
use burst_e2e::show::field;
use burst_e2e::{Cluster, User};
use serde_json::json;
use std::collections::BTreeSet;

const SCRIPT: &str = "srun printenv SLURMD_NODENAME";

#[test]
fn salloc_srun_and_a_machine_without_spank() {
    let c = cluster("commands");
    let two = |out: &burst_e2e::Output| {
        let lines: BTreeSet<&str> = out.out.lines().filter(|l| l.starts_with("efa")).collect();
        assert!(out.ok() && lines.len() == 2, "{out:?}");
    };
    let args = usual("2", &["--burst", "srun", "--ntasks-per-node=1", "printenv", "SLURMD_NODENAME"]);
    let out = c.run(User::Ordinary, "salloc", &args, "").unwrap();
    two(&out);
    holds(&out.err, &["slurm-burst:", "2 x hpc7a.96xlarge"], &"salloc tells what is launched");
    let args = usual(
        "2",
        &["--burst", "--burst-types=hpc6a.48xlarge", "--ntasks-per-node=1", "printenv", "SLURMD_NODENAME"],
    );
    let out = c.run(User::Ordinary, "srun", &args, "").unwrap();
    two(&out);
    assert!(out.out.contains("efa6-"), "{out:?}");

    // Partition and annotations are enough.
    let conf = with_plugstack(&c, "/dev/null");
    let args = usual("2", &["--parsable", "--ntasks-per-node=1", "-o", "out-%j"]);
    let all: Vec<&str> = [conf.as_str(), "sbatch"].into_iter().chain(args).collect();
    let script = format!("#!/bin/sh\n#BURST instance_types=hpc6a.48xlarge\n{SCRIPT}\n");
    let out = c.run(User::Ordinary, "env", &all, &script).unwrap();
    let job: u32 = out.out.trim().parse().unwrap_or_else(|_| panic!("{out:?}"));
    ran(&c, job, 2);
    assert!(field(&c.job(job).unwrap(), "NodeList").starts_with("efa6-"));

    // An option given twice: the last one counts, and the user is told.
    let of = |name: &str| {
        plan(
            &c,
            name,
            &format!(
                "{{\"should_burst\":true,\"instance_specification\":{{\"instance_types\":[\"{name}\"]}}}}"
            ),
        )
    };
    let (first, last) = (of("hpc7a.96xlarge"), of("hpc6a.48xlarge"));
    let args = usual("1", &[&first, &last, "-o", "out-%j", "--ntasks-per-node=1"]);
    let out = c.sbatch_raw(User::Ordinary, &args, SCRIPT).unwrap();
    holds(
        &out.err,
        &["--burst-plan was given more than once", "the last one wins", "1 x hpc6a.48xlarge"],
        &"twice",
    );
    ran(&c, out.out.trim().parse().unwrap(), 1);
    finish(c);
}

#[test]
fn law6_explain_for_the_owner_on_a_login_node_and_nobody_else() {
    // The next try is far: no other sentence comes between.
    let c = Cluster::start(spec("login").pool("retry_min = \"10m\"\nretry_max = \"10m\"")).unwrap();
    let sim = c.sim.as_ref().unwrap();
    sim.capacity("hpc7a.96xlarge", Some(0)).unwrap();
    sim.capacity("hpc6a.48xlarge", Some(0)).unwrap();
    let job = submit(&c, 2, &[], "true");
    c.wait_says(job, "no capacity", S).unwrap();
    let id = job.to_string();
    let socket = format!("--munge-socket={}", c.at.munge_socket().display());
    let url = format!("--controller=http://127.0.0.1:{}", c.at.controller_port());
    let burstctl = c.program("burstctl").display().to_string();
    // A login node: no slurm.conf; burst.toml, or only the controller's address.
    let explain = |user: User, more: &[&str]| {
        let start = ["-u", "SLURM_CONF", "-u", "SLURM_BURST_CONF"];
        let args: Vec<&str> = start
            .into_iter()
            .chain([burstctl.as_str(), "explain", &id, &socket])
            .chain(more.iter().copied())
            .collect();
        c.run(user, "env", &args, "").unwrap()
    };
    let toml = format!("--config={}", c.at.burst_toml().display());
    for more in [&url, &toml] {
        let out = explain(User::Ordinary, &[more]);
        assert!(out.ok(), "{out:?}");
        holds(&out.out, &["no capacity", "InsufficientInstanceCapacity", "request id"], &more);
    }
    let value: serde_json::Value =
        serde_json::from_str(&explain(User::Ordinary, &[&url, "--json"]).out).unwrap();
    assert_eq!(value["gang"]["job"], json!(id), "{value}");
    let out = explain(User::Other, &[&url]);
    assert_eq!(out.code, Some(1), "{out:?}");
    holds(&out.text(), &["belongs to somebody else"], &"another user");
    assert!(!out.text().contains("InsufficientInstanceCapacity"), "{out:?}");
    c.scancel(User::Ordinary, job).unwrap();
    c.wait_job(job, "CANCELLED", S).unwrap();
    finish(c);
}

#[test]
fn scontrol_show_job_is_readable_at_every_state() {
    let spec = spec("readable").simulator(&json!({"knobs": {"pending_ms": 8000, "shutdown_ms": 1500}}));
    let c = Cluster::start(spec).unwrap();
    let sim = c.sim.as_ref().unwrap();
    sim.fault(&json!({"action": "CreateFleet", "kind": "delay", "ms": 3000})).unwrap();
    let job = submit(&c, 2, &["--hold"], &format!("{SCRIPT}; sleep 6"));
    let mut seen =
        vec![format!("PENDING: {}", c.wait_says(job, "held by its owner", S).unwrap()["AdminComment"])];
    holds(&seen[0], &["[burst ", "nothing is launched: held by its owner", "scontrol release"], &"held");
    assert!(c.run(User::Ordinary, "scontrol", &["release", &job.to_string()], "").unwrap().ok());
    wait_until(S, || {
        let fields = c.job(job)?;
        let (says, state) = (field(&fields, "AdminComment"), field(&fields, "JobState"));
        if !says.starts_with("[burst ") || says.len() > 720 || !says.is_ascii() {
            return Err(format!("{state}: {says:?}"));
        }
        let line = format!("{state}: {}", says.split_once("] ").map_or("", |s| s.1));
        if seen.last() != Some(&line) {
            seen.push(line);
        }
        Ok((state == "COMPLETED").then_some(()))
    })
    .unwrap();
    let told = seen.join("\n");
    for part in [
        "PENDING: launching 2 x hpc7a.96xlarge (on-demand) in us-east-2b, all or nothing",
        "PENDING: 2 x hpc7a.96xlarge (on-demand, us-east-2b) granted, nodes are booting",
        "RUNNING: running on 2 x hpc7a.96xlarge (on-demand, us-east-2b)",
    ] {
        assert!(told.contains(part), "{part:?} was never shown:\n{told}");
    }
    ran(&c, job, 2);
    finish(c);
}
