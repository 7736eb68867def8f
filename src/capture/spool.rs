//! Reports that no controller has taken yet: a bounded number of files, the oldest given up first.

use crate::{file, send::Verdict};
use burst_plan::report::REPORT_MOST;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

/// Most reports that wait; with [`REPORT_MOST`] this bounds the bytes, too (3 MiB).
pub const MOST: usize = 64;

/// Waiting reports, the oldest first.
#[must_use]
pub fn list(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<(SystemTime, PathBuf)> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| e.file_name().to_str().is_some_and(|n| n.ends_with(".json") && !n.starts_with('.')))
        .take(4 * MOST)
        .map(|e| (e.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH), e.path()))
        .collect();
    all.sort();
    all.into_iter().map(|(_, path)| path).collect()
}

/// Whether something has waited for so long: what is younger may be on its way by its own epilog.
#[must_use]
pub fn waits(dir: &Path, least: Duration) -> bool {
    list(dir).first().is_some_and(|oldest| {
        let written = fs::metadata(oldest).and_then(|m| m.modified());
        // A clock that was set back: it has waited.
        written.is_ok_and(|at| at.elapsed().map_or(true, |age| age >= least))
    })
}

/// Puts a message there under (job, restart) and answers its path and what was given up for it.
///
/// # Errors
/// It is too long, or the file system's.
pub fn put(dir: &Path, job: u32, restart: u32, message: &[u8]) -> io::Result<(PathBuf, Vec<PathBuf>)> {
    if message.len() > REPORT_MOST {
        return Err(io::Error::other("longer than a report may be"));
    }
    file::private_dir(dir)?;
    let path = dir.join(format!("{job}.{restart}.json"));
    file::replace(&path, message)?;
    let mut others = list(dir);
    others.retain(|p| *p != path);
    others.truncate(others.len().saturating_sub(MOST - 1));
    others.iter().for_each(|p| drop(fs::remove_file(p)));
    Ok((path, others))
}

/// What came of sending.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Taken by the controller.
    pub sent: usize,
    /// Given up, and why.
    pub dropped: Vec<String>,
    /// Why the rest waits on.
    pub waits: Option<String>,
}

/// Sends `first`, then the others from the oldest on, until nobody answers or the time is up.
pub fn flush(
    dir: &Path,
    first: Option<&Path>,
    until: Instant,
    mut send: impl FnMut(&[u8]) -> Verdict,
) -> Flushed {
    let mut done = Flushed::default();
    let others = list(dir).into_iter().filter(|p| Some(p.as_path()) != first);
    for path in first.map(Path::to_path_buf).into_iter().chain(others) {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        let message = match file::own(&path, REPORT_MOST) {
            Ok(bytes) => bytes,
            // Somebody else has just sent it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => {
                done.dropped.push(e.to_string());
                remove(&path);
                continue;
            }
        };
        if Instant::now() >= until {
            done.waits = Some("the time for sending is up".to_owned());
            break;
        }
        match send(&message) {
            Verdict::Taken => {
                done.sent += 1;
                remove(&path);
            }
            Verdict::Refused(why) => {
                done.dropped.push(format!("{name}: {why}"));
                remove(&path);
            }
            Verdict::Later(why) => {
                done.waits = Some(why);
                break;
            }
        }
    }
    done
}

/// A symlink or a directory under a report's name goes as well.
fn remove(path: &Path) {
    if fs::remove_file(path).is_err() {
        let _ = fs::remove_dir_all(path);
    }
}
