//! The harness with the simulator, without the controller plugin: what the plugin will find.

use crate::help::S;
use burst_e2e::{Cluster, ClusterSpec};

#[test]
fn a_cloud_node_powers_up_and_down_by_hand() {
    let mut spec = ClusterSpec::new("by-hand").sized(2);
    spec.plugin = false;
    let mut c = Cluster::start(spec).unwrap();
    assert_eq!(c.awake().unwrap(), []);
    assert!(c.sim.as_ref().unwrap().living().unwrap().is_empty());
    assert!(c.scontrol(&["update", "nodename=efa7-0001", "state=power_up"]).unwrap().ok());
    burst_e2e::proc::wait_until(S, || {
        Ok(c.awake()?.iter().any(|(n, s)| n == "efa7-0001" && s.contains("POWERING_UP")).then_some(()))
    })
    .unwrap();
    assert!(c.scontrol(&["update", "nodename=efa7-0001", "state=power_down_force"]).unwrap().ok());
    c.wait_quiet(S).unwrap();
    c.stop();
    assert!(c.processes().is_empty());
}
