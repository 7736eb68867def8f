//! What measuring a step costs: a step's start, and the sampler's CPU.

use burst_e2e::bench::Raw;
use burst_e2e::files::{plugstack, which};
use burst_e2e::proc::wait_until;
use burst_e2e::{Cluster, ClusterSpec, Context, Res, User};
use serde_json::Value;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Steps timed, each way.
const STEPS: usize = 200;
/// Processes of the step whose sampler is looked at, and how long it runs (s).
const RANKS: u32 = 96;
const RUNS: u32 = 30;
const LIMIT: Duration = Duration::from_secs(90);

/// In turn, on one node within one allocation: measured, not measured, and without the plugin on the node.
pub fn capture(raw: &mut Raw) -> Res<()> {
    let mut spec = ClusterSpec::plain("bench-capture").sized(4);
    spec.idle = 1;
    spec.spank = "capture=all".into();
    let c = Cluster::start(spec)?;
    let job = c.sbatch(
        User::Root,
        &["-p", "idle", "-N1", "-n1", "--overcommit", "-t", "30", "-o", "/dev/null"],
        "sleep 1800",
    )?;
    c.wait_job(job, "RUNNING", LIMIT)?;
    let conf = c.at.file("etc/plugstack.conf");
    // slurmstepd reads the file at each step's start, as srun does.
    let ways = [
        ("with", plugstack(&c.at, "capture=all")),
        ("without", plugstack(&c.at, "capture=off")),
        ("no_plugin", String::new()),
    ];
    let srun = |args: &[&str]| -> Res<f64> {
        let mut command = c.command(&which("srun"), User::Root);
        command.arg(format!("--jobid={job}")).args(["--overlap", "--overcommit", "-N1"]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let status = command.status().context("srun")?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        if status.success() { Ok(took) } else { Err(format!("srun {args:?}: {status}")) }
    };
    for _ in 0..STEPS {
        for (way, line) in &ways {
            std::fs::write(&conf, line).context(conf.display())?;
            raw.add(&format!("srun_ms.{way}"), srun(&["-n1", "true"])?);
        }
    }
    std::fs::write(&conf, plugstack(&c.at, "capture=all")).context(conf.display())?;
    // So many files were kept that numbered steps are only counted by now.
    let steps = c.at.run_dir().join("idle-0001/jobs").join(job.to_string());
    std::fs::remove_dir_all(&steps).context(steps.display())?;
    srun(&[&format!("-n{RANKS}"), "sleep", &RUNS.to_string()])?;
    // srun ends with the last task; slurmstepd writes what it saw a moment later.
    let whole = |e: &std::fs::DirEntry| !e.file_name().to_string_lossy().starts_with('.');
    let there = || std::fs::read_dir(&steps).is_ok_and(|d| d.flatten().any(|e| whole(&e)));
    wait_until(LIMIT, || Ok(there().then_some(()))).context("the step's file")?;
    for entry in std::fs::read_dir(&steps).context(steps.display())?.flatten() {
        let text = std::fs::read_to_string(entry.path()).context(entry.path().display())?;
        let file: Value = serde_json::from_str(&text).context(entry.path().display())?;
        let number = |key: &str| file.pointer(&format!("/step/{key}")).and_then(Value::as_f64);
        let figures = number("sampler_cpu_us").zip(number("ended_ms").zip(number("began_ms")));
        let (cpu_us, (ended, began)) = figures.ok_or("the step's file has no such figures")?;
        raw.add("sampler_cpu_percent", cpu_us / 1e3 / (ended - began) * 100.0);
    }
    c.scancel(User::Root, job)
}
