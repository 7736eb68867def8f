//! Bounded reading, and writing that is seen whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

/// At most `most` bytes of a file of the kernel's (/proc, /sys); None where it cannot be read.
#[must_use]
pub fn kernel(path: &Path, most: usize) -> Option<String> {
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(u64::try_from(most).ok()?).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The number that is a file's whole content.
#[must_use]
pub fn number(path: &Path) -> Option<u64> {
    kernel(path, 64)?.trim().parse().ok()
}

/// A file that this user (root, in production) wrote: no symlink, nobody else's, writable by nobody else, at most `most` bytes.
///
/// # Errors
/// What is wrong with it; `NotFound` where there is none.
pub fn own(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let seen = file.metadata()?;
    let no = |what: &str| Err(io::Error::other(format!("{}: {what}", path.display())));
    if !seen.is_file() {
        return no("not a regular file");
    }
    if seen.uid() != me()? || seen.mode() & 0o022 != 0 {
        return no("not ours alone (owner or mode); remove it");
    }
    let mut bytes = Vec::new();
    file.take(u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return no("too long");
    }
    Ok(bytes)
}

/// Effective user of this process.
fn me() -> io::Result<u32> {
    fs::metadata("/proc/self").map(|m| m.uid())
}

/// Writes beside the file and renames: a reader sees the old file or the new one. Mode 0600.
///
/// # Errors
/// The file system's.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // What a killed process left would be in the way of create_new, which follows no symlink.
    let _ = fs::remove_file(&beside);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file: File| file.write_all(bytes))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Makes a directory and its parents, 0700 each that is new; one that is there must be ours alone.
///
/// # Errors
/// The file system's, or somebody else can write there.
pub fn private_dir(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(seen) if seen.is_dir() && seen.uid() == me()? && seen.mode() & 0o022 == 0 => Ok(()),
        Ok(_) => Err(io::Error::other(format!(
            "{}: not a directory of ours alone (owner or mode); remove it, or name another run_dir",
            path.display()
        ))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
        }
        Err(e) => Err(e),
    }
}
