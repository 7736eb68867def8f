//! What most tests do.

use burst_e2e::checker::Expect;
use burst_e2e::show::{field, hosts};
use burst_e2e::{Cluster, ClusterSpec, User};
use std::collections::BTreeSet;
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
