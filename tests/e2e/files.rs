//! The files of a private cluster: slurm.conf, burst.toml and what goes with them.

use crate::spec::{ClusterSpec, Network};
use std::path::{Path, PathBuf};

/// Where everything of one cluster is.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The cluster's own directory.
    pub dir: PathBuf,
    /// First port of the range that is the cluster's own.
    pub port: u16,
    /// This machine as Slurm knows it.
    pub host: String,
    /// Where Slurm's own plugins are.
    pub slurm_plugins: PathBuf,
    /// SlurmUser.
    pub user: String,
    /// First two numbers of the namespaces' network.
    pub netns_prefix: String,
    /// Where slurmctld listens: 127.0.0.1, or the bridge of the namespaces.
    pub address: String,
}

/// Ports before those of the nodes: slurmctld, controller, simulator, local slurmd, relays.
pub const FIXED_PORTS: u16 = 8;

impl Layout {
    /// A file of the cluster.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
    /// slurm.conf.
    #[must_use]
    pub fn slurm_conf(&self) -> PathBuf {
        self.file("etc/slurm.conf")
    }
    /// burst.toml.
    #[must_use]
    pub fn burst_toml(&self) -> PathBuf {
        self.file("etc/burst.toml")
    }
    /// munged's socket.
    #[must_use]
    pub fn munge_socket(&self) -> PathBuf {
        self.file("munge/socket")
    }
    /// Where nodes keep what jobs did there.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.file("capture")
    }
    /// slurmctld's port.
    #[must_use]
    pub fn slurmctld_port(&self) -> u16 {
        self.port
    }
    /// Port of the engine's HTTP listener.
    #[must_use]
    pub fn controller_port(&self) -> u16 {
        self.port + 1
    }
    /// Port of the simulator.
    #[must_use]
    pub fn sim_port(&self) -> u16 {
        self.port + 2
    }
    /// Port of the relay to the simulator.
    #[must_use]
    pub fn ec2_relay_port(&self) -> u16 {
        self.port + 4
    }
    /// Port of the relay to the engine.
    #[must_use]
    pub fn node_relay_port(&self) -> u16 {
        self.port + 5
    }
    /// Port of the local node's slurmd.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.port + 3
    }
    /// Port of the first of the nodes that run from the start.
    #[must_use]
    pub fn idle_port(&self, spec: &ClusterSpec) -> u16 {
        self.port + FIXED_PORTS + spec.blocks.iter().map(|b| b.count).sum::<u16>()
    }
    /// First and last port of a block's slurmds.
    #[must_use]
    pub fn block_ports(&self, spec: &ClusterSpec, index: usize) -> (u16, u16) {
        let before: u16 = spec.blocks.iter().take(index).map(|b| b.count).sum();
        let count = spec.blocks.get(index).map_or(1, |b| b.count);
        let first = self.port + FIXED_PORTS + before;
        (first, first + count - 1)
    }
}

/// Text with `KEY` lines of `own` left out where `extra` sets the same key, and `extra` after it; `KEY=` leaves it out.
fn merge(own: &str, extra: &str) -> String {
    let key = |line: &str| {
        line.split_once('=')
            .map(|(k, _)| k.trim().to_ascii_lowercase())
            .filter(|k| !k.is_empty() && !k.starts_with('#'))
    };
    let set: Vec<String> = extra.lines().filter_map(key).collect();
    let mut text = String::new();
    for line in own.lines().filter(|l| !key(l).is_some_and(|k| set.contains(&k))) {
        text.push_str(line);
        text.push('\n');
    }
    for line in extra.lines().filter(|l| !l.split_once('=').is_some_and(|(_, v)| v.trim().is_empty())) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// slurm.conf. `pool_lines` are the node and partition lines of the burst pools; `plugin` says whether to load
/// job_submit_burst.
#[must_use]
pub fn slurm_conf(at: &Layout, spec: &ClusterSpec, pool_lines: &str, plugin: bool) -> String {
    let Layout { host, user, address, .. } = at;
    let d = at.dir.display();
    let plugins = at.slurm_plugins.display();
    let mut text = format!(
        "ClusterName=burst{port}
SlurmctldHost={host}({address})
SlurmUser={user}
SlurmctldPort={port}
SlurmdPort={slurmd_port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={socket}
PluginDir={d}/plugins:{plugins}
StateSaveLocation={d}/state
SlurmdSpoolDir={d}/spool/%n
SlurmctldPidFile={d}/run/slurmctld.pid
SlurmdPidFile={d}/run/slurmd.%n.pid
SlurmctldLogFile={d}/log/slurmctld.log
SlurmdLogFile={d}/log/slurmd.%n.log
LogTimeFormat=iso8601_ms
SlurmctldDebug=info
SlurmdDebug=info
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=10000,sched_interval=2,bf_interval=2
ReturnToService=2
EnforcePartLimits=NO
MailProg=/bin/true
InactiveLimit=0
KillWait=2
SlurmctldTimeout=60
SlurmdTimeout=60
MessageTimeout=10
MinJobAge=300
TreeWidth=64
ResumeProgram={d}/bin/burst-resume
SuspendProgram={d}/bin/burst-suspend
SuspendTime=86400
SuspendExcParts=cpu{idle}
ResumeRate=0
SuspendRate=0
ResumeTimeout=600
SuspendTimeout=5
PlugStackConfig={d}/etc/plugstack.conf
",
        port = at.slurmctld_port(),
        slurmd_port = if spec.network == Network::Netns { 6818 } else { at.local_port() },
        socket = at.munge_socket().display(),
        idle = if spec.idle > 0 { ",idle" } else { "" },
    );
    if plugin {
        text.push_str("JobSubmitPlugins=burst\n");
    }
    let (mut global, mut lines) = (String::new(), String::new());
    for line in spec.slurm_conf.replace("{dir}", &d.to_string()).lines() {
        let starts = |k: &str| line.trim_start().to_ascii_lowercase().starts_with(k);
        let to = if starts("nodename=") || starts("partitionname=") { &mut lines } else { &mut global };
        to.push_str(line);
        to.push('\n');
    }
    let text = merge(&text, &global);
    if spec.idle > 0 {
        let (n, first) = (spec.idle, at.idle_port(spec));
        lines.push_str(&format!(
            "NodeName=idle-[0001-{n:04}] NodeAddr={address} NodeHostname={host} Port=[{first}-{last}] CPUs=4 \
             RealMemory=1000 State=UNKNOWN\n\
             PartitionName=idle Nodes=idle-[0001-{n:04}] MaxTime=INFINITE DefaultTime=10 State=UP \
             OverSubscribe=EXCLUSIVE\n",
            last = first + n - 1,
        ));
    }
    format!(
        "{text}NodeName=local1 NodeAddr={address} NodeHostname={host} Port={port} CPUs=4 RealMemory=1000 State=UNKNOWN\n\
         PartitionName=cpu Nodes=local1 Default=YES MaxTime=INFINITE DefaultTime=10 State=UP OverSubscribe=FORCE:8\n\
         {pool_lines}{lines}",
        port = at.local_port(),
    )
}

/// The pool's node and partition lines, as `burstctl slurm-conf` would write them.
#[must_use]
pub fn pool_lines(at: &Layout, spec: &ClusterSpec) -> String {
    let mut text = String::new();
    for (i, b) in spec.blocks.iter().enumerate() {
        text.push_str(&format!(
            "NodeName={} CPUs={} RealMemory={} State=CLOUD",
            b.hostlist(),
            b.cpus,
            b.memory
        ));
        if spec.network == Network::Shared {
            let (first, last) = at.block_ports(spec, i);
            text.push_str(&format!(" NodeAddr=127.0.0.1 NodeHostname={} Port=[{first}-{last}]", at.host));
        }
        text.push('\n');
    }
    let names: Vec<String> = spec.blocks.iter().map(crate::BlockSpec::hostlist).collect();
    text.push_str(&format!(
        "PartitionName=efa Nodes={} MaxTime=1-00:00:00 DefaultTime=10 State=UP OverSubscribe=EXCLUSIVE\n",
        names.join(",")
    ));
    text
}

/// burst.toml with the pool `efa`.
#[must_use]
pub fn burst_toml(at: &Layout, spec: &ClusterSpec) -> String {
    let zones: Vec<String> = spec.zones.iter().map(|(z, s)| format!("\"{z}\" = \"{s}\"")).collect();
    let pool = merge(
        &format!(
            "partition = \"efa\"
market = \"on-demand\"
placement = \"cluster\"
efa = \"required\"
zones = {{ {} }}
image = \"ami-0burst00000000001\"
security_groups = [\"sg-0burst0000000001\"]
boot_limit = \"1m\"
start_limit = \"1m\"
epilog_limit = \"1m\"
orphan_limit = \"1m\"
retry_min = \"1s\"
retry_max = \"4s\"
on_no_capacity = \"wait\"
local_partition = \"cpu\"
",
            zones.join(", ")
        ),
        &spec.pool_toml,
    );
    let mut text = format!(
        "[cluster]\nname = \"burst{port}\"\nstate_dir = \"{d}/burst\"\nlisten = \"{addr}:{http}\"\n{advertise}\n[aws]\nregion = \
         \"us-east-2\"\nendpoint_url = \"http://127.0.0.1:{sim}\"\n{aws}\n[capacity]\nforget = \"1s\"\nlongest = \"2s\"\n[prices]\nfile = \"{d}/etc/prices.json\"\n{record}\n\
         [pool.efa]\n{pool}",
        port = at.port,
        aws = spec.aws_toml,
        d = at.dir.display(),
        addr = at.address,
        http = at.controller_port(),
        sim = if spec.ec2_relay { at.ec2_relay_port() } else { at.sim_port() },
        record = match spec.burst_toml.contains("[record]") {
            true => String::new(),
            false => format!("[record]\ndir = \"{}/learning\"\n", at.dir.display()),
        },
        advertise = match spec.node_relay {
            true => format!("advertise = [\"http://127.0.0.1:{}\"]\n", at.node_relay_port()),
            false => String::new(),
        },
    );
    for (i, b) in spec.blocks.iter().enumerate() {
        text.push_str(&format!(
            "[[pool.efa.block]]\ntype = \"{}\"\nnodes = \"{}\"\ncpus = {}\nmemory = {}\n",
            b.instance_type,
            b.hostlist(),
            b.cpus,
            b.memory
        ));
        if spec.network == Network::Shared {
            let (first, last) = at.block_ports(spec, i);
            text.push_str(&format!("ports = \"{first}-{last}\"\nnode_addr = \"127.0.0.1\"\n"));
        }
    }
    text.push('\n');
    text.push_str(&spec.burst_toml.replace("{sim}", &format!("http://127.0.0.1:{}", at.sim_port())));
    text
}

/// Prices that nobody charges.
pub const PRICES: &str = r#"{
  "source": "SYNTHETIC prices of the test harness; not what AWS charges",
  "regions": {"us-east-2": {"ebs_gib_month": "0.08", "types": {
    "hpc7a.96xlarge": {"on-demand": "7.20"},
    "hpc6a.48xlarge": {"on-demand": "2.88"},
    "c5n.18xlarge": {"on-demand": "3.888", "spot": "1.20"},
    "m5.xlarge": {"on-demand": "0.192", "spot": "0.08"}
  }}}
}
"#;

/// burst-node's configuration as an image would hold it.
#[must_use]
pub fn node_json(at: &Layout) -> String {
    serde_json::json!({
        "slurmd": which("slurmd"), "slurm_conf": at.slurm_conf(), "munge": which("munge"),
        "munge_socket": at.munge_socket(), "start": "direct", "on_end": "exit", "run_dir": at.run_dir(),
    })
    .to_string()
}

/// plugstack.conf with both SPANK plugins and what the test wants of the one that measures.
#[must_use]
pub fn plugstack(at: &Layout, arguments: &str) -> String {
    let (so, node) = (at.file("plugins/spank_burst.so"), at.file("plugins/spank_burst_node.so"));
    let more = arguments.replace("{dir}", &at.dir.display().to_string());
    let run_dir = at.run_dir();
    format!("optional {}\noptional {} run_dir={} {more}\n", so.display(), node.display(), run_dir.display())
}

/// A program of the system, also where PATH has no sbin.
#[must_use]
pub fn which(program: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"])
        .map(|dir| Path::new(dir).join(program))
        .find(|p| p.exists())
        .unwrap_or_else(|| program.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_s_own_line_replaces_the_harness_s() {
        assert_eq!(merge("A=1\nB=2\n", "b=3\n"), "A=1\nb=3\n");
        assert_eq!(merge("A=1\nB=2\n", "B=\n"), "A=1\n");
    }

    #[test]
    fn blocks_do_not_share_ports() {
        let spec = ClusterSpec::plain("x");
        let at = Layout {
            dir: "/tmp/x".into(),
            port: 20_000,
            host: "h".into(),
            slurm_plugins: "/p".into(),
            user: "slurm".into(),
            netns_prefix: "10.150".into(),
            address: "127.0.0.1".into(),
        };
        assert_eq!(at.block_ports(&spec, 0), (20_008, 20_071));
        assert_eq!(at.block_ports(&spec, 1), (20_072, 20_135));
        let conf = slurm_conf(&at, &spec, &pool_lines(&at, &spec), true);
        assert!(conf.contains("Port=[20072-20135]"), "{conf}");
        assert!(conf.contains("JobSubmitPlugins=burst\n"));
    }
}
