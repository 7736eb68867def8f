//! What is reserved first, another Region last.

use crate::help::*;
use burst_e2e::checker::Expect;
use burst_e2e::proc::wait_until;
use burst_e2e::{BlockSpec, Cluster, ClusterSpec, User};
use serde_json::{Value, json};

/// A pool with a second Region, at the same simulator.
fn two_regions(name: &str) -> ClusterSpec {
    let mut spec = spec(name).simulator(&json!({"regions": {"us-west-2": {
        "zones": ["us-west-2a", "us-west-2b"],
        "subnets": [{"id": "subnet-0bb11", "zone": "us-west-2b"}],
        "images": [{"id": "ami-0burst0000000west"}],
        "security_groups": [{"id": "sg-0burst000000west", "name": "west"}],
    }}}));
    spec.burst_toml.push_str(
        "[pool.efa.region.us-west-2]\nzones = { \"us-west-2b\" = \"subnet-0bb11\" }\n\
         image = \"ami-0burst0000000west\"\nsecurity_groups = [\"sg-0burst000000west\"]\n\
         [aws.endpoints]\nus-west-2 = \"{sim}\"\n",
    );
    spec
}

fn instances(c: &Cluster) -> Vec<Value> {
    c.sim.as_ref().unwrap().state().unwrap()["instances"].as_array().cloned().unwrap_or_default()
}

/// Waits until EC2 has told of so many reservations: before, they are tried in hope, or passed over.
fn looked_at(c: &Cluster, reservations: usize) {
    wait_until(S, || {
        let out = c.run(User::Root, "burstctl", &["status", "--json"], "")?;
        let status: Value = serde_json::from_str(&out.out).unwrap_or_default();
        Ok((status["reservations"].as_array().map(Vec::len) == Some(reservations)).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_gang_moves_to_the_second_region_when_the_first_is_full_and_leaves_nothing_behind() {
    let c = Cluster::start(two_regions("abroad")).unwrap();
    let sim = c.sim.as_ref().unwrap();
    // None in the first Region, whatever the type.
    sim.admin("POST", "capacity", Some(&json!({"zone": "us-east-2b", "count": 0}))).unwrap();
    let job = submit(&c, 3, &[], "srun printenv SLURMD_NODENAME");
    ran(&c, job, 3);
    let all = instances(&c);
    assert_eq!(all.len(), 3, "{all:#?}");
    assert!(all.iter().all(|i| i["zone"] == "us-west-2b"), "{all:#?}");
    // The first Region has room again, and is the first again.
    sim.admin("POST", "capacity", Some(&json!({"zone": "us-east-2b", "count": 8}))).unwrap();
    let job = submit(&c, 2, &[], "srun printenv SLURMD_NODENAME");
    ran(&c, job, 2);
    let zones: Vec<Value> = instances(&c).iter().map(|i| i["zone"].clone()).collect();
    assert_eq!(zones.iter().filter(|z| *z == "us-east-2b").count(), 2, "{zones:?}");
    finish(c);
}

#[test]
fn a_cancel_ends_instances_where_they_are() {
    // Instances are records here: nothing in them could end itself.
    let c = Cluster::start(two_regions("far-orphan").simulator(&json!({"instance_command": []}))).unwrap();
    let sim = c.sim.as_ref().unwrap();
    sim.admin("POST", "capacity", Some(&json!({"zone": "us-east-2b", "count": 0}))).unwrap();
    let job = submit(&c, 2, &[], "true");
    c.wait_says(job, "booting", S).unwrap();
    assert_eq!(sim.living_of(job).unwrap().len(), 2);
    c.scancel(User::Ordinary, job).unwrap();
    c.wait_quiet(S).unwrap();
    assert!(sim.living().unwrap().is_empty(), "ended where they are");
    finish(c);
}

#[test]
fn law3_no_orphan_in_the_second_region_either() {
    let c = Cluster::start(two_regions("far-stray").simulator(&json!({"instance_command": []}))).unwrap();
    let sim = c.sim.as_ref().unwrap();
    sim.admin("POST", "capacity", Some(&json!({"zone": "us-east-2b", "count": 0}))).unwrap();
    let job = submit(&c, 2, &[], "true");
    c.wait_says(job, "booting", S).unwrap();
    c.scancel(User::Ordinary, job).unwrap();
    c.wait_quiet(S).unwrap();
    let fleet =
        asked(&c, "CreateFleet").into_iter().rfind(|f| f.to_string().contains("subnet-0bb11")).unwrap();
    launch_again(&c, "us-west-2", &fleet, "feedfeedfeedfeed", None);
    assert_eq!(living_gangs(&c).unwrap(), ["feedfeedfeedfeed"; 2]);
    wait_until(S, || Ok(living_gangs(&c)?.is_empty().then_some(()))).unwrap();
    assert!(c.log().contains("instances of no living gang are ended"), "the log says so");
    finish_expecting(c, &Expect { after_end_ms: 120_000, ..Expect::default() });
}

#[test]
fn a_targeted_reservation_serves_where_the_market_has_nothing() {
    let spec = spec("reserved").simulator(&json!({
        "capacity": [{"type": "hpc7a.96xlarge", "count": 0}, {"type": "hpc6a.48xlarge", "count": 0}],
        "reservations": [
            {"id": "cr-0a1", "type": "hpc7a.96xlarge", "zone": "us-east-2b", "count": 2},
            {"id": "cr-0a2", "type": "hpc6a.48xlarge", "zone": "us-east-2b", "count": 6},
        ],
    }));
    let mut spec = spec;
    spec.burst_toml.push_str(
        "[[pool.efa.reservation]]\nid = \"cr-0a1\"\ntype = \"hpc7a.96xlarge\"\nzone = \"us-east-2b\"\ngroup = \"none\"\n\
         [[pool.efa.reservation]]\nid = \"cr-0a2\"\ntype = \"hpc6a.48xlarge\"\nzone = \"us-east-2b\"\ngroup = \"none\"\n",
    );
    let c = Cluster::start(spec).unwrap();
    looked_at(&c, 2);
    // Three do not fit the first reservation: no call is made for it.
    let job = submit(&c, 3, &[], "srun printenv SLURMD_NODENAME");
    ran(&c, job, 3);
    let all = instances(&c);
    assert!(all.iter().all(|i| i["capacity_reservation"] == "cr-0a2"), "{all:#?}");
    let fleets = asked(&c, "CreateFleet");
    assert_eq!(fleets.len(), 1, "what is full costs no call: {fleets:#?}");
    let first = "OnDemandOptions.CapacityReservationOptions.UsageStrategy";
    assert_eq!(fleets[0]["params"][first], "use-capacity-reservations-first");
    let target =
        "LaunchTemplateData.CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId";
    let named: Vec<Value> =
        asked(&c, "CreateLaunchTemplate").iter().map(|t| t["params"][target].clone()).collect();
    assert!(named.contains(&json!("cr-0a1")) && named.contains(&json!("cr-0a2")), "{named:?}");
    let job = submit(&c, 2, &[], "srun printenv SLURMD_NODENAME");
    ran(&c, job, 2);
    let used: Vec<Value> = instances(&c).iter().map(|i| i["capacity_reservation"].clone()).collect();
    assert_eq!(used.iter().filter(|id| **id == json!("cr-0a1")).count(), 2, "{used:?}");
    // More than is reserved or for sale: it waits, and says why.
    let job = submit(&c, 7, &[], "true");
    let says = c.wait_says(job, "not used: ", S).unwrap()["AdminComment"].clone();
    assert!(says.contains("cr-0a1: ") && says.contains("instances are free"), "{says}");
    c.scancel(User::Ordinary, job).unwrap();
    finish(c);
}

#[test]
fn a_capacity_block_serves_and_a_reservation_of_a_placement_group_does() {
    let mut spec = spec("block").simulator(&json!({
        "capacity": [{"type": "trn1.32xlarge", "count": 0}, {"type": "hpc6a.48xlarge", "count": 0}],
        "reservations": [
            {"id": "cr-0b1", "type": "trn1.32xlarge", "zone": "us-east-2b", "count": 2, "kind": "capacity-block"},
            {"id": "cr-0b2", "type": "hpc6a.48xlarge", "zone": "us-east-2b", "count": 3, "group": "ours"},
        ],
    }));
    // hpc types cannot be had in Capacity Blocks.
    spec.blocks[0] = BlockSpec {
        instance_type: "trn1.32xlarge".into(),
        prefix: "efa1".into(),
        count: 4,
        cpus: 128,
        memory: 498_073,
    };
    spec.efa_devices = 8;
    spec.burst_toml.push_str(
        "[[pool.efa.reservation]]\nid = \"cr-0b1\"\ntype = \"trn1.32xlarge\"\nzone = \"us-east-2b\"\n\
         kind = \"capacity-block\"\n\
         [[pool.efa.reservation]]\nid = \"cr-0b2\"\ntype = \"hpc6a.48xlarge\"\nzone = \"us-east-2b\"\ngroup = \"ours\"\n",
    );
    let c = Cluster::start(spec).unwrap();
    looked_at(&c, 2);
    let group = [("Action", "CreatePlacementGroup"), ("GroupName", "ours"), ("Strategy", "cluster")];
    let group = [group.as_slice(), &[("Version", "2016-11-15")]].concat();
    call(&c, "us-east-2", &group.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
    let of = |nodes: u32| {
        let job = submit(&c, nodes, &[], "srun printenv SLURMD_NODENAME");
        ran(&c, job, nodes);
        let own =
            instances(&c).into_iter().filter(|i| i["tags"]["slurm-burst:job"] == json!(job.to_string()));
        own.map(|i| (i["capacity_reservation"].clone(), i["group"].clone(), i["market"].clone()))
            .collect::<Vec<_>>()
    };
    let block = of(2);
    assert_eq!(block, vec![(json!("cr-0b1"), Value::Null, json!("capacity-block")); 2]);
    let grouped = of(3);
    assert_eq!(grouped, vec![(json!("cr-0b2"), json!("ours"), json!("on-demand")); 3]);
    assert_eq!(asked(&c, "CreateFleet").len(), 2, "each was granted at once");
    let prefixes = vec!["efa1-".into(), "efa6-".into()];
    finish_expecting(c, &Expect { prefixes, ..Expect::default() });
}
