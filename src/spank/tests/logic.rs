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
#[path = "../watch.rs"]
mod watch;

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
    let (settings, complaints) = settings::parse([
        "capture=all",
        "run_dir=/var/run/b",
        "controllers=http://a:1,http://b:2",
        "munge=/opt/munge",
        "munge_socket=/run/m",
    ]);
    assert_eq!(complaints, Vec::<String>::new());
    assert_eq!(settings.capture, settings::Capture::All);
    assert_eq!(settings.run_dir, Path::new("/var/run/b"));
    assert_eq!(settings.controllers, ["http://a:1", "http://b:2"]);
    assert_eq!((settings.munge.as_str(), settings.munge_socket.as_deref()), ("/opt/munge", Some("/run/m")));
    let wrong = ["capture=yes", "run_dir=x", "controllers=https://a", "munge=munge", "munge_socket="];
    let (settings, complaints) = settings::parse(wrong);
    assert_eq!((settings, complaints.len()), (settings::Settings::default(), 5), "{complaints:?}");
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

/// Programs and files around one node: munge wraps, and the controller is a listener that answers `status`.
struct Node {
    dir: tempfile::TempDir,
    settings: settings::Settings,
}

impl Node {
    fn new(controllers: Vec<String>) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let munge = dir.path().join("munge");
        // Renamed into place: a script that is open for writing cannot be executed.
        let fresh = dir.path().join("new");
        std::fs::write(&fresh, "#!/bin/sh\nprintf 'MUNGE:'; cat; printf ':'\n").expect("a script");
        std::fs::set_permissions(&fresh, PermissionsExt::from_mode(0o755)).expect("its mode");
        std::fs::rename(&fresh, &munge).expect("in place");
        let settings = settings::Settings {
            capture: settings::Capture::All,
            run_dir: dir.path().join("run"),
            controllers,
            munge: munge.display().to_string(),
            ..settings::Settings::default()
        };
        Self { dir, settings }
    }

    fn step(&self, job: u32, step: u32) {
        let size = burst_capture::step::Size { tasks: Some(1), ranks: Some(1), nodes: Some(1) };
        let mut watch =
            watch::Watch::begin(&self.settings, "n1", job, step, size).expect("trusted").expect("measured");
        let environment = || vec![("SLURM_RESTART_COUNT".to_owned(), "1".to_owned())];
        let means = burst_capture::sampler::Means { clock: || std::time::Duration::ZERO, gpu: || None };
        watch.task_began(Some(std::process::id()), environment, means).expect("a thread");
        watch.task_ended(0, 256, Vec::new());
        watch.finish(None).expect("a file");
    }

    fn waiting(&self) -> usize {
        burst_capture::spool::list(&self.dir.path().join("run/n1/spool")).len()
    }
}

/// Answers every request with a status; gives the bodies.
fn controller(status: u16) -> (String, std::sync::mpsc::Receiver<String>) {
    use std::io::{BufRead, Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = std::io::BufReader::new(stream.try_clone().expect("a stream"));
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok() && line != "\r\n" {
                length = line
                    .strip_prefix("Content-Length: ")
                    .map_or(length, |n| n.trim().parse().expect("a number"));
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let _ = tx.send(String::from_utf8(body).expect("text"));
            let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        }
    });
    (url, rx)
}

#[test]
fn a_job_s_steps_become_one_report_that_is_sent_once() {
    let (url, bodies) = controller(200);
    let node = Node::new(vec![url]);
    node.step(7, 0);
    node.step(7, 0xffff_fffb);
    node.step(8, 0);
    watch::report(&node.settings, "n1", 7, false).expect("sent");
    let body = bodies.try_recv().expect("a request");
    let text = body.strip_prefix("MUNGE:").and_then(|b| b.strip_suffix(':')).expect("a credential");
    let v: serde_json::Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(
        (v["kind"].as_str(), v["node"].as_str(), v["report"]["job"].as_u64()),
        (Some("job"), Some("n1"), Some(7))
    );
    assert_eq!(
        (v["report"]["restart"].as_u64(), v["report"]["steps"].as_array().map(Vec::len)),
        (Some(1), Some(2))
    );
    assert_eq!(v["report"]["steps"][0]["exits"][0]["status"], 256);
    assert!(v["report"]["cpus"].is_u64() && v["report"]["memory_bytes"].is_u64());
    assert_eq!(node.waiting(), 0);
    // The epilog of a job without steps sends nothing.
    watch::report(&node.settings, "n1", 7, false).expect("nothing to do");
    assert!(bodies.try_recv().is_err());
}

#[test]
fn what_nobody_takes_waits_for_the_next_epilog() {
    let mut node = Node::new(vec!["http://127.0.0.1:1".to_owned()]);
    node.step(7, 0);
    assert!(
        watch::report(&node.settings, "n1", 7, false)
            .expect_err("nobody is there")
            .contains("reports wait in")
    );
    node.settings.controllers.clear();
    node.step(8, 0);
    assert!(watch::report(&node.settings, "n1", 8, false).expect_err("no address").contains("controllers="));
    assert_eq!(node.waiting(), 2);
    let (url, bodies) = controller(200);
    node.settings.controllers = vec![url];
    node.step(9, 0);
    watch::report(&node.settings, "n1", 9, false).expect("sent");
    let jobs: Vec<String> = bodies.try_iter().collect();
    assert_eq!((jobs.len(), node.waiting()), (3, 0));
    assert!(jobs.first().is_some_and(|j| j.contains("\"job\":9")), "its own first");
}

#[test]
fn the_epilog_knows_of_efa_what_steps_were_not_told() {
    assert!(!watch::efa_asked(), "nobody asked for this test");
    let (url, bodies) = controller(200);
    let node = Node::new(vec![url]);
    let place = burst_capture::Place::new(&node.settings.run_dir, "n1").expect("a name");
    let mpi = burst_plan::report::MpiReport {
        library: Some("openmpi".to_owned()),
        nodes: Some(2),
        ..Default::default()
    };
    let step = burst_plan::report::StepReport {
        step: "0".to_owned(),
        began_ms: Some(1_000),
        ended_ms: Some(61_000),
        mpi: Some(mpi),
        ..Default::default()
    };
    let keep = || {
        let file = burst_capture::place::StepFile { restart: None, step: step.clone() };
        place.keep_step(7, &file).expect("kept");
    };
    let flags = |asked| {
        keep();
        watch::report(&node.settings, "n1", 7, asked).expect("sent");
        let body = bodies.try_recv().expect("a report");
        (
            body.contains("\"efa_asked\":true"),
            body.contains("EFA was asked for, but this node has no EFA device"),
        )
    };
    assert_eq!([flags(true), flags(false)], [(true, true), (false, false)]);
}

#[test]
fn a_refused_report_is_given_up_and_told() {
    let (url, bodies) = controller(404);
    let node = Node::new(vec![url]);
    node.step(7, 0);
    let told = watch::report(&node.settings, "n1", 7, false).expect_err("refused");
    assert!(told.contains("given up") && told.contains("404"), "{told}");
    assert_eq!((bodies.try_iter().count(), node.waiting()), (1, 0));
}

#[test]
fn other_nodes_are_left_alone() {
    let mut node = Node::new(Vec::new());
    let begin = |s: &settings::Settings, name| {
        watch::Watch::begin(s, name, 7, 0, burst_capture::step::Size::default()).expect("trusted").is_some()
    };
    assert!(begin(&node.settings, "n1"));
    assert!(!begin(&node.settings, ""), "no name");
    node.settings.capture = settings::Capture::Pools;
    assert!(!begin(&node.settings, "n1"), "burst-node announced nothing");
    watch::report(&node.settings, "n1", 7, false).expect("nothing to do");
    assert!(!node.dir.path().join("run").exists(), "nothing is made there");
    let place = burst_capture::Place::new(&node.settings.run_dir, "n1").expect("a name");
    let file = |name: &str| burst_capture::NodeFile {
        node: name.to_owned(),
        instance_id: "i-1".to_owned(),
        controllers: Vec::new(),
        munge: "/usr/bin/munge".to_owned(),
        munge_socket: None,
    };
    place.announce(&file("n1")).expect("announced");
    assert!(begin(&node.settings, "n1"));
    place.announce(&file("n2")).expect("announced");
    assert!(!begin(&node.settings, "n1"), "another node's file");
    node.settings.capture = settings::Capture::Off;
    assert!(!begin(&node.settings, "n2"));
}

#[path = "../nvml.rs"]
mod nvml;
#[path = "../usage.rs"]
mod usage;

/// A library of our own with NVML's functions, made by the compiler that makes the shim.
#[test]
fn gpus_through_a_library_of_nvml_s_kind() {
    use burst_capture::sampler::Gpu;
    let dir = tempfile::tempdir().expect("a directory");
    let (source, library) = (dir.path().join("nvml.c"), dir.path().join("libfake-nvml.so"));
    let text = "int nvmlInit_v2(void){return 0;}\nint nvmlShutdown(void){return 0;}\n\
        int nvmlDeviceGetCount_v2(unsigned*n){*n=3;return 0;}\n\
        int nvmlDeviceGetHandleByIndex_v2(unsigned i,void**d){*d=(void*)(unsigned long)(i+1);return i==2?1:0;}\n\
        int nvmlDeviceGetUtilizationRates(void*d,unsigned*u){u[0]=d==(void*)1?40:80;u[1]=0;return 0;}\n\
        int nvmlDeviceGetMemoryInfo(void*d,unsigned long long*m){(void)d;m[0]=9;m[1]=4;m[2]=5;return 0;}\n";
    std::fs::write(&source, text).expect("a source");
    let made =
        std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(made.expect("cc").success());
    let name = std::ffi::CString::new(library.as_os_str().as_bytes()).expect("a name");
    let look = nvml::Nvml::open(&name).expect("it opens").look().expect("a look");
    assert_eq!((look.count, look.used_bytes), (2, Some(10)));
    assert!(look.busy.is_some_and(|b| (b - 0.6).abs() < 1e-9), "{look:?}");
    assert!(nvml::Nvml::open(c"libno-such-nvml.so.9").is_none());
    assert!(nvml::Nvml::open(c"libc.so.6").is_none(), "a library without its functions");
    assert!(nvml::open().is_none_or(|mut g| g.look().is_none_or(|l| l.count > 0)));
}

#[test]
fn usage_of_reaped_children_and_signals() {
    let before = usage::children().expect("usage");
    let burn = "my $u = 0; while ($u < 0.3) { $u = (times)[0] }";
    assert!(std::process::Command::new("perl").args(["-e", burn]).status().expect("perl").success());
    let after = usage::children().expect("usage");
    assert!(after.user_us - before.user_us >= 300_000, "{before:?} {after:?}");
    assert!(after.max_rss > 500_000 && usage::thread_time() > std::time::Duration::ZERO);
    let blocked = || std::fs::read_to_string("/proc/thread-self/status").expect("status");
    let mask = |s: &str| s.lines().find(|l| l.starts_with("SigBlk")).map(str::to_owned);
    let (outside, inside) = (mask(&blocked()), usage::without_signals(|| mask(&blocked())));
    assert_ne!(outside, inside);
    assert_eq!(mask(&blocked()), outside);
}
