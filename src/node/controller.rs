//! Talking to the controller (docs/WIRE.md): every body is a munge credential.

use crate::{
    imds::{Facts, agent},
    say,
    settings::Settings,
};
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// A bootstrap is held up to 10 s by the controller.
const PATIENCE: Duration = Duration::from_secs(15);
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
    /// The job's latest end.
    pub deadline_unix: Option<u64>,
}

/// Where requests go out.
pub struct Desk {
    settings: Settings,
    facts: Facts,
    slow: ureq::Agent,
    quick: ureq::Agent,
    told: String,
}

impl Desk {
    /// For one instance.
    pub fn new(settings: &Settings, facts: &Facts) -> Self {
        Self {
            settings: settings.clone(),
            facts: facts.clone(),
            slow: agent(PATIENCE),
            quick: agent(Duration::from_secs(3)),
            told: String::new(),
        }
    }

    /// Says what changed only.
    fn note(&mut self, text: String) {
        if text != self.told {
            say(&text);
            self.told = text;
        }
    }

    fn credential(&self, payload: &Value) -> Result<String, String> {
        let mut command = Command::new(&self.settings.munge);
        if let Some(socket) = &self.settings.munge_socket {
            command.arg(format!("--socket={socket}"));
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}", self.settings.munge))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(payload.to_string().as_bytes()).map_err(|e| format!("munge: {e}"))?;
        }
        let out = child.wait_with_output().map_err(|e| format!("munge: {e}"))?;
        if !out.status.success() {
            let why = String::from_utf8_lossy(&out.stderr);
            return Err(format!("munge makes no credential: {}", why.trim()));
        }
        String::from_utf8(out.stdout).map(|t| t.trim().to_owned()).map_err(|e| format!("munge: {e}"))
    }

    /// The first controller that answers anything but 503.
    fn post(&self, agent: &ureq::Agent, path: &str, payload: &Value) -> Result<(u16, Value), String> {
        let mut last = "no controller is configured".to_owned();
        for base in &self.settings.controllers {
            // A credential is good for one decoding only.
            let credential = self.credential(payload)?;
            let url = format!("{}{path}", base.trim_end_matches('/'));
            match agent.post(&url).header("Content-Type", "text/plain").send(&credential) {
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
            let answer = self.post(&self.slow, "/v1/bootstrap", &payload);
            let wait = match answer {
                Ok((200, body)) => match named(&body) {
                    Some(n) => return Ok(n),
                    None => retry(&body),
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
                Some(w) => thread::sleep(w.min(left)),
                None => {
                    thread::sleep(jitter(pause).min(left));
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Reports; None when nobody answered.
    pub fn report(&mut self, kind: &str, node: &str, jobs: usize, detail: &str) -> Option<Orders> {
        let detail: String = detail.chars().take(1_024).collect();
        let payload = json!({
            "v": 1, "instance_id": self.facts.instance_id, "node": node, "kind": kind, "jobs": jobs, "detail": detail,
        });
        match self.post(&self.quick, "/v1/report", &payload) {
            Ok((200, body)) => Some(Orders {
                poweroff: body.get("orders").and_then(Value::as_str) == Some("poweroff"),
                deadline_unix: body.get("deadline_unix").and_then(Value::as_u64),
            }),
            Ok((410, _)) => Some(Orders { poweroff: true, deadline_unix: None }),
            Ok((status, _)) => {
                self.note(format!("a report was answered {status}"));
                None
            }
            Err(e) => {
                self.note(e);
                None
            }
        }
    }
}

fn retry(body: &Value) -> Option<Duration> {
    let ms = body.get("retry_ms").and_then(Value::as_u64).unwrap_or(200);
    Some(Duration::from_millis(ms.clamp(10, 10_000)))
}

/// Half fixed, half by the clock's low digits: instances that boot together do not ask together.
fn jitter(pause: Duration) -> Duration {
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
