//! Lives as the state machine lives them.

use super::*;
use crate::gang::{Gang, JobFacts, JobKey, Then};
use burst_plan::{Geometry, Market, Request};

fn gang() -> Gang {
    let geometry = Geometry { name: "wave".into(), account: "lab".into(), ..Geometry::default() };
    let mut g = Gang::new("00000000000000aa".into(), 7, "efa".into(), Request::default(), geometry, 1_000);
    g.job = Some(JobKey { id: 12, text: "12".into(), submit: 1, restart: 0 });
    g
}

fn rung() -> Rung {
    Rung {
        block: 0,
        instance_type: "hpc7a.96xlarge".into(),
        zone: "us-east-2b".into(),
        subnet: "subnet-1".into(),
        market: Market::OnDemand,
        nodes: 2,
        efa: 2,
        hourly: None,
        max_price: None,
        reservation: None,
        region: None,
    }
}

fn member(id: &str, node: &str, at: u64) -> Member {
    Member { ip: "10.0.0.1".parse().ok(), ..Member::new(id.into(), node.into(), at) }
}

fn ending(then: Then, stage: Stage) -> Phase {
    Phase::Ending { then, stage, retry_ms: 0, tries: 0 }
}

/// Changes the gang and looks at it.
fn go(g: &mut Gang, seen: &Seen, now: u64, change: impl FnOnce(&mut Gang)) -> Option<Box<Life>> {
    let before = g.clone();
    change(g);
    observe(&before, g, seen, now)
}

fn running(g: &mut Gang) {
    let none = Seen::Unknown;
    assert!(go(g, &none, 2_000, |g| g.enter(Phase::Planned, "held", 2_000)).is_none());
    go(g, &none, 2_500, |g| {
        g.attempt += 1;
        g.enter(Phase::Launching { rung: rung(), retry_ms: 0, tries: 0 }, "launching", 2_500);
    });
    go(g, &none, 3_000, |g| {
        g.paid += 1;
        g.members = vec![member("i-1", "n1", 3_000), member("i-2", "n2", 3_000)];
        g.enter(Phase::Granted { look_ms: 0 }, "granted", 3_000);
    });
    go(g, &none, 4_000, |g| g.enter(Phase::Booting { deadline_ms: 9_000 }, "up", 4_000));
    go(g, &none, 60_000, |g| g.enter(Phase::Ready { retry_ms: 0, tries: 0 }, "ready", 60_000));
    go(g, &none, 60_100, |g| g.enter(Phase::Released { deadline_ms: 0 }, "released", 60_100));
    go(g, &record(1, 0), 61_000, |g| g.enter(Phase::Running, "started", 61_000));
}

fn record(state: u32, restarts: u32) -> Seen {
    let facts =
        JobFacts { end: 90, exit: 3 << 8, derived: 9, nodes: 2, cpus: 384, tres: "cpu=384,node=2".into() };
    Seen::Is(JobView {
        id: 12,
        text: "12".into(),
        state,
        restarts,
        submit: 1,
        eligible: 1,
        start: 60,
        minutes: Some(10),
        nodes: "n[1-2]".into(),
        facts,
        ..JobView::default()
    })
}

#[test]
fn a_whole_life() {
    let mut g = gang();
    running(&mut g);
    let over = record(5, 0);
    go(&mut g, &over, 90_000, |g| {
        g.enter(ending(Then::Done, Stage::Epilog { deadline_ms: 99_000 }), "over", 90_000)
    });
    assert_eq!(g.track.cleared_ms, None);
    go(&mut g, &over, 91_000, |g| g.phase = ending(Then::Done, Stage::PowerDown));
    go(&mut g, &over, 91_500, |g| {
        g.members.clear();
        g.phase = ending(Then::Done, Stage::Settle { nudge_ms: 0 });
    });
    let life = go(&mut g, &over, 95_000, |g| g.enter(Phase::Done, "free", 95_000)).expect("over");
    assert_eq!((life.text.as_str(), life.restart, life.attempts, life.paid), ("12", 0, 1, 1));
    let p = life.phases;
    assert_eq!(
        p.list().map(|(_, t)| t.unwrap_or(0)),
        [1_000, 2_000, 2_000, 2_500, 3_000, 3_000, 60_000, 60_100, 61_000, 90_000, 91_500, 95_000]
    );
    assert_eq!(life.cleared_ms, Some(91_000), "the grace for reports begins when COMPLETING was cleared");
    let s = &life.slurm;
    assert_eq!((s.state.as_str(), s.exit_code, s.exit_signal), ("FAILED", Some(3), Some(0)));
    assert_eq!((s.derived_code, s.derived_signal), (Some(0), Some(9)));
    assert_eq!((s.start, s.end, s.node_count, s.cpus), (Some(60), Some(90), Some(2), Some(384)));
    assert_eq!((s.tres.as_deref(), s.time_limit), (Some("cpu=384,node=2"), Some(600)));
    let ids: Vec<_> = life.instances.iter().map(|r| (r.id.as_str(), r.node.as_str(), r.purpose)).collect();
    assert_eq!(ids, [("i-1", "n1", Purpose::Served), ("i-2", "n2", Purpose::Served)]);
    assert!(life.instances.iter().all(|r| (r.launched_ms, r.ended_ms) == (3_000, Some(91_500))));
    assert_eq!((life.instances[0].instance_type.as_str(), life.instances[0].efa), ("hpc7a.96xlarge", 2));
}

#[test]
fn a_failed_attempt_is_remembered_and_another_follows() {
    let mut g = gang();
    let none = Seen::Unknown;
    go(&mut g, &none, 2_500, |g| {
        g.attempt += 1;
        g.enter(Phase::Launching { rung: rung(), retry_ms: 0, tries: 0 }, "launching", 2_500);
    });
    go(&mut g, &none, 3_000, |g| {
        g.members = vec![member("i-8", "n8", 3_000), member("i-9", "n9", 3_000)];
        g.enter(Phase::Granted { look_ms: 0 }, "granted", 3_000);
    });
    go(&mut g, &none, 5_000, |g| {
        // One is replaced, and ended at once.
        let m = g.members.remove(1);
        g.retired.push(m.into());
        g.enter(Phase::Launching { rung: rung(), retry_ms: 0, tries: 0 }, "replaced", 5_000);
    });
    go(&mut g, &none, 6_000, |g| g.retired[0].ended = true);
    go(&mut g, &none, 7_000, |g| {
        g.enter(ending(Then::Again { rung: 1 }, Stage::PowerDown), "no replacement", 7_000);
    });
    go(&mut g, &none, 8_000, |g| {
        g.members.clear();
        g.phase = ending(Then::Again { rung: 1 }, Stage::Settle { nudge_ms: 0 });
    });
    let life = go(&mut g, &none, 9_000, |g| {
        g.retired.clear();
        g.enter(Phase::Planned, "again", 9_000);
    });
    assert_eq!(life, None, "the job lives on");
    let spent: Vec<_> =
        g.track.spent.iter().map(|r| (r.id.as_str(), r.purpose, r.ended_ms, r.why.as_str())).collect();
    assert_eq!(
        spent,
        [
            ("i-9", Purpose::Replaced, Some(6_000), "it did not come up"),
            ("i-8", Purpose::Failed, Some(8_000), "no replacement")
        ]
    );
    assert_eq!((g.track.phases.granted_ms, g.track.phases.ended_ms), (None, None));
    assert_eq!(g.track.phases.launch_ms, Some(2_500), "the first launch is what the user waited from");
}

#[test]
fn a_requeue_ends_a_life_when_its_gang_is_given_back() {
    let mut g = gang();
    running(&mut g);
    let again = record(0, 1);
    go(&mut g, &again, 80_000, |g| {
        g.job.as_mut().expect("known").restart = 1;
        g.enter(ending(Then::Again { rung: 0 }, Stage::PowerDown), "requeued", 80_000);
    });
    go(&mut g, &again, 81_000, |g| {
        g.members.clear();
        g.phase = ending(Then::Again { rung: 0 }, Stage::Settle { nudge_ms: 0 });
    });
    let life = go(&mut g, &again, 82_000, |g| g.enter(Phase::Planned, "again", 82_000)).expect("over");
    assert_eq!((life.restart, life.slurm.restarts, life.file_id()), (0, 1, "12-restart0".to_owned()));
    assert_eq!(
        (life.slurm.state.as_str(), life.slurm.start, life.slurm.end),
        ("REQUEUED", Some(60), Some(80))
    );
    assert_eq!(life.slurm.exit_code, None, "the record is the next life's already");
    assert_eq!(life.instances.len(), 2);
    assert_eq!((g.track.restart, g.track.spent.len(), g.track.phases.submit_ms), (None, 0, Some(82_000)));
    assert_eq!(g.track.owed, [*life], "until its row is on disk");
    // The next one counts its own attempts.
    assert_eq!(g.track.before, (1, 1));
}

#[test]
fn a_gang_that_is_taken_over_by_the_next_life_is_billed_to_both_in_turn() {
    let mut g = gang();
    running(&mut g);
    let life = go(&mut g, &record(1, 1), 80_000, |g| {
        g.job.as_mut().expect("known").restart = 1;
        g.enter(Phase::Running, "requeued, and started again on the same nodes", 80_000);
    });
    let life = life.expect("the first is over");
    assert!(life.instances.iter().all(|r| (r.launched_ms, r.ended_ms) == (3_000, Some(80_000))));
    assert_eq!(g.track.phases.started_ms, Some(80_000));
    go(&mut g, &record(3, 1), 90_000, |g| g.enter(ending(Then::Done, Stage::PowerDown), "over", 90_000));
    go(&mut g, &record(3, 1), 91_000, |g| {
        g.members.clear();
        g.phase = ending(Then::Done, Stage::Settle { nudge_ms: 0 });
    });
    let life = go(&mut g, &record(3, 1), 92_000, |g| g.enter(Phase::Done, "free", 92_000)).expect("over");
    assert_eq!((life.restart, life.slurm.state.as_str()), (1, "COMPLETED"));
    assert!(life.instances.iter().all(|r| (r.launched_ms, r.ended_ms) == (80_000, Some(91_000))));
}

#[test]
fn a_requeued_job_that_started_again_while_it_was_given_back_ran_on_the_same_gang() {
    let mut g = gang();
    running(&mut g);
    let requeued = go(&mut g, &record(0, 1), 70_000, |g| {
        g.job.as_mut().expect("known").restart = 1;
        g.enter(ending(Then::Again { rung: 0 }, Stage::PowerDown), "requeued", 70_000);
    });
    assert!(requeued.is_none(), "not given back yet");
    let again = |g: &mut Gang| g.enter(Phase::Running, "started while it was about to be given back", 71_000);
    let life = go(&mut g, &record(1, 1), 71_000, again).expect("the first is over");
    assert_eq!((life.restart, life.instances.len()), (0, 2));
    assert!(life.instances.iter().all(|r| (r.launched_ms, r.ended_ms) == (3_000, Some(71_000))));
    assert_eq!((g.track.restart, g.track.split_ms), (Some(1), 71_000));
}

#[test]
fn an_instance_that_ec2_took_is_billed_until_it_was_missed() {
    let mut g = gang();
    running(&mut g);
    go(&mut g, &Seen::Unknown, 70_000, |g| g.members[1].lost_ms = Some(70_000));
    go(&mut g, &record(7, 0), 75_000, |g| g.enter(ending(Then::Done, Stage::PowerDown), "over", 75_000));
    go(&mut g, &record(7, 0), 76_000, |g| {
        g.members.clear();
        g.phase = ending(Then::Done, Stage::Settle { nudge_ms: 0 });
    });
    let life = go(&mut g, &record(7, 0), 77_000, |g| g.enter(Phase::Done, "free", 77_000)).expect("over");
    let ends: Vec<_> = life.instances.iter().map(|r| (r.ended_ms, r.interrupted)).collect();
    assert_eq!(ends, [(Some(76_000), false), (Some(70_000), true)]);
    assert_eq!(life.slurm.state, "NODE_FAIL");
}

#[test]
fn a_job_that_was_never_launched_has_no_record() {
    let mut g = gang();
    go(&mut g, &Seen::Gone, 2_000, |g| g.enter(ending(Then::Done, Stage::PowerDown), "gone", 2_000));
    assert_eq!(go(&mut g, &Seen::Gone, 3_000, |g| g.enter(Phase::Done, "free", 3_000)), None);
}

/// The job runs, ends and is given back; answers its life.
fn lived(g: &mut Gang, restart: u32) -> Box<Life> {
    running(g);
    let over = record(3, restart);
    go(g, &over, 90_000, |g| g.enter(ending(Then::Done, Stage::PowerDown), "over", 90_000));
    go(g, &over, 91_000, |g| {
        g.members.clear();
        g.phase = ending(Then::Done, Stage::Settle { nudge_ms: 0 });
    });
    go(g, &over, 95_000, |g| g.enter(Phase::Done, "free", 95_000)).expect("over")
}

fn requeued(g: &mut Gang, restart: u32) {
    go(g, &record(0, restart), 100_000, |g| {
        g.job.as_mut().expect("known").restart = restart;
        g.enter(Phase::Planned, "requeued", 100_000);
    });
}

#[test]
fn law7_no_two_lives_of_a_gang_have_one_row_however_often_slurmctld_forgets_a_requeue() {
    let mut g = gang();
    let mut keys = BTreeSet::new();
    // 1 is forgotten twice, 2 once.
    for restart in [0, 1, 0, 1, 2, 1, 2, 3] {
        if g.phase == Phase::Done {
            // Somebody looks at it between its end and the requeue.
            go(&mut g, &record(3, restart), 96_000, |_| ());
            requeued(&mut g, restart);
            assert_eq!(g.track.phases.started_ms, None, "a requeued job has not started");
        }
        let life = lived(&mut g, restart);
        assert_eq!((life.restart, life.instances.len()), (restart, 2));
        assert!(keys.insert((life.key(), life.restart)), "{keys:?}");
    }
    assert_eq!(keys.len(), 8);
}

#[test]
fn a_life_without_instances_is_the_one_its_job_s_number_says() {
    let mut g = gang();
    lived(&mut g, 0);
    go(&mut g, &record(3, 0), 96_000, |_| ());
    requeued(&mut g, 1);
    assert_eq!((g.track.restart, g.track.again), (Some(1), 0), "nothing was forgotten");
    // slurmctld, killed, has forgotten the requeue; the gang is done for it, and is wanted again.
    go(&mut g, &record(3, 0), 101_000, |g| {
        g.job.as_mut().expect("known").restart = 0;
        g.enter(Phase::Waiting { until_ms: None, why: crate::gang::Why::Capacity }, "waits", 101_000);
    });
    assert_eq!((g.track.restart, g.track.again, g.track.phases.started_ms), (Some(0), 1, None));
    requeued(&mut g, 1);
    assert_eq!((g.track.restart, g.track.again, g.track.phases.started_ms), (Some(1), 1, None));
    assert_eq!(lived(&mut g, 1).file_id(), "12-again1");
}
