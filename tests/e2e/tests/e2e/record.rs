//! What is written down of a job's life when it is over: the record, the ledger, the limits; and what is refused.

use crate::help::*;
use crate::known::seconds;
use burst_e2e::proc::wait_until;
use burst_e2e::show::field;
use burst_e2e::{Cluster, ClusterSpec, User};
use serde_json::{Value, json};

#[path = "../../../../src/policy/record/schema.rs"]
mod schema;

/// A pool whose volumes have a size, so that every part of the cost is known. Instances get a moment to shut down, as in
/// EC2: a report that found the controller busy arrives then, and the record waits so long for it.
pub fn priced(name: &str) -> ClusterSpec {
    spec(name)
        .simulator(&json!({"knobs": {"shutdown_ms": 8_000}}))
        .pool("root_gib = 100\nreport_grace = \"12s\"")
}

/// The record of a life, once it is there; it keeps to the schema.
pub fn record(c: &Cluster, id: &str) -> Value {
    let path = c.at.file(&format!("learning/job-{id}-performance.json"));
    let text = wait_until(S, || Ok(std::fs::read_to_string(&path).ok()))
        .unwrap_or_else(|e| panic!("{}: {e}\n{}", path.display(), c.log()));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let record: Value = serde_json::from_str(&text).unwrap();
    let root = burst_e2e::spec::workspace();
    let rules = std::fs::read_to_string(root.join("docs/schema/performance.schema.json")).unwrap();
    let wrong = schema::check(&serde_json::from_str(&rules).unwrap(), &record);
    assert!(wrong.is_empty(), "{wrong:#?}");
    record
}

/// When the simulator's instance was launched and when it was told to end, ms.
fn ran_from_to(c: &Cluster, id: &str) -> (u64, u64) {
    let audit = std::fs::read_to_string(c.sim.as_ref().unwrap().audit()).unwrap();
    let lines: Vec<Value> = audit.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let at = |event: &str| {
        lines.iter().find(|v| v["event"] == event && v["instance_id"] == id).and_then(|v| v["at_ms"].as_u64())
    };
    let end = at("instance-shutting-down").or_else(|| at("instance-terminated"));
    (at("instance-pending").unwrap(), end.unwrap())
}

/// What its instances cost by the simulator's own log: 7.20 USD an hour, a minute at least, and 100 GiB.
pub fn bill(c: &Cluster, record: &Value) -> f64 {
    let rows = record["cost_analysis"]["instance_cost_breakdown"].as_array().unwrap();
    let cost = |row: &Value| {
        let (from, to) = ran_from_to(c, row["instance_id"].as_str().unwrap());
        #[allow(clippy::cast_precision_loss)]
        let seconds = ((to - from) as f64 / 1e3).max(60.0);
        seconds * (7.2 / 3_600.0 + 0.08 * 100.0 / 730.0 / 3_600.0)
    };
    rows.iter().map(cost).sum()
}

/// Every node that the job ran on has reported, and what it measured is in the record.
fn measured(record: &Value) {
    let used = &record["execution_context"]["configuration_used"];
    assert_eq!(used["nodes_without_report"], json!([]), "{record}");
    assert!(record["aws_performance_metrics"]["memory_utilization"].is_number(), "{record}");
}

pub fn actual(record: &Value) -> &Value {
    &record["job_metadata"]["actual_execution"]
}

#[test]
fn a_job_that_succeeds_is_recorded_with_its_cost_and_what_was_foretold() {
    let c = Cluster::start(priced("record")).unwrap();
    let plan = plan(
        &c,
        "plan",
        r#"{"should_burst": true, "asba_version": "9.9", "instance_specification":
            {"instance_types": ["hpc7a.96xlarge"], "instance_count": 2},
            "performance_target": {"expected_runtime": 4000000000}}"#,
    );
    let job = submit(&c, 2, &[&plan, "-J", "wave"], "srun printenv SLURMD_NODENAME; sleep 4");
    ran(&c, job, 2);
    c.wait_quiet(S).unwrap();
    let r = record(&c, &job.to_string());
    let a = actual(&r);
    assert_eq!(
        (&a["success"], &a["node_count"], &a["error_details"]),
        (&json!(true), &json!(2), &json!(null))
    );
    assert_eq!(a["instance_types_used"], json!(["hpc7a.96xlarge"]));
    assert_eq!(
        (&r["job_metadata"]["job_name"], &r["job_metadata"]["job_id"]),
        (&json!("wave"), &json!(job.to_string()))
    );
    let foretold = &r["job_metadata"]["original_asba_prediction"];
    assert_eq!(foretold["performance_target"]["expected_runtime"], json!(4_000_000_000_u64));
    // By the formula of docs/RECORD.md, from what Slurm says.
    let ran_s = seconds(&c.job(job).unwrap());
    let accuracy = r["prediction_validation"]["runtime_accuracy"].as_f64().unwrap();
    let formula = (1.0 - (ran_s - 4.0) / 4.0).max(0.0);
    assert!(ran_s >= 4.0 && (accuracy - formula).abs() < 1e-9, "{accuracy} for {ran_s} s");
    let cost = a["actual_cost_usd"].as_f64().unwrap();
    let bill = bill(&c, &r);
    // Two seconds of two nodes: the call's own time, and whole seconds.
    assert!(
        (cost - bill).abs() <= 2.0 * 2.0 * 7.3 / 3_600.0,
        "{cost} recorded, {bill} by the simulator's log"
    );
    assert!(bill >= 2.0 * 0.12, "a minute at least: {bill}");
    let rows = r["cost_analysis"]["instance_cost_breakdown"].as_array().unwrap();
    let ended: std::collections::BTreeSet<&str> =
        rows.iter().map(|r| r["instance_id"].as_str().unwrap()).collect();
    let all = c.sim.as_ref().unwrap().state().unwrap();
    let launched = all["instances"].as_array().unwrap();
    assert_eq!(ended.len(), launched.len(), "every instance that EC2 ran is in the record: {all}");
    let comment = std::fs::read_to_string(c.at.file(&format!("learning/job-{job}-comment.txt"))).unwrap();
    holds(&comment, &["aws_meta:{", "\"instances\":2", "\"success\":true"], &"the comment");
    assert!(c.at.file(&format!("learning/job-{job}-asbb-reconciliation.json")).exists());
    // And people are shown it.
    let told = c.run(User::Ordinary, "burstctl", &["explain", &job.to_string()], "").unwrap();
    holds(&told.text(), &["Ended", "COMPLETED", "Cost", "USD", "Phases", "running"], &"explain");
    finish(c);
}

#[test]
fn a_job_that_fails_and_one_that_is_cancelled_say_so() {
    let c = Cluster::start(priced("record-bad")).unwrap();
    let failing = submit(&c, 1, &[], "exit 3");
    c.wait_job(failing, "FAILED", S).unwrap();
    let long = submit(&c, 1, &[], "touch began; sleep 300");
    // RUNNING is said before the node has begun anything that could be measured.
    wait_until(S, || Ok(c.at.file("work/began").exists().then_some(()))).unwrap();
    c.wait_job(long, "RUNNING", S).unwrap();
    c.scancel(User::Ordinary, long).unwrap();
    c.wait_quiet(S).unwrap();
    let r = record(&c, &failing.to_string());
    assert_eq!(actual(&r)["error_details"], json!("FAILED, exit code 3"));
    assert_eq!(actual(&r)["success"], json!(false));
    measured(&r);
    let r = record(&c, &long.to_string());
    let text = actual(&r)["error_details"].as_str().unwrap();
    assert!(text.starts_with("CANCELLED"), "{text}");
    measured(&r);
    assert!(actual(&r)["actual_cost_usd"].as_f64().unwrap() >= 0.12, "a minute of one node at least");
    assert!(actual(&r)["start_time"].is_string() && actual(&r)["end_time"].is_string(), "{r}");
    finish(c);
}

#[test]
fn each_life_of_a_requeued_job_has_its_own_record() {
    let spec = priced("record-again").slurm("AuthInfo=socket={dir}/munge/socket,cred_expire=5");
    let c = Cluster::start(spec).unwrap();
    let script = "srun true; touch stepped\n\
                  [ \"${SLURM_RESTART_COUNT:-0}\" = 0 ] && sleep 300\nsrun printenv SLURMD_NODENAME";
    let job = submit(&c, 2, &["--requeue", "--open-mode=truncate"], script);
    c.wait_job(job, "RUNNING", S).unwrap();
    // A start that was over before anybody looked is told as a launch in vain.
    c.wait_phase(job, "Running", S).unwrap();
    wait_until(S, || Ok(c.at.file("work/stepped").exists().then_some(()))).unwrap();
    let out = c.run(User::Ordinary, "scontrol", &["requeue", &job.to_string()], "").unwrap();
    assert!(out.ok(), "{out:?}");
    c.wait_job_where(job, "restarted", S, |f| {
        Ok(field(f, "Restarts") == "1" && field(f, "JobState") == "COMPLETED")
    })
    .unwrap();
    c.wait_quiet(S).unwrap();
    let first = record(&c, &format!("{job}-restart0"));
    let last = record(&c, &job.to_string());
    assert!(actual(&first)["error_details"].as_str().unwrap().starts_with("REQUEUED"), "{first}");
    assert_eq!((&actual(&first)["success"], &actual(&last)["success"]), (&json!(false), &json!(true)));
    measured(&first);
    measured(&last);
    let ids = |r: &Value| -> Vec<String> {
        let rows = r["cost_analysis"]["instance_cost_breakdown"].as_array().unwrap();
        rows.iter().map(|r| r["instance_id"].as_str().unwrap().to_owned()).collect()
    };
    let (a, b) = (ids(&first), ids(&last));
    assert_eq!((a.len(), b.len()), (2, 2));
    assert!(a.iter().all(|i| !b.contains(i)), "no instance is billed twice: {a:?} {b:?}");
    finish(c);
}

#[test]
fn each_task_of_an_array_has_its_own_record() {
    let c = Cluster::start(priced("record-array")).unwrap();
    let job = c
        .sbatch(
            User::Ordinary,
            &usual("1", &["--array=0-4", "-o", "/dev/null"]),
            "sleep $SLURM_ARRAY_TASK_ID",
        )
        .unwrap();
    let records: Vec<Value> = (0..5).map(|task| record(&c, &format!("{job}_{task}"))).collect();
    for (task, r) in records.iter().enumerate() {
        assert_eq!(r["job_metadata"]["job_id"], json!(format!("{job}_{task}")));
        assert_eq!((&actual(r)["success"], &actual(r)["node_count"]), (&json!(true), &json!(1)), "{r}");
        measured(r);
    }
    c.wait_quiet(S).unwrap();
    finish(c);
}

#[test]
fn reports_are_taken_from_their_nodes_only_and_what_is_forged_is_counted() {
    let c = Cluster::start(priced("record-forged")).unwrap();
    let job = submit(&c, 2, &[], "sleep 25");
    c.wait_job(job, "RUNNING", S).unwrap();
    let view = c.explain(job).unwrap();
    let node = |n: usize| {
        let i = &view["instances"][n];
        (i["id"].as_str().unwrap().to_owned(), i["node"].as_str().unwrap().to_owned())
    };
    let ((id, name), (id2, name2)) = (node(0), node(1));
    let make = |user: User, payload: &Value| {
        let socket = format!("--socket={}", c.at.munge_socket().display());
        c.run(user, "munge", &[&socket], &payload.to_string()).unwrap().out.trim().to_owned()
    };
    let post = |body: &str| -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("http://127.0.0.1:{}/v1/report", c.at.controller_port());
        // A listener that refuses a body may close before all of it is sent.
        let Ok(mut answer) = agent.post(&url).header("Content-Type", "text/plain").send(body) else {
            return (0, Value::Null);
        };
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
    };
    let of = |id: &str, node: &str, job: u32, restart: u32| {
        let step = json!({"step": "batch", "cpu_user_us": 1_000_000, "cpu_system_us": 0, "peak_memory_bytes": 1 << 20});
        let report = json!({"job": job, "restart": restart, "node": node, "cpus": 2, "memory_bytes": 1 << 30, "steps": [step]});
        json!({"v": 1, "kind": "job", "instance_id": id, "node": node, "report": report})
    };
    let code = |answer: &(u16, Value)| (answer.0, answer.1["code"].as_str().unwrap_or("").to_owned());
    let user = post(&make(User::Ordinary, &of(&id, &name, job, 0)));
    assert_eq!(code(&user), (403, "identity".into()));
    for (payload, status, word) in [
        (of(&id, &name, job + 1_000, 0), 404, "unknown"),
        (of(&id, &name, job, 1), 404, "unknown"),
        (of(&id2, &name, job, 0), 403, "instance"),
        (of("i-0stranger", "efa7-0060", job, 0), 403, "instance"),
        (json!({"v": 1, "kind": "job", "instance_id": id}), 400, "payload"),
    ] {
        let answer = post(&make(User::Root, &payload));
        assert_eq!(code(&answer), (status, word.into()), "{payload}: {answer:?}");
    }
    let mut long = of(&id, &name, job, 0);
    long["report"]["steps"] = json!(vec![json!({"step": "0"}); 65]);
    assert_eq!(code(&post(&make(User::Root, &long))), (413, "bounds".into()));
    let (status, _) = post(&"x".repeat(10 << 20));
    assert!([0, 413].contains(&status), "10 MiB are not read: {status}");
    // The right one, its replay, and the same word said again.
    let good = make(User::Root, &of(&id, &name, job, 0));
    assert_eq!(post(&good).1, json!({"ok": true, "known": false}));
    assert_eq!(code(&post(&good)), (401, "credential".into()), "munge takes a credential once");
    assert_eq!(post(&make(User::Root, &of(&id, &name, job, 0))).1, json!({"ok": true, "known": true}));
    assert_eq!(post(&make(User::Root, &of(&id2, &name2, job, 0))).1["ok"], json!(true));
    let url = format!("http://127.0.0.1:{}/metrics", c.at.controller_port());
    let metrics = ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
    for line in [
        "burst_reports_total 2",
        "burst_reports_refused_total{why=\"identity\"} 1",
        "burst_reports_refused_total{why=\"unknown\"} 2",
        "burst_reports_refused_total{why=\"instance\"} 2",
        "burst_reports_refused_total{why=\"bounds\"} 1",
        "burst_reports_refused_total{why=\"credential\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
    assert!(metrics.contains("burst_reports_refused_total{why=\"size\"} 1"), "{metrics}");
    c.wait_job(job, "COMPLETED", S).unwrap();
    c.wait_quiet(S).unwrap();
    let r = record(&c, &job.to_string());
    assert_eq!(r["execution_context"]["configuration_used"]["nodes_without_report"], json!([]));
    // Two nodes of two CPUs, one CPU second each, in some 25 s.
    let used = r["aws_performance_metrics"]["cpu_utilization"].as_f64().unwrap();
    assert!((2.0 / 4.0 / 40.0..=2.0 / 4.0 / 24.0).contains(&used), "{used}");
    assert_eq!(r["aws_performance_metrics"]["memory_utilization"], json!(1.0 / 1_024.0));
    finish(c);
}

#[test]
fn law7_a_limit_on_spending_holds_jobs_and_says_the_figures() {
    let mut spec = priced("record-limit");
    // One job of two nodes is 14.42 an hour in flight, its volumes with it, and at most some 14 USD: 2 × (5 min + limits) × 2 × 7.2.
    let dir = tempfile::tempdir().unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let (alerts, heard) = (dir.path().join("alerts.json"), dir.path().join("heard"));
    let file = alerts.display();
    spec.burst_toml = format!("[limits]\nalert_file = \"{file}\"\n[limits.user.\"*\"]\nusd_per_hour = 15\n");
    let c = Cluster::start(spec).unwrap();
    // A program of the site's, told by one that is no part of slurmctld.
    let program = dir.path().join("tell");
    std::fs::write(&program, format!("#!/bin/sh\ncat >> {}\n", heard.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut follower = c.command(&c.program("burstctl"), User::Root);
    follower.args(["alerts", "--exec"]).arg(&program);
    let log = c.at.file("log/alerts.log");
    let mut follower = burst_e2e::proc::Proc::spawn("burstctl alerts", &log, &mut follower).unwrap();
    // It tells what comes after its first look.
    wait_until(S, || Ok(dir.path().join("alerts.json.told").exists().then_some(()))).unwrap();
    let first = submit(&c, 2, &[], "srun printenv SLURMD_NODENAME; sleep 8");
    c.wait_job(first, "RUNNING", S).unwrap();
    let second = submit(&c, 2, &[], "srun printenv SLURMD_NODENAME");
    let says = c.wait_says(second, "USD an hour in flight", S).unwrap();
    holds(field(&says, "AdminComment"), &["15.00", "14.42", "nothing is launched"], &"the comment");
    assert_eq!(asked(&c, "CreateFleet").len(), 1, "nothing was launched for it");
    ran(&c, first, 2);
    ran(&c, second, 2);
    assert!(c.log().contains("the limit comes near"), "an alert was given");
    let told =
        wait_until(S, || Ok(std::fs::read_to_string(&heard).ok().filter(|t| t.ends_with('\n')))).unwrap();
    follower.kill();
    let alert: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    assert_eq!((&alert["what"], &alert["window"]), (&json!("spending"), &json!("hour")), "{alert}");
    assert!(alert["usd"].as_str().unwrap().starts_with("14.42"), "{alert}");
    let shown = c.run(User::Root, "burstctl", &["alerts"], "").unwrap();
    holds(&shown.out, &["of 15.00 USD an hour in flight", "the limit comes near"], &"burstctl alerts");
    finish(c);
}

#[test]
fn law7_a_limit_is_one_user_s_and_one_account_s_however_they_are_written() {
    let mut spec = priced("record-names");
    spec.burst_toml =
        "[limits.user.nobody]\nusd_per_hour = 15\n[limits.account.physics]\nusd_per_hour = 10\n".into();
    let c = Cluster::start(spec).unwrap();
    // slurmctld names an owner once a job of his has started, and writes accounts in small letters.
    let first = submit(&c, 2, &[], "srun printenv SLURMD_NODENAME; sleep 8");
    c.wait_job(first, "RUNNING", S).unwrap();
    let second = submit(&c, 2, &[], "srun printenv SLURMD_NODENAME");
    let says = c.wait_says(second, "USD an hour in flight", S).unwrap();
    holds(field(&says, "AdminComment"), &["nobody", "15.00", "nothing is launched"], &"the user's limit");
    let third = c.sbatch(User::Other, &usual("2", &["-A", "PHYSICS", "-o", "/dev/null"]), "true").unwrap();
    let says = c.wait_says(third, "USD an hour in flight", S).unwrap();
    holds(field(&says, "AdminComment"), &["physics", "10.00", "nothing is launched"], &"the account's limit");
    c.scancel(User::Other, third).unwrap();
    ran(&c, first, 2);
    ran(&c, second, 2);
    assert_eq!(asked(&c, "CreateFleet").len(), 2, "one after the other");
    finish(c);
}
