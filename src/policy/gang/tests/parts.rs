//! Gangs in parts: kept only whole, whatever happens between two intents.

use super::*;
use burst_plan::Market::{Mixed, OnDemand, Spot};

/// Five nodes, two in a fleet at most: 1 + 2 + 2.
fn split() -> World {
    let w = World { fleet_most: 2, ..World::new() };
    *w.ladder.borrow_mut() = vec![rung("us-east-2b", 5), rung("us-east-2c", 5)];
    w
}

fn part(number: usize, n: u32) -> Outcome {
    Outcome::Fleet(Grant {
        fleet: format!("fleet-{number}"),
        instances: (0..n).map(|i| format!("i-{number}-{i}")).collect(),
        errors: Vec::new(),
        request_id: None,
    })
}

fn wants(e: Option<Effect>) -> (u32, Market, Effect) {
    match e {
        Some(Effect::Launch { rung, comment }) => (rung.nodes, rung.market, Effect::Launch { rung, comment }),
        other => panic!("{other:?}"),
    }
}

fn trouble(code: &str, class: Class, ambiguous: bool) -> Outcome {
    let (code, message) = (code.to_owned(), "text".to_owned());
    Outcome::Failed(Trouble { code, message, class, request_id: None, ambiguous })
}

/// The first part is granted at 10 ms, and the second is about to be launched.
fn begun(w: &World) -> (Gang, Effect) {
    let mut g = gang();
    let (n, _, first) = wants(Some(to_launch(&mut g, w)));
    assert_eq!(n, 1, "the remainder first");
    done(&mut g, &first, part(1, 1), w, 10);
    let (n, _, second) = wants(next(&mut g, w, 11));
    assert_eq!(n, 2);
    (g, second)
}

#[test]
fn every_part_is_an_intent_and_only_all_of_them_are_a_gang() {
    let w = split();
    let mut g = gang();
    let (_, _, first) = wants(Some(to_launch(&mut g, &w)));
    let comment = says::comment(&g);
    assert!(comment.contains("5 x hpc7a.96xlarge") && comment.contains("3 fleets (1 + 2 + 2)"), "{comment}");
    let one = g.token("u");
    done(&mut g, &first, part(1, 1), &w, 10);
    assert!(matches!(g.phase, Phase::Launching { .. }), "one of three is no gang: {:?}", g.phase);
    let (_, _, second) = wants(next(&mut g, &w, 11));
    let two = g.token("u");
    done(&mut g, &second, part(2, 2), &w, 4_000);
    let (_, _, third) = wants(next(&mut g, &w, 4_001));
    let three = g.token("u");
    assert!(one != two && two != three, "each has a token of its own");
    assert!(says::comment(&g).contains("part 3"), "{}", says::comment(&g));
    done(&mut g, &third, part(3, 2), &w, 6_010);
    assert!(matches!(g.phase, Phase::Granted { .. }));
    assert_eq!((g.attempt, g.intent, g.paid, g.members.len()), (1, 3, 1, 5));
    assert_eq!(g.won.as_ref().map(|r| r.nodes), Some(5));
    let nodes: Vec<&str> = g.members.iter().map(|m| m.node.as_str()).collect();
    assert_eq!(nodes, g.names, "every name has its instance");
    assert!(g.members.iter().all(|m| m.boots_from() == 6_010), "boot_limit begins with the last part");
    assert_eq!(g.members[0].granted_ms, 10, "and the bill with its own");
    // One for 6 s, two for 2.01 s.
    assert_eq!(g.track.idle_ms, 6_000 + 2 * 2_010);
    assert!(g.history.iter().any(|e| e.text.contains("whole in 3 parts (1 + 2 + 2) after 6 s")));
    boot_granted(&mut g, &w);
}

#[test]
fn law1_a_part_that_is_refused_gives_back_what_was_granted() {
    let w = split();
    let (mut g, second) = begun(&w);
    let empty = done(&mut g, &second, no_capacity(), &w, 20).expect("a place without room");
    assert_eq!(empty.nodes, 5, "what is known is that the whole gang has no room there");
    assert_eq!(
        next(&mut g, &w, 21),
        Some(Effect::Terminate { sweep: false }),
        "at once, and nothing is unsure"
    );
    done(&mut g, &Effect::Terminate { sweep: false }, Outcome::Ok, &w, 22);
    let (n, _, again) = wants(next(&mut g, &w, 23));
    assert_eq!((n, g.attempt, g.paid), (1, 2, 1), "the next place, from its first part on");
    assert!(matches!(&again, Effect::Launch { rung, .. } if rung.zone == "us-east-2c"), "{again:?}");
    done(&mut g, &again, part(4, 1), &w, 30);
    let (_, _, second) = wants(next(&mut g, &w, 31));
    done(&mut g, &second, no_capacity(), &w, 40);
    assert_eq!(next(&mut g, &w, 41), Some(Effect::Terminate { sweep: false }));
    done(&mut g, &Effect::Terminate { sweep: false }, Outcome::Ok, &w, 42);
    assert_eq!(next(&mut g, &w, 43), None);
    assert!(matches!(&g.phase, Phase::Failed(w) if w.contains("2 paid attempts failed")), "{:?}", g.phase);
}

#[test]
fn law1_half_a_part_gives_all_back() {
    let w = split();
    let (mut g, second) = begun(&w);
    done(&mut g, &second, part(2, 1), &w, 20);
    assert_eq!((g.members.len(), g.paid), (2, 1));
    assert_eq!(next(&mut g, &w, 21), Some(Effect::Terminate { sweep: false }));
}

#[test]
fn what_says_nothing_about_capacity_is_asked_again_by_another_intent_within_the_limit() {
    let w = split();
    let (mut g, mut second) = begun(&w);
    let throttle = || {
        Outcome::Fleet(Grant {
            fleet: "fleet-0".into(),
            instances: Vec::new(),
            errors: vec![("RequestLimitExceeded".into(), "slow".into(), Class::Throttle)],
            request_id: None,
        })
    };
    let mut now = 20;
    let mut intents = std::collections::BTreeSet::from([g.intent]);
    loop {
        done(&mut g, &second, throttle(), &w, now);
        now = step::wake(&g).expect("it comes back");
        let Some(e) = next(&mut g, &w, now) else { panic!("{:?}", g.phase) };
        if e == (Effect::Terminate { sweep: false }) {
            break;
        }
        (_, _, second) = wants(Some(e));
        assert!(intents.insert(g.intent), "a fleet that was answered is not asked for with the same token");
    }
    assert_eq!(now, 10 + 600_000, "split_limit after the first grant, and not later");
    assert_eq!(g.last_error.as_ref().map(|e| e.code.as_str()), Some("SplitLimit"));
}

#[test]
fn law2_an_unanswered_part_is_asked_again_with_its_token_and_given_back_unseen_at_the_limit() {
    let w = split();
    let (mut g, second) = begun(&w);
    let token = g.token("u");
    done(&mut g, &second, trouble("Timeout", Class::Transient, true), &w, 20);
    let soon = step::wake(&g).expect("soon");
    let (_, _, again) = wants(next(&mut g, &w, soon));
    assert_eq!(g.token("u"), token);
    done(&mut g, &again, trouble("Timeout", Class::Transient, true), &w, 5_000);
    // It may have been granted: what carries the gang's tag is looked for.
    assert_eq!(next(&mut g, &w, 600_010), Some(Effect::Terminate { sweep: true }));
    assert_eq!(g.paid, 1, "one attempt, however many of its parts cost money");
}

#[test]
fn a_part_that_waits_for_its_turn_waits_no_longer_than_the_limit() {
    let w = split();
    let (mut g, _) = begun(&w);
    *w.turn.borrow_mut() = Some((900_000, Why::Rate { said_ms: 0, expected_ms: 900_000 }));
    assert_eq!(next(&mut g, &w, 12), None);
    assert_eq!(step::wake(&g), Some(600_010));
    assert_eq!(next(&mut g, &w, 600_010), Some(Effect::Terminate { sweep: false }));
}

#[test]
fn whoever_ends_it_between_two_parts_ends_all_of_it() {
    for what in ["cancel", "hold", "stop"] {
        let w = split();
        let (mut g, _) = begun(&w);
        match what {
            "cancel" => w.edit(|v| v.state = 4),
            "hold" => g.user_hold = true,
            _ => super::operators::stop(&w, crate::stops::How::Pause),
        }
        assert_eq!(next(&mut g, &w, 15), Some(Effect::Terminate { sweep: false }), "{what}");
        // Each look starts nothing over: what failed keeps its pause, and what is over comes to its end.
        let since = g.since_ms;
        done(&mut g, &Effect::Terminate { sweep: false }, trouble("Timeout", Class::Transient, true), &w, 16);
        let pause = step::wake(&g).expect("a pause");
        assert!(pause > 16, "{what}");
        assert_eq!(next(&mut g, &w, 17), None, "{what}");
        assert_eq!((step::wake(&g), g.since_ms), (Some(pause), since), "{what}");
    }
}

#[test]
fn a_mixed_gang_has_its_first_node_on_demand_and_its_workers_on_spot() {
    let w = World::new();
    *w.ladder.borrow_mut() =
        vec![Rung { market: Mixed, max_price: Some(MicroUsd(5)), ..rung("us-east-2b", 4) }];
    let mut g = gang();
    let (n, market, first) = wants(Some(to_launch(&mut g, &w)));
    assert_eq!((n, market), (1, OnDemand), "the smaller part first");
    done(&mut g, &first, part(1, 1), &w, 10);
    let (n, market, second) = wants(next(&mut g, &w, 11));
    assert_eq!((n, market), (3, Spot));
    assert!(matches!(&second, Effect::Launch { rung, .. } if rung.max_price == Some(MicroUsd(5))));
    let mut refused = g.clone();
    done(&mut refused, &second, no_capacity(), &w, 20);
    assert_eq!(next(&mut refused, &w, 21), Some(Effect::Terminate { sweep: false }), "kept only together");
    done(&mut g, &second, part(2, 3), &w, 20);
    let of: Vec<Option<Market>> = g.members.iter().map(|m| m.market).collect();
    assert_eq!(of, [Some(OnDemand), Some(Spot), Some(Spot), Some(Spot)]);
    assert_eq!(g.members[0].node, g.names[0], "the critical node has the first name");
    boot_granted(&mut g, &w);
    all_ask(&mut g);
    let booting = g.clone();
    g.members[2].failed = Some("no EFA device".into());
    assert_eq!(next(&mut g, &w, 30), Some(Effect::Retire));
    done(&mut g, &Effect::Retire, Outcome::Ok, &w, 31);
    let (n, market, _) = wants(next(&mut g, &w, 32));
    assert_eq!((n, market), (1, Spot), "a worker is replaced by a worker");
    let mut g = booting;
    g.members[0].failed = Some("no EFA device".into());
    assert_eq!(
        next(&mut g, &w, 30),
        Some(Effect::PowerDown),
        "without its critical node the gang is given back"
    );
}

#[test]
fn a_document_of_before_is_a_gang_of_one_fleet() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    let mut doc = serde_json::to_value(&g).expect("writes");
    doc.as_object_mut().expect("object").remove("split");
    for m in doc["members"].as_array_mut().expect("members") {
        let m = m.as_object_mut().expect("object");
        m.remove("market");
        m.remove("whole_ms");
    }
    let old: Gang = serde_json::from_value(doc).expect("reads");
    assert_eq!(old.split, None);
    assert_eq!(old.members[0].boots_from(), g.members[0].granted_ms);
}
