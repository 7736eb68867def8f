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

/// Job steps on this machine: processes named slurmstepd, in our PID namespace.
pub fn steps() -> usize {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let is_step = |p: PathBuf| fs::read_to_string(p.join("comm")).is_ok_and(|c| c.trim() == "slurmstepd");
    let number = |n: &std::ffi::OsStr| n.to_str().is_some_and(|s| s.bytes().all(|b| b.is_ascii_digit()));
    entries.flatten().filter(|e| number(&e.file_name()) && is_step(e.path())).count()
}
