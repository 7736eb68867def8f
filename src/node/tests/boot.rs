//! From power-on to a named slurmd, and every way that ends before.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod world;

use serde_json::json;
use std::time::{Duration, Instant};
use world::{Answer, World, carry_on, go};

const BOOT: &str = "/v1/bootstrap";

fn boots(mut answer: impl FnMut(usize) -> Answer + Send + 'static) -> World {
    World::new(move |path, _, n| if path == BOOT { answer(n) } else { carry_on() })
}

#[test]
fn unknown_then_named_then_powering_up_then_started() {
    let mut w = boots(|n| match n {
        0 => Answer::Json(202, json!({"retry_ms": 20, "why": "being written"})),
        1 => Answer::Json(200, json!({"node": "efa7-0001", "start": false, "retry_ms": 20})),
        _ => Answer::Json(200, go()),
    });
    w.start(json!({}));
    w.until("an alive report", |w| !w.reports("alive").is_empty());
    let asked = w.asked(BOOT);
    assert_eq!(asked.len(), 3);
    let first = &asked[0];
    assert_eq!(
        (&first["v"], &first["instance_id"], &first["private_ip"], &first["zone"]),
        (&json!(1), &json!("i-0123456789abcdef0"), &json!("10.0.1.7"), &json!("us-east-2b"))
    );
    assert_eq!(w.lines("slurmd.args"), ["-D -N efa7-0001 -b"]);
    let started = w.reports("started");
    assert_eq!((started.len(), &started[0]["node"]), (1, &json!("efa7-0001")));
    assert!(!w.log().contains("MUNGE:"), "a credential is in the log");
}

#[test]
fn refusals_end_the_instance_without_a_slurmd() {
    for status in [403, 409, 410] {
        let mut w = boots(move |_| Answer::Json(status, json!({"error": "no place", "code": "x"})));
        w.start(json!({"on_end": "poweroff"}));
        assert!(w.ended().success());
        assert!(w.powered_off(), "{status}: {}", w.log());
        assert!(w.log().contains("no place"));
        assert_eq!(w.lines("slurmd.args"), Vec::<String>::new());
    }
}

#[test]
fn lost_answers_garbage_and_a_passive_controller_are_asked_again() {
    let mut w = boots(|n| match n {
        0 => Answer::Drop,
        1 => Answer::Raw(200, "<html>"),
        2 => Answer::Json(503, json!({"error": "passive", "code": "passive"})),
        3 => Answer::Json(200, json!({"node": "-c;rm", "start": true})),
        _ => Answer::Json(200, go()),
    });
    w.start(json!({}));
    w.until("a started report", |w| !w.reports("started").is_empty());
    assert_eq!(w.asked(BOOT).len(), 5);
    assert_eq!(w.lines("slurmd.args"), ["-D -N efa7-0001 -b"]);
}

#[test]
fn the_next_controller_is_asked_when_the_first_refuses_connections() {
    let mut w = boots(|_| Answer::Json(200, go()));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let list = [format!("http://{closed}"), w.url()];
    w.start(json!({"controllers": list}));
    w.until("a started report", |w| !w.reports("started").is_empty());
}

#[test]
fn never_named_ends_at_the_boot_limit() {
    let mut w = boots(|_| Answer::Json(202, json!({"retry_ms": 50, "why": "wait"})));
    let begun = Instant::now();
    w.start(json!({"boot_limit_s": 1.0, "on_end": "poweroff"}));
    assert!(w.ended().success());
    assert!(begun.elapsed() >= Duration::from_millis(900), "ended before its limit");
    assert!(w.powered_off());
}

#[test]
fn a_controller_that_holds_the_line_does_not_stretch_the_boot_limit() {
    let mut w = boots(|_| {
        std::thread::sleep(Duration::from_secs(14));
        Answer::Drop
    });
    w.start(json!({"boot_limit_s": 1.0}));
    assert!(w.ended_within(Duration::from_secs(8)).success());
}

#[test]
fn a_hanging_munge_does_not_outlive_the_boot_limit() {
    let mut w = boots(|_| Answer::Json(200, go()));
    w.program("munge", "exec /bin/sleep 600");
    w.start(json!({"boot_limit_s": 1.0, "on_end": "poweroff"}));
    w.ended_within(Duration::from_secs(20));
    assert!(w.powered_off());
}

#[test]
fn a_munge_that_is_down_is_tried_again_and_told() {
    let mut w = boots(|_| Answer::Json(200, go()));
    w.program("munge", "echo 'munged is not running' >&2; exit 1");
    w.start(json!({}));
    w.until("the reason in the log", |w| w.log().contains("munged is not running"));
    w.program("munge", "printf 'MUNGE:'; /bin/cat; printf ':'");
    w.until("a started report", |w| !w.reports("started").is_empty());
}

#[test]
fn user_data_that_cannot_be_read_at_first_is_not_taken_for_none() {
    let mut w = boots(|_| Answer::Json(200, go()));
    let data = json!({"burst_node": {"v": 1, "controllers": [w.url()]}});
    w.user_data(200, &data.to_string());
    w.user_data_errors(2);
    w.start(json!({"controllers": [], "boot_limit_s": 10}));
    w.until("a started report", |w| !w.reports("started").is_empty());
}

#[test]
fn user_data_without_a_usable_controller_leaves_the_images_own() {
    let mut w = boots(|_| Answer::Json(200, go()));
    w.user_data(200, r#"{"burst_node":{"controllers":["ftp://x"],"slurmd":"/bin/evil"}}"#);
    w.start(json!({}));
    w.until("a started report", |w| !w.reports("started").is_empty());
    assert!(w.log().contains("may not set slurmd"), "{}", w.log());
}

#[test]
fn limits_that_are_no_limits_are_told_and_end_the_instance() {
    for limit in [json!(-1), json!(0), json!(1e300)] {
        let mut w = boots(|_| Answer::Json(200, go()));
        w.start(json!({"boot_limit_s": limit}));
        w.ended();
        assert!(w.log().contains("boot_limit_s") && !w.log().contains("panicked"), "{limit}: {}", w.log());
        assert!(w.powered_off(), "a broken on_end cannot be trusted: {}", w.log());
    }
}

#[test]
fn the_pid_file_names_the_agent_while_it_lives() {
    let mut w = boots(|_| Answer::Json(200, go()));
    let file = w.dir.join("pid");
    w.start(json!({"pidfile": file}));
    w.until("a started report", |w| !w.reports("started").is_empty());
    assert_eq!(w.lines("pid"), [w.pid().to_string()]);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(w.pid()), nix::sys::signal::Signal::SIGTERM).unwrap();
    w.ended();
    assert!(!world::exists(&file));
}

#[cfg(feature = "test-sysfs")]
#[test]
fn missing_efa_devices_are_reported_and_end_the_instance() {
    let mut w = World::new(|path, _, n| match path {
        // The first report is lost: "failed" is worth more than one try.
        "/v1/report" if n == 0 => Answer::Drop,
        _ => carry_on(),
    });
    let ib = w.dir.join("sys/class/infiniband/rdmap0s6/device");
    std::fs::create_dir_all(w.dir.join("drivers/efa")).unwrap();
    std::fs::create_dir_all(&ib).unwrap();
    std::os::unix::fs::symlink(w.dir.join("drivers/efa"), ib.join("driver")).unwrap();
    w.start(json!({"efa_devices": 2, "on_end": "poweroff"}));
    w.ended();
    let failed = w.reports("failed");
    assert!(failed.len() >= 2, "{failed:?}");
    let text = failed[0]["detail"].as_str().unwrap();
    assert!(text.contains('1') && text.contains('2') && text.contains("driver"), "{text}");
    assert!(w.powered_off());
    assert_eq!(w.asked(BOOT).len(), 0);
}
