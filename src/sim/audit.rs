//! The audit log: what was asked, what was answered, what became of each instance. One JSON object a line, appended.

use crate::clock::now_ms;
use crate::query::Params;
use crate::world::Instance;
use serde::Serialize;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The log's writer.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    file: Mutex<File>,
}

/// One call.
#[derive(Debug, Serialize)]
pub struct Call<'a> {
    /// Always `call`.
    pub event: &'static str,
    /// When it arrived.
    pub at_ms: u64,
    /// When it was answered.
    pub answered_ms: u64,
    /// Action's name.
    pub action: &'a str,
    /// Every parameter, verbatim and in order.
    pub params: &'a Params,
    /// HTTP status; 0 when no answer was sent.
    pub status: u16,
    /// Error code, if refused.
    pub error: Option<&'a str>,
    /// Error text, if refused.
    pub message: Option<&'a str>,
    /// Request id.
    pub request_id: &'a str,
    /// The fault rule that hit this call.
    pub fault: Option<String>,
    /// Whether the call had an effect (a fault may have kept it from having one, or hidden it).
    pub done: bool,
    /// User-Agent of the caller.
    pub user_agent: &'a str,
}

impl Audit {
    /// Opens (appends to) the log of this state directory.
    pub fn open(dir: &Path) -> std::io::Result<Self> {
        let path = dir.join("audit.jsonl");
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn line(&self, value: &impl Serialize) {
        let Ok(mut text) = serde_json::to_string(value) else { return };
        text.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = file.write_all(text.as_bytes()) {
            eprintln!("burst-ec2sim: cannot write {}: {e}", self.path.display());
        }
    }

    /// Writes a call.
    pub fn call(&self, call: &Call<'_>) {
        self.line(call);
    }

    /// Writes what became of an instance.
    pub fn instance(&self, i: &Instance, why: &str) {
        self.line(&json!({
            "event": format!("instance-{}", i.state.name()), "at_ms": now_ms(), "instance_id": i.id,
            "fleet_id": i.fleet_id, "type": i.itype, "zone": i.zone, "market": i.market, "tags": i.tags,
            "private_ip": i.private_ip, "placement_group": i.group, "why": why,
        }));
    }

    /// Writes anything else worth knowing (start, stop, administrator's orders).
    pub fn note(&self, event: &str, detail: serde_json::Value) {
        self.line(&json!({"event": event, "at_ms": now_ms(), "detail": detail}));
    }
}
