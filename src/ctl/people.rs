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

/// The uid of a name, as this machine knows it; a uid stays.
pub fn uid(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| passwd(name)?.split(':').nth(2)?.parse().ok())
}

fn ask(uid: u32) -> Option<String> {
    let entry = passwd(&uid.to_string())?;
    let name = entry.split(':').next().unwrap_or_default().trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// `getent` asks whatever nsswitch.conf names, as Slurm's own commands do.
fn passwd(who: &str) -> Option<String> {
    let out = Command::new("getent")
        .args(["passwd", "--", who])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&out.stdout);
    out.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
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
        assert_eq!((uid("root"), uid("7"), uid("nobody-has-this-name")), (Some(0), Some(7), None));
    }
}
