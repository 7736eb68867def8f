//! What jobs did: reports of nodes, measured on real steps, against figures that the ranks know of themselves.

use crate::help::*;
use burst_e2e::files::which;
use burst_e2e::proc::wait_until;
use burst_e2e::show::{field, hosts};
use burst_e2e::{Cluster, ClusterSpec, User};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A controller that only takes reports: bodies of `/v1/report`, as they came.
struct Listener {
    url: String,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    /// Takes everything; a mute one takes connections and never answers.
    fn new(mute: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&bodies);
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming().flatten() {
                if mute {
                    held.push(stream);
                    continue;
                }
                if let Some(body) = body(&stream) {
                    theirs.lock().unwrap().push(body);
                    let _ = (&stream)
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
                }
            }
        });
        Self { url, bodies }
    }

    /// All reports so far, opened by the cluster's own munged: who sent them, and what they say.
    fn reports(&self, c: &Cluster) -> Vec<Value> {
        let bodies = std::mem::take(&mut *self.bodies.lock().unwrap());
        let open = |body: String| {
            let socket = format!("--socket={}", c.at.munge_socket().display());
            let out = c.run(User::Root, "unmunge", &[&socket], &body).unwrap();
            let (head, payload) = out.out.split_once("\n\n").unwrap_or_else(|| panic!("{}", out.text()));
            let uid = head.lines().find(|l| l.starts_with("UID:")).unwrap();
            assert!(uid.contains("root (0)"), "{uid}");
            serde_json::from_str::<Value>(payload).unwrap()
        };
        bodies.into_iter().map(open).collect()
    }

    /// Until so many have come.
    fn wait(&self, c: &Cluster, count: usize) -> Vec<Value> {
        let mut all = Vec::new();
        wait_until(S, || {
            all.extend(self.reports(c));
            Ok((all.len() >= count).then_some(()))
        })
        .unwrap_or_else(|e| panic!("{count} reports: {e}; came: {all:#?}"));
        assert_eq!(all.len(), count, "{all:#?}");
        all.sort_by_key(|r| r["node"].as_str().unwrap().to_owned());
        all
    }
}

fn body(stream: &std::net::TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    assert!(line.starts_with("POST /v1/report HTTP/1.1"), "{line}");
    let mut length = 0;
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).ok()?;
        if let Some(n) = line.strip_prefix("Content-Length: ") {
            length = n.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
}

/// Two nodes that run from the start, all nodes measured.
fn local(name: &str, listener: &Listener) -> Cluster {
    let mut spec = ClusterSpec::plain(name).sized(4);
    spec.idle = 2;
    spec.spank = format!("capture=all controllers={} munge_socket={{dir}}/munge/socket", listener.url);
    Cluster::start(spec).unwrap()
}

/// A rank that moves bytes over loopback, holds memory, burns CPU time, and prints what it did: peak of its memory (KiB), bytes
/// sent, CPU time in user mode and in the kernel, its child's included.
const RANK: &str = r#"
use strict; use IO::Socket::INET;
my ($mib, $seconds, $send) = @ARGV;
my $sent = 0;
if ($send) {
    my $l = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die;
    my $port = $l->sockport;
    my $pid = fork();
    if (!$pid) {
        my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $port) or die;
        my $piece = "y" x (1 << 20);
        for (1 .. $send) { my $at = 0; while ($at < length $piece) { $at += syswrite($s, $piece, length($piece) - $at, $at) // die } }
        exit 0;
    }
    my $c = $l->accept; my $buffer;
    while (my $n = sysread($c, $buffer, 1 << 20)) { $sent += $n }
    waitpid $pid, 0;
}
# Not before the fork: memory that processes share counts in each.
my $kept = "x" x ($mib << 20);
my @t = times; my $until = $t[0] + $seconds;
while ($t[0] < $until) { my $n = 0; $n += $_ for 1 .. 10_000; @t = times }
open my $f, "<", "/proc/self/status"; my ($peak) = map { /^VmHWM:\s+(\d+)/ ? $1 : () } <$f>;
printf "%d %d %.2f %.2f\n", $peak, $sent, $t[0] + $t[2], $t[1] + $t[3];
exit($ENV{SLURM_PROCID} == 1 ? 3 : 0) if $ENV{ONE_FAILS};
"#;

/// What the ranks of a step printed, summed: memory (bytes), bytes sent, user and system CPU (µs).
fn told(c: &Cluster, name: &str) -> [f64; 4] {
    let text = std::fs::read_to_string(c.at.file("work").join(name)).unwrap();
    let mut sums = [0.0; 4];
    for line in text.lines().filter(|l| l.split(' ').count() == 4) {
        for (sum, word) in sums.iter_mut().zip(line.split(' ')) {
            *sum += word.parse::<f64>().unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }
    assert!(sums[0] > 0.0, "{text}");
    [sums[0] * 1024.0, sums[1], sums[2] * 1e6, sums[3] * 1e6]
}

pub fn near(what: &str, is: f64, known: f64, allowed: f64) {
    let off = (is - known).abs() / known;
    println!("{what}: measured {is:.0}, known {known:.0}, {:.2} % off", off * 100.0);
    assert!(off <= allowed, "{what}: measured {is}, known {known}");
}

/// Bytes that the machine's loopback interface has moved.
fn loopback() -> f64 {
    let text = std::fs::read_to_string("/proc/net/dev").unwrap();
    let lo = text.lines().find_map(|l| l.trim().strip_prefix("lo:")).unwrap();
    lo.split_whitespace().next().unwrap().parse().unwrap()
}

fn number(v: &Value) -> f64 {
    v.as_f64().unwrap_or_else(|| panic!("not measured: {v}"))
}

fn step<'a>(report: &'a Value, name: &str) -> &'a Value {
    let steps = report["report"]["steps"].as_array().unwrap();
    steps.iter().find(|s| s["step"] == name).unwrap_or_else(|| panic!("no step {name}: {report:#}"))
}

#[test]
fn figures_of_a_step_are_those_that_its_ranks_know() {
    let listener = Listener::new(false);
    let mut c = local("capture", &listener);
    let rank = file(&c, "rank.pl", RANK);
    // Memory is held for some seconds, as a rank does; looks come more rarely the longer a step runs.
    let script = format!("srun -o ranks -n2 perl {rank} 200 6 400\nsrun -n1 true");
    let before = loopback();
    let job =
        c.sbatch(User::Ordinary, &["-p", "idle", "-N1", "-n2", "-t5", "-o", "/dev/null"], &script).unwrap();
    let fields = c.wait_job(job, "COMPLETED", S).unwrap();
    let report = listener.wait(&c, 1).remove(0);
    assert_eq!((&report["v"], &report["kind"]), (&Value::from(1), &Value::from("job")));
    let r = &report["report"];
    assert_eq!((r["job"].as_u64(), r["restart"].as_u64()), (Some(u64::from(job)), Some(0)));
    assert_eq!(r["node"], field(&fields, "NodeList"));
    let names: Vec<&str> =
        r["steps"].as_array().unwrap().iter().map(|s| s["step"].as_str().unwrap()).collect();
    assert_eq!(names, ["batch", "0", "1"], "{report:#}");
    let s = step(&report, "0");
    let [memory, sent, user, system] = told(&c, "ranks");
    assert_eq!(sent, 800.0 * 1_048_576.0);
    near("CPU", number(&s["cpu_user_us"]) + number(&s["cpu_system_us"]), user + system, 0.05);
    near("user CPU", number(&s["cpu_user_us"]), user, 0.05);
    near("memory", number(&s["peak_memory_bytes"]), memory, 0.05);
    let lo = s["nics"].as_array().unwrap().iter().find(|n| n["name"] == "lo").unwrap();
    // The interface is the machine's: what others move meanwhile counts, but nothing counts twice.
    let moved = loopback() - before;
    for (what, is) in [("received", number(&lo["rx_bytes"])), ("sent", number(&lo["tx_bytes"]))] {
        println!("loopback {what}: measured {is:.0}, the ranks {sent:.0}, all together {moved:.0}");
        assert!((sent * 0.95..=moved).contains(&is), "loopback {what}: {is}");
    }
    // By write(2) and read(2): the sockets' bytes once each.
    near("written", number(&s["write_bytes"]), sent, 0.05);
    near("read", number(&s["read_bytes"]), sent, 0.05);
    assert!(number(&s["switches_voluntary"]) > 0.0 && s["tasks"] == 2, "{s:#}");
    assert_eq!(
        (&s["efa"], &s["gpu"], &s["mpi"]),
        (&Value::Null, &Value::Null, &Value::Null),
        "not there is null"
    );
    let wall = number(&s["ended_ms"]) - number(&s["began_ms"]);
    let own = number(&s["sampler_cpu_us"]);
    println!("a step of {wall} ms took the sampler {own} µs");
    assert!(own <= 2_000.0 + wall + 5_000.0, "{own} µs of {wall} ms");
    // The batch step knows nothing of what srun's steps did: nobody counts twice.
    let batch = step(&report, "batch");
    assert!(number(&batch["cpu_user_us"]) < user / 4.0, "{batch:#}");
    assert_eq!(c.check(&Default::default()).unwrap(), Vec::<String>::new());
    c.stop();
    assert!(c.processes().is_empty());
}

#[test]
fn a_node_s_ending_waits_little_for_a_controller_that_keeps_silent() {
    let listener = Listener::new(true);
    let mut c = local("capture-mute", &listener);
    let run = |c: &Cluster| {
        let args = ["-p", "idle", "-N1", "-w", "idle-0001", "-t5", "-o", "/dev/null"];
        let job = c.sbatch(User::Ordinary, &args, "srun true").unwrap();
        let begun = Instant::now();
        c.wait_job(job, "COMPLETED", S).unwrap();
        // Slurm lets nobody else onto the node before its epilog is over.
        wait_until(S, || Ok((field(&c.node("idle-0001").unwrap(), "State") == "IDLE").then_some(())))
            .unwrap();
        (job, begun.elapsed())
    };
    let (first, took) = run(&c);
    println!("job and epilog took {took:?}");
    assert!(took < Duration::from_secs(25), "{took:?}");
    let spool = c.at.run_dir().join("idle-0001/spool");
    let waits = || {
        let names = std::fs::read_dir(&spool).into_iter().flatten().flatten();
        names
            .map(|e| e.file_name().into_string().unwrap())
            .filter(|n| !n.starts_with('.'))
            .collect::<Vec<_>>()
    };
    assert_eq!(waits(), [format!("{first}.0.json")]);
    assert!(!c.at.run_dir().join(format!("idle-0001/jobs/{first}")).exists());
    // Another controller answers: the next epilog brings both.
    let heard = Listener::new(false);
    let line = std::fs::read_to_string(c.at.file("etc/plugstack.conf")).unwrap();
    std::fs::write(c.at.file("etc/plugstack.conf"), line.replace(&listener.url, &heard.url)).unwrap();
    let (second, _) = run(&c);
    let mut jobs: Vec<u64> = heard.wait(&c, 2).iter().map(|r| r["report"]["job"].as_u64().unwrap()).collect();
    jobs.sort_unstable();
    assert_eq!(jobs, [u64::from(first), u64::from(second)]);
    wait_until(S, || Ok(waits().is_empty().then_some(()))).unwrap();
    c.stop();
}

#[test]
fn a_gang_s_nodes_report_and_say_that_efa_was_not_used() {
    let listener = Listener::new(false);
    let c = cluster("capture-gang");
    let rank = file(&c, "rank.pl", RANK);
    let go = c.at.file("work/go");
    let script = format!(
        "export OMPI_MCA_pml=cm ONE_FAILS=1\nuntil [ -e {0} ]; do sleep 0.1; done\n\
         srun -o ranks -n4 --ntasks-per-node=2 perl {rank} 50 6 0 || true",
        go.display()
    );
    // The option alone says it: the epilog knows what srun does not tell its steps.
    let job = submit(&c, 2, &["--ntasks-per-node=2", "--burst-efa=required"], &script);
    let fields = c.wait_job(job, "RUNNING", S).unwrap();
    let nodes = hosts(field(&fields, "NodeList"));
    // burst-node told the plugin who it is, and whom to tell; from here on that is this test.
    let mut instances = BTreeMap::new();
    for node in &nodes {
        let path = c.at.run_dir().join(node).join("node.json");
        let mut own: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(own["node"].as_str(), Some(node.as_str()));
        assert!(own["controllers"][0].as_str().unwrap().starts_with("http://127.0.0.1:"), "{own}");
        instances.insert(node.clone(), own["instance_id"].clone());
        own["controllers"] = serde_json::json!([listener.url]);
        std::fs::write(&path, own.to_string()).unwrap();
    }
    std::fs::write(&go, "").unwrap();
    c.wait_job(job, "COMPLETED", S).unwrap();
    let reports = listener.wait(&c, 2);
    let mut failed = Vec::new();
    for (report, node) in reports.iter().zip(&nodes) {
        assert_eq!(report["node"].as_str(), Some(node.as_str()));
        assert_eq!(
            (&report["instance_id"], &report["report"]["instance"]),
            (&instances[node], &instances[node])
        );
        assert!(report["instance_id"].as_str().unwrap().starts_with("i-"));
        let s = step(report, "0");
        near("user CPU of two ranks", number(&s["cpu_user_us"]), 12e6, 0.05);
        let mpi = &s["mpi"];
        assert_eq!((&mpi["library"], &mpi["provider"]), (&Value::from("openmpi"), &Value::Null), "{mpi}");
        assert_eq!(
            (&mpi["ranks"], &mpi["nodes"], &mpi["efa_asked"]),
            (&Value::from(4), &Value::from(2), &Value::from(true))
        );
        let flags = s["flags"].as_array().unwrap();
        assert!(flags.len() == 1 && flags[0].as_str().unwrap().contains("no EFA device"), "{flags:?}");
        failed.extend(s["exits"].as_array().unwrap().clone());
    }
    assert_eq!(failed, [serde_json::json!({"task": 1, "status": 3 << 8})]);
    let batch =
        |r: &Value| r["report"]["steps"].as_array().unwrap().iter().filter(|s| s["step"] == "batch").count();
    assert_eq!(reports.iter().map(batch).sum::<usize>(), 1, "on the first node only");
    finish(c);
}

#[test]
fn other_nodes_are_not_measured() {
    let c = cluster("capture-none");
    let job = c.sbatch(User::Ordinary, &["-p", "cpu", "-o", "/dev/null"], "srun true").unwrap();
    c.wait_job(job, "COMPLETED", S).unwrap();
    assert!(which("unmunge").exists(), "the other tests need it");
    assert!(!c.at.run_dir().exists(), "nothing was written for a node that is no pool's");
    finish(c);
}
