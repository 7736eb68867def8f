//! Instances as processes: each a group of its own and, where the host allows it, a PID namespace of its own, so that
//! whatever it starts ends with it.

use crate::config::{Config, Network, PidNamespace};
use crate::netns::Netns;
use crate::sim::Sim;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};

/// Set in every instance's environment: finds what left its process group.
const MARK_INSTANCE: &str = "BURST_SIM_INSTANCE";
const MARK_RUN: &str = "BURST_SIM_RUN";

/// An instance to start.
#[derive(Debug, Clone)]
pub struct Job {
    /// Instance id.
    pub id: String,
    /// Its number.
    pub seq: u64,
    /// Its address.
    pub ip: String,
    /// Its name.
    pub dns: String,
}

/// Starts and ends processes.
#[derive(Debug)]
pub struct Processes {
    orders: mpsc::Sender<Job>,
    run: String,
    log_dir: PathBuf,
    namespaces: bool,
    tied: bool,
    metadata: String,
    netns: Option<Netns>,
}

fn works(argv: &[&str]) -> bool {
    let Some((program, args)) = argv.split_first() else { return false };
    let mut c = Command::new(program);
    c.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    c.status().is_ok_and(|s| s.success())
}

impl Processes {
    /// Prepares; `metadata` is where instances reach the metadata service. Jobs come out of the receiver.
    pub fn new(
        cfg: &Config,
        dir: &Path,
        run: String,
        metadata: String,
        netns: Option<Netns>,
    ) -> std::io::Result<(Self, mpsc::Receiver<Job>)> {
        let log_dir = dir.join("instances");
        std::fs::create_dir_all(&log_dir)?;
        let programs = !cfg.instance_command.is_empty();
        let root = rustix::process::geteuid().is_root();
        let namespaces = programs
            && cfg.pid_namespace == PidNamespace::Auto
            && root
            && works(&["unshare", "--pid", "--mount-proc", "--fork", "--kill-child=KILL", "--", "true"]);
        if programs && cfg.pid_namespace == PidNamespace::Auto && !namespaces {
            eprintln!(
                "burst-ec2sim: no PID namespaces here (not root, or unshare does not work): instances get process groups only"
            );
        }
        let tied = programs && works(&["setpriv", "--pdeathsig", "KILL", "true"]);
        let (orders, jobs) = mpsc::channel();
        Ok((Self { orders, run, log_dir, namespaces, tied, metadata, netns }, jobs))
    }

    /// Address of an instance with its own network.
    pub fn address(&self, seq: u64) -> String {
        self.netns.as_ref().map_or_else(|| "127.0.0.1".into(), |n| n.address(seq))
    }

    /// Orders an instance's start; does not wait.
    pub fn start(&self, job: Job) {
        // The starter lives as long as the simulator; after it, nothing is to be started any more.
        let _ = self.orders.send(job);
    }

    fn command(&self, cfg: &Config, job: &Job) -> Result<Command, String> {
        let fill = |t: &str| {
            t.replace("{instance_id}", &job.id)
                .replace("{private_ip}", &job.ip)
                .replace("{private_dns}", &job.dns)
        };
        let mut argv: Vec<String> = Vec::new();
        let mut push = |words: &[&str]| argv.extend(words.iter().map(|w| (*w).to_owned()));
        if self.tied {
            // A simulator that is killed takes its instances with it.
            push(&["setpriv", "--pdeathsig", "KILL"]);
        }
        if cfg.network == Network::Netns {
            let n = self.netns.as_ref().ok_or("no network for instances")?;
            let path = n.create(job.seq)?;
            push(&["nsenter", &format!("--net={path}"), "--"]);
        }
        if self.namespaces {
            push(&["unshare", "--pid", "--mount-proc", "--fork", "--kill-child=KILL", "--"]);
        }
        argv.extend(cfg.instance_command.iter().map(|a| fill(a)));
        let (program, args) = argv.split_first().ok_or("instance_command is empty")?;
        let log = self.log_dir.join(format!("{}.log", job.id));
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|e| format!("cannot write {}: {e}", log.display()))?;
        let err = out.try_clone().map_err(|e| e.to_string())?;
        let mut c = Command::new(program);
        c.args(args).stdin(Stdio::null()).stdout(out).stderr(err);
        c.envs(cfg.instance_env.iter().map(|(k, v)| (k, fill(v))));
        c.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("{}/imds/{}", self.metadata, job.id));
        c.env(MARK_INSTANCE, &job.id).env(MARK_RUN, &self.run);
        std::os::unix::process::CommandExt::process_group(&mut c, 0);
        Ok(c)
    }

    /// Tells an instance to shut down: what it runs gets SIGTERM.
    pub fn tell(&self, pid: i32) {
        if let Some(p) = Pid::from_raw(pid) {
            let _ = kill_process_group(p, Signal::TERM);
        }
    }

    /// Kills an instance's process tree.
    pub fn kill(&self, pid: i32, id: &str) {
        if let Some(p) = Pid::from_raw(pid) {
            let _ = kill_process_group(p, Signal::KILL);
        }
        if !self.namespaces {
            sweep(&format!("{MARK_INSTANCE}={id}"));
        }
    }

    /// Kills whatever of any instance of this simulator is left, until nothing is.
    pub fn sweep_all(&self) {
        for _ in 0..50 {
            if sweep(&format!("{MARK_RUN}={}", self.run)) == 0 {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Removes what was made on the host.
    pub fn clean_up(&self) {
        if let Some(n) = &self.netns {
            n.remove_all();
        }
    }
}

/// Kills every process whose environment has this entry; says how many there were.
fn sweep(mark: &str) -> usize {
    let Ok(dir) = std::fs::read_dir("/proc") else { return 0 };
    let mut n = 0;
    for entry in dir.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|s| s.parse::<i32>().ok()) else { continue };
        let Ok(env) = std::fs::read(entry.path().join("environ")) else { continue };
        if env.split(|b| *b == 0).any(|e| e == mark.as_bytes()) {
            n += 1;
            if let Some(p) = Pid::from_raw(pid) {
                let _ = kill_process(p, Signal::KILL);
            }
        }
    }
    n
}

/// Starts instances one after the other on its own thread: starting several hundred must not hold up an answer, and the
/// thread has to live as long as the instances (their parent-death signal is the thread's).
pub fn run_starter(sim: &Arc<Sim>, jobs: mpsc::Receiver<Job>) -> std::io::Result<()> {
    let sim = Arc::clone(sim);
    std::thread::Builder::new().name("instance-starter".into()).spawn(move || {
        let _inside = sim.runtime.enter();
        for job in jobs {
            // Its own Region's: there its state is kept.
            if let Some(holder) = sim.holder(&job.id).me.upgrade() {
                start(&holder, &job);
            }
        }
    })?;
    Ok(())
}

fn start(sim: &Arc<Sim>, job: &Job) {
    let up = |sim: &Sim| sim.world().instances.get(&job.id).is_some_and(|i| i.state.up());
    if !up(sim) {
        return sim.process_ended(&job.id, "ended before its process was started");
    }
    let child = sim.processes.command(&sim.cfg, job).and_then(|c| {
        let mut c = tokio::process::Command::from(c);
        c.spawn().map_err(|e| format!("cannot start {:?}: {e}", sim.cfg.instance_command))
    });
    let mut child = match child {
        Ok(c) => c,
        Err(e) => {
            eprintln!("burst-ec2sim: instance {}: {e}", job.id);
            return sim.process_ended(&job.id, &e);
        }
    };
    let pid = child.id().and_then(|p| i32::try_from(p).ok());
    let doomed = {
        let mut w = sim.world();
        w.instances.get_mut(&job.id).is_none_or(|i| {
            i.pid = pid;
            !i.state.up()
        })
    };
    if doomed && let Some(pid) = pid {
        sim.processes.kill(pid, &job.id);
    }
    let (sim, job) = (Arc::clone(sim), job.clone());
    sim.runtime.clone().spawn(async move {
        let how = match child.wait().await {
            Ok(status) => format!("process ended: {status}"),
            Err(e) => format!("process lost: {e}"),
        };
        // Its number can be given to another process from here on.
        if let Some(i) = sim.world().instances.get_mut(&job.id) {
            i.pid = None;
        }
        let back = Arc::clone(&sim);
        let (id, seq) = (job.id.clone(), job.seq);
        let cleaned = tokio::task::spawn_blocking(move || {
            if !back.processes.namespaces {
                sweep(&format!("{MARK_INSTANCE}={id}"));
            }
            if let Some(n) = &back.processes.netns {
                n.remove(seq);
            }
        });
        let _ = cleaned.await;
        sim.process_ended(&job.id, &how);
    });
}
