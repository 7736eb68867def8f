//! What people are told of jobs that are over: history, explain, export, report.

use crate::help::*;
use crate::record::{priced, record};
use burst_e2e::proc::Output;
use burst_e2e::{Cluster, User};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// `burstctl`, which has to succeed.
fn ctl(c: &Cluster, user: User, args: &[&str]) -> Output {
    let out = c.run(user, "burstctl", args, "").unwrap();
    assert!(out.ok(), "{args:?}: {out:?}");
    out
}

/// Jobs that `burstctl history` shows.
fn shown(c: &Cluster, user: User, more: &[&str]) -> BTreeSet<String> {
    let args: Vec<&str> = ["history", "--json"].into_iter().chain(more.iter().copied()).collect();
    let told: Value = serde_json::from_str(&ctl(c, user, &args).out).unwrap();
    let lives = told["lives"].as_array().unwrap();
    lives.iter().map(|l| l["text"].as_str().unwrap().to_owned()).collect()
}

fn read(c: &Cluster, name: &str) -> String {
    let path = c.at.file(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// With `$BURST_REPORT_TO`, a directory: the report's page stays there, to be looked at in a browser.
pub fn keep_page(c: &Cluster) {
    if let Some(to) = std::env::var_os("BURST_REPORT_TO") {
        let page = std::path::Path::new(&to).join(format!("{}.html", c.spec.name));
        ctl(c, User::Root, &["report", "--html", &page.display().to_string()]);
    }
}

#[test]
fn history_explain_export_and_report_tell_of_jobs_that_are_over() {
    let c = Cluster::start(priced("past")).unwrap();
    let foretold = plan(
        &c,
        "plan",
        r#"{"should_burst": true, "instance_specification": {"instance_types": ["hpc7a.96xlarge"], "instance_count": 2},
            "performance_target": {"expected_runtime": 6000000000}}"#,
    );
    let wave =
        submit(&c, 2, &[&foretold, "-J", "wave", "-A", "physics"], "srun printenv SLURMD_NODENAME; sleep 3");
    let stopped = submit(&c, 1, &["-J", "tide", "-A", "physics"], "sleep 300");
    let other = ["-p", "efa", "-N1", "-t", "5", "-o", "/dev/null", "-J", "=sum(1)", "-A", "chem"];
    let failing = c.sbatch(User::Other, &other, "exit 3").unwrap();
    let mut many = other.to_vec();
    many.push("--array=0-4");
    let array = c.sbatch(User::Other, &many, "sleep $SLURM_ARRAY_TASK_ID").unwrap();
    c.wait_job(stopped, "RUNNING", S).unwrap();
    c.scancel(User::Ordinary, stopped).unwrap();
    ran(&c, wave, 2);
    c.wait_quiet(S).unwrap();
    let tasks: Vec<String> = (0..5).map(|t| format!("{array}_{t}")).collect();
    let ours: BTreeSet<String> = [wave.to_string(), stopped.to_string()].into();
    let theirs: BTreeSet<String> = tasks.iter().cloned().chain([failing.to_string()]).collect();
    for id in ours.iter().chain(&theirs) {
        record(&c, id);
    }

    // history: everybody's own, and what an operator asks for.
    let all: BTreeSet<String> = ours.union(&theirs).cloned().collect();
    for (user, more, expected) in [
        (User::Root, &[][..], &all),
        (User::Root, &["--user", "daemon"], &theirs),
        (User::Root, &["--account", "physics", "--pool", "efa", "--since", "1h"], &ours),
        (User::Root, &["--since", "2099-01-01"], &BTreeSet::new()),
        (User::Root, &["--until", "1h"], &BTreeSet::new()),
        (User::Ordinary, &[], &ours),
        (User::Ordinary, &["--user", "daemon"], &BTreeSet::new()),
        (User::Other, &[], &theirs),
    ] {
        assert_eq!(&shown(&c, user, more), expected, "{user:?} {more:?}");
    }
    let table = ctl(&c, User::Root, &["history"]).out;
    holds(
        &table,
        &["nobody", "physics", "COMPLETED", "CANCELLED", "FAILED", "hpc7a.96xlarge", "8 in all"],
        &"history",
    );
    let wrong = c.run(User::Root, "burstctl", &["history", "--since", "soon"], "").unwrap();
    assert_eq!(wrong.code, Some(2), "{wrong:?}");

    // explain, by number and by task.
    let told = ctl(&c, User::Other, &["explain", &failing.to_string()]).out;
    holds(&told, &["Ended", "FAILED", "exit code 3", "Phases", "Cost", "USD"], &"explain");
    holds(&ctl(&c, User::Other, &["explain", &tasks[2]]).out, &["Ended", "COMPLETED"], &"explain of a task");
    let closed = c.run(User::Ordinary, "burstctl", &["explain", &failing.to_string()], "").unwrap();
    assert_eq!(closed.code, Some(1), "somebody else's: {closed:?}");

    // export: the same as the engine wrote.
    let dir = c.at.file("out");
    let out = dir.display().to_string();
    let id = wave.to_string();
    for format in ["asba", "comment", "asbb"] {
        ctl(&c, User::Root, &["export", &id, "--format", format, "-o", &out]);
    }
    let name = |end: &str| format!("job-{id}-{end}");
    let json = |at: &str, end: &str| -> Value {
        serde_json::from_str(&read(&c, &format!("{at}/{}", name(end)))).unwrap()
    };
    // The engine knows an owner by uid where Slurm's job records have no name; who asks is told names.
    let named = |mut v: Value| {
        for at in ["/job_metadata/user_id", "/user_id"] {
            if let Some(user) = v.pointer_mut(at).filter(|u| **u == json!("65534")) {
                *user = json!("nobody");
            }
        }
        v.as_object_mut().unwrap().remove("export_time");
        v
    };
    for end in ["performance.json", "asbb-reconciliation.json"] {
        assert_eq!(named(json("out", end)), named(json("learning", end)), "{end}");
    }
    let line = |at: &str| read(&c, &format!("{at}/{}", name("comment.txt")));
    assert_eq!(line("out"), line("learning"));
    let csv = ctl(&c, User::Root, &["export", "--since", "1h", "--format", "csv"]).out;
    assert_eq!(csv.lines().count(), 1 + all.len(), "{csv}");
    assert!(csv.contains(",'=sum(1),") && !csv.contains(",=sum(1),"), "no formula: {csv}");
    let cost = json("out", "performance.json")["cost_analysis"]["total_cost_usd"].to_string();
    let row = csv.lines().find(|l| l.starts_with(&format!("{id},"))).unwrap();
    assert!(row.split(',').any(|cell| cell.trim_end_matches('0') == cost), "{cost} is not in {row}");
    let none = c.run(User::Other, "burstctl", &["export", &id, "--format", "csv"], "").unwrap();
    assert!(!none.ok() && none.out.is_empty(), "somebody else's: {none:?}");

    // Names become words, the same ones each time.
    let blind = |format: &str| {
        ctl(&c, User::Root, &["export", "--since", "1h", "--format", format, "--anonymize"]).out
    };
    let (one, two) = (blind("csv"), blind("csv"));
    assert_eq!(one, two);
    for text in [&one, &blind("asba"), &blind("asbb"), &blind("comment")] {
        for word in
            ["nobody", "daemon", "physics", "chem", "wave", "tide", "sum(1)", "efa7-", "\"efa\"", ",efa,"]
        {
            assert!(!text.contains(word), "{word}: {text}");
        }
    }
    assert!(one.contains("hpc7a.96xlarge") && one.contains(",u-"), "{one}");
    use std::os::unix::fs::PermissionsExt;
    let key = std::fs::metadata(c.at.file("burst/export.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);

    // One page for a browser, and nothing else.
    let page = c.at.file("report.html").display().to_string();
    let told = ctl(&c, User::Root, &["report", "--html", &page, "--title", "Clouds <of> the week"]).out;
    holds(&told, &["8 lives"], &"report");
    let html = read(&c, "report.html");
    holds(
        &html,
        &[
            "Clouds &lt;of&gt; the week",
            "id=\"timeline\"",
            "id=\"cost\"",
            "id=\"predicted\"",
            "physics",
            "wave",
            "=sum(1)",
            "<svg",
        ],
        &"the page",
    );
    for evil in ["<script", "http://", "https://", "<of>", "@import", "url("] {
        assert!(!html.contains(evil), "{evil} is in the page");
    }
    keep_page(&c);
    let told: Value = json!(ctl(&c, User::Ordinary, &["history"]).out);
    holds(told.as_str().unwrap(), &["2 in all"], &"what the owner sees");
    finish(c);
}
