//! `burstctl prices import`.

use crate::{
    cli::Common,
    out::{Answer, Fail, Table, printable, utc},
    places,
};
use burst_policy::prices::{Change, Form, Prices, Wrong, import as read, merge};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::{
    fmt::Write as _,
    io::{Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// What is read.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// The file; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What it is [default: by the file's name, else JSON where it begins with {]
    #[arg(long)]
    format: Option<FormArg>,
    /// Forget the prices that are there now
    #[arg(long)]
    replace: bool,
    /// Where the prices come from, shown with every cost [default: what the file says of itself, else its name]
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// The price file to write [default: `[prices] file` of burst.toml]
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// Show what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormArg {
    /// AWS's price list or our own file
    Json,
    /// region,type,market,usd_per_hour
    Csv,
}

/// AWS's list of one Region has some hundred MB.
const MOST: u64 = 1024 * 1024 * 1024;
/// Changes that are shown to people; --json has all.
const SHOWN: usize = 60;

/// `prices import`.
pub fn import(common: &Common, args: &ImportArgs) -> Result<Answer, Fail> {
    let target = match &args.into {
        Some(path) => path.clone(),
        None => places::config(common)?.price_file.ok_or_else(|| {
            Fail::problem(
                "burst.toml names no price file: write file = \"/etc/slurm/burst-prices.json\" under [prices], or give \
                 --into FILE",
            )
        })?,
    };
    let name =
        if args.file == Path::new("-") { "standard input".into() } else { args.file.display().to_string() };
    let text = text_of(&args.file)?;
    let by_name = args.file.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
    let form = match args.format {
        Some(FormArg::Csv) => Form::Csv,
        Some(FormArg::Json) => Form::Json,
        None if by_name || !text.trim_start_matches('\u{feff}').trim_start().starts_with('{') => Form::Csv,
        None => Form::Json,
    };
    let mut got = read(&text, form).map_err(|wrong| Fail::problem(errors(&name, &wrong)))?;
    if let Some(source) = &args.source {
        got.prices.source = burst_plan::clean(source, 200);
    }
    if got.prices.source.is_empty() {
        got.prices.source = burst_plan::clean(&name, 200);
    }
    let old = before(&target)?;
    let (new, changes) = merge(&old, got.prices, args.replace);
    let write = !args.dry_run && (new != old || !target.exists());
    if write {
        put(&target, &new.to_text())?;
    }
    Ok(Answer::ok(
        told(&target, &changes, got.passed_over, write),
        json!({"ok": true, "file": target, "written": write, "source": new.source, "changes": changes,
               "passed_over": got.passed_over}),
    ))
}

fn text_of(file: &Path) -> Result<String, Fail> {
    let mut bytes = Vec::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().lock().take(MOST + 1).read_to_end(&mut bytes),
        false => std::fs::File::open(file).and_then(|f| f.take(MOST + 1).read_to_end(&mut bytes)),
    };
    read.map_err(|e| Fail::problem(format!("{}: {e}; name a readable file of prices", file.display())))?;
    if bytes.len() as u64 > MOST {
        return Err(Fail::problem(format!(
            "{}: more than 1 GiB; take the price list of one Region",
            file.display()
        )));
    }
    String::from_utf8(bytes).map_err(|e| Fail::problem(format!("{}: not UTF-8 text ({e})", file.display())))
}

/// `FILE:LINE: error: TEXT`, as compilers write it.
fn errors(name: &str, wrong: &[Wrong]) -> String {
    let line = |w: &Wrong| match w.line {
        0 => format!("{name}: error: {}", w.text),
        n => format!("{name}:{n}: error: {}", w.text),
    };
    let lines: Vec<String> = wrong.iter().map(|w| printable(&line(w))).collect();
    format!("nothing was imported\n{}", lines.join("\n"))
}

/// The prices that are there now; none where there is no file yet.
fn before(target: &Path) -> Result<Prices, Fail> {
    let shown = target.display();
    match std::fs::read_to_string(target) {
        Ok(text) => Prices::parse(&text).map_err(|e| {
            Fail::problem(format!("{shown}: {e}; correct it, or move it away and import again"))
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Prices::default()),
        Err(e) => Err(Fail::problem(format!("{shown}: {e}"))),
    }
}

/// The whole file or the old one: slurmctld may read it at any time.
fn put(target: &Path, text: &str) -> Result<(), Fail> {
    // A link stays one: what it points to is written.
    let target = &std::fs::canonicalize(target).unwrap_or_else(|_| target.to_path_buf());
    let wrong = |e: std::io::Error| Fail::problem(format!("{} cannot be written: {e}", target.display()));
    let mode = std::fs::metadata(target).map_or(0o644, |m| m.permissions().mode() & 0o777);
    let part = target.with_extension(format!("new-{}", std::process::id()));
    let mut file =
        std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&part).map_err(wrong)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&part, target));
    written.map_err(|e| {
        // What is left of a failed try is of no use; that it cannot be removed is less than the error that is told.
        let _ = std::fs::remove_file(&part);
        wrong(e)
    })
}

fn told(target: &Path, changes: &[Change], passed_over: usize, written: bool) -> String {
    let mut table = Table::new(&["REGION", "TYPE", "MARKET", "BEFORE", "NOW"]);
    let usd = |m: Option<burst_plan::MicroUsd>| m.map(|m| m.to_string()).unwrap_or_default();
    for c in changes.iter().take(SHOWN) {
        table.row(vec![c.region.clone(), c.what.clone(), c.market.clone(), usd(c.old), usd(c.new)]);
    }
    let mut text = String::new();
    if !changes.is_empty() {
        text.push_str(&table.render(0));
    }
    if changes.len() > SHOWN {
        let _ = writeln!(text, "and {} more (--json has all)", changes.len() - SHOWN);
    }
    let count = match changes.len() {
        0 => "no price changes".to_owned(),
        1 => "1 price changes".to_owned(),
        n => format!("{n} prices change"),
    };
    let over = match passed_over {
        0 => String::new(),
        n => format!("; {n} entries of the list are not what pools buy (other systems, tenancies, no price)"),
    };
    let _ = writeln!(text, "{}: {count}{over}", target.display());
    if written {
        let _ = writeln!(text, "Written {}. slurmctld reads prices when it starts.", utc(crate::out::now()));
    } else if !changes.is_empty() {
        text.push_str("Nothing was written (--dry-run).\n");
    }
    text
}
