//! Reading the plan file: bounded, and never waiting for somebody else.

use std::ffi::OsStr;
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Reads at most `limit` bytes of the regular file `path`.
///
/// Looks before it opens (opening a device can have effects) and again afterwards (the name may have been
/// exchanged in between); opening a FIFO does not wait for a writer.
///
/// # Errors
/// What is wrong with the file and what to do, without its name.
pub fn read(path: &OsStr, limit: usize) -> Result<Vec<u8>, String> {
    if path.is_empty() {
        return Err("a file name is needed: --burst-plan=plan.json".to_owned());
    }
    let path = Path::new(path);
    let seen = std::fs::metadata(path).map_err(|e| explain(path, &e))?;
    regular(&seen)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(path)
        .map_err(|e| explain(path, &e))?;
    regular(&file.metadata().map_err(|e| explain(path, &e))?)?;
    let bytes = bounded(file, limit).map_err(|e| explain(path, &e))?;
    if bytes.len() > limit {
        return Err(format!(
            "the file is too large: {} bytes, a plan may have {limit}; is this really an execution plan?",
            seen.len().max(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
        ));
    }
    if bytes.is_empty() {
        return Err("the file is empty; an execution plan is a JSON object".to_owned());
    }
    Ok(bytes)
}

/// One byte beyond `limit` proves that there is more.
fn bounded(file: File, limit: usize) -> std::io::Result<Vec<u8>> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn regular(seen: &Metadata) -> Result<(), String> {
    match kind(seen.file_type()) {
        None => Ok(()),
        Some(what) => Err(format!("this is {what}, not a file; write the plan to a file and name that")),
    }
}

fn kind(seen: FileType) -> Option<&'static str> {
    if seen.is_file() {
        None
    } else if seen.is_dir() {
        Some("a directory")
    } else if seen.is_fifo() {
        Some("a pipe (FIFO)")
    } else if seen.is_socket() {
        Some("a socket")
    } else if seen.is_char_device() || seen.is_block_device() {
        Some("a device")
    } else {
        Some("something special")
    }
}

fn explain(path: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => {
            let here = if path.is_relative() {
                std::env::current_dir()
                    .map(|dir| format!(" (looked in {})", dir.display()))
                    .unwrap_or_default()
            } else {
                String::new()
            };
            format!("there is no such file{here}")
        }
        ErrorKind::PermissionDenied => {
            "you may not read it (permission denied); check the file's and its directories' permissions"
                .to_owned()
        }
        _ => format!("it cannot be read: {error}"),
    }
}
