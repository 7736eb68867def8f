//! Where things are: burst.toml, the controller, munged.

use crate::{
    cli::Common,
    cluster,
    out::Fail,
    slurmconf::SlurmConf,
    wire::{self, Lost, Munge},
};
use burst_policy::Config;
use serde_json::Value;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Port of docs/WIRE.md.
const PORT: u16 = 6826;

/// The controller may hold a question while it looks at Slurm; longer than this nobody waits at a prompt.
const PATIENCE: Duration = Duration::from_secs(15);

/// The file that `--config` or the environment names, or the default.
pub fn config_path(common: &Common) -> PathBuf {
    common.config.clone().unwrap_or_else(|| burst_policy::config::DEFAULT_PATH.into())
}

/// Reads and validates burst.toml.
///
/// # Errors
/// Unreadable, or all that is wrong with it.
pub fn config(common: &Common) -> Result<Config, Fail> {
    let path = config_path(common);
    let file = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Fail::problem(format!(
            "{file}: {e}; this command needs burst.toml: name it with --config FILE or SLURM_BURST_CONF, or run the \
             command where it can be read"
        ))
    })?;
    Config::parse(&text, &file).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Fail::problem(lines.join("\n"))
    })
}

/// URLs of the controllers, in the order they are tried.
pub fn controllers(common: &Common) -> Vec<String> {
    if let Some(url) = &common.controller {
        return vec![with_scheme(url)];
    }
    let text = std::fs::read_to_string(config_path(common)).unwrap_or_default();
    // Also of one that cannot be used: then above all somebody asks what is wrong.
    from_files(Config::listeners(&text), &SlurmConf::here())
}

fn from_files((listen, advertise): (Option<SocketAddr>, Vec<String>), slurm: &SlurmConf) -> Vec<String> {
    if !advertise.is_empty() {
        return advertise;
    }
    if let Some(listen) = listen.filter(|l| !l.ip().is_unspecified()) {
        return vec![format!("http://{listen}")];
    }
    let port = listen.map_or(PORT, |l| l.port());
    // It listens on every address of the controller: slurm.conf says which host that is.
    let hosts = cluster::controllers(slurm);
    if hosts.is_empty() {
        return vec![format!("http://127.0.0.1:{port}")];
    }
    hosts
        .iter()
        .map(|h| if h.contains(':') { format!("http://[{h}]:{port}") } else { format!("http://{h}:{port}") })
        .collect()
}

fn with_scheme(url: &str) -> String {
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}

/// Asks the controller; answers the JSON of a 200.
///
/// # Errors
/// What went wrong and what to do.
pub fn ask(common: &Common, path: &str, payload: &Value) -> Result<Value, Fail> {
    ask_or_404(common, path, payload)?
}

/// The same, with what the controller says to something that it does not know kept apart from everything that went wrong.
///
/// # Errors
/// What went wrong and what to do.
pub fn ask_or_404(common: &Common, path: &str, payload: &Value) -> Result<Result<Value, Fail>, Fail> {
    let urls = controllers(common);
    let socket = common.munge_socket.clone().or_else(|| SlurmConf::here().munge_socket());
    let reply = match wire::post(&urls, path, payload.to_string().as_bytes(), &Munge { socket }, PATIENCE) {
        Ok(reply) => reply,
        Err(Lost::Munge(why)) => return Err(Fail::problem(why)),
        Err(Lost::Unreachable(tried)) => return Err(unreachable(&tried)),
    };
    match reply.status {
        404 => Ok(Err(Fail::problem(wire::error_text(&reply)))),
        200 => serde_json::from_str(&reply.text).map(Ok).map_err(|e| {
            Fail::problem(format!(
                "the answer is not what slurm-burst's controller says ({e}); is --controller the address of its \
                 `listen` (port {PORT} unless set)?"
            ))
        }),
        401 => Err(Fail::problem(format!(
            "the controller does not accept the credential: {}; both machines need the same munge key and clocks that \
             agree",
            wire::error_text(&reply)
        ))),
        503 => Err(Fail::problem(format!(
            "no active controller among {}: {}; is slurmctld in charge on one of them (scontrol ping)?",
            urls.join(", "),
            wire::error_text(&reply)
        ))),
        _ => Err(Fail::problem(wire::error_text(&reply))),
    }
}

fn unreachable(tried: &[(String, String)]) -> Fail {
    let lines: Vec<String> = tried.iter().map(|(url, why)| format!("  {url}: {why}")).collect();
    Fail::problem(format!(
        "cannot reach slurm-burst's controller:\n{}\nIt is a part of slurmctld. See that slurmctld runs (scontrol \
         ping), that its log says `listening on`, and that this machine may connect to the port; where the \
         address is wrong give --controller http://HOST:{PORT} (or BURST_CONTROLLER).",
        lines.join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slurm_conf_says_where_the_controller_is() {
        let conf = SlurmConf::parse("SlurmctldHost=head(10.0.0.5)\nslurmctldhost=head2\n");
        assert_eq!(from_files((None, Vec::new()), &conf), ["http://10.0.0.5:6826", "http://head2:6826"]);
        let six = SlurmConf::parse("SlurmctldHost=head(fd00::5)");
        assert_eq!(from_files((None, Vec::new()), &six), ["http://[fd00::5]:6826"]);
        assert_eq!(from_files((None, Vec::new()), &SlurmConf::default()), ["http://127.0.0.1:6826"]);
    }

    #[test]
    fn a_bare_address_is_http() {
        assert_eq!(with_scheme("10.0.0.5:6826"), "http://10.0.0.5:6826");
        assert_eq!(with_scheme("https://head"), "https://head");
    }
}
