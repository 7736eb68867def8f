//! Sixteen nodes whose ranks know what they did: the record says the same, within 5 %.

use crate::capture::near;
use crate::help::*;
use crate::record::{actual, bill, priced, record};
use burst_e2e::proc::wait_until;
use burst_e2e::show::field;
use burst_e2e::{Cluster, Network, User};
use serde_json::{Value, json};
use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const NODES: u32 = 16;
/// MiB that a rank sends over its node's loopback, to another machine, and holds in memory; its CPU time, s.
const LOOPBACK: u64 = 24;
const AWAY: u64 = 12;
const HELD: u64 = 64;
const BURNT: f64 = 2.4;

/// A rank: prints its peak of memory (KiB), its CPU time with its child's, and what it sent over loopback and away (bytes).
const RANK: &str = r#"
use strict; use IO::Socket::INET;
my ($loop, $away, $to, $port, $mib, $burn) = @ARGV;
my $piece = "y" x (1 << 20);
sub give { my ($s, $n) = @_; my $sent = 0;
    for (1 .. $n) { my $at = 0; while ($at < length $piece) { my $k = syswrite($s, $piece, length($piece) - $at, $at) // die; $at += $k; $sent += $k } }
    return $sent }
my $l = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die;
my $own = $l->sockport;
my $pid = fork();
if (!$pid) { give(IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $own) || die, $loop); exit 0 }
my ($c, $got, $buffer) = ($l->accept, 0);
while (my $n = sysread($c, $buffer, 1 << 20)) { $got += $n }
waitpid $pid, 0;
my $s = IO::Socket::INET->new(PeerAddr => $to, PeerPort => $port) or die "$to:$port: $!";
my $gone = give($s, $away);
close $s;
# Not before the fork: memory that processes share counts in each.
my $kept = "x" x ($mib << 20);
my @t = times;
while ($t[0] + $t[1] + $t[2] + $t[3] < $burn) { my $n = 0; $n += $_ for 1 .. 10_000; @t = times }
# Memory is held for some seconds, as a rank does; looks come more rarely the longer a step runs.
sleep 3;
open my $f, "<", "/proc/self/status"; my ($peak) = map { /^VmHWM:\s+(\d+)/ ? $1 : () } <$f>;
printf "%d %.2f %d %d\n", $peak, $t[0] + $t[1] + $t[2] + $t[3], $got, $gone;
"#;

/// Takes whatever is sent, and counts it.
fn sink(address: &str) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicU64::new(0));
    let theirs = Arc::clone(&count);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let count = Arc::clone(&theirs);
            std::thread::spawn(move || {
                let mut piece = vec![0; 1 << 18];
                while let Ok(n @ 1..) = stream.read(&mut piece) {
                    count.fetch_add(n as u64, Ordering::Relaxed);
                }
            });
        }
    });
    (port, count)
}

/// The ledger's row of a job, the nodes' reports with it.
pub fn life(c: &Cluster, job: u32) -> Value {
    let socket = format!("--socket={}", c.at.munge_socket().display());
    let payload = json!({"v": 1, "what": "history", "job": job.to_string()}).to_string();
    let body = c.run(User::Root, "munge", &[&socket], &payload).unwrap().out;
    let url = format!("http://{}:{}/v1/query", c.at.address, c.at.controller_port());
    let mut answer = ureq::post(&url).header("Content-Type", "text/plain").send(body.trim()).unwrap();
    let mut told: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(told["lives"].as_array().map(Vec::len), Some(1), "{told}");
    told["lives"][0].take()
}

/// Seconds between two times as scontrol shows them (the clusters' zone is UTC).
pub fn seconds(fields: &burst_e2e::show::Fields) -> f64 {
    let at = |key: &str| {
        let text = field(fields, key);
        let (day, clock) = text.split_once('T').unwrap_or_else(|| panic!("{key}={text}"));
        let parts: Vec<f64> = clock.split(':').map(|p| p.parse().unwrap()).collect();
        (day.to_owned(), parts[0] * 3_600.0 + parts[1] * 60.0 + parts[2])
    };
    let ((first, from), (last, to)) = (at("StartTime"), at("EndTime"));
    if first == last { to - from } else { to - from + 86_400.0 }
}

#[test]
fn the_record_of_sixteen_nodes_says_what_their_ranks_know() {
    let mut spec = priced("known");
    spec.network = Network::Netns;
    let c = Cluster::start(spec).unwrap();
    let (port, arrived) = sink(&c.at.address);
    let rank = file(&c, "rank.pl", RANK);
    let plan = plan(
        &c,
        "plan",
        r#"{"should_burst": true, "instance_specification":
            {"instance_types": ["hpc7a.96xlarge"], "instance_count": 16},
            "performance_target": {"expected_runtime": 60000000000}}"#,
    );
    let script =
        format!("srun -o ranks perl {rank} {LOOPBACK} {AWAY} {} {port} {HELD} {BURNT}", c.at.address);
    let job = submit(&c, NODES, &[&plan], &script);
    let fields = c.wait_job(job, "COMPLETED", S).unwrap();
    let ran_s = seconds(&fields);
    c.wait_quiet(S).unwrap();

    // What the ranks say of themselves.
    let text = std::fs::read_to_string(c.at.file("work/ranks")).unwrap();
    let mut sums = [0.0; 4];
    for line in text.lines() {
        for (sum, word) in sums.iter_mut().zip(line.split(' ')) {
            *sum += word.parse::<f64>().unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }
    assert_eq!(text.lines().count(), NODES as usize, "{text}");
    let [peaks, cpu_s, looped, gone] = sums;
    let mib = |n: u64| f64::from(NODES) * (n << 20) as f64;
    assert_eq!((looped, gone), (mib(LOOPBACK), mib(AWAY)));
    wait_until(S, || Ok((arrived.load(Ordering::Relaxed) as f64 >= gone).then_some(()))).unwrap();

    let r = record(&c, &job.to_string());
    assert_eq!(r["execution_context"]["configuration_used"]["nodes_without_report"], json!([]));
    let number = |at: &str| r.pointer(at).and_then(Value::as_f64).unwrap_or_else(|| panic!("{at}: {r:#}"));
    let machine = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total: f64 = machine.lines().next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap().matches("processor\t:").count() as f64;
    let nodes = f64::from(NODES);
    // The batch script and srun belong to the job as well: some 0.1 s here.
    near(
        "CPU, ‰",
        number("/aws_performance_metrics/cpu_utilization") * 1e3,
        cpu_s / (cpus * nodes * ran_s) * 1e3,
        0.05,
    );
    near(
        "memory, millionths",
        number("/aws_performance_metrics/memory_utilization") * 1e6,
        peaks / nodes / total * 1e6,
        0.05,
    );
    let rate = gone * 8.0 / ran_s / 1e9;
    near(
        "bytes sent away, bit/s",
        number("/aws_performance_metrics/network_throughput_gbps") * 1e9,
        rate * 1e9,
        0.05,
    );
    let balance = number("/mpi_optimization_results/load_balance");
    assert!((0.5..=1.0).contains(&balance), "{balance}");
    assert_eq!(r.pointer("/aws_performance_metrics/efa_utilization"), Some(&Value::Null), "no EFA was there");
    // Loopback is in the ledger, node by node, and not in the network's figures.
    let life = life(&c, job);
    let reports = life["reports"].as_array().unwrap();
    assert_eq!(reports.len(), NODES as usize);
    let mut all = 0.0;
    for report in reports {
        let step = report["steps"].as_array().unwrap().iter().find(|s| s["step"] == "0").unwrap();
        let lo = step["nics"].as_array().unwrap().iter().find(|n| n["name"] == "lo").unwrap();
        assert_eq!(lo["rx_bytes"], lo["tx_bytes"], "{lo}");
        near("loopback of a node", lo["tx_bytes"].as_f64().unwrap(), (LOOPBACK << 20) as f64, 0.05);
        all += lo["tx_bytes"].as_f64().unwrap();
    }
    near("loopback of all nodes", all, looped, 0.05);

    // Predicted against actual: 60 s were foretold (docs/RECORD.md, the formula).
    let accuracy = (1.0 - (ran_s - 60.0).abs() / 60.0).max(0.0);
    let said = number("/prediction_validation/runtime_accuracy");
    println!("60 s were foretold, it ran for {ran_s} s: accuracy {said:.4}");
    assert!((said - accuracy).abs() < 1e-9, "{said} recorded, {accuracy} by the formula");
    let foretold = nodes * 7.2 * 60.0 / 3_600.0;
    let paid = number("/cost_analysis/compute_cost_usd");
    let accuracy = (1.0 - (paid - foretold).abs() / foretold).max(0.0);
    let said = number("/prediction_validation/cost_accuracy");
    assert!((said - accuracy).abs() < 1e-6, "{said} recorded, {accuracy} by the formula");
    let (whole, bill) = (actual(&r)["actual_cost_usd"].as_f64().unwrap(), bill(&c, &r));
    assert!(
        (whole - bill).abs() <= nodes * 2.0 * 7.3 / 3_600.0,
        "{whole} recorded, {bill} by the simulator's log"
    );
    crate::past::keep_page(&c);
    finish(c);
}
