//! Reservations against what EC2 says of them.

use super::*;
use burst_plan::Market;

const NOW: u64 = 1_790_000_000;

fn rung(kind: Kind, nodes: u32, group: Option<&str>) -> Rung {
    Rung {
        block: 0,
        instance_type: "p5.48xlarge".into(),
        zone: "us-east-2b".into(),
        subnet: "subnet-1".into(),
        market: Market::OnDemand,
        nodes,
        efa: 32,
        hourly: None,
        max_price: None,
        reservation: Some(Reserved { id: "cr-1".into(), kind, group: group.map(str::to_owned) }),
        region: None,
    }
}

fn facts(kind: Kind) -> Facts {
    Facts {
        id: "cr-1".into(),
        state: "active".into(),
        kind,
        instance_type: "p5.48xlarge".into(),
        zone: "us-east-2b".into(),
        total: 8,
        available: 8,
        group: None,
        start_s: Some(NOW - 100),
        end_s: Some(NOW + 86_400),
    }
}

fn word(rung: &Rung, facts: &Facts, taken: u32) -> Option<String> {
    unusable(rung, Now { facts: Some(facts), taken, lasts: Seconds(3_600), now_s: NOW })
}

#[test]
fn one_that_fits_is_used_and_a_rung_without_is_not_asked() {
    for kind in [Kind::Open, Kind::Targeted, Kind::CapacityBlock] {
        assert_eq!(word(&rung(kind, 8, None), &facts(kind), 0), None, "{kind:?}");
    }
    let plain = Rung { reservation: None, ..rung(Kind::Open, 99, None) };
    assert_eq!(word(&plain, &facts(Kind::Open), 0), None);
    let unknown = Now { facts: None, taken: 0, lasts: Seconds(1), now_s: NOW };
    let why = unusable(&rung(Kind::Open, 1, None), unknown).expect("unknown");
    assert_eq!(why, "cr-1: EC2 does not know this reservation");
}

#[test]
fn what_others_took_since_the_look_counts() {
    let f = facts(Kind::Targeted);
    assert_eq!(word(&rung(Kind::Targeted, 4, None), &f, 4), None);
    let why = word(&rung(Kind::Targeted, 5, None), &f, 4);
    assert_eq!(why.as_deref(), Some("cr-1: 4 of 8 instances are free"));
}

#[test]
fn contradictions_are_told_all_at_once() {
    let f = Facts {
        zone: "us-east-2a".into(),
        instance_type: "p5e.48xlarge".into(),
        group: Some("theirs".into()),
        ..facts(Kind::Open)
    };
    let why = word(&rung(Kind::CapacityBlock, 1, None), &f, 0).expect("wrong");
    for part in [
        "its kind is open, not capacity-block",
        "its type is p5e.48xlarge, not p5.48xlarge",
        "its zone is us-east-2a, not us-east-2b",
        "it was made in placement group theirs: write group",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
    let mut grouped = facts(Kind::Targeted);
    let why = word(&rung(Kind::Targeted, 1, Some("ours")), &grouped, 0).expect("wrong");
    assert!(why.contains("it was not made in placement group ours"), "{why}");
    grouped.group = Some("other".into());
    let why = word(&rung(Kind::Targeted, 1, Some("ours")), &grouped, 0).expect("wrong");
    assert!(why.contains("made in placement group other, not ours"), "{why}");
    grouped.group = Some("ours".into());
    assert_eq!(word(&rung(Kind::Targeted, 1, Some("ours")), &grouped, 0), None);
}

#[test]
fn a_reservation_has_its_time() {
    let block = rung(Kind::CapacityBlock, 1, None);
    let f = |state: &str, start: u64, end: u64| Facts {
        state: state.into(),
        start_s: Some(start),
        end_s: Some(end),
        ..facts(Kind::CapacityBlock)
    };
    let says = |f: &Facts, part: &str| {
        let why = word(&block, f, 0).unwrap_or_default();
        assert!(why.contains(part), "{part}: {why}");
    };
    says(&f("scheduled", NOW + 60, NOW + 86_400), "begins ");
    says(&f("expired", NOW - 90_000, NOW - 60), "is expired");
    says(&f("active", NOW - 90_000, NOW + BLOCK_MARGIN_S), "has ended");
    says(&f("active", NOW - 90_000, NOW + BLOCK_MARGIN_S + 3_599), "could run beyond its end");
    assert_eq!(word(&block, &f("active", NOW - 90_000, NOW + BLOCK_MARGIN_S + 3_600), 0), None);
    // An On-Demand Capacity Reservation's end does not end its instances.
    let odcr = Facts { end_s: Some(NOW + 60), ..facts(Kind::Targeted) };
    assert_eq!(word(&rung(Kind::Targeted, 1, None), &odcr, 0), None);
}
