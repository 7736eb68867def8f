//! Many gangs at once against EC2's published token buckets: nobody is throttled, and nothing is slower than they are.

use crate::{
    cloud::Mood,
    dice::Dice,
    laws::Laws,
    life::{Life, Outside, disk},
    nodes,
    published::Published,
    slurm::Slurm,
    story::{Kind, Now},
    users,
};
use burst_cloud::fake::FakeCloud;
use burst_policy::Config;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

/// Gangs that are submitted in the same moment.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    /// How many.
    pub gangs: u64,
    /// Nodes of each.
    pub nodes: u32,
    /// EC2's bucket of launched instances: size and refill a second.
    pub launches: (u64, u64),
    /// Longest story, ms.
    pub most_ms: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// From the submission to each fleet, ms.
    pub fleets_ms: Vec<u64>,
    /// Calls that EC2 throttled.
    pub throttled: u64,
    /// Calls by API.
    pub calls: BTreeMap<&'static str, u64>,
    /// Every comment that told of the budget.
    pub told: BTreeSet<String>,
    /// Laws that were broken.
    pub broken: Vec<String>,
}

fn toml(c: &Crowd) -> String {
    let (size, per_s) = c.launches;
    let names = c.gangs * u64::from(c.nodes);
    format!(
        r#"
[cluster]
listen = "127.0.0.1:6826"
[aws]
region = "us-east-2"
[pool.efa]
partition = "efa"
efa = "required"
zones = {{ "us-east-2b" = "subnet-0aa11" }}
image = "ami-1"
security_groups = ["sg-1"]
boot_limit = "90s"
start_limit = "60s"
[rates]
instances = "{size}/{per_s}"
[[pool.efa.block]]
type = "hpc7a.96xlarge"
nodes = "efa7-[0001-{names:04}]"
"#
    )
}

/// Submits them and waits until each has its fleet.
#[must_use]
pub fn serve(seed: u64, crowd: Crowd) -> Served {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be made");
    runtime.block_on(tell(seed, crowd))
}

async fn tell(seed: u64, crowd: Crowd) -> Served {
    let (dice, laws) = (Dice::new(seed), Laws::default());
    let config = Arc::new(Config::parse(&toml(&crowd), "burst.toml").expect("the configuration is right"));
    let ec2 = FakeCloud::new();
    ec2.add_subnet("subnet-0aa11", "us-east-2b", 4_000);
    let names: Vec<String> =
        config.pools.values().flat_map(|p| p.blocks.iter().flat_map(|b| b.names.clone())).collect();
    let slurm = Slurm::new(names.into_iter(), laws.clone(), dice.clone(), ec2.clone());
    let published = Published::new(crowd.launches);
    let out = Outside {
        slurm: slurm.clone(),
        ec2: ec2.clone(),
        dice: dice.clone(),
        mood: Mood::default(),
        published: Some(published.clone()),
        trouble: Arc::new(AtomicU64::new(0)),
        disk: disk(),
        full: Arc::default(),
        reserved: false,
        abroad: false,
        config,
        kind: Kind::of(1),
    };
    let now = Now::default();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            slurm.tick();
        }
    });
    tokio::spawn(nodes::run(out.clone(), now.clone(), Arc::default()));
    let life = Life::begin(&out);
    now.set(Some(life.handle.clone()));
    // slurmctld has been up for a while: what is made ahead is there, and its calls are forgotten.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let begin = dice.passed_ms();
    for n in 0..crowd.gangs {
        let id = users::submit(&out, &now, (n + 1, 1_000), crowd.nodes, None).await;
        id.expect("the queue has room");
    }
    let mut fleets_ms = Vec::new();
    let mut told = BTreeSet::new();
    while (fleets_ms.len() as u64) < crowd.gangs && dice.passed_ms() < begin + crowd.most_ms {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let granted = ec2.fleets().iter().filter(|(_, a)| !a.instances.is_empty()).count();
        fleets_ms.resize(granted, dice.passed_ms() - begin);
        let t = out.slurm.tables();
        let budget = t.jobs.values().filter(|j| j.comment.contains("request budget"));
        told.extend(budget.map(|j| j.comment.clone()));
    }
    Served {
        fleets_ms,
        throttled: published.refused(),
        calls: published.calls(),
        told,
        broken: laws.broken(),
    }
}
