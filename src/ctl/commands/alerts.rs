//! `burstctl alerts`: what slurmctld has warned of, and a program that is told.
//!
//! The program is started here and not by the engine: slurmctld must have no child that it does not know of.

use crate::{
    cli::Common,
    out::{Answer, Fail, printable, utc},
    places,
};
use clap::Args;
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Which alerts, and for whom.
#[derive(Debug, Clone, Args)]
pub struct AlertsArgs {
    /// How many, the newest last
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    last: u32,
    /// Go on for ever, and run this program for each new alert with the alert's JSON on its standard input
    ///
    /// One at a time, a minute each at most, without a shell and without arguments. What was told is remembered beside the
    /// file (FILE.told), so that a restart repeats nothing and forgets nothing.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "last")]
    exec: Option<PathBuf>,
    /// The file [default: `alert_file` of burst.toml]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Pause between looks at the file.
const LOOK: Duration = Duration::from_secs(1);
/// What a program may take for one alert.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest part of the file that is read at once, and so the longest alert.
const PART: u64 = 256 * 1024;

/// Shows, or follows.
pub fn run(common: &Common, args: &AlertsArgs) -> Result<Answer, Fail> {
    let file = match &args.file {
        Some(file) => file.clone(),
        None => places::config(common)?.limits.spending.alert_file.ok_or_else(|| {
            Fail::problem(
                "no alert_file is set in [limits] of burst.toml: set it, or name the file with --file",
            )
        })?,
    };
    match &args.exec {
        Some(program) => follow(&file, program),
        None => show(&file, usize::try_from(args.last).unwrap_or(usize::MAX)),
    }
}

fn wrong(path: &Path, e: &std::io::Error) -> Fail {
    Fail::problem(format!("{}: {e}", path.display()))
}

/// Bytes from `at` on, at most [`PART`].
fn part(path: &Path, at: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(PART).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn show(path: &Path, last: usize) -> Result<Answer, Fail> {
    let length = match fs::metadata(path) {
        Ok(m) => m.len(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
        Err(e) => return Err(wrong(path, &e)),
    };
    let bytes = match length {
        0 => Vec::new(),
        n => part(path, n.saturating_sub(PART)).map_err(|e| wrong(path, &e))?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut alerts: Vec<Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    alerts.drain(..alerts.len().saturating_sub(last));
    let line = |a: &Value| {
        let at = a.get("at_unix").and_then(Value::as_u64).map(utc).unwrap_or_default();
        format!("{at}  {}\n", printable(a.get("text").and_then(Value::as_str).unwrap_or("")))
    };
    let shown: String = alerts.iter().map(line).collect();
    let shown = if shown.is_empty() { "No alert was given.\n".to_owned() } else { shown };
    Ok(Answer::ok(shown, json!({ "alerts": alerts })))
}

/// How far somebody was told: in the file with this number, so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    inode: u64,
    bytes: u64,
}

impl Told {
    fn path(file: &Path) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(".told");
        name.into()
    }

    fn read(file: &Path) -> Option<Self> {
        let text = fs::read_to_string(Self::path(file)).ok()?;
        let (inode, bytes) = text.trim().split_once(' ')?;
        Some(Self { inode: inode.parse().ok()?, bytes: bytes.parse().ok()? })
    }

    fn write(self, file: &Path) -> std::io::Result<()> {
        let (path, part) = (Self::path(file), Self::path(file).with_extension("told.new"));
        fs::write(&part, format!("{} {}\n", self.inode, self.bytes))?;
        fs::rename(part, path)
    }
}

/// One look: tells what is new, and says how far it came. `None` before: what is there was before us.
fn pass(file: &Path, before: Option<Told>, tell: &mut dyn FnMut(&str)) -> std::io::Result<Option<Told>> {
    let facts = match fs::metadata(file) {
        Ok(m) => m,
        // Not written yet, or just rotated away: all of the next one is new.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Some(Told { inode: 0, bytes: 0 })),
        Err(e) => return Err(e),
    };
    let mut told = match before {
        None => Told { inode: facts.ino(), bytes: facts.len() },
        // Another file, or emptied: from its beginning.
        Some(t) if t.inode != facts.ino() || t.bytes > facts.len() => Told { inode: facts.ino(), bytes: 0 },
        Some(t) => t,
    };
    if told.bytes == facts.len() {
        return Ok(Some(told));
    }
    let bytes = part(file, told.bytes)?;
    let Some(end) = bytes.iter().rposition(|b| *b == b'\n') else {
        // Half a line comes whole later; one that is longer than any alert is passed over.
        told.bytes += if bytes.len() as u64 >= PART { PART } else { 0 };
        return Ok(Some(told));
    };
    for line in bytes.get(..end).unwrap_or_default().split(|b| *b == b'\n') {
        let line = String::from_utf8_lossy(line);
        if serde_json::from_str::<Value>(&line).is_ok() {
            tell(&line);
        }
        told.bytes += line.len() as u64 + 1;
        told.write(file)?;
    }
    Ok(Some(told))
}

fn follow(file: &Path, program: &Path) -> Result<Answer, Fail> {
    if !program.is_absolute() {
        return Err(Fail::usage("--exec needs a path from / on: no shell and no PATH are used"));
    }
    let mut told = Told::read(file);
    loop {
        let mut tell = |line: &str| {
            if let Err(why) = hand_over(program, line, PATIENCE) {
                eprintln!("burstctl: {}: {why}; the alert was: {}", program.display(), printable(line));
            }
        };
        let now = pass(file, told, &mut tell).map_err(|e| wrong(file, &e))?;
        if now != told
            && let Some(t) = now
        {
            t.write(file).map_err(|e| wrong(&Told::path(file), &e))?;
        }
        told = now;
        thread::sleep(LOOK);
    }
}

/// Runs the program with a line on its standard input; one that takes too long is ended.
fn hand_over(program: &Path, line: &str, patience: Duration) -> Result<(), String> {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| format!("it cannot be started: {e}"))?;
    // A program that reads nothing must not hold us up: a thread writes, and ends with the pipe.
    let input = child.stdin.take();
    let text = format!("{line}\n");
    let feeding = thread::spawn(move || input.map(|mut to| to.write_all(text.as_bytes())));
    let until = Instant::now() + patience;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(20)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break Err(format!("it took more than {} s and was ended", patience.as_secs()));
            }
        }
    };
    // It may not have read what it was told, or left the pipe to a child of its own: neither is waited for.
    drop(feeding);
    match status? {
        s if s.success() => Ok(()),
        s => Err(s.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_once_whatever_becomes_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("alerts");
        let mut heard: Vec<String> = Vec::new();
        let mut look = |told: Option<Told>| {
            heard.clear();
            let now = pass(&file, told, &mut |l| heard.push(l.to_owned())).unwrap();
            (now, heard.clone())
        };
        let append = |text: &str| {
            let mut f = fs::OpenOptions::new().create(true).append(true).open(&file).unwrap();
            f.write_all(text.as_bytes()).unwrap();
        };
        append("{\"n\":1}\n");
        let (told, h) = look(None);
        assert!(h.is_empty(), "of before: {h:?}");
        append("{\"n\":2}\nno JSON\n{\"n\":3}\n{\"n\":");
        let (told, h) = look(told);
        assert_eq!(h, ["{\"n\":2}", "{\"n\":3}"]);
        assert_eq!(Told::read(&file), told, "remembered");
        append("4}\n");
        let (told, h) = look(told);
        assert_eq!(h, ["{\"n\":4}"]);
        fs::rename(&file, dir.path().join("alerts.1")).unwrap();
        let (told, h) = look(told);
        assert!(h.is_empty(), "{h:?}");
        append("{\"n\":5}\n");
        let (told, h) = look(told);
        assert_eq!(h, ["{\"n\":5}"]);
        fs::write(&file, "").unwrap();
        assert_eq!(look(told).1, Vec::<String>::new());
        append("{}\n");
        assert_eq!(look(Some(Told { bytes: 0, ..told.unwrap() })).1, ["{}"]);
    }

    #[test]
    fn a_program_gets_the_alert_and_no_more_than_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let script = |name: &str, body: &str| {
            use std::os::unix::fs::PermissionsExt;
            let (fresh, path) = (dir.path().join("new"), dir.path().join(name));
            fs::write(&fresh, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
            // What is open for writing cannot be executed, and another test's child may hold what this process wrote.
            assert!(Command::new("cp").arg("-p").args([&fresh, &path]).status().unwrap().success());
            path
        };
        let out = dir.path().join("out");
        let good = script("good", &format!("cat > {}", out.display()));
        hand_over(&good, "{\"text\":\"$(reboot)\"}", PATIENCE).unwrap();
        assert_eq!(fs::read_to_string(&out).unwrap(), "{\"text\":\"$(reboot)\"}\n");
        let e = hand_over(&script("bad", "exit 3"), "{}", PATIENCE).unwrap_err();
        assert!(e.contains("exit status: 3"), "{e}");
        let e = hand_over(&script("slow", "exec sleep 60"), "{}", Duration::ZERO).unwrap_err();
        assert!(e.contains("was ended"), "{e}");
        let e = hand_over(Path::new("/nowhere"), "{}", PATIENCE).unwrap_err();
        assert!(e.contains("cannot be started"), "{e}");
    }
}
