//! What a run leaves for the checker, and for people when it failed.

use super::Cluster;
use crate::checker::{self, Evidence, Expect};
use crate::proc::tail;
use crate::{Context, Res};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

impl Cluster {
    /// Appends what Slurm says now to the evidence.
    ///
    /// # Errors
    /// slurmctld does not answer, or the file cannot be written.
    pub fn snapshot(&self) -> Res<()> {
        let at = crate::time::now_ms();
        for (kind, args) in [("jobs", ["show", "job"]), ("nodes", ["show", "node"])] {
            let out = self.patiently(&args)?;
            if !out.ok() {
                return Err(out.text());
            }
            let path = self.at.file("evidence").join(format!("{kind}.txt"));
            let mut file =
                OpenOptions::new().create(true).append(true).open(&path).context(path.display())?;
            write!(file, "{}{at}\n{}\n", checker::MARK, out.out).context(path.display())?;
        }
        Ok(())
    }

    /// A last snapshot, and everything the checker reads in one directory.
    ///
    /// # Errors
    /// slurmctld does not answer, or a file cannot be read.
    pub fn evidence(&self) -> Res<PathBuf> {
        self.snapshot()?;
        let dir = self.at.file("evidence");
        copy(&self.at.file("log/slurmctld.log"), &dir.join("slurmctld.log"))?;
        if let Some(sim) = &self.sim {
            copy(&sim.audit(), &dir.join("audit.jsonl"))?;
        }
        Ok(dir)
    }

    /// What the checker finds wrong with this run.
    ///
    /// # Errors
    /// The evidence cannot be collected or read.
    pub fn check(&self, expect: &Expect) -> Res<Vec<String>> {
        Ok(checker::check(&Evidence::read(&self.evidence()?)?, expect))
    }

    /// The end of every log.
    #[must_use]
    pub fn tails(&self, lines: usize) -> String {
        let mut text = String::new();
        for path in logs(&self.at.file("log")).into_iter().chain(logs(&self.at.file("sim"))) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("slurmd.") && name != "slurmd.out" || name.starts_with("audit") {
                continue;
            }
            text.push_str(&format!("--- {name}\n{}\n", tail(&path, lines)));
        }
        text
    }

    /// Copies logs and configuration to `target/e2e-logs/<name>`.
    pub fn keep_logs(&self) -> PathBuf {
        let to = crate::spec::target_dir().join("e2e-logs").join(&self.spec.name);
        let _ = std::fs::remove_dir_all(&to);
        let _ = self.evidence();
        for sub in ["log", "sim", "etc", "evidence", "work"] {
            copy_tree(&self.at.file(sub), &to.join(sub), 4);
        }
        to
    }
}

fn copy(from: &Path, to: &Path) -> Res<()> {
    std::fs::copy(from, to).context(from.display()).map(|_| ())
}

fn logs(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut all: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
    all.sort();
    all
}

fn copy_tree(from: &Path, to: &Path, depth: u8) {
    let Ok(entries) = std::fs::read_dir(from) else { return };
    let _ = std::fs::create_dir_all(to);
    for entry in entries.flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        let target = to.join(entry.file_name());
        match kind {
            Ok(k) if k.is_dir() && depth > 0 => copy_tree(&path, &target, depth - 1),
            Ok(k) if k.is_file() => drop(std::fs::copy(&path, &target)),
            _ => {}
        }
    }
}
