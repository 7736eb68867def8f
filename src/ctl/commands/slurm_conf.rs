//! `burstctl slurm-conf`: what Slurm has to know of the pools.

use crate::{
    cli::{Common, Part},
    out::{Answer, Fail},
    places::config,
    slurmconf::SlurmConf,
};
use burst_policy::{
    Config,
    config::{Block, Pool},
};
use clap::Args;
use serde_json::json;
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

/// A year: Slurm wants a finite SuspendTime, slurm-burst wants it never to be reached.
const NEVER: u64 = 31_536_000;

/// Room between a pool's boot limit and Slurm's, so that the engine is back before Slurm calls a name DOWN that nothing backs.
const BOOT_ROOM: u64 = 60;

/// Options of `slurm-conf`.
#[derive(Debug, Clone, Args)]
pub struct SlurmConfArgs {
    /// Which file's lines
    #[arg(long, value_enum, default_value_t = Part::All)]
    part: Part,
    /// Directory of job_submit_burst.so and the spank_burst*.so, where it is not Slurm's own plugin directory
    #[arg(long, value_name = "DIR")]
    plugin_dir: Option<PathBuf>,
    /// Where burst-power is installed; its links burst-resume and burst-suspend are beside it
    #[arg(long, value_name = "PATH", default_value = "/usr/sbin/burst-power")]
    burst_power: PathBuf,
    /// ResumeProgram of the cluster until now [default: slurm.conf's]: it gets every node that is not slurm-burst's
    #[arg(long, value_name = "PATH")]
    old_resume: Option<PathBuf>,
    /// SuspendProgram of the cluster until now [default: slurm.conf's]
    #[arg(long, value_name = "PATH")]
    old_suspend: Option<PathBuf>,
    /// Seconds until a name that was powered down can be used again
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    suspend_timeout: u16,
    /// Measure jobs on every node that has the plugin, not only on the pools' (its line in plugstack.conf)
    #[arg(long)]
    capture_all: bool,
}

/// Reads the configuration and prints.
pub fn run(common: &Common, args: &SlurmConfArgs) -> Result<Answer, Fail> {
    let config = config(common)?;
    for path in
        [Some(&args.burst_power), args.old_resume.as_ref(), args.old_suspend.as_ref()].into_iter().flatten()
    {
        if !path.is_absolute() {
            return Err(Fail::usage(format!(
                "{}: Slurm takes absolute paths only; write it from / on",
                path.display()
            )));
        }
    }
    let site = SlurmConf::here();
    let args = &with_former(args, &site);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let parts = [
        (Part::Slurm, "slurm.conf", slurm(&config, args, &site, host.trim())),
        (Part::Gres, "gres.conf", gres(&config)),
        (Part::Plugstack, "plugstack.conf", plugstack(&config, args)),
    ];
    let mut text = String::new();
    let mut json = serde_json::Map::new();
    for (part, file, lines) in parts {
        json.insert(file.into(), json!(lines));
        if args.part == part {
            text.clone_from(&lines);
        } else if args.part == Part::All {
            let _ = write!(text, "#### {file}\n{lines}\n");
        }
    }
    if let Some(lines) = former(args) {
        if args.part == Part::All {
            let _ = write!(text, "#### burst-power.conf (beside burst.toml)\n{lines}\n");
        }
        json.insert("burst-power.conf".into(), json!(lines));
    }
    Ok(Answer::ok(text, json.into()))
}

/// The site's own programs, where they are not ours already.
fn with_former(args: &SlurmConfArgs, site: &SlurmConf) -> SlurmConfArgs {
    let of = |key, ours| {
        let path = site.get(key).map(PathBuf::from);
        path.filter(|p| p.is_absolute() && p.file_name() != Some(std::ffi::OsStr::new(ours)))
    };
    let mut args = args.clone();
    args.old_resume = args.old_resume.or_else(|| of("ResumeProgram", "burst-resume"));
    args.old_suspend = args.old_suspend.or_else(|| of("SuspendProgram", "burst-suspend"));
    args
}

/// The site's list of a key with ours added: where a key stands twice, Slurm takes the later line only.
fn added(site: &SlurmConf, key: &str, ours: &[&str]) -> String {
    let mut words: Vec<&str> =
        site.get(key).into_iter().flat_map(|v| v.split(',')).filter(|w| !w.is_empty()).collect();
    for word in ours {
        if !words.iter().any(|w| w.eq_ignore_ascii_case(word)) {
            words.push(word);
        }
    }
    format!("{key}={}", words.join(","))
}

fn slurm(config: &Config, args: &SlurmConfArgs, site: &SlurmConf, host: &str) -> String {
    let mut t = String::from(
        "# Written by `burstctl slurm-conf`; write it again after a change of burst.toml. Include it as the last line of\n\
         # slurm.conf: where a key stands twice, Slurm takes the later one. Lists hold what this machine's slurm.conf had.\n\n",
    );
    let mut rule = |why: &str, line: String| {
        for part in why.lines() {
            let _ = writeln!(t, "# {part}");
        }
        let _ = writeln!(t, "{line}\n");
    };
    let plugins = match &args.plugin_dir {
        Some(dir) => format!(
            "\nSlurm looks for it in its PluginDir. Where that is not {0}: PluginDir=<Slurm's own>:{0}",
            dir.display()
        ),
        None => String::new(),
    };
    rule(&format!("The plugin in slurmctld.{plugins}"), added(site, "JobSubmitPlugins", &["burst"]));
    let bin = args.burst_power.parent().unwrap_or(Path::new("/"));
    let (resume, suspend) = (bin.join("burst-resume"), bin.join("burst-suspend"));
    rule(
        &format!(
            "Slurm refuses to power nodes up or down without both programs (absolute, executable, not writable by group or\n\
             others). burst-power starts nothing for nodes of slurm-burst and hands all others to the programs named in\n\
             burst-power.conf. Slurm passes no other argument than the nodes, so it is called by two names:\n\
             ln -s burst-power {0}; ln -s burst-power {1}",
            resume.display(),
            suspend.display()
        ),
        format!("ResumeProgram={}\nSuspendProgram={}", resume.display(), suspend.display()),
    );
    rule(
        "0 = no limit. With a rate, the names of large gangs would come back only after minutes.",
        "SuspendRate=0".into(),
    );
    let boot = config.pools.values().map(|p| p.boot_limit.0).max().unwrap_or(0);
    rule(
        &format!(
            "Seconds after which a name is DOWN that Slurm itself wanted up and that has not registered. Gangs' nodes are not powered\n\
             up by Slurm; where it tries (a requeue while the engine is away), the engine has longer than a boot ({boot} s) to stop it."
        ),
        format!("ResumeTimeout={}", boot + BOOT_ROOM),
    );
    rule(
        "Seconds from POWER_DOWN until the name can be used again.",
        format!("SuspendTimeout={}", args.suspend_timeout),
    );
    let never = "Slurm's power saving is off, and POWER_DOWN refused, unless SuspendTime is finite";
    match site.get("SuspendTime").and_then(|v| v.parse::<u64>().ok()).filter(|s| *s != NEVER) {
        Some(s) => rule(&format!("{never};\nthis is the site's own."), format!("SuspendTime={s}")),
        None => rule(
            &format!("{never};\na year means: Slurm itself suspends no idle node."),
            format!("SuspendTime={NEVER}"),
        ),
    }
    let partitions: Vec<&str> = config.pools.values().map(|p| p.partition.as_str()).collect();
    rule(
        "Slurm must never suspend a gang's idle node by itself: between boot and start all of them are idle.",
        added(site, "SuspendExcParts", &partitions),
    );
    rule(
        "Without `cloud`, sinfo and scontrol hide nodes that are powered down; it makes nothing private.",
        added(site, "PrivateData", &["cloud"]),
    );
    rule(
        "A name that comes back on a new instance is up again as soon as it registers.",
        "ReturnToService=2".into(),
    );
    let blocks = || config.pools.values().flat_map(|p| &p.blocks);
    if blocks().any(|b| b.node_addr.is_none()) {
        rule(
            "slurmctld and srun talk to every node themselves: nodes cannot pass messages on to names whose addresses they do\n\
             not know.",
            "TreeWidth=65533".into(),
        );
    }
    if blocks().any(|b| b.node_addr.is_some()) {
        rule(
            "A trial: nodes on one machine claim more than it has.",
            added(site, "SlurmdParameters", &["config_overrides"]),
        );
    }
    if blocks().any(|b| b.gpus > 0) {
        rule("The blocks with GPUs below say Gres=gpu.", added(site, "GresTypes", &["gpu"]));
    }
    rule(
        "Options of sbatch, salloc and srun. This is where Slurm looks unless the site says otherwise (beside slurm.conf);\n\
         the line for that file: burstctl slurm-conf --part plugstack",
        "#PlugStackConfig=plugstack.conf".into(),
    );
    for pool in config.pools.values() {
        pool_lines(&mut t, pool, host);
    }
    t
}

fn pool_lines(t: &mut String, pool: &Pool, host: &str) {
    let _ = writeln!(
        t,
        "# Pool {}. CPUs are cores, RealMemory is what the operating system leaves of the type's memory.",
        pool.name
    );
    for block in &pool.blocks {
        let _ = writeln!(t, "{}", node_line(pool, block, host));
    }
    let names: Vec<&str> = pool.blocks.iter().map(|b| b.nodes.as_str()).collect();
    let set = format!("burst_{}", pool.name);
    let _ = writeln!(t, "NodeSet={set} Nodes={}", names.join(","));
    let _ = writeln!(
        t,
        "# The site's to add: MaxTime=, DefaultTime=, AllowAccounts= and so on. A job without any time limit is refused,\n\
         # because nobody could say what it costs; DefaultTime spares users that.\n\
         PartitionName={} Nodes={set} State=UP\n",
        pool.partition
    );
}

fn node_line(pool: &Pool, block: &Block, host: &str) -> String {
    let mut line = format!("NodeName={} CPUs={} RealMemory={}", block.nodes, block.cpus, block.memory_mib);
    if block.gpus > 0 {
        let _ = write!(line, " Gres=gpu:{}", block.gpus);
    }
    let _ = write!(line, " Feature={}", features(pool, block).join(","));
    if let Some(address) = &block.node_addr {
        let _ = write!(line, " NodeAddr={address}");
        if !host.is_empty() {
            let _ = write!(line, " NodeHostname={host}");
        }
    }
    if let Some(ports) = &block.ports {
        let ports = if ports.starts_with('[') { ports.clone() } else { format!("[{ports}]") };
        let _ = write!(line, " Port={ports}");
    }
    line + " State=CLOUD"
}

/// The type, and the words a plan's constraints may use (`sbatch -C efa`): Slurm refuses a job whose constraint no node
/// has.
fn features(pool: &Pool, block: &Block) -> Vec<String> {
    let mut words = vec![block.instance_type.as_str()];
    if block.efa_max > 0 && pool.efa != burst_plan::Efa::Off {
        words.extend(["efa", "efa-required"]);
    }
    words.extend(["efa-preferred", "no-efa", "efa-disabled"]);
    words.into_iter().map(str::to_owned).collect()
}

fn gres(config: &Config) -> String {
    let mut t = String::from("# Written by `burstctl slurm-conf`; include it in gres.conf.\n");
    let before = t.len();
    for block in config.pools.values().flat_map(|p| &p.blocks).filter(|b| b.gpus > 0) {
        // On one machine of a trial there are no such devices, and slurmd would look for them.
        let what = if block.node_addr.is_some() || block.gpus == 0 {
            format!("Count={}", block.gpus)
        } else if block.gpus == 1 {
            "File=/dev/nvidia0".into()
        } else {
            format!("File=/dev/nvidia[0-{}]", block.gpus - 1)
        };
        let _ = writeln!(t, "NodeName={} Name=gpu {what}", block.nodes);
    }
    if t.len() == before {
        t.push_str("# No pool has GPUs: nothing is needed here.\n");
    }
    t
}

fn plugstack(config: &Config, args: &SlurmConfArgs) -> String {
    let so = |name: &str| match &args.plugin_dir {
        Some(dir) => dir.join(name).display().to_string(),
        None => name.to_owned(),
    };
    let mut urls = config.cluster.advertise.clone();
    if urls.is_empty() {
        urls.push(format!("http://{}", config.cluster.listen));
    }
    // Pools' nodes are told by burst-node.
    let all = match args.capture_all {
        true => format!(" capture=all controllers={}", urls.join(",")),
        false => String::new(),
    };
    format!(
        "# On login and compute nodes. `optional`: where the file is missing, sbatch works on without the options.\n\
         optional {}\n\
         # On compute nodes: what each job did there. Without it nothing else changes.\n\
         optional {}{all}\n",
        so("spank_burst.so"),
        so("spank_burst_node.so")
    )
}

fn former(args: &SlurmConfArgs) -> Option<String> {
    let lines: Vec<String> = [("former_resume", &args.old_resume), ("former_suspend", &args.old_suspend)]
        .iter()
        .filter_map(|(key, path)| path.as_ref().map(|p| format!("{key} = {:?}", p.display().to_string())))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_what_the_site_has() {
        let site = SlurmConf::parse("JobSubmitPlugins=lua,require_timelimit\nPrivateData=jobs,cloud\n");
        assert_eq!(
            added(&site, "JobSubmitPlugins", &["burst"]),
            "JobSubmitPlugins=lua,require_timelimit,burst"
        );
        assert_eq!(added(&site, "PrivateData", &["cloud"]), "PrivateData=jobs,cloud");
        assert_eq!(added(&site, "GresTypes", &["gpu"]), "GresTypes=gpu");
    }
}
