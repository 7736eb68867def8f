//! Files that change, and configurations that do.

use super::*;
use crate::{
    controller::{
        Changed, Credential, JobRecord, JobUpdate, NodeRecord, PartitionRecord, SlurmConf, SlurmError,
    },
    shared::Snapshot,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

const TOML: &str = r#"
[cluster]
listen = "127.0.0.1:6826"
[aws]
region = "us-east-2"
[pool.efa]
partition = "efa"
zones = { "us-east-2b" = "subnet-0aa11" }
image = "ami-1"
security_groups = ["sg-1"]
[[pool.efa.block]]
type = "hpc7a.96xlarge"
nodes = "efa7-[0001-0008]"
"#;

fn parse(text: &str) -> Config {
    Config::parse(text, "burst.toml").expect("it is right")
}

/// Only its log matters.
#[derive(Default)]
struct Silent(Mutex<Vec<String>>);

impl Silent {
    fn said(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

fn nothing<T>() -> Result<T, SlurmError> {
    Err(SlurmError { code: 0, message: "no slurmctld here".into(), passing: false })
}

impl Controller for Silent {
    fn jobs(&self) -> Result<Changed<JobRecord>, SlurmError> {
        nothing()
    }
    fn jobs_of(&self, _: u32) -> Result<Vec<JobRecord>, SlurmError> {
        nothing()
    }
    fn nodes(&self) -> Result<Changed<NodeRecord>, SlurmError> {
        nothing()
    }
    fn partitions(&self) -> Result<Vec<PartitionRecord>, SlurmError> {
        nothing()
    }
    fn licences(&self) -> Result<BTreeMap<String, u32>, SlurmError> {
        nothing()
    }
    fn conf(&self) -> Result<SlurmConf, SlurmError> {
        nothing()
    }
    fn update_job(&self, _: &str, _: &JobUpdate) -> Result<(), SlurmError> {
        nothing()
    }
    fn set_addresses(&self, _: &str, _: &str, _: &str) -> Result<(), SlurmError> {
        nothing()
    }
    fn power_down(&self, _: &str) -> Result<(), SlurmError> {
        nothing()
    }
    fn cancel(&self, _: &str) -> Result<(), SlurmError> {
        nothing()
    }
    fn active(&self) -> bool {
        true
    }
    fn decode(&self, _: &str) -> Result<Credential, String> {
        Err("no munge here".into())
    }
    fn log(&self, _: Loud, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text.into());
    }
}

struct Dir(PathBuf);
impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("burst-reload-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
    fn write(&self, text: &str) -> String {
        let path = self.0.join("burst.toml");
        // As editors do: another file takes its place.
        let temp = self.0.join("new");
        fs::write(&temp, text).unwrap();
        fs::rename(&temp, &path).unwrap();
        path.display().to_string()
    }
}
impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_change_is_seen_once_and_only_when_it_has_settled() {
    let dir = Dir::new("settle");
    let path = dir.write(TOML);
    let mut w = Watcher::new(&path, None);
    assert!(!w.look() && !w.look());
    dir.write("half");
    assert!(!w.look(), "it may still be being written");
    dir.write(&format!("{TOML}\n# more\n"));
    assert!(!w.look());
    assert!(w.look(), "two looks found the same");
    assert!(!w.look());
    fs::remove_file(&path).unwrap();
    assert!(!w.look());
    assert!(w.look(), "a file that is gone is a change, too");
    dir.write(TOML);
    assert!(!w.look());
    assert!(w.look());
}

#[test]
fn what_needs_a_restart_stays_and_is_named() {
    let old = parse(TOML);
    let (same, kept) = merge(&old, old.clone()).unwrap();
    assert_eq!((same, kept), (old.clone(), None));
    let new = parse(
        &TOML
            .replace("6826\"", "6827\"\nstate_dir = \"/elsewhere\"")
            .replace("partition = \"efa\"", "partition = \"efa\"\nboot_limit = \"3m\""),
    );
    let (merged, kept) = merge(&old, new).unwrap();
    assert_eq!(merged.cluster, old.cluster);
    assert_eq!(merged.pools["efa"].boot_limit.0, 180, "the rest counts at once");
    assert_eq!(
        kept.as_deref(),
        Some(
            "cluster.state_dir, cluster.listen of burst.toml changed and count after a restart of slurmctld"
        )
    );
    let west = parse(&TOML.replace("us-east-2", "us-west-2"));
    let why = merge(&old, west).unwrap_err();
    assert!(why.contains("us-west-2") && why.contains("restart"), "{why}");
}

#[test]
fn a_broken_file_changes_nothing_and_a_right_one_is_taken() {
    let (dir, shared, said) = (Dir::new("take"), Shared::default(), Silent::default());
    let path = dir.write(TOML);
    shared.snapshot.publish(Snapshot { config: Some(parse(TOML)), ..Snapshot::default() });
    let old = shared.snapshot.load().config.clone();
    dir.write(&TOML.replace("image", "imago"));
    assert!(!take(&shared, &said, read(&path), 1));
    assert_eq!(shared.snapshot.load().config, old);
    let error = lock(&shared.care.in_use).error.clone().unwrap();
    for text in [&error, &said.said()] {
        assert!(text.contains("the old one stays") && text.contains("pool.efa.imago"), "{text}");
    }
    dir.write(&TOML.replace("image =", "dry_run = true\nimage ="));
    assert!(take(&shared, &said, read(&path), 5));
    assert!(shared.snapshot.load().config.as_ref().unwrap().pools["efa"].dry_run);
    let in_use = lock(&shared.care.in_use).clone();
    assert_eq!((in_use.read_ms, in_use.error), (5, None));
    let words = said.said();
    assert!(!take(&shared, &said, read(&path), 9), "the same once more");
    assert_eq!((said.said(), lock(&shared.care.in_use).read_ms), (words, 9));
}

#[test]
fn a_file_that_never_worked_is_taken_when_it_does() {
    let (dir, shared, said) = (Dir::new("first"), Shared::default(), Silent::default());
    let path = dir.write("partition = \"efa\"\nbroken");
    assert!(!take(&shared, &said, read(&path), 1));
    assert!(shared.snapshot.load().is_ours(b"efa"), "its jobs are refused, not scheduled");
    dir.write(TOML);
    assert!(take(&shared, &said, read(&path), 2));
    let s = shared.snapshot.load();
    assert!(s.config.is_some() && s.config_error.is_none() && s.broken_partitions.is_empty());
}
