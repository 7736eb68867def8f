//! What a submission costs slurmctld and sbatch.

use burst_e2e::bench::Raw;
use burst_e2e::files::which;
use burst_e2e::proc::wait_until;
use burst_e2e::{Cluster, ClusterSpec, Context, Res, User};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Submissions timed inside job_submit, by plan.
const CALLS: usize = 1_000;
/// Submissions timed from outside.
const SBATCHES: usize = 200;

fn cluster(name: &str) -> Res<Cluster> {
    let c = Cluster::start(ClusterSpec::new(name).sized(4))?;
    wait_until(Duration::from_secs(20), || Ok(c.log().contains("groups are ready").then_some(())))
        .context("the engine")?;
    Ok(c)
}

/// A plan of so many bytes: the advisor's, its free map of tuning parameters filled up.
fn plan(c: &Cluster, bytes: usize) -> Res<PathBuf> {
    let mut plan: Value =
        serde_json::from_str(include_str!("../../plans/advisor-16-efa.json")).context("the plan")?;
    let mut n = 0;
    while plan.to_string().len() < bytes {
        let room = bytes - plan.to_string().len();
        let params = plan.pointer_mut("/mpi_configuration/mpi_tuning_params").and_then(Value::as_object_mut);
        let params = params.ok_or("the plan has no mpi_tuning_params")?;
        let value = "x".repeat(room.saturating_sub(32).clamp(1, bytes / 200));
        params.insert(format!("OMPI_MCA_parameter_{n:04}"), json!(value));
        n += 1;
    }
    let path = c.at.file("work").join(format!("plan-{bytes}.json"));
    std::fs::write(&path, plan.to_string()).context(path.display())?;
    Ok(path)
}

fn submit(c: &Cluster, args: &[&str]) -> Res<()> {
    let mut all = vec!["--hold", "-N1", "-t5", "-o", "/dev/null"];
    all.extend(args);
    c.sbatch(User::Ordinary, &all, "true").map(|_| ())
}

/// Time inside job_submit, as the plugin itself counts it.
pub fn job_submit(raw: &mut Raw) -> Res<()> {
    for (name, bytes) in [("4k", 4_096), ("64k", 65_000)] {
        let c = cluster(&format!("bench-hook-{name}"))?;
        let plan = format!("--burst-plan={}", plan(&c, bytes)?.display());
        (0..CALLS).try_for_each(|_| submit(&c, &["-p", "efa", &plan]))?;
        if name == "4k" {
            (0..CALLS).try_for_each(|_| submit(&c, &["-p", "cpu"]))?;
        }
        let out = c.run(User::Root, "burstctl", &["timings", "--json"], "")?;
        let told: Value = serde_json::from_str(&out.out).context(out.text())?;
        let mut take = |pointer: &str, key: &str| {
            let all = told.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
            all.iter().filter_map(Value::as_f64).for_each(|ns| raw.add(key, ns));
        };
        take("/job_submit/managed/ns", &format!("submit_hook_ns.{name}"));
        if name == "4k" {
            take("/job_submit/foreign/ns", "foreign_job_hook_ns");
        }
    }
    Ok(())
}

/// sbatch of a job with a plan beside sbatch of a local one that knows no SPANK plugin, in turn.
pub fn sbatch(raw: &mut Raw) -> Res<()> {
    let c = cluster("bench-sbatch")?;
    let plan = format!("--burst-plan={}", plan(&c, 4_096)?.display());
    let conf = std::fs::read_to_string(c.at.slurm_conf()).context("slurm.conf")?;
    let bare: String =
        conf.lines().filter(|l| !l.starts_with("PlugStackConfig=")).map(|l| format!("{l}\n")).collect();
    let bare_conf = c.at.file("etc/without-plugstack.conf");
    std::fs::write(&bare_conf, format!("{bare}PlugStackConfig=/dev/null\n")).context(bare_conf.display())?;
    let script = c.at.file("work/job.sh");
    std::fs::write(&script, "#!/bin/sh\ntrue\n").context(script.display())?;
    let timed = |args: &[&str], conf: Option<&PathBuf>| -> Res<f64> {
        let mut command = c.command(&which("sbatch"), User::Root);
        command.args(["--hold", "-N1", "-t5", "-o", "/dev/null", "--parsable"]).args(args).arg(&script);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(conf) = conf {
            command.env("SLURM_CONF", conf);
        }
        let began = Instant::now();
        let status = command.status().context("sbatch")?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        if status.success() { Ok(took) } else { Err(format!("sbatch {args:?}: {status}")) }
    };
    for _ in 0..SBATCHES {
        raw.add("sbatch_ms.plain", timed(&["-p", "cpu"], Some(&bare_conf))?);
        raw.add("sbatch_ms.burst", timed(&["-p", "efa", &plan], None)?);
    }
    Ok(())
}
