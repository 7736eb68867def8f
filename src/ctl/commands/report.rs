//! `burstctl report --html FILE`.

use crate::{
    cli::Common,
    commands::export::{key_args::KeyArgs, write_whole},
    lives::{Which, fetch},
    out::{Answer, Fail, now},
    report::{Head, page},
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// What is shown.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// The page to write
    #[arg(long, value_name = "FILE", required = true)]
    html: PathBuf,
    #[command(flatten)]
    which: Which,
    /// Heading of the page
    #[arg(long, value_name = "TEXT", default_value = "What the cloud jobs did")]
    title: String,
    #[command(flatten)]
    key: KeyArgs,
}

/// Asks, renders, writes.
pub fn run(common: &Common, args: &ReportArgs) -> Result<Answer, Fail> {
    let blind = args.key.blind(common)?;
    let filter = args.which.filter(None, false, now())?;
    let mut lives = fetch(common, &filter)?;
    // Who was asked about would stand in the heading.
    let mut scope = args.which.words();
    if let Some(blind) = &blind {
        lives = lives.iter().map(|l| blind.life(l)).collect();
        scope = "names replaced by a keyed hash".into();
    }
    let head = Head { title: args.title.clone(), scope, made: now() };
    write_whole(&args.html, page(&lives, &head).as_bytes())?;
    let file = args.html.display().to_string();
    let text = format!("{file}: {} lives of jobs\n", lives.len());
    Ok(Answer::ok(text, json!({"ok": true, "file": file, "lives": lives.len()})))
}
