//! One call of the program: arguments, the engine, the former program.

use crate::{
    ours::{Site, config_path},
    slurmconf::SlurmConf,
    wire::{self, Lost, Munge},
};
use burst_plan::hostlist;
use std::{
    ffi::{OsStr, OsString},
    os::unix::{net::UnixDatagram, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

/// How long the engine may take. slurmctld's power thread does not wait for its programs, but one that lingers
/// counts against the number it lets run at a time.
const PATIENCE: Duration = Duration::from_secs(2);

const HELP: &str = "\
burst-power: ResumeProgram and SuspendProgram of a cluster with slurm-burst

  ResumeProgram=/usr/sbin/burst-resume      (a link to burst-power)
  SuspendProgram=/usr/sbin/burst-suspend    (a link to burst-power)

By hand:
  burst-power resume NODES
  burst-power suspend NODES

Slurm calls its programs with a list of nodes and nothing else, so the name it is called by says what is wanted.
Nodes of burst pools are launched and ended by slurm-burst itself: nothing is started for them here, the engine in
slurmctld is only told that Slurm asked, so that it can put right what should not happen. All other nodes go to the
program the site used before, if there is one.

Files:
  burst.toml        $SLURM_BURST_CONF, else beside $SLURM_CONF, else /etc/slurm/burst.toml: which names are ours.
                    Where it has errors, the names its `nodes =` lines spell still count as ours; where it cannot be
                    read at all, every name goes to the former program.
  burst-power.conf  beside burst.toml, optional:
                      former_resume  = \"/opt/slurm/etc/resume.py\"
                      former_suspend = \"/opt/slurm/etc/suspend.py\"
                      controller     = \"http://10.0.0.5:6826\"      # where burst.toml's listen does not say it
                      munge_socket   = \"/run/munge/munge.socket.2\" # where slurm.conf's AuthInfo does not say it

Exit codes: 0 done (also when the engine did not answer), 1 the former program could not be run, 2 wrong usage;
else the former program's own. What goes wrong is written to syslog and stderr.
";

/// What Slurm wants of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Power up.
    Resume,
    /// Power down.
    Suspend,
}

impl Op {
    fn word(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Suspend => "suspend",
        }
    }

    fn of(word: &str) -> Option<Self> {
        match word {
            "resume" | "burst-resume" => Some(Self::Resume),
            "suspend" | "burst-suspend" => Some(Self::Suspend),
            _ => None,
        }
    }
}

/// The operation and the node list, by the name the program is called by or by the first argument.
fn request(args: &[OsString]) -> Option<(Op, String)> {
    let called =
        args.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
    let words: Vec<&str> = args.iter().skip(1).map(|a| a.to_str()).collect::<Option<_>>()?;
    match (Op::of(called), words.as_slice()) {
        (Some(op), [nodes]) => Some((op, (*nodes).to_owned())),
        (None, [word, nodes]) if !word.starts_with("burst-") => Some((Op::of(word)?, (*nodes).to_owned())),
        _ => None,
    }
}

/// The whole program.
pub fn main(args: &[OsString]) -> ExitCode {
    if args.get(1).is_some_and(|a| a == "--help" || a == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    if args.get(1).is_some_and(|a| a == "--version" || a == "-V") {
        println!("burst-power {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let Some((op, list)) = request(args) else {
        eprint!("burst-power: called without `resume NODES` or `suspend NODES`\n\n{HELP}");
        return ExitCode::from(2);
    };
    let slurm_conf = std::env::var_os("SLURM_CONF");
    let site =
        Site::read(&config_path(std::env::var_os("SLURM_BURST_CONF").as_deref(), slurm_conf.as_deref()));
    for complaint in &site.complaints {
        log(complaint);
    }
    let (ours, others) = match hostlist::expand(&list) {
        Ok(names) => site.split(names),
        Err(e) => {
            log(&format!("cannot read the node list {list:?} ({e}); it goes to the former program as it is"));
            return forward(&site, op, &list, false);
        }
    };
    if !ours.is_empty() {
        tell(&site, op, &hostlist::compress(&ours));
    }
    if others.is_empty() {
        return ExitCode::SUCCESS;
    }
    // Without names of ours the list stays as Slurm wrote it.
    let rest = if ours.is_empty() { list } else { hostlist::compress(&others) };
    forward(&site, op, &rest, !ours.is_empty())
}

/// Tells the engine. It never fails: when the engine is gone nothing can be done from here, and an error would
/// only make Slurm log one more line.
fn tell(site: &Site, op: Op, nodes: &str) {
    let url = site.former.controller.clone().or_else(|| site.controller.clone());
    let Some(url) = url else {
        log(&format!(
            "Slurm asks to {} {nodes}, which are ours; the engine's address is not known",
            op.word()
        ));
        return;
    };
    let socket = site.former.munge_socket.clone().or_else(|| SlurmConf::here().munge_socket());
    let payload = serde_json::json!({"v": 1, "do": "power", "op": op.word(), "nodes": nodes}).to_string();
    let answer = wire::post(
        std::slice::from_ref(&url),
        "/v1/control",
        payload.as_bytes(),
        &Munge { socket },
        PATIENCE,
    );
    let trouble = match answer {
        Ok(reply) if reply.status == 200 => return,
        Ok(reply) => wire::error_text(&reply),
        Err(Lost::Munge(why)) => why,
        Err(Lost::Unreachable(tried)) => tried.into_iter().map(|(u, why)| format!("{u}: {why}")).collect(),
    };
    log(&format!(
        "Slurm asks to {} {nodes}, which are ours; the engine could not be told ({trouble}); nothing is started for \
         them",
        op.word()
    ));
}

/// Becomes the site's former program.
fn forward(site: &Site, op: Op, nodes: &str, filtered: bool) -> ExitCode {
    let former: Option<&PathBuf> = match op {
        Op::Resume => site.former.former_resume.as_ref(),
        Op::Suspend => site.former.former_suspend.as_ref(),
    };
    let Some(program) = former else {
        log(&format!(
            "Slurm asks to {} {nodes}, which no burst pool owns, and burst-power.conf names no former_{} program: \
             nothing was done for them",
            op.word(),
            op.word()
        ));
        return ExitCode::SUCCESS;
    };
    let mut command = Command::new(program);
    command.arg(nodes);
    if filtered {
        // The file lists our names too; a program that trusts it more than its argument would launch for them.
        command.env_remove("SLURM_RESUME_FILE");
    }
    let error = command.exec();
    log(&format!(
        "cannot run {} for {nodes}: {error}; put its path into former_{} of burst-power.conf",
        program.display(),
        op.word()
    ));
    ExitCode::FAILURE
}

/// To stderr and to syslog: slurmctld does not keep what its power programs print.
fn log(text: &str) {
    eprintln!("burst-power: {text}");
    if std::env::var_os("BURST_POWER_NO_SYSLOG").is_some() {
        return;
    }
    // 28 = daemon.warning (RFC 3164).
    let line = format!("<28>burst-power[{}]: {}", std::process::id(), text.replace('\n', " "));
    if let Ok(socket) = UnixDatagram::unbound() {
        // A full or absent /dev/log must not hold up the power thread.
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(line.as_bytes(), "/dev/log");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(args: &[&str]) -> Option<(Op, String)> {
        request(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn name_or_first_argument_says_what_is_wanted() {
        let n = || "a[1-2]".to_owned();
        assert_eq!(asked(&["/usr/sbin/burst-resume", "a[1-2]"]), Some((Op::Resume, n())));
        assert_eq!(asked(&["burst-suspend", "a[1-2]"]), Some((Op::Suspend, n())));
        assert_eq!(asked(&["burst-power", "resume", "a[1-2]"]), Some((Op::Resume, n())));
        assert_eq!(asked(&["./burst-power", "suspend", "a[1-2]"]), Some((Op::Suspend, n())));
    }

    #[test]
    fn anything_else_is_wrong_usage() {
        for args in [
            &["burst-power"][..],
            &["burst-power", "a1"],
            &["burst-power", "boot", "a1"],
            &["burst-resume"],
            &["burst-resume", "a1", "a2"],
            &["burst-power", "burst-resume", "a1"],
            &[],
        ] {
            assert_eq!(asked(args), None, "{args:?}");
        }
    }
}
