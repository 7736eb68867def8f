//! From sbatch to the first line of the script, beside a job onto nodes that are idle already.

use burst_e2e::bench::{Raw, SIZES};
use burst_e2e::proc::wait_until;
use burst_e2e::show::field;
use burst_e2e::time::{now_ms, parse};
use burst_e2e::{Cluster, ClusterSpec, Context, Res, User};
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Runs of each size.
const RUNS: [usize; 3] = [24, 12, 16];
const LIMIT: Duration = Duration::from_secs(120);

/// All sizes on one cluster whose instances boot at once.
pub fn gangs(raw: &mut Raw) -> Res<()> {
    let mut spec = ClusterSpec::new("bench-gangs").sized(72);
    spec.idle = 64;
    spec.start_limit = LIMIT;
    let c = Cluster::start(spec)?;
    for (nodes, runs) in SIZES.iter().zip(RUNS) {
        for run in 1..=runs {
            raw.add(&format!("floor_submit_to_script_s.{nodes}"), timed(&c, "idle", *nodes)?.0);
            let (took, job) = timed(&c, "efa", *nodes)?;
            raw.add(&format!("submit_to_script_s.{nodes}"), took);
            let view = c.explain(job)?;
            create_fleet(&c, &view, raw)?;
            let release = phase(&view, "Released")?.saturating_sub(last_registration(&c, &view)?);
            #[allow(clippy::cast_precision_loss)]
            raw.add("registered_to_release_ms", release as f64);
            let submitted = phase(&view, "Submitted")?;
            let after = |name| phase(&view, name).map(|at| at.saturating_sub(submitted));
            println!(
                "bench: {nodes} nodes, run {run} of {runs}: {took:.2} s (granted after {} ms, addresses told {}, ready {}, released {})",
                after("Granted")?,
                after("Booting")?,
                after("Ready")?,
                after("Released")?
            );
            // Names come back after SuspendTimeout; a gang that has to wait for names is not what is measured.
            if run * usize::from(*nodes) % 64 == 0 || run == runs {
                c.wait_quiet(LIMIT)?;
            }
        }
    }
    Ok(())
}

/// Seconds from just before sbatch to the script's first line, and the job.
fn timed(c: &Cluster, partition: &str, nodes: u16) -> Res<(f64, u32)> {
    static RUN: AtomicU64 = AtomicU64::new(0);
    // slurmctld's power and scheduling threads come round once a second: a submission that always follows an end comes
    // at one and the same moment of that second. The golden ratio spreads them over it.
    thread::sleep(Duration::from_millis(RUN.fetch_add(1, Ordering::Relaxed) * 618 % 1_000));
    let n = nodes.to_string();
    let args = ["-p", partition, "-N", &n, "--ntasks-per-node=1", "-t", "5", "-o", "began-%j"];
    let before = now_ms();
    let job = c.sbatch(User::Ordinary, &args, "date +%s%3N")?;
    let path = c.at.file("work").join(format!("began-{job}"));
    // A look at a file: scontrol ten times a second would take from the nodes that boot. A job that never begins is told
    // of below.
    let _ = wait_until(LIMIT, || Ok(std::fs::read_to_string(&path).ok().filter(|t| t.ends_with('\n'))));
    let done = c.wait_job(job, "COMPLETED", LIMIT)?;
    let text = std::fs::read_to_string(&path).context(path.display())?;
    let began: u64 = text.trim().parse().context(format!("{}: {text}", field(&done, "JobId")))?;
    Ok((Duration::from_millis(began.saturating_sub(before)).as_secs_f64(), job))
}

fn phase(view: &Value, name: &str) -> Res<u64> {
    let history = view.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    let of = |e: &&Value| e.get("phase").and_then(Value::as_str) == Some(name);
    let at = history.iter().find(of).and_then(|e| e.get("at_ms")?.as_u64());
    at.ok_or_else(|| format!("the gang was never {name}: {view}"))
}

/// From job_submit to the arrival of the gang's CreateFleet, and EC2 calls of anybody in between.
#[allow(clippy::cast_precision_loss)]
fn create_fleet(c: &Cluster, view: &Value, raw: &mut Raw) -> Res<()> {
    let gang = view.get("gang").and_then(Value::as_str).unwrap_or("");
    let submitted = phase(view, "Submitted")?;
    let path = c.sim.as_ref().ok_or("no simulator")?.audit();
    let text = std::fs::read_to_string(&path).context(path.display())?;
    let calls: Vec<Value> = text
        .lines()
        .filter_map(|l| serde_json::from_str(l).ok())
        .filter(|v: &Value| v.get("event").and_then(Value::as_str) == Some("call"))
        .collect();
    let at = |v: &Value| v.get("at_ms").and_then(Value::as_u64).unwrap_or(0);
    let mine = |v: &&Value| {
        v.get("action").and_then(Value::as_str) == Some("CreateFleet") && v.to_string().contains(gang)
    };
    let launched = calls.iter().find(mine).map(at).ok_or_else(|| format!("no CreateFleet of {gang}"))?;
    let before = calls.iter().filter(|v| at(v) >= submitted && at(v) < launched).count();
    raw.add("submit_to_create_fleet_ms", launched.saturating_sub(submitted) as f64);
    raw.add("calls_before_create_fleet", before as f64);
    Ok(())
}

/// When slurmctld noted the last of the gang's nodes, Unix ms.
fn last_registration(c: &Cluster, view: &Value) -> Res<u64> {
    let (granted, released) = (phase(view, "Granted")?, phase(view, "Released")?);
    let names: Vec<&str> =
        view.get("nodes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let log = c.log();
    let registered: Vec<u64> = log
        .lines()
        .filter_map(|l| {
            let (at, text) = l.strip_prefix('[')?.split_once("] ")?;
            let node = text.strip_prefix("Node ")?.strip_suffix(" now responding")?;
            names.contains(&node).then(|| parse(at))?
        })
        .filter(|at| (granted..=released).contains(at))
        .collect();
    match registered.iter().max() {
        Some(last) if registered.len() >= names.len() && !names.is_empty() => Ok(*last),
        _ => Err(format!("{} of {} registrations are in slurmctld's log", registered.len(), names.len())),
    }
}
