//! /proc: processes of a step, their memory, and what a process and its reaped children read and wrote.

use crate::file;
use std::{collections::BTreeMap, path::Path};

/// Most processes of a step that are looked at.
const PROCESSES: usize = 4096;

/// Bytes by system calls (`rchar`, `wchar` of /proc/PID/io).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Io {
    /// Read.
    pub read: u64,
    /// Written.
    pub write: u64,
}

impl Io {
    /// What was moved since.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { read: self.read.saturating_sub(before.read), write: self.write.saturating_sub(before.write) }
    }
}

fn io_file(path: &Path) -> Option<Io> {
    let text = file::kernel(path, 1024)?;
    let value = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.trim().parse::<u64>().ok());
    Some(Io { read: value("rchar:")?, write: value("wchar:")? })
}

/// What a process's *reaped* descendants moved: Linux adds a reaped child's figures to those of its parent (kernel/exit.c
/// `wait_task_zombie`), so this is the process's sum without what its living threads did themselves.
#[must_use]
pub fn children_io(root: &Path, pid: &str) -> Option<Io> {
    let dir = root.join("proc").join(pid);
    let threads = std::fs::read_dir(dir.join("task")).ok()?.flatten();
    let own = threads.filter_map(|t| io_file(&t.path().join("io"))).fold(Io::default(), |a, b| Io {
        read: a.read.saturating_add(b.read),
        write: a.write.saturating_add(b.write),
    });
    io_file(&dir.join("io")).map(|all| all.since(own))
}

/// All descendants of a process, by `/proc/PID/task/TID/children`. One that a daemon's double fork has taken away is missed.
#[must_use]
pub fn descendants(root: &Path, pid: &str) -> Vec<u32> {
    let mut found = children(root, pid);
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        if found.len() < PROCESSES {
            found.extend(children(root, &pid.to_string()));
        }
    }
    found.truncate(PROCESSES);
    found
}

fn children(root: &Path, pid: &str) -> Vec<u32> {
    let threads = std::fs::read_dir(root.join("proc").join(pid).join("task"));
    let lists = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|t| file::kernel(&t.path().join("children"), 64 * 1024));
    let pids: Vec<u32> =
        lists.flat_map(|l| l.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<_>>()).collect();
    pids.into_iter().take(PROCESSES).collect()
}

/// A process's own peak of resident memory (`VmHWM`), bytes; None for a zombie or a kernel's thread.
#[must_use]
pub fn peak_memory(root: &Path, pid: u32) -> Option<u64> {
    let text = file::kernel(&root.join("proc").join(pid.to_string()).join("status"), 8192)?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A process's environment as it was started, as far as `wanted` names it.
#[must_use]
pub fn environment(root: &Path, pid: u32, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    let text = file::kernel(&root.join("proc").join(pid.to_string()).join("environ"), 128 * 1024)
        .unwrap_or_default();
    let pairs = text.split('\0').filter_map(|e| e.split_once('='));
    let pairs = pairs.filter(|(k, v)| v.len() <= 4096 && wanted(k));
    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// CPUs that are online.
#[must_use]
pub fn cpus(root: &Path) -> Option<u32> {
    let text = file::kernel(&root.join("sys/devices/system/cpu/online"), 4096)?;
    let count = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        last.parse::<u32>().ok()?.checked_sub(first.parse().ok()?)?.checked_add(1)
    };
    text.trim().split(',').map(count).try_fold(0_u32, |sum, n| sum.checked_add(n?))
}

/// The machine's memory, bytes.
#[must_use]
pub fn memory(root: &Path) -> Option<u64> {
    let text = file::kernel(&root.join("proc/meminfo"), 4096)?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
