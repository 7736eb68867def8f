//! The plugin's logic without Slurm. The plugin itself is checked by the e2e tests, on a real cluster.

// clippy.toml frees test functions only; these are their helpers.
#![allow(clippy::expect_used)]

#[path = "../check.rs"]
mod check;
#[path = "../file.rs"]
mod file;
#[path = "../guard.rs"]
mod guard;
#[path = "../line.rs"]
mod line;
#[path = "../session.rs"]
mod session;
#[path = "../settings.rs"]
mod settings;
#[path = "../table.rs"]
mod table;

use line::How;
use session::{Answer, Place, Session, Variable};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const LIMIT: usize = 65_536;

/// A plan of the execution engine's dialect.
const GOOD: &str = r#"{
  "should_burst": true,
  "instance_specification": {
    "instance_types": ["hpc7a.96xlarge"],
    "purchasing_option": "on-demand"
  },
  "mpi_configuration": { "is_mpi_job": true, "process_count": 384, "requires_efa": true },
  "cost_constraints": { "max_total_cost": 100.0, "max_duration_hours": 2.0 },
  "network_configuration": { "placement_group_type": "cluster" },
  "execution_metadata": { "job_id": "a \" b \\" , "priority": "low" }
}
"#;

/// The callback's number for an option.
fn val(name: &str) -> i32 {
    let at = table::ENTRIES.iter().position(|e| e.name.to_str() == Ok(name)).expect("an option of the table");
    i32::try_from(at).expect("a small number")
}

fn give(session: &mut Session, name: &str, value: &str) -> Answer {
    session.option(val(name), Some(OsStr::new(value)))
}

fn text(answer: &Answer) -> String {
    answer.lines.iter().map(|l| l.text.as_str()).collect::<Vec<_>>().join("\n")
}

fn refused(answer: &Answer, words: &[&str]) {
    let text = text(answer);
    assert!(!answer.accept, "accepted: {text}");
    assert_eq!(answer.lines.first().map(|l| l.how), Some(How::Error), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

fn set<'a>(variables: &'a [Variable], wanted: &str) -> Option<&'a str> {
    variables.iter().find_map(|v| match v {
        Variable::Set(name, value) if *name == wanted => Some(value.as_str()),
        _ => None,
    })
}

struct Plans {
    dir: tempfile::TempDir,
}

impl Plans {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }
}

fn give_path(session: &mut Session, path: &Path) -> Answer {
    session.option(val(table::PLAN), Some(path.as_os_str()))
}

#[test]
fn a_good_plan_travels_as_one_line_and_without_options() {
    let plans = Plans::new();
    let path = plans.put("plan.json", GOOD);
    for place in [Place::Submit, Place::Srun] {
        let mut session = Session::new(place, LIMIT);
        let answer = give_path(&mut session, &path);
        assert!(answer.accept, "{}", text(&answer));
        let variables = session.variables();
        let line = set(&variables, session::PLAN_VARIABLE).expect("BURST_PLAN");
        let sent = burst_plan::plan::parse(line.as_bytes(), LIMIT).expect("slurmctld reads it").plan;
        let own = burst_plan::plan::parse(GOOD.as_bytes(), LIMIT).expect("good").plan;
        assert_eq!((sent.types, sent.nodes, sent.efa), (own.types, own.nodes, own.efa));
        assert!(line.starts_with("plan1 burst=1"), "{line}");
        assert_eq!(set(&variables, session::OPTIONS_VARIABLE), None);
    }
}

#[test]
fn the_file_of_the_plan_is_judged_before_it_is_read() {
    let plans = Plans::new();
    let mut session = Session::new(Place::Submit, LIMIT);
    let missing = plans.dir.path().join("missing.json");
    refused(&give_path(&mut session, &missing), &["missing.json", "no such file"]);
    refused(
        &give(&mut session, table::PLAN, "not-there.json"),
        &["not-there.json", "no such file (looked in /"],
    );
    refused(&give_path(&mut session, plans.dir.path()), &["a directory"]);
    refused(&give(&mut session, table::PLAN, "/dev/zero"), &["/dev/zero", "a device"]);
    refused(&give(&mut session, table::PLAN, ""), &["--burst-plan", "a file name is needed"]);
    refused(&session.option(val(table::PLAN), None), &["a file name is needed"]);
    let empty = plans.put("empty.json", "");
    refused(&give_path(&mut session, &empty), &["empty.json", "is empty"]);
    let huge = plans.put("huge.json", vec![b' '; 10 << 20]);
    refused(&give_path(&mut session, &huge), &["huge.json", "10485760 bytes", "65536"]);
    assert!(session.variables().is_empty(), "nothing of a refused plan travels");
}

#[test]
fn the_limit_is_exact() {
    let plans = Plans::new();
    let path = plans.put("plan.json", "0123456789");
    assert_eq!(file::read(path.as_os_str(), 10).expect("as long as allowed"), b"0123456789");
    let why = file::read(path.as_os_str(), 9).expect_err("one byte too many");
    assert!(why.contains("10 bytes"), "{why}");
}

#[test]
fn a_fifo_is_refused_without_waiting_for_a_writer() {
    let plans = Plans::new();
    let path = plans.dir.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
    assert!(made.success());
    let (done, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(file::read(path.as_os_str(), LIMIT)));
    let why = seen.recv_timeout(std::time::Duration::from_secs(20)).expect("an answer at once");
    assert!(why.expect_err("no file").contains("FIFO"));
}

#[test]
fn an_unreadable_plan_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let plans = Plans::new();
    let path = plans.put("secret.json", GOOD);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).expect("chmod");
    match std::fs::read(&path) {
        // Root reads everything.
        Ok(_) => assert!(file::read(path.as_os_str(), LIMIT).is_ok()),
        Err(_) => {
            let why = file::read(path.as_os_str(), LIMIT).expect_err("unreadable");
            assert!(why.contains("permission denied"), "{why}");
        }
    }
}

#[test]
fn a_wrong_plan_is_explained_with_its_file_and_place() {
    let plans = Plans::new();
    let mut session = Session::new(Place::Submit, LIMIT);
    let broken = plans.put("broken.json", "{\n  \"should_burst\": tru\n}\n");
    refused(&give_path(&mut session, &broken), &["broken.json", "2"]);
    let list = plans.put("list.json", "[1, 2]");
    refused(&give_path(&mut session, &list), &["list.json"]);
    let typed = plans.put("typed.json", GOOD.replace("384", "\"many\""));
    refused(&give_path(&mut session, &typed), &["typed.json", "process_count"]);
    let binary = plans.put("binary.json", [0xff, 0xfe, 0x00, 0x1b, b'[', b'2', b'J']);
    let answer = give_path(&mut session, &binary);
    refused(&answer, &["binary.json"]);
    assert!(!text(&answer).contains('\u{1b}'), "no escape sequence reaches the terminal");
}

#[test]
fn an_unknown_key_is_told_and_does_not_stop_the_job() {
    let plans = Plans::new();
    let path = plans.put("typo.json", GOOD.replace("\"max_duration_hours\"", "\"max_duration_hurs\""));
    let mut session = Session::new(Place::Submit, LIMIT);
    let answer = give_path(&mut session, &path);
    assert!(answer.accept, "{}", text(&answer));
    assert!(text(&answer).contains("max_duration_hurs"), "{}", text(&answer));
    assert!(answer.lines.iter().all(|l| l.how == How::Info));
    assert!(set(&session.variables(), session::PLAN_VARIABLE).is_some());
}

#[test]
fn options_travel_as_one_object() {
    let mut session = Session::new(Place::Submit, LIMIT);
    assert_eq!(session.option(val("burst"), None), Answer { accept: true, lines: Vec::new() });
    for (name, value) in [
        ("burst-types", "hpc7a.96xlarge,hpc6a.48xlarge"),
        ("burst-market", "on-demand"),
        ("burst-efa", "required"),
        ("burst-max-cost", "12.50"),
        ("burst-wait", "2h"),
        ("burst-else", "local"),
    ] {
        let answer = give(&mut session, name, value);
        assert!(answer.accept, "{name}={value}: {}", text(&answer));
    }
    let variables = session.variables();
    let json = set(&variables, session::OPTIONS_VARIABLE).expect("BURST_OPTS");
    for part in [
        r#""pool":"""#,
        r#""hpc6a.48xlarge""#,
        r#""market":"on-demand""#,
        r#""efa":"required""#,
        r#""max_cost""#,
        r#""wait""#,
        r#""else":"local""#,
    ] {
        assert!(json.contains(part), "{part} is not in {json}");
    }
    assert_eq!(set(&variables, session::PLAN_VARIABLE), None);
}

#[test]
fn a_wrong_value_is_refused_with_the_option_named() {
    let mut session = Session::new(Place::Submit, LIMIT);
    for (name, value) in [
        ("burst-market", "cheap"),
        ("burst-efa", "yes please"),
        ("burst-max-cost", "-1"),
        ("burst-max-cost", "NaN"),
        ("burst-wait", "soon"),
        ("burst-else", "panic"),
        ("burst-types", ""),
    ] {
        refused(&give(&mut session, name, value), &[&format!("--{name}")]);
    }
    let latin = session.option(val("burst-types"), Some(OsStr::from_bytes(b"\xe9")));
    refused(&latin, &["--burst-types", "UTF-8"]);
    refused(&session.option(99, None), &["does not have"]);
    assert!(session.variables().is_empty());
}

#[test]
fn the_last_value_counts_and_the_user_is_told() {
    let mut session = Session::new(Place::Submit, LIMIT);
    assert!(give(&mut session, "burst-market", "spot").lines.is_empty());
    assert!(give(&mut session, "burst-market", "spot").lines.is_empty(), "the same again is no news");
    let answer = give(&mut session, "burst-market", "on-demand");
    assert!(answer.accept);
    assert!(text(&answer).contains("given more than once: \"on-demand\" counts, \"spot\" does not"));
    let variables = session.variables();
    assert!(set(&variables, session::OPTIONS_VARIABLE).is_some_and(|json| json.contains("on-demand")));
}

#[test]
fn where_no_job_is_made_nothing_is_read_or_sent() {
    let missing = "/nowhere/plan.json";
    for place in [Place::Remote, Place::Elsewhere] {
        let mut session = Session::new(place, LIMIT);
        assert_eq!(give(&mut session, table::PLAN, missing), Answer { accept: true, lines: Vec::new() });
        assert!(session.variables().is_empty());
    }
    let mut step = Session::new(Place::StepOfJob, LIMIT);
    let answer = give(&mut step, table::PLAN, missing);
    assert!(answer.accept && text(&answer).contains("no effect on a step"), "{}", text(&answer));
    assert!(step.variables().is_empty());
    let mut cron = Session::new(Place::Scrontab, LIMIT);
    refused(&give(&mut cron, "burst", "efa"), &["scrontab", "calls sbatch --burst"]);
    assert!(Place::Remote.has_options() && !Place::Elsewhere.has_options());
}

#[test]
fn srun_takes_out_what_another_job_left() {
    let session = Session::new(Place::Srun, LIMIT);
    assert_eq!(
        session.variables(),
        [Variable::Unset(session::PLAN_VARIABLE), Variable::Unset(session::OPTIONS_VARIABLE)]
    );
    assert!(Session::new(Place::Submit, LIMIT).variables().is_empty());
}

#[test]
fn inherited_variables_have_slurms_spelling() {
    let names = table::inherited_variables();
    assert_eq!(names.len(), table::ENTRIES.len() + 2);
    for name in [
        "SLURM_SPANK__SLURM_SPANK_OPTION_burst_burst_plan",
        "SLURM_SPANK__SLURM_SPANK_OPTION_burst_burst",
        "SLURM_SPANK__SLURM_SPANK_OPTION_burst_burst_max_cost",
        "SLURM_SPANK_BURST_PLAN",
    ] {
        assert!(names.iter().any(|n| n == name), "{name} is missing");
    }
}

#[test]
fn help_fits_slurms_columns() {
    for entry in &table::ENTRIES {
        let wide = entry.name.count_bytes() + entry.argument.count_bytes() + "--=".len();
        assert!(wide < 24, "{:?} would start its text on another line", entry.name);
        assert!(!entry.usage.is_empty());
    }
    assert_eq!(table::name_of(-1), None);
    assert_eq!(table::name_of(0), Some(table::PLAN));
    assert!(table::ENTRIES.iter().all(|e| e.optional == (e.name.to_str() == Ok("burst"))));
}

#[test]
fn plugstack_arguments() {
    let (settings, complaints) = settings::parse([]);
    assert_eq!((settings.plan_bytes, complaints.len()), (LIMIT, 0));
    let (settings, complaints) = settings::parse(["plan_bytes=100000"]);
    assert_eq!((settings.plan_bytes, complaints.len()), (100_000, 0));
    let (settings, complaints) = settings::parse(["plan_bytes=0", "plan_bytes=9999999", "colour=red"]);
    assert_eq!((settings.plan_bytes, complaints.len()), (LIMIT, 3));
    assert!(complaints.iter().all(|c| c.starts_with("burst: plugstack.conf: ")));
}

#[test]
fn reports_are_bounded_and_printable() {
    let report: String = (0..1000).map(|i| format!("line\x1b[31m {i}\n\n")).collect();
    let lines = line::lines(How::Error, &report);
    assert_eq!(lines.len(), 61);
    assert_eq!(lines.iter().filter(|l| l.how == How::Error).count(), 1);
    assert!(lines.iter().all(|l| !l.text.contains('\x1b')));
    assert!(lines.last().is_some_and(|l| l.text.contains("940 more lines")));
}

#[test]
fn a_panic_becomes_the_fallback() {
    let told = std::cell::RefCell::new(String::new());
    let tell = |text: &str| told.borrow_mut().push_str(text);
    assert_eq!(guard::guarded(-1, tell, || 7), 7);
    assert!(told.borrow().is_empty());
    assert_eq!(guard::guarded(-1, tell, || panic!("on purpose {}", 1)), -1);
    assert!(told.borrow().contains("internal error") && told.borrow().contains("on purpose 1"));
    // Not even the report may unwind.
    assert_eq!(guard::guarded(-1, |_| panic!("again"), || panic!("first")), -1);
}
