//! slurmctld was killed before it had saved what the gang saw.

use super::*;

/// A gang whose job runs, seen by an engine that began at 100.
fn running() -> (Gang, World) {
    let (mut g, mut w) = (gang(), World::new());
    to_booting(&mut g, &w);
    all_ask(&mut g);
    w.set_nodes(&g.names, &idle());
    let release = next(&mut g, &w, 22).expect("release");
    done(&mut g, &release, Outcome::Ok, &w, 23);
    w.edit(|v| (v.held, v.state) = (false, 1));
    assert_eq!(next(&mut g, &w, 30), None);
    w.born_ms = 100;
    (g, w)
}

#[test]
fn a_start_that_was_not_saved_is_waited_for_again() {
    let (mut g, w) = running();
    w.edit(|v| v.state = 0);
    assert_eq!(next(&mut g, &w, 110), None);
    assert_eq!(g.phase, Phase::Released { deadline_ms: 110 + 300_000 });
    w.edit(|v| v.state = 1);
    next(&mut g, &w, 120);
    assert_eq!(g.phase, Phase::Running);
}

#[test]
fn within_one_life_of_the_engine_nothing_is_forgotten() {
    let (mut g, mut w) = running();
    w.born_ms = 10;
    w.edit(|v| v.state = 0);
    next(&mut g, &w, 110);
    assert_eq!(g.phase, Phase::Running);
}

#[test]
fn a_release_and_start_that_were_not_saved_cost_the_gang() {
    let (mut g, w) = running();
    w.edit(|v| (v.state, v.held) = (0, true));
    assert_eq!(next(&mut g, &w, 110), Some(Effect::PowerDown));
    assert!(matches!(g.phase, Phase::Ending { then: Then::Again { rung: 0 }, .. }), "{:?}", g.phase);
}

#[test]
fn a_release_that_was_not_saved_is_made_again_once_the_nodes_are_looked_at() {
    let (mut g, mut w) = (gang(), World::new());
    to_booting(&mut g, &w);
    all_ask(&mut g);
    w.set_nodes(&g.names, &idle());
    let release = next(&mut g, &w, 22).expect("release");
    done(&mut g, &release, Outcome::Ok, &w, 23);
    w.born_ms = 100;
    w.set_nodes(&g.names, &NodeView { idle: true, powered_down: true, ..NodeView::default() });
    assert_eq!(
        next(&mut g, &w, 110),
        Some(Effect::TellAddresses),
        "the job is held, so nothing was released"
    );
    done(&mut g, &Effect::TellAddresses, Outcome::Ok, &w, 111);
    assert_eq!(next(&mut g, &w, 112), None, "not on names that are powered down");
    w.set_nodes(&g.names, &idle());
    assert!(matches!(next(&mut g, &w, 120), Some(Effect::Release { .. })));
}

#[test]
fn an_end_that_was_not_saved_is_followed_by_a_new_gang() {
    let (mut g, mut w) = running();
    w.edit(|v| v.state = 3);
    assert_eq!(next(&mut g, &w, 110), Some(Effect::PowerDown));
    w.born_ms = 200;
    w.edit(|v| (v.state, v.held) = (0, true));
    next(&mut g, &w, 210);
    assert!(matches!(g.phase, Phase::Ending { then: Then::Again { rung: 0 }, .. }), "{:?}", g.phase);
}

#[test]
fn an_end_that_was_not_saved_is_requeued_by_the_power_down_and_held_before_ec2_is_asked() {
    let (mut g, mut w) = running();
    w.edit(|v| v.state = 3);
    assert_eq!(next(&mut g, &w, 110), Some(Effect::PowerDown));
    w.born_ms = 200;
    w.edit(|v| v.state = 1);
    assert_eq!(next(&mut g, &w, 210), Some(Effect::PowerDown));
    done(&mut g, &Effect::PowerDown, Outcome::Ok, &w, 211);
    assert_eq!(next(&mut g, &w, 212), None, "what became of the job is seen first");
    let mut seen_late = g.clone();
    w.edit(|v| (v.state, v.restarts) = (0, 1));
    assert!(matches!(next(&mut g, &w, 220), Some(Effect::Hold { .. })), "{:?}", g.phase);
    w.edit(|v| v.held = true);
    assert!(matches!(next(&mut g, &w, 230), Some(Effect::Terminate { .. })), "{:?}", g.phase);
    // A table that cannot be read keeps nothing running for long.
    w.edit(|v| (v.state, v.restarts, v.held) = (1, 0, false));
    assert!(matches!(next(&mut seen_late, &w, 3_212), Some(Effect::Terminate { .. })));
}

#[test]
fn a_requeue_that_was_not_saved_is_noticed_the_second_time() {
    let (mut g, mut w) = running();
    g.job.as_mut().expect("seen").restart = 1;
    w.born_ms = 200;
    assert_eq!(next(&mut g, &w, 210), None, "it runs again, in its life before");
    w.edit(|v| (v.state, v.restarts) = (0, 1));
    assert!(matches!(next(&mut g, &w, 220), Some(Effect::Hold { .. })), "{:?}", g.phase);
}

#[test]
fn a_hold_that_was_not_saved_is_made_again_before_anything_else() {
    let (mut g, mut w) = running();
    w.edit(|v| (v.state, v.restarts) = (0, 1));
    assert!(matches!(next(&mut g, &w, 110), Some(Effect::Hold { .. })));
    w.born_ms = 200;
    let mut unseen = g.clone();
    let job = w.seen.replace(Seen::Never);
    assert_eq!(next(&mut g, &w, 210), None, "nothing is known of the job yet");
    assert_eq!(next(&mut unseen, &w, 3_200), Some(Effect::PowerDown), "the bill is not kept waiting for it");
    w.seen.replace(job);
    assert!(matches!(next(&mut g, &w, 220), Some(Effect::Hold { .. })), "{:?}", g.phase);
}

#[test]
fn a_record_that_this_engine_has_not_seen_is_not_touched() {
    // slurmctld lost the job and gave its number to another one: neither a comment nor a release may meet that.
    let (mut g, mut w) = (gang(), World::new());
    let launch = to_launch(&mut g, &w);
    let mut ready = g.clone();
    done(&mut ready, &launch, grant(2), &w, 10);
    boot_granted(&mut ready, &w);
    all_ask(&mut ready);
    w.set_nodes(&ready.names, &idle());
    w.born_ms = 100;
    g.commented.clear();
    let job = w.seen.replace(Seen::Never);
    assert_eq!(next(&mut g, &w, 110), None, "nor is anything launched for it");
    let mut ending = g.clone();
    ending.powered = true;
    ending.enter(
        Phase::Ending { then: Then::Done, stage: Stage::PowerDown, retry_ms: 0, tries: 0 },
        "over",
        20,
    );
    assert_eq!(next(&mut ending, &w, 3_200), Some(Effect::PowerDown), "the bill is not kept waiting for it");
    assert_eq!(next(&mut ready, &w, 110), None);
    assert!(matches!(ready.phase, Phase::Ready { .. }), "{:?}", ready.phase);
    let mut held = gang();
    held.enter(Phase::Held, "held", 20);
    assert_eq!(next(&mut held, &w, 110), None);
    w.seen.replace(job);
    assert!(matches!(next(&mut ready, &w, 120), Some(Effect::Release { .. })), "{:?}", ready.phase);
    assert!(matches!(next(&mut held, &w, 120), Some(Effect::Hold { .. })), "{:?}", held.phase);
    assert!(matches!(next(&mut g, &w, 120), Some(Effect::Launch { comment: Some(_), .. })), "{:?}", g.phase);
}

#[test]
fn names_that_its_job_was_seen_on_rest_until_old_kills_are_gone() {
    let (mut g, w) = running();
    let set =
        |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<std::collections::BTreeSet<_>>();
    w.edit(|v| v.nodes = g.names.join(","));
    next(&mut g, &w, 110);
    let own: std::collections::BTreeSet<String> = g.names.iter().cloned().collect();
    assert_eq!(g.former, own);
    assert!(g.rests(0, 110 + FORMER_MS - 1) && !g.rests(0, 110 + FORMER_MS));
    assert!(g.rests(50_000, 110 + FORMER_MS), "a slurmctld that starts sends its kills anew");
    // An older table: it is believed to run where it ran a life ago.
    w.edit(|v| v.nodes = "efa7-[0088-0089]".into());
    next(&mut g, &w, 200);
    assert!(g.former.is_superset(&own) && g.former.is_superset(&set(&["efa7-0088", "efa7-0089"])));
    w.edit(|v| v.nodes = "efa7-0090".into());
    next(&mut g, &w, 200 + FORMER_MS);
    assert_eq!(g.former, set(&["efa7-0090"]), "those of long ago are usable again");
}

#[test]
fn a_job_whose_gang_was_over_before_is_wanted_again_and_one_that_was_moved_is_not() {
    let (mut g, w) = running();
    (g.names, g.members, g.powered) = (Vec::new(), Vec::new(), false);
    g.enter(Phase::Done, "over", 90);
    let Seen::Is(mut view) = w.job(&g) else { panic!("seen") };
    assert!(!g.is_wanted_again(&view, 100), "it runs");
    view.state = 0;
    assert!(g.is_wanted_again(&view, 100));
    assert!(!g.is_wanted_again(&view, 90), "the same slurmctld forgets nothing");
    view.restarts = 1;
    assert!(g.is_wanted_again(&view, 90), "requeued");
    view.partition = "cpu".into();
    assert!(!g.is_wanted_again(&view, 100), "it runs in the local partition");
    view.partition = "efa".into();
    let token = g.token("u");
    g.revive(&view, 120);
    w.edit(|v| (v.state, v.restarts) = (0, 1));
    let hold = next(&mut g, &w, 121).expect("hold");
    assert!(matches!(hold, Effect::Hold { .. }), "{hold:?}");
    w.edit(|v| v.held = true);
    done(&mut g, &hold, Outcome::Ok, &w, 122);
    w.set_nodes(&g.names.clone(), &NodeView { idle: true, powered_down: true, ..NodeView::default() });
    assert!(matches!(next(&mut g, &w, 123), Some(Effect::Launch { .. })));
    assert_ne!(token, g.token("u"), "never EC2's answer of before");
}

#[test]
fn names_without_an_instance_go_down_whatever_slurmctld_believes_to_run_there() {
    let (mut g, mut w) = running();
    w.edit(|v| v.state = 3);
    assert_eq!(next(&mut g, &w, 110), Some(Effect::PowerDown));
    let mut alive = g.clone();
    done(&mut g, &Effect::PowerDown, Outcome::Ok, &w, 111);
    let ended = next(&mut g, &w, 112).expect("terminate");
    done(&mut g, &ended, Outcome::Ok, &w, 113);
    // In its next life slurmctld believes that the job before it runs there.
    w.born_ms = 200;
    w.set_nodes(&g.names.clone(), &NodeView { allocated: true, ..NodeView::default() });
    for gang in [&mut g, &mut alive] {
        if let Phase::Ending { stage, .. } = &mut gang.phase {
            *stage = Stage::PowerDown;
        }
    }
    assert_eq!(next(&mut g, &w, 210), Some(Effect::PowerDown));
    assert_eq!(next(&mut alive, &w, 210), None, "somebody's job may run on an instance that lives");
}

#[test]
fn a_start_that_was_not_looked_at_is_not_late() {
    let (mut g, mut w) = (gang(), World::new());
    g.enter(Phase::Released { deadline_ms: 100 }, "released", 10);
    w.pending(false);
    w.born_ms = 200;
    let job = w.seen.replace(Seen::Never);
    assert_eq!(next(&mut g, &w, 10_000), None);
    assert!(matches!(g.phase, Phase::Released { .. }), "{:?}", g.phase);
    w.seen.replace(job);
    next(&mut g, &w, 10_100);
    assert!(matches!(g.phase, Phase::Ending { .. }), "{:?}", g.phase);
}
