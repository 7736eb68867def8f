//! Alerts: a line of JSON each, at the end of a file that a program outside slurmctld follows (docs/RECORD.md).
//!
//! No command is started here. slurmctld waits for children of its own, and a child of a process with its many threads and open
//! files is never free of risk; whoever follows the file can run what it likes.

use crate::effects::Hands;
use serde_json::Value;
use std::{io::Write, os::unix::fs::OpenOptionsExt, path::Path};

/// Appends the alert where the site wants one; does not wait for it.
pub(crate) fn give(hands: &Hands, alert: &Value) {
    let snapshot = hands.shared.snapshot.load();
    let Some(path) = snapshot.config.as_ref().and_then(|c| c.limits.spending.alert_file.clone()) else {
        return;
    };
    let line = format!("{alert}\n");
    let host = hands.host.clone();
    hands.host.spawn(async move {
        let wrote = host.block(move || append(&path, &line)).await;
        if let Err(error) = wrote.and_then(|w| w) {
            tracing::error!(error, "an alert could not be written");
        }
    });
}

/// A line at the end of a file, in one write: who follows the file sees whole lines.
fn append(path: &Path, line: &str) -> Result<(), String> {
    let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o640).open(path);
    file.and_then(|mut f| f.write_all(line.as_bytes())).map_err(|e| format!("{}: {e}", path.display()))
}
