//! What most tests do.

use burst_e2e::checker::Expect;
use burst_e2e::show::{field, hosts};
use burst_e2e::{Cluster, ClusterSpec, User};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Deadline of one phase of a job: generous, because two cores carry all nodes of two clusters.
pub const S: Duration = Duration::from_secs(90);

/// A cluster with the plugin and the usual pool, instances that boot in half a second.
pub fn cluster(name: &str) -> Cluster {
    Cluster::start(spec(name)).unwrap()
}

/// Its description.
pub fn spec(name: &str) -> ClusterSpec {
    ClusterSpec::new(name).simulator(&serde_json::json!({"knobs": {"pending_ms": 300}}))
}

/// A managed job of the pool's partition; its output is `out-JOB`.
pub fn submit(c: &Cluster, nodes: u32, args: &[&str], script: &str) -> u32 {
    let nodes = nodes.to_string();
    let mut all = vec!["-p", "efa", "-N", &nodes, "--ntasks-per-node=1", "-t", "5", "-o", "out-%j"];
    all.extend(args);
    c.sbatch(User::Ordinary, &all, script).unwrap()
}

/// A program's arguments with the usual ones of a managed job before them.
pub fn usual<'a>(nodes: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    ["-p", "efa", "-N", nodes, "-t", "5"].into_iter().chain(more.iter().copied()).collect()
}

/// Every word is in the text, whatever its case.
pub fn holds(text: &str, words: &[&str], what: &dyn std::fmt::Debug) {
    for word in words {
        assert!(text.to_lowercase().contains(&word.to_lowercase()), "{what:?}: {word:?} is not in: {text}");
    }
}

/// `sbatch` is refused, with every word in the message.
pub fn refused(c: &Cluster, args: &[&str], words: &[&str]) {
    let out = c.sbatch_raw(User::Ordinary, args, "true").unwrap();
    assert!(!out.ok(), "{args:?} was accepted: {}", out.text());
    holds(&out.text(), words, &args);
}

/// Writes a file of the user's.
pub fn file(c: &Cluster, name: &str, text: &str) -> String {
    let path = c.at.file("work").join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// The option for a plan with this text.
pub fn plan(c: &Cluster, name: &str, text: &str) -> String {
    format!("--burst-plan={}", file(c, name, text))
}

/// A job that is none of ours is accepted.
pub fn foreign(c: &Cluster) -> u32 {
    c.sbatch(User::Ordinary, &["-p", "cpu", "-o", "/dev/null"], "true").unwrap()
}

/// A copy of slurm.conf whose programs load other SPANK plugins than ours, or none: as an environment entry.
pub fn with_plugstack(c: &Cluster, plugstack: &str) -> String {
    let conf = std::fs::read_to_string(c.at.slurm_conf()).unwrap();
    let bare: String =
        conf.lines().filter(|l| !l.starts_with("PlugStackConfig")).map(|l| format!("{l}\n")).collect();
    let path = c.at.file("work/slurm.conf");
    std::fs::write(&path, format!("{bare}PlugStackConfig={plugstack}\n")).unwrap();
    format!("SLURM_CONF={}", path.display())
}

/// What the simulator was asked to do, action by action.
pub fn asked(c: &Cluster, action: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(c.sim.as_ref().unwrap().audit()).unwrap_or_default();
    let lines = text.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    lines.filter(|v| v["action"] == action).collect()
}

/// The job completes, on as many nodes as it asked for, one task each (its output is one node name a line).
pub fn ran(c: &Cluster, job: u32, nodes: u32) {
    let fields = c.wait_job(job, "COMPLETED", S).unwrap();
    let named: BTreeSet<String> = hosts(field(&fields, "NodeList")).into_iter().collect();
    assert_eq!(named.len(), nodes as usize, "{fields:#?}");
    assert!(named.iter().all(|n| n.starts_with("efa")), "{named:?}");
    let out = std::fs::read_to_string(c.at.file(&format!("work/out-{job}"))).unwrap();
    let told: Vec<String> = out.lines().map(ToOwned::to_owned).collect();
    assert_eq!(told.len(), nodes as usize, "once on each node: {out}");
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), named);
}

/// Everything is given back, and the checker finds nothing wrong.
pub fn finish(c: Cluster) {
    finish_expecting(c, &Expect::default());
}

/// The same, judged by other rules.
pub fn finish_expecting(mut c: Cluster, expect: &Expect) {
    c.wait_quiet(S).unwrap();
    let found = c.check(expect).unwrap();
    assert!(found.is_empty(), "the checker: {found:#?}");
    if let Some(dir) = std::env::var_os("BURST_AUDIT_DIR") {
        std::fs::create_dir_all(&dir).unwrap();
        let to = std::path::Path::new(&dir).join(format!("{}.jsonl", c.spec.name));
        std::fs::copy(c.sim.as_ref().unwrap().audit(), to).unwrap();
    }
    c.stop();
    assert!(c.processes().is_empty(), "processes are left");
}

/// A call of EC2's API, as anybody with credentials can make it.
pub fn call(c: &Cluster, region: &str, params: &BTreeMap<String, String>) -> String {
    let escape = |text: &str| -> String {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
        text.bytes().map(|b| if fine(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
    };
    let body: Vec<String> = params.iter().map(|(k, v)| format!("{k}={}", escape(v))).collect();
    let signature = "0".repeat(64);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let scope = format!("Credential=test/20260101/{region}/ec2/aws4_request, SignedHeaders=host");
    let mut answer = agent
        .post(format!("{}/", c.sim.as_ref().unwrap().url()))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("X-Amz-Date", "20260101T000000Z")
        .header("Authorization", format!("AWS4-HMAC-SHA256 {scope}, Signature={signature}"))
        .send(body.join("&"))
        .unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{text}");
    text
}

/// A fleet's launch once more, by nobody: with a gang that nobody knows, for this cluster or another.
pub fn launch_again(c: &Cluster, region: &str, fleet: &Value, gang: &str, cluster: Option<&str>) {
    let params: BTreeMap<String, String> = serde_json::from_value(fleet["params"].clone()).unwrap();
    let mut p = params.clone();
    p.insert("ClientToken".into(), gang.into());
    for (at, key) in params.iter().filter_map(|(k, v)| Some((k.strip_suffix(".Key")?, v))) {
        let new = match (key.as_str(), cluster) {
            ("slurm-burst:gang", _) => gang,
            ("slurm-burst:cluster", Some(other)) => other,
            _ => continue,
        };
        p.insert(format!("{at}.Value"), new.into());
    }
    call(c, region, &p);
}

/// The gangs of the instances that live, one for each.
pub fn living_gangs(c: &Cluster) -> burst_e2e::Res<Vec<String>> {
    let state = c.sim.as_ref().unwrap().state()?;
    let up = |i: &&Value| ["pending", "running"].contains(&i["state"].as_str().unwrap_or_default());
    let gang = |i: &Value| i["tags"]["slurm-burst:gang"].as_str().unwrap_or_default().to_owned();
    Ok(state["instances"].as_array().into_iter().flatten().filter(up).map(gang).collect())
}
