//! The model against EC2's published figures.

use super::{bucket::STEPS, calls::ARRIVES_MS, *};
use proptest::prelude::*;

fn budget() -> Budget {
    Budget::new(Buckets::default(), 0)
}

/// When it is expected; 0: admitted.
fn expected(b: &mut Budget, gang: &str, nodes: u32, now: u64) -> u64 {
    match b.admit(gang, nodes, now) {
        Answer::Ok => 0,
        Answer::Wait { expected_ms, ask_ms } => {
            assert!(now < ask_ms && ask_ms <= expected_ms);
            expected_ms
        }
    }
}

/// Gangs that ask when they are told to, all from the beginning: when each was admitted, and how often all asked.
fn serve(b: &mut Budget, gangs: &[(&str, u32, u64)]) -> (BTreeMap<String, u64>, usize) {
    let mut asks: Vec<(u64, usize)> = gangs.iter().enumerate().map(|(i, g)| (g.2, i)).collect();
    let (mut out, mut count) = (BTreeMap::new(), 0);
    while let Some(at) = asks.iter().enumerate().min_by_key(|(_, a)| **a).map(|(i, _)| i) {
        let (now, i) = asks.swap_remove(at);
        let (name, nodes, _) = gangs[i];
        count += 1;
        assert!(count < 1_000_000, "never admitted");
        match b.admit(name, nodes, now) {
            Answer::Wait { ask_ms, .. } => asks.push((ask_ms, i)),
            Answer::Ok => {
                assert!(b.called(name, now));
                b.settled(name, Settled::Granted, now);
                out.insert(name.to_owned(), now);
            }
        }
    }
    (out, count)
}

#[test]
fn what_is_published_holds() {
    let mut b = budget();
    assert_eq!(b.admit("a", 1_000, 0), Answer::Ok);
    // After the first thousand, 500 more take 250 s.
    assert_eq!(expected(&mut b, "b", 500, 0), 250_000);
    assert_eq!(b.admit("b", 500, 250_000), Answer::Ok);
    assert_eq!(b.waiting(), 0);
    let mut b = budget();
    // Two less than are published.
    for i in 0..48 {
        let gang = i.to_string();
        assert_eq!(b.admit(&gang, 1, 0), Answer::Ok, "request {i}");
        assert!(b.called(&gang, 0));
        b.settled(&gang, Settled::Granted, 0);
    }
    assert_eq!(expected(&mut b, "next", 1, 0), 200, "five a second");
    assert_eq!(expected(&mut b, "after", 1, 0), 400, "in the order in which they came");
    assert_eq!(b.admit("after", 1, 200), Answer::Wait { ask_ms: 400, expected_ms: 400 }, "nobody passes");
    assert_eq!(b.admit("next", 1, 200), Answer::Ok);
    assert_eq!(budget().admit("vast", 5_000, 0), Answer::Ok, "more than the bucket: when it is full");
}

#[test]
fn a_hundred_gangs_at_once_take_what_the_buckets_take() {
    let names: Vec<String> = (0..100).map(|i| format!("g{i:03}")).collect();
    let gangs: Vec<(&str, u32, u64)> = names.iter().map(|n| (n.as_str(), 8, 0)).collect();
    let (at, asks) = serve(&mut budget(), &gangs);
    // 800 instances are there; 100 calls are 48 at once and 52 at five a second.
    assert_eq!(at.values().max(), Some(&10_400));
    assert_eq!(asks, 154, "each is told its time once, the two that wait for more than ten seconds twice");
    let gangs: Vec<(&str, u32, u64)> = names.iter().map(|n| (n.as_str(), 40, 0)).collect();
    let (at, asks) = serve(&mut budget(), &gangs);
    // 4,000 instances: 3,000 of them at two a second.
    let last = at.values().max().copied().unwrap_or(0);
    assert!((1_500_000..1_560_000).contains(&last), "{last}");
    assert!(asks < 100 * 60, "{asks} questions");
}

#[test]
fn small_gangs_are_served_beside_a_huge_one_and_the_huge_one_is_not_starved() {
    let mut b = budget();
    assert_eq!(b.admit("first", 1_000, 0), Answer::Ok);
    let mut huge = expected(&mut b, "huge", 800, 0);
    let (mut now, mut served) = (0, 0u32);
    let done = loop {
        now += 500;
        // Somebody small asks all the time.
        let small = format!("small{now}");
        if b.admit(&small, 1, now) == Answer::Ok {
            assert!(b.called(&small, now));
            b.settled(&small, Settled::Granted, 0);
            served += 1;
        } else {
            b.leave(&small);
        }
        if now >= huge.min(now + ASK_MS) || now % ASK_MS == 0 {
            match b.admit("huge", 800, now) {
                Answer::Ok => break now,
                Answer::Wait { expected_ms, .. } => huge = expected_ms,
            }
        }
        assert!(now < 2_000_000, "starved");
    };
    assert!(done <= 830_000, "half of the flow is its own: {done}");
    assert!(served >= 380, "the other half serves the small ones: {served}");
}

#[test]
fn throttles_slow_the_model_and_success_brings_it_back() {
    let mut b = budget();
    b.throttled(Throttled::Requests(Family::Launch), 0);
    assert_eq!(expected(&mut b, "a", 1, 0), 400, "empty, and half the flow");
    for _ in 0..20 {
        b.throttled(Throttled::Requests(Family::Launch), 0);
    }
    assert_eq!(expected(&mut b, "a", 1, 0), 1_600, "not slower than an eighth");
    for _ in 0..STEPS {
        b.succeeded(Family::Launch);
    }
    assert_eq!(expected(&mut b, "a", 1, 0), 200);
    b.throttled(Throttled::Launches, 1_000);
    assert_eq!(expected(&mut b, "a", 4, 1_000), 5_000, "four at one a second");
    assert_eq!(b.draw(Family::Describe, 1_000, 1_000), 0, "the other buckets are what they were");
}

#[test]
fn every_call_is_counted_and_none_waits_longer_than_it_may() {
    let mut b = budget();
    let waits: Vec<u64> = (0..102).map(|_| b.draw(Family::Describe, 10_000, 0)).collect();
    assert!(waits.iter().take(100).all(|w| *w == 0));
    assert_eq!(waits.get(100..), Some(&[50, 100][..]), "twenty a second, one after the other");
    assert_eq!(b.draw(Family::Describe, 10_000, 100), 50);
    assert_eq!(b.draw_ends(500, 10_000, 0), 0);
    assert_eq!(b.draw_ends(500, 10_000, 0), 0);
    assert_eq!(b.draw_ends(100, 10_000, 0), 5_000, "ended instances have a bucket of their own: {b:?}");
    assert_eq!(b.draw_ends(500, 10_000, 0), 10_000, "not blocked for long");
    assert_eq!(b.draw_ends(1, 10_000, 0), 10_000, "what is lacking does not grow without bound");
}

#[test]
fn an_admitted_launch_is_counted_once_and_what_was_not_launched_is_given_back() {
    let mut b = budget();
    assert_eq!(b.admit("a", 600, 0), Answer::Ok);
    assert_eq!(b.admit("a", 600, 0), Answer::Ok, "it has not left yet");
    assert!(b.called("a", 0) && !b.called("a", 0));
    // Its answer was lost: the same launch again is one more call, and no more instances.
    assert_eq!(b.admit("a", 600, 0), Answer::Ok);
    assert!(b.called("a", 0));
    assert!(expected(&mut b, "b", 500, 0) > 0);
    b.settled("a", Settled::Refused, 0);
    assert_eq!(b.admit("b", 500, 0), Answer::Ok, "no capacity: nothing was launched");
    b.leave("b");
    assert_eq!(b.admit("c", 1_000, 0), Answer::Ok, "it left before it launched");
    assert!(b.called("c", 0));
    b.leave("c");
    assert!(expected(&mut b, "d", 1, 0) > 0, "what has left may have been launched");
    let left: Vec<_> = b.shown(0).iter().map(|s| (s.name, s.left)).collect();
    assert_eq!(left.first(), Some(&("CreateFleet", 48 - 2 - 1)));
    assert_eq!(left.get(4), Some(&("launched instances", 0)));
}

#[test]
fn who_has_gone_keeps_nothing() {
    let mut b = budget();
    assert_eq!(b.admit("first", 1_000, 0), Answer::Ok);
    let t = expected(&mut b, "gone", 100, 0);
    assert!(expected(&mut b, "next", 200, t) > t, "half was saved");
    b.leave("gone");
    assert_eq!(b.admit("next", 100, t), Answer::Ok, "what was saved is free");
    let t = expected(&mut b, "silent", 10, t);
    b.flow_in(t + GONE_MS + 1);
    assert_eq!((b.waiting(), b.saved), (0, 0));
}

#[test]
fn other_sizes_hold_from_now_on() {
    let mut b = budget();
    let small = Buckets { launch: Rate { size: 1, per_s: 1 }, ..Buckets::default() };
    b.resize(small);
    assert_eq!(b.admit("a", 1, 0), Answer::Ok);
    assert!(b.called("a", 0));
    b.settled("a", Settled::Granted, 0);
    assert_eq!(expected(&mut b, "b", 1, 0), 1_000);
    assert_eq!(Rate::parse("50/5"), Ok(Rate { size: 50, per_s: 5 }));
    for wrong in ["50", "0/5", "50/0", "a/5", "-1/5", "5000000/1", ""] {
        assert!(Rate::parse(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    /// Never more than bucket and flow allow, in any window from the start; everybody comes through.
    #[test]
    fn the_model_never_gives_more_than_ec2(
        asks in proptest::collection::vec((0u8..6, 1u32..400, 0u64..30_000), 1..60),
    ) {
        let mut b = budget();
        let (mut now, mut given, mut calls) = (0u64, 0u64, 0u64);
        for (gang, nodes, pause) in asks {
            now += pause;
            let gang = gang.to_string();
            if b.admit(&gang, nodes, now) == Answer::Ok {
                prop_assert!(b.called(&gang, now));
                b.settled(&gang, Settled::Granted, now);
                given += u64::from(nodes);
                calls += 1;
            }
            prop_assert!(given * 1_000 <= 1_000_000 + now * 2);
            prop_assert!(calls * 1_000 <= 50_000 + now * 5);
            prop_assert!(b.saved + b.instances.held <= b.instances.most);
            prop_assert!(b.saved >= 0 && b.instances.held >= 0);
            prop_assert_eq!(b.waiting.len(), b.turns.len());
        }
        let names: Vec<String> = (0u8..6).map(|g| g.to_string()).collect();
        let gangs: Vec<(&str, u32, u64)> = names.iter().map(|n| (n.as_str(), 400, now)).collect();
        let (at, _) = serve(&mut b, &gangs);
        let last = at.values().max().copied().unwrap_or(0);
        prop_assert!(last <= now + 6 * 200_000 + 6 * ASK_MS, "waited {}", last - now);
    }

    /// However late calls are made after their turn, reach EC2 and are answered: EC2's own bucket never lacks a token.
    #[test]
    fn ec2_has_a_token_for_every_admitted_call(
        // A disk that stands still: calls of this time and before are made when it is over, ms.
        stands in 0u64..5_000,
        // When it asks, ms; then how long until EC2 has its call (as far as the model covers), until its answer.
        gangs in proptest::collection::vec(
            (prop_oneof![3 => 0u64..100, 1 => 0u64..20_000], 0..=ARRIVES_MS, 0u64..4_000), 40..120),
    ) {
        #[derive(PartialEq, Eq, PartialOrd, Ord)]
        enum What { Arrives, Answered, Asks, Leaves }
        let mut events: std::collections::BTreeSet<(u64, What, usize)> =
            gangs.iter().enumerate().map(|(i, g)| (g.0, What::Asks, i)).collect();
        let mut b = budget();
        let (mut ec2, mut at, mut served) = (50_000u64, 0u64, 0usize);
        while let Some((now, what, i)) = events.pop_first() {
            let Some((_, arrives, answered)) = gangs.get(i) else { continue };
            let gang = i.to_string();
            match what {
                What::Asks => {
                    events.insert(match b.admit(&gang, 1, now) {
                        Answer::Ok => (now.max(stands), What::Leaves, i),
                        Answer::Wait { ask_ms, .. } => (ask_ms, What::Asks, i),
                    });
                }
                What::Leaves => {
                    prop_assert!(b.called(&gang, now));
                    events.insert((now + arrives, What::Arrives, i));
                }
                What::Arrives => {
                    ec2 = (ec2 + (now - at) * 5).min(50_000);
                    at = now;
                    prop_assert!(ec2 >= 1_000, "throttled at {now}: {b:?}");
                    ec2 -= 1_000;
                    events.insert((now + answered, What::Answered, i));
                }
                What::Answered => {
                    b.settled(&gang, Settled::Granted, now);
                    served += 1;
                }
            }
        }
        prop_assert_eq!(served, gangs.len());
    }

    /// Whatever answers are late or lost, throttled or refused: who goes on asking has all its fleets in the end.
    #[test]
    fn everybody_comes_through(
        size in 1u32..20,
        // When it asks, ms; instances of its first fleet and of a second one; when its answers come, ms, and what they are.
        gangs in proptest::collection::vec(
            (0u64..40_000, 1u32..12, 0u32..12, prop_oneof![0u64..100, 0u64..90_000], 0u8..6), 1..24),
    ) {
        #[derive(PartialEq, Eq, PartialOrd, Ord)]
        enum What { Answered, Asks, Repeats, AsksNext }
        let sizes = Buckets { instances: Rate { size, per_s: 1 }, ..Buckets::default() };
        let mut b = Budget::new(sizes, 0);
        let mut events: std::collections::BTreeSet<(u64, What, usize, u8)> =
            gangs.iter().enumerate().map(|(i, g)| (g.0, What::Asks, i, g.4)).collect();
        let mut served = 0usize;
        while let Some((now, what, i, fate)) = events.pop_first() {
            prop_assert!(now < 4_000_000, "{i} still waits: {b:?}");
            let Some((_, first, next, late, _)) = gangs.get(i) else { continue };
            let gang = i.to_string();
            let answer = match what {
                What::Asks => b.admit_first(&gang, *first, first + next, now),
                What::Repeats => b.admit(&gang, 0, now),
                What::AsksNext => b.admit_next(&gang, *next, now),
                What::Answered => {
                    let (how, then) = match fate {
                        // Lost: only a repetition can tell.
                        1 => (None, What::Repeats),
                        2 => (Some(Settled::Refused), What::Asks),
                        3 => (Some(Settled::Throttled), What::Asks),
                        _ => (Some(Settled::Granted), What::AsksNext),
                    };
                    if how == Some(Settled::Throttled) {
                        b.throttled(Throttled::Launches, now);
                    }
                    if let Some(how) = how {
                        b.settled(&gang, how, now);
                    }
                    if how == Some(Settled::Granted) && (*next == 0 || fate == 5) {
                        b.leave(&gang);
                        served += 1;
                    } else {
                        // After a first fleet the second one's answer is the last.
                        let fate = if then == What::AsksNext { 5 } else { 4 };
                        events.insert((now, then, i, fate));
                    }
                    continue;
                }
            };
            match answer {
                Answer::Wait { ask_ms, .. } => _ = events.insert((ask_ms, what, i, fate)),
                Answer::Ok => {
                    prop_assert!(b.called(&gang, now));
                    events.insert((now + late, What::Answered, i, fate));
                }
            }
        }
        prop_assert_eq!(served, gangs.len());
    }

    #[test]
    fn nothing_overflows(a in any::<[u32; 4]>(), n in any::<u32>(), times in any::<[u64; 4]>()) {
        let [size, per_s, most, flow] = a;
        let sizes = Buckets {
            launch: Rate { size, per_s },
            instances: Rate { size: most, per_s: flow },
            ..Buckets::default()
        };
        let mut b = Budget::new(sizes, 7);
        for t in times {
            let _ = b.admit("x", n, t);
            let _ = b.admit("y", n, t);
            let _ = b.draw_ends(n, t, t);
            b.throttled(Throttled::Launches, t);
            b.succeeded(Family::Launch);
        }
    }
}

#[test]
fn a_gang_of_fifteen_hundred_has_its_last_thousand_as_soon_as_ec2_has_them() {
    let mut b = budget();
    assert_eq!(b.admit_first("vast", 500, 1_500, 0), Answer::Ok);
    assert!(b.called("vast", 0));
    b.settled("vast", Settled::Granted, 0);
    // Small ones that come meanwhile do not prolong what is paid for, and are told when.
    assert_eq!(expected(&mut b, "small", 8, 1_000), 1_000 + 250_000 - 1_000 + 4_000);
    let Answer::Wait { expected_ms, .. } = b.admit_next("vast", 1_000, 1_000) else {
        panic!("500 are not there")
    };
    assert_eq!(expected_ms, 251_000, "500 at two a second, from the answer on");
    let waits = |b: &mut Budget, now| b.admit("small", 8, now) != Answer::Ok;
    assert!((2..251).all(|s| waits(&mut b, s * 1_000)));
    assert_eq!(b.admit_next("vast", 1_000, 251_000), Answer::Ok);
    assert!(b.called("vast", 0));
    b.settled("vast", Settled::Granted, 0);
    b.leave("vast");
    assert!(waits(&mut b, 253_000));
    assert_eq!(b.admit("small", 8, 258_000), Answer::Ok);
}

#[test]
fn two_gangs_in_parts_are_never_both_begun_and_unfinished() {
    let mut b = budget();
    assert_eq!(b.admit_first("one", 500, 1_500, 0), Answer::Ok);
    assert!(b.called("one", 0));
    b.settled("one", Settled::Granted, 0);
    assert!(expected(&mut b, "two", 1_500, 0) > 250_000);
    let mut now = 0;
    while let Answer::Wait { ask_ms, .. } = b.admit_next("one", 1_000, now) {
        assert_ne!(b.admit_first("two", 500, 1_500, now), Answer::Ok);
        now = ask_ms;
    }
    assert_eq!(now, 250_000);
    // Given up: what was kept is everybody's again.
    b.leave("one");
    b.leave("two");
    assert_eq!(b.admit("three", 1_000, 250_000), Answer::Ok, "its call has not left");
}

#[test]
fn a_gang_that_the_bucket_holds_has_all_its_parts_at_once() {
    let mut b = budget();
    assert_eq!(b.admit_first("mixed", 1, 100, 0), Answer::Ok);
    assert!(b.called("mixed", 0));
    b.settled("mixed", Settled::Granted, 0);
    assert_eq!(b.admit("other", 900, 0), Answer::Ok);
    assert_eq!(b.admit_next("mixed", 99, 0), Answer::Ok, "nobody else was given them");
    assert_ne!(b.admit("third", 1, 0), Answer::Ok);
    // A controller that starts anew knows nothing of what it had begun.
    let mut b = budget();
    assert_eq!(b.admit_next("before", 1_000, 0), Answer::Ok);
}

#[test]
fn a_throttle_empties_what_was_kept() {
    let mut b = budget();
    assert_eq!(b.admit_first("a", 1, 100, 0), Answer::Ok);
    assert!(b.called("a", 0));
    b.settled("a", Settled::Granted, 0);
    b.throttled(Throttled::Launches, 0);
    assert!(matches!(b.admit_next("a", 99, 0), Answer::Wait { expected_ms: 99_000, .. }), "at one a second");
}

#[test]
fn a_full_bucket_takes_nothing_in_until_the_calls_are_made_and_who_makes_none_stops_nobody() {
    let mut b = budget();
    for i in 0..48 {
        assert_eq!(b.admit(&i.to_string(), 1, 0), Answer::Ok);
    }
    // They leave a second late: nothing has flowed in until then.
    assert!(expected(&mut b, "next", 1, 1_000) > 0);
    for i in 0..47 {
        let gang = i.to_string();
        assert!(b.called(&gang, 1_000));
        b.settled(&gang, Settled::Granted, 1_010);
    }
    assert_eq!(b.admit("next", 1, 1_020), Answer::Wait { ask_ms: 1_210, expected_ms: 1_210 });
    assert_eq!(b.admit("next", 1, 1_210), Answer::Ok);
    // The one that has not left keeps its token for a minute.
    assert_eq!(b.draw(Family::Launch, 10_000, 1_210), 200);
    assert_eq!(b.shown(GONE_MS + 1_000).first().map(|s| s.left), Some(48 - 1), "that is of `next`");
}

#[test]
fn what_flows_in_before_ec2_has_the_launch_is_not_counted_on() {
    let rate = |size, per_s| Rate { size, per_s };
    let mut b = Budget::new(Buckets { instances: rate(100, 2), ..Buckets::default() }, 0);
    assert_eq!(b.admit("a", 75, 0), Answer::Ok);
    assert!(b.called("a", 0));
    // The full bucket stood still for half a second.
    b.settled("a", Settled::Granted, 500);
    let Answer::Wait { expected_ms, .. } = b.admit("b", 75, 500) else { panic!("50 are missing") };
    assert_eq!(expected_ms, 25_500);
}

#[test]
fn a_late_answer_costs_no_more_than_its_launch_and_a_repetition_waits_for_no_instances() {
    let rate = |size, per_s| Rate { size, per_s };
    let mut b = Budget::new(Buckets { instances: rate(12, 2), ..Buckets::default() }, 0);
    for gang in ["late", "lost"] {
        assert_eq!(b.admit(gang, 4, 0), Answer::Ok);
        assert!(b.called(gang, 0));
    }
    b.settled("late", Settled::Granted, 31_000);
    assert_ne!(b.admit("all", 12, 31_000), Answer::Ok, "4 may be missing");
    b.throttled(Throttled::Launches, 31_000);
    assert_eq!(b.admit("lost", 0, 31_000), Answer::Ok, "EC2 has counted its instances");
    assert!(b.called("lost", 31_000));
    b.settled("lost", Settled::Granted, 31_000);
    assert_ne!(b.admit("all", 12, 46_000), Answer::Ok, "4 may still be missing, and one a second comes");
    assert_eq!(b.admit("all", 12, 48_000), Answer::Ok);
}
