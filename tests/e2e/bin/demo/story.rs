//! The jobs of the demo, and what must hold of each.

use crate::report::Report;
use crate::watch::{Gang, Watch};
use burst_e2e::checker::{Evidence, Expect, Instance, check};
use burst_e2e::show::{field, hosts};
use burst_e2e::{Cluster, ClusterSpec, Context, Res, User};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PLAN: &str = include_str!("../../plans/advisor-16-efa.json");
const TYPO: &str = include_str!("../../plans/typo.json");
const MINUTE: Duration = Duration::from_secs(60);
const ENDED: &[&str] = &["COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL"];

/// Runs the demo.
pub fn tell(report: &mut Report, keep: bool) -> Res<()> {
    println!(
        "slurm-burst demo: a private Slurm and a simulated EC2 on this machine; nothing here costs money.\n"
    );
    // With the size of the root volumes every cost is whole.
    let spec = ClusterSpec::new("demo").pool("root_gib = 100").simulator(&json!({
        "knobs": {"pending_ms": 1500},
        "capacity": [{"type": "hpc6a.48xlarge", "count": 0}],
    }));
    let mut cluster = Cluster::start(spec)?;
    let mut watch = Watch::new();
    watch.say("cluster", &format!("up in {}", cluster.at.dir.display()));
    let pid = cluster.slurmctld_pid();
    let told = jobs(report, &mut cluster, &mut watch);
    watch.last_look(&cluster);
    if told.is_err() {
        println!("{}", cluster.tails(30));
    }
    report.that(
        "slurmctld ran all the time",
        cluster.slurmctld_alive() && cluster.slurmctld_pid() == pid,
        "one process from start to end",
    );
    let judged = judge(report, &cluster, &watch);
    if told.is_err() || judged.is_err() || report.failed() {
        println!("\nlogs: {}", cluster.keep_logs().display());
    }
    if keep && told.is_ok() {
        how_to_use(&cluster);
        cluster.leave();
    } else {
        cluster.stop();
        let left = cluster.processes();
        report.that("everything was stopped", left.is_empty(), format!("{} processes left", left.len()));
    }
    told.and(judged)
}

fn put(cluster: &Cluster, name: &str, text: &str) -> Res<String> {
    let path = cluster.at.file("work").join(name);
    std::fs::write(&path, text).context(path.display())?;
    Ok(path.display().to_string())
}

fn jobs(report: &mut Report, cluster: &mut Cluster, watch: &mut Watch) -> Res<()> {
    let plan = put(cluster, "plan.json", PLAN)?;
    let typo = put(cluster, "typo.json", TYPO)?;
    let user = User::Ordinary;

    // The foreigner: a job that is none of ours, in the site's own partition.
    let foreign = cluster.sbatch(user, &["-J", "local", "-p", "cpu", "-o", "local-%j"], "hostname")?;

    // (a)
    let script = "srun hostname\nsrun printenv SLURMD_NODENAME > nodes-$SLURM_JOB_ID";
    let plan_arg = format!("--burst-plan={plan}");
    let shape = ["-J", "cfd-16", "-p", "efa", "-N", "16", "--ntasks-per-node=1", "-t", "5", "-o", "out-%j"];
    let out = cluster.sbatch_raw(user, &[&shape[..], &[&plan_arg]].concat(), script)?;
    print!("{}", indent(&out.err));
    let a = out.out.trim().parse().map_err(|_| format!("(a) was refused: {}", out.text()))?;
    watch.add('a', a);
    report.that(
        "(a) sbatch says what will be launched and the most it can cost",
        says_cost(&out.err),
        out.err.trim(),
    );

    // (b)
    let arg = format!("--burst-plan={typo}");
    let out = cluster.sbatch_raw(
        user,
        &["-J", "typo", "-p", "efa", "-N", "16", "-t", "5", &arg],
        "srun hostname",
    )?;
    watch.say("(b)", "a plan with a typo: sbatch says");
    print!("{}", indent(&out.text()));
    let told = out.text();
    report.that(
        "(b) the plan with a typo is refused with a message that says where and what is allowed",
        !out.ok()
            && told.contains("purchasing_option")
            && told.contains("on-demnd")
            && told.contains("on-demand"),
        told.trim(),
    );

    // (c)
    let args = [
        "-J",
        "later",
        "-p",
        "efa",
        "-N",
        "4",
        "-t",
        "5",
        "-o",
        "out-%j",
        "--burst",
        "--burst-types=hpc6a.48xlarge",
    ];
    let c = cluster.sbatch(user, &args, "srun printenv SLURMD_NODENAME > nodes-$SLURM_JOB_ID")?;
    watch.add('c', c);

    watch.until(cluster, "(a) ending", 2 * MINUTE, |w| Ok(ENDED.contains(&w.gang('a')?.state())))?;
    watch.until(cluster, "(c) being told that there is no capacity", MINUTE, |w| {
        Ok(w.gang('c')?.was_told("no capacity"))
    })?;
    let sim = cluster.sim.as_ref().ok_or("no simulator")?;
    sim.capacity("hpc6a.48xlarge", None)?;
    watch.say("EC2", "has hpc6a.48xlarge again");
    watch.until(cluster, "(c) ending", 2 * MINUTE, |w| Ok(ENDED.contains(&w.gang('c')?.state())))?;

    // (d)
    sim.settings(&json!({"latency_ms": 1500}))?;
    watch.say("EC2", "answers 1.5 s late from now on");
    let args = ["-J", "cancelled", "-p", "efa", "-N", "8", "-t", "5", "-o", "out-%j", "--burst"];
    let d = cluster.sbatch(user, &args, "srun hostname")?;
    watch.add('d', d);
    cluster.wait_phase(d, "Launching", MINUTE)?;
    cluster.scancel(user, d)?;
    watch.say(&format!("(d) job {d}"), "scancel, while CreateFleet is under way");
    watch.until(cluster, "(d) ending", MINUTE, |w| Ok(ENDED.contains(&w.gang('d')?.state())))?;
    sim.settings(&json!({"latency_ms": 0}))?;

    let done = cluster.wait_job(foreign, "COMPLETED", MINUTE);
    report.check(
        "a job of the partition cpu is left alone",
        done.and_then(|f| match (field(&f, "NodeList"), field(&f, "AdminComment")) {
            ("local1", "") => Ok("ran on local1, no admin_comment".into()),
            (nodes, comment) => Err(format!("ran on {nodes}, admin_comment {comment:?}")),
        }),
    );
    watch.say("cluster", "waiting until everything is given back");
    let quiet = cluster.wait_quiet(MINUTE);
    watch.look(cluster)?;
    report
        .check("nothing is left: no instance, all nodes powered down", quiet.map(|()| "0 instances".into()));
    Ok(())
}

fn says_cost(text: &str) -> bool {
    text.contains("hpc7a.96xlarge") && text.contains("16") && (text.contains("USD") || text.contains('$'))
}

fn indent(text: &str) -> String {
    text.lines().map(|l| format!("             {l}\n")).collect()
}

fn judge(report: &mut Report, cluster: &Cluster, watch: &Watch) -> Res<()> {
    report.instances_left = cluster.sim.as_ref().and_then(|s| s.living().ok()).map(|l| l.len());
    report.nodes_awake = cluster.awake().ok().map(|a| a.len());
    for gang in &watch.gangs {
        report.phases_ms.insert(gang.letter.to_string(), gang.phases_json());
    }
    let evidence = Evidence::read(&cluster.evidence()?)?;
    println!("\nTime of each phase");
    for gang in &watch.gangs {
        let phases: Vec<String> = gang.phases().iter().map(|(p, ms)| format!("{p} {ms} ms")).collect();
        println!("  ({}) {}", gang.letter, phases.join(", "));
    }
    println!("\nWhat was launched where (SYNTHETIC prices)");
    let mut cost_all = 0.0;
    for gang in &watch.gangs {
        let (text, cost) = launched(&evidence, gang);
        println!("  ({}) {text}", gang.letter);
        cost_all += cost;
    }
    println!("  in all {cost_all:.2} USD");
    for (letter, size, itype) in [('a', 16, "hpc7a.96xlarge"), ('c', 4, "hpc6a.48xlarge")] {
        let held = watch.gang(letter).and_then(|g| ran_on_its_gang(cluster, &evidence, g, size, itype));
        report.check(&format!("({letter}) ran once, on exactly its gang of {size}"), held);
    }
    report.check(
        "(a) srun hostname ran on all 16",
        watch.gang('a').and_then(|g| {
            let lines = std::fs::read_to_string(cluster.at.file(&format!("work/out-{}", g.job)))
                .context("its output")?;
            let right =
                lines.lines().filter(|l| l.split('.').next() == Some(cluster.at.host.as_str())).count();
            if right == 16 { Ok("16 lines".into()) } else { Err(format!("{right} lines:\n{lines}")) }
        }),
    );
    report.check(
        "(c) waited with a reason, then ran",
        watch.gang('c').and_then(|g| match g.said.iter().find(|(_, s)| s.contains("no capacity")) {
            Some((_, said)) if g.state() == "COMPLETED" => Ok(said.clone()),
            _ => Err(format!("{:?}", g.said)),
        }),
    );
    report.check(
        "(d) was cancelled during its launch and holds nothing",
        watch.gang('d').and_then(|g| {
            let of = members(&evidence, g.job);
            let left = of.iter().filter(|i| i.ended_ms.is_none()).count();
            match (g.state(), left) {
                ("CANCELLED", 0) => Ok(format!("{} instances were granted, 0 are left", of.len())),
                (state, left) => Err(format!("it is {state}, {left} instances are left")),
            }
        }),
    );
    let found = check(&evidence, &Expect::default());
    report.that(
        "the checker finds nothing wrong",
        found.is_empty(),
        if found.is_empty() {
            format!("{} instances judged", evidence.instances.len())
        } else {
            found.join("\n")
        },
    );
    for gang in &watch.gangs {
        let readable = !gang.said.is_empty() && gang.said.iter().skip(1).all(|(_, s)| !s.trim().is_empty());
        report.that(
            &format!("({}) admin_comment explains every state, phases are known", gang.letter),
            readable && !gang.phases().is_empty(),
            format!("{} different lines, {} phases", gang.said.len(), gang.phases().len()),
        );
    }
    Ok(())
}

fn members(evidence: &Evidence, job: u32) -> Vec<&Instance> {
    let job = job.to_string();
    evidence.instances.values().filter(|i| i.tag("slurm-burst:job") == job).collect()
}

fn ran_on_its_gang(
    cluster: &Cluster,
    evidence: &Evidence,
    gang: &Gang,
    size: usize,
    itype: &str,
) -> Res<String> {
    let fields = cluster.job(gang.job)?;
    let nodes = hosts(field(&fields, "NodeList"));
    let state = field(&fields, "JobState");
    let of = members(evidence, gang.job);
    let fleets: BTreeSet<&str> = of.iter().map(|i| i.fleet.as_str()).collect();
    let types: BTreeSet<&str> = of.iter().map(|i| i.kind.as_str()).collect();
    let path = cluster.at.file(&format!("work/nodes-{}", gang.job));
    let ran: BTreeSet<String> = std::fs::read_to_string(&path)
        .context("what the job wrote")?
        .lines()
        .map(ToOwned::to_owned)
        .collect();
    let named: BTreeSet<String> = nodes.iter().cloned().collect();
    let right = state == "COMPLETED"
        && nodes.len() == size
        && of.len() == size
        && fleets.len() == 1
        && types.contains(itype)
        && types.len() == 1
        && ran == named;
    let text = format!(
        "{state} on {}, {} instances of {types:?} in {} fleet(s), tasks ran on {} nodes",
        field(&fields, "NodeList"),
        of.len(),
        fleets.len(),
        ran.len()
    );
    if right { Ok(text) } else { Err(text) }
}

fn launched(evidence: &Evidence, gang: &Gang) -> (String, f64) {
    let mut groups: BTreeMap<(&str, &str, &str), (usize, u64)> = BTreeMap::new();
    let now = burst_e2e::time::now_ms();
    for i in members(evidence, gang.job) {
        let entry = groups.entry((&i.kind, &i.zone, &i.fleet)).or_default();
        entry.0 += 1;
        entry.1 += i.ended_ms.unwrap_or(now).saturating_sub(i.born_ms);
    }
    let mut cost = 0.0;
    let lines: Vec<String> = groups
        .iter()
        .map(|((itype, zone, fleet), (count, ms))| {
            let seconds = std::time::Duration::from_millis(*ms).as_secs_f64();
            cost += hourly(itype) * seconds / 3600.0;
            format!("{count} x {itype} in {zone}, {fleet}, {seconds:.1} instance-seconds")
        })
        .collect();
    if lines.is_empty() {
        ("nothing".into(), 0.0)
    } else {
        (format!("{}, {cost:.3} USD", lines.join("; ")), cost)
    }
}

fn hourly(itype: &str) -> f64 {
    let prices: serde_json::Value = serde_json::from_str(burst_e2e::files::PRICES).unwrap_or_default();
    prices
        .pointer(&format!("/regions/us-east-2/types/{itype}/on-demand"))
        .and_then(|p| p.as_str()?.parse().ok())
        .unwrap_or(0.0)
}

fn how_to_use(cluster: &Cluster) {
    let (dir, conf) = (cluster.at.dir.display(), cluster.at.slurm_conf());
    println!(
        "\nKEEP=1: the cluster goes on in {dir}. To use it:\n  export SLURM_CONF={conf} SLURM_BURST_CONF={toml} PATH={dir}/bin:$PATH\n  \
         cd {dir}/work; sbatch -p efa -N 4 -t 5 --burst --wrap 'srun hostname'\n  burstctl status; burstctl explain JOB; scontrol show job JOB\n  \
         curl {sim}/_sim/state\nTo end it, as root:\n  for p in $(grep -lsz '^SLURM_CONF={conf}$' /proc/[0-9]*/environ); do kill $(echo $p | cut -d/ -f3); done; rm -r {dir}",
        conf = conf.display(),
        toml = cluster.at.burst_toml().display(),
        sim = cluster.sim.as_ref().map_or("", burst_e2e::sim::Sim::url),
    );
}
