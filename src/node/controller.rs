//! Talking to the controller (docs/WIRE.md): every body is a munge credential.

use crate::{
    imds::{Facts, agent},
    say,
    settings::Settings,
};
use burst_capture::{Verdict, send};
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// A bootstrap is held up to 10 s by the controller.
const PATIENCE: Duration = Duration::from_secs(15);
/// A report is answered at once; nothing may hold the dead-man switch up for longer.
const BRIEF: Duration = Duration::from_secs(3);
/// For the report of a failure, the last that is heard of an instance.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// Longest `detail`, bytes.
const DETAIL: usize = 1_024;
/// First and longest pause between tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A name, and how to serve under it.
#[derive(Debug, Clone)]
pub struct Named {
    /// Slurm node name.
    pub node: String,
    /// Arguments of slurmd's first start.
    pub slurmd_args: Vec<String>,
    /// Overrides the settings'.
    pub orphan_limit_s: Option<f64>,
    /// Pause between reports.
    pub report_s: Option<f64>,
    /// The job's latest end.
    pub deadline_unix: Option<u64>,
}

/// What a report is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// Nobody wants this instance.
    pub poweroff: bool,
    /// slurmd has to register again.
    pub register: bool,
    /// The job's latest end.
    pub deadline_unix: Option<u64>,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Orders.
    Orders(Orders),
    /// A controller that does not know the instance (404, 410): to be asked once more before it is believed.
    Unknown,
    /// Nobody answered.
    Nothing,
}

/// Where requests go out.
pub struct Desk {
    settings: Settings,
    facts: Facts,
    agent: ureq::Agent,
    told: String,
}

impl Desk {
    /// For one instance.
    pub fn new(settings: &Settings, facts: &Facts) -> Self {
        Self { settings: settings.clone(), facts: facts.clone(), agent: agent(PATIENCE), told: String::new() }
    }

    /// Says what changed only.
    fn note(&mut self, text: String) {
        if text != self.told {
            say(&text);
            self.told = text;
        }
    }

    /// Bounded by `until`: a munge that hangs must not keep the instance alive.
    fn credential(&self, payload: &Value, until: Instant) -> Result<String, String> {
        let socket = self.settings.munge_socket.as_deref();
        send::munge(&self.settings.munge, socket, payload.to_string().as_bytes(), until)
    }

    /// The first controller that answers anything but 503.
    fn post(&self, path: &str, payload: &Value, patience: Duration) -> Result<(u16, Value), String> {
        let mut last = "no controller is configured".to_owned();
        for base in &self.settings.controllers {
            // A credential is good for one decoding only.
            let credential = self.credential(payload, Instant::now() + patience)?;
            let url = format!("{}{path}", base.trim_end_matches('/'));
            let request = self.agent.post(&url).config().timeout_global(Some(patience)).build();
            match request.header("Content-Type", "text/plain").send(&credential) {
                Ok(mut answer) => {
                    let status = answer.status().as_u16();
                    let text = answer.body_mut().with_config().limit(64 * 1024).read_to_string();
                    let body = text.ok().and_then(|t| serde_json::from_str(&t).ok());
                    match body {
                        Some(body) if status != 503 => return Ok((status, body)),
                        _ => last = format!("{url}: {status}"),
                    }
                }
                Err(e) => last = format!("{url}: {e}"),
            }
        }
        Err(last)
    }

    /// Asks for the name until it may be used, the instance is unwanted, or the deadline has passed.
    pub fn bootstrap(&mut self, efa: u32, deadline: Instant, stop: &AtomicBool) -> Result<Named, String> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let payload = json!({
            "v": 1, "instance_id": self.facts.instance_id, "instance_type": self.facts.instance_type,
            "zone": self.facts.zone, "private_ip": self.facts.private_ip, "hostname": self.facts.hostname,
            "efa_devices": efa, "boot_id": boot.trim(),
        });
        let mut pause = PAUSES.0;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err("told to stop".into());
            }
            if Instant::now() >= deadline {
                return Err(format!("not named within boot_limit; last: {}", self.told));
            }
            // Whoever holds the line does not stretch the limit.
            let left = deadline.saturating_duration_since(Instant::now());
            let answer =
                self.post("/v1/bootstrap", &payload, PATIENCE.min(left).max(Duration::from_millis(100)));
            let wait = match answer {
                Ok((200, body)) => match named(&body) {
                    Some(n) => return Ok(n),
                    None if body.get("start").and_then(Value::as_bool) == Some(false) => retry(&body),
                    None => {
                        self.note("the controller's answer names no node that can be started".into());
                        None
                    }
                },
                Ok((202, body)) => {
                    self.note(format!(
                        "not known yet: {}",
                        body.get("why").and_then(Value::as_str).unwrap_or("")
                    ));
                    retry(&body)
                }
                Ok((status @ (403 | 409 | 410), body)) => {
                    let why = body.get("error").and_then(Value::as_str).unwrap_or("no reason given");
                    return Err(format!("the controller refuses this instance ({status}): {why}"));
                }
                Ok((status, _)) => {
                    self.note(format!("the controller answers {status}"));
                    None
                }
                Err(e) => {
                    self.note(e);
                    None
                }
            };
            let left = deadline.saturating_duration_since(Instant::now());
            match wait {
                Some(w) => {
                    pause = PAUSES.0;
                    rest(w.min(left), stop);
                }
                None => {
                    rest(jitter(pause).min(left), stop);
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Tells what failed, more than once if need be: it saves the gang the whole boot limit.
    pub fn failed(&mut self, node: &str, detail: &str, stop: &AtomicBool) {
        let until = Instant::now() + LAST_WORDS;
        let mut pause = PAUSES.0;
        while self.report("failed", node, 0, detail) == Heard::Nothing {
            if stop.load(Ordering::Relaxed) || Instant::now() + pause >= until {
                say("no controller took the report of this failure; its boot limit will tell it");
                return;
            }
            rest(jitter(pause), stop);
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Reports once to whoever answers.
    pub fn report(&mut self, kind: &str, node: &str, jobs: usize, detail: &str) -> Heard {
        let detail = detail.get(..detail.floor_char_boundary(DETAIL)).unwrap_or_default();
        let payload = json!({
            "v": 1, "instance_id": self.facts.instance_id, "node": node, "kind": kind, "jobs": jobs, "detail": detail,
        });
        match self.post("/v1/report", &payload, BRIEF) {
            Ok((200, body)) => {
                self.told.clear();
                Heard::Orders(Orders {
                    poweroff: body.get("orders").and_then(Value::as_str) == Some("poweroff"),
                    register: body.get("orders").and_then(Value::as_str) == Some("register"),
                    deadline_unix: body.get("deadline_unix").and_then(Value::as_u64),
                })
            }
            Ok((status, _)) => {
                self.note(format!("a report was answered {status}"));
                if matches!(status, 404 | 410) { Heard::Unknown } else { Heard::Nothing }
            }
            Err(e) => {
                self.note(format!("no controller answers: {e}"));
                Heard::Nothing
            }
        }
    }
}

impl Desk {
    /// Hands a spooled report over (what an epilog could not).
    pub fn deliver(&self, message: &[u8]) -> Verdict {
        let Ok(payload) = serde_json::from_slice(message) else {
            return Verdict::Refused("it is not JSON".into());
        };
        match self.post("/v1/report", &payload, BRIEF) {
            Ok((status, _)) => send::judge(status)
                .unwrap_or_else(|| Verdict::Later(format!("the controller answers {status}"))),
            Err(e) => Verdict::Later(e),
        }
    }
}

fn retry(body: &Value) -> Option<Duration> {
    let ms = body.get("retry_ms").and_then(Value::as_u64).unwrap_or(200);
    Some(Duration::from_millis(ms.clamp(10, 10_000)))
}

/// Sleeps in pieces, so that a signal is heeded soon.
fn rest(pause: Duration, stop: &AtomicBool) {
    let until = Instant::now() + pause;
    while !stop.load(Ordering::Relaxed) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// Half fixed, half by the clock's low digits: instances that boot together do not ask together.
pub(crate) fn jitter(pause: Duration) -> Duration {
    let part = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |t| t.subsec_nanos() % 1_000);
    pause / 2 + pause / 2 * part / 1_000
}

fn named(body: &Value) -> Option<Named> {
    if body.get("start").and_then(Value::as_bool) != Some(true) {
        return None;
    }
    let node = body.get("node").and_then(Value::as_str)?;
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if node.is_empty() || node.len() > 64 || node.starts_with('-') || !node.chars().all(fine) {
        return None;
    }
    let args = body.get("slurmd_args").and_then(Value::as_array).into_iter().flatten();
    Some(Named {
        node: node.to_owned(),
        // Nothing but the fresh-boot flag is taken from the network.
        slurmd_args: args.filter_map(Value::as_str).filter(|a| *a == "-b").map(str::to_owned).collect(),
        orphan_limit_s: body.get("orphan_limit_s").and_then(Value::as_f64).filter(|n| *n > 0.0),
        report_s: body.get("report_s").and_then(Value::as_f64).filter(|n| *n > 0.0),
        deadline_unix: body.get("deadline_unix").and_then(Value::as_u64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_only_when_it_may_start() {
        assert!(named(&json!({"node":"e-1","start":false})).is_none());
        assert!(named(&json!({"node":"-c;rm","start":true})).is_none());
        let n = named(&json!({"node":"e-1","start":true,"slurmd_args":["-b","-f","/tmp/x"]})).expect("named");
        assert_eq!((n.node.as_str(), n.slurmd_args), ("e-1", vec!["-b".to_owned()]));
    }
}
