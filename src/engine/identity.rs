//! Which machine a state directory belongs to: a copy of a controller, restored elsewhere, must not end the original's
//! instances, although it carries the same UUID.

use serde::{Deserialize, Serialize};
use std::{fs, io::ErrorKind, os::unix::fs::OpenOptionsExt, path::Path};

/// The file beside `uuid`.
const FILE: &str = "host";

/// A machine, as far as it can be told from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// machine-id(5); empty where there is none.
    pub id: String,
    /// Host name.
    pub host: String,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Self {
        let word = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Self { id: word("/etc/machine-id"), host: word("/proc/sys/kernel/hostname") }
    }

    fn short(&self) -> &str {
        short(&self.host)
    }
}

/// slurm.conf may have a host's whole name, or the start of it.
fn short(host: &str) -> &str {
    host.split('.').next().unwrap_or(host)
}

/// Whether the directory is this machine's; None: it is. A directory without a record gets one. Controllers that slurm.conf
/// names together (`peers`, its SlurmctldHost lines) share theirs. Some: why not, for people.
///
/// # Errors
/// The record cannot be written, in words.
pub fn check(dir: &Path, here: &Machine, peers: &[String]) -> Result<Option<String>, String> {
    let path = dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(t) => t,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return write(dir, FILE, &json(std::slice::from_ref(here))).map(|()| None);
        }
        Err(e) => return Err(format!("{} cannot be read: {e}", path.display())),
    };
    let Ok(mut known) = serde_json::from_str::<Vec<Machine>>(&text) else {
        return Ok(Some(format!("{} does not say which machine this directory belongs to", path.display())));
    };
    if known.contains(here) {
        return Ok(None);
    }
    let peer = |m: &Machine| peers.iter().any(|p| short(p) == m.short());
    // A copy's slurm.conf names the copy; one that names both has two controllers of one cluster.
    if peer(here) && known.iter().any(|m| m.short() != here.short() && peer(m)) {
        known.push(here.clone());
        return write(dir, FILE, &json(&known)).map(|()| None);
    }
    let old = known.last().map_or("another", |m| m.host.as_str());
    Ok(Some(format!(
        "this state directory belongs to machine {old}, and this one is {}: it may be a copy, and the original's instances \
         must not be ended from here",
        here.host
    )))
}

/// The directory is this machine's from now on.
///
/// # Errors
/// It cannot be written, in words.
pub fn adopt(dir: &Path, here: &Machine) -> Result<(), String> {
    write(dir, FILE, &json(std::slice::from_ref(here)))
}

/// The cluster's UUID is this one from the next start on.
///
/// # Errors
/// It is no UUID, or cannot be written, in words.
pub fn adopt_uuid(dir: &Path, uuid: &str) -> Result<(), String> {
    if !is_uuid(uuid) {
        return Err(format!(
            "`{uuid}` is no UUID: the tag slurm-burst:cluster of an instance shows the cluster's"
        ));
    }
    write(dir, "uuid", uuid)
}

/// 8-4-4-4-12 hex digits.
#[must_use]
pub fn is_uuid(text: &str) -> bool {
    let dash = |i: usize| matches!(i, 8 | 13 | 18 | 23);
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| if dash(i) { b == b'-' } else { b.is_ascii_hexdigit() })
}

fn json(machines: &[Machine]) -> String {
    serde_json::to_string(machines).unwrap_or_default()
}

/// Whole or not at all.
fn write(dir: &Path, name: &str, text: &str) -> Result<(), String> {
    let (path, temp) = (dir.join(name), dir.join(format!("{name}.new")));
    let make = || -> std::io::Result<()> {
        let mut file =
            fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temp)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temp, &path)
    };
    make().map_err(|e| format!("{} cannot be written: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Dir(PathBuf);
    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("burst-identity-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }
    }
    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn machine(id: &str, host: &str) -> Machine {
        Machine { id: id.into(), host: host.into() }
    }

    #[test]
    fn a_copy_waits_for_a_word_and_the_original_does_not() {
        let dir = Dir::new("copy");
        let (first, copy) = (machine("aa", "head1"), machine("aa", "head9"));
        assert_eq!(check(&dir.0, &first, &[]), Ok(None), "the first start records it");
        assert_eq!(check(&dir.0, &first, &[]), Ok(None));
        let why = check(&dir.0, &copy, &["head9".into()]).unwrap().unwrap();
        assert!(why.contains("machine head1") && why.contains("this one is head9"), "{why}");
        assert!(check(&dir.0, &machine("bb", "head1"), &[]).unwrap().is_some(), "same name, another machine");
        adopt(&dir.0, &copy).unwrap();
        assert_eq!(check(&dir.0, &copy, &[]), Ok(None));
        assert!(check(&dir.0, &first, &[]).unwrap().is_some());
    }

    #[test]
    fn controllers_that_slurm_conf_names_together_share_a_directory() {
        let dir = Dir::new("peers");
        let (one, two) = (machine("aa", "head1.site.edu"), machine("bb", "head2.site.edu"));
        let peers = ["head1".to_owned(), "head2".to_owned()];
        for m in [&one, &two, &one] {
            assert_eq!(check(&dir.0, m, &peers), Ok(None));
        }
        assert!(check(&dir.0, &machine("cc", "head3"), &peers).unwrap().is_some());
    }

    #[test]
    fn a_record_that_cannot_be_read_is_nobodys() {
        let dir = Dir::new("damaged");
        fs::write(dir.0.join(FILE), "head1").unwrap();
        assert!(check(&dir.0, &machine("aa", "head1"), &[]).unwrap().is_some());
    }

    #[test]
    fn only_a_uuid_is_adopted() {
        let dir = Dir::new("uuid");
        for bad in ["", "x", "11111111-2222-4333-8444-55555555555", "11111111222243338444555555555555----"] {
            assert!(adopt_uuid(&dir.0, bad).is_err(), "{bad}");
        }
        let good = "11111111-2222-4333-8444-555555555555";
        adopt_uuid(&dir.0, good).unwrap();
        assert_eq!(fs::read_to_string(dir.0.join("uuid")).unwrap(), good);
    }
}
