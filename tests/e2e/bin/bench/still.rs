//! Memory, sizes, and the time of a build.

use burst_e2e::bench::Raw;
use burst_e2e::proc::{TICK, wait_until};
use burst_e2e::spec::workspace;
use burst_e2e::{Cluster, ClusterSpec, Context, Res, User};
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Gangs in flight, and looks at slurmctld's memory.
const GANGS: usize = 100;
const LOOKS: usize = 20;
const LIMIT: Duration = Duration::from_secs(120);

fn resident_mb(c: &Cluster) -> Res<f64> {
    let pid = c.slurmctld_pid().ok_or("no slurmctld")?;
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).context(&path)?;
    let kib =
        text.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|k| k * 1_024.0 / 1e6).ok_or_else(|| format!("{path} has no VmRSS"))
}

/// slurmctld's memory with so many jobs, each a gang on its way, beside the same jobs without the plugin.
pub fn memory(raw: &mut Raw) -> Res<()> {
    let never = ClusterSpec::new("bench-memory")
        .sized(100)
        .pool("boot_limit = \"9m\"")
        .simulator(&json!({"instance_command": []}));
    let bare = ClusterSpec::plain("bench-memory-plain").sized(100);
    for (key, spec) in [("slurmctld_mb.burst", never), ("slurmctld_mb.plain", bare)] {
        let burst = spec.plugin;
        let c = Cluster::start(spec)?;
        for _ in 0..GANGS {
            let hold: &[&str] = if burst { &[] } else { &["--hold"] };
            let args = [&["-p", "efa", "-N1", "-t5", "-o", "/dev/null"], hold].concat();
            c.sbatch(User::Ordinary, &args, "true")?;
        }
        if burst {
            wait_until(LIMIT, || {
                let booting = c.gangs()?.iter().filter(|g| g.contains("Booting")).count();
                Ok((booting == GANGS).then_some(()))
            })
            .context(format!("{GANGS} gangs in flight"))?;
        }
        for _ in 0..LOOKS {
            raw.add(key, resident_mb(&c)?);
            std::thread::sleep(TICK);
        }
    }
    Ok(())
}

/// The shared objects as they are installed.
pub fn sizes(raw: &mut Raw) -> Res<()> {
    for (key, file) in
        [("so_bytes.job_submit", "libjob_submit_burst.so"), ("so_bytes.spank", "libspank_burst.so")]
    {
        let path = burst_e2e::spec::bin_dir().join(file);
        #[allow(clippy::cast_precision_loss)]
        raw.add(key, std::fs::metadata(&path).context(path.display())?.len() as f64);
    }
    Ok(())
}

/// Everything that `make build` builds, from nothing, with the crates already downloaded.
pub fn build(raw: &mut Raw) -> Res<()> {
    let dir = tempfile::tempdir().context("temporary directory")?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--release", "--workspace", "--locked", "--quiet", "--target-dir"])
        .arg(dir.path());
    let began = Instant::now();
    let status = command.current_dir(workspace()).stdin(Stdio::null()).status().context("cargo")?;
    if !status.success() {
        return Err(format!("cargo build: {status}"));
    }
    raw.add("clean_build_s", began.elapsed().as_secs_f64());
    Ok(())
}
