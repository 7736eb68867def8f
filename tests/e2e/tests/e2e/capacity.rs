//! No capacity: waiting and saying so, going elsewhere, giving up.

use crate::help::*;
use burst_e2e::checker::Expect;
use burst_e2e::show::field;
use burst_e2e::{BlockSpec, Cluster};
use serde_json::{Map, Value, json};

#[test]
fn law1_whole_or_nothing_a_partial_fleet_starts_nothing() {
    let c = cluster("partial");
    let sim = c.sim.as_ref().unwrap();
    // EC2 has three of the four, of either type.
    sim.capacity("hpc7a.96xlarge", Some(3)).unwrap();
    sim.capacity("hpc6a.48xlarge", Some(3)).unwrap();
    let job = submit(&c, 4, &[], "srun printenv SLURMD_NODENAME");
    let fields = c.wait_says(job, "no capacity", S).unwrap();
    assert_eq!(field(&fields, "JobState"), "PENDING");
    assert!(c.sim.as_ref().unwrap().living().unwrap().is_empty());
    assert!(c.awake().unwrap().is_empty(), "a refused launch touches no node");
    sim.capacity("hpc7a.96xlarge", Some(4)).unwrap();
    ran(&c, job, 4);
    finish(c);
}

#[test]
fn law6_every_wait_explains_itself() {
    let c = cluster("explains");
    let sim = c.sim.as_ref().unwrap();
    sim.capacity("hpc7a.96xlarge", Some(0)).unwrap();
    sim.capacity("hpc6a.48xlarge", Some(0)).unwrap();
    let job = submit(&c, 2, &[], "srun printenv SLURMD_NODENAME");
    let says = c.wait_says(job, "next try at", S).unwrap()["AdminComment"].clone();
    for word in ["[burst ", "no capacity", "InsufficientInstanceCapacity", "request id", "UTC"] {
        assert!(says.contains(word), "{word} is not in: {says}");
    }
    let held = submit(&c, 1, &["--dependency", &format!("afterany:{job}")], "srun printenv SLURMD_NODENAME");
    c.wait_says(held, "dependency", S).unwrap();
    let later = submit(&c, 1, &["--begin=now+1hour"], "true");
    c.wait_says(later, "--begin", S).unwrap();
    c.scancel(burst_e2e::User::Ordinary, later).unwrap();
    sim.capacity("hpc7a.96xlarge", None).unwrap();
    ran(&c, job, 2);
    ran(&c, held, 1);
    finish(c);
}

#[test]
fn else_local_and_else_cancel() {
    let spec = spec("else").simulator(&json!({"capacity": [
        {"type": "hpc7a.96xlarge", "count": 0}, {"type": "hpc6a.48xlarge", "count": 0}
    ]}));
    let c = Cluster::start(spec).unwrap();
    let local = submit(&c, 1, &["--burst", "--burst-else=local"], "printenv SLURMD_NODENAME");
    let gone = submit(&c, 1, &["--burst", "--burst-else=cancel"], "true");
    let done = c.wait_job(local, "COMPLETED", S).unwrap();
    assert_eq!((field(&done, "Partition"), field(&done, "NodeList")), ("cpu", "local1"));
    let fields = c.wait_job(gone, "CANCELLED", S).unwrap();
    assert!(field(&fields, "AdminComment").contains("capacity"), "{fields:#?}");
    assert_eq!(c.sim.as_ref().unwrap().state().unwrap()["instances"], json!([]));
    finish(c);
}

/// Capacity pools in an order of chance.
fn shuffled(mut pools: Vec<(String, String)>) -> Vec<(String, String)> {
    use std::hash::{BuildHasher, RandomState};
    let order = RandomState::new();
    pools.sort_by_key(|p| order.hash_one(p));
    pools
}

#[test]
fn law1_whole_or_nothing_seven_pools_of_ten_without_capacity_cost_nothing() {
    const GANGS: usize = 12;
    const NODES: u32 = 4;
    let types = [
        ("hpc7a.96xlarge", "efa7", 192, 747_110),
        ("hpc7a.48xlarge", "efa5", 96, 747_110),
        ("hpc7a.24xlarge", "efa4", 48, 747_110),
        ("hpc6a.48xlarge", "efa6", 96, 373_555),
    ];
    let zones =
        [("us-east-2a", "subnet-0aa10"), ("us-east-2b", "subnet-0aa11"), ("us-east-2c", "subnet-0aa12")];
    let pools = types.iter().flat_map(|t| zones.iter().map(|z| (t.0.to_owned(), z.0.to_owned()))).collect();
    let mut pools = shuffled(pools);
    let quarter = pools.len() / 4;
    // The place that is tried first has nothing: some fleet is refused, whatever chance says.
    let first = pools.iter().position(|p| (p.0.as_str(), p.1.as_str()) == (types[0].0, zones[0].0)).unwrap();
    if first < quarter {
        pools.swap(first, quarter);
    }
    let (with, without) = pools.split_at(quarter);
    // Half of them have nothing, half have some, but never a whole gang.
    let rules: Vec<Value> = without
        .iter()
        .enumerate()
        .map(|(n, (t, zone))| json!({"type": t, "zone": zone, "count": if n % 2 == 0 { 0 } else { NODES - 1 }}))
        .collect();
    // Else hpc types are in one zone only, and by chance no place were left.
    let everywhere: Map<String, Value> =
        types.iter().map(|t| (t.0.to_owned(), json!(zones.map(|z| z.0)))).collect();
    let mut spec = spec("scarce").simulator(&json!({"capacity": rules, "offerings": everywhere}));
    // Forty-eight boot on two processors: a slow one is not to be replaced, and counted twice.
    spec.pool_toml.push_str("boot_limit = \"5m\"\n");
    spec.zones = zones.map(|(zone, subnet)| (zone.to_owned(), subnet.to_owned())).to_vec();
    spec.blocks = types
        .map(|(kind, prefix, cpus, memory)| BlockSpec {
            instance_type: kind.into(),
            prefix: prefix.into(),
            count: 32,
            cpus,
            memory,
        })
        .to_vec();
    let c = Cluster::start(spec).unwrap();
    let jobs: Vec<u32> =
        (0..GANGS).map(|_| submit(&c, NODES, &[], "srun printenv SLURMD_NODENAME")).collect();
    for job in &jobs {
        ran(&c, *job, NODES);
    }
    let state = c.sim.as_ref().unwrap().state().unwrap();
    let fleets = state["fleets"].as_array().unwrap();
    let all = state["instances"].as_array().unwrap();
    let refused = asked(&c, "CreateFleet").len() - GANGS;
    println!(
        "scarce: {} of {} pools without capacity, {refused} fleets refused, {GANGS} gangs of {NODES} ran in {} pools, {} instances ever",
        without.len(),
        pools.len(),
        with.len(),
        all.len()
    );
    assert!(without.len() * 10 >= pools.len() * 7 && refused > 0, "{without:?}: {fleets:?}");
    assert_eq!(all.len(), GANGS * NODES as usize, "a refused gang had instances: {all:#?}");
    let prefixes = types.map(|t| format!("{}-", t.1)).to_vec();
    // Epilogs of all the gangs' nodes at once on two cores.
    finish_expecting(c, &Expect { prefixes, after_end_ms: 60_000, ..Expect::default() });
}
