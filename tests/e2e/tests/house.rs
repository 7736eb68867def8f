//! The house rules that no compiler checks: floors, forbidden dependencies, and what the built plugins look like.
#![forbid(unsafe_code)]
// The workspace lets tests do this, but only in functions marked #[test]; helpers of tests are no different.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use burst_e2e::proc::run;
use burst_e2e::spec::{bin_dir, workspace};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The table of docs/ARCHITECTURE.md; the root package is the controller plugin.
const FLOORS: &[(&str, u8)] = &[
    ("burst-plan", 0),
    ("burst-capture", 1),
    ("burst-policy", 1),
    ("burst-cloud", 2),
    ("burst-aws", 3),
    ("burst-engine", 3),
    ("slurm-burst", 4),
    ("burst-spank", 4),
    ("burst-measure", 4),
    ("burst-ctl", 4),
    ("burst-node", 4),
    ("burst-sim", 4),
    ("burst-soak", 5),
];

/// Kinds of dependency: None is the usual one.
type Kinds = BTreeSet<Option<String>>;

struct Graph {
    ours: BTreeSet<String>,
    edges: BTreeMap<String, Vec<(String, Kinds)>>,
}

impl Graph {
    fn read() -> Self {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let out = run(
            Command::new(cargo)
                .args([
                    "metadata",
                    "--format-version=1",
                    "--locked",
                    "--filter-platform=x86_64-unknown-linux-gnu",
                ])
                .current_dir(workspace()),
            "",
            Duration::from_secs(120),
        )
        .unwrap();
        assert!(out.ok(), "{}", out.err);
        let all: Value = serde_json::from_str(&out.out).unwrap();
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let name: BTreeMap<String, String> =
            all["packages"].as_array().unwrap().iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let ours =
            all["workspace_members"].as_array().unwrap().iter().map(|id| name[&text(id)].clone()).collect();
        let mut edges: BTreeMap<String, Vec<(String, Kinds)>> = BTreeMap::new();
        for node in all["resolve"]["nodes"].as_array().unwrap() {
            let to = node["deps"].as_array().unwrap().iter().map(|d| {
                let kinds = d["dep_kinds"].as_array().unwrap();
                let kinds = kinds.iter().map(|k| k["kind"].as_str().map(ToOwned::to_owned)).collect();
                (name[&text(&d["pkg"])].clone(), kinds)
            });
            // Two versions of a crate are one name here: the union of what they need.
            edges.entry(name[&text(&node["id"])].clone()).or_default().extend(to);
        }
        Self { ours, edges }
    }

    /// Everything that ends up in the crate's own program.
    fn linked(&self, from: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut next = vec![from.to_owned()];
        while let Some(name) = next.pop() {
            for (to, kinds) in self.edges.get(&name).into_iter().flatten() {
                if kinds.contains(&None) && seen.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        seen
    }

    /// Our own crates among the direct dependencies, of every kind.
    fn ours_of(&self, from: &str) -> BTreeSet<String> {
        self.edges[from].iter().map(|(to, _)| to.clone()).filter(|to| self.ours.contains(to)).collect()
    }
}

#[test]
fn a_crate_uses_lower_floors_only() {
    let graph = Graph::read();
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    for name in &graph.ours {
        let used = graph.ours_of(name);
        if name == "burst-e2e" {
            assert!(used.is_empty(), "the checker must judge from outside, but uses {used:?}");
            continue;
        }
        let own = floors.get(name.as_str()).unwrap_or_else(|| panic!("{name} has no floor in DESIGN.md"));
        for to in used {
            assert!(
                floors[to.as_str()] < *own,
                "{name} (floor {own}) uses {to} (floor {})",
                floors[to.as_str()]
            );
        }
    }
    let known: BTreeSet<&str> = graph.ours.iter().map(String::as_str).collect();
    assert!(FLOORS.iter().all(|(n, _)| known.contains(n)), "a crate of the table is gone: {known:?}");
}

#[test]
fn spank_and_node_stay_small() {
    let graph = Graph::read();
    let heavy = |n: &str| {
        n.starts_with("tokio")
            || n.starts_with("aws-")
            || n.starts_with("openssl")
            || ["rustls", "native-tls", "ring", "schannel", "hyper", "boring"].contains(&n)
    };
    for name in ["burst-spank", "burst-measure", "burst-node"] {
        let linked = graph.linked(name);
        assert!(linked.len() > 2, "{name}: {linked:?}");
        let found: Vec<_> = linked.iter().filter(|n| heavy(n)).collect();
        assert!(found.is_empty(), "{name} pulls in {found:?}");
    }
    assert!(graph.linked("burst-aws").iter().any(|n| heavy(n)), "the test would not see it");
}

#[test]
fn the_simulator_shares_no_crate_of_ours_with_aws_or_engine() {
    let graph = Graph::read();
    let ours = |name: &str| -> BTreeSet<String> {
        let mut all: BTreeSet<String> =
            graph.linked(name).into_iter().filter(|n| graph.ours.contains(n)).collect();
        all.extend(graph.ours_of(name));
        all.insert(name.into());
        all
    };
    let sim = ours("burst-sim");
    for other in ["burst-aws", "burst-engine"] {
        let shared: Vec<_> = sim.intersection(&ours(other)).cloned().collect();
        assert!(shared.is_empty(), "burst-sim and {other} share {shared:?}");
    }
}

#[test]
fn only_aws_names_the_sdk() {
    let graph = Graph::read();
    for name in graph.ours.iter().filter(|n| *n != "burst-aws") {
        let sdk: Vec<_> = graph.edges[name].iter().filter(|(n, _)| n.starts_with("aws-")).collect();
        assert!(sdk.is_empty(), "{name} names {sdk:?}");
    }
}

fn built(name: &str) -> PathBuf {
    let path = bin_dir().join(name);
    assert!(path.exists(), "{} is not built; run make build", path.display());
    path
}

fn tool(program: &str, args: &[&str], file: &std::path::Path) -> String {
    let out = run(Command::new(program).args(args).arg(file), "", Duration::from_secs(60)).unwrap();
    assert!(out.ok(), "{program}: {}", out.err);
    out.out
}

/// What Slurm demands of a plugin's file.
fn fit_for_slurm(name: &str, exported: &[&str], most_bytes: u64) {
    let path = built(name);
    let symbols = tool("nm", &["-D", "--defined-only"], &path);
    let found: BTreeSet<&str> = symbols.lines().filter_map(|l| l.split_whitespace().last()).collect();
    assert_eq!(found, exported.iter().copied().collect(), "exported symbols of {name}");
    let dynamic = tool("readelf", &["-dW"], &path);
    let lines = |key: &str| dynamic.lines().filter(|l| l.contains(key)).collect::<Vec<_>>();
    assert!(lines("(NEEDED)").iter().all(|l| !l.contains("libslurm")), "{name} links libslurm: {dynamic}");
    assert!(lines("BIND_NOW").is_empty(), "{name} binds at once: {dynamic}");
    let flags = lines("(FLAGS_1)").concat();
    assert!(!flags.split_whitespace().any(|f| f == "NOW"), "{name} binds at once: {flags}");
    assert!(flags.split_whitespace().any(|f| f == "NODELETE"), "{name} may be unloaded: {dynamic}");
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size <= most_bytes, "{name} has {size} bytes, {most_bytes} allowed");
}

#[test]
fn the_controller_plugin_is_fit_for_slurm() {
    let exported =
        ["plugin_name", "plugin_type", "plugin_version", "init", "fini", "job_submit", "job_modify"];
    fit_for_slurm("libjob_submit_burst.so", &exported, 25_000_000);
}

/// Whether the file holds these bytes.
fn has(path: &std::path::Path, text: &str) -> bool {
    let bytes = std::fs::read(path).unwrap();
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

#[test]
fn what_is_installed_has_no_fault_points() {
    let path = built("libjob_submit_burst.so");
    assert!(has(&path, "SLURM_BURST_CONF"), "the test would not see it");
    for left in ["BURST_FAULTS", "fault-order", "fault-kills"] {
        assert!(!has(&path, left), "{} was built with --features faults: {left}", path.display());
    }
    // Where the other build is at hand it must differ in just that.
    let other = bin_dir().join("libjob_submit_burst_faults.so");
    assert!(!other.exists() || has(&other, "BURST_FAULTS"), "{} has no fault points", other.display());
}

#[test]
fn the_spank_plugins_are_fit_for_slurm() {
    let exported =
        ["plugin_name", "plugin_type", "plugin_version", "slurm_spank_init", "slurm_spank_init_post_opt"];
    fit_for_slurm("libspank_burst.so", &exported, 700_000);
    let exported = [
        "plugin_name",
        "plugin_type",
        "plugin_version",
        "slurm_spank_init",
        "slurm_spank_task_post_fork",
        "slurm_spank_task_exit",
        "slurm_spank_exit",
        "slurm_spank_job_epilog",
    ];
    fit_for_slurm("libspank_burst_node.so", &exported, 1_200_000);
}
