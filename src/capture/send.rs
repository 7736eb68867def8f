//! The way to the controller (docs/WIRE.md): a munge credential, posted by HTTP/1.1. No more of HTTP than that needs.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What a controller made of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has it, now or before.
    Taken,
    /// It will never take it.
    Refused(String),
    /// Nobody could take it now.
    Later(String),
}

/// Longest wait for one connection: another controller may answer.
const CONNECT: Duration = Duration::from_millis(800);

/// What an answer's status means for a report; None: the next controller is asked.
#[must_use]
pub fn judge(status: u16) -> Option<Verdict> {
    match status {
        200..=299 => Some(Verdict::Taken),
        408 | 429 => None,
        400..=499 => Some(Verdict::Refused(format!("the controller answers {status}"))),
        _ => None,
    }
}

/// Tries one controller after the other until one has decided.
#[must_use]
pub fn deliver(
    controllers: &[String],
    path: &str,
    message: &[u8],
    until: Instant,
    mut credential: impl FnMut(&[u8], Instant) -> Result<String, String>,
) -> Verdict {
    let mut last = "no controller is configured".to_owned();
    for base in controllers {
        // A credential is good for one decoding only.
        let body = match credential(message, until) {
            Ok(body) => body,
            Err(e) => return Verdict::Later(e),
        };
        match post(base, path, &body, until) {
            Ok(status) => match judge(status) {
                Some(verdict) => return verdict,
                None => last = format!("{base}: {status}"),
            },
            Err(e) => last = format!("{base}: {e}"),
        }
    }
    Verdict::Later(last)
}

/// A credential that binds the message, made by the program `munge`; one that hangs is ended at `until`.
///
/// # Errors
/// What munge said, or that it did not answer.
pub fn munge(program: &str, socket: Option<&str>, message: &[u8], until: Instant) -> Result<String, String> {
    let mut command = Command::new(program);
    if let Some(socket) = socket {
        command.arg(format!("--socket={socket}"));
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{program}: {e}"))?;
    // A message and its credential can be longer than a pipe holds: both ends are served by threads.
    let feeding = child.stdin.take().map(|mut to| {
        let message = message.to_vec();
        thread::spawn(move || to.write_all(&message).is_ok())
    });
    let reading = child.stdout.take().map(|from| reader(from, 512 * 1024));
    let complaining = child.stderr.take().map(|from| reader(from, 1024));
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(1)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err("munge did not answer in time and was ended; look at munged".to_owned());
            }
        }
    };
    let fed = feeding.is_some_and(|t| t.join().unwrap_or(false));
    let read = |t: Option<thread::JoinHandle<String>>| t.and_then(|t| t.join().ok()).unwrap_or_default();
    let (text, why) = (read(reading), read(complaining));
    if !status.success() {
        let why = burst_plan::clean(why.trim(), 200);
        return Err(format!("munge makes no credential ({status}): {why}; look at munged"));
    }
    match text.trim() {
        text if fed && text.starts_with("MUNGE:") => Ok(text.to_owned()),
        _ => Err(format!("{program} printed no credential")),
    }
}

/// Text from a pipe, at most `most` bytes of it.
fn reader(from: impl Read + Send + 'static, most: u64) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.take(most).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Host, port and path prefix of `http://HOST[:PORT][/PREFIX]`.
fn parts(base: &str) -> Option<(&str, u16, &str)> {
    let rest = base.strip_prefix("http://")?;
    let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (authority, 80),
    };
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let fine = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    (!host.is_empty() && host.chars().all(fine)).then_some((host, port, prefix.trim_end_matches('/')))
}

/// Posts a text and answers the status; what else is answered is not read.
///
/// # Errors
/// No usable address, nobody there, or no answer in time.
pub fn post(base: &str, path: &str, body: &str, until: Instant) -> Result<u16, String> {
    let (host, port, prefix) = parts(base).ok_or("not an address of the form http://HOST:PORT")?;
    let left = || {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err("no time is left".to_owned()) } else { Ok(left) }
    };
    let to: SocketAddr =
        (host, port).to_socket_addrs().map_err(|e| e.to_string())?.next().ok_or("the name has no address")?;
    let mut stream = TcpStream::connect_timeout(&to, left()?.min(CONNECT)).map_err(|e| e.to_string())?;
    let ready = |s: &TcpStream| {
        let left = left()?;
        s.set_write_timeout(Some(left))
            .and_then(|()| s.set_read_timeout(Some(left)))
            .map_err(|e| e.to_string())
    };
    ready(&stream)?;
    let head = format!(
        "POST {prefix}{path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    // One segment more or less: a server that reads head and body apart gets them in one.
    let sent = stream.write_all(format!("{head}{body}").as_bytes());
    // A server may refuse before it has read everything: its answer counts, not the broken pipe.
    let status = status(&mut stream, |s| ready(s));
    match (status, sent) {
        (Some(status), _) => Ok(status),
        (None, Err(e)) => Err(e.to_string()),
        (None, Ok(())) => Err("no answer that is HTTP".to_owned()),
    }
}

/// Reads no further than the first line (`HTTP/1.1 200 …`).
fn status(stream: &mut TcpStream, ready: impl Fn(&TcpStream) -> Result<(), String>) -> Option<u16> {
    let mut line = Vec::new();
    let mut piece = [0_u8; 64];
    while line.len() < 512 && !line.contains(&b'\n') {
        ready(stream).ok()?;
        let n = stream.read(&mut piece).ok()?;
        if n == 0 {
            break;
        }
        line.extend_from_slice(piece.get(..n)?);
    }
    let text = String::from_utf8_lossy(&line).into_owned();
    let mut words = text.lines().next()?.split(' ');
    words.next().filter(|w| w.starts_with("HTTP/1."))?;
    words.next()?.parse().ok().filter(|s| (100..600).contains(s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(parts("http://10.0.0.5:6826"), Some(("10.0.0.5", 6826, "")));
        assert_eq!(parts("http://ctl.site/burst/"), Some(("ctl.site", 80, "/burst")));
        assert_eq!(parts("http://[fd00::1]:1"), Some(("fd00::1", 1, "")));
        assert_eq!(parts("http://[fd00::1]"), Some(("fd00::1", 80, "")));
        for bad in ["https://x", "http://", "http://a:99999", "http://a b", "http://a\r\nX: y:1"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_a_refusal_is_final() {
        assert_eq!(judge(200), Some(Verdict::Taken));
        for status in [408, 429, 500, 502, 503, 301] {
            assert_eq!(judge(status), None, "{status}");
        }
        assert!(matches!(judge(403), Some(Verdict::Refused(_))));
        assert!(matches!(judge(410), Some(Verdict::Refused(_))));
    }
}
