//! Places without capacity are passed over, and nobody launches before its turn.

use super::*;

fn rate(said_ms: u64, expected_ms: u64) -> Why {
    Why::Rate { said_ms, expected_ms }
}

#[test]
fn a_place_without_capacity_is_passed_over_and_named() {
    let (mut g, w) = (gang(), World::new());
    w.dry.borrow_mut().insert("us-east-2b".into(), 3_600_000);
    let Effect::Launch { rung, .. } = to_launch(&mut g, &w) else { panic!("{:?}", g.phase) };
    assert_eq!(rung.zone, "us-east-2c");
    let text = &g.history.last().expect("a line").text;
    assert!(
        text.contains("no capacity for 2 x hpc7a.96xlarge (on-demand) in us-east-2b until 01:00:00 UTC"),
        "{text}"
    );
}

#[test]
fn where_every_place_is_remembered_the_first_to_be_forgotten_is_waited_for() {
    let (mut g, w) = (gang(), World::new());
    w.pending(true);
    *w.dry.borrow_mut() = [("us-east-2b".to_owned(), 400_000), ("us-east-2c".to_owned(), 200_000)].into();
    g.enter(Phase::Planned, "", 0);
    assert_eq!(next(&mut g, &w, 0), None);
    let Phase::Waiting { until_ms: Some(until), why: Why::Capacity } = g.phase else {
        panic!("{:?}", g.phase)
    };
    assert!((200_000..220_000).contains(&until), "{until}: no call before, and not all at once");
    for part in [
        "2 x hpc7a.96xlarge (on-demand) in us-east-2b until 00:06:40 UTC",
        "us-east-2c until 00:03:20",
        "next try at",
    ] {
        assert!(g.commented.contains(part), "{part} is not in {}", g.commented);
    }
}

#[test]
fn a_gang_waits_for_its_turn_and_says_for_how_long() {
    let (mut g, w) = (gang(), World::new());
    w.pending(true);
    *w.turn.borrow_mut() = Some((20_000, rate(0, 40_000)));
    g.enter(Phase::Planned, "", 0);
    assert_eq!(next(&mut g, &w, 0), None);
    assert!(g.commented.contains("EC2's request budget"), "{}", g.commented);
    assert!(g.commented.contains("expected in about 40 s (at 00:00:40 UTC)"), "{}", g.commented);
    assert_eq!((step::wake(&g), g.names.len()), (Some(20_000), 0), "it keeps no names meanwhile");
    // Asked again, with nearly the same answer: neither its owner nor the history is told anything new.
    let (told, lines) = (g.commented.clone(), g.history.len());
    *w.turn.borrow_mut() = Some((30_000, rate(20_000, 42_000)));
    assert_eq!(step(&mut g, &w, 20_000), None);
    assert_eq!((&g.commented, g.history.len(), step::wake(&g)), (&told, lines, Some(30_000)));
    // It takes much longer: that is told.
    *w.turn.borrow_mut() = Some((60_000, rate(30_000, 130_000)));
    assert_eq!(next(&mut g, &w, 30_000), None);
    assert!(g.commented.contains("expected in about 100 s"), "{}", g.commented);
    assert_eq!(g.history.len(), lines);
    *w.turn.borrow_mut() = None;
    assert!(matches!(next(&mut g, &w, 60_000), Some(Effect::Launch { .. })));
    assert_eq!((g.attempt, g.intent), (1, 1));
}

#[test]
fn an_outage_is_waited_out_before_the_launch_and_before_its_repetition() {
    let (mut g, w) = (gang(), World::new());
    let launch = to_launch(&mut g, &w);
    let lost = Trouble {
        code: "Timeout".into(),
        message: "no answer in time".into(),
        class: Class::Transient,
        request_id: None,
        ambiguous: true,
    };
    done(&mut g, &launch, Outcome::Failed(lost), &w, 100);
    let why = Why::Outage { calls: "CreateFleet in us-east-2".into(), code: "Timeout".into() };
    *w.turn.borrow_mut() = Some((50_000, why));
    assert_eq!(next(&mut g, &w, 1_000), None);
    assert_eq!(step::wake(&g), Some(50_000));
    *w.turn.borrow_mut() = None;
    assert_eq!(next(&mut g, &w, 50_000).map(|e| matches!(e, Effect::Launch { .. })), Some(true));
    assert_eq!(g.intent, 1, "the same intent, the same token");
    let (mut other, w) = (gang(), World::new());
    w.pending(true);
    let why = Why::Outage { calls: "CreateFleet in us-east-2".into(), code: "Timeout".into() };
    *w.turn.borrow_mut() = Some((50_000, why));
    other.enter(Phase::Planned, "", 0);
    assert_eq!(next(&mut other, &w, 0), None);
    for part in ["CreateFleet in us-east-2: Timeout", "next try at 00:00:50 UTC"] {
        assert!(other.commented.contains(part), "{part} is not in {}", other.commented);
    }
}
