//! Every instance with its own network namespace and address, slurmd on the usual port, addresses unknown to slurm.conf.

use crate::help::*;
use burst_e2e::{Cluster, Network};

#[test]
fn sixteen_nodes_with_addresses_of_their_own() {
    let mut spec = spec("netns");
    spec.network = Network::Netns;
    let c = Cluster::start(spec).unwrap();
    let conf = std::fs::read_to_string(c.at.slurm_conf()).unwrap();
    assert!(!conf.lines().any(|l| l.starts_with("NodeName=efa") && l.contains("NodeAddr")), "{conf}");
    let job = submit(&c, 16, &[], "srun printenv SLURMD_NODENAME");
    ran(&c, job, 16);
    finish(c);
}
