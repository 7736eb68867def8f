//! Reports of nodes that find nobody at the end of a job: what arrives late, what is missing and said so, and that nothing is
//! kept waiting for it.

use crate::help::*;
use crate::record::{actual, priced, record};
use burst_e2e::checker::Expect;
use burst_e2e::proc::{signal, wait_until, with_environment};
use burst_e2e::show::{field, hosts};
use burst_e2e::{Cluster, ClusterSpec, User};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

const TWO: &str = "srun printenv SLURMD_NODENAME\ntouch up-$SLURM_JOB_ID\nuntil [ -e go-$SLURM_JOB_ID ]; do sleep 0.1; done";

/// A gang of two whose script has run its step and waits for [`go`]; its nodes, the batch script's first.
fn waiting(c: &Cluster, args: &[&str]) -> (u32, Vec<String>) {
    let job = submit(c, 2, args, TWO);
    let fields = c.wait_job(job, "RUNNING", S).unwrap();
    wait_until(S, || Ok(c.at.file(&format!("work/up-{job}")).exists().then_some(()))).unwrap();
    (job, hosts(field(&fields, "NodeList")))
}

fn go(c: &Cluster, job: u32) {
    std::fs::write(c.at.file(&format!("work/go-{job}")), "").unwrap();
}

fn spooled(c: &Cluster, node: &str, job: u32) -> bool {
    c.at.run_dir().join(format!("{node}/spool/{job}.0.json")).exists()
}

fn missing(r: &Value) -> Vec<&str> {
    let all = r["execution_context"]["configuration_used"]["nodes_without_report"].as_array().unwrap();
    all.iter().map(|n| n.as_str().unwrap()).collect()
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// When the last of the job's instances was told to end, ms.
fn told_to_end(c: &Cluster, r: &Value) -> u64 {
    let audit = std::fs::read_to_string(c.sim.as_ref().unwrap().audit()).unwrap();
    let lines: Vec<Value> = audit.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let rows = r["cost_analysis"]["instance_cost_breakdown"].as_array().unwrap();
    let end = |row: &Value| {
        let at = |event: &str| {
            let of = |v: &&Value| v["event"] == event && v["instance_id"] == row["instance_id"];
            lines.iter().find(of).and_then(|v| v["at_ms"].as_u64())
        };
        at("instance-shutting-down").or_else(|| at("instance-terminated")).unwrap()
    };
    rows.iter().map(end).max().unwrap()
}

/// The process of a node: its slurmd, or the agent that started it.
fn process(c: &Cluster, node: &str, slurmd: bool) -> u32 {
    let state = c.sim.as_ref().unwrap().state().unwrap();
    let own = std::fs::read(c.at.run_dir().join(node).join("node.json")).unwrap();
    let own: Value = serde_json::from_slice(&own).unwrap();
    let id = own["instance_id"].as_str().unwrap();
    assert!(state["instances"].as_array().unwrap().iter().any(|i| i["id"] == id), "{state}");
    let program = if slurmd { "slurmd" } else { "burst-node" };
    let is = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == program)
    };
    let all: Vec<u32> =
        with_environment(&format!("BURST_SIM_INSTANCE={id}")).into_iter().filter(is).collect();
    assert_eq!(all.len(), 1, "{program} of {node}: {all:?}");
    all[0]
}

fn relayed(name: &str) -> ClusterSpec {
    let mut spec = priced(name);
    spec.node_relay = true;
    spec
}

/// A SPANK plugin of the site's own, before ours or after it, whose epilog takes as long as a file says.
fn slow_epilog(c: &Cluster, before: bool) {
    let so = c.at.file("plugins/hold.so");
    let source = burst_e2e::spec::workspace().join("tests/e2e/fixtures/forge/hold.c");
    let mut cc = std::process::Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(&so).arg(source);
    if let Some(dir) = std::env::var_os("SLURM_INCLUDE_DIR") {
        cc.arg("-I").arg(dir);
    }
    assert!(cc.status().unwrap().success());
    let conf = c.at.file("etc/plugstack.conf");
    let lines = std::fs::read_to_string(&conf).unwrap();
    let begun = c.at.file("work/epilog").display().to_string();
    let over = c.at.file("work/epilog-go").display().to_string();
    let slow = format!("optional {} {begun} {over}\n", so.display());
    std::fs::write(&conf, if before { slow + &lines } else { lines + &slow }).unwrap();
}

#[test]
fn nobody_waits_for_reports_that_find_no_controller_and_the_record_names_their_nodes() {
    let spec = relayed("lost-refused");
    let mut c = Cluster::start(spec).unwrap();
    slow_epilog(&c, false);

    // Refused while the epilog runs; there again when the instances are told to shut down: both arrive.
    let (job, nodes) = waiting(&c, &[]);
    c.node_relay.as_mut().unwrap().close();
    go(&c, job);
    wait_until(S, || Ok(nodes.iter().all(|n| spooled(&c, n, job)).then_some(()))).unwrap();
    c.node_relay.as_mut().unwrap().open().unwrap();
    std::fs::write(c.at.file("work/epilog-go"), "").unwrap();
    c.wait_job(job, "COMPLETED", S).unwrap();
    let r = record(&c, &job.to_string());
    assert_eq!(missing(&r), Vec::<&str>::new(), "what was spooled arrived");
    assert!(r["aws_performance_metrics"]["memory_utilization"].is_number(), "{r}");

    // Refused for good.
    let (job, nodes) = waiting(&c, &[]);
    c.node_relay.as_mut().unwrap().close();
    go(&c, job);
    c.wait_job_where(job, "its epilogs are over", S, |f| Ok(field(f, "JobState") == "COMPLETED")).unwrap();
    let cleared = now_ms();
    let r = record(&c, &job.to_string());
    assert_eq!(missing(&r), nodes);
    assert_eq!(
        (&actual(&r)["success"], &r["aws_performance_metrics"]["memory_utilization"]),
        (&json!(true), &Value::Null)
    );
    let late = told_to_end(&c, &r).saturating_sub(cleared);
    println!("told to end {late} ms after COMPLETING had cleared, with a grace of 12 s");
    assert!(late < 9_000, "terminating waited {late} ms for reports");
    wait_until(S, || Ok(c.log().contains("no report of 2 nodes").then_some(()))).expect("the log says so");
    // burstctl asks by the same way.
    c.node_relay.as_mut().unwrap().open().unwrap();
    c.wait_quiet(S).unwrap();
    let url = format!("http://127.0.0.1:{}/metrics", c.at.controller_port());
    let metrics = ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
    for line in ["burst_records_total 2\n", "burst_records_incomplete_total 1\n", "burst_reports_total 2\n"] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
    finish(c);
}

#[test]
fn a_slurmd_killed_at_the_end_holds_nothing_up_beyond_the_limit_and_is_named() {
    let mut spec = priced("lost-slurmd");
    spec.pool_toml.push_str("epilog_limit = \"20s\"\n");
    let c = Cluster::start(spec).unwrap();

    // One that its agent starts again has its epilog all the same.
    let (job, nodes) = waiting(&c, &[]);
    signal(process(&c, &nodes[1], true), Signal::KILL);
    go(&c, job);
    let r = record(&c, &job.to_string());
    assert_eq!((actual(&r)["success"].as_bool(), missing(&r)), (Some(true), vec![]), "{r}");

    // One that stays away.
    let (job, nodes) = waiting(&c, &[]);
    signal(process(&c, &nodes[1], false), Signal::STOP);
    signal(process(&c, &nodes[1], true), Signal::KILL);
    go(&c, job);
    c.wait_job_where(job, "its end", S, |f| Ok(["COMPLETING", "COMPLETED"].contains(&field(f, "JobState"))))
        .unwrap();
    let ended = now_ms();
    let r = record(&c, &job.to_string());
    assert_eq!((actual(&r)["success"].as_bool(), missing(&r)), (Some(true), vec![nodes[1].as_str()]), "{r}");
    let late = told_to_end(&c, &r).saturating_sub(ended);
    println!("told to end {late} ms after the job's end, with an epilog_limit of 20 s");
    assert!(late < 40_000, "the gang was given back {late} ms after its job's end");
    // The checker's usual margin is as long as this test's epilog_limit, and counts every instance.
    finish_expecting(c, &Expect { after_end_ms: 40_000, ..Expect::default() });
}

#[test]
fn a_controller_that_is_away_during_the_epilog_gets_the_reports_when_it_is_back() {
    let spec = priced("lost-controller").slurm("SlurmctldTimeout=300");
    let mut c = Cluster::start(spec).unwrap();
    slow_epilog(&c, true);
    let (job, nodes) = waiting(&c, &[]);
    go(&c, job);
    wait_until(S, || Ok(c.at.file("work/epilog").exists().then_some(()))).unwrap();
    c.wait_job(job, "COMPLETING", S).unwrap();
    // What slurmctld has not saved, a kill loses: the job would run again, and that is another test.
    let saved = || std::fs::metadata(c.at.file("state/job_state")).and_then(|m| m.modified()).ok();
    let since = SystemTime::now();
    wait_until(S, || Ok((saved() > Some(since)).then_some(()))).unwrap();
    c.kill_slurmctld();
    std::fs::write(c.at.file("work/epilog-go"), "").unwrap();
    wait_until(S, || Ok(nodes.iter().all(|n| spooled(&c, n, job)).then_some(()))).unwrap();
    assert!(!c.at.file(&format!("learning/job-{job}-performance.json")).exists());
    c.start_slurmctld().unwrap();
    // Slurm tells its nodes of the end again when it has started, now or after a minute.
    let path = c.at.file(&format!("learning/job-{job}-performance.json"));
    wait_until(2 * S, || Ok(path.exists().then_some(()))).unwrap();
    let r = record(&c, &job.to_string());
    assert_eq!((actual(&r)["success"].as_bool(), missing(&r)), (Some(true), vec![]), "{r}");
    assert!(r["aws_performance_metrics"]["memory_utilization"].is_number(), "{r}");
    assert!(
        c.run(User::Ordinary, "burstctl", &["explain", &job.to_string()], "")
            .unwrap()
            .out
            .contains("COMPLETED")
    );
    finish_expecting(c, &Expect { after_end_ms: 90_000, ..Expect::default() });
}
