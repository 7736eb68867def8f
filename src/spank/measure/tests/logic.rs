//! The plugin's logic without Slurm. The plugin itself is checked by the e2e tests, on a real cluster.

// clippy.toml frees test functions only; these are their helpers.
#![allow(clippy::expect_used)]

#[path = "../nvml.rs"]
mod nvml;
#[path = "../settings.rs"]
mod settings;
#[path = "../usage.rs"]
mod usage;
#[path = "../watch.rs"]
mod watch;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

#[test]
fn plugstack_arguments() {
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
