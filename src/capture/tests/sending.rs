//! A small HTTP peer, and stand-ins for munge.
// clippy.toml frees test functions only; these are their helpers.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use burst_capture::{
    Verdict,
    sampler::{Gpu, GpuLook, Means, Sampler},
    send,
};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

mod world;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Answers each connection with the next text and sends back what it was sent.
fn peer(answers: Vec<&'static str>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        for (answer, stream) in answers.into_iter().zip(listener.incoming()) {
            let mut stream = stream.unwrap();
            tx.send(request(&mut stream)).unwrap();
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, rx)
}

fn request(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| l.strip_prefix("Content-Length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                return text;
            }
        }
        let n = stream.read(&mut piece).unwrap();
        assert!(n > 0, "cut off: {text}");
        all.extend_from_slice(&piece[..n]);
    }
}

fn plain(message: &[u8], _: Instant) -> Result<String, String> {
    Ok(format!("MUNGE:{}:", String::from_utf8_lossy(message)))
}

fn deliver(controllers: &[String], message: &[u8]) -> Verdict {
    send::deliver(controllers, "/v1/report", message, soon(), plain)
}

#[test]
fn a_report_is_posted_as_a_credential() {
    let (url, asked) = peer(vec!["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]);
    assert_eq!(deliver(std::slice::from_ref(&url), b"{\"v\":1}"), Verdict::Taken);
    let asked = asked.recv().unwrap();
    assert!(asked.starts_with("POST /v1/report HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("\r\nHost: {}\r\n", url.strip_prefix("http://").unwrap())), "{asked}");
    assert!(
        asked.contains("\r\nContent-Type: text/plain\r\n") && asked.ends_with("\r\n\r\nMUNGE:{\"v\":1}:"),
        "{asked}"
    );
}

#[test]
fn the_next_controller_is_asked_until_one_has_decided() {
    let dead = "http://127.0.0.1:1".to_owned();
    let (passive, _a) = peer(vec!["HTTP/1.1 503 Service Unavailable\r\n\r\n"]);
    let (active, _b) = peer(vec!["HTTP/1.1 409 Conflict\r\n\r\n"]);
    let verdict = deliver(&[dead.clone(), passive, active], b"x");
    assert!(matches!(&verdict, Verdict::Refused(why) if why.contains("409")), "{verdict:?}");
    assert!(matches!(deliver(&[dead], b"x"), Verdict::Later(_)));
    assert!(matches!(deliver(&[], b"x"), Verdict::Later(_)));
}

#[test]
fn answers_that_are_no_http_are_no_answers() {
    for answer in ["", "\r\n", "HTTP/1.1 2000 X\r\n\r\n", "SSH-2.0-x\r\n", "HTTP/1.1 abc\r\n"] {
        let (url, _asked) = peer(vec![answer]);
        assert!(matches!(deliver(&[url], b"x"), Verdict::Later(_)), "{answer:?}");
    }
    let long: &'static str = Box::leak("y".repeat(100_000).into_boxed_str());
    let (url, _asked) = peer(vec![long]);
    assert!(matches!(deliver(&[url], b"x"), Verdict::Later(_)));
}

#[test]
fn a_controller_that_keeps_silent_costs_the_time_that_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let begun = Instant::now();
    let until = begun + Duration::from_millis(300);
    assert!(matches!(send::deliver(&[url], "/", b"x", until, plain), Verdict::Later(_)));
    assert!((290..5_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

#[test]
fn a_long_message_passes_pipes_and_sockets() {
    let (url, asked) = peer(vec!["HTTP/1.1 200 OK\r\n\r\n"]);
    let message = "m".repeat(44 * 1024);
    let (_dir, munge) = program("printf 'MUNGE:'; cat; cat /dev/null; printf ':'");
    let made = send::munge(&munge, None, message.as_bytes(), soon()).unwrap();
    assert_eq!(made, format!("MUNGE:{message}:"));
    assert_eq!(send::post(&url, "/v1/report", &made, soon()), Ok(200));
    assert!(asked.recv().unwrap().ends_with(&made));
}

fn program(body: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("munge");
    let fresh = dir.path().join("new");
    fs::write(&fresh, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&fresh, PermissionsExt::from_mode(0o755)).unwrap();
    // What is open for writing cannot be executed, and another test's child may still hold what this process wrote.
    assert!(Command::new("cp").arg("-p").args([&fresh, &path]).status().unwrap().success());
    (dir, path.display().to_string())
}

#[test]
fn munge_in_trouble() {
    let (_dir, fails) = program("cat >/dev/null; echo no socket >&2; exit 3");
    let told = send::munge(&fails, None, b"x", soon()).unwrap_err();
    assert!(told.contains("exit status: 3") && told.contains("no socket"), "{told}");
    let (_dir, silent) = program("cat >/dev/null");
    assert!(send::munge(&silent, None, b"x", soon()).unwrap_err().contains("no credential"));
    let (_dir, hangs) = program("exec sleep 600");
    let begun = Instant::now();
    let until = begun + Duration::from_millis(200);
    assert!(send::munge(&hangs, None, b"x", until).unwrap_err().contains("in time"));
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(send::munge("/nonexistent/munge", None, b"x", soon()).is_err());
    let (_dir, socket) = program("cat >/dev/null; echo \"MUNGE:$1:\"");
    assert_eq!(send::munge(&socket, Some("/s"), b"x", soon()).unwrap(), "MUNGE:--socket=/s:");
}

struct Half;

impl Gpu for Half {
    fn look(&mut self) -> Option<GpuLook> {
        Some(GpuLook { count: 4, busy: Some(0.5), used_bytes: Some(7) })
    }
}

#[test]
fn the_sampler_sees_processes_and_ends_when_told() {
    let w = world::World::new();
    w.process("100", "101", 1);
    w.process("101", "102", 1_000);
    w.process("102", "", 2_000);
    w.put("proc/102/environ", "PATH=/bin\0PMIX_RANK=3\0FI_PROVIDER=efa\0LONG=x\0=\0nonsense");
    w.efa("rdmap0s6", "efa", &[("hw_counters/tx_bytes", 5)]);
    let means = Means { clock: || Duration::ZERO, gpu: || Some(Box::new(Half)) };
    let sampler = Sampler::start(w.root(), "100", means).unwrap();
    let seen = sampler.stop(Duration::from_secs(20));
    assert!(seen.looks >= 1);
    assert_eq!(seen.peak_memory, Some(3_000 * 1024));
    let env: Vec<_> = seen.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(env, ["FI_PROVIDER=efa", "PMIX_RANK=3"]);
    assert_eq!(seen.efa.and_then(|e| e.tx_bytes), Some(5));
    assert_eq!(seen.gpu.map(|g| (g.count, g.busy, g.peak_memory_bytes)), Some((4, Some(0.5), Some(7))));
}

#[test]
fn a_driver_that_hangs_is_left_behind() {
    let w = world::World::new();
    let gpu = || {
        thread::park_timeout(Duration::from_secs(600));
        None
    };
    let sampler = Sampler::start(w.root(), "100", Means { clock: || Duration::ZERO, gpu }).unwrap();
    let begun = Instant::now();
    let seen = sampler.stop(Duration::from_millis(100));
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(seen.looks, 0);
}
