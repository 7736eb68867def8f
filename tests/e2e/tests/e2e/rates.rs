//! EC2's rates: launches keep to them, say how long it takes, and are never throttled.

use crate::help::*;
use burst_e2e::Cluster;
use burst_e2e::proc::wait_until;
use serde_json::json;

#[test]
fn launches_keep_to_ec2s_rates_and_say_how_long_it_takes() {
    let mut spec = spec("rates").simulator(&json!({"knobs": {"throttling": true}}));
    spec.burst_toml = "[rates]\nlaunch = \"1/1\"\n".into();
    let c = Cluster::start(spec).unwrap();
    let ctl = |word| c.run(burst_e2e::User::Root, "burstctl", &[word, "efa"], "").unwrap().ok();
    // All at once, however long their submission takes.
    wait_until(S, || Ok(ctl("pause").then_some(()))).unwrap();
    let jobs: Vec<u32> = (0..6).map(|_| submit(&c, 1, &[], "srun printenv SLURMD_NODENAME")).collect();
    let last = *jobs.last().unwrap();
    c.wait_says(last, "was paused by", S).unwrap();
    assert!(ctl("resume"));
    for job in &jobs {
        ran(&c, *job, 1);
    }
    // Whichever was first: the others were told. What a comment said for a second is in slurmctld's log.
    let log = c.log();
    let told = |job: &&u32| {
        let of = format!(" for JobId={job}");
        let says = ["setting admin_comment", "EC2's request budget", "expected in about", " UTC)"];
        log.lines().any(|l| l.ends_with(&of) && says.iter().all(|word| l.contains(word)))
    };
    assert!(jobs.iter().filter(told).count() >= 4, "{log}");
    let fleets = asked(&c, "CreateFleet");
    assert_eq!(fleets.len(), jobs.len(), "{fleets:#?}");
    let audit = std::fs::read_to_string(c.sim.as_ref().unwrap().audit()).unwrap();
    assert!(!audit.contains("RequestLimitExceeded"), "EC2 throttled");
    finish(c);
}
