//! scancel at every point of a gang's way.

use crate::help::*;
use burst_e2e::User;
use serde_json::json;

#[test]
fn cancelled_waiting_launching_booting_and_running() {
    let c = cluster("cancel");
    let sim = c.sim.as_ref().unwrap();
    let user = User::Ordinary;

    sim.capacity("hpc6a.48xlarge", Some(0)).unwrap();
    let waiting = submit(&c, 2, &["--burst", "--burst-types=hpc6a.48xlarge"], "true");
    c.wait_says(waiting, "no capacity", S).unwrap();
    c.scancel(user, waiting).unwrap();
    c.wait_job(waiting, "CANCELLED", S).unwrap();

    sim.settings(&json!({"latency_ms": 1500})).unwrap();
    let launching = submit(&c, 2, &[], "sleep 300");
    c.wait_phase(launching, "Launching", S).unwrap();
    c.scancel(user, launching).unwrap();
    c.wait_job(launching, "CANCELLED", S).unwrap();
    sim.settings(&json!({"latency_ms": 0})).unwrap();
    c.wait_quiet(S).unwrap();

    sim.settings(&json!({"pending_ms": 20000})).unwrap();
    let booting = submit(&c, 2, &[], "true");
    c.wait_says(booting, "booting", S).unwrap();
    c.scancel(user, booting).unwrap();
    c.wait_job(booting, "CANCELLED", S).unwrap();
    c.wait_quiet(S).unwrap();
    sim.settings(&json!({"pending_ms": 300})).unwrap();

    let running = submit(&c, 2, &[], "sleep 300");
    c.wait_job(running, "RUNNING", S).unwrap();
    c.snapshot().unwrap();
    c.scancel(user, running).unwrap();
    c.wait_job(running, "CANCELLED", S).unwrap();
    finish(c);
}
