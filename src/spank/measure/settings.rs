//! What the plugin's line in plugstack.conf may say after the path of the .so.

use burst_capture::place::RUN_DIR;
use std::path::PathBuf;

/// Most controllers that are tried.
const MOST_CONTROLLERS: usize = 8;

/// Which nodes are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// Those that burst-node announces.
    Pools,
    /// Every node that runs jobs.
    All,
    /// None.
    Off,
}

/// Settings of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `capture=pools|all|off`.
    pub capture: Capture,
    /// `run_dir=DIR`, the same as burst-node's.
    pub run_dir: PathBuf,
    /// `controllers=URL,URL`: for nodes without burst-node.
    pub controllers: Vec<String>,
    /// `munge=PROGRAM`: for these, too.
    pub munge: String,
    /// `munge_socket=PATH`.
    pub munge_socket: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            capture: Capture::Pools,
            run_dir: RUN_DIR.into(),
            controllers: Vec::new(),
            munge: "/usr/bin/munge".to_owned(),
            munge_socket: None,
        }
    }
}

impl Settings {
    /// One argument; what is expected instead where it is wrong.
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let absolute = || {
            let fine = value.starts_with('/');
            fine.then(|| value.to_owned()).ok_or_else(|| "a path from / on is expected".to_owned())
        };
        match key {
            "capture" => {
                self.capture = match value {
                    "pools" => Capture::Pools,
                    "all" => Capture::All,
                    "off" => Capture::Off,
                    _ => return Err("pools, all or off is expected".to_owned()),
                }
            }
            "run_dir" => self.run_dir = absolute()?.into(),
            "controllers" => {
                let urls: Vec<String> = value.split(',').map(str::to_owned).collect();
                if urls.len() > MOST_CONTROLLERS || !urls.iter().all(|u| u.starts_with("http://")) {
                    return Err(format!(
                        "at most {MOST_CONTROLLERS} addresses of the form http://HOST:PORT are expected"
                    ));
                }
                self.controllers = urls;
            }
            "munge" => self.munge = absolute()?,
            "munge_socket" => self.munge_socket = Some(absolute()?),
            _ => {
                return Err(
                    "it is not known (known: capture, run_dir, controllers, munge, munge_socket); ignored"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }
}

/// Reads the arguments; a wrong one is told and passed over, since a submission must not fail for it.
pub fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> (Settings, Vec<String>) {
    let mut settings = Settings::default();
    let mut complaints = Vec::new();
    for argument in arguments {
        let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
        if let Err(why) = settings.set(key, value) {
            complaints.push(format!("burst: plugstack.conf: {argument}: {why}"));
        }
    }
    (settings, complaints)
}
