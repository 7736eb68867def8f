//! The site's key for words in place of names. It is made once, stays in a file of its owner's, and is never shown.

use crate::{cli::Common, out::Fail, places, slurmconf::SlurmConf};
use burst_policy::export::{Blind, KEY_BYTES};
use clap::Args;
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Whether names are replaced.
#[derive(Debug, Clone, Default, Args)]
pub struct KeyArgs {
    /// Replace names of users, accounts, jobs, partitions, nodes and instances by a keyed hash
    #[arg(long)]
    anonymize: bool,
    /// The site's key, made where there is none yet; readable by its owner only [default: export.key in the state
    /// directory]
    #[arg(long, value_name = "FILE", requires = "anonymize")]
    key_file: Option<PathBuf>,
}

impl KeyArgs {
    /// What replaces names; None: they stay.
    ///
    /// # Errors
    /// The key cannot be read or made, or others can read it.
    pub fn blind(&self, common: &Common) -> Result<Option<Blind>, Fail> {
        if !self.anonymize {
            return Ok(None);
        }
        let path = match &self.key_file {
            Some(path) => path.clone(),
            None => usual(common).ok_or_else(|| {
                Fail::problem("where the state directory is cannot be told here: give --key-file FILE")
            })?,
        };
        key(&path).map(|k| Some(Blind::new(k)))
    }
}

/// `state_dir` of burst.toml, else StateSaveLocation/burst of slurm.conf.
fn usual(common: &Common) -> Option<PathBuf> {
    let own = places::config(common).ok().and_then(|c| c.cluster.state_dir);
    let dir = own.or_else(|| Some(PathBuf::from(SlurmConf::here().get("StateSaveLocation")?).join("burst")));
    dir.map(|d| d.join("export.key"))
}

fn key(path: &Path) -> Result<[u8; KEY_BYTES], Fail> {
    let shown = path.display();
    let wrong = |e: std::io::Error| {
        Fail::problem(format!(
            "{shown}: {e}; give --key-file FILE where the state directory is not yours to read"
        ))
    };
    let made = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    match made {
        Ok(mut file) => {
            let mut bytes = [0; KEY_BYTES];
            let done = fs::File::open("/dev/urandom")
                .and_then(|mut r| r.read_exact(&mut bytes))
                .and_then(|()| file.write_all(hex(&bytes).as_bytes()))
                .and_then(|()| file.sync_all());
            if let Err(e) = done {
                // Half a key must not be taken for one.
                let _ = fs::remove_file(path);
                return Err(wrong(e));
            }
            Ok(bytes)
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let mut file = fs::File::open(path).map_err(wrong)?;
            let mode = file.metadata().map_err(wrong)?.mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(Fail::problem(format!(
                    "{shown} can be read by others (mode {mode:o}): whoever has the key can tell whose job is whose; chmod 600 \
                     it, or make a new one"
                )));
            }
            let mut text = String::new();
            let most = KEY_BYTES as u64 * 2 + 2;
            (&mut file).take(most).read_to_string(&mut text).map_err(wrong)?;
            unhex(text.trim()).ok_or_else(|| {
                Fail::problem(format!(
                    "{shown} does not hold a key (64 hex digits): restore it, or make a new one"
                ))
            })
        }
        Err(e) => Err(wrong(e)),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("{digits}\n")
}

fn unhex(text: &str) -> Option<[u8; KEY_BYTES]> {
    if text.len() != KEY_BYTES * 2 || !text.is_ascii() {
        return None;
    }
    let mut out = [0; KEY_BYTES];
    for (i, b) in out.iter_mut().enumerate() {
        *b = u8::from_str_radix(text.get(i * 2..i * 2 + 2)?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_private_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("export.key");
        let first = key(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(key(&path).unwrap(), first);
        assert_ne!(key(&dir.path().join("other")).unwrap(), first);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(key(&path).unwrap_err().text.contains("chmod 600"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        for text in ["", "abc", &"g".repeat(64), &"é".repeat(32), &"a".repeat(65)] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(key(&path).unwrap_err().text.contains("does not hold a key"), "{text}");
        }
        assert!(key(Path::new("/nonexistent/k")).unwrap_err().text.contains("--key-file"));
    }
}
