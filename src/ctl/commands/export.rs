//! `burstctl export`.

use crate::{
    cli::{Common, job_id},
    lives::{Which, fetch},
    out::{Answer, Fail, now},
};
use burst_policy::{export::csv, life::Life, record};
use clap::{Args, ValueEnum};
use key_args::KeyArgs;
use serde_json::json;
use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

pub mod key_args;

/// Which jobs, and how they are written.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Job id, or JOBID_TASK; all lives of the job are written
    #[arg(value_name = "JOB", value_parser = job_id, required_unless_present_any = ["user", "account", "pool", "since", "until"])]
    job: Option<String>,
    /// What to write
    #[arg(long)]
    format: Format,
    /// Directory (asba, comment, asbb: a file for each life of a job) or file (csv) to write [default: standard output]
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    key: KeyArgs,
}

/// Formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The advisor's learning record
    Asba,
    /// The line for a job's comment
    Comment,
    /// The budget service's record
    Asbb,
    /// One table of all jobs
    Csv,
}

/// Asks, and writes.
pub fn run(common: &Common, args: &ExportArgs) -> Result<Answer, Fail> {
    let blind = args.key.blind(common)?;
    // Only these two say nothing about what the nodes measured.
    let brief = matches!(args.format, Format::Comment | Format::Asbb);
    let filter = args.which.filter(args.job.as_deref(), brief, now())?;
    let mut lives = fetch(common, &filter)?;
    if lives.is_empty() {
        return Err(Fail::problem(
            "no job that is over is in this selection; burstctl history lists those that you may see",
        ));
    }
    if let Some(blind) = &blind {
        lives = lives.iter().map(|l| blind.life(l)).collect();
    }
    match args.format {
        Format::Csv => table(args, &lives),
        _ => records(args, &lives),
    }
}

fn table(args: &ExportArgs, lives: &[Life]) -> Result<Answer, Fail> {
    let text = csv(lives);
    match &args.output {
        None => Ok(Answer::ok(text.clone(), json!({ "csv": text }))),
        Some(path) => {
            write_whole(path, text.as_bytes())?;
            Ok(written(path, lives.len()))
        }
    }
}

fn written(path: &Path, n: usize) -> Answer {
    let shown = path.display().to_string();
    Answer::ok(format!("{shown}: {n} lives of jobs\n"), json!({"ok": true, "output": shown, "lives": n}))
}

/// A file each, or one after another on standard output.
fn records(args: &ExportArgs, lives: &[Life]) -> Result<Answer, Fail> {
    let (mut text, mut all) = (String::new(), Vec::new());
    for life in lives {
        let (name, body) = named(args.format, life)?;
        if let Some(dir) = &args.output {
            std::fs::create_dir_all(dir).map_err(|e| Fail::problem(format!("{}: {e}", dir.display())))?;
            write_whole(&dir.join(&name), body.as_bytes())?;
        }
        text.push_str(&body);
        if !body.ends_with('\n') {
            text.push('\n');
        }
        let value = serde_json::from_str(&body).unwrap_or(serde_json::Value::String(body));
        all.push(json!({"file": name, "record": value}));
    }
    match &args.output {
        Some(dir) => Ok(written(dir, lives.len())),
        None => Ok(Answer::ok(text, json!({ "records": all }))),
    }
}

/// A life's file: its name and text.
fn named(format: Format, life: &Life) -> Result<(String, String), Fail> {
    let id = life.file_id();
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err(Fail::problem(format!(
            "{id:?} cannot be part of a file's name: is this slurm-burst's controller?"
        )));
    }
    let json = |value: serde_json::Value| format!("{value:#}\n");
    let (end, text) = match format {
        Format::Comment => ("comment.txt", record::comment(life)),
        Format::Asbb => ("asbb-reconciliation.json", json(record::reconciliation(life, now()))),
        Format::Asba | Format::Csv => ("performance.json", json(record::performance(life))),
    };
    Ok((format!("job-{id}-{end}"), text))
}

/// Writes a file whole or not at all, for its owner alone: it says who did what.
///
/// # Errors
/// What failed, with the file's name.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Fail> {
    let wrong = |e: std::io::Error| Fail::problem(format!("{} cannot be written: {e}", path.display()));
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let part = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let mut file =
        std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&part).map_err(wrong)?;
    let done =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&part, path));
    done.map_err(|e| {
        // The error that is told is the one that matters.
        let _ = std::fs::remove_file(&part);
        wrong(e)
    })
}
