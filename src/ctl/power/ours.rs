//! Which node names are ours, and what to do with the others: burst.toml and burst-power.conf.

use burst_plan::hostlist;
use burst_policy::Config;
use serde::Deserialize;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

/// `burst-power.conf` beside burst.toml, TOML: what the site used before, and how the engine is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Former {
    /// `former_resume = "/path"`: gets the names that are not ours, to be resumed.
    pub former_resume: Option<PathBuf>,
    /// `former_suspend = "/path"`: the same for suspending.
    pub former_suspend: Option<PathBuf>,
    /// `controller = "http://…"`: the engine, where burst.toml's `listen` does not say it.
    pub controller: Option<String>,
    /// `munge_socket = "/path"`: where slurm.conf's AuthInfo does not say it.
    pub munge_socket: Option<PathBuf>,
}

/// What is known of the site.
#[derive(Debug, Default)]
pub struct Site {
    /// Names of all pools.
    pub names: HashSet<String>,
    /// Where the engine listens.
    pub controller: Option<String>,
    /// The site's own programs.
    pub former: Former,
    /// What could not be read, for the log.
    pub complaints: Vec<String>,
}

/// Where burst.toml is. slurmctld starts its programs with an environment that holds SLURM_CONF and little else, so
/// the directory of slurm.conf comes before the default.
pub fn config_path(burst_conf: Option<&std::ffi::OsStr>, slurm_conf: Option<&std::ffi::OsStr>) -> PathBuf {
    if let Some(path) = burst_conf.filter(|p| !p.is_empty()) {
        return path.into();
    }
    slurm_conf
        .filter(|p| !p.is_empty())
        .and_then(|p| Path::new(p).parent())
        .map(|dir| dir.join("burst.toml"))
        .filter(|p| p.exists())
        .unwrap_or_else(|| burst_policy::config::DEFAULT_PATH.into())
}

impl Site {
    /// Reads both files. Never fails: what cannot be read becomes a complaint.
    pub fn read(config: &Path) -> Self {
        let mut site = Self::default();
        match std::fs::read_to_string(config) {
            Ok(text) => site.take_config(&text, config),
            Err(e) => site.complaints.push(format!(
                "{}: {e}; no name can be told to be ours, so all go to the former program",
                config.display()
            )),
        }
        let former = config.with_file_name("burst-power.conf");
        match std::fs::read_to_string(&former) {
            Ok(text) => match toml::from_str(&text) {
                Ok(read) => site.former = read,
                Err(e) => site.complaints.push(format!(
                    "{}: {e}; keys are former_resume, former_suspend, controller and munge_socket, each with a text",
                    former.display()
                )),
            },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => site.complaints.push(format!("{}: {e}", former.display())),
        }
        site
    }

    fn take_config(&mut self, text: &str, path: &Path) {
        match Config::parse(text, &path.display().to_string()) {
            Ok(config) => {
                let mut listen = config.cluster.listen;
                if listen.ip().is_unspecified() {
                    listen.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
                }
                self.controller = Some(format!("http://{listen}"));
                self.names = config
                    .pools
                    .values()
                    .flat_map(|p| &p.blocks)
                    .flat_map(|b| b.names.iter().cloned())
                    .collect();
            }
            Err(errors) => {
                self.names = names_of_broken(text);
                let first = errors.first().map(ToString::to_string).unwrap_or_default();
                self.complaints.push(format!(
                    "burst.toml has {} errors, the first: {first}; the {} names its nodes = lines spell are kept from \
                     the former program all the same; see them all with: burstctl validate config",
                    errors.len(),
                    self.names.len()
                ));
            }
        }
    }

    /// (ours, others), each in the order given.
    pub fn split(&self, names: Vec<String>) -> (Vec<String>, Vec<String>) {
        names.into_iter().partition(|n| self.names.contains(n))
    }
}

/// The names that a broken burst.toml still spells. A former program that were given them could start instances of
/// its own for them, or mark them DOWN; withheld names only stay as they are.
fn names_of_broken(text: &str) -> HashSet<String> {
    text.match_indices("nodes")
        .filter_map(|(at, word)| {
            let rest = text.get(at + word.len()..)?.trim_start().strip_prefix('=')?.trim_start();
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            rest.get(1..)?.split(quote).next()
        })
        .filter_map(|list| hostlist::expand(list).ok())
        .flatten()
        .collect()
}
