//! status, explain, terminate.

use crate::{
    Bench, config,
    controller::{Fake, nobody},
    err, out,
};
use serde_json::{Value, json};

const GANG: &str = r#"{"gang":{"gang":"0123456789abcdef","job":"12_3","user":"alice","uid":1000,"pool":"efa","phase":"waiting",
"since_unix":1790000000,"says":"[burst 0123456789abcdef] no capacity","nodes_wanted":16,"attempt":2,"paid_attempts":0,
"instance_type":null,"zone":null,"market":null,"fleet_id":null,"nodes":[],"instances":[],
"last_error":{"code":"InsufficientInstanceCapacity","message":"not enough","request_id":"req-1","at_unix":1790000000},
"next_try_unix":1790000100,"worst_cost_usd":"99.00","history":[]}}"#;

#[test]
fn explain_asks_with_a_credential_and_tells_code_and_request_id() {
    let b = Bench::new();
    let fake = Fake::answering(vec![(200, GANG)]);
    let o = b.ctl(&["explain", "12_3", "--controller", &fake.url]);
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    let asked = fake.next();
    assert_eq!(asked.path, "/v1/query");
    assert_eq!(asked.payload, json!({"v": 1, "what": "explain", "job": "12_3"}));
    let text = out(&o);
    for part in ["alice", "no capacity", "InsufficientInstanceCapacity", "req-1", "Next try", "99.00 USD"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn json_is_the_controllers_own_answer() {
    let b = Bench::new();
    let fake = Fake::answering(vec![(200, GANG)]);
    let o = b.ctl(&["--json", "explain", "12_3", "--controller", &fake.url]);
    let said: Value = serde_json::from_str(&out(&o)).unwrap();
    assert_eq!(said, serde_json::from_str::<Value>(GANG).unwrap());
}

#[test]
fn the_controllers_refusal_is_told_and_is_exit_code_1() {
    let b = Bench::new();
    let answer = (404, r#"{"error":"job 99 is not one of yours","code":"unknown"}"#);
    let fake = Fake::answering(vec![answer; 4]);
    let o = b.ctl(&["explain", "99", "--controller", &fake.url]);
    assert_eq!(o.status.code(), Some(1));
    assert!(err(&o).contains("job 99 is not one of yours"), "{}", err(&o));
    let o = b.ctl(&["explain", "99", "--json", "--controller", &fake.url]);
    assert_eq!(o.status.code(), Some(1));
    assert_eq!(
        serde_json::from_str::<Value>(&out(&o)).unwrap(),
        json!({"error": "job 99 is not one of yours"})
    );
}

#[test]
fn an_unreachable_controller_is_explained() {
    let b = Bench::new();
    let o = b.ctl(&["status", "--controller", &nobody()]);
    assert_eq!(o.status.code(), Some(1));
    let text = err(&o);
    for part in ["cannot reach", "scontrol ping", "--controller"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn without_munge_the_user_is_told_what_to_do() {
    let b = Bench::new();
    b.script("bin/munge", "echo 'munge: Error: Failed to access socket' >&2; exit 6");
    let o = b.ctl(&["status", "--controller", &nobody()]);
    assert_eq!(o.status.code(), Some(1));
    let text = err(&o);
    assert!(text.contains("Failed to access socket") && text.contains("--munge-socket"), "{text}");
}

#[test]
fn the_socket_of_slurm_conf_is_used_and_an_option_wins() {
    let b = Bench::new();
    b.write("slurm.conf", "AuthInfo=cred_expire=60,socket=/of/slurm\n");
    b.script("bin/munge", "echo \"args $*\" >&2; exit 1");
    let o = b.ctl(&["status", "--controller", &nobody()]);
    assert!(err(&o).contains("args --socket /of/slurm"), "{}", err(&o));
    let o = b.ctl(&["status", "--controller", &nobody(), "--munge-socket", "/given"]);
    assert!(err(&o).contains("args --socket /given"), "{}", err(&o));
}

#[test]
fn a_standby_is_passed_over_for_the_active_controller() {
    let b = Bench::new();
    let standby = Fake::answering(vec![(503, r#"{"error":"standby","code":"standby"}"#)]);
    let active =
        Fake::answering(vec![(200, r#"{"cluster":{"name":"c1"},"pools":[],"gangs":[],"warnings":[]}"#)]);
    let text = config("127.0.0.1:1").replace(
        "listen = \"127.0.0.1:1\"",
        &format!("listen = \"127.0.0.1:1\"\nadvertise = [\"{}\", \"{}\"]", standby.url, active.url),
    );
    let file = b.write("burst.toml", &text);
    let o = b.ctl(&["status", "--config", file.to_str().unwrap()]);
    assert_eq!(o.status.code(), Some(0), "{}{}", out(&o), err(&o));
    assert_eq!(standby.next().path, "/v1/query");
    assert_eq!(active.next().payload, json!({"v": 1, "what": "status"}));
}

#[test]
fn a_refused_pool_makes_status_a_problem() {
    let b = Bench::new();
    let fake = Fake::answering(vec![(
        200,
        r#"{"cluster":{"name":"c1"},"pools":[{"name":"efa","state":"refused","why":["write SuspendRate=0"]}]}"#,
    )]);
    let o = b.ctl(&["status", "--controller", &fake.url]);
    assert_eq!(o.status.code(), Some(1));
    assert!(out(&o).contains("pool efa: write SuspendRate=0"), "{}", out(&o));
}

#[test]
fn terminate_names_the_gang() {
    let b = Bench::new();
    let fake = Fake::answering(vec![(200, r#"{"ok":true,"says":"16 instances are being terminated"}"#)]);
    let o = b.ctl(&["terminate", "0123456789abcdef_4", "--controller", &fake.url]);
    assert_eq!((o.status.code(), out(&o).as_str()), (Some(0), "16 instances are being terminated\n"));
    let asked = fake.next();
    assert_eq!(asked.path, "/v1/control");
    assert_eq!(asked.payload, json!({"v": 1, "do": "terminate", "gang": "0123456789abcdef_4"}));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let b = Bench::new();
    for args in [&["explain"][..], &["explain", "x"], &["terminate", "12"], &["frobnicate"], &[]] {
        assert_eq!(b.ctl(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn help_completions_and_manual_name_every_command() {
    let b = Bench::new();
    let help = out(&b.ctl(&["--help"]));
    let man = out(&b.ctl(&["man"]));
    let bash = out(&b.ctl(&["completions", "bash"]));
    for command in [
        "status",
        "explain",
        "history",
        "export",
        "report",
        "prices",
        "plan",
        "validate",
        "slurm-conf",
        "terminate",
        "pause",
        "resume",
        "drain",
        "retry",
        "adopt",
        "audit",
        "stop-everything",
        "completions",
        "man",
    ] {
        assert!(help.contains(command), "help lacks {command}");
        assert!(bash.contains(command), "completions lack {command}");
        let heading = format!("BURSTCTL {}", command.to_uppercase());
        assert!(man.contains(&heading), "the manual lacks {heading}");
    }
}

#[test]
fn an_operators_words_reach_the_controller_and_its_answer_is_told() {
    let b = Bench::new();
    let said = (200, r#"{"ok":true,"says":"pool efa is paused: nothing new is launched"}"#);
    for (args, payload) in [
        (&["pause", "efa"][..], json!({"v": 1, "do": "pause", "pool": "efa"})),
        (&["pause"], json!({"v": 1, "do": "pause"})),
        (&["drain", "efa"], json!({"v": 1, "do": "drain", "pool": "efa"})),
        (&["resume", "efa"], json!({"v": 1, "do": "resume", "pool": "efa"})),
        (&["retry", "12_3"], json!({"v": 1, "do": "retry", "job": "12_3"})),
        (&["adopt"], json!({"v": 1, "do": "adopt"})),
        (
            &["adopt", "11111111-2222-4333-8444-555555555555"],
            json!({"v": 1, "do": "adopt",
            "uuid": "11111111-2222-4333-8444-555555555555"}),
        ),
    ] {
        let fake = Fake::answering(vec![said]);
        let o = b.ctl(&[args, &["--controller", &fake.url]].concat());
        assert_eq!(o.status.code(), Some(0), "{args:?}: {}", err(&o));
        let asked = fake.next();
        assert_eq!((asked.path.as_str(), asked.payload), ("/v1/control", payload), "{args:?}");
        assert_eq!(out(&o), "pool efa is paused: nothing new is launched\n");
    }
    let fake =
        Fake::answering(vec![(409, r#"{"error":"nothing is paused or draining","code":"not-stopped"}"#)]);
    let o = b.ctl(&["resume", "--controller", &fake.url]);
    assert_eq!(o.status.code(), Some(1));
    assert!(err(&o).contains("nothing is paused or draining"), "{}", err(&o));
    for wrong in [&["retry"][..], &["retry", "x"], &["audit", "--last", "0"], &["pause", "a", "b"]] {
        assert_eq!(b.ctl(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn the_audit_is_asked_for_as_long_as_wanted() {
    let b = Bench::new();
    let fake = Fake::answering(vec![(
        200,
        r#"{"audit":[{"at_ms":1790000000000,"what":"instance","name":"i-0a",
        "gang":"","reason":"its tags name no gang","result":"ended"}]}"#,
    )]);
    let o = b.ctl(&["audit", "--last", "7", "--controller", &fake.url]);
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    let asked = fake.next();
    assert_eq!(
        (asked.path.as_str(), asked.payload),
        ("/v1/query", json!({"v": 1, "what": "audit", "last": 7}))
    );
    assert!(out(&o).contains("its tags name no gang"), "{}", out(&o));
}
