//! EC2 that cannot be used: the job waits with a reason, and the controller is unhurt.

use crate::help::*;
use burst_e2e::show::field;
use burst_e2e::{Cluster, User};
use serde_json::json;

const SCRIPT: &str = "srun printenv SLURMD_NODENAME";

#[test]
fn law4_without_credentials_the_job_waits_and_the_controller_is_unhurt() {
    let mut spec = spec("no-credentials");
    spec.credentials = false;
    let mut c = Cluster::start(spec).unwrap();
    let job = submit(&c, 2, &[], SCRIPT);
    let fields = c.wait_says(job, "credentials", S).unwrap();
    holds(&fields["AdminComment"], &["NoCredentials", "IAM role", "next try at"], &"the reason");
    assert_eq!(field(&fields, "JobState"), "PENDING");
    c.wait_job(foreign(&c), "COMPLETED", S).unwrap();
    assert!(c.slurmctld_alive() && c.awake().unwrap().is_empty());
    c.scancel(User::Ordinary, job).unwrap();
    // The administrator gives slurmctld credentials; nothing else has to be put right.
    c.spec.credentials = true;
    c.restart_slurmctld().unwrap();
    let job = submit(&c, 2, &[], SCRIPT);
    ran(&c, job, 2);
    finish(c);
}

#[test]
fn law4_an_endpoint_that_refuses_connections_and_comes_back() {
    let mut spec = spec("refusing");
    spec.ec2_relay = true;
    let mut c = Cluster::start(spec).unwrap();
    let pid = c.slurmctld_pid();
    c.ec2_relay.as_mut().unwrap().close();
    let job = submit(&c, 2, &[], SCRIPT);
    let fields = c.wait_says(job, "Last try failed: Connect", S).unwrap();
    assert_eq!(field(&fields, "JobState"), "PENDING");
    c.wait_job(foreign(&c), "COMPLETED", S).unwrap();
    assert!(c.awake().unwrap().is_empty(), "no node is touched");
    c.ec2_relay.as_mut().unwrap().open().unwrap();
    ran(&c, job, 2);
    assert!(c.slurmctld_alive() && c.slurmctld_pid() == pid);
    finish(c);
}

#[test]
fn law1_ec2_that_breaks_its_promise_of_all_or_nothing_gets_its_part_back() {
    let mut spec = spec("promise");
    spec.ec2_relay = true;
    let c = Cluster::start(spec).unwrap();
    let sim = c.sim.as_ref().unwrap();
    sim.capacity("hpc7a.96xlarge", Some(3)).unwrap();
    // EC2 is told of a smaller least number than the plugin asked for: it grants three of four.
    let relay = c.ec2_relay.as_ref().unwrap();
    relay.rewrite("MinTargetCapacity=4", "MinTargetCapacity=1").unwrap();
    let job = submit(&c, 4, &[], SCRIPT);
    // The next place has all four.
    ran(&c, job, 4);
    assert!(relay.rewritten() >= 2, "both fleets went through the relay");
    let state = sim.state().unwrap();
    let mut of: Vec<usize> = state["fleets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["instances"].as_array().unwrap().len())
        .collect();
    of.sort_unstable();
    assert_eq!(of, [3, 4], "{state}");
    let nodes = c.job(job).unwrap();
    assert!(field(&nodes, "NodeList").starts_with("efa6-"), "{nodes:#?}");
    finish(c);
}

#[test]
fn a_subnet_of_another_zone_is_told_and_launches_nothing() {
    let mut spec = spec("zone");
    // The subnet lies in us-east-2b.
    spec.zones = vec![("us-east-2a".into(), "subnet-0aa11".into())];
    let c = Cluster::start(spec).unwrap();
    let out = c.sbatch_raw(User::Ordinary, &usual("2", &["-o", "/dev/null"]), "true").unwrap();
    let text = match out.out.trim().parse::<u32>() {
        Ok(job) => {
            let says = c.wait_says(job, "subnet-0aa11", S).unwrap()["AdminComment"].clone();
            c.scancel(User::Ordinary, job).unwrap();
            says
        }
        Err(_) => out.text(),
    };
    holds(&text, &["subnet-0aa11", "us-east-2a"], &"the reason");
    assert_eq!(c.sim.as_ref().unwrap().state().unwrap()["instances"], json!([]));
    finish(c);
}
