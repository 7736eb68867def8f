//! Against a small HTTP peer that answers as the budget service does.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use burst_policy::asbb::{OnError, OnRefusal};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Instant,
};

/// What the peer was asked: path and body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// A peer that answers each call with the next of `answers` (the last one stays); None: it takes the call and is silent.
fn peer(answers: Vec<Option<(u16, &'static str)>>) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let seen = asked.clone();
    std::thread::spawn(move || {
        let (hold, mut n) = (Mutex::new(Vec::new()), 0);
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while reader.read_line(&mut head).unwrap_or(0) > 2 {}
            let length =
                head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            let path = head.split(' ').nth(1).unwrap_or("").to_owned();
            seen.lock().unwrap().push((path, serde_json::from_slice(&body).unwrap()));
            let answer = answers.get(n).or(answers.last()).copied().flatten();
            n += 1;
            let Some((status, text)) = answer else {
                hold.lock().unwrap().push(reader);
                continue;
            };
            let text = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
            // A caller that has gone away hears nothing.
            let _ = reader.get_mut().write_all(text.as_bytes());
        }
    });
    (url, asked)
}

fn service(url: &str, on_error: OnError, on_refusal: OnRefusal) -> Service {
    Service { url: url.into(), timeout: burst_plan::Seconds(1), on_error, on_refusal }
}

fn careful(url: &str) -> Service {
    service(url, OnError::Hold, OnRefusal::Hold)
}

fn check() -> Check {
    let shape = asbb::Shape { nodes: 2, cpus: 384, gpus: 0, memory_mib: 700_000, wall_s: 3_600 };
    let geometry = burst_plan::Geometry {
        account: "phys".into(),
        partition: "efa".into(),
        ..burst_plan::Geometry::default()
    };
    Check::new(&geometry, "1000", &shape)
}

async fn decide(service: &Service) -> Decision {
    Asbb::default().decide(&Host::default(), service, &check()).await
}

#[tokio::test]
async fn a_yes_carries_its_transaction_and_the_question_is_whole() {
    let yes = r#"{"available":true,"estimated_cost":14.4,"hold_amount":17.3,"transaction_id":"t-1","budget_remaining":82.7,"message":""}"#;
    let (url, asked) = peer(vec![Some((200, yes))]);
    let decision = decide(&careful(&url)).await;
    let note = "the budget service agrees: 82.70 USD remain".to_owned();
    assert_eq!(decision, Decision::Go { transaction: "t-1".into(), note });
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0].0, "/api/v1/budget/check");
    assert_eq!(
        asked[0].1,
        json!({"account": "phys", "partition": "efa", "nodes": 2, "cpus": 384, "gpus": 0, "memory": "700000M",
               "wall_time": "01:00:00", "user_id": "1000"})
    );
}

#[tokio::test]
async fn every_no_and_every_error_is_what_the_site_wants() {
    let no = r#"{"available":false,"message":"phys has 3 USD"}"#;
    let e402 = r#"{"error":{"code":"INSUFFICIENT_BUDGET","message":"3 USD"}}"#;
    let hold = (OnError::Hold, OnRefusal::Hold);
    let allow = (OnError::Allow, OnRefusal::Hold);
    let fail = (OnError::Hold, OnRefusal::Fail);
    for (status, body, (on_error, on_refusal), wanted) in [
        (200, no, hold, "wait the budget service refuses: phys has 3 USD"),
        (402, e402, hold, "wait the budget service refuses: INSUFFICIENT_BUDGET: 3 USD"),
        (402, e402, fail, "stop the budget service refuses"),
        (402, e402, allow, "wait the budget service refuses"),
        (404, "{}", hold, "wait waiting for the budget service: it knows no such account"),
        (404, "{}", allow, "go launched without the budget service's word"),
        (501, "", hold, "wait waiting for the budget service: it does not support this"),
        (501, "", allow, "go launched without the budget service's word"),
        (500, "oops", hold, "wait waiting for the budget service: HTTP 500 oops"),
        (302, "", hold, "wait waiting for the budget service: HTTP 302"),
    ] {
        let (url, _) = peer(vec![Some((status, body))]);
        let told = match decide(&service(&url, on_error, on_refusal)).await {
            Decision::Go { transaction, note } => format!("go {note}{transaction}"),
            Decision::Wait(why) => format!("wait {why}"),
            Decision::Stop(why) => format!("stop {why}"),
        };
        assert!(told.starts_with(wanted), "{status} {on_error:?} {on_refusal:?}: {told}");
    }
}

#[tokio::test]
async fn silence_ends_at_the_time_out_and_others_do_not_wait_for_it_again() {
    let (url, asked) = peer(vec![None]);
    let began = Instant::now();
    let (asbb, host, service) = (Asbb::default(), Host::default(), careful(&url));
    let decision = asbb.decide(&host, &service, &check()).await;
    assert!(
        matches!(&decision, Decision::Wait(why) if why.contains("waiting for the budget service")),
        "{decision:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let second = asbb.decide(&host, &service, &check()).await;
    assert_eq!(
        second,
        Decision::Wait("waiting for the budget service: it did not answer a moment ago".into())
    );
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_there_and_an_endless_answer_are_errors_too() {
    let decision = decide(&service("http://127.0.0.1:1", OnError::Allow, OnRefusal::Hold)).await;
    assert!(matches!(decision, Decision::Go { transaction, .. } if transaction.is_empty()));
    let endless: &'static str = Box::leak(" ".repeat(200_000).into_boxed_str());
    let (url, _) = peer(vec![Some((200, endless))]);
    let decision = decide(&careful(&url)).await;
    assert!(matches!(&decision, Decision::Wait(_)), "{decision:?}");
}

/// A directory of its own, gone at the end.
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        // What is left in /tmp harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn dir(name: &str) -> Dir {
    let path = std::env::temp_dir().join(format!("burst-asbb-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    Dir(path)
}

fn promise(transaction: &str) -> Promise {
    Promise { transaction: transaction.into(), shape: asbb::Shape::default(), at_ms: 0 }
}

#[tokio::test]
async fn a_cost_is_told_until_it_is_taken_also_by_the_next_controller() {
    let ok = r#"{"success":true}"#;
    let (url, asked) = peer(vec![Some((503, "")), Some((200, ok))]);
    let (host, service) = (Host::default(), careful(&url));
    let at = dir("told");
    let asbb = Asbb::new(Some(at.0.clone()));
    let mut life = Life::default();
    life.cost.total = Some(burst_plan::MicroUsd(2_500_000));
    asbb.put_down(&host, "17", &[promise("t-1"), promise("t-2")], Some(&life)).await.unwrap();
    assert_eq!(waiting(&at.0).len(), 2);
    asbb.tell(&host, &service, &at.0, &|text| panic!("{text}")).await;
    assert_eq!(
        (waiting(&at.0).len(), asked.lock().unwrap().len()),
        (2, 1),
        "a pass ends at the first trouble"
    );
    let other = Asbb::new(Some(at.0.clone()));
    other.tell(&host, &service, &at.0, &|text| panic!("{text}")).await;
    assert_eq!(waiting(&at.0), Vec::<PathBuf>::new());
    let asked = asked.lock().unwrap();
    let said: Vec<(&str, f64)> = asked[1..]
        .iter()
        .map(|(_, b)| (b["transaction_id"].as_str().unwrap(), b["actual_cost"].as_f64().unwrap()))
        .collect();
    assert_eq!(said, [("t-1", 0.0), ("t-2", 2.5)]);
    assert!(asked.iter().all(|(p, b)| p == "/api/v1/budget/reconcile" && b["job_id"] == "17"));
    assert!(asked[2].1["job_metadata"].as_str().unwrap().contains("cost_complete"));
}

#[tokio::test]
async fn what_the_service_never_takes_and_what_cannot_be_read_stands_in_nobody_s_way() {
    let (url, asked) = peer(vec![Some((404, "")), Some((501, "")), Some((200, "{}"))]);
    let (host, told) = (Host::default(), Mutex::new(Vec::new()));
    let at = dir("never");
    let asbb = Asbb::new(Some(at.0.clone()));
    asbb.put_down(&host, "1", &[promise("a"), promise("b"), promise("c")], None).await.unwrap();
    fs::write(at.0.join("000000000000000-000000.json"), "{").unwrap();
    asbb.tell(&host, &careful(&url), &at.0, &|text| told.lock().unwrap().push(text.to_owned())).await;
    assert_eq!((waiting(&at.0), asked.lock().unwrap().len()), (Vec::new(), 3));
    let told = told.into_inner().unwrap();
    let words = ["cannot be read", "job 1 (0 USD, transaction a)", "transaction b"];
    assert_eq!(told.len(), words.len(), "{told:?}");
    assert!(told.iter().zip(words).all(|(t, w)| t.contains(w)), "{told:?}");
}

#[tokio::test]
async fn only_so_much_waits_and_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let at = dir("full");
    let one = asbb::reconcile("1", &[promise("a")], None);
    put_down(&at.0, 1, 0, &one).unwrap();
    let file = waiting(&at.0).remove(0);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&at.0).unwrap().permissions().mode() & 0o777, 0o700);
    for n in 0..WAITING_MOST {
        fs::write(at.0.join(format!("x{n}.json")), "").unwrap();
    }
    assert!(put_down(&at.0, 1, 1, &one).unwrap_err().contains("wait already"));
}
