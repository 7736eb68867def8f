//! history, export, report: lives from a controller, text and files out.

use crate::{Bench, controller::Fake, err, out};
use burst_policy::life::{Cost, Life, Phases, Ran, SlurmFacts};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

fn life(n: u32) -> Life {
    Life {
        job: n,
        text: n.to_string(),
        name: "cfd".into(),
        user: "alice".into(),
        uid: 1000,
        account: "phys".into(),
        pool: "efa".into(),
        slurm: SlurmFacts {
            state: "COMPLETED".into(),
            start: Some(1_790_000_000),
            end: Some(1_790_000_060),
            node_count: Some(2),
            ..SlurmFacts::default()
        },
        phases: Phases {
            submit_ms: Some(1_789_999_900_000),
            started_ms: Some(1_790_000_000_000),
            done_ms: Some(1_790_000_100_000),
            ..Phases::default()
        },
        instances: vec![Ran { id: "i-0a".into(), instance_type: "hpc7a.96xlarge".into(), ..Ran::default() }],
        cost: Cost {
            total: Some(burst_plan::MicroUsd(1_500_000)),
            known: burst_plan::MicroUsd(1_500_000),
            ..Cost::default()
        },
        ..Life::default()
    }
}

fn answer(numbers: &[u32], next: Option<i64>) -> String {
    let lives: Vec<Life> = numbers.iter().map(|n| life(*n)).collect();
    json!({"lives": lives, "next": next}).to_string()
}

#[test]
fn history_asks_part_by_part_and_shows_a_row_each() {
    let b = Bench::new();
    let (first, second) = (answer(&[9, 8], Some(8)), answer(&[7], None));
    let c = Fake::answering(vec![(200, &first), (200, &second)]);
    let args =
        ["history", "--controller", &c.url, "--user", "1000", "--account", "phys", "--since", "2026-09-01"];
    let o = b.ctl(&args);
    assert_eq!(o.status.code(), Some(0), "{}{}", out(&o), err(&o));
    let text = out(&o);
    for word in ["9 ", "8 ", "7 ", "COMPLETED", "hpc7a.96xlarge", "60 s", "3 in all, 4.50 USD"] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    let asked = c.next();
    assert_eq!(asked.path, "/v1/query");
    assert_eq!(
        asked.payload,
        json!({"v": 1, "what": "history", "user": "1000", "account": "phys", "since_ms": 1_788_220_800_000_u64, "brief": true})
    );
    assert_eq!(c.next().payload["before"], 8);
}

#[test]
fn an_answer_that_goes_round_in_circles_ends() {
    let b = Bench::new();
    let same = answer(&[9], Some(8));
    let c = Fake::answering(vec![(200, &same), (200, &same), (200, &same)]);
    let o = b.ctl(&["history", "--controller", &c.url, "--json"]);
    let json: Value = serde_json::from_str(&out(&o)).unwrap();
    assert_eq!(json["lives"].as_array().unwrap().len(), 2);
}

#[test]
fn a_time_that_is_none_is_wrong_usage_and_asks_nobody() {
    let b = Bench::new();
    let c = Fake::answering(vec![(200, "{}")]);
    let o = b.ctl(&["history", "--controller", &c.url, "--since", "yesterday"]);
    assert_eq!(o.status.code(), Some(2));
    assert!(err(&o).contains("2026-11-01"), "{}", err(&o));
    assert!(c.was_not_asked());
    let o = b.ctl(&["export", "--controller", &c.url, "--format", "csv"]);
    assert_eq!(o.status.code(), Some(2), "which jobs must be said");
}

#[test]
fn export_writes_a_table_and_hides_names_by_a_key_that_stays() {
    let b = Bench::new();
    let one = answer(&[9], None);
    let c = Fake::answering(vec![(200, &one), (200, &one), (200, &one)]);
    let o = b.ctl(&["export", "9", "--controller", &c.url, "--format", "csv"]);
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    assert!(out(&o).lines().nth(1).unwrap().starts_with("9,0,cfd,alice,phys,"), "{}", out(&o));
    assert_eq!(c.next().payload["job"], "9");
    let (key, table) = (b.path("key"), b.path("t.csv"));
    let (key_text, table_text) = (key.to_str().unwrap(), table.to_str().unwrap());
    let hidden =
        ["export", "9", "--controller", &c.url, "--format", "csv", "--anonymize", "--key-file", key_text];
    let o = b.ctl(&hidden);
    let first = out(&o);
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    assert!(!first.contains("alice") && !first.contains("cfd") && first.contains(",u-"), "{first}");
    let o = b.ctl(&[&hidden[..], &["-o", table_text]].concat());
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    assert_eq!(std::fs::read_to_string(&table).unwrap(), first, "the same words the next time");
    for file in [&key, &table] {
        assert_eq!(
            std::fs::metadata(file).unwrap().permissions().mode() & 0o777,
            0o600,
            "{}",
            file.display()
        );
    }
    let secret = std::fs::read_to_string(&key).unwrap();
    assert!(!first.contains(secret.trim()) && !out(&o).contains(secret.trim()));
}

#[test]
fn export_writes_the_records_as_files_or_one_after_another() {
    let b = Bench::new();
    let two = answer(&[9, 8], None);
    let c = Fake::answering(vec![(200, two.as_str()); 4]);
    let dir = b.path("out");
    let at = dir.to_str().unwrap();
    for (format, end) in
        [("asba", "performance.json"), ("comment", "comment.txt"), ("asbb", "asbb-reconciliation.json")]
    {
        let o =
            b.ctl(&["export", "--controller", &c.url, "--since", "2026-09-01", "--format", format, "-o", at]);
        assert_eq!(o.status.code(), Some(0), "{}", err(&o));
        for job in [8, 9] {
            let file = dir.join(format!("job-{job}-{end}"));
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let record: Value = serde_json::from_str(&read("job-9-performance.json")).unwrap();
    assert_eq!(record["job_metadata"]["job_id"], "9");
    let record: Value = serde_json::from_str(&read("job-9-asbb-reconciliation.json")).unwrap();
    assert_eq!(record["actual_cost"], 1.5);
    assert!(read("job-8-comment.txt").starts_with("aws_meta:{"));
    let o = b.ctl(&["export", "9", "--controller", &c.url, "--format", "comment"]);
    assert_eq!(out(&o).matches("aws_meta:").count(), 2, "{}", out(&o));
}

#[test]
fn a_key_that_others_can_read_is_no_key() {
    let b = Bench::new();
    let key = b.write("key", &"a".repeat(64));
    let c = Fake::answering(vec![(200, "{}")]);
    let o = b.ctl(&[
        "export",
        "9",
        "--controller",
        &c.url,
        "--format",
        "csv",
        "--anonymize",
        "--key-file",
        key.to_str().unwrap(),
    ]);
    assert_eq!(o.status.code(), Some(1));
    assert!(err(&o).contains("chmod 600"), "{}", err(&o));
    assert!(c.was_not_asked(), "nothing is fetched before names can be hidden");
}

#[test]
fn nothing_to_export_is_said() {
    let b = Bench::new();
    let none = answer(&[], None);
    let c = Fake::answering(vec![(200, &none)]);
    let o = b.ctl(&["export", "9", "--controller", &c.url, "--format", "csv"]);
    assert_eq!(o.status.code(), Some(1));
    assert!(err(&o).contains("burstctl history"), "{}", err(&o));
}

#[test]
fn report_writes_one_page() {
    let b = Bench::new();
    let two = answer(&[9, 8], None);
    let c = Fake::answering(vec![(200, &two), (200, &two)]);
    let page = b.path("r.html");
    let args = ["report", "--controller", &c.url, "--html", page.to_str().unwrap(), "--since", "2026-09-01"];
    let o = b.ctl(&args);
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    assert_eq!(c.next().payload["brief"], false, "the page needs the nodes' reports");
    let text = std::fs::read_to_string(&page).unwrap();
    for word in ["<!doctype html>", "What the cloud jobs did", "since 2026-09-01", "alice", "3.00 USD"] {
        assert!(text.contains(word), "{word}");
    }
    let key = b.path("key");
    let o =
        b.ctl(&[&args[..], &["--user", "1000", "--anonymize", "--key-file", key.to_str().unwrap()]].concat());
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(
        !text.contains("alice") && !text.contains("user 1000") && text.contains("keyed hash"),
        "names are hidden everywhere"
    );
}

#[test]
fn explain_tells_what_a_job_did_and_cost_after_its_end() {
    let b = Bench::new();
    let one = answer(&[9], None);
    let gang = r#"{"gang":{"gang":"0123456789abcdef","job":"9","phase":"Done","says":"over"}}"#;
    let gone = r#"{"error":"no gang is known for job 9","code":"unknown"}"#;
    let c = Fake::answering(vec![
        (200, gang),
        (200, &one),
        (404, gone),
        (200, &one),
        (404, gone),
        (200, r#"{"lives":[]}"#),
    ]);
    let o = b.ctl(&["explain", "9", "--controller", &c.url]);
    let text = out(&o);
    for word in ["0123456789abcdef", "What job 9 did", "COMPLETED", "1.50 USD", "started"] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    let (_, asked) = (c.next(), c.next());
    assert_eq!((&asked.payload["what"], &asked.payload["job"]), (&json!("history"), &json!("9")));
    // The core has forgotten it, the ledger has not.
    let o = b.ctl(&["explain", "9", "--controller", &c.url]);
    assert!(o.status.success() && out(&o).starts_with("What job 9 did"), "{}{}", out(&o), err(&o));
    let o = b.ctl(&["explain", "9", "--controller", &c.url]);
    assert_eq!(o.status.code(), Some(1));
    assert!(err(&o).contains("no gang is known for job 9"), "{}", err(&o));
}
