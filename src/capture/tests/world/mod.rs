//! A file system of the tests' own, in the kernel's formats.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

pub struct World {
    dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub fn link(&self, name: &str, to: &Path) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
    }

    /// A process with one thread.
    pub fn process(&self, pid: &str, children: &str, peak_kib: u64) {
        self.put(&format!("proc/{pid}/task/{pid}/children"), children);
        self.put(
            &format!("proc/{pid}/status"),
            &format!("Name:\tx\nVmPeak:\t  999999 kB\nVmHWM:\t    {peak_kib} kB\nVmRSS:\t       1 kB\n"),
        );
    }

    pub fn io(&self, name: &str, read: u64, write: u64) {
        self.put(
            name,
            &format!("rchar: {read}\nwchar: {write}\nsyscr: 9\nsyscw: 9\nread_bytes: 1\nwrite_bytes: 2\n"),
        );
    }

    pub fn efa(&self, device: &str, driver: &str, counters: &[(&str, u64)]) {
        let to = self.root().join("sys/bus/drivers").join(driver);
        fs::create_dir_all(&to).unwrap();
        let base = format!("sys/class/infiniband/{device}");
        self.link(&format!("{base}/device/driver"), &to);
        for (name, value) in counters {
            self.put(&format!("{base}/ports/1/{name}"), &format!("{value}\n"));
        }
    }

    pub fn net(&self, lines: &[(&str, u64, u64)]) {
        let mut text = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n".to_owned();
        for (name, rx, tx) in lines {
            text.push_str(&format!("{name:>6}: {rx} 1 0 0 0 0 0 0 {tx} 1 0 0 0 0 0 0\n"));
        }
        self.put("proc/self/net/dev", &text);
    }
}
