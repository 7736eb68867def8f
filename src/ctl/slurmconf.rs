//! The few lines of slurm.conf that say where the controller is. A reader, not a parser: what it does not
//! understand it leaves alone, and nothing here decides about a job.

use std::path::{Path, PathBuf};

/// How deep `Include` is followed.
const DEPTH: usize = 8;

/// Key and value pairs of slurm.conf, keys in lower case, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlurmConf {
    lines: Vec<Vec<(String, String)>>,
}

/// Where slurm.conf is: `$SLURM_CONF`, the usual places, and the copy of a configless node.
#[must_use]
pub fn path() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("SLURM_CONF").filter(|p| !p.is_empty()) {
        return Some(path.into());
    }
    ["/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/run/slurm/conf/slurm.conf"]
        .iter()
        .map(PathBuf::from)
        .find(|p| p.exists())
}

impl SlurmConf {
    /// Reads the file that this machine's Slurm uses; empty where there is none or it cannot be read.
    #[must_use]
    pub fn here() -> Self {
        let mut conf = Self::default();
        if let Some(path) = path() {
            conf.read(&path, DEPTH);
        }
        conf
    }

    /// Parses text, without includes.
    #[cfg(test)]
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        conf.add(text, Path::new("/"), 0);
        conf
    }

    fn read(&mut self, path: &Path, depth: usize) {
        if let Ok(text) = std::fs::read_to_string(path) {
            self.add(&text, path.parent().unwrap_or(Path::new("/")), depth);
        }
    }

    fn add(&mut self, text: &str, dir: &Path, depth: usize) {
        for line in text.replace("\\\n", " ").lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let first = line.split_whitespace().next().unwrap_or_default();
            if first.eq_ignore_ascii_case("include") {
                if let (Some(file), true) = (line.split_whitespace().nth(1), depth > 0) {
                    self.read(&dir.join(file), depth - 1);
                }
                continue;
            }
            let pairs: Vec<_> = line
                .split_whitespace()
                .filter_map(|word| word.split_once('='))
                .map(|(k, v)| (k.to_ascii_lowercase(), v.trim_matches('"').to_owned()))
                .collect();
            if !pairs.is_empty() {
                self.lines.push(pairs);
            }
        }
    }

    /// Lines as pairs of lower-case key and value.
    pub fn lines(&self) -> impl Iterator<Item = &[(String, String)]> {
        self.lines.iter().map(Vec::as_slice)
    }

    /// The last value of a key that stands on a line of its own.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut found = None;
        for (k, v) in self.lines().filter_map(|l| l.first()) {
            if k.eq_ignore_ascii_case(key) {
                found = Some(v.as_str());
            }
        }
        found
    }

    /// munged's socket, where `AuthInfo` names one.
    #[must_use]
    pub fn munge_socket(&self) -> Option<PathBuf> {
        self.get("AuthInfo")?.split(',').find_map(|part| part.strip_prefix("socket=")).map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_comments_continuations_and_partitions() {
        let conf = SlurmConf::parse(
            "ClusterName=c1 # the name\nAuthInfo=socket=/tmp/m,cred_expire=60\nStateSaveLocation=/a\n\
             PartitionName=DEFAULT DefaultTime=10\nPartitionName=efa Nodes=x \\\n  MaxTime=2:00:00\nstatesavelocation=/b\n",
        );
        assert_eq!(conf.get("clustername"), Some("c1"));
        assert_eq!(conf.get("StateSaveLocation"), Some("/b"));
        assert_eq!(conf.munge_socket(), Some("/tmp/m".into()));
    }

    #[test]
    fn includes_are_read_relative_to_the_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("slurm.conf"), "Include more.conf\nClusterName=x\n").unwrap();
        std::fs::write(dir.path().join("more.conf"), "SlurmctldHost=h\nInclude slurm.conf\n").unwrap();
        let mut conf = SlurmConf::default();
        conf.read(&dir.path().join("slurm.conf"), DEPTH);
        assert_eq!(conf.get("ClusterName"), Some("x"));
        assert_eq!(conf.get("SlurmctldHost"), Some("h"));
    }
}
