//! No capacity: waiting and saying so, going elsewhere, giving up.

use crate::help::*;
use burst_e2e::show::field;
use serde_json::json;

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
    let c = burst_e2e::Cluster::start(spec).unwrap();
    let local = submit(&c, 1, &["--burst", "--burst-else=local"], "printenv SLURMD_NODENAME");
    let gone = submit(&c, 1, &["--burst", "--burst-else=cancel"], "true");
    let done = c.wait_job(local, "COMPLETED", S).unwrap();
    assert_eq!((field(&done, "Partition"), field(&done, "NodeList")), ("cpu", "local1"));
    let fields = c.wait_job(gone, "CANCELLED", S).unwrap();
    assert!(field(&fields, "AdminComment").contains("capacity"), "{fields:#?}");
    assert_eq!(c.sim.as_ref().unwrap().state().unwrap()["instances"], json!([]));
    finish(c);
}
