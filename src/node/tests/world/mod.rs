//! Fakes around one burst-node: metadata service and controller in one listener, munge, slurmd and power-off as scripts.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, dead_code, missing_docs)]

use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub const WAIT: Duration = Duration::from_secs(60);

/// What the fake does with one request; `Drop` takes it and answers nothing.
pub enum Answer {
    Json(u16, Value),
    Raw(u16, &'static str),
    Drop,
}

type Script = Box<dyn FnMut(&str, &Value, usize) -> Answer + Send>;

struct Shared {
    script: Mutex<Script>,
    asked: Mutex<Vec<(String, Value)>>,
    user_data: Mutex<(u16, String)>,
    user_data_errors: AtomicU32,
    over: AtomicBool,
}

pub struct World {
    pub dir: PathBuf,
    pub port: u16,
    shared: Arc<Shared>,
    child: Option<Child>,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub fn go() -> Value {
    json!({"node": "efa7-0001", "start": true, "slurmd_args": ["-b"], "orphan_limit_s": 60, "report_s": 0.1,
        "deadline_unix": null})
}

pub fn carry_on() -> Answer {
    Answer::Json(200, json!({"orders": "continue", "deadline_unix": null}))
}

impl World {
    /// `script` answers (path, payload, how many of this path came before).
    pub fn new(script: impl FnMut(&str, &Value, usize) -> Answer + Send + 'static) -> Self {
        let n = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("burst-node-test-{}-{n}", std::process::id()));
        fs::create_dir_all(dir.join("bin")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            asked: Mutex::default(),
            user_data: Mutex::new((404, String::new())),
            user_data_errors: AtomicU32::new(0),
            over: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if theirs.over.load(Ordering::Relaxed) {
                    return;
                }
                let theirs = Arc::clone(&theirs);
                thread::spawn(move || serve(&theirs, stream));
            }
        });
        let world = Self { dir, port, shared, child: None };
        // munge's stand-in wraps the payload without encoding it: the fake controller can read what was bound.
        world.program("munge", "printf 'MUNGE:'; /bin/cat; printf ':'");
        world.program("slurmd", "echo \"$@\" >> \"$BURST_TEST_DIR/slurmd.args\"; exec /bin/sleep 600");
        // The only `systemctl` on the child's PATH: no test can power off the machine it runs on.
        world.program("systemctl", "echo \"$@\" >> \"$BURST_TEST_DIR/systemctl.args\"");
        world
    }

    pub fn program(&self, name: &str, body: &str) {
        let path = self.dir.join("bin").join(name);
        let fresh = self.dir.join(format!("{name}.new"));
        fs::write(&fresh, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
        // What is open for writing cannot be executed, and another test's child may still hold what this process wrote;
        // renamed into place, because it may be running.
        let copied = path.with_extension("copied");
        assert!(Command::new("cp").arg("-p").args([&fresh, &copied]).status().unwrap().success());
        fs::rename(copied, path).unwrap();
    }

    pub fn user_data(&self, status: u16, text: &str) {
        *self.shared.user_data.lock().unwrap() = (status, text.to_owned());
    }

    pub fn user_data_errors(&self, times: u32) {
        self.shared.user_data_errors.store(times, Ordering::Relaxed);
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn start(&mut self, settings: Value) {
        let mut all = json!({
            "controllers": [self.url()], "pool": "efa", "boot_limit_s": 30, "orphan_limit_s": 30, "start": "direct",
            "on_end": "exit", "munge": self.dir.join("bin/munge"), "slurmd": self.dir.join("bin/slurmd"),
            "run_dir": self.dir.join("run"),
        });
        for (k, v) in settings.as_object().unwrap() {
            all[k] = v.clone();
        }
        let config = self.dir.join("burst-node.json");
        fs::write(&config, all.to_string()).unwrap();
        let log = fs::File::create(self.dir.join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_burst-node"))
            .env_clear()
            .env("PATH", self.dir.join("bin"))
            .env("BURST_NODE_CONFIG", &config)
            .env("BURST_TEST_DIR", &self.dir)
            .env("BURST_TEST_SYSFS", self.dir.join("sys"))
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.url())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().unwrap().id()).unwrap()
    }

    /// Until burst-node ends by itself.
    pub fn ended(&mut self) -> ExitStatus {
        self.ended_within(WAIT)
    }

    pub fn ended_within(&mut self, limit: Duration) -> ExitStatus {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "burst-node goes on after {limit:?}; its log:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn until(&self, what: &str, mut is: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + WAIT;
        while !is(self) {
            assert!(Instant::now() < until, "never: {what}; log:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn asked(&self, path: &str) -> Vec<Value> {
        let all = self.shared.asked.lock().unwrap();
        all.iter().filter(|(p, _)| p == path).map(|(_, v)| v.clone()).collect()
    }

    pub fn reports(&self, kind: &str) -> Vec<Value> {
        self.asked("/v1/report").into_iter().filter(|r| r["kind"] == kind).collect()
    }

    pub fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join(file)).unwrap_or_default();
        text.lines().map(|l| l.trim().to_owned()).collect()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    pub fn powered_off(&self) -> bool {
        self.lines("systemctl.args").iter().any(|l| l == "poweroff")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(mut child) = self.child.take() {
            // The fake slurmd is burst-node's child: find it before its parent is gone.
            let slurmds = children(child.id());
            let _ = child.kill();
            let _ = child.wait();
            for pid in slurmds {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub fn children(parent: u32) -> Vec<i32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|p| p.parse().ok()).collect()
}

fn serve(shared: &Shared, stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    let mut words = first.split_whitespace();
    let (method, path) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let mut length = 0;
    let mut token = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(n) = lower.strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
        if let Some(t) = lower.strip_prefix("x-aws-ec2-metadata-token:") {
            token = t.trim().to_owned();
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let (status, text) = if method == "POST" {
        let body = String::from_utf8(body).unwrap();
        let payload = body.strip_prefix("MUNGE:").and_then(|b| b.strip_suffix(':')).unwrap_or("null");
        let payload: Value = serde_json::from_str(payload).unwrap_or(Value::Null);
        let before = {
            let mut asked = shared.asked.lock().unwrap();
            let n = asked.iter().filter(|(p, _)| *p == path).count();
            asked.push((path.clone(), payload.clone()));
            n
        };
        match (shared.script.lock().unwrap())(&path, &payload, before) {
            Answer::Json(s, v) => (s, v.to_string()),
            Answer::Raw(s, t) => (s, t.to_owned()),
            Answer::Drop => return,
        }
    } else {
        metadata(shared, &method, &path, &token)
    };
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
    let mut stream = &stream;
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes()));
}

fn metadata(shared: &Shared, method: &str, path: &str, token: &str) -> (u16, String) {
    if method == "PUT" && path == "/latest/api/token" {
        return (200, "tok".into());
    }
    if path == "/healthz" {
        return (200, "ok".into());
    }
    if token != "tok" {
        return (401, String::new());
    }
    let text = match path.trim_start_matches("/latest/") {
        "meta-data/instance-id" => "i-0123456789abcdef0",
        "meta-data/instance-type" => "hpc7a.96xlarge",
        "meta-data/placement/availability-zone" => "us-east-2b",
        "meta-data/local-ipv4" => "10.0.1.7",
        "meta-data/local-hostname" => "ip-10-0-1-7",
        "user-data" => {
            let left = &shared.user_data_errors;
            if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                return (500, String::new());
            }
            return shared.user_data.lock().unwrap().clone();
        }
        _ => return (404, String::new()),
    };
    (200, text.into())
}

pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
