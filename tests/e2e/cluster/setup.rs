//! The directory, the ports and the configuration of a cluster, before anything runs.

use super::{Cluster, write};
use crate::files::{self, FIXED_PORTS, Layout, which};
use crate::proc::run;
use crate::spec::{ClusterSpec, Network};
use crate::{Context, Res};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Ports are taken in slots of this many, each guarded by a lock file, so that clusters side by side never meet.
const SLOT: u16 = 200;
const FIRST_PORT: u16 = 20_000;
const SLOTS: u16 = 55;

fn account(name: &str) -> Option<(u32, u32)> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let mut f = line.split(':');
        (f.next()? == name).then_some(())?;
        let (_, uid, gid) = (f.next()?, f.next()?, f.next()?);
        Some((uid.parse().ok()?, gid.parse().ok()?))
    })
}

/// `count` contiguous free ports, ours for as long as the returned files are held.
fn ports(count: usize) -> Res<(u16, Vec<File>)> {
    let slots = u16::try_from(count.div_ceil(usize::from(SLOT))).context("ports")?;
    let lock = |slot: u16| {
        let path = format!("/tmp/burst-e2e-ports-{slot}.lock");
        let file = File::options().create(true).truncate(false).write(true).open(path).ok()?;
        file.try_lock().ok().map(|()| file)
    };
    for first in 0..=SLOTS.saturating_sub(slots) {
        let held: Vec<File> = (first..first + slots).map_while(lock).collect();
        let base = FIRST_PORT + first * SLOT;
        let last = base + slots * SLOT;
        if held.len() == usize::from(slots)
            && (base..last).all(|p| TcpListener::bind((Ipv4Addr::LOCALHOST, p)).is_ok())
        {
            return Ok((base, held));
        }
    }
    Err(format!("no {count} free ports in a row between {FIRST_PORT} and {}", FIRST_PORT + SLOTS * SLOT))
}

fn slurm_plugin_dir() -> Res<PathBuf> {
    let mut candidates =
        vec![PathBuf::from("/usr/lib64/slurm"), "/usr/lib/slurm".into(), "/usr/lib/slurm-wlm".into()];
    if let Ok(dirs) = std::fs::read_dir("/usr/lib") {
        candidates.extend(dirs.flatten().map(|d| d.path().join("slurm-wlm")));
    }
    candidates.into_iter().find(|d| d.join("auth_munge.so").exists()).ok_or_else(|| {
        "Slurm's plugins (auth_munge.so) are nowhere under /usr/lib; install slurmctld and slurmd".into()
    })
}

/// Directory, configuration and programs of a cluster.
pub fn lay_out(spec: ClusterSpec) -> Res<Cluster> {
    for program in ["munged", "slurmctld", "slurmd", "scontrol", "sbatch", "setpriv"] {
        if !which(program).exists() {
            return Err(format!("{program} is not installed; run `make deps` as root"));
        }
    }
    let (user, (uid, gid)) = ["slurm", "nobody"]
        .iter()
        .find_map(|n| account(n).map(|ids| (*n, ids)))
        .ok_or("there is neither a user slurm nor a user nobody")?;
    let dir = tempfile::Builder::new().prefix("burst-").tempdir_in("/tmp").context("temporary directory")?;
    let host = run(&mut Command::new(which("hostname")), "", Duration::from_secs(5))?.out;
    let host = host.trim().split('.').next().unwrap_or("localhost").to_owned();
    let (port, held) = ports(usize::from(FIXED_PORTS) + spec.names() + usize::from(spec.idle))?;
    let netns_prefix = format!("10.{}", 150 + (port - FIRST_PORT) / SLOT);
    let at = Layout {
        dir: dir.path().to_owned(),
        port,
        host,
        slurm_plugins: slurm_plugin_dir()?,
        user: user.into(),
        address: match spec.network {
            Network::Netns => format!("{netns_prefix}.0.1"),
            Network::Shared => "127.0.0.1".into(),
        },
        netns_prefix,
    };
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).context(path.display())
    };
    let own = |path: &Path| std::os::unix::fs::chown(path, Some(uid), Some(gid)).context(path.display());
    mode(&at.dir, 0o755)?;
    for sub in [
        "etc", "log", "run", "state", "spool", "munge", "plugins", "bin", "burst", "work", "sim", "evidence",
        "learning",
    ] {
        let path = at.file(sub);
        std::fs::create_dir(&path).context(path.display())?;
        mode(&path, if sub == "burst" { 0o700 } else { 0o755 })?;
    }
    for sub in ["state", "burst", "log", "run", "learning"] {
        own(&at.file(sub))?;
    }
    mode(&at.file("work"), 0o777)?;
    let mut key = vec![0_u8; 128];
    std::io::Read::read_exact(&mut File::open("/dev/urandom").context("/dev/urandom")?, &mut key)
        .context("/dev/urandom")?;
    std::fs::write(at.file("munge/key"), key).context("munge key")?;
    mode(&at.file("munge/key"), 0o400)?;
    let mut cluster = Cluster {
        spec,
        at,
        sim: None,
        ec2_relay: None,
        node_relay: None,
        munged: None,
        slurmctld: None,
        slurmds: Vec::new(),
        stopped: false,
        _ports: held,
        dir: Some(dir),
    };
    cluster.configure()?;
    Ok(cluster)
}

impl Cluster {
    fn configure(&mut self) -> Res<()> {
        let (at, spec) = (&self.at, &self.spec);
        let copy = |from: &str, to: &str| -> Res<bool> {
            let source = match &spec.plugin_file {
                Some(other) if from == "libjob_submit_burst.so" => other.clone(),
                _ => spec.bin_dir.join(from),
            };
            if !source.exists() {
                return Ok(false);
            }
            std::fs::copy(&source, at.file(to)).context(source.display())?;
            Ok(true)
        };
        let need = |found: bool, what: &str| {
            if found {
                Ok(())
            } else {
                Err(format!(
                    "{what} is not in {}; run `make build` or set BURST_BIN_DIR",
                    spec.bin_dir.display()
                ))
            }
        };
        if spec.plugin {
            need(copy("libjob_submit_burst.so", "plugins/job_submit_burst.so")?, "libjob_submit_burst.so")?;
        }
        let wanted = spec.plugin || !spec.spank.is_empty();
        let spank = wanted
            && copy("libspank_burst.so", "plugins/spank_burst.so")?
            && copy("libspank_burst_node.so", "plugins/spank_burst_node.so")?;
        for program in ["burst-node", "burst-ec2sim", "burstctl"] {
            let found = copy(program, &format!("bin/{program}"))?;
            if spec.sim {
                need(found, program)?;
            }
        }
        // A build that may be told of EFA devices that this machine does not have.
        if spec.sim && !copy("burst-node-trial", "bin/burst-node")? {
            return need(false, "burst-node-trial");
        }
        let power = spec.plugin && copy("burst-power", "bin/burst-power")?;
        for name in ["burst-resume", "burst-suspend"] {
            let target = if power { at.file("bin/burst-power") } else { PathBuf::from("/bin/true") };
            symlink(target, at.file("bin").join(name)).context(name)?;
        }
        for device in 0..spec.efa_devices {
            let device = format!("rdmap{device}s6");
            let of = at.file("sys/class/infiniband").join(&device).join("device");
            let driver = at.file("sys/bus/pci/drivers/efa");
            for dir in [&of, &driver] {
                std::fs::create_dir_all(dir).context(dir.display())?;
            }
            symlink(driver, of.join("driver")).context(device)?;
        }
        write(&at.file("etc/prices.json"), files::PRICES)?;
        write(&at.file("etc/burst-node.json"), &files::node_json(at))?;
        write(&at.burst_toml(), &files::burst_toml(at, spec))?;
        let line = if spank { files::plugstack(at, &spec.spank) } else { String::new() };
        write(&at.file("etc/plugstack.conf"), &line)?;
        write(&at.slurm_conf(), &files::slurm_conf(at, spec, &self.pool_lines(), spec.plugin))
    }

    /// Node and partition lines of the pools: those of `burstctl slurm-conf` where it can say them.
    fn pool_lines(&self) -> String {
        let own = files::pool_lines(&self.at, &self.spec);
        if !self.spec.plugin || !self.at.file("bin/burstctl").exists() {
            return own;
        }
        let mut command = self.command(&self.at.file("bin/burstctl"), super::User::Root);
        command.arg("slurm-conf").envs(self.aws_env());
        let Ok(out) = run(&mut command, "", Duration::from_secs(10)) else { return own };
        let lines: Vec<&str> = out
            .out
            .lines()
            .filter(|l| ["NodeName=", "PartitionName=", "NodeSet="].iter().any(|k| l.starts_with(k)))
            .collect();
        let complete = lines.iter().any(|l| l.starts_with("PartitionName=efa"))
            && lines.iter().filter(|l| l.starts_with("NodeName=")).count() >= self.spec.blocks.len();
        if out.ok() && complete {
            return lines.join("\n") + "\n";
        }
        // A test of a configuration that cannot be used has no other lines; any other test shows this where it fails.
        eprintln!(
            "{}: burstctl slurm-conf has no lines for its pools, the harness writes its own: {}",
            self.spec.name,
            out.text()
        );
        own
    }
}
