//! A budget service beside slurmctld: what it is asked, what its answers do to jobs, and what it is told after the end.

use crate::help::*;
use crate::record::{actual, priced, record};
use burst_e2e::proc::wait_until;
use burst_e2e::show::field;
use burst_e2e::{Cluster, User};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The service of formats.md, as small as it can be: what it says depends on the account.
struct Service {
    url: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Service {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut mute = Vec::new();
            for stream in listener.incoming().flatten() {
                let Some((path, body)) = request(&stream) else { continue };
                theirs.lock().unwrap().push((path.clone(), body.clone()));
                let Some((status, answer)) = answer(&path, &body) else {
                    mute.push(stream);
                    continue;
                };
                let text = answer.to_string();
                let head =
                    format!("HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: ");
                let _ = (&stream)
                    .write_all(format!("{head}{}\r\nConnection: close\r\n\r\n{text}", text.len()).as_bytes());
            }
        });
        Self { url, asked }
    }

    /// Bodies that came to one of its calls.
    fn bodies(&self, call: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(path, _)| path.ends_with(call)).map(|(_, body)| body.clone()).collect()
    }
}

fn request(stream: &TcpStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.strip_prefix("POST ")?.split(' ').next()?.to_owned();
    let mut length = 0;
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let (key, value) = line.split_once(':').unwrap_or_default();
        if key.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, serde_json::from_slice(&body).ok()?))
}

/// None: it keeps silent.
fn answer(path: &str, body: &Value) -> Option<(u16, Value)> {
    let error = |code: &str, message: &str| json!({"error": {"code": code, "message": message}});
    if path == "/api/v1/budget/reconcile" {
        return Some((200, json!({"success": true})));
    }
    Some(match body["account"].as_str().unwrap_or_default() {
        "poor" => {
            let says = "the grant of the group is used up";
            (
                200,
                json!({"available": false, "estimated_cost": 3.0, "hold_amount": 0.0, "transaction_id": "", "budget_remaining": 12.5, "message": says}),
            )
        }
        "spent" => (402, error("INSUFFICIENT_BUDGET", "ask the board")),
        "lost" => (404, error("NOT_FOUND", "no account lost")),
        "old" => (501, error("NOT_IMPLEMENTED", "a later version does this")),
        "mute" => return None,
        _ => (
            200,
            json!({"available": true, "estimated_cost": 1.2, "hold_amount": 1.5, "transaction_id": "tx-17", "budget_remaining": 100.0, "message": "fine"}),
        ),
    })
}

#[test]
fn a_budget_service_is_asked_before_launches_obeyed_and_told_the_cost() {
    let service = Service::new();
    let mut spec = priced("asbb");
    let table = |error: &str, refusal: &str| {
        format!(
            "[budget_service]\nurl = \"{}\"\ntimeout = \"5s\"\non_error = \"{error}\"\non_refusal = \"{refusal}\"\n",
            service.url
        )
    };
    spec.burst_toml = table("hold", "hold");
    let c = Cluster::start(spec).unwrap();
    let of = |account: &str| submit(&c, 1, &["-A", account], "srun printenv SLURMD_NODENAME");
    let says = |job: u32, words: &[&str]| {
        let fields = c.wait_says(job, words[0], S).unwrap();
        holds(field(&fields, "AdminComment"), words, &"the comment");
    };
    let (poor, spent, lost, old) = (of("poor"), of("spent"), of("lost"), of("old"));
    says(poor, &["the budget service refuses: the grant of the group is used up", "12.50 USD remain"]);
    says(spent, &["the budget service refuses: INSUFFICIENT_BUDGET: ask the board"]);
    says(lost, &["waiting for the budget service: it knows no such account", "no account lost"]);
    says(old, &["waiting for the budget service: it does not support this", "a later version"]);
    assert_eq!(asked(&c, "CreateFleet").len(), 0, "nothing is launched without its word");

    // One that it agrees to: what it was asked, and what it is told.
    let rich = submit(&c, 2, &["-A", "rich"], "srun printenv SLURMD_NODENAME");
    ran(&c, rich, 2);
    let asked_for = |account: &str| -> Vec<Value> {
        service.bodies("/budget/check").into_iter().filter(|b| b["account"] == account).collect()
    };
    let question = asked_for("rich").remove(0);
    let user = question["user_id"].as_str().unwrap().to_owned();
    assert!(["nobody", "65534"].contains(&user.as_str()), "{question}");
    assert_eq!(
        question,
        json!({"account": "rich", "partition": "efa", "nodes": 2, "cpus": 384, "gpus": 0, "memory": "747110M",
            "wall_time": "00:05:00", "user_id": user})
    );
    let told = wait_until(S, || Ok(service.bodies("/budget/reconcile").first().cloned())).unwrap();
    assert_eq!((&told["job_id"], &told["transaction_id"]), (&json!(rich.to_string()), &json!("tx-17")));
    let r = record(&c, &rich.to_string());
    assert_eq!(told["actual_cost"], actual(&r)["actual_cost_usd"], "{told}");
    assert!(told["actual_cost"].as_f64().unwrap() >= 0.24, "two nodes for a minute at least: {told}");
    let meta: Value = serde_json::from_str(told["job_metadata"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&meta["state"], &meta["instances"], &meta["cost_complete"]),
        (&json!("COMPLETED"), &json!(2), &json!(true))
    );

    // The site changes its mind: errors let launches pass, and refusals are final.
    let text = std::fs::read_to_string(c.at.burst_toml()).unwrap();
    let reads = |n: usize, error: &str, refusal: &str| {
        let new = text.replace(&table("hold", "hold"), &table(error, refusal));
        std::fs::write(c.at.burst_toml(), new).unwrap();
        let read = || Ok((c.log().matches("burst.toml was read again").count() == n).then_some(()));
        wait_until(S, read).unwrap();
    };
    reads(1, "allow", "fail");
    for job in [lost, old] {
        ran(&c, job, 1);
    }
    for job in [poor, spent] {
        c.wait_phase(job, "Failed", S).unwrap();
        says(job, &["the budget service refuses"]);
        assert_eq!(c.state(job).unwrap(), "PENDING", "it stays held for its owner or an operator");
        c.scancel(User::Ordinary, job).unwrap();
    }
    assert_eq!(asked(&c, "CreateFleet").len(), 3);

    // One that gets no answer at all waits like those with an unusable one, and is let pass like them. It comes last: for
    // a while nobody else is asked about.
    reads(2, "hold", "fail");
    let mute = of("mute");
    says(mute, &["waiting for the budget service: "]);
    assert_eq!(asked(&c, "CreateFleet").len(), 3);
    reads(3, "allow", "fail");
    ran(&c, mute, 1);
    assert_eq!(asked(&c, "CreateFleet").len(), 4);
    let told = service.bodies("/budget/reconcile");
    assert_eq!(told.len(), 1, "nothing was held for the others: {told:?}");
    let metrics = ureq::get(format!("http://127.0.0.1:{}/metrics", c.at.controller_port())).call();
    let metrics = metrics.unwrap().body_mut().read_to_string().unwrap();
    for line in [
        "burst_budget_service_checks_total{answer=\"agreed\"} 1\n",
        "burst_budget_service_told_total{answer=\"taken\"} 1\n",
        "burst_budget_service_waiting 0\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
    let refused = |metrics: &str| {
        metrics.lines().find_map(|l| {
            l.strip_prefix("burst_budget_service_checks_total{answer=\"refused\"} ")?.parse::<u32>().ok()
        })
    };
    assert!(refused(&metrics) >= Some(4), "two jobs, twice each: {metrics}");
    finish(c);
}
