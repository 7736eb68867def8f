//! Stops, retries, dry runs and dead letters.

use super::*;
use crate::stops::{How, Stop};

pub(super) fn stop(w: &World, how: How) {
    let stop = Stop { how, who: "alice (uid 1000)".into(), since_ms: 1_790_000_000_000 };
    w.stops.borrow_mut().stop(Some("efa"), stop);
}

fn resume(w: &World) {
    w.stops.borrow_mut().resume(None).expect("it was stopped");
}

fn throttled() -> Outcome {
    Outcome::Failed(Trouble {
        code: "RequestLimitExceeded".into(),
        message: "slow down".into(),
        class: Class::Throttle,
        request_id: None,
        ambiguous: false,
    })
}

#[test]
fn a_stopped_pool_launches_nothing_and_says_who_stopped_it() {
    for how in [How::Pause, How::Drain] {
        let (mut g, w) = (gang(), World::new());
        stop(&w, how);
        w.pending(true);
        let hold = next(&mut g, &w, 1).expect("hold");
        done(&mut g, &hold, Outcome::Ok, &w, 2);
        assert_eq!(next(&mut g, &w, 3), None);
        let text = says::sentence(&g);
        assert!(text.contains("by alice (uid 1000) at 2026-09-21 14:13:20 UTC"), "{text}");
        assert_eq!(next(&mut g, &w, 100_000_000), None, "only a word lifts it");
        resume(&w);
        assert!(matches!(next(&mut g, &w, 100_000_001), Some(Effect::Launch { .. })));
    }
}

#[test]
fn a_stop_reaches_a_back_off_and_a_launch_that_ec2_has_refused_so_far() {
    let (mut g, w) = (gang(), World::new());
    let launch = to_launch(&mut g, &w);
    done(&mut g, &launch, throttled(), &w, 10);
    assert!(matches!(g.phase, Phase::Launching { tries: 1, .. }), "{:?}", g.phase);
    stop(&w, How::Pause);
    assert_eq!(next(&mut g, &w, 60_000), None);
    assert!(matches!(g.phase, Phase::Waiting { why: Why::Stopped(_), .. }), "{:?}", g.phase);
    assert!(g.names.is_empty() && !g.unsure, "nothing is kept for it");
    resume(&w);
    let again = next(&mut g, &w, 70_000).expect("launch");
    assert!(matches!(again, Effect::Launch { .. }), "{again:?}");
    assert_eq!(g.intent, 2, "another intent has another token");
}

#[test]
fn an_unanswered_launch_is_settled_although_the_pool_is_stopped() {
    let (mut g, w) = (gang(), World::new());
    let launch = to_launch(&mut g, &w);
    let Outcome::Failed(t) = throttled() else { panic!("a failure") };
    done(&mut g, &launch, Outcome::Failed(Trouble { ambiguous: true, ..t }), &w, 10);
    stop(&w, How::Drain);
    let replay = next(&mut g, &w, 60_000).expect("the same request again");
    assert!(matches!(replay, Effect::Launch { .. }), "{replay:?}");
    assert_eq!(g.intent, 1);
}

#[test]
fn what_runs_goes_on_and_its_requeue_waits() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    stop(&w, How::Drain);
    all_ask(&mut g);
    w.set_nodes(&g.names, &idle());
    let release = next(&mut g, &w, 22).expect("release");
    done(&mut g, &release, Outcome::Ok, &w, 23);
    w.edit(|v| (v.held, v.state) = (false, 1));
    assert_eq!(next(&mut g, &w, 30), None);
    assert!(matches!(g.phase, Phase::Running));
    w.edit(|v| (v.state, v.restarts, v.held) = (0, 1, true));
    assert_eq!(next(&mut g, &w, 40), Some(Effect::PowerDown));
    done(&mut g, &Effect::PowerDown, Outcome::Ok, &w, 41);
    let end = next(&mut g, &w, 42).expect("terminate");
    done(&mut g, &end, Outcome::Ok, &w, 43);
    w.set_nodes(&g.names.clone(), &NodeView { idle: true, powered_down: true, ..NodeView::default() });
    assert_eq!(next(&mut g, &w, 44), None);
    assert!(matches!(g.phase, Phase::Waiting { why: Why::Stopped(_), .. }), "{:?}", g.phase);
}

#[test]
fn a_failed_node_is_replaced_in_a_paused_pool_and_not_in_a_draining_one() {
    for (how, replaced) in [(How::Pause, true), (How::Drain, false)] {
        let (mut g, w) = (gang(), World::new());
        to_booting(&mut g, &w);
        stop(&w, how);
        g.members[0].failed = Some("no EFA".into());
        let effect = next(&mut g, &w, 30).expect("effect");
        assert_eq!(matches!(effect, Effect::Retire), replaced, "{how:?}: {effect:?}");
    }
}

#[test]
fn a_dry_run_says_what_it_would_launch_and_launches_when_it_is_over() {
    let (mut g, mut w) = (gang(), World::new());
    w.pool.dry_run = true;
    w.pending(true);
    let hold = next(&mut g, &w, 1).expect("hold");
    done(&mut g, &hold, Outcome::Ok, &w, 2);
    assert_eq!(next(&mut g, &w, 3), None);
    let text = says::sentence(&g);
    assert!(
        text.contains("it would launch 2 x hpc7a.96xlarge (on-demand) in us-east-2b, for at most USD"),
        "{text}"
    );
    assert_eq!(next(&mut g, &w, 3_600_000), None, "planned anew, and not launched");
    assert_eq!((g.attempt, g.intent, g.names.len()), (0, 0, 0));
    w.pool.dry_run = false;
    assert!(matches!(next(&mut g, &w, 3_600_001), Some(Effect::Launch { .. })));
}

#[test]
fn a_retry_forgives_paid_attempts_and_is_in_the_history() {
    let (mut g, w) = (gang(), World::new());
    to_launch(&mut g, &w);
    g.paid = PAID_ATTEMPTS;
    g.phase = Phase::Failed("two paid attempts failed".into());
    g.names.clear();
    assert_eq!(next(&mut g, &w, 50), None);
    let said = operator::retry(&mut g, "uid 1000", 60).expect("a failed gang");
    assert_eq!(said, "job 7 is tried again; 2 paid attempts no longer count");
    let last = g.history.last().expect("an entry").text.clone();
    assert_eq!(last, "tried again by uid 1000; 2 paid attempts no longer count");
    assert!(matches!(next(&mut g, &w, 61), Some(Effect::Launch { .. })));
    assert_eq!(g.paid, 0);
}

#[test]
fn a_retry_ends_a_back_off() {
    let (mut g, w) = (gang(), World::new());
    let launch = to_launch(&mut g, &w);
    done(&mut g, &launch, no_capacity(), &w, 10);
    let launch = next(&mut g, &w, 11).expect("second rung");
    done(&mut g, &launch, no_capacity(), &w, 12);
    assert_eq!(next(&mut g, &w, 13), None);
    operator::retry(&mut g, "uid 0", 14).expect("it waits");
    assert!(matches!(next(&mut g, &w, 15), Some(Effect::Launch { .. })));
    assert_eq!((g.rounds, g.rung), (0, 0));
}

#[test]
fn there_is_nothing_to_retry_of_a_gang_that_runs() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    let before = g.clone();
    let why = operator::retry(&mut g, "uid 0", 30).unwrap_err();
    assert!(why.contains("job 7 is Booting"), "{why}");
    assert_eq!(g, before);
}

#[test]
fn a_terminate_that_exhausts_its_budget_is_a_dead_letter_and_tried_on_slowly() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    *w.seen.borrow_mut() = Seen::Gone;
    next(&mut g, &w, 20);
    done(&mut g, &Effect::PowerDown, Outcome::Ok, &w, 21);
    let mut now = 22;
    for tries in 1..=dead::BUDGET + 5 {
        let end = next(&mut g, &w, now).expect("tried again");
        assert!(matches!(end, Effect::Terminate { .. }), "{end:?}");
        done(&mut g, &end, throttled(), &w, now);
        let wait = step::wake(&g).expect("a time") - now;
        assert!(wait <= dead::PAUSE_MS);
        let dead = dead::letter(&g);
        assert_eq!(dead.as_ref().map(|d| d.tries), (tries >= dead::BUDGET).then_some(tries));
        assert_eq!(wait == dead::PAUSE_MS, dead.is_some(), "a low rate from then on");
        now += wait;
    }
    let end = next(&mut g, &w, now).expect("tried for ever");
    done(&mut g, &end, Outcome::Ok, &w, now);
    assert_eq!(dead::letter(&g), None);
}

#[test]
fn names_that_never_come_down_are_a_dead_letter() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    *w.seen.borrow_mut() = Seen::Gone;
    w.set_nodes(&g.names.clone(), &idle());
    let mut now = 20;
    let mut nudges = 0;
    while dead::letter(&g).is_none() {
        if let Some(effect) = next(&mut g, &w, now) {
            let down = matches!(effect, Effect::PowerDown | Effect::PowerDownAgain { .. });
            nudges += u32::from(down);
            done(&mut g, &effect, Outcome::Ok, &w, now);
        }
        now += step::NUDGE_MS;
        assert!(nudges <= dead::BUDGET + 1, "{:?}", g.phase);
    }
    assert_eq!(nudges, dead::BUDGET + 1);
}

#[test]
fn a_name_that_waits_for_the_epilog_of_an_instance_that_is_gone_is_powered_down_again() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    *w.seen.borrow_mut() = Seen::Gone;
    assert_eq!(next(&mut g, &w, 20), Some(Effect::PowerDown));
    done(&mut g, &Effect::PowerDown, Outcome::Ok, &w, 21);
    // Its instance may still tell of the epilog.
    let waits = NodeView { completing: true, power_down_asked: true, ..NodeView::default() };
    let free = NodeView { idle: true, powered_down: true, ..NodeView::default() };
    let last = g.names.last().expect("a name").clone();
    w.set_nodes(&g.names.clone(), &free);
    w.set_nodes(std::slice::from_ref(&last), &waits);
    let end = Effect::Terminate { sweep: false };
    assert_eq!(next(&mut g, &w, 22), Some(end.clone()));
    done(&mut g, &end, Outcome::Ok, &w, 23);
    let mut asked = Vec::new();
    // Looked at in every millisecond.
    for now in 24..4_000 {
        if let Some(effect) = next(&mut g, &w, now) {
            assert_eq!(effect, Effect::PowerDownAgain { names: vec![last.clone()] });
            done(&mut g, &effect, Outcome::Ok, &w, now);
            asked.push(now);
        }
    }
    assert_eq!(asked, [24, 524, 1_524, 3_524], "at once, and then with growing pauses");
    w.set_nodes(&g.names.clone(), &NodeView { idle: true, powered_down: true, ..NodeView::default() });
    assert_eq!(next(&mut g, &w, 4_001), None);
    assert_eq!(g.phase, Phase::Done);
}

fn slurm_trouble() -> Trouble {
    let (code, message, class) = ("Slurm1", "busy", Class::Transient);
    let (request_id, ambiguous) = (None, false);
    Trouble { code: code.into(), message: message.into(), class, request_id, ambiguous }
}

fn refused_by_slurm() -> Outcome {
    Outcome::Failed(slurm_trouble())
}

#[test]
fn a_hold_is_not_put_off_by_the_pauses_of_other_effects_and_has_its_own() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    // Registered late: the gang is given back, another launch follows, and the job is pending.
    assert_eq!(next(&mut g, &w, 480_015), Some(Effect::PowerDown));
    done(&mut g, &Effect::PowerDown, Outcome::Ok, &w, 480_016);
    let end = Effect::Terminate { sweep: false };
    for now in [480_017, 490_000, 500_000, 530_000] {
        assert_eq!(next(&mut g, &w, now), Some(end.clone()));
        done(&mut g, &end, throttled(), &w, now);
    }
    assert!(matches!(g.phase, Phase::Ending { retry_ms, .. } if retry_ms > 530_001), "{:?}", g.phase);
    w.edit(|v| v.held = false);
    let mut asked = Vec::new();
    for now in 530_001..535_000 {
        if let Some(hold) = next(&mut g, &w, now) {
            if matches!(hold, Effect::Hold { .. }) {
                asked.push(now);
                done(&mut g, &hold, refused_by_slurm(), &w, now);
            } else {
                done(&mut g, &hold, throttled(), &w, now);
            }
        }
        let wake = step::wake(&g);
        assert!(wake.is_some_and(|t| t <= now + 2_000), "looked at again in time: {wake:?} at {now}");
    }
    assert_eq!(asked, [530_001, 530_501, 531_501, 533_501], "at once, and never two seconds late");
    w.edit(|v| v.held = true);
    next(&mut g, &w, 535_100);
    assert_eq!(g.hold, FailedHold::default(), "somebody held it");
}

#[test]
fn the_names_of_a_job_that_could_not_be_held_do_not_go_down_under_it_but_not_for_ever() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    w.edit(|v| v.held = false);
    // Released in vain: it may be started in this very moment.
    g.enter(Phase::Released { deadline_ms: 1_000 }, "released", 20);
    let (mut holds, mut now) = (Vec::new(), 1_000);
    let down = loop {
        match next(&mut g, &w, now) {
            Some(hold @ Effect::Hold { .. }) => {
                holds.push(now);
                done(&mut g, &hold, refused_by_slurm(), &w, now);
            }
            Some(other) => break other,
            None => {}
        }
        // What it does not know is no leave either.
        let seen = w.seen.replace(Seen::Unknown);
        assert!(holds.len() >= 4 || next(&mut g, &w, now).is_none(), "{:?}", g.phase);
        w.seen.replace(seen);
        now += 1;
        assert!(now < 20_000, "{:?}", g.phase);
    };
    assert_eq!((down, holds.len()), (Effect::PowerDown, 4), "{holds:?}");
}

#[test]
fn a_slurmctld_that_answers_nothing_after_a_failed_hold_does_not_keep_the_bill_running() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    w.edit(|v| v.held = false);
    g.enter(Phase::Released { deadline_ms: 1_000 }, "released", 20);
    let hold = next(&mut g, &w, 1_000).expect("hold");
    done(&mut g, &hold, refused_by_slurm(), &w, 1_000);
    *w.seen.borrow_mut() = Seen::Unknown;
    let down = (1_001..60_000).find_map(|now| next(&mut g, &w, now).map(|e| (now, e)));
    assert_eq!(down, Some((11_000, Effect::PowerDown)));
}

#[test]
fn a_job_that_somebody_moved_elsewhere_is_not_held() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    next(&mut g, &w, 480_015);
    g.geometry.partition = "efa".into();
    w.edit(|v| (v.held, v.partition) = (false, "cpu".into()));
    assert_eq!(next(&mut g, &w, 480_016), Some(Effect::PowerDown));
    w.edit(|v| v.partition = "efa".into());
    assert!(matches!(next(&mut g, &w, 480_017), Some(Effect::Hold { .. })));
}

#[test]
fn only_a_job_for_which_something_follows_is_held_while_instances_are_ended() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    w.edit(|v| v.held = false);
    let Seen::Is(mut j) = w.job(&g) else { panic!("seen") };
    let ending = |then: Then| Phase::Ending { then, stage: Stage::Terminate, retry_ms: 0, tries: 0 };
    g.enter(ending(Then::Again { rung: 0 }), "given back", 500);
    assert!(back::is_open(&g, &j, 100));
    g.enter(ending(Then::Done), "over", 500);
    assert!(!back::is_open(&g, &j, 100), "nothing follows");
    assert!(back::is_open(&g, &j, 600), "slurmctld was killed before it saved the end");
    j.restarts += 1;
    assert!(back::is_open(&g, &j, 100), "requeued");
    j.partition = "elsewhere".into();
    assert!(!back::is_open(&g, &j, 100), "moved");
    (j.partition, j.held) = (g.geometry.partition.clone(), true);
    assert!(!back::is_open(&g, &j, 100), "held");
}

#[test]
fn a_hold_that_slurm_never_takes_is_a_dead_letter() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    next(&mut g, &w, 480_015);
    w.edit(|v| v.held = false);
    for tries in 1..=dead::BUDGET {
        assert_eq!(dead::letter(&g), None, "after {} tries", tries - 1);
        let now = 480_016 + u64::from(tries) * 2_000;
        let hold = next(&mut g, &w, now).expect("hold");
        assert!(matches!(hold, Effect::Hold { .. }), "{hold:?}");
        done(&mut g, &hold, refused_by_slurm(), &w, now);
    }
    let letter = dead::letter(&g).expect("a dead letter");
    assert!(letter.what.contains("hold") && letter.tries == dead::BUDGET, "{letter:?}");
    let standby = Trouble { code: "Standby".into(), ..slurm_trouble() };
    let hold = next(&mut g, &w, 600_000).expect("hold");
    done(&mut g, &hold, Outcome::Failed(standby), &w, 600_000);
    assert_eq!(dead::letter(&g).map(|l| l.tries), Some(dead::BUDGET), "a standby does nothing at all");
    let hold = next(&mut g, &w, 700_000).expect("hold");
    done(&mut g, &hold, refused_by_slurm(), &w, 700_000);
    assert_eq!((g.hold.tries, g.hold.again_ms), (dead::BUDGET + 1, 730_000), "at a low rate from then on");
}

#[test]
fn names_that_come_up_while_their_instances_are_ended_are_seen() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    *w.seen.borrow_mut() = Seen::Gone;
    let last = g.names.last().expect("a name").clone();
    let up = |w: &World| w.set_nodes(std::slice::from_ref(&last), &idle());
    up(&w);
    assert_eq!(next(&mut g, &w, 20), Some(Effect::PowerDown));
    assert!(back::came_up(&g, &w).is_empty(), "the power-down itself is under way");
    done(&mut g, &Effect::PowerDown, Outcome::Ok, &w, 21);
    w.set_nodes(&g.names.clone(), &NodeView { idle: true, powered_down: true, ..NodeView::default() });
    let end = Effect::Terminate { sweep: false };
    assert_eq!(next(&mut g, &w, 22), Some(end.clone()));
    assert!(back::came_up(&g, &w).is_empty());
    up(&w);
    assert_eq!(back::came_up(&g, &w), std::slice::from_ref(&last));
    done(&mut g, &end, Outcome::Ok, &w, 23);
    assert!(back::came_up(&g, &w).is_empty(), "settling powers it down itself");
    assert_eq!(next(&mut g, &w, 24), Some(Effect::PowerDownAgain { names: vec![last] }));
}
