//! A private cluster: munged, slurmctld, one local slurmd, and the simulator with its instances.

mod ask;
mod evidence;
mod setup;

use crate::files::{Layout, which};
use crate::proc::{self, Output, Proc, run, wait_until};
use crate::relay::Relay;
use crate::show::{Fields, field};
use crate::sim::Sim;
use crate::spec::{ClusterSpec, Network};
use crate::{Context, Res};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use ask::COMMAND_LIMIT;

/// Who gives a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// The administrator.
    Root,
    /// Somebody without privileges (`nobody`).
    Ordinary,
    /// Somebody else without privileges (`daemon`).
    Other,
}

/// A running cluster. Dropping it ends what it started.
#[derive(Debug)]
pub struct Cluster {
    /// What was asked for.
    pub spec: ClusterSpec,
    /// Where it is.
    pub at: Layout,
    /// The simulator.
    pub sim: Option<Sim>,
    /// Between slurmctld and the simulator, where the description asks for it.
    pub ec2_relay: Option<Relay>,
    /// Between instances and the engine, where the description asks for it.
    pub node_relay: Option<Relay>,
    munged: Option<Proc>,
    slurmctld: Option<Proc>,
    slurmds: Vec<Proc>,
    stopped: bool,
    // Held for as long as the ports are ours.
    _ports: Vec<File>,
    dir: Option<tempfile::TempDir>,
}

impl Cluster {
    /// Starts everything and waits until the local node is idle.
    ///
    /// # Errors
    /// Something is missing or did not come up; the text has the tail of the logs.
    pub fn start(spec: ClusterSpec) -> Res<Self> {
        let mut cluster = setup::lay_out(spec)?;
        match cluster.bring_up() {
            Ok(()) => Ok(cluster),
            Err(e) => {
                let logs = cluster.tails(25);
                Err(format!("cluster {}: {e}\n{logs}", cluster.spec.name))
            }
        }
    }

    fn bring_up(&mut self) -> Res<()> {
        let limit = self.spec.start_limit;
        let socket = self.at.munge_socket();
        let mut munged = self.command(&which("munged"), User::Root);
        munged.args(["--foreground", "--force", "--num-threads=2"]);
        for (option, file) in [
            ("socket", "munge/socket"),
            ("key-file", "munge/key"),
            ("pid-file", "munge/pid"),
            ("seed-file", "munge/seed"),
        ] {
            munged.arg(format!("--{option}={}", self.at.file(file).display()));
        }
        self.munged = Some(Proc::spawn("munged", &self.at.file("log/munged.log"), &mut munged)?);
        wait_until(limit, || Ok(socket.exists().then_some(()))).context("munged's socket")?;
        if self.spec.sim {
            self.sim = Some(Sim::start(&self.spec, &self.at, self.base_env())?);
        }
        let relay = |wanted: bool, port: u16, to: u16| -> Res<Option<Relay>> {
            let mut relay = Relay::new(port, to);
            if wanted { relay.open().map(|()| Some(relay)) } else { Ok(None) }
        };
        self.ec2_relay = relay(self.spec.ec2_relay, self.at.ec2_relay_port(), self.at.sim_port())?;
        self.node_relay = relay(self.spec.node_relay, self.at.node_relay_port(), self.at.controller_port())?;
        self.start_slurmctld()?;
        let local: Vec<String> = std::iter::once("local1".to_owned())
            .chain((1..=self.spec.idle).map(|n| format!("idle-{n:04}")))
            .collect();
        local.iter().try_for_each(|name| self.start_local_slurmd(name))?;
        wait_until(limit, || {
            let idle =
                |n: &Fields| field(n, "State").starts_with("IDLE") && !field(n, "State").ends_with('*');
            let nodes = self.nodes().unwrap_or_default();
            let up = nodes.iter().filter(|n| idle(n) && local.iter().any(|l| l == field(n, "NodeName")));
            Ok((up.count() == local.len()).then_some(()))
        })
        .context("the local nodes becoming idle")
    }

    /// Starts slurmctld and waits until it answers.
    ///
    /// # Errors
    /// It ended, or did not answer in time.
    pub fn start_slurmctld(&mut self) -> Res<()> {
        self.spawn_slurmctld()?;
        wait_until(self.spec.start_limit, || {
            if !self.slurmctld.as_mut().is_some_and(Proc::alive) {
                return Err("slurmctld ended".into());
            }
            Ok(self.scontrol(&["ping"]).is_ok_and(|o| o.out.contains("is UP")).then_some(()))
        })
        .context("slurmctld answering")
    }

    /// Starts slurmctld and does not wait for it.
    ///
    /// # Errors
    /// It could not be started.
    pub fn spawn_slurmctld(&mut self) -> Res<()> {
        let mut command = self.command(&which("slurmctld"), User::Root);
        command.arg("-D").arg("-f").arg(self.at.slurm_conf());
        command.envs(self.aws_env());
        let dir = self.at.dir.display().to_string();
        command.envs(self.spec.slurmctld_env.iter().map(|(k, v)| (k, v.replace("{dir}", &dir))));
        self.slurmctld = Some(Proc::spawn("slurmctld", &self.at.file("log/slurmctld.out"), &mut command)?);
        Ok(())
    }

    fn start_local_slurmd(&mut self, name: &str) -> Res<()> {
        let mut command = self.command(&which("slurmd"), User::Root);
        command.args(["-D", "-N", name, "-f"]).arg(self.at.slurm_conf());
        self.slurmds.push(Proc::spawn("slurmd", &self.at.file("log/slurmd.out"), &mut command)?);
        Ok(())
    }

    /// slurmctld's process id.
    #[must_use]
    pub fn slurmctld_pid(&self) -> Option<u32> {
        self.slurmctld.as_ref().map(Proc::pid)
    }

    /// Whether slurmctld runs.
    pub fn slurmctld_alive(&mut self) -> bool {
        self.slurmctld.as_mut().is_some_and(Proc::alive)
    }

    /// Whether slurmctld was started and is gone without having been told to end.
    #[must_use]
    pub fn slurmctld_died(&self) -> bool {
        self.slurmctld.as_ref().is_some_and(|p| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", p.pid())).unwrap_or_default();
            stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
        })
    }

    /// `kill -9` of slurmctld.
    pub fn kill_slurmctld(&mut self) {
        if let Some(mut p) = self.slurmctld.take() {
            p.kill();
        }
    }

    /// An orderly end of slurmctld.
    pub fn stop_slurmctld(&mut self) {
        if let Some(mut p) = self.slurmctld.take() {
            p.stop(Duration::from_secs(15));
        }
    }

    /// What every process of this cluster finds in its environment; SLURM_CONF also marks it as ours.
    fn base_env(&self) -> Vec<(String, String)> {
        [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("SLURM_CONF", self.at.slurm_conf().display().to_string()),
            ("SLURM_BURST_CONF", self.at.burst_toml().display().to_string()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .to_vec()
    }

    /// What slurmctld gets on top: credentials that only the simulator accepts, or none from anywhere.
    #[must_use]
    pub fn aws_env(&self) -> Vec<(String, String)> {
        let mut env = vec![
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ];
        if self.spec.credentials {
            env.extend([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
        }
        env.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    /// slurmctld ends in order and starts again, with whatever its files say now.
    ///
    /// # Errors
    /// It did not come up.
    pub fn restart_slurmctld(&mut self) -> Res<()> {
        self.stop_slurmctld();
        self.start_slurmctld()
    }

    /// slurmctld's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.at.file("log/slurmctld.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A command with the cluster's environment and nothing else, given by `user`.
    #[must_use]
    pub fn command(&self, program: &Path, user: User) -> Command {
        let account = match user {
            User::Root => None,
            User::Ordinary => Some(("nobody", "nogroup")),
            User::Other => Some(("daemon", "daemon")),
        };
        let mut command = match account {
            None => Command::new(program),
            Some((uid, gid)) => {
                let mut c = Command::new(which("setpriv"));
                c.args(["--reuid", uid, "--regid", gid, "--clear-groups", "--"]).arg(program);
                c
            }
        };
        command.env_clear().envs(self.base_env()).current_dir(self.at.file("work"));
        command
    }

    /// Runs a program of Slurm's or ours to its end.
    ///
    /// # Errors
    /// It could not be started or took too long; its own failure is in the output.
    pub fn run(&self, user: User, program: &str, args: &[&str], input: &str) -> Res<Output> {
        run(self.command(&self.program(program), user).args(args), input, COMMAND_LIMIT)
    }

    /// A program by name: ours from the cluster's own copies, else the system's.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        let ours = self.at.file("bin").join(name);
        if ours.exists() { ours } else { which(name) }
    }

    /// Ends everything that was started. Idempotent.
    pub fn stop(&mut self) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        for mut p in self.slurmctld.take().into_iter().chain(self.slurmds.drain(..)) {
            p.stop(Duration::from_secs(5));
        }
        if let Some(mut sim) = self.sim.take() {
            sim.stop();
        }
        if let Some(mut p) = self.munged.take() {
            p.stop(Duration::from_secs(3));
        }
        proc::sweep(&format!("SLURM_CONF={}", self.at.slurm_conf().display()));
    }

    /// Processes of this cluster that still run.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        proc::with_environment(&format!("SLURM_CONF={}", self.at.slurm_conf().display()))
    }

    /// Whether each instance has its own address.
    #[must_use]
    pub fn netns(&self) -> bool {
        self.spec.network == Network::Netns
    }

    /// Leaves everything running and its directory in place.
    pub fn leave(mut self) {
        self.stopped = true;
        if let Some(dir) = self.dir.take() {
            let _ = dir.keep();
        }
        // A child whose handle is dropped goes on.
        if let Some(sim) = self.sim.as_mut() {
            sim.leave();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.stopped && self.dir.is_none() {
            return;
        }
        if std::thread::panicking() {
            let kept = self.keep_logs();
            eprintln!("{}", self.tails(40));
            eprintln!("logs of cluster {} kept in {}", self.spec.name, kept.display());
        }
        self.stop();
    }
}

/// Writes a file and says which one could not be written.
fn write(path: &Path, text: &str) -> Res<()> {
    std::fs::write(path, text).context(path.display())
}
