//! The listener: instances ask who they are, people ask what happens (docs/WIRE.md).

use crate::{
    care::lock,
    controller::{Controller, Loud},
    core::{Answer, Event, Question, operate::Wish},
    host::Host,
    journal::Journal,
    people,
    shared::{Msg, Shared},
};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use burst_policy::stops::How;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};

/// A credential binds at most some KiB; anything longer is an attack (bytes).
const BODY_MOST: usize = 64 * 1024;
/// A report of a job in a credential: base64 of what [`burst_plan::report::REPORT_MOST`] allows, with its frame (bytes).
const REPORT_BODY_MOST: usize = 96 * 1024;
/// How long a bootstrap is held before it is told to ask again.
const HOLD: Duration = Duration::from_secs(10);
/// Most rows of the audit in one answer.
const AUDIT_MOST: u32 = 10_000;

/// What the listener needs.
#[derive(Clone)]
pub struct Desk {
    /// For munge.
    pub controller: Arc<dyn Controller>,
    /// Threads for munge: a flood of callers must not take those of the engine.
    pub host: Host,
    /// To the core.
    pub sender: mpsc::Sender<Msg>,
    /// Moves when the node table does.
    pub nodes: watch::Receiver<u64>,
    /// SlurmUser.
    pub slurm_uid: u32,
    /// Whose words count, and what an operator can say although the engine is not up.
    pub shared: Arc<Shared>,
    /// The journal, once it is open.
    pub journal: Arc<std::sync::OnceLock<Journal>>,
}

struct Caller {
    uid: u32,
    payload: Value,
}

/// The routes.
pub fn router(desk: Desk) -> Router {
    Router::new()
        .route("/v1/bootstrap", post(bootstrap))
        .route("/v1/report", post(report).layer(DefaultBodyLimit::max(REPORT_BODY_MOST)))
        .route("/v1/query", post(query))
        .route("/v1/control", post(control))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(BODY_MOST))
        .with_state(desk)
}

fn json_answer(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn refuse(status: u16, code: &str, text: &str) -> Response {
    json_answer(status, &json!({"error": text, "code": code}))
}

impl Desk {
    async fn caller(&self, body: Bytes) -> Result<Caller, Response> {
        let text = String::from_utf8(body.to_vec())
            .ok()
            .filter(|t| t.starts_with("MUNGE:") && !t.contains('\0'))
            .ok_or_else(|| refuse(400, "credential", "the body is not a munge credential"))?;
        let controller = self.controller.clone();
        let decoded = self
            .host
            .in_turn(move || controller.decode(text.trim()))
            .await
            .map_err(|e| refuse(500, "internal", &e))?
            .map_err(|e| refuse(401, "credential", &format!("munge refuses the credential: {e}")))?;
        let payload: Value = serde_json::from_slice(&decoded.payload)
            .map_err(|e| refuse(400, "payload", &format!("the credential's payload is not JSON: {e}")))?;
        if payload.get("v").and_then(Value::as_u64) != Some(1) {
            return Err(refuse(
                400,
                "version",
                "this controller speaks version 1; install matching programs",
            ));
        }
        Ok(Caller { uid: decoded.uid, payload })
    }

    async fn node(&self, body: Bytes) -> Result<Caller, Response> {
        let caller = self.caller(body).await?;
        if caller.uid != 0 && caller.uid != self.slurm_uid {
            let text = format!("uid {} is neither root nor SlurmUser", caller.uid);
            self.controller
                .log(crate::controller::Loud::Error, &format!("a node's request was refused: {text}"));
            return Err(refuse(403, "identity", &text));
        }
        Ok(caller)
    }

    fn is_operator(&self, uid: u32) -> bool {
        uid == 0 || uid == self.slurm_uid || self.shared.care.operators.load().contains(&uid)
    }

    async fn ask(&self, question: Question) -> (u16, Value) {
        let (tx, rx) = oneshot::channel();
        let gone = || (503, json!({"error": "the engine is not running", "code": "engine"}));
        // While it waits for its state directory nobody answers.
        if let Some(why) = lock(&self.shared.care.waits).clone() {
            return (503, json!({"error": format!("the engine waits: {why}"), "code": "waits"}));
        }
        if self.sender.send(Msg::Ask(Box::new(question), tx)).await.is_err() {
            return gone();
        }
        match rx.await {
            Ok(Answer::Json(status, body)) => (status, body),
            Ok(Answer::Kept(word, body)) => match word.await {
                Ok(Ok(_)) => (200, body),
                Ok(Err(e)) => (503, not_kept(&body, &e.to_string())),
                Err(_) => (503, not_kept(&body, "the journal's writer is gone")),
            },
            _ => gone(),
        }
    }
}

/// It holds in memory, and a restart would forget it.
fn not_kept(body: &Value, why: &str) -> Value {
    let says = body.get("says").and_then(Value::as_str).unwrap_or("done");
    json!({"error": format!("{says}; but a restart of slurmctld forgets it while the journal cannot be written: {why}"), "code": "journal"})
}

async fn bootstrap(State(mut desk): State<Desk>, body: Bytes) -> Response {
    let caller = match desk.node(body).await {
        Ok(c) => c,
        Err(r) => return r,
    };
    let ask = match serde_json::from_value(caller.payload) {
        Ok(b) => Question::Bootstrap(b),
        Err(e) => return refuse(400, "payload", &e.to_string()),
    };
    let until = tokio::time::Instant::now() + HOLD;
    loop {
        let (status, answer) = desk.ask(ask.clone()).await;
        let wait = status == 200 && answer.get("start") == Some(&Value::Bool(false));
        if !wait || tokio::time::Instant::now() >= until {
            return json_answer(status, &answer);
        }
        // The time-out only bounds the wait: the core is asked again either way.
        let _ = tokio::time::timeout(Duration::from_millis(500), desk.nodes.changed()).await;
    }
}

/// What a report that got no further than this listener was refused for.
fn why(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "credential",
        StatusCode::FORBIDDEN => "identity",
        StatusCode::PAYLOAD_TOO_LARGE => "size",
        _ => "payload",
    }
}

async fn report(State(desk): State<Desk>, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(b) => b,
        Err(e) => {
            let refused = e.into_response();
            desk.shared.reports.refuse(why(refused.status()));
            return refused;
        }
    };
    let caller = match desk.node(body).await {
        Ok(c) => c,
        Err(r) => {
            desk.shared.reports.refuse(why(r.status()));
            return r;
        }
    };
    if text(&caller.payload, "kind") == "job" {
        return match serde_json::from_value(caller.payload) {
            Ok(r) => {
                let (status, answer) = desk.ask(Question::JobReport(Box::new(r))).await;
                json_answer(status, &answer)
            }
            Err(e) => {
                desk.shared.reports.refuse("payload");
                refuse(400, "payload", &e.to_string())
            }
        };
    }
    match serde_json::from_value(caller.payload) {
        Ok(r) => {
            let (status, answer) = desk.ask(Question::Report(r)).await;
            json_answer(status, &answer)
        }
        Err(e) => refuse(400, "payload", &e.to_string()),
    }
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v.get(key).and_then(Value::as_str).unwrap_or("")
}

async fn query(State(desk): State<Desk>, body: Bytes) -> Response {
    let caller = match desk.caller(body).await {
        Ok(c) => c,
        Err(r) => return r,
    };
    let (uid, operator) = (caller.uid, desk.is_operator(caller.uid));
    let question = match text(&caller.payload, "what") {
        "status" => Question::Status { uid, operator },
        "timings" if operator => Question::Timings,
        "audit" if operator => return audit(&desk, &caller.payload).await,
        "timings" | "audit" => {
            return refuse(
                403,
                "identity",
                "only root, SlurmUser and the operators of burst.toml may ask this",
            );
        }
        "explain" => Question::Explain { uid, operator, job: text(&caller.payload, "job").to_owned() },
        "history" => return past(&desk, caller, operator).await,
        _ => return refuse(400, "what", "`what` is status, explain, history, timings or audit"),
    };
    let (status, answer) = desk.ask(question).await;
    json_answer(status, &answer)
}

/// Lives that are over; the core is not asked.
async fn past(desk: &Desk, caller: Caller, operator: bool) -> Response {
    if !desk.controller.active() {
        return refuse(503, "standby", "this controller is not the active one");
    }
    let filter = match serde_json::from_value(caller.payload) {
        Ok(f) => f,
        Err(e) => return refuse(400, "payload", &e.to_string()),
    };
    let Some(journal) = desk.journal.get() else {
        return refuse(503, "engine", "the journal is not open yet");
    };
    match crate::history::lives(journal, filter, caller.uid, operator).await {
        Ok(lives) => json_answer(200, &lives),
        Err(e) => refuse(500, "journal", &e.to_string()),
    }
}

async fn control(State(desk): State<Desk>, body: Bytes) -> Response {
    let caller = match desk.caller(body).await {
        Ok(c) => c,
        Err(r) => return r,
    };
    if !desk.is_operator(caller.uid) {
        return refuse(403, "identity", "only root, SlurmUser and the operators of burst.toml may do this");
    }
    let question = match text(&caller.payload, "do") {
        "terminate" => {
            Question::Terminate { gang: text(&caller.payload, "gang").to_owned(), uid: caller.uid }
        }
        "power" => match burst_plan::hostlist::expand(text(&caller.payload, "nodes")) {
            Ok(nodes) => Question::Power { op: text(&caller.payload, "op").to_owned(), nodes },
            Err(e) => return refuse(400, "nodes", &e.to_string()),
        },
        "adopt" => return adopt(&desk, &caller).await,
        what => match wish(what, &caller.payload) {
            Some(wish) => {
                let who = tokio::task::spawn_blocking(move || people::who(caller.uid)).await;
                Question::Operate { wish, who: who.unwrap_or_else(|_| format!("uid {}", caller.uid)) }
            }
            None => {
                let all = "`do` is terminate, pause, resume, drain, retry, adopt or power";
                return refuse(400, "do", all);
            }
        },
    };
    let (status, answer) = desk.ask(question).await;
    json_answer(status, &answer)
}

/// What an operator wants of gangs and pools.
fn wish(what: &str, payload: &Value) -> Option<Wish> {
    let pool = payload.get("pool").and_then(Value::as_str).map(str::to_owned);
    Some(match what {
        "pause" => Wish::Stop { how: How::Pause, pool },
        "drain" => Wish::Stop { how: How::Drain, pool },
        "resume" => Wish::Resume { pool },
        "retry" => Wish::Retry { job: text(payload, "job").to_owned() },
        _ => return None,
    })
}

/// Not the core's: it may be what the engine waits for.
async fn adopt(desk: &Desk, caller: &Caller) -> Response {
    let uuid = caller.payload.get("uuid").and_then(Value::as_str).map(str::to_owned);
    let (shared, controller, uid) = (desk.shared.clone(), desk.controller.clone(), caller.uid);
    let done = tokio::task::spawn_blocking(move || {
        if !controller.active() {
            return Err("this controller is not the active one".to_owned());
        }
        let says = shared.care.adopt(uuid.as_deref(), shared.managed.load().len())?;
        controller.log(Loud::Info, &format!("{}: {says}", people::who(uid)));
        Ok(says)
    });
    match done.await {
        Ok(Ok(says)) => {
            // A core that is not there yet will see it when it is.
            let _ = desk.sender.try_send(Msg::Internal(Box::new(Event::Reconsider)));
            json_answer(200, &json!({"ok": true, "says": says}))
        }
        Ok(Err(why)) => refuse(409, "adopt", &why),
        Err(e) => refuse(500, "internal", &e.to_string()),
    }
}

/// What collection has ended.
async fn audit(desk: &Desk, payload: &Value) -> Response {
    let last = payload.get("last").and_then(Value::as_u64).unwrap_or(100);
    let last = u32::try_from(last).unwrap_or(AUDIT_MOST).min(AUDIT_MOST);
    let Some(journal) = desk.journal.get() else {
        return refuse(503, "engine", "the journal is not open yet");
    };
    match journal.audit_rows(last).await.map(|t| serde_json::from_str::<Value>(&t.unwrap_or_default())) {
        Ok(Ok(rows)) => json_answer(200, &json!({"audit": rows})),
        Ok(Err(e)) => refuse(500, "internal", &e.to_string()),
        Err(e) => refuse(503, "journal", &e.to_string()),
    }
}

async fn metrics(State(desk): State<Desk>) -> Response {
    let (status, answer) = desk.ask(Question::Metrics).await;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = answer.as_str().unwrap_or("").to_owned();
    (status, [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], body)
        .into_response()
}
