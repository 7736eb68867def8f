//! What a test wants of its cluster.

use std::path::PathBuf;
use std::time::Duration;

/// How the simulator's instances are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// All on 127.0.0.1, each slurmd on the port that slurm.conf gives its name.
    Shared,
    /// Each instance in its own network namespace, slurmd on the usual port, addresses unknown to slurm.conf.
    Netns,
}

/// One hardware shape of the pool.
#[derive(Debug, Clone)]
pub struct BlockSpec {
    /// EC2 instance type.
    pub instance_type: String,
    /// First part of the names.
    pub prefix: String,
    /// How many names.
    pub count: u16,
    /// CPUs of a node.
    pub cpus: u32,
    /// MiB of a node.
    pub memory: u64,
}

impl BlockSpec {
    /// The names as a hostlist.
    #[must_use]
    pub fn hostlist(&self) -> String {
        format!("{}-[0001-{:04}]", self.prefix, self.count)
    }
}

/// A cluster to start. [`ClusterSpec::new`] is the usual one; change what a test is about.
#[derive(Debug, Clone)]
pub struct ClusterSpec {
    /// Name for logs and directories.
    pub name: String,
    /// Where the built programs are; default `$BURST_BIN_DIR`, else target/release of the workspace.
    pub bin_dir: PathBuf,
    /// Load the controller plugin and write its configuration.
    pub plugin: bool,
    /// Start the simulator.
    pub sim: bool,
    /// The pool's blocks, in order of preference.
    pub blocks: Vec<BlockSpec>,
    /// Network of the instances.
    pub network: Network,
    /// Lines added to slurm.conf; a key given here replaces the harness's own line, `{dir}` is the cluster's directory.
    pub slurm_conf: String,
    /// Lines added to `[pool.efa]` of burst.toml; a key given here replaces the harness's own line.
    pub pool_toml: String,
    /// Lines added to `[aws]` of burst.toml.
    pub aws_toml: String,
    /// Tables added at the end of burst.toml; `{sim}` is the simulator's URL.
    pub burst_toml: String,
    /// Merged over the simulator's configuration.
    pub sim_settings: serde_json::Value,
    /// The pool's zones: name and subnet.
    pub zones: Vec<(String, String)>,
    /// How long starting may take.
    pub start_limit: Duration,
    /// Leave everything running and in place at the end.
    pub keep: bool,
    /// slurmctld finds AWS credentials in its environment.
    pub credentials: bool,
    /// EFA devices that each instance finds.
    pub efa_devices: u32,
    /// Another controller plugin than the built one.
    pub plugin_file: Option<PathBuf>,
    /// What slurmctld finds in its environment on top; `{dir}` is the cluster's directory.
    pub slurmctld_env: Vec<(String, String)>,
    /// Nodes of the partition `idle`, each a slurmd that runs from the start.
    pub idle: u16,
    /// A relay between slurmctld and the simulator.
    pub ec2_relay: bool,
    /// A relay between instances and the engine's listener.
    pub node_relay: bool,
    /// Arguments of spank_burst_node.so in plugstack.conf beside the run directory's; `{dir}` is the cluster's directory. With any,
    /// the plugin is loaded even where the controller's is not.
    pub spank: String,
}

impl ClusterSpec {
    /// Pool `efa` with two blocks of 64 names, one local node.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let block = |t: &str, p: &str, cpus, memory| BlockSpec {
            instance_type: t.into(),
            prefix: p.into(),
            count: 64,
            cpus,
            memory,
        };
        Self {
            name: name.into(),
            bin_dir: bin_dir(),
            plugin: true,
            sim: true,
            blocks: vec![
                block("hpc7a.96xlarge", "efa7", 192, 747_110),
                block("hpc6a.48xlarge", "efa6", 96, 373_555),
            ],
            network: Network::Shared,
            slurm_conf: String::new(),
            pool_toml: String::new(),
            aws_toml: String::new(),
            burst_toml: String::new(),
            sim_settings: serde_json::json!({}),
            zones: vec![("us-east-2b".into(), "subnet-0aa11".into())],
            start_limit: Duration::from_secs(30),
            keep: false,
            credentials: true,
            efa_devices: 2,
            plugin_file: None,
            slurmctld_env: Vec::new(),
            idle: 0,
            ec2_relay: false,
            node_relay: false,
            spank: String::new(),
        }
    }

    /// Slurm alone: neither plugin nor simulator.
    #[must_use]
    pub fn plain(name: &str) -> Self {
        Self { plugin: false, sim: false, ..Self::new(name) }
    }

    /// The same with another size of each block.
    #[must_use]
    pub fn sized(mut self, count: u16) -> Self {
        for block in &mut self.blocks {
            block.count = count;
        }
        self
    }

    /// Lines for `[pool.efa]`.
    #[must_use]
    pub fn pool(mut self, lines: &str) -> Self {
        self.pool_toml.push_str(lines);
        self.pool_toml.push('\n');
        self
    }

    /// Lines for slurm.conf.
    #[must_use]
    pub fn slurm(mut self, lines: &str) -> Self {
        self.slurm_conf.push_str(lines);
        self.slurm_conf.push('\n');
        self
    }

    /// Settings of the simulator.
    #[must_use]
    pub fn simulator(mut self, settings: &serde_json::Value) -> Self {
        crate::sim::merge(&mut self.sim_settings, settings);
        self
    }

    /// All names of the pool's nodes.
    #[must_use]
    pub fn names(&self) -> usize {
        self.blocks.iter().map(|b| usize::from(b.count)).sum()
    }
}

/// `$BURST_BIN_DIR`, else `release` under `$CARGO_TARGET_DIR` or the workspace's target.
#[must_use]
pub fn bin_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("BURST_BIN_DIR") {
        return dir.into();
    }
    target_dir().join("release")
}

/// `$CARGO_TARGET_DIR`, or the workspace's target.
#[must_use]
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// The workspace's root.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or_else(|| here.clone(), PathBuf::from)
}
