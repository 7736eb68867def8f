//! The checker, shown a right run and runs with one thing planted wrong.
#![forbid(unsafe_code)]
// The workspace lets tests do this, but only in functions marked #[test]; helpers of tests are no different.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use burst_e2e::checker::{Evidence, Expect, check, storm};
use burst_e2e::proc::run;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

fn clean() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/clean")
}

/// The clean run with one file changed.
fn planted(file: &str, change: impl Fn(String) -> String) -> (tempfile::TempDir, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["jobs.txt", "nodes.txt", "slurmctld.log", "audit.jsonl"] {
        let text = std::fs::read_to_string(clean().join(name)).unwrap();
        let changed = if name == file { change(text.clone()) } else { text.clone() };
        assert!(name != file || changed != text, "the change changes nothing");
        std::fs::write(dir.path().join(name), changed).unwrap();
    }
    let found = check(&Evidence::read(dir.path()).unwrap(), &Expect::default());
    (dir, found)
}

fn only(found: &[String], rule: &str) {
    assert!(!found.is_empty(), "nothing was found wrong");
    assert!(found.iter().all(|f| f.starts_with(rule)), "{found:#?}");
}

/// Lines about an instance again, as another instance of another fleet.
fn twin(text: &str, id: &str, fleet: &str) -> String {
    text.lines()
        .filter(|l| l.contains("i-00000000000000001"))
        .map(|l| l.replace("i-00000000000000001", id).replace("\"fleet-1\"", &format!("{fleet:?}")) + "\n")
        .collect()
}

#[test]
fn a_right_run_passes() {
    let evidence = Evidence::read(&clean()).unwrap();
    assert_eq!((evidence.instances.len(), evidence.fleet_calls, evidence.last_jobs().len()), (2, 1, 2));
    assert_eq!(check(&evidence, &Expect::default()), Vec::<String>::new());
}

#[test]
fn an_orphan_is_found() {
    let drop_end = |t: String| {
        let keep = |l: &&str| {
            !(l.contains("i-00000000000000002") && (l.contains("shutting-down") || l.contains("terminated")))
        };
        t.lines().filter(keep).map(|l| l.to_owned() + "\n").collect()
    };
    let (_dir, found) = planted("audit.jsonl", drop_end);
    assert!(found.iter().any(|f| f.starts_with("orphan: i-00000000000000002")), "{found:#?}");
}

#[test]
fn an_instance_of_no_known_job_is_found_while_the_run_goes_on() {
    let (dir, _) = planted("audit.jsonl", |t| {
        let extra = twin(&t, "i-0000000000000000f", "fleet-9")
            .replace("\"slurm-burst:job\": \"7\"", "\"slurm-burst:job\": \"99\"");
        t + extra.lines().next().unwrap() + "\n"
    });
    let expect = Expect { over: false, ..Expect::default() };
    only(&check(&Evidence::read(dir.path()).unwrap(), &expect), "orphan");
}

#[test]
fn a_double_launch_is_found() {
    let (_dir, found) =
        planted("audit.jsonl", |t| format!("{t}{}", twin(&t, "i-00000000000000003", "fleet-2")));
    assert!(found.iter().any(|f| f.contains("attempt 1 intent 1: fleets fleet-1, fleet-2")), "{found:#?}");
    assert!(found.iter().any(|f| f.contains("3 instances at once for 2 nodes")), "{found:#?}");
}

#[test]
fn too_many_paid_attempts_are_found() {
    let earlier = |t: &str, n: u32| {
        twin(t, &format!("i-0000000000000000{n}"), &format!("fleet-{n}"))
            .replace("attempt\": \"1\"", &format!("attempt\": \"{n}\""))
            .replace("\"at_ms\": 17954748", "\"at_ms\": 17954738")
    };
    let (_dir, found) = planted("audit.jsonl", |t| format!("{t}{}{}", earlier(&t, 4), earlier(&t, 5)));
    only(&found, "double launch: job 7 gang 00c0ffee00c0ffee: 3 fleets, 2 allowed");
}

#[test]
fn a_short_gang_is_found() {
    let (_dir, found) = planted("audit.jsonl", |t| {
        t.lines().filter(|l| !l.contains("i-00000000000000002")).map(|l| l.to_owned() + "\n").collect()
    });
    only(&found, "short gang: job 7 started on 2 nodes with 1 living instances");
    let (_dir, found) =
        planted("slurmctld.log", |t| t.replace("NodeList=efa7-[0001-0002]", "NodeList=efa7-0001"));
    assert!(found.contains(&"short gang: job 7 wants 2 nodes and started on 1".to_owned()), "{found:#?}");
    // Nor by the backfill scheduler, whose line is another.
    let by_backfill = |t: String| {
        let line = |l: &str| match l.split_once("sched: Allocate JobId=7") {
            Some((at, _)) => format!("{at}sched/backfill: _start_job: Started JobId=7 in efa on efa7-0001\n"),
            None => format!("{l}\n"),
        };
        t.lines().map(line).collect()
    };
    let (_dir, found) = planted("slurmctld.log", by_backfill);
    assert!(found.contains(&"short gang: job 7 wants 2 nodes and started on 1".to_owned()), "{found:#?}");
    let (_dir, found) =
        planted("slurmctld.log", |t| t.replace("NodeList=efa7-[0001-0002]", "NodeList=efa7-0001,local1"));
    assert!(found.iter().any(|f| f.contains("on 1 of ours and 1 others")), "{found:#?}");
}

#[test]
fn a_node_down_is_found_in_snapshots_and_in_the_log() {
    let (_dir, found) = planted("nodes.txt", |t| t.replacen("ALLOCATED+CLOUD", "DOWN*+CLOUD", 1));
    only(&found, "node down: efa7-0001 is DOWN*+CLOUD");
    let (_dir, found) = planted("slurmctld.log", |t| t.replace("Nodes local1 not", "Nodes efa7-0002 not"));
    only(&found, "node down, says slurmctld");
}

#[test]
fn a_node_left_up_is_found() {
    let (_dir, found) = planted("nodes.txt", |t| {
        let at = t.rfind("State=IDLE+CLOUD+POWERED_DOWN").unwrap();
        format!("{}State=IDLE+CLOUD ThreadsPerCore=1\n", &t[..at])
    });
    only(&found, "node left: efa7-0003");
}

#[test]
fn missing_tags_are_found() {
    let (_dir, found) = planted("audit.jsonl", |t| {
        t.replacen("\"slurm-burst:cluster\": \"3f0c9c1e", "\"other\": \"3f0c9c1e", 1)
    });
    only(&found, "untagged: i-00000000000000001 of fleet fleet-1 lacks slurm-burst:cluster");
    let (_dir, found) = planted("audit.jsonl", |t| {
        t.replace("\"slurm-burst:user\": \"nobody\"", "\"slurm-burst:user\": \"\"")
    });
    only(&found, "untagged");
}

#[test]
fn instances_that_outlive_their_job_are_found() {
    let (_dir, found) =
        planted("jobs.txt", |t| t.replace("EndTime=2026-11-23T23:00:08", "EndTime=2026-11-23T22:59:00"));
    only(&found, "after the end: 2 instances of job 7 (COMPLETED) lived");
}

#[test]
fn a_controller_in_trouble_is_found() {
    let (_dir, found) = planted("slurmctld.log", |t| t + "[2026-11-23T23:00:09.000] fatal: out of luck\n");
    only(&found, "controller: ");
    let caught =
        "error: burst: a bug of slurm-burst in job_submit was caught (index out of bounds), 1 so far\n";
    let (_dir, found) = planted("slurmctld.log", |t| format!("{t}[2026-11-23T23:00:09.000] {caught}"));
    only(&found, "controller: ");
}

#[test]
fn evidence_that_cannot_be_read_is_no_proof() {
    let (_dir, found) = planted("audit.jsonl", |t| t + "{\"event\": \n");
    only(&found, "evidence: ");
    let (_dir, found) = planted("nodes.txt", |_| String::new());
    only(&found, "evidence: nodes.txt has no node");
    assert!(Evidence::read(Path::new("/nowhere")).is_err());
}

#[test]
fn the_program_s_exit_code_is_the_verdict() {
    let checker = |dir: &str| {
        run(Command::new(env!("CARGO_BIN_EXE_burst-checker")).arg(dir), "", Duration::from_secs(20)).unwrap()
    };
    let out = checker(clean().to_str().unwrap());
    assert_eq!(
        (out.code, out.out.as_str()),
        (Some(0), "checker: 0 violations; 2 instances, 1 fleets, 2 jobs\n")
    );
    let (dir, _) = planted("nodes.txt", |t| t.replacen("ALLOCATED+CLOUD", "DOWN+CLOUD", 1));
    assert_eq!(checker(dir.path().to_str().unwrap()).code, Some(1));
    assert_eq!(checker("/nowhere").code, Some(2));
}

/// When job 7 of the clean run was submitted and when it started.
const ASKED: u64 = 1_795_474_800_900;
const STARTED: u64 = 1_795_474_805_000;

/// The clean run as a storm with one kill, with one file changed.
fn stormed(kill: (u64, u64), file: &str, change: impl Fn(String) -> String) -> storm::Verdict {
    stormed_in(kill, |name, text| if name == file { change(text) } else { text })
}

fn stormed_in(kill: (u64, u64), change: impl Fn(&str, String) -> String) -> storm::Verdict {
    let dir = tempfile::tempdir().unwrap();
    let (at, saved) = kill;
    for (name, text) in [
        ("boundaries.txt", "Launch before\nLaunch after\n".to_owned()),
        ("kills.jsonl", format!("{{\"boundary\":\"Launch after\",\"at_ms\":{at},\"saved_ms\":{saved}}}\n")),
        ("submitted.jsonl", format!("{{\"job\":7,\"at_ms\":{ASKED},\"nodes\":2,\"tasks\":1}}\n")),
        ("cancelled.jsonl", String::new()),
        ("purged.txt", String::new()),
        ("ran.txt", format!("begin 7 {STARTED}\nend 7 {}\nend 8 {STARTED}\n", STARTED + 2_000)),
        ("jobs.txt", std::fs::read_to_string(clean().join("jobs.txt")).unwrap()),
        ("nodes.txt", std::fs::read_to_string(clean().join("nodes.txt")).unwrap()),
        ("slurmctld.log", std::fs::read_to_string(clean().join("slurmctld.log")).unwrap()),
        ("audit.jsonl", std::fs::read_to_string(clean().join("audit.jsonl")).unwrap()),
    ] {
        std::fs::write(dir.path().join(name), change(name, text)).unwrap();
    }
    storm::judge(dir.path()).unwrap()
}

/// Killed before the start, everything saved.
const EARLY: (u64, u64) = (ASKED + 1_000, ASKED + 900);
/// Killed two seconds after the start, which was not saved.
const FORGETS: (u64, u64) = (STARTED + 2_000, STARTED - 1_000);

#[test]
fn a_storm_that_did_no_harm_passes() {
    let verdict = stormed(EARLY, "", |t| t);
    assert_eq!(verdict.wrong().collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(verdict.line(), "crash-storm: 1 kills, 2 jobs, 0 lost, 0 twice, 0 orphans, 0 down");
    assert_eq!(verdict.kills["Launch before"], 0);
}

#[test]
fn a_second_start_is_right_only_where_the_first_was_forgotten() {
    let start = |second: &str| {
        format!(
            "[2026-11-23T23:00:{second}] sched: Allocate JobId=7 NodeList=efa7-[0001-0002] #CPUs=384 Partition=efa\n"
        )
    };
    let again = |t: String| t + &start("07.500");
    let verdict = stormed(EARLY, "slurmctld.log", again);
    assert_eq!(verdict.twice.len(), 1, "{verdict:#?}");
    let verdict = stormed(FORGETS, "slurmctld.log", again);
    assert_eq!((verdict.wrong().count(), verdict.starts_lost), (0, 1), "{verdict:#?}");
    // Within seconds of slurmctld's start it went by an older table, whatever became of the instances and of the job.
    let judge = |second: &str| {
        stormed_in(FORGETS, |file, text| match file {
            "slurmctld.log" => text + &start(second),
            "audit.jsonl" => text.replace("00c0ffee00c0ffee", "0badc0ffee0badc0"),
            "jobs.txt" => {
                let (before, last) = text.rsplit_once("JobId=7").unwrap();
                let failed = "JobState=FAILED Reason=NonZeroExitCode";
                format!("{before}JobId=7{}", last.replacen("JobState=COMPLETED Reason=None", failed, 1))
            }
            _ => text,
        })
    };
    // Nothing is left of its gang there: of the first start that is wrong, of a second one by an older table it is not.
    for (second, found) in [("07.500", (0, 1, 1)), ("19.500", (1, 0, 2))] {
        let verdict = judge(second);
        let short = verdict.other.iter().filter(|o| o.starts_with("short gang: job 7")).count();
        assert_eq!((verdict.lost.len(), verdict.on_paper.len(), short), found, "{verdict:#?}");
    }
}

#[test]
fn a_job_that_did_not_run_or_is_gone_is_lost() {
    let verdict = stormed(EARLY, "ran.txt", |t| t.replace("end 7", "begin 7"));
    assert_eq!(verdict.lost.len(), 1, "{verdict:#?}");
    let pending = |t: String| t.replace("JobState=COMPLETED Reason=None", "JobState=PENDING Reason=Priority");
    assert_eq!(stormed(EARLY, "jobs.txt", pending).lost.len(), 2);
    // slurmd's own race, where its log tells of it and nothing of the job ran.
    let failed = |file: &str, text: String| match file {
        "jobs.txt" => {
            text.replace("JobState=COMPLETED Reason=None", "JobState=FAILED Reason=NonZeroExitCode")
        }
        "ran.txt" => format!("end 7 {}\nend 8 {STARTED}\n", ASKED - 60_000),
        _ => text,
    };
    assert_eq!(stormed_in(EARLY, failed).lost.len(), 2);
    for (at, right) in [(STARTED, 1), (ASKED - 60_000, 0)] {
        let verdict = stormed_in(EARLY, |file, text| match file {
            "purged.txt" => format!("7 {at}\n8 {at}\n"),
            _ => failed(file, text),
        });
        assert_eq!((verdict.purged.len(), verdict.lost.len()), (right, 2 - right), "{verdict:#?}");
    }
    // What it ran before a start that slurmctld forgot is no part of the last one.
    for (ran, right) in [(STARTED - 1_000, 2), (STARTED, 1)] {
        let verdict = stormed_in(EARLY, |file, text| match file {
            "purged.txt" => format!("7 {STARTED}\n8 {STARTED}\n"),
            "ran.txt" => format!("end 7 {ran}\nend 8 {}\n", ASKED - 60_000),
            _ => failed(file, text),
        });
        assert_eq!((verdict.purged.len(), verdict.lost.len()), (right, 2 - right), "{verdict:#?}");
    }
    // At the end of a storm: (what it says, when) and whether that is a reason to be pending.
    for (says, at, right) in [
        ("[burst 00c0ffee00c0ffee] no capacity", STARTED, true),
        ("no capacity", STARTED, false),
        ("[burst 00c0ffee00c0ffee] 2 x a (on-demand, z) granted, learning addresses", STARTED, true),
        (
            "[burst 00c0ffee00c0ffee] 2 x a (on-demand, z) granted, learning addresses",
            STARTED + 3_600_000,
            false,
        ),
    ] {
        let verdict = stormed_in(EARLY, |name, text| match name {
            "jobs.txt" => text.replace("JobState=COMPLETED Reason=None", "JobState=CANCELLED Reason=None"),
            "cancelled.jsonl" => [7, 8]
                .map(|job| {
                    json!({"job": job, "at_ms": at, "stuck": "PENDING", "says": says}).to_string() + "\n"
                })
                .concat(),
            _ => text,
        });
        let seven = |all: &[String]| all.iter().any(|l| l.contains("job 7 was PENDING"));
        assert_eq!((seven(&verdict.pending), seven(&verdict.lost)), (right, !right), "{says}: {verdict:#?}");
    }
    let nine =
        |at: u64| move |t: String| format!("{t}{{\"job\":9,\"at_ms\":{at},\"nodes\":1,\"tasks\":1}}\n");
    let verdict = stormed(FORGETS, "submitted.jsonl", nine(STARTED));
    assert_eq!((verdict.slurm_lost, verdict.lost.len()), (1, 0), "it was not saved: {verdict:#?}");
    let verdict = stormed(FORGETS, "submitted.jsonl", nine(STARTED - 60_000));
    assert_eq!(verdict.lost.len(), 1, "it was saved: {verdict:#?}");
}

#[test]
fn a_storm_s_orphans_double_launches_and_strange_gangs_are_found() {
    let verdict = stormed(EARLY, "audit.jsonl", |t| {
        t.lines()
            .filter(|l| !l.contains("shutting-down") && !l.contains("terminated"))
            .map(|l| l.to_owned() + "\n")
            .collect()
    });
    assert_eq!(verdict.orphans.len(), 2, "{verdict:#?}");
    let verdict =
        stormed(EARLY, "audit.jsonl", |t| format!("{t}{}", twin(&t, "i-00000000000000003", "fleet-2")));
    assert_eq!(
        verdict.twice.len(),
        2,
        "two fleets of one intent, three instances of two nodes: {verdict:#?}"
    );
    let verdict =
        stormed(EARLY, "jobs.txt", |t| t.replace("[burst 00c0ffee00c0ffee]", "[burst 0badc0ffee0badc0]"));
    assert!(verdict.other.iter().any(|o| o.starts_with("short gang: job 7")), "{verdict:#?}");
}

#[test]
fn nodes_that_may_fail_are_counted() {
    let down = |t: String| {
        t + "[2026-11-23T23:00:06.000] error: Nodes efa7-[0001-0002] not responding, setting DOWN\n"
    };
    let (dir, found) = planted("slurmctld.log", down);
    only(&found, "node down, says slurmctld");
    for (failing, right) in [(1, false), (2, true)] {
        let expect = Expect { failing, ..Expect::default() };
        let found = check(&Evidence::read(dir.path()).unwrap(), &expect);
        assert_eq!(found.is_empty(), right, "{failing}: {found:#?}");
    }
    // What failed may be seen so; another may not.
    let nodes = std::fs::read_to_string(dir.path().join("nodes.txt")).unwrap();
    let expect = Expect { failing: 2, ..Expect::default() };
    for (name, right) in [("efa7-0002", true), ("efa7-0003", false)] {
        let (before, record) = nodes.split_at(nodes.find(&format!("NodeName={name}")).unwrap());
        let seen = before.to_owned() + &record.replacen("State=", "State=DOWN*+", 1);
        std::fs::write(dir.path().join("nodes.txt"), seen).unwrap();
        let found = check(&Evidence::read(dir.path()).unwrap(), &expect);
        assert_eq!(found.iter().all(|f| !f.starts_with("node down")), right, "{name}: {found:#?}");
    }
}

#[test]
fn a_start_without_a_gang_is_right_only_of_a_job_that_was_forced() {
    let earlier = |t: String| {
        let line = "[2026-11-23T22:59:00.000] sched: Allocate JobId=7 NodeList=efa7-[0001-0002] #CPUs=384 Partition=efa\n";
        format!("{line}{t}")
    };
    let (dir, found) = planted("slurmctld.log", earlier);
    only(&found, "short gang: job 7 started on 2 nodes with 0 living instances");
    let expect = Expect { forced: vec![7], ..Expect::default() };
    assert_eq!(check(&Evidence::read(dir.path()).unwrap(), &expect), Vec::<String>::new());
}

#[test]
fn a_record_that_was_another_job_s_before_is_not_blamed_for_its_start() {
    // Numbers are given again when slurmctld was killed before it saved them.
    let other = |t: String| {
        let line = "[2026-11-23T23:00:04.000] sched: Allocate JobId=6_1(7) NodeList=efa7-0003 #CPUs=192 Partition=efa\n";
        format!("{line}{t}")
    };
    let verdict = stormed(EARLY, "slurmctld.log", other);
    assert_eq!(verdict.wrong().count(), 0, "{verdict:#?}");
}
