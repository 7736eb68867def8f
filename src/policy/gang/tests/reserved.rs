//! Rungs of reservations that cannot be used.

use super::*;
use crate::reservation::{Kind, Reserved};

fn reserved(zone: &str) -> Rung {
    let reservation = Some(Reserved { id: "cr-1".into(), kind: Kind::Targeted, group: None });
    Rung { reservation, ..rung(zone, 2) }
}

fn rung_of(e: &Effect) -> &Rung {
    match e {
        Effect::Launch { rung, .. } => rung,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_that_is_full_costs_no_call_and_the_next_place_follows() {
    let (mut g, w) = (gang(), World::new());
    w.ladder.borrow_mut().insert(0, reserved("us-east-2b"));
    *w.shut.borrow_mut() = Some("cr-1: 1 of 8 instances are free".into());
    let launch = to_launch(&mut g, &w);
    assert_eq!(rung_of(&launch).reservation, None);
    assert_eq!((g.rung, g.attempt), (1, 1), "nothing was tried before");
    let said = g.history.last().map(|e| e.text.clone()).unwrap_or_default();
    assert!(said.ends_with("not into cr-1: 1 of 8 instances are free"), "{said}");
    // It is looked at again when the ladder begins anew.
    done(&mut g, &launch, no_capacity(), &w, 10);
    let second = next(&mut g, &w, 11).expect("second place");
    assert_eq!(rung_of(&second).zone, "us-east-2c");
    done(&mut g, &second, no_capacity(), &w, 12);
    assert_eq!(next(&mut g, &w, 13), None);
    let Phase::Waiting { until_ms: Some(t), why: Why::Capacity } = g.phase.clone() else {
        panic!("{:?}", g.phase)
    };
    let text = says::comment(&g);
    assert!(text.contains("(not used: cr-1: 1 of 8 instances are free)"), "{text}");
    *w.shut.borrow_mut() = None;
    let again = next(&mut g, &w, t).expect("again");
    assert_eq!(rung_of(&again).reservation.as_ref().map(|r| r.id.as_str()), Some("cr-1"));
}

#[test]
fn a_pool_of_reservations_alone_says_why_it_waits() {
    let (mut g, w) = (gang(), World::new());
    *w.ladder.borrow_mut() = vec![reserved("us-east-2b")];
    *w.shut.borrow_mut() = Some("cr-1: begins 2026-11-27 11:30:00 UTC".into());
    w.pending(true);
    let hold = next(&mut g, &w, 1).expect("hold");
    done(&mut g, &hold, Outcome::Ok, &w, 2);
    assert_eq!(next(&mut g, &w, 3), None);
    assert!(matches!(g.phase, Phase::Waiting { why: Why::Capacity, .. }), "{:?}", g.phase);
    let text = says::comment(&g);
    assert!(text.contains("(not used: cr-1: begins 2026-11-27 11:30:00 UTC)"), "{text}");
}

#[test]
fn a_reservation_that_is_gone_is_no_reason_to_wait_for_an_administrator() {
    let (mut g, w) = (gang(), World::new());
    w.ladder.borrow_mut().insert(0, reserved("us-east-2b"));
    let launch = to_launch(&mut g, &w);
    assert!(rung_of(&launch).reservation.is_some());
    assert!(says::comment(&g).contains("in us-east-2b (reservation cr-1), all or nothing"));
    let gone = Outcome::Failed(Trouble {
        code: "InvalidCapacityReservationId.NotFound".into(),
        message: "The capacity reservation ID 'cr-1' does not exist".into(),
        class: crate::classify::classify("InvalidCapacityReservationId.NotFound", ""),
        request_id: Some("r-1".into()),
        ambiguous: false,
    });
    let dry = done(&mut g, &launch, gone, &w, 10);
    assert_eq!(dry.as_ref().map(|r| r.reservation.is_some()), Some(true), "remembered of the reservation");
    let second = next(&mut g, &w, 11).expect("second");
    assert_eq!((rung_of(&second).zone.as_str(), &rung_of(&second).reservation), ("us-east-2b", &None));
}
