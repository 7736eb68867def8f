//! slurmd: under systemd where it runs, as a child otherwise.

use crate::{say, settings::Settings};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

/// Restarts of a direct slurmd before the node gives up.
const RESTARTS: u32 = 3;
/// A slurmd that lived so long had started well: the count begins anew.
const SETTLED: Duration = Duration::from_secs(300);
/// A slurmd has registered so long after its start, or will not.
const REGISTERS: Duration = Duration::from_secs(15);
/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

enum How {
    Systemd,
    Direct(Child),
}

/// A running slurmd.
pub struct Slurmd {
    how: How,
    settings: Settings,
    restarts: u32,
    since: Instant,
}

fn command(settings: &Settings, node: &str, args: &[String]) -> Command {
    let mut c = Command::new(&settings.slurmd);
    c.arg("-D").arg("-N").arg(node).args(args);
    if let Some(conf) = &settings.slurm_conf {
        c.env("SLURM_CONF", conf);
    }
    c
}

/// Options for systemd's slurmd.service, in the runtime directory: gone with the next boot. An EFA job registers much
/// memory; slurmd hands its own limits to jobs.
fn drop_in(settings: &Settings, node: &str, args: &[String]) -> String {
    let conf =
        settings.slurm_conf.as_ref().map(|c| format!("Environment=SLURM_CONF={c}\n")).unwrap_or_default();
    format!(
        "[Service]\n{conf}Type=exec\nPIDFile=\nExecStart=\nExecStart={} -D -N {node} {}\nLimitMEMLOCK=infinity\n\
         LimitNOFILE=131072\nLimitSTACK=infinity\nTasksMax=infinity\nDelegate=yes\nRestart=on-failure\n",
        settings.slurmd,
        args.join(" ")
    )
}

fn systemctl(args: &[&str]) -> Result<(), String> {
    let status = Command::new("systemctl").args(args).status().map_err(|e| format!("systemctl: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("systemctl {} failed: {status}", args.join(" "))) }
}

impl Slurmd {
    /// Starts it; `args` only count for this first start (`-b` must not be said twice).
    pub fn start(settings: &Settings, node: &str, args: &[String]) -> Result<Self, String> {
        let systemd = match settings.start.as_str() {
            "systemd" => true,
            "direct" => false,
            _ => Path::new("/run/systemd/system").is_dir(),
        };
        let how = if systemd {
            let dir = Path::new("/run/systemd/system/slurmd.service.d");
            let write = |args: &[String]| {
                fs::create_dir_all(dir)
                    .and_then(|()| fs::write(dir.join("burst.conf"), drop_in(settings, node, args)))
                    .map_err(|e| format!("{}: {e}", dir.display()))
            };
            write(args)?;
            systemctl(&["daemon-reload"])?;
            systemctl(&["start", "slurmd"])?;
            // A restart by systemd is no fresh boot.
            write(&[])?;
            systemctl(&["daemon-reload"])?;
            How::Systemd
        } else {
            How::Direct(
                command(settings, node, args).spawn().map_err(|e| format!("{}: {e}", settings.slurmd))?,
            )
        };
        Ok(Self { how, settings: settings.clone(), restarts: 0, since: Instant::now() })
    }

    /// Restarts a direct slurmd that ended; systemd looks after its own.
    pub fn look(&mut self, node: &str) -> Result<(), String> {
        let How::Direct(child) = &mut self.how else { return Ok(()) };
        let Ok(Some(status)) = child.try_wait() else { return Ok(()) };
        if self.since.elapsed() > SETTLED {
            self.restarts = 0;
        }
        if self.restarts >= RESTARTS {
            return Err(format!("slurmd ended {} times, last: {status}", RESTARTS + 1));
        }
        self.restarts += 1;
        say(&format!("slurmd ended ({status}): restart {} of {RESTARTS}", self.restarts));
        // Not at once: what killed it may pass.
        thread::sleep(Duration::from_millis(500) * self.restarts);
        let again = command(&self.settings, node, &[]).spawn();
        *child = again.map_err(|e| format!("{}: {e}", self.settings.slurmd))?;
        self.since = Instant::now();
        Ok(())
    }

    /// Starts it anew: a slurmd registers when it starts. Not again before the last start had its time.
    pub fn register(&mut self, node: &str) {
        if self.since.elapsed() < REGISTERS {
            return;
        }
        say("slurmctld does not know that this node has registered: slurmd is started anew");
        self.since = Instant::now();
        let done = match self.is_systemds() {
            true => systemctl(&["restart", "slurmd"]),
            false => {
                self.stop();
                let again = command(&self.settings, node, &[]).spawn();
                again.map(|c| self.how = How::Direct(c)).map_err(|e| format!("{}: {e}", self.settings.slurmd))
            }
        };
        if let Err(e) = done {
            say(&format!("slurmd could not be started anew: {e}"));
        }
    }

    /// Whether systemd keeps it.
    pub fn is_systemds(&self) -> bool {
        matches!(self.how, How::Systemd)
    }

    /// Ends it.
    pub fn stop(&mut self) {
        match &mut self.how {
            How::Systemd => {
                if let Err(e) = systemctl(&["stop", "slurmd"]) {
                    say(&e);
                }
            }
            How::Direct(child) => {
                let pid = i32::try_from(child.id()).map(Pid::from_raw);
                if let Ok(pid) = pid
                    && let Err(e) = kill(pid, Signal::SIGTERM)
                {
                    say(&format!("slurmd could not be told to end: {e}"));
                }
                let until = Instant::now() + GRACE;
                while Instant::now() < until {
                    if !matches!(child.try_wait(), Ok(None)) {
                        return;
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                if let Err(e) = child.kill() {
                    say(&format!("slurmd could not be killed: {e}"));
                }
                let _ = child.wait();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_start_says_b() {
        let s = Settings { slurm_conf: Some("/etc/s.conf".into()), ..Settings::default() };
        let first = drop_in(&s, "e-1", &["-b".to_owned()]);
        assert!(first.contains("\nExecStart=/usr/sbin/slurmd -D -N e-1 -b\n"), "{first}");
        assert!(first.contains("LimitMEMLOCK=infinity") && first.contains("Delegate=yes"), "{first}");
        assert!(first.contains("Environment=SLURM_CONF=/etc/s.conf"), "{first}");
        assert!(!drop_in(&s, "e-1", &[]).contains(" -b"));
    }
}
