//! Some hundred seeds, and that a seed always tells the same story.
#![allow(clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds of every run; `make soak SEEDS=10000` tells more.
const SEEDS: u64 = 200;
/// Jobs of each: few enough for a test, `make soak` has 50.
const JOBS: u64 = 30;
/// (seed, jobs) that broke a law once.
const REGRESSIONS: &[(u64, u64)] = &[
    (1, 3),
    (15, 50),
    (25, 7),
    (25, 50),
    (27, 50),
    (227, 50),
    (332, 50),
    (697, 50),
    (868, 50),
    (1184, 50),
    (1529, 50),
    (1808, 50),
    (2046, 50),
    (110, 50),
    (880, 50),
    (718, 50),
    (2283, 50),
    (2362, 50),
    (7746, 50),
    (1354, 50),
    (3366, 50),
    (8957, 50),
    (8849, 50),
    (6425, 50),
];

fn fine(seed: u64, jobs: u64) {
    let told = burst_soak::run(seed, jobs);
    assert!(told.broken.is_empty(), "burst-soak 1 {jobs} {seed} replays it: {:#?}", told.broken);
}

#[test]
fn no_seed_breaks_a_law() {
    let next = AtomicU64::new(1);
    std::thread::scope(|s| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            s.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > SEEDS {
                        return;
                    }
                    fine(seed, JOBS);
                }
            });
        }
    });
}

#[test]
fn what_broke_once_holds() {
    REGRESSIONS.iter().for_each(|(seed, jobs)| fine(*seed, *jobs));
}

#[test]
fn a_pause_outlives_a_restart() {
    assert_eq!(burst_soak::a_pause(), Ok(()));
}

#[test]
fn a_region_that_is_dropped_is_given_back_all_the_same() {
    assert_eq!(burst_soak::a_region_that_is_dropped(), Ok(()));
}

#[test]
fn a_template_that_nothing_uses_is_deleted_in_time() {
    assert_eq!(burst_soak::a_template_that_nothing_uses(), Ok(()));
}

#[test]
fn a_name_that_comes_up_while_its_instance_is_ended_is_powered_down_beside_the_call() {
    assert_eq!(burst_soak::a_name_that_comes_up_at_the_end(), Ok(()));
}

#[test]
fn a_job_that_comes_back_while_its_instances_are_ended_is_held_beside_the_call() {
    assert_eq!(burst_soak::a_job_that_comes_back_at_the_end(), Ok(()));
}

#[test]
fn a_full_disk_stops_launches_and_nothing_else() {
    assert_eq!(burst_soak::a_full_disk(), Ok(()));
}

#[test]
fn a_seed_tells_one_story_and_a_rich_one() {
    let (a, b) = (burst_soak::run(7, 40), burst_soak::run(7, 40));
    assert_eq!(a, b, "a seed is its own replay");
    assert_ne!(a.log, burst_soak::run(8, 40).log);
    let mut all = std::collections::BTreeMap::new();
    for seed in 1..=8 {
        for (kind, n) in burst_soak::run(seed, 40).counts {
            *all.entry(kind).or_insert(0) += n;
        }
    }
    let parts = ["gangs in parts", "mixed gangs", "parts given back", "reserved", "abroad"];
    let usual = ["jobs", "starts", "fleets", "faults", "kills", "takeovers", "requeues", "deaths"];
    for kind in usual.into_iter().chain(parts) {
        assert!(all.get(kind).copied().unwrap_or(0) > 0, "nothing of the kind {kind} happened: {all:?}");
    }
}
