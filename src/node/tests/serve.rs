//! A named node: reports, orders, slurmd's ends, and the dead-man switch.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod world;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use world::{Answer, World, carry_on, go};

fn named(with: Value, mut report: impl FnMut(&Value, usize) -> Answer + Send + 'static) -> World {
    World::new(move |path, payload, n| {
        if path == "/v1/bootstrap" {
            let mut all = go();
            for (k, v) in with.as_object().unwrap() {
                all[k] = v.clone();
            }
            Answer::Json(200, all)
        } else {
            report(payload, n)
        }
    })
}

fn slurmd_pid(w: &World) -> i32 {
    w.until("a slurmd", |w| {
        !w.lines("slurmd.args").is_empty() && !world::children(u32::try_from(w.pid()).unwrap()).is_empty()
    });
    world::children(u32::try_from(w.pid()).unwrap())[0]
}

fn is_gone(pid: i32) -> bool {
    !world::exists(std::path::Path::new(&format!("/proc/{pid}")))
}

#[test]
fn a_controller_that_is_gone_for_good_ends_the_instance() {
    // Steps of other tests' Slurm in this PID namespace would be a job on "this node".
    if std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .any(|p| std::fs::read_to_string(p.path().join("comm")).is_ok_and(|c| c.trim() == "slurmstepd"))
    {
        eprintln!("a slurmstepd runs here: the orphan limit cannot be tried");
        return;
    }
    let mut w = named(json!({"orphan_limit_s": 1.0}), |_, n| {
        if n < 2 { carry_on() } else { Answer::Json(503, json!({"error": "passive"})) }
    });
    w.start(json!({"on_end": "poweroff"}));
    w.ended();
    assert!(w.powered_off());
    assert!(w.log().contains("no controller has answered"), "{}", w.log());
}

#[test]
fn an_order_ends_slurmd_and_the_instance() {
    let mut w = named(json!({}), |r, _| {
        let orders = if r["kind"] == "started" { "continue" } else { "poweroff" };
        Answer::Json(200, json!({"orders": orders, "deadline_unix": null}))
    });
    w.start(json!({"on_end": "poweroff"}));
    let slurmd = slurmd_pid(&w);
    w.ended();
    assert!(w.powered_off() && is_gone(slurmd));
}

#[test]
fn past_the_deadline_it_ends_whoever_answers() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut w = named(json!({}), move |_, n| {
        let deadline = if n < 2 { json!(null) } else { json!(now - 10) };
        Answer::Json(200, json!({"orders": "continue", "deadline_unix": deadline}))
    });
    w.start(json!({"on_end": "poweroff"}));
    w.ended();
    assert!(w.powered_off());
    assert!(w.asked("/v1/report").len() >= 3);
}

#[test]
fn gone_is_believed_only_when_it_is_said_twice() {
    for status in [404, 410] {
        let mut w = named(json!({}), move |_, n| match n {
            0 => carry_on(),
            1 => Answer::Json(status, json!({"error": "unknown", "code": "unknown"})),
            2..6 => carry_on(),
            _ => Answer::Json(status, json!({"error": "unknown", "code": "unknown"})),
        });
        w.start(json!({"on_end": "poweroff"}));
        w.ended();
        assert!(w.powered_off());
        assert_eq!(w.asked("/v1/report").len(), 8, "{status}: once is not enough, twice is");
    }
}

#[test]
fn a_lost_started_report_is_sent_again_soon() {
    let mut w = named(json!({"report_s": 30}), |_, n| if n == 0 { Answer::Drop } else { carry_on() });
    let begun = Instant::now();
    w.start(json!({}));
    w.until("a second started report", |w| w.reports("started").len() == 2);
    assert!(begun.elapsed() < Duration::from_secs(20), "it waited a whole report_s");
}

#[test]
fn a_slurmd_that_keeps_dying_is_restarted_thrice_without_b_then_reported() {
    let mut w = named(json!({}), |_, _| carry_on());
    w.program("slurmd", "echo \"$@\" >> \"$BURST_TEST_DIR/slurmd.args\"; exit 3");
    w.start(json!({"on_end": "poweroff"}));
    w.ended();
    let one = "-D -N efa7-0001".to_owned();
    assert_eq!(w.lines("slurmd.args"), ["-D -N efa7-0001 -b".to_owned(), one.clone(), one.clone(), one]);
    let failed = w.reports("failed");
    assert!(failed.first().is_some_and(|f| f["detail"].as_str().unwrap().contains("slurmd")), "{failed:?}");
    assert!(w.powered_off());
}

#[test]
fn sigterm_ends_slurmd_and_leaves_the_machine_on() {
    let mut w = named(json!({}), |_, _| carry_on());
    w.start(json!({"on_end": "poweroff"}));
    w.until("a started report", |w| !w.reports("started").is_empty());
    let slurmd = slurmd_pid(&w);
    kill(Pid::from_raw(w.pid()), Signal::SIGTERM).unwrap();
    assert!(w.ended().success());
    assert!(is_gone(slurmd));
    assert!(!w.powered_off(), "stopping the agent is no reason to end the instance");
}

#[test]
fn a_slurmd_that_ignores_sigterm_is_killed() {
    let mut w = named(json!({}), |_, _| carry_on());
    w.program(
        "slurmd",
        "trap '' TERM; echo \"$@\" >> \"$BURST_TEST_DIR/slurmd.args\"; while :; do /bin/sleep 1; done",
    );
    w.start(json!({}));
    w.until("a started report", |w| !w.reports("started").is_empty());
    let slurmd = slurmd_pid(&w);
    kill(Pid::from_raw(w.pid()), Signal::SIGTERM).unwrap();
    w.ended();
    assert!(is_gone(slurmd));
}

#[test]
fn a_munge_that_begins_to_hang_does_not_hold_the_deadline_up() {
    let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3;
    let mut w = named(json!({"deadline_unix": soon}), |_, _| carry_on());
    w.start(json!({"on_end": "poweroff"}));
    w.until("a started report", |w| !w.reports("started").is_empty());
    w.program("munge", "exec /bin/sleep 600");
    w.ended_within(Duration::from_secs(30));
    assert!(w.powered_off());
}

#[test]
fn the_plugin_finds_what_it_needs_and_spooled_reports_are_sent() {
    let mut w = named(json!({}), |payload, _| match payload["kind"].as_str() {
        Some("job") if payload["report"]["job"] == 7 => Answer::Json(409, json!({"error": "x", "code": "x"})),
        Some("job") => Answer::Json(200, json!({})),
        _ => carry_on(),
    });
    w.start(json!({}));
    w.until("a started report", |w| !w.reports("started").is_empty());
    let home = w.dir.join("run/efa7-0001");
    let file: Value = serde_json::from_slice(&std::fs::read(home.join("node.json")).unwrap()).unwrap();
    assert_eq!(
        (file["node"].as_str(), file["instance_id"].as_str()),
        (Some("efa7-0001"), Some("i-0123456789abcdef0"))
    );
    assert_eq!(file["controllers"][0].as_str().unwrap(), w.url());
    assert_eq!(file["munge"].as_str().unwrap(), w.dir.join("bin/munge").to_str().unwrap());
    let spool = home.join("spool");
    std::fs::create_dir(&spool).unwrap();
    // Larger than a pipe takes at once.
    let padding = "x".repeat(40_000);
    for job in [7, 8] {
        let text =
            json!({"v": 1, "kind": "job", "node": "efa7-0001", "report": {"job": job, "padding": padding}});
        std::fs::write(spool.join(format!(".{job}")), text.to_string()).unwrap();
        std::fs::rename(spool.join(format!(".{job}")), spool.join(format!("{job}.0.json"))).unwrap();
    }
    w.until("an empty spool", |_| std::fs::read_dir(&spool).unwrap().next().is_none());
    let jobs: Vec<u64> = w.reports("job").iter().map(|r| r["report"]["job"].as_u64().unwrap()).collect();
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    w.until("its log", |w| w.log().contains("given up: 7.0.json") && w.log().contains("sent 1 reports"));
}

#[test]
fn a_report_that_has_waited_is_sent_long_before_the_node_s_own_next_one() {
    let mut w = named(json!({"report_s": 300}), |payload, n| match payload["kind"].as_str() {
        Some("job") if n == 1 => Answer::Json(503, json!({"error": "x", "code": "journal"})),
        Some("job") => Answer::Json(200, json!({})),
        _ => carry_on(),
    });
    w.start(json!({}));
    w.until("a started report", |w| !w.reports("started").is_empty());
    let spool = w.dir.join("run/efa7-0001/spool");
    std::fs::create_dir(&spool).unwrap();
    let text = json!({"v": 1, "kind": "job", "node": "efa7-0001", "report": {"job": 9}});
    let part = spool.join(".9");
    std::fs::write(&part, text.to_string()).unwrap();
    // Its epilog is over.
    let written = SystemTime::now() - Duration::from_secs(10);
    std::fs::File::options().write(true).open(&part).unwrap().set_modified(written).unwrap();
    std::fs::rename(part, spool.join("9.0.json")).unwrap();
    let begun = Instant::now();
    w.until("an empty spool", |_| std::fs::read_dir(&spool).unwrap().next().is_none());
    assert_eq!(w.reports("job").len(), 2, "the first was not taken");
    assert!(w.reports("alive").is_empty() && begun.elapsed() < Duration::from_secs(60));
}
