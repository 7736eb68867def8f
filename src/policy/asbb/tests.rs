use super::*;
use crate::life::{Cost, Ran, SlurmFacts};

fn service(on_error: OnError, on_refusal: OnRefusal) -> Service {
    Service { url: "http://b".into(), timeout: Seconds(5), on_error, on_refusal }
}

#[test]
fn a_check_has_the_service_s_own_words() {
    let pool = crate::config::tests::pool();
    let geometry = Geometry {
        account: "phys".into(),
        partition: "efa".into(),
        time_limit: Some(Seconds(360_061)),
        ..Geometry::default()
    };
    let shape = Shape::of(2, 0, &pool, &geometry).expect("a block");
    let check = serde_json::to_value(Check::new(&geometry, "alice", &shape)).expect("JSON");
    let block = &pool.blocks[0];
    assert_eq!(
        check,
        serde_json::json!({
            "account": "phys", "partition": "efa", "nodes": 2, "cpus": 2 * block.cpus, "gpus": 2 * block.gpus,
            "memory": format!("{}M", block.memory_mib), "wall_time": "100:01:01", "user_id": "alice",
        })
    );
    assert_eq!(Shape::of(2, 9, &pool, &geometry), None);
    assert_eq!(Shape::of(2, 0, &pool, &Geometry::default()), None, "no limit, no question");
}

#[test]
fn answers_and_what_they_mean() {
    let yes = r#"{"available":true,"estimated_cost":10,"hold_amount":12.0,"transaction_id":"t-1","budget_remaining":88,"message":"ok"}"#;
    assert_eq!(
        read_check(200, yes),
        Word::Yes { transaction: "t-1".into(), says: "ok; 88.00 USD remain".into() }
    );
    let bare = Word::Yes { transaction: String::new(), says: String::new() };
    assert_eq!(read_check(200, r#"{"available":true,"transaction_id":null}"#), bare);
    let no = r#"{"available":false,"message":"account phys has 3 USD","budget_remaining":3.0}"#;
    assert_eq!(read_check(200, no), Word::No("account phys has 3 USD; 3.00 USD remain".into()));
    assert_eq!(read_check(200, r#"{"available":false}"#), Word::No("not enough budget".into()));
    let e402 = r#"{"error":{"code":"INSUFFICIENT_BUDGET","message":"too little"}}"#;
    assert_eq!(read_check(402, e402), Word::No("INSUFFICIENT_BUDGET: too little".into()));
    for (status, body, word) in [
        (404, "", "no such account"),
        (501, r#"{"error":{"code":"NOT_IMPLEMENTED"}}"#, "does not support"),
        (500, "<html>", "HTTP 500 <html>"),
        (401, r#"{"error":"who?"}"#, "who?"),
        (200, "[", "not JSON"),
        (200, r#"{"available":"yes"}"#, "no `available`"),
        (302, "", "HTTP 302"),
    ] {
        let Word::Unclear(text) = read_check(status, body) else { panic!("{status} {body}") };
        assert!(text.contains(word), "{text}");
    }
    let Word::No(long) = read_check(402, &"x\u{1b}".repeat(10_000)) else { panic!("402") };
    assert!(long.len() < SHOWN * 10 && !long.contains('\u{1b}'), "{long}");
}

#[test]
fn the_site_decides_about_refusals_and_silence() {
    let (no, silent) = (|| Word::No("3 USD".into()), || Word::Unclear("gone".into()));
    let hold = service(OnError::Hold, OnRefusal::Hold);
    assert_eq!(decide(no(), &hold), Decision::Wait("the budget service refuses: 3 USD".into()));
    assert_eq!(decide(silent(), &hold), Decision::Wait("waiting for the budget service: gone".into()));
    let loose = service(OnError::Allow, OnRefusal::Fail);
    assert_eq!(decide(no(), &loose), Decision::Stop("the budget service refuses: 3 USD".into()));
    let Decision::Go { transaction, note } = decide(silent(), &loose) else { panic!("allowed") };
    assert_eq!(transaction, "");
    assert!(note.contains("without the budget service's word"), "{note}");
    let yes = Word::Yes { transaction: "t".into(), says: String::new() };
    let go = Decision::Go { transaction: "t".into(), note: "the budget service agrees".into() };
    assert_eq!(decide(yes, &hold), go);
}

fn promise(transaction: &str, nodes: u32, at_ms: u64) -> Promise {
    let shape = Shape { nodes, cpus: 96, wall_s: 60, ..Shape::default() };
    Promise { transaction: transaction.into(), shape, at_ms }
}

#[test]
fn a_promise_covers_what_is_no_larger_and_a_waiver_not_for_long() {
    let given = [promise("t", 4, 0)];
    let want = |nodes, cpus, wall_s| Shape { nodes, cpus, wall_s, ..Shape::default() };
    assert!(covers(&given, &want(4, 96, 60), u64::MAX));
    assert!(covers(&given, &want(2, 1, 1), 0));
    for larger in [want(5, 96, 60), want(4, 97, 60), want(4, 96, 61)] {
        assert!(!covers(&given, &larger, 0), "{larger:?}");
    }
    let waived = [promise("", 4, 1_000)];
    assert!(covers(&waived, &want(4, 96, 60), 1_000 + WAIVED_MS - 1));
    assert!(!covers(&waived, &want(4, 96, 60), 1_000 + WAIVED_MS));
}

#[test]
fn the_cost_is_told_once_and_the_other_promises_are_given_back() {
    let promises = [promise("t1", 2, 0), promise("", 2, 1), promise("t2", 4, 2)];
    let life = Life {
        user: "alice".into(),
        cost: Cost { total: Some(MicroUsd(12_340_000)), ..Cost::default() },
        slurm: SlurmFacts { state: "COMPLETED".into(), ..SlurmFacts::default() },
        instances: vec![Ran { instance_type: "a.b".into(), ..Ran::default() }; 2],
        ..Life::default()
    };
    let told = reconcile("17", &promises, Some(&life));
    let of = |r: &Reconcile| (r.transaction_id.clone(), r.actual_cost);
    assert_eq!(told.iter().map(of).collect::<Vec<_>>(), [("t1".into(), 0.0), ("t2".into(), 12.34)]);
    let meta: Value = serde_json::from_str(&told[1].job_metadata).expect("a JSON text");
    assert_eq!((&meta["cost_complete"], &meta["instance_types"][0]), (&Value::Bool(true), &"a.b".into()));
    let part = Life { cost: Cost { known: MicroUsd(5_000_000), ..Cost::default() }, ..life };
    let told = reconcile("17", &promises, Some(&part));
    assert_eq!(told[1].actual_cost, 5.0);
    assert!(told[1].job_metadata.contains("\"cost_complete\":false"), "{}", told[1].job_metadata);
    assert_eq!(reconcile("17", &promises, None)[1].actual_cost, 0.0, "never launched");
    assert!(reconcile("17", &promises[1..2], None).is_empty());
}

#[test]
fn a_reconcile_is_told_again_only_where_that_can_help() {
    assert_eq!(read_reconcile(200, "{}"), Settled::Yes);
    for never in [400, 402, 404, 409, 501] {
        assert!(matches!(read_reconcile(never, ""), Settled::Never(_)), "{never}");
    }
    for again in [408, 429, 500, 502, 503] {
        assert!(matches!(read_reconcile(again, ""), Settled::Again(_)), "{again}");
    }
}
