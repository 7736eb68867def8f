//! Instances that carry our cluster's tag and belong to no living gang.

use crate::help::*;
use burst_e2e::checker::Expect;
use burst_e2e::proc::wait_until;
use burst_e2e::{Cluster, User};
use serde_json::json;
use std::collections::BTreeMap;

#[test]
fn law3_no_orphan_what_belongs_to_no_living_gang_is_ended_and_others_are_spared() {
    // Instances are records here: nothing in them could end itself.
    let c = Cluster::start(spec("orphan").simulator(&json!({"instance_command": []}))).unwrap();
    let sim = c.sim.as_ref().unwrap();
    let job = submit(&c, 2, &[], "true");
    c.wait_says(job, "booting", S).unwrap();
    c.scancel(User::Ordinary, job).unwrap();
    c.wait_quiet(S).unwrap();
    // The same launch once more, by nobody: with a gang that nobody knows, and for another cluster.
    let fleet = asked(&c, "CreateFleet").into_iter().next().unwrap();
    let again = |gang: &str, cluster: Option<&str>| launch_again(&c, "us-east-2", &fleet, gang, cluster);
    again("feedfeedfeedfeed", None);
    again("0123456789abcdef", Some("00000000-0000-4000-8000-000000000000"));
    let living = || living_gangs(&c);
    assert_eq!(living().unwrap().len(), 4);
    wait_until(S, || Ok((!living()?.iter().any(|g| g == "feedfeedfeedfeed")).then_some(()))).unwrap();
    assert_eq!(living().unwrap(), ["0123456789abcdef"; 2], "another cluster's are none of our business");
    assert!(c.log().contains("instances of no living gang are ended"), "the log says so");
    let mut end = BTreeMap::from(
        [("Action", "TerminateInstances"), ("Version", "2016-11-15")]
            .map(|(k, v)| (k.to_owned(), v.to_owned())),
    );
    for (n, id) in sim.living().unwrap().into_iter().enumerate() {
        end.insert(format!("InstanceId.{}", n + 1), id);
    }
    call(&c, "us-east-2", &end);
    finish_expecting(c, &Expect { after_end_ms: 120_000, ..Expect::default() });
}
