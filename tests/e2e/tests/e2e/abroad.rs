//! What is reserved first, another Region last.

use crate::help::*;
use burst_e2e::{Cluster, ClusterSpec};
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
    c.scancel(burst_e2e::User::Ordinary, job).unwrap();
    c.wait_quiet(S).unwrap();
    assert!(sim.living().unwrap().is_empty(), "ended where they are");
    finish(c);
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
    c.scancel(burst_e2e::User::Ordinary, job).unwrap();
    finish(c);
}
