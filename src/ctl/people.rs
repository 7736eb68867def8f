//! Names of users. slurmctld does not look them up for us: a directory service that hangs must not hold it up.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

static KNOWN: Mutex<BTreeMap<u32, Option<String>>> = Mutex::new(BTreeMap::new());

/// The name of a uid, as this machine knows it; asked once.
pub fn name(uid: u32) -> Option<String> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(uid).or_insert_with(|| ask(uid)).clone()
}

/// A name stays; a uid in its place is looked up.
pub fn shown(user: &str) -> String {
    user.parse().ok().and_then(name).unwrap_or_else(|| user.to_owned())
}

/// `getent` asks whatever nsswitch.conf names, as Slurm's own commands do.
fn ask(uid: u32) -> Option<String> {
    let out = Command::new("getent")
        .args(["passwd", &uid.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let name = text.split(':').next().unwrap_or_default().trim();
    (out.status.success() && !name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_become_names_and_names_stay() {
        assert_eq!(shown("0"), "root");
        assert_eq!(shown("alice"), "alice");
        assert_eq!(shown("4294967294"), "4294967294", "nobody has this one");
        assert_eq!(shown(""), "");
    }
}
