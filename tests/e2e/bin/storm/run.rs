//! The storm itself.

use crate::load::{Kind, Load, size};
use crate::quota::{Dice, Quota};
use burst_e2e::proc::{TICK, run, wait_until};
use burst_e2e::show::field;
use burst_e2e::spec::bin_dir;
use burst_e2e::time::{now_ms, parse};
use burst_e2e::{Cluster, ClusterSpec, Context, Res, User};
use serde_json::{Value, json};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// How long a boundary is waited for.
const REACHED: Duration = Duration::from_secs(25);
/// Pause between submissions.
const PAUSE: Duration = Duration::from_millis(700);
/// Submissions of one life that follow each other so closely; more would only wait for names in the next ones.
const PER_LIFE: u32 = 4;
/// Pause after those.
const LONG_PAUSE: Duration = Duration::from_secs(4);
/// Living instances beyond which only what the boundary needs is submitted.
const ENOUGH: usize = 24;
/// How long everything may take to come to rest; beside other work on two cores it takes long.
const REST: Duration = Duration::from_secs(600);

/// How long the checker may take.
const JUDGED: Duration = Duration::from_secs(300);
/// Jobs that wait at the end and are explained in full.
const EXPLAINED: usize = 5;

/// An instance that finds the file fails its EFA check: its gang has to replace it.
const SPOILT: &str = r#"d=${SLURM_CONF%/etc/slurm.conf}
if rm "$d/sim/spoil" 2>/dev/null; then export BURST_TEST_SYSFS="$d/nothing"; fi
exec "$d/bin/burst-node""#;

struct Storm {
    c: Cluster,
    dice: Dice,
    load: Load,
    kills: Vec<Value>,
}

/// Kills slurmctld so often and judges; true when nothing is wrong.
///
/// # Errors
/// The cluster could not be started or did not come to rest.
pub fn storm(kills: u64, seed: u64) -> Res<bool> {
    let began = Instant::now();
    let plugin = bin_dir().join("libjob_submit_burst_faults.so");
    let mut spec = ClusterSpec::new("crash-storm")
        .sized(48)
        .pool("boot_limit = \"3m\"\nstart_limit = \"3m\"")
        .slurm("MinJobAge=86400\nMaxJobCount=20000")
        .simulator(&json!({
            "knobs": {"pending_ms": 300},
            "capacity": [{"type": "hpc6a.48xlarge", "count": 0}],
            "instance_command": ["/bin/sh", "-c", SPOILT],
        }));
    spec.plugin_file = Some(plugin);
    spec.slurmctld_env = vec![("BURST_FAULTS".into(), "{dir}/run".into())];
    let c = Cluster::start(spec)?;
    let mut storm = Storm { c, dice: Dice::new(seed), load: Load::default(), kills: Vec::new() };
    let list = storm.c.at.file("run/fault-boundaries");
    let boundaries = wait_until(Duration::from_secs(20), || Ok(std::fs::read_to_string(&list).ok()))
        .context("the plugin has no fault points")?;
    let mut quota = Quota::new(&boundaries);
    storm.c.kill_slurmctld();
    // A boundary that cannot be reached must not make this endless.
    let mut tries = kills * 2 + 20;
    while quota.kills() < kills && tries > 0 {
        tries -= 1;
        let Some(boundary) = quota.next(&mut storm.dice) else { break };
        let reached = match storm.strike(&boundary) {
            Ok(reached) => reached,
            Err(e) => {
                let kept = storm.c.keep_logs();
                return Err(format!("{boundary}: {e}; logs are kept in {}", kept.display()));
            }
        };
        if let Some(tally) = quota.all.get_mut(&boundary) {
            match reached {
                true => tally.kills += 1,
                false => tally.misses += 1,
            }
        }
        println!(
            "{:>5.0}s {} {boundary}{}",
            began.elapsed().as_secs_f64(),
            quota.kills(),
            if reached { "" } else { ": not reached, killed elsewhere" }
        );
    }
    let struck = began.elapsed();
    let rest = storm.rest();
    println!(
        "the storm took {:.0} s, coming to rest {:.0} s",
        struck.as_secs_f64(),
        (began.elapsed() - struck).as_secs_f64()
    );
    let right = storm.judge(&boundaries)?;
    if !right || rest.is_err() {
        println!("logs are kept in {}", storm.c.keep_logs().display());
    }
    rest?;
    let least = if kills >= 3 * quota.all.len() as u64 { 3 } else { 0 };
    let few: Vec<&String> = quota.all.iter().filter(|(_, t)| t.kills < least).map(|(b, _)| b).collect();
    if !few.is_empty() || quota.kills() < kills {
        return Err(format!("{} of {kills} kills; fewer than {least} at {few:?}", quota.kills()));
    }
    Ok(right)
}

impl Storm {
    /// slurmctld starts with an order to die at the boundary; answers whether it did.
    fn strike(&mut self, boundary: &str) -> Res<bool> {
        let effect = boundary.split(' ').next().unwrap_or_default().to_owned();
        let rare = ["Retire", "Cancel", "MoveLocal"].contains(&effect.as_str());
        let count = if rare { 1 } else { 1 + self.dice.below(3) };
        // Some lives are long enough for slurmctld to save what it has, others are not.
        let quiet = 1_500 * self.dice.below(5);
        let order = self.c.at.file("run/fault-order");
        std::fs::write(&order, format!("{boundary} {count} {quiet}\n")).context(order.display())?;
        let before = self.deaths().len();
        self.c.spawn_slurmctld()?;
        let (began, mut next, mut asked) = (Instant::now(), Instant::now() + TICK, 0);
        while began.elapsed() < REACHED {
            if !self.c.slurmctld_alive() {
                let deaths = self.deaths();
                let Some(last) = deaths.get(before) else {
                    return Err("slurmctld died of something else".into());
                };
                self.died(last.0.clone(), last.1);
                return Ok(true);
            }
            self.load.gather(false);
            if Instant::now() >= next {
                asked += 1;
                next = Instant::now() + if asked < PER_LIFE { PAUSE } else { LONG_PAUSE };
                self.submit(&effect)?;
            }
            sleep(TICK);
        }
        self.c.kill_slurmctld();
        self.died("elsewhere".into(), now_ms());
        Ok(false)
    }

    /// What the boundary needs, and what else there is room for.
    fn submit(&mut self, effect: &str) -> Res<()> {
        if self.load.waiting() > 8 {
            return Ok(());
        }
        let Storm { c, dice, load, .. } = self;
        match effect {
            "Cancel" => load.submit(c, Kind::Cancel, 1, dice),
            "MoveLocal" => load.submit(c, Kind::Local, 1, dice),
            "Retire" => {
                std::fs::write(c.at.file("sim/spoil"), "").context("sim/spoil")?;
                load.submit(c, Kind::Plain, 4, dice);
            }
            _ => {}
        }
        if c.sim.as_ref().map_or(Ok(Vec::new()), burst_e2e::sim::Sim::living)?.len() < ENOUGH {
            let kind = if dice.below(6) == 0 { Kind::Array } else { Kind::Plain };
            let nodes = if kind == Kind::Array { 1 + dice.below(2) } else { size(dice) };
            load.submit(c, kind, nodes, dice);
        }
        if dice.below(5) == 0 {
            load.cancel(c, dice);
        }
        Ok(())
    }

    /// (boundary, Unix ms) of every death so far, as the plugin wrote them down.
    fn deaths(&self) -> Vec<(String, u64)> {
        let text = std::fs::read_to_string(self.c.at.file("run/fault-kills")).unwrap_or_default();
        let line = |l: &str| l.rsplit_once(' ').and_then(|(b, at)| Some((b.to_owned(), at.parse().ok()?)));
        text.lines().filter_map(line).collect()
    }

    /// What was on disk when it died is what Slurm goes on with.
    fn died(&mut self, boundary: String, at_ms: u64) {
        let saved = std::fs::metadata(self.c.at.file("state/job_state")).and_then(|m| m.modified()).ok();
        let saved = saved.and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_millis());
        self.kills.push(json!({"boundary": boundary, "at_ms": at_ms, "saved_ms": saved}));
    }

    /// A killed slurmctld starts a local job again that it has forgotten to have started; the node's slurmd refuses the second
    /// copy, and slurmctld drains the node for it (slurm-22.05 src/slurmctld/agent.c `_notify_slurmctld_nodes`).
    /// It is an operator's to resume, and none of ours. Of a node that a slurmctld has not heard of since its start it says
    /// "Invalid node state specified", and has resumed it all the same (slurm-22.05 src/slurmctld/node_mgr.c `update_node`):
    /// looked at again each time, and a job that waits for the node in vain is told of.
    fn ease_local(&self) -> Res<()> {
        let node = self.c.scontrol(&["show", "node", "local1", "-o"])?;
        if node.text().contains("DRAIN") && node.text().contains("Reason=Duplicate jobid") {
            let out = self.c.scontrol(&["update", "NodeName=local1", "State=RESUME"])?;
            let how = if out.ok() { "resumed".into() } else { out.text() };
            println!("local1 was drained for a second copy of a local job, which slurmd refused: {how}");
        }
        Ok(())
    }

    /// Nobody dies any more; what cannot end by itself is told and cancelled.
    fn rest(&mut self) -> Res<()> {
        std::fs::remove_file(self.c.at.file("run/fault-order")).context("fault-order")?;
        self.c.start_slurmctld()?;
        self.load.gather(true);
        let (mut last, mut since) = (String::new(), Instant::now());
        let began = Instant::now();
        let stuck = loop {
            self.ease_local()?;
            let records = self.records()?;
            let open: Vec<&burst_e2e::show::Fields> = records
                .iter()
                .filter(|f| {
                    ["PENDING", "RUNNING", "CONFIGURING", "COMPLETING"].contains(&field(f, "JobState"))
                })
                .collect();
            let now = format!("{open:?}");
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if open.is_empty() || since.elapsed() > Duration::from_secs(45) || began.elapsed() > REST {
                break open.iter().map(|f| (*f).clone()).collect::<Vec<_>>();
            }
            sleep(Duration::from_millis(500));
        };
        self.c.snapshot()?;
        for (n, fields) in stuck.into_iter().enumerate() {
            let (job, says) = (field(&fields, "JobId"), field(&fields, "AdminComment"));
            println!("job {job} is {} ({}): {says}", field(&fields, "JobState"), field(&fields, "Reason"));
            if n < EXPLAINED {
                let told =
                    self.c.run(User::Root, "burstctl", &["explain", job, "--json"], "").map(|o| o.text());
                println!("{}\n{fields:?}", told.unwrap_or_else(|e| e));
            }
            let number: u64 = job.parse().unwrap_or_default();
            let state = field(&fields, "JobState");
            self.load.cancelled.push(json!({"job": number, "at_ms": now_ms(), "stuck": state, "says": says}));
            // scancel does not know a task by the number of its record.
            let task = match (field(&fields, "ArrayJobId"), field(&fields, "ArrayTaskId")) {
                ("", _) | (_, "") => job.to_owned(),
                (array, task) => format!("{array}_{task}"),
            };
            let out = self.c.run(User::Root, "scancel", &[&task], "")?;
            if !out.ok() {
                println!("{}", out.text());
            }
        }
        self.c.wait_quiet(REST)
    }

    fn records(&self) -> Res<Vec<burst_e2e::show::Fields>> {
        let out = self.c.scontrol(&["show", "job"])?;
        if out.ok() { Ok(burst_e2e::show::records(&out.out)) } else { Err(out.text()) }
    }

    /// Jobs whose scripts slurmds say they have removed, and when (Unix ms), a line each.
    fn purged(&self) -> Res<String> {
        let dir = self.c.at.file("log");
        let mut jobs = String::new();
        for entry in std::fs::read_dir(&dir).context(dir.display())?.flatten() {
            if !entry.file_name().to_string_lossy().starts_with("slurmd.") {
                continue;
            }
            let log = std::fs::read_to_string(entry.path()).context(entry.path().display())?;
            for line in log.lines().filter(|l| l.contains("Purging vestigial job script")) {
                let job =
                    line.rsplit_once("/job").and_then(|(_, r)| r.split('/').next()?.parse::<u32>().ok());
                let at = line.get(1..24).and_then(parse);
                jobs.extend(job.zip(at).map(|(j, at)| format!("{j} {at}\n")));
            }
        }
        Ok(jobs)
    }

    /// The separate checker's verdict.
    fn judge(&self, boundaries: &str) -> Res<bool> {
        let dir = self.c.evidence()?;
        let lines = |all: &[Value]| all.iter().map(|v| format!("{v}\n")).collect::<String>();
        let ran = std::fs::read_to_string(self.c.at.file("work/ran.txt")).unwrap_or_default();
        for (name, text) in [
            ("kills.jsonl", lines(&self.kills)),
            ("submitted.jsonl", lines(&self.load.submitted)),
            ("cancelled.jsonl", lines(&self.load.cancelled)),
            ("boundaries.txt", boundaries.to_owned()),
            ("ran.txt", ran),
            ("purged.txt", self.purged()?),
        ] {
            std::fs::write(dir.join(name), text).context(name)?;
        }
        let mut checker = Command::new(bin_dir().join("burst-checker"));
        let out = run(checker.arg("--storm").arg(&dir), "", JUDGED)?;
        print!("{}", out.text());
        Ok(out.ok())
    }
}
