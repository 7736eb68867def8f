//! One question to the controller: a munge credential over HTTP (docs/WIRE.md, "Person → controller").

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

/// Makes credentials with the `munge` program, so that no library has to be linked.
#[derive(Debug, Clone, Default)]
pub struct Munge {
    /// munged's socket; `None`: munge's own default.
    pub socket: Option<PathBuf>,
}

impl Munge {
    /// A credential whose payload is `payload`.
    ///
    /// # Errors
    /// What failed and what to do.
    pub fn credential(&self, payload: &[u8]) -> Result<String, String> {
        let mut command = Command::new("munge");
        if let Some(socket) = &self.socket {
            command.arg("--socket").arg(socket);
        }
        // By stdin: arguments are visible to every user of the machine.
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| {
            format!("cannot run the program munge ({e}); install the package munge, or put it into PATH")
        })?;
        // Dropped at the end of the statement: munge reads until the end of its input.
        let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(payload));
        let output = child.wait_with_output().map_err(|e| format!("the program munge was lost: {e}"))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() && written.is_ok() && text.starts_with("MUNGE:") {
            return Ok(text);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let said = if said.is_empty() { format!("it ended with {}", output.status) } else { said };
        Err(format!(
            "munge made no credential: {said}; is munged running here? Where it listens on another socket, give \
             --munge-socket (or MUNGE_SOCKET)"
        ))
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub text: String,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// No credential could be made.
    Munge(String),
    /// Nobody answered: (URL, why), one for each controller tried.
    Unreachable(Vec<(String, String)>),
}

/// Longest answer that is read: a status of thousands of gangs is a few MiB.
const MOST: u64 = 64 * 1024 * 1024;

/// Posts `payload` to `path` of the first controller that is the active one.
///
/// # Errors
/// No credential, or no controller answered.
pub fn post(
    urls: &[String],
    path: &str,
    payload: &[u8],
    munge: &Munge,
    limit: Duration,
) -> Result<Reply, Lost> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        // A site's proxy for the outside world must not see credentials of the cluster.
        .proxy(None)
        .build()
        .into();
    let mut tried = Vec::new();
    let mut standby = None;
    for url in urls {
        // A credential can be used once only (munged refuses replays), so each controller gets its own.
        let body = munge.credential(payload).map_err(Lost::Munge)?;
        let target = format!("{}{path}", url.trim_end_matches('/'));
        let answer = agent.post(&target).header("Content-Type", "text/plain").send(body).and_then(|mut r| {
            let status = r.status().as_u16();
            r.body_mut().with_config().limit(MOST).read_to_string().map(|text| Reply { status, text })
        });
        match answer {
            Ok(reply) if reply.status == 503 => standby = Some(reply),
            Ok(reply) => return Ok(reply),
            Err(e) => tried.push((url.clone(), e.to_string())),
        }
    }
    standby.ok_or(Lost::Unreachable(tried))
}

/// The text for people in an error answer, else the answer itself.
#[must_use]
pub fn error_text(reply: &Reply) -> String {
    serde_json::from_str::<serde_json::Value>(&reply.text)
        .ok()
        .and_then(|v| v.get("error").and_then(|e| e.as_str()).map(str::to_owned))
        .unwrap_or_else(|| {
            let short: String = reply.text.chars().filter(|c| !c.is_control()).take(200).collect();
            format!("HTTP {} {short}", reply.status).trim_end().to_owned()
        })
}
