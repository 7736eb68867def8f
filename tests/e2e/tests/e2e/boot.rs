//! Instances that do not come up.

use crate::help::*;
use burst_e2e::Cluster;
use burst_e2e::proc::wait_until;
use serde_json::json;

/// A job of four nodes whose instances EC2 has granted and not begun to boot.
fn four_pending(name: &str, boot_limit: &str) -> (Cluster, u32, Vec<String>) {
    let c = Cluster::start(spec(name).pool(&format!("boot_limit = \"{boot_limit}\""))).unwrap();
    let sim = c.sim.as_ref().unwrap();
    sim.settings(&json!({"pending_ms": 10_000})).unwrap();
    let job = submit(&c, 4, &[], "srun printenv SLURMD_NODENAME; sleep 2");
    let first = wait_until(S, || Ok(Some(sim.living_of(job)?).filter(|l| l.len() == 4))).unwrap();
    (c, job, first)
}

#[test]
fn law1_an_instance_that_dies_booting_is_replaced_and_costs_no_node() {
    let (c, job, first) = four_pending("boot-failure", "90s");
    let sim = c.sim.as_ref().unwrap();
    c.wait_says(job, "booting", S).unwrap();
    sim.stop_instance(&first[1]).unwrap();
    sim.settings(&json!({"pending_ms": 300})).unwrap();
    // EC2's list tells that it is gone, long before boot_limit; three stay, one comes.
    wait_until(S, || Ok(c.log().contains("EC2 has ended the instance; replaced").then_some(()))).unwrap();
    let whole = || Ok(Some(sim.living_of(job)?).filter(|l| l.len() == 4 && !l.contains(&first[1])));
    let now = wait_until(S, whole).unwrap();
    let stayed = now.iter().filter(|i| first.contains(i)).count();
    assert_eq!(stayed, 3, "first {first:?}, then {now:?}");
    ran(&c, job, 4);
    finish(c);
}

#[test]
fn law1_an_instance_that_never_registers_is_replaced_at_the_boot_limit() {
    let (c, job, first) = four_pending("boot-hung", "40s");
    let sim = c.sim.as_ref().unwrap();
    sim.hang_instance(&first[1]).unwrap();
    sim.settings(&json!({"pending_ms": 300})).unwrap();
    wait_until(S, || Ok(c.log().contains(&format!("({}); replaced", first[1])).then_some(()))).unwrap();
    assert!(c.log().contains("not registered within boot_limit"), "{}", c.log());
    let whole = || Ok(Some(sim.living_of(job)?).filter(|l| l.len() == 4 && !l.contains(&first[1])));
    let now = wait_until(S, whole).unwrap();
    // The others have used up their time, too, but they are up.
    let stayed = now.iter().filter(|i| first.contains(i)).count();
    assert_eq!(stayed, 3, "first {first:?}, then {now:?}");
    ran(&c, job, 4);
    finish(c);
}

#[test]
fn law1_half_a_gang_that_does_not_boot_costs_the_whole_gang_and_no_node() {
    let (c, job, first) = four_pending("boot-limit", "40s");
    let sim = c.sim.as_ref().unwrap();
    c.wait_says(job, "booting", S).unwrap();
    for id in &first[..3] {
        sim.stop_instance(id).unwrap();
    }
    sim.settings(&json!({"pending_ms": 300})).unwrap();
    let next = wait_until(S, || {
        let living = sim.living_of(job)?;
        Ok(Some(living).filter(|l| l.len() == 4 && l.iter().all(|i| !first.contains(i))))
    })
    .unwrap();
    assert_eq!(next.len(), 4, "the one that booted was given back with the others");
    ran(&c, job, 4);
    finish(c);
}
