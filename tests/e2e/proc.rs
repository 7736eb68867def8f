//! Processes: started with a log, ended by pid, never left behind.

use crate::{Context, Res};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often waiting looks again.
pub const TICK: Duration = Duration::from_millis(25);
/// The longest pause between looks of something that is long in coming.
const TICK_MOST: Duration = Duration::from_millis(100);

/// A daemon of ours.
#[derive(Debug)]
pub struct Proc {
    /// What it is, for messages.
    pub name: String,
    /// Where its stdout and stderr go.
    pub log: PathBuf,
    child: Child,
}

impl Proc {
    /// Starts a command whose output goes to `log`.
    ///
    /// # Errors
    /// The program cannot be started, or the log cannot be written.
    pub fn spawn(name: &str, log: &Path, command: &mut Command) -> Res<Self> {
        let out = OpenOptions::new().create(true).append(true).open(log).context(log.display())?;
        let err = out.try_clone().context(log.display())?;
        let child =
            command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().context(format!("start {name}"))?;
        Ok(Self { name: name.into(), log: log.into(), child })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL, and reaped.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then SIGKILL after `grace`; reaped either way.
    pub fn stop(&mut self, grace: Duration) {
        if self.alive() {
            signal(self.pid(), Signal::TERM);
            if wait_until(grace, || Ok((!self.alive()).then_some(()))).is_err() {
                let _ = self.child.kill();
            }
        }
        let _ = self.child.wait();
    }
}

/// Sends a signal to one process.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Processes whose environment holds exactly `entry` (`NAME=value`). With a value that only one cluster has, these
/// are that cluster's own: daemons, step managers and the tasks of its jobs.
#[must_use]
pub fn with_environment(entry: &str) -> Vec<u32> {
    let Ok(dir) = std::fs::read_dir("/proc") else { return Vec::new() };
    let me = std::process::id();
    dir.flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter(|&pid: &u32| pid != me)
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|env| env.split(|&b| b == 0).any(|e| e == entry.as_bytes()))
        })
        .collect()
}

/// Ends every process that [`with_environment`] finds, and returns how many there were.
pub fn sweep(entry: &str) -> usize {
    let mut seen = std::collections::BTreeSet::new();
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let pids = with_environment(entry);
        if pids.is_empty() || Instant::now() > end {
            return seen.len();
        }
        for pid in pids {
            seen.insert(pid);
            signal(pid, Signal::KILL);
        }
        sleep(TICK);
    }
}

/// What a command said.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// Exit code; None when a signal or the deadline ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Output {
    /// Exit code 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Both streams.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// Runs a command to its end or to the deadline.
///
/// # Errors
/// It cannot be started, or did not end in time.
pub fn run(command: &mut Command, input: &str, limit: Duration) -> Res<Output> {
    let what = format!("{command:?}");
    let mut stdin = tempfile::tempfile().context("temporary file")?;
    stdin.write_all(input.as_bytes()).and_then(|()| stdin.rewind()).context("temporary file")?;
    let (mut out, mut err) =
        (tempfile::tempfile().context("temporary file")?, tempfile::tempfile().context("temporary file")?);
    let mut child = command
        .stdin(stdin)
        .stdout(out.try_clone().context("temporary file")?)
        .stderr(err.try_clone().context("temporary file")?)
        .spawn()
        .context(format!("start {what}"))?;
    let status = wait_until(limit, || child.try_wait().context(&what));
    if status.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (out, err) = (read_back(&mut out)?, read_back(&mut err)?);
    match status {
        Ok(status) => Ok(Output { code: status.code(), out, err }),
        Err(e) => Err(format!("{what}: {e}\n{out}{err}")),
    }
}

fn read_back(file: &mut File) -> Res<String> {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).context("temporary file")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Asks again and again until there is an answer.
///
/// # Errors
/// The deadline passed, or `look` failed.
pub fn wait_until<T>(limit: Duration, mut look: impl FnMut() -> Res<Option<T>>) -> Res<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if began.elapsed() >= limit {
            return Err(format!("not within {limit:?}"));
        }
        // Most looks start a program: the longer it takes, the less they may cost. What a test has to see lasts longer.
        sleep((began.elapsed() / 20).clamp(TICK, TICK_MOST));
    }
}

/// The last `lines` lines of a file.
#[must_use]
pub fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}
