//! `burstctl stop-everything`: the cluster's instances, found and ended through EC2 alone.

use crate::{
    cli::Common,
    out::{Answer, Fail, Table, now, relative},
    places::config,
    slurmconf::SlurmConf,
};
use burst_aws::{Ec2, Settings};
use burst_cloud::{Cloud, CloudError, Instance};
use burst_policy::Config;
use clap::Args;
use serde_json::json;
use std::{
    io::{BufRead, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

/// Between two looks at EC2.
const LOOK: Duration = Duration::from_secs(2);

/// Options of `stop-everything`.
#[derive(Debug, Clone, Args)]
pub struct StopArgs {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// The cluster's UUID, as it stands in the tag slurm-burst:cluster of its instances
    ///
    /// Default: the file `uuid` in state_dir of burst.toml (StateSaveLocation/burst of slurm.conf).
    #[arg(long, value_name = "UUID")]
    cluster_uuid: Option<String>,
    /// Region, where there is no burst.toml to say it
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Only show the instances
    #[arg(long)]
    list: bool,
    /// Seconds to wait for the end of the instances
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    wait: u64,
}

/// Finds, shows, asks, ends, waits.
pub fn run(common: &Common, args: &StopArgs) -> Result<Answer, Fail> {
    // burst.toml may be what is broken; UUID and region are enough.
    let config = match config(common) {
        Ok(config) => Some(config),
        Err(_) if args.cluster_uuid.is_some() && args.region.is_some() => None,
        Err(e) => {
            return Err(Fail::problem(format!(
                "{}\nWithout burst.toml give --cluster-uuid and --region.",
                e.text
            )));
        }
    };
    let slurm = SlurmConf::here();
    let uuid = match &args.cluster_uuid {
        Some(uuid) => uuid.trim().to_owned(),
        None => read_uuid(config.as_ref(), &slurm)?,
    };
    if uuid.is_empty() {
        return Err(Fail::usage("the cluster's UUID is empty; give --cluster-uuid"));
    }
    let name = config
        .as_ref()
        .map(|c| c.cluster.name.clone())
        .filter(|n| !n.is_empty())
        .or_else(|| slurm.get("ClusterName").map(str::to_owned))
        .unwrap_or_else(|| uuid.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Fail::problem(format!("cannot start: {e}")))?;
    runtime.block_on(stop(args, config.as_ref(), &uuid, &name))
}

fn read_uuid(config: Option<&Config>, slurm: &SlurmConf) -> Result<String, Fail> {
    let dir: PathBuf = config
        .and_then(|c| c.cluster.state_dir.clone())
        .unwrap_or_else(|| Path::new(slurm.get("StateSaveLocation").unwrap_or("/var/spool")).join("burst"));
    let file = dir.join("uuid");
    std::fs::read_to_string(&file).map(|t| t.trim().to_owned()).map_err(|e| {
        Fail::problem(format!(
            "{}: {e}; it holds the cluster's UUID. Run this as root or SlurmUser on the controller, or give \
             --cluster-uuid (the tag slurm-burst:cluster of any of its instances)",
            file.display()
        ))
    })
}

fn failed(e: &CloudError) -> Fail {
    Fail::problem(format!("EC2 did not do it: {e}"))
}

async fn stop(args: &StopArgs, config: Option<&Config>, uuid: &str, name: &str) -> Result<Answer, Fail> {
    let (region, ec2) = everywhere(args, config).await?;
    let found = living(&ec2, uuid).await?;
    let rows: Vec<_> = found.iter().map(|f| row(f)).collect();
    if found.is_empty() {
        return Ok(Answer::ok(
            format!("Cluster {name} ({uuid}) has no instance in {region}: nothing to end.\n"),
            json!({"cluster": uuid, "region": region, "found": [], "left": []}),
        ));
    }
    let shown = format!("Instances of cluster {name} ({uuid}) in {region}:\n{}", table(&found));
    if args.list {
        return Ok(Answer {
            code: 1,
            text: shown,
            json: json!({"cluster": uuid, "region": region, "found": rows, "left": rows}),
        });
    }
    eprint!("{shown}");
    if controller_runs() {
        eprintln!(
            "warning: slurmctld answers here. It launches again for the jobs it has: stop it, or set the pools' \
             partitions DOWN (scontrol update PartitionName=… State=DOWN) and cancel their jobs, first."
        );
    }
    if !args.yes {
        confirm(name, found.len())?;
    }
    let ids: Vec<String> = found.iter().map(|i| i.id.clone()).collect();
    terminate(&ec2, &found).await?;
    let end = Instant::now() + Duration::from_secs(args.wait);
    let mut ended = ids;
    let mut empty = 0;
    loop {
        let left = living(&ec2, uuid).await?;
        // One empty look could come from a part of EC2 that has not heard of the latest launch yet.
        empty = if left.is_empty() { empty + 1 } else { 0 };
        if empty == 2 {
            let text =
                format!("{} instances ended; nothing of cluster {name} is left in {region}.\n", ended.len());
            return Ok(Answer::ok(
                text,
                json!({"cluster": uuid, "region": region, "found": rows, "ended": ended, "left": []}),
            ));
        }
        // What was launched meanwhile is to end too.
        let new: Vec<Found> = left.iter().filter(|i| !ended.contains(&i.id)).cloned().collect();
        if !new.is_empty() {
            eprintln!("{} more were launched meanwhile: ending them too", new.len());
            terminate(&ec2, &new).await?;
            ended.extend(new.into_iter().map(|i| i.id.clone()));
        }
        if Instant::now() >= end && !left.is_empty() {
            let text = format!(
                "Still there after {} s:\n{}Run this again; where EC2 keeps them, look at them in its console.\n",
                args.wait,
                table(&left)
            );
            let left: Vec<_> = left.iter().map(|f| row(f)).collect();
            return Ok(Answer {
                code: 1,
                text,
                json: json!({"cluster": uuid, "region": region, "found": rows, "ended": ended, "left": left}),
            });
        }
        if !left.is_empty() {
            eprintln!("{} still there…", left.len());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// EC2 in each Region that burst.toml names, or in the one that was named; and their names.
async fn everywhere(args: &StopArgs, config: Option<&Config>) -> Result<(String, Vec<Arc<dyn Cloud>>), Fail> {
    let home = config.map(|c| c.aws.region.clone()).unwrap_or_default();
    let names: Vec<String> = match (&args.region, config) {
        (Some(one), _) => vec![one.clone()],
        (None, Some(c)) => c.regions().into_iter().map(str::to_owned).collect(),
        (None, None) => Vec::new(),
    };
    let mut settings = Settings::region(home.clone());
    if let Some(aws) = config.map(|c| &c.aws) {
        settings.profile.clone_from(&aws.profile);
        settings.endpoint_url.clone_from(&aws.endpoint_url);
        settings.endpoints.clone_from(&aws.endpoints);
    }
    let mut all: Vec<Arc<dyn Cloud>> = Vec::with_capacity(names.len());
    for name in &names {
        let mut there = settings.clone();
        if *name != home {
            there.endpoint_url = there.endpoints.get(name).cloned();
        }
        there.region.clone_from(name);
        all.push(Arc::new(Ec2::new(there).await.map_err(|e| failed(&e))?));
    }
    Ok((names.join(", "), all))
}

/// An instance, and which of the Regions it is in.
#[derive(Clone)]
struct Found {
    instance: Instance,
    region: usize,
}

impl std::ops::Deref for Found {
    type Target = Instance;
    fn deref(&self) -> &Instance {
        &self.instance
    }
}

/// What still costs money or will.
async fn living(ec2: &[Arc<dyn Cloud>], uuid: &str) -> Result<Vec<Found>, Fail> {
    let mut out = Vec::new();
    for (region, cloud) in ec2.iter().enumerate() {
        let all = cloud.owned(uuid).await.map_err(|e| failed(&e))?;
        let alive = all.into_iter().filter(|i| !i.state.is_gone());
        out.extend(alive.map(|instance| Found { instance, region }));
    }
    Ok(out)
}

/// Each where it is; a Region that fails does not keep the others' alive.
async fn terminate(ec2: &[Arc<dyn Cloud>], all: &[Found]) -> Result<(), Fail> {
    let mut result = Ok(());
    for (region, cloud) in ec2.iter().enumerate() {
        let here = all.iter().filter(|f| f.region == region);
        let ids: Vec<String> = here.map(|f| f.id.clone()).collect();
        if !ids.is_empty()
            && let Err(e) = cloud.terminate(&ids).await
        {
            result = Err(failed(&e));
        }
    }
    result
}

fn tag<'a>(i: &'a Instance, key: &str) -> &'a str {
    i.tags.get(&format!("slurm-burst:{key}")).map_or("", String::as_str)
}

fn row(i: &Instance) -> serde_json::Value {
    json!({"id": i.id, "state": i.state, "type": i.instance_type, "zone": i.zone, "launched_unix": i.launched,
        "pool": tag(i, "pool"), "job": tag(i, "job"), "user": tag(i, "user"), "gang": tag(i, "gang")})
}

fn table(list: &[Found]) -> String {
    let mut t = Table::new(&["INSTANCE", "STATE", "TYPE", "ZONE", "LAUNCHED", "POOL", "JOB", "USER"]);
    for i in list {
        t.row(vec![
            i.id.clone(),
            super::validate::word(&i.state),
            i.instance_type.clone(),
            i.zone.clone(),
            relative(i.launched, now()),
            tag(i, "pool").to_owned(),
            tag(i, "job").to_owned(),
            crate::people::shown(tag(i, "user")),
        ]);
    }
    t.render(2)
}

/// Typing the name shows that the right cluster is meant; a `y` is typed too easily.
fn confirm(name: &str, count: usize) -> Result<(), Fail> {
    eprint!("This ends {count} instances and every job on them. Type the cluster's name ({name}) to go on: ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let _ = std::io::stdin().lock().read_line(&mut line);
    if line.trim() == name {
        return Ok(());
    }
    Err(Fail::problem("nothing was ended: the name was not typed (--yes goes on without asking)"))
}

/// Whether a slurmctld answers; bounded, because scontrol waits long for one that does not.
fn controller_runs() -> bool {
    let child = Command::new("scontrol")
        .arg("ping")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return false };
    let end = Instant::now() + Duration::from_secs(3);
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(50)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
    let mut text = String::new();
    let read = child.stdout.take().map(|mut out| std::io::Read::read_to_string(&mut out, &mut text));
    matches!(read, Some(Ok(_))) && text.contains(" is UP")
}
