//! HTTP: who asks for what, the order of checks of an API call, and connections that break on order.

use crate::actions::{self, Request};
use crate::audit::Call;
use crate::clock::now_ms;
use crate::errors::{ApiError, ApiResult};
use crate::faults::{self, Kind, Rule};
use crate::query::Params;
use crate::sim::Sim;
use crate::{admin, imds, xml};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

const MAX_BODY: usize = 4 << 20;

/// The connection is to break without an answer.
#[derive(Debug)]
pub struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("connection broken by a fault rule")
    }
}
impl std::error::Error for Broken {}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// API, administrator and metadata.
    All,
    /// Metadata only: what instances with their own network reach.
    Metadata,
}

/// Accepts connections for ever.
pub async fn serve(sim: Arc<Sim>, listener: TcpListener, face: Face) {
    loop {
        let stream = match listener.accept().await {
            Ok((s, _)) => s,
            Err(e) => {
                eprintln!("burst-ec2sim: accept: {e}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let sim = Arc::clone(&sim);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |req| {
                let sim = Arc::clone(&sim);
                async move { route(&sim, req, face).await }
            });
            // An error here is a peer that went away, or a break on order.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn reply(status: u16, kind: &str, text: String) -> Response<Body> {
    let mut r = Response::new(Body::from(text));
    *r.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(v) = kind.parse() {
        r.headers_mut().insert("content-type", v);
    }
    r
}

async fn route(sim: &Arc<Sim>, req: hyper::Request<Incoming>, face: Face) -> Result<Response<Body>, Broken> {
    let (head, body) = req.into_parts();
    let Ok(body) = to_bytes(Body::new(body), MAX_BODY).await else {
        return Ok(reply(413, "text/plain", "body too large\n".into()));
    };
    let path = head.uri.path();
    if let Some((id, rest)) = path.strip_prefix("/imds/").and_then(|p| p.split_once('/')) {
        let (status, text) = imds::answer(sim.holder(id), &head.method, id, rest, &head.headers);
        return Ok(reply(status, "text/plain", text));
    }
    if face == Face::Metadata {
        return Ok(reply(404, "text/plain", String::new()));
    }
    if let Some(rest) = path.strip_prefix("/_sim/") {
        let (status, kind, text) = admin::answer(sim, &head.method, rest, &body);
        return Ok(reply(status, kind, text));
    }
    if path != "/" || head.method != Method::POST {
        return Ok(reply(
            404,
            "text/plain",
            "POST API calls to /; administrator's paths are under /_sim/\n".into(),
        ));
    }
    api(of_region(sim, &head.headers), &head.headers, &body).await
}

/// The Region that a call is scoped to; the first one refuses what is no Region of the account.
fn of_region<'a>(sim: &'a Arc<Sim>, headers: &HeaderMap) -> &'a Arc<Sim> {
    let auth = headers.get("authorization").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let scope = auth.split("Credential=").nth(1).and_then(|c| c.split(',').next()).unwrap_or_default();
    scope.split('/').nth(2).and_then(|r| sim.regions.get(r)).unwrap_or(sim)
}

/// Whether the call is signed in the form of Signature Version 4; the signature itself is not verified.
fn signed(sim: &Sim, headers: &HeaderMap) -> ApiResult<()> {
    let text = |n: &str| headers.get(n).and_then(|v| v.to_str().ok());
    let fail = |why: &str| Err(ApiError::with_status(401, "AuthFailure", why));
    let Some(auth) = text("authorization") else {
        return fail("AWS was not able to validate the provided access credentials: no Authorization header");
    };
    let Some(rest) = auth.strip_prefix("AWS4-HMAC-SHA256 ") else {
        return fail("AWS was not able to validate the provided access credentials: not AWS4-HMAC-SHA256");
    };
    let field = |name: &str| {
        rest.split(',').find_map(|p| p.trim().strip_prefix(name).and_then(|p| p.strip_prefix('=')))
    };
    let scope: Vec<&str> = field("Credential").unwrap_or_default().split('/').collect();
    let [key, date, region, service, "aws4_request"] = scope.as_slice() else {
        return fail("Credential must have the form KEY/DATE/REGION/SERVICE/aws4_request");
    };
    if key.is_empty() || date.len() != 8 || !date.bytes().all(|b| b.is_ascii_digit()) {
        return fail("Credential must have the form KEY/DATE/REGION/SERVICE/aws4_request");
    }
    if !matches!(*service, "ec2" | "sts") {
        return fail("Credential should be scoped to correct service: 'ec2' or 'sts'");
    }
    if *region != sim.cfg.region {
        return fail(&format!(
            "Credential should be scoped to a valid region ('{}'), not '{region}'",
            sim.cfg.region
        ));
    }
    if !field("SignedHeaders").is_some_and(|h| h.split(';').any(|h| h == "host")) {
        return fail("'host' must be a 'SignedHeader' in the AWS Authorization");
    }
    if !field("Signature").is_some_and(|s| s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit())) {
        return fail("Signature must be 64 hexadecimal digits");
    }
    if text("x-amz-date").or(text("date")).is_none() {
        return Err(ApiError::new("IncompleteSignature", "The request must contain the header X-Amz-Date"));
    }
    Ok(())
}

fn perform(
    sim: &Sim,
    headers: &HeaderMap,
    params: &Params,
    action: &str,
    fleet_fault: Option<Rule>,
) -> ApiResult<Value> {
    signed(sim, headers)?;
    if action.is_empty() {
        return Err(ApiError::new("MissingAction", "The request must contain the parameter Action"));
    }
    let version = if action == "GetCallerIdentity" { "2011-06-15" } else { "2016-11-15" };
    match params.get("Version") {
        Some(v) if v == version => {}
        Some(v) => {
            return Err(ApiError::new(
                "InvalidAction",
                format!("The action {action} is not valid for version {v}; use {version}."),
            ));
        }
        None => return Err(ApiError::missing("Version")),
    }
    let tree = params.check(action)?;
    {
        let mut w = sim.world();
        let narrowed = params.0.iter().any(|(k, _)| k != "Action" && k != "Version" && k != "DryRun");
        if w.knobs.throttling && !w.buckets.request(action, narrowed, now_ms()) {
            return Err(ApiError::with_status(503, "RequestLimitExceeded", "Request limit exceeded."));
        }
    }
    actions::run(action, &Request { sim, tree, params, fleet_fault })
}

async fn api(sim: &Arc<Sim>, headers: &HeaderMap, body: &[u8]) -> Result<Response<Body>, Broken> {
    let at_ms = now_ms();
    let request_id = sim.ids.uuid();
    let (params, broken_form) = match Params::decode(body) {
        Ok(p) => (p, None),
        Err(e) => (Params(vec![("(body)".into(), String::from_utf8_lossy(body).into_owned())]), Some(e)),
    };
    let action = params.get("Action").unwrap_or_default().to_owned();
    let (fault, latency) = {
        let mut w = sim.world();
        (faults::strike(&mut w.faults, &action), w.knobs.latency_ms)
    };
    let kind = fault.as_ref().map(|f| f.kind);
    let wait = |ms: u64| tokio::time::sleep(Duration::from_millis(ms));
    wait(latency).await;
    let ordered = fault.as_ref().map(|f| ApiError::with_status(f.status, &f.code, f.text()));
    let mut done = false;
    let mut result = match (kind, broken_form, ordered.clone()) {
        (Some(Kind::Error), _, Some(e)) | (_, Some(e), _) => Err(e),
        (Some(Kind::Timeout | Kind::DropConnectionBefore | Kind::Http500), ..) => Ok(Value::Null),
        _ => {
            let own = fault.clone().filter(|f| f.kind == Kind::FleetError);
            let r = perform(sim, headers, &params, &action, own);
            done = r.is_ok();
            r
        }
    };
    if let (Some(Kind::CommitThenError), Some(e)) = (kind, ordered) {
        result = Err(e);
    }
    if let (Some(Kind::Delay | Kind::Timeout), Some(f)) = (kind, &fault) {
        wait(f.ms.unwrap_or(if f.kind == Kind::Delay { 1000 } else { 60_000 })).await;
    }
    let silent = matches!(kind, Some(Kind::Timeout | Kind::DropConnectionBefore | Kind::CommitThenDrop));
    let status = match (&result, kind) {
        _ if silent => 0,
        (_, Some(Kind::Http500)) => 500,
        (Ok(_), _) => 200,
        (Err(e), _) => e.status,
    };
    sim.audit.call(&Call {
        event: "call",
        at_ms,
        answered_ms: now_ms(),
        action: &action,
        params: &params,
        status,
        error: result.as_ref().err().map(|e| e.code.as_str()),
        message: result.as_ref().err().map(|e| e.message.as_str()),
        request_id: &request_id,
        fault: kind.and_then(|k| serde_json::to_value(k).ok()).and_then(|v| v.as_str().map(str::to_owned)),
        done,
        user_agent: headers.get("user-agent").and_then(|v| v.to_str().ok()).unwrap_or_default(),
    });
    if silent {
        return Err(Broken);
    }
    if kind == Some(Kind::Http500) {
        return Ok(reply(
            500,
            "text/html",
            "<html><body><h1>500 Internal Server Error</h1></body></html>\n".into(),
        ));
    }
    let sts = action == "GetCallerIdentity";
    let text = match &result {
        Ok(v) if sts => xml::sts_answer(&action, &request_id, v),
        Ok(v) => xml::ec2_answer(&action, &request_id, v),
        Err(e) => xml::error(sts, &request_id, e),
    };
    let mut r = reply(status, "text/xml;charset=UTF-8", text);
    if let Ok(v) = request_id.parse() {
        r.headers_mut().insert("x-amzn-requestid", v);
    }
    Ok(r)
}
