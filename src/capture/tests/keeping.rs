//! The run directory, the report, the spool, and hostile files in all of them.
// clippy.toml frees test functions only; these are their helpers.
#![allow(missing_docs, clippy::unwrap_used)]

use burst_capture::{NodeFile, Place, Verdict, file, merge, place::StepFile, spool};
use burst_plan::report::{ExitReport, MOST_STEPS, NicReport, NodeReport, StepReport};
use proptest::prelude::*;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

fn node() -> NodeFile {
    NodeFile {
        node: "efa7-0001".into(),
        instance_id: "i-0123".into(),
        controllers: vec!["http://10.0.0.5:6826".into()],
        munge: "/usr/bin/munge".into(),
        munge_socket: None,
    }
}

fn step(name: &str, began: u64) -> StepFile {
    let step = StepReport {
        step: name.into(),
        began_ms: Some(began),
        ended_ms: Some(began + 10),
        ..StepReport::default()
    };
    StepFile { restart: None, step }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn only_announced_nodes_are_a_pool_s() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(&dir.path().join("run"), "efa7-0001").unwrap();
    assert_eq!(place.node_file(), Ok(None));
    place.announce(&node()).unwrap();
    assert_eq!(place.node_file(), Ok(Some(node())));
    let home = dir.path().join("run/efa7-0001");
    assert_eq!(
        (mode(&dir.path().join("run")), mode(&home), mode(&home.join("node.json"))),
        (0o700, 0o700, 0o600)
    );
    for bad in ["", ".", "..", "../x", "a/b", "-x", "a b"] {
        assert_eq!(Place::new(dir.path(), bad), None, "{bad}");
    }
}

#[test]
fn files_of_others_are_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), "n1").unwrap();
    let path = dir.path().join("n1/node.json");
    fs::create_dir(dir.path().join("n1")).unwrap();
    fs::set_permissions(dir.path().join("n1"), PermissionsExt::from_mode(0o700)).unwrap();
    let good = serde_json::to_vec(&node()).unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, &good).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(place.node_file().is_err(), "a symlink");
    fs::remove_file(&path).unwrap();
    fs::write(&path, &good).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    assert!(place.node_file().unwrap_err().contains("not ours"), "anybody could have written it");
    for text in [vec![b' '; 1 << 20], b"{\"node\":7}".to_vec(), b"\xff\xfe".to_vec(), Vec::new()] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, &text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert!(place.node_file().is_err(), "{} bytes", text.len());
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(place.node_file().is_err(), "a directory");
    fs::set_permissions(dir.path().join("n1"), PermissionsExt::from_mode(0o777)).unwrap();
    assert!(place.announce(&node()).is_err(), "a directory in which anybody can write");
    fs::remove_dir_all(dir.path().join("n1")).unwrap();
    symlink("/tmp", dir.path().join("n1")).unwrap();
    assert!(place.announce(&node()).is_err(), "a symlink for a directory");
}

#[test]
fn steps_are_kept_bounded_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), "n1").unwrap();
    for n in 0..200 {
        place.keep_step(7, &step(&n.to_string(), n)).unwrap();
    }
    place.keep_step(7, &step("batch", 0)).unwrap();
    place.keep_step(8, &step("0", 0)).unwrap();
    assert!(place.keep_step(7, &step("../x", 0)).is_err());
    let (steps, lost) = place.steps(7);
    assert_eq!((steps.len(), lost), (MOST_STEPS - 4 + 1, 140));
    assert!(steps.iter().any(|s| s.step.step == "batch"));
    let jobs = dir.path().join("n1/jobs");
    fs::write(jobs.join("7/0.json"), "garbage").unwrap();
    symlink("/etc/passwd", jobs.join("7/evil.json")).unwrap();
    fs::write(jobs.join("7/huge.json"), vec![b'x'; 1 << 20]).unwrap();
    let (steps, lost) = place.steps(7);
    assert_eq!((steps.len(), lost), (MOST_STEPS - 4, 143), "what cannot be read is counted");
    place.forget(7, SystemTime::now());
    assert_eq!(place.steps(7), (Vec::new(), 0));
    assert_eq!(place.steps(8).0.len(), 1);
    place.forget(7, SystemTime::now() + Duration::from_secs(50 * 86_400));
    assert_eq!(place.steps(8).0.len(), 0, "its epilog never came");
}

#[test]
fn steps_become_a_report() {
    let mut batch = step("batch", 100);
    batch.restart = Some(2);
    let mut first = step("0", 200);
    first.restart = Some(9);
    let files = vec![step("1", 300), first, batch];
    let r = merge::report(7, "n1", "i-0", files, 3);
    assert_eq!((r.job, r.restart, r.node.as_str(), r.instance.as_deref()), (7, 2, "n1", Some("i-0")));
    assert_eq!((r.began_ms, r.ended_ms, r.steps_left_out), (Some(100), Some(310), 3));
    assert_eq!(r.steps.iter().map(|s| s.step.as_str()).collect::<Vec<_>>(), ["batch", "0", "1"]);
    let other = merge::report(7, "n2", "", vec![StepFile { restart: Some(1), ..step("0", 1) }], 0);
    assert_eq!((other.restart, other.instance), (1, None), "no batch step here");
    let many = (0..300).map(|n| step(&n.to_string(), n)).chain([step("batch", 999)]).collect();
    let r = merge::report(7, "n1", "", many, 0);
    assert_eq!((r.steps.len(), r.steps_left_out), (MOST_STEPS, 237));
    assert_eq!(r.steps.last().unwrap().step, "batch", "the batch step stays");
}

#[test]
fn a_message_is_bounded_and_reads_back() {
    let big = |n: u64| {
        let mut s = step(&n.to_string(), n);
        s.step.nics =
            (0..40).map(|i| NicReport { name: format!("eth{i}"), rx_bytes: u64::MAX, tx_bytes: 1 }).collect();
        s.step.exits = (0..40).map(|task| ExitReport { task, status: 9 }).collect();
        s.step.flags = (0..40).map(|_| "x\n".repeat(500)).collect();
        s
    };
    let report = merge::report(7, "efa7-0001", "i-0", (0..64).map(big).collect(), 0);
    assert!(report.steps.iter().all(|s| s.nics.len() == 16 && s.exits.len() == 16 && s.flags.len() == 16));
    let bytes = merge::message(&node(), report).unwrap();
    assert!(bytes.len() <= merge::MESSAGE_MOST, "{}", bytes.len());
    let v: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        (v["v"].as_u64(), v["kind"].as_str(), v["node"].as_str()),
        (Some(1), Some("job"), Some("efa7-0001"))
    );
    assert_eq!(v["instance_id"], "i-0123");
    let back: NodeReport = serde_json::from_value(v["report"].clone()).unwrap();
    assert_eq!(back.steps.len() + back.steps_left_out as usize, 64);
    assert!(back.steps.len() > 10, "{}", back.steps.len());
    let usual = merge::report(7, "efa7-0001", "i-0", (0..64).map(|n| step(&n.to_string(), n)).collect(), 0);
    let bytes = merge::message(&node(), usual).unwrap();
    let v: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(v["report"]["steps"].as_array().unwrap().len(), 64, "{} bytes", bytes.len());
}

#[test]
fn the_spool_is_bounded_and_emptied_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    for job in 0..70_u32 {
        let (path, dropped) = spool::put(&spool, job, 0, job.to_string().as_bytes()).unwrap();
        assert_eq!(mode(&path), 0o600);
        // Times of files made within one tick are alike: age them apart.
        let then = SystemTime::now() - Duration::from_secs(1_000 - u64::from(job));
        fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
        assert_eq!(dropped.len(), usize::from(job >= 64), "{dropped:?}");
    }
    assert_eq!(spool::list(&spool).len(), spool::MOST);
    assert!(spool::put(&spool, 99, 0, &vec![b'x'; 1 << 20]).is_err());
    symlink("/etc/passwd", spool.join("evil.json")).unwrap();
    fs::create_dir(spool.join("dir.json")).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let mut seen = Vec::new();
    let first = spool.join("69.0.json");
    let done = spool::flush(&spool, Some(&first), until, |m| {
        seen.push(String::from_utf8(m.to_vec()).unwrap());
        match seen.len() {
            1 => Verdict::Taken,
            2 => Verdict::Refused("409".into()),
            _ => Verdict::Later("nobody".into()),
        }
    });
    assert_eq!(seen, ["69", "6", "7"], "this job's own, then the oldest");
    assert_eq!((done.sent, done.waits.as_deref()), (1, Some("nobody")));
    assert_eq!(done.dropped, ["6.0.json: 409"]);
    let done = spool::flush(&spool, None, until, |_| Verdict::Taken);
    assert_eq!((done.sent, done.dropped.len(), done.waits), (62, 2, None));
    assert!(spool::list(&spool).is_empty() && Path::new("/etc/passwd").exists());
    assert_eq!(spool::flush(&spool, Some(&first), until, |_| Verdict::Taken), spool::Flushed::default());
}

#[test]
fn time_that_is_up_leaves_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    spool::put(dir.path(), 1, 0, b"1").unwrap();
    let done = spool::flush(dir.path(), None, Instant::now(), |_| Verdict::Taken);
    assert!(done.sent == 0 && done.waits.is_some());
    assert_eq!(spool::list(dir.path()).len(), 1);
}

#[test]
fn a_file_is_seen_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    let trap = dir.path().join("trap");
    fs::write(&trap, "x").unwrap();
    symlink(&trap, dir.path().join(format!(".a.json.{}", std::process::id()))).unwrap();
    file::replace(&path, b"new").unwrap();
    assert_eq!((fs::read(&path).unwrap(), fs::read(&trap).unwrap()), (b"new".to_vec(), b"x".to_vec()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside it");
}

proptest! {
    /// Whatever stands in a step's file, merging it does not panic and stays within bounds.
    #[test]
    fn foreign_steps(names in prop::collection::vec("\\PC{0,40}", 0..100), flag in "\\PC{0,2000}", began in any::<Option<u64>>()) {
        let files = names.iter().map(|name| StepFile {
            restart: Some(1),
            step: StepReport { step: name.clone(), began_ms: began, flags: vec![flag.clone(); 20], ..StepReport::default() },
        });
        let report = merge::report(1, "n", "", files.collect(), u32::MAX);
        prop_assert!(merge::message(&node(), report).unwrap().len() <= merge::MESSAGE_MOST);
    }
}
