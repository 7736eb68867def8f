//! Several Regions of one account.

use crate::harness::{Sim, all, fleet_params, ids, until};
use serde_json::json;

const FAR: &str = "us-west-2";

fn start() -> Sim {
    Sim::start(
        "[regions.us-west-2]\nzones = ['us-west-2a', 'us-west-2b']\n\
         subnets = [{ id = 'subnet-0bb11', zone = 'us-west-2b' }]\nimages = [{ id = 'ami-0burst0000000west' }]\n\
         security_groups = [{ id = 'sg-0west', name = 'west' }]\n",
    )
}

fn far(s: &Sim, action: &str, params: &[(&str, &str)]) -> String {
    let (status, text) = s.try_call_in(FAR, action, params).unwrap();
    assert_eq!(status, 200, "{action}: {text}");
    text
}

#[test]
fn a_call_is_for_the_region_of_its_scope_and_each_has_its_own_things() {
    let s = start();
    s.template("tpl", &[]);
    let template = [("LaunchTemplateName", "tpl"), ("LaunchTemplateData.ImageId", "ami-0burst0000000west")];
    far(&s, "CreateLaunchTemplate", &template);
    assert_eq!(ids(&s.fleet(2, true, &["hpc7a.96xlarge"], &[])).len(), 2);
    let mut p = fleet_params("3", true, &["hpc7a.96xlarge"]);
    for (k, v) in &mut p {
        if k.ends_with("SubnetId") {
            *v = "subnet-0bb11".into();
        }
    }
    let p: Vec<(&str, &str)> = p.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let there = far(&s, "CreateFleet", &p);
    assert_eq!((ids(&there).len(), all(&there, "availabilityZone")), (3, vec!["us-west-2b".to_owned()]));
    assert_eq!(ids(&s.ok("DescribeInstances", &[])).len(), 0, "a word of fleets only");
    assert_eq!(all(&s.ok("DescribeInstances", &[]), "instanceId").len(), 2);
    assert_eq!(all(&far(&s, "DescribeInstances", &[]), "instanceId").len(), 3);
    assert_eq!(s.state()["instances"].as_array().unwrap().len(), 5, "an administrator sees all");
    // Ids of one Region are unknown in the other.
    let id = ids(&there).remove(0);
    let named = [("InstanceId.1", id.as_str())];
    assert_eq!(s.refused("TerminateInstances", &named), (400, "InvalidInstanceID.NotFound".into()));
    far(&s, "TerminateInstances", &named);
    let gone = |s: &Sim| {
        let state = s.state();
        let found = state["instances"].as_array().unwrap().iter().find(|i| i["id"] == id.as_str()).cloned();
        found.is_some_and(|i| i["state"] == "terminated").then_some(())
    };
    until("it ends where it is", || gone(&s));
    // A zone's capacity is its Region's.
    s.admin("POST", "capacity", &json!({"zone": "us-west-2b", "count": 2}));
    assert_eq!(all(&far(&s, "CreateFleet", &p), "errorCode"), ["InsufficientInstanceCapacity"]);
    assert_eq!(ids(&s.fleet(2, true, &["hpc7a.96xlarge"], &[])).len(), 2);
    let (status, text) = s.try_call_in("eu-west-1", "DescribeInstances", &[]).unwrap();
    assert_eq!((status, all(&text, "Code").remove(0)), (401, "AuthFailure".into()));
}
