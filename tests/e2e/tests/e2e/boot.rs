//! Instances that do not come up.

use crate::help::*;
use burst_e2e::Cluster;
use burst_e2e::proc::wait_until;
use serde_json::json;

#[test]
fn law1_an_instance_that_dies_booting_costs_the_whole_gang_and_no_node() {
    let c = Cluster::start(spec("boot-failure").pool("boot_limit = \"25s\"")).unwrap();
    let sim = c.sim.as_ref().unwrap();
    sim.settings(&json!({"pending_ms": 4000})).unwrap();
    let job = submit(&c, 4, &[], "srun printenv SLURMD_NODENAME");
    let first = wait_until(S, || Ok(Some(sim.living_of(job)?).filter(|l| l.len() == 4))).unwrap();
    c.wait_says(job, "booting", S).unwrap();
    sim.stop_instance(&first[1]).unwrap();
    sim.settings(&json!({"pending_ms": 300})).unwrap();
    ran(&c, job, 4);
    finish(c);
}
