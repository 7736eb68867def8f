//! What this machine has and runs.

use std::{fs, path::PathBuf};

#[cfg(feature = "test-sysfs")]
fn sysfs() -> PathBuf {
    std::env::var_os("BURST_TEST_SYSFS").map_or_else(|| PathBuf::from("/sys"), PathBuf::from)
}

#[cfg(not(feature = "test-sysfs"))]
fn sysfs() -> PathBuf {
    PathBuf::from("/sys")
}

/// EFA devices: entries of `/sys/class/infiniband` whose `device/driver` is `efa`. In test builds $BURST_TEST_SYSFS
/// stands for `/sys`.
pub fn efa() -> u32 {
    let Ok(entries) = fs::read_dir(sysfs().join("class/infiniband")) else { return 0 };
    let driven = |p: PathBuf| fs::canonicalize(p.join("device/driver")).is_ok_and(|d| d.ends_with("efa"));
    let count = entries.flatten().filter(|e| driven(e.path())).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Job steps on this machine: processes named slurmstepd that have a child of another name, in our PID namespace. A step
/// that is over and only tries to tell a dead controller so has none, and must not keep the instance alive.
pub fn steps() -> usize {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let all: Vec<(u32, u32, bool)> = entries.flatten().filter_map(|e| process(&e.path())).collect();
    let has_child = |pid: u32| all.iter().any(|(_, parent, step)| *parent == pid && !step);
    all.iter().filter(|(pid, _, step)| *step && has_child(*pid)).count()
}

/// (pid, parent, is slurmstepd) of a folder of /proc; None for what is no process (any more).
fn process(dir: &std::path::Path) -> Option<(u32, u32, bool)> {
    let pid = dir.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(dir.join("stat")).ok()?;
    // `pid (name) state ppid …`; the name may hold anything, a ) too.
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    Some((pid, tail.split_whitespace().nth(1)?.parse().ok()?, name == "slurmstepd"))
}
