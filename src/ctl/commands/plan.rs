//! `burstctl plan JOBSCRIPT`: the decision of job_submit, made here and told, without any effect.

mod script;

use super::validate::{plan_error, prices, read_plan, word};
use crate::{
    cli::Common,
    cluster,
    out::{Answer, Fail, Table, printable},
    places::config,
    slurmconf::SlurmConf,
};
use burst_plan::{
    Annotations, Geometry, Options, Parsed, Request, Seconds, annotations, plan::parse, request::merge,
};
use burst_policy::{
    Admission, Config, Offers, TypeBook,
    admit::{Site, Verdict, admit, pool_for},
};
use clap::Args;
use script::Given;
use serde_json::json;
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

/// Options of `plan`: those of sbatch that decide about a launch.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// The script that would be given to sbatch
    #[arg(value_name = "JOBSCRIPT")]
    script: PathBuf,
    /// Execution plan (JSON)
    #[arg(long, value_name = "FILE", help_heading = "Options of slurm-burst")]
    burst_plan: Option<String>,
    /// Pool; without a name the partition's
    #[arg(long, value_name = "POOL", num_args = 0..=1, require_equals = true, default_missing_value = "", help_heading = "Options of slurm-burst")]
    burst: Option<String>,
    /// Instance types in order of preference
    #[arg(long, value_name = "LIST", help_heading = "Options of slurm-burst")]
    burst_types: Option<String>,
    /// on-demand, spot or mixed
    #[arg(long, value_name = "MARKET", help_heading = "Options of slurm-burst")]
    burst_market: Option<String>,
    /// required, preferred or off
    #[arg(long, value_name = "WISH", help_heading = "Options of slurm-burst")]
    burst_efa: Option<String>,
    /// The most the whole job may cost
    #[arg(long, value_name = "USD", help_heading = "Options of slurm-burst")]
    burst_max_cost: Option<String>,
    /// How long to wait for capacity
    #[arg(long, value_name = "TIME", help_heading = "Options of slurm-burst")]
    burst_wait: Option<String>,
    /// Without capacity: wait, local or cancel
    #[arg(long, value_name = "ACTION", help_heading = "Options of slurm-burst")]
    burst_else: Option<String>,
    /// Nodes, or least-most
    #[arg(short = 'N', long, value_name = "N", help_heading = "Options of sbatch")]
    nodes: Option<String>,
    /// Tasks
    #[arg(short = 'n', long, value_name = "N", help_heading = "Options of sbatch")]
    ntasks: Option<String>,
    /// CPUs (cores) of each task
    #[arg(short, long, value_name = "N", help_heading = "Options of sbatch")]
    cpus_per_task: Option<String>,
    /// Tasks on each node
    #[arg(long, value_name = "N", help_heading = "Options of sbatch")]
    ntasks_per_node: Option<String>,
    /// Memory of each node
    #[arg(long, value_name = "SIZE", help_heading = "Options of sbatch")]
    mem: Option<String>,
    /// Memory of each CPU
    #[arg(long, value_name = "SIZE", help_heading = "Options of sbatch")]
    mem_per_cpu: Option<String>,
    /// Time limit
    #[arg(short, long, value_name = "TIME", help_heading = "Options of sbatch")]
    time: Option<String>,
    /// Partition
    #[arg(short, long, value_name = "NAME", help_heading = "Options of sbatch")]
    partition: Option<String>,
    /// Generic resources of each node
    #[arg(long, value_name = "LIST", help_heading = "Options of sbatch")]
    gres: Option<String>,
    /// GPUs of each node
    #[arg(long, value_name = "N", help_heading = "Options of sbatch")]
    gpus_per_node: Option<String>,
    /// Node features
    #[arg(short = 'C', long, value_name = "LIST", help_heading = "Options of sbatch")]
    constraint: Option<String>,
    /// Whole nodes
    #[arg(long, help_heading = "Options of sbatch")]
    exclusive: bool,
    /// Array tasks
    #[arg(short, long, value_name = "LIST", help_heading = "Options of sbatch")]
    array: Option<String>,
    /// Account
    #[arg(short = 'A', long, value_name = "NAME", help_heading = "Options of sbatch")]
    account: Option<String>,
    /// Comment (asba:{…} describes the job)
    #[arg(long, value_name = "TEXT", help_heading = "Options of sbatch")]
    comment: Option<String>,
}

impl PlanArgs {
    /// The command line over the script's lines.
    fn over(&self, mut given: Given) -> Given {
        let pairs = [
            ("burst-plan", &self.burst_plan),
            ("burst", &self.burst),
            ("burst-types", &self.burst_types),
            ("burst-market", &self.burst_market),
            ("burst-efa", &self.burst_efa),
            ("burst-max-cost", &self.burst_max_cost),
            ("burst-wait", &self.burst_wait),
            ("burst-else", &self.burst_else),
            ("nodes", &self.nodes),
            ("ntasks", &self.ntasks),
            ("cpus-per-task", &self.cpus_per_task),
            ("ntasks-per-node", &self.ntasks_per_node),
            ("mem", &self.mem),
            ("mem-per-cpu", &self.mem_per_cpu),
            ("time", &self.time),
            ("partition", &self.partition),
            ("gres", &self.gres),
            ("gpus-per-node", &self.gpus_per_node),
            ("constraint", &self.constraint),
            ("array", &self.array),
            ("account", &self.account),
            ("comment", &self.comment),
        ];
        for (key, value) in pairs {
            given.extend(value.clone().map(|v| (key.to_owned(), v)));
        }
        if self.exclusive {
            given.insert("exclusive".into(), String::new());
        }
        given
    }
}

/// Everything the decision is made of.
struct Job {
    request: Request,
    geometry: Geometry,
    has_option: bool,
    notes: Vec<String>,
}

/// Reads, decides, tells.
pub fn run(common: &Common, args: &PlanArgs) -> Result<Answer, Fail> {
    let config = config(common)?;
    let prices = prices(&config).map_err(Fail::problem)?;
    let slurm = SlurmConf::here();
    let mut job = job(&config, args, &slurm)?;
    let types = TypeBook::builtin();
    let offers = Offers::of(&config, &types, &prices);
    let site = Site { config: &config, types: &types, offers: &offers, kill_margin: kill_margin(&slurm) };
    let pool = match pool_for(&config, &job.request, job.has_option, &job.geometry.partition) {
        Ok(Some(pool)) => pool,
        Ok(None) => {
            let partition = named(&job.geometry.partition);
            let text = format!(
                "Nothing would be launched: {partition} is no burst pool's, and no burst option is given.\n"
            );
            return Ok(Answer::ok(text, json!({"verdict": "not-ours", "notices": job.notes})));
        }
        Err(refusal) => return Ok(refused(&refusal.0, &job.notes)),
    };
    // As job_submit does: a pool named by option takes the job to its partition.
    let asked = std::mem::replace(&mut job.geometry.partition, pool.partition.clone());
    if asked != pool.partition {
        job.notes
            .push(format!("the job goes to partition {}, which is pool {}'s", pool.partition, pool.name));
    }
    if job.geometry.time_limit.is_none() && !job.geometry.unlimited {
        default_time(&mut job.geometry, &slurm);
    }
    match admit(site, pool, &job.request, &job.geometry) {
        Verdict::Launch(admission) => Ok(launch(&admission, &job, &prices.source)),
        Verdict::Local(notices) => {
            let notices: Vec<String> = job.notes.into_iter().chain(notices).collect();
            let mut text = format!("Nothing would be launched: the job runs in {}.\n", named(&asked));
            list(&mut text, &notices);
            Ok(Answer::ok(text, json!({"verdict": "local", "notices": notices})))
        }
        Verdict::Refuse(refusal) => Ok(refused(&refusal.0, &job.notes)),
    }
}

fn named(partition: &str) -> String {
    if partition.is_empty() { "the default partition".into() } else { format!("partition {partition}") }
}

fn refused(why: &str, notes: &[String]) -> Answer {
    let mut text = format!("sbatch would refuse this job: {}\n", printable(why));
    list(&mut text, notes);
    Answer { code: 1, text, json: json!({"verdict": "refused", "why": why, "notices": notes}) }
}

fn list(text: &mut String, notices: &[String]) {
    for n in notices {
        let _ = writeln!(text, "note: {}", printable(n));
    }
}

fn job(config: &Config, args: &PlanArgs, slurm: &SlurmConf) -> Result<Job, Fail> {
    let shown = args.script.display();
    let bytes = std::fs::read(&args.script)
        .map_err(|e| Fail::problem(format!("{shown}: {e}; name a readable job script")))?;
    let script = String::from_utf8_lossy(&bytes);
    let given = args.over(script::sbatch_lines(&script));
    let mut geometry = script::geometry(&given).map_err(Fail::usage)?;
    if geometry.partition.is_empty() {
        geometry.partition = cluster::default_partition(slurm).unwrap_or_default().to_owned();
    }
    let mut notes = Vec::new();
    let mut options = Options::default();
    let mut has_option = given.contains_key("burst-plan");
    for (key, value) in given.iter().filter(|(k, _)| k.starts_with("burst") && *k != "burst-plan") {
        options.set(key, Some(value.as_str())).map_err(Fail::usage)?;
        has_option = true;
    }
    let plan = given.get("burst-plan").map(|f| read(Path::new(f), config)).transpose()?;
    let (described, told) = annotations_of(&bytes, &given);
    notes.extend(told);
    if let Some(p) = &plan {
        notes.extend(p.warnings.iter().map(|w| format!("plan: {}: {}", w.path, w.text)));
    }
    let (request, warnings) = merge(&options, plan.as_ref().map(|p| &p.plan), &described);
    notes.extend(warnings.into_iter().map(|w| w.text));
    Ok(Job { request, geometry, has_option, notes })
}

fn read(file: &Path, config: &Config) -> Result<Parsed, Fail> {
    let limit = config.limits.plan_bytes;
    let name = file.display().to_string();
    parse(&read_plan(file, limit)?, limit).map_err(|errors| {
        let lines: Vec<String> = errors.0.iter().map(|e| plan_error(&name, e)).collect();
        Fail::problem(lines.join("\n"))
    })
}

/// What a job gets that asks for no time limit: the partition's DefaultTime, else its MaxTime.
fn default_time(geometry: &mut Geometry, slurm: &SlurmConf) {
    let of = |key| cluster::of_partition(slurm, &geometry.partition, key).and_then(script::slurm_time);
    match of("DefaultTime").or_else(|| of("MaxTime")) {
        Some(Some(limit)) => geometry.time_limit = Some(limit),
        // Slurm's own default is no limit; where slurm.conf cannot be read here, nothing better is known.
        Some(None) | None => geometry.unlimited = true,
    }
}

/// KillWait + OverTimeLimit, as Slurm has them where slurm.conf does not say.
fn kill_margin(slurm: &SlurmConf) -> Seconds {
    let kill_wait: u64 = slurm.get("KillWait").and_then(|v| v.parse().ok()).unwrap_or(30);
    let over: u64 = slurm.get("OverTimeLimit").and_then(|v| v.parse().ok()).unwrap_or(0);
    Seconds(over.saturating_mul(60).saturating_add(kill_wait))
}

fn launch(a: &Admission, job: &Job, source: &str) -> Answer {
    let mut text = format!(
        "Pool {}: all of a row's nodes or none, in this order until one row is granted whole.\n\n",
        a.pool
    );
    let mut table =
        Table::new(&["TRY", "TYPE", "NODES", "MARKET", "ZONE", "EFA", "USD/NODE-HOUR", "USD/HOUR"]);
    for (i, r) in a.ladder.iter().enumerate() {
        let all = r.hourly.map(|h| burst_plan::MicroUsd(h.0.saturating_mul(u64::from(r.nodes))));
        let usd = |m: Option<burst_plan::MicroUsd>| m.map_or_else(|| "unknown".to_owned(), |m| m.to_string());
        table.row(vec![
            (i + 1).to_string(),
            r.instance_type.clone(),
            r.nodes.to_string(),
            word(&r.market),
            match &r.reservation {
                Some(of) => format!("{} ({})", r.zone, of.id),
                None => r.zone.clone(),
            },
            if r.efa == 0 { "no".into() } else { r.efa.to_string() },
            usd(r.hourly),
            usd(all),
        ]);
    }
    text.push_str(&table.render(0));
    text.push('\n');
    match a.worst_cost {
        Some(most) => {
            let _ = writeln!(
                text,
                "At most {most} USD: the dearest row, for the whole time limit, boot and epilog, all paid attempts."
            );
        }
        None => text.push_str(
            "What it can cost is not known: the price file ([prices] file) has no price for a type above.\n",
        ),
    }
    if !source.is_empty() {
        let _ = writeln!(text, "Prices: {}", printable(source));
    }
    if job.geometry.array.is_some() {
        text.push_str("An array: each task is a gang of its own, and costs this much.\n");
    }
    let wait = a.wait.map_or_else(|| "for as long as it takes".to_owned(), |w| format!("at most {} s", w.0));
    let _ = match a.otherwise {
        burst_plan::Else::Wait => {
            writeln!(text, "Without capacity: the job stays held and is tried again, {wait}.")
        }
        burst_plan::Else::Local => {
            writeln!(text, "Without capacity: the job goes to the pool's local partition.")
        }
        burst_plan::Else::Cancel => writeln!(text, "Without capacity: the job is cancelled."),
    };
    let notices: Vec<String> = job.notes.iter().chain(&a.notices).cloned().collect();
    list(&mut text, &notices);
    text.push_str("Nothing was launched.\n");
    let json = json!({"verdict": "launch", "admission": a, "notices": notices, "request": job.request, "geometry": job.geometry});
    Answer::ok(text, json)
}

/// What describes the job beside options and plan, in job_submit's order.
fn annotations_of(script: &[u8], given: &Given) -> (Annotations, Vec<String>) {
    let mut all = Annotations::default();
    let mut told = Vec::new();
    let mut add = |(notes, warnings): annotations::Read| {
        all = std::mem::take(&mut all).merge(notes);
        told.extend(warnings.into_iter().map(|w| format!("{}: {}", w.path, w.text)));
    };
    add(annotations::from_script(script));
    if let Some(comment) = given.get("comment") {
        add(annotations::from_comment(comment));
    }
    let env: Vec<String> = std::env::vars_os()
        .filter_map(|(k, v)| Some(format!("{}={}", k.to_str()?, v.to_str()?)))
        .filter(|e| e.starts_with("ASBA_"))
        .collect();
    add(annotations::from_env(env.iter().map(String::as_str)));
    if let Some(features) = given.get("constraint") {
        let (notes, _, warnings) = annotations::from_features(features);
        add((notes, warnings));
    }
    (all, told)
}
