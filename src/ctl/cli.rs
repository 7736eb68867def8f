//! The command line: what can be said, and where it goes.

use crate::{commands, out::Answer, out::Fail};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, process::ExitCode};

/// Looks after the cloud gangs of slurm-burst.
///
/// slurm-burst is a part of slurmctld that wins all EC2 instances of a job before the job is scheduled. burstctl shows
/// what it is doing and why, tells beforehand what a job would launch and cost, writes the lines slurm.conf needs, and
/// ends, stops and retries gangs.
#[derive(Debug, Parser)]
#[command(name = "burstctl", version, max_term_width = 110, after_help = EXITS, after_long_help = LONG_AFTER)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Cmd,
}

const EXITS: &str = "Exit codes: 0 all is well, 1 a problem was found or something failed, 2 wrong usage.";

const LONG_AFTER: &str = "\
Exit codes:
  0  all is well, or done
  1  a problem was found (a job that would be refused, errors in a file, instances left)
     or something failed (controller out of reach)
  2  wrong usage

With --json the answer is one JSON value on stdout; an error is {\"error\": \"…\"} there, with the \
same exit code.

Who may do what: status, explain, history, export and report show your own jobs; root, SlurmUser and the operators of burst.toml \
see every job and may use all other commands. stop-everything asks EC2 alone: it needs AWS credentials and neither \
slurmctld nor munge.";

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
pub struct Common {
    /// burst.toml [default: /etc/slurm/burst.toml]
    ///
    /// What asks the controller (status, explain, terminate, pause …) works without it: it finds the controller in slurm.conf, or by --controller.
    #[arg(long, global = true, value_name = "FILE", env = "SLURM_BURST_CONF", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Where slurm-burst's controller listens, e.g. http://10.0.0.5:6826
    ///
    /// Default: `advertise` or `listen` of burst.toml, else the SlurmctldHost lines of slurm.conf with port 6826.
    #[arg(long, global = true, value_name = "URL", env = "BURST_CONTROLLER", hide_env_values = true)]
    pub controller: Option<String>,
    /// munged's socket, where it is not munge's default
    ///
    /// Default: `AuthInfo=socket=…` of slurm.conf, else munge's own.
    #[arg(long, global = true, value_name = "PATH", env = "MUNGE_SOCKET", hide_env_values = true)]
    pub munge_socket: Option<PathBuf>,
    /// Print JSON for programs instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Cmd {
    /// Show the pools and the gangs under way
    Status,
    /// Explain what is happening to a job, and why
    ///
    /// Says what is being tried for the job, why the last try failed (with EC2's request id, for AWS support), when the
    /// next try is, which instance is which node, and what has happened so far.
    Explain {
        /// Job id, or JOBID_TASK for one task of an array
        #[arg(value_name = "JOB", value_parser = job_id)]
        job: String,
    },
    /// Tell what a job script would launch and the most it can cost; nothing is done
    ///
    /// Options are read from the #SBATCH lines of the script and from the command line, which wins, as with sbatch.
    Plan(Box<commands::plan::PlanArgs>),
    /// List jobs that are over: how they ended, how long each step took, and what they cost
    History(commands::history::HistoryArgs),
    /// Write what jobs really did and cost, for the advisor, the budget service, or a table
    ///
    /// Names the jobs by JOB, or all that are over by --since and the like. Formats: asba (the advisor's learning record,
    /// a file job-ID-performance.json each), comment (the line for a job's comment), asbb (the record for the budget
    /// service), csv (one table). With --anonymize users, accounts, jobs, partitions, nodes and instances are replaced by a keyed
    /// hash: the same name gives the same word at this site, and without the key nobody can tell whose it is.
    Export(commands::export::ExportArgs),
    /// Write a page about jobs that are over: timeline, steps, cost, predictions, network
    ///
    /// The page is one file that needs nothing but a browser: no script, nothing from the network. It shows your own
    /// jobs; operators see all.
    Report(commands::report::ReportArgs),
    /// Look after the price file
    Prices {
        #[command(subcommand)]
        what: Prices,
    },
    /// Check a plan or the configuration; all errors at once
    Validate {
        #[command(subcommand)]
        what: Validate,
    },
    /// Print the lines that slurm.conf, gres.conf and plugstack.conf need for the pools
    ///
    /// Write the output to files of their own and include them: burstctl slurm-conf --part slurm >
    /// /etc/slurm/burst-nodes.conf, then `Include burst-nodes.conf` as the last line of slurm.conf. Each power-saving
    /// line says why it is needed.
    SlurmConf(commands::slurm_conf::SlurmConfArgs),
    /// End a gang: its job is held, its instances are terminated
    Terminate {
        /// Gang, as `burstctl status` and the job's AdminComment show it (16 hex digits, _TASK for an array's task)
        #[arg(value_name = "GANG", value_parser = gang_id)]
        gang: String,
    },
    /// Launch nothing new in a pool, or in any; what has instances goes on
    ///
    /// Jobs are still taken; they wait and say who paused the pool and since when. A gang that has instances is brought
    /// to its end, replacements of failed nodes included. Holds across restarts, until `burstctl resume`.
    Pause(PoolArg),
    /// Let a pool, or all pools, launch again
    ///
    /// Without POOL every stop is lifted. A pool that is also stopped with all others stays stopped, and that is said.
    Resume(PoolArg),
    /// Run a pool, or all pools, empty: nothing at all is launched, running gangs go on
    ///
    /// As pause, and a booting gang that loses a node is given back instead of repaired. Requeued jobs wait. status shows
    /// `draining`, and `drained` when no gang of the pool has instances any more.
    Drain(PoolArg),
    /// Try a job's gang again at once: one that failed, or that waits before the next try
    ///
    /// Its paid attempts are forgiven, by your word: that it was you stands in the gang's history.
    Retry {
        /// Job id, or JOBID_TASK for one task of an array
        #[arg(value_name = "JOB", value_parser = job_id)]
        job: String,
    },
    /// Say that the state directory belongs to this controller, or that the cluster's UUID is another
    ///
    /// A controller that finds the state directory of another machine launches and ends nothing: it may be a copy, and
    /// the original's instances must not be ended. Without UUID: it is no copy (any more). With UUID: that of a cluster
    /// whose state directory was lost, as the tag slurm-burst:cluster of its instances shows it.
    Adopt {
        /// The cluster's UUID, where it was lost
        #[arg(value_name = "UUID")]
        uuid: Option<String>,
    },
    /// List what collection has ended, and why: instances of no living gang, unused placement groups
    Audit {
        /// How many, the newest first
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        last: u32,
    },
    /// Show what slurmctld has warned of (a limit on spending that comes near, instances that no gang explains), or tell a program
    Alerts(commands::alerts::AlertsArgs),
    /// End EVERY instance of this cluster, through EC2 alone
    ///
    /// Finds the instances by the cluster's UUID in their tags, shows them, asks, terminates them and waits until
    /// they are gone. Works with slurmctld down, and is meant for that: a running slurmctld launches again for the
    /// jobs it has, so it is named in a warning.
    StopEverything(commands::stop::StopArgs),
    /// Show how long the plugin held slurmctld up lately, per submitted job
    Timings,
    /// Print completions for a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff); see it with: burstctl man | man -l -
    Man,
}

/// Which pool.
#[derive(Debug, Args)]
pub struct PoolArg {
    /// The pool [default: all pools]
    #[arg(value_name = "POOL")]
    pub pool: Option<String>,
}

/// What to check.
#[derive(Debug, Subcommand)]
pub enum Validate {
    /// Check an execution plan (JSON of either dialect)
    Plan {
        /// The plan; - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Check as this pool would if its plan_types were "strict": the plan's types must be ones that it has
        #[arg(long, value_name = "POOL")]
        strict_pool: Option<String>,
    },
    /// Check burst.toml and the price file it names
    Config {
        /// The file [default: as --config]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// What to do with prices.
#[derive(Debug, Subcommand)]
pub enum Prices {
    /// Take prices from a file into the one that `[prices] file` names
    ///
    /// Reads AWS's price list (the JSON of a Region from the Price List Bulk API, or the output of `aws pricing
    /// get-products`), our own JSON, or lines `region,type,market,usd_per_hour` (CSV; `REGION,ebs_gib_month,,USD` prices
    /// volumes). Prices that the file says nothing about stay, unless --replace. slurmctld reads prices when it starts.
    Import(commands::prices::ImportArgs),
}

/// Which file's lines to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// slurm.conf
    Slurm,
    /// gres.conf
    Gres,
    /// plugstack.conf
    Plugstack,
    /// All, each under a heading
    All,
}

pub fn job_id(text: &str) -> Result<String, String> {
    let number = |t: &str| t.parse::<u32>().is_ok_and(|n| n.to_string() == t);
    let good = match text.split_once('_') {
        Some((job, task)) => number(job) && number(task),
        None => number(text),
    };
    if good && text != "0" {
        Ok(text.to_owned())
    } else {
        Err("a job id is needed, such as 1234 or 1234_5".into())
    }
}

fn gang_id(text: &str) -> Result<String, String> {
    let (gang, task) = text.split_once('_').unwrap_or((text, "0"));
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if gang.len() == 16 && gang.chars().all(hex) && task.parse::<u32>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("a gang is 16 hex digits (and _TASK for a task of an array); burstctl status lists them".into())
    }
}

/// Parses, runs, prints, and says how it ended.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) if e.use_stderr() && std::env::args_os().any(|a| a == "--json") => {
            let text = e.render().to_string();
            let text = text.trim().strip_prefix("error: ").unwrap_or(text.trim());
            print_all(&format!("{:#}\n", serde_json::json!({ "error": text })));
            return ExitCode::from(2);
        }
        Err(e) => e.exit(),
    };
    let json = cli.common.json;
    match dispatch(&cli) {
        Ok(answer) => {
            let text = if json { format!("{:#}\n", answer.json) } else { answer.text };
            print_all(&text);
            ExitCode::from(answer.code)
        }
        Err(Fail { code, text }) => {
            if json {
                print_all(&format!("{:#}\n", serde_json::json!({ "error": text })));
            } else {
                eprintln!("burstctl: {text}");
            }
            ExitCode::from(code)
        }
    }
}

/// A reader that went away (`burstctl status | head -1`) is no error.
fn print_all(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn dispatch(cli: &Cli) -> Result<Answer, Fail> {
    let common = &cli.common;
    match &cli.command {
        Cmd::Status => commands::status::run(common),
        Cmd::Explain { job } => commands::explain::run(common, job),
        Cmd::Plan(args) => commands::plan::run(common, args),
        Cmd::History(args) => commands::history::run(common, args),
        Cmd::Export(args) => commands::export::run(common, args),
        Cmd::Report(args) => commands::report::run(common, args),
        Cmd::Prices { what: Prices::Import(args) } => commands::prices::import(common, args),
        Cmd::Validate { what: Validate::Plan { file, strict_pool } } => {
            commands::validate::plan(common, file, strict_pool.as_deref())
        }
        Cmd::Validate { what: Validate::Config { file } } => {
            commands::validate::config(common, file.as_deref())
        }
        Cmd::SlurmConf(args) => commands::slurm_conf::run(common, args),
        Cmd::Terminate { gang } => commands::terminate::run(common, gang),
        Cmd::Pause(p) => commands::operate::run(common, "pause", "pool", p.pool.as_deref()),
        Cmd::Resume(p) => commands::operate::run(common, "resume", "pool", p.pool.as_deref()),
        Cmd::Drain(p) => commands::operate::run(common, "drain", "pool", p.pool.as_deref()),
        Cmd::Retry { job } => commands::operate::run(common, "retry", "job", Some(job)),
        Cmd::Adopt { uuid } => commands::operate::run(common, "adopt", "uuid", uuid.as_deref()),
        Cmd::Audit { last } => commands::operate::audit(common, *last),
        Cmd::Alerts(args) => commands::alerts::run(common, args),
        Cmd::Timings => commands::timings::run(common),
        Cmd::StopEverything(args) => commands::stop::run(common, args),
        Cmd::Completions { shell } => {
            let mut bytes = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "burstctl", &mut bytes);
            text_answer("completions", bytes)
        }
        Cmd::Man => text_answer("man", commands::man::page()),
    }
}

fn text_answer(key: &str, bytes: Vec<u8>) -> Result<Answer, Fail> {
    let text = String::from_utf8(bytes).map_err(|e| Fail::problem(e.to_string()))?;
    let json = serde_json::json!({ key: text });
    Ok(Answer::ok(text, json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ids_are_checked_before_anybody_is_asked() {
        for good in ["1", "12_3", "4294967295"] {
            assert_eq!(job_id(good).as_deref(), Ok(good));
        }
        for bad in ["", "0", "x", "12_", "12_[1-3]", "12+1", "-1", "+1", "4294967296", "012"] {
            assert!(job_id(bad).is_err(), "{bad}");
        }
        assert!(gang_id("0123456789abcdef").is_ok());
        assert!(gang_id("0123456789abcdef_7").is_ok());
        for bad in ["", "0123456789ABCDEF", "0123456789abcde", "0123456789abcdef_", "0123456789abcdef_x"] {
            assert!(gang_id(bad).is_err(), "{bad}");
        }
    }
}
