//! The budget service before a launch.

use super::*;
use crate::asbb::{Decision, OnError, OnRefusal, Service};

fn guarded() -> World {
    let mut w = World::new();
    w.budget = Some(Service {
        url: "http://b".into(),
        timeout: Seconds(5),
        on_error: OnError::Hold,
        on_refusal: OnRefusal::Hold,
    });
    w
}

/// From submission to the question.
fn to_question(g: &mut Gang, w: &World) -> Effect {
    w.pending(true);
    let hold = next(g, w, 1).expect("hold");
    done(g, &hold, Outcome::Ok, w, 2);
    let question = next(g, w, 3).expect("a question");
    assert!(
        matches!(&question, Effect::Budget { check, .. } if check.nodes == 2 && check.cpus == 384),
        "{question:?}"
    );
    assert_eq!((g.attempt, g.names.len()), (0, 0), "nothing is reserved before the answer");
    question
}

fn go(transaction: &str) -> Outcome {
    Outcome::Budget(Decision::Go { transaction: transaction.into(), note: "agreed".into() })
}

#[test]
fn nothing_is_launched_before_the_service_agrees_and_it_is_asked_once() {
    let (mut g, w) = (gang(), guarded());
    let question = to_question(&mut g, &w);
    done(&mut g, &question, go("t-1"), &w, 4);
    let launch = next(&mut g, &w, 5).expect("launch");
    assert!(matches!(launch, Effect::Launch { .. }), "{launch:?}");
    assert_eq!(g.promises[0].transaction, "t-1");
    done(&mut g, &launch, no_capacity(), &w, 6);
    let again = next(&mut g, &w, 7).expect("the next place");
    assert!(matches!(again, Effect::Launch { .. }), "the same size needs no new word: {again:?}");
    let text = serde_json::to_string(&g).expect("a document");
    assert_eq!(serde_json::from_str::<Gang>(&text).expect("reads"), g, "a restart forgets no promise");
}

#[test]
fn a_larger_rung_is_asked_about_again() {
    let (mut g, w) = (gang(), guarded());
    *w.ladder.borrow_mut() = vec![rung("us-east-2b", 2), rung("us-east-2c", 4)];
    let question = to_question(&mut g, &w);
    done(&mut g, &question, go("t-1"), &w, 4);
    let launch = next(&mut g, &w, 5).expect("launch");
    done(&mut g, &launch, no_capacity(), &w, 6);
    let question = next(&mut g, &w, 7).expect("a question");
    assert!(matches!(&question, Effect::Budget { check, .. } if check.nodes == 4), "{question:?}");
    done(&mut g, &question, go("t-2"), &w, 8);
    assert!(matches!(next(&mut g, &w, 9), Some(Effect::Launch { .. })));
    assert_eq!(g.promises.iter().map(|p| p.transaction.as_str()).collect::<Vec<_>>(), ["t-1", "t-2"]);
}

#[test]
fn a_wait_says_why_and_asks_again_later() {
    let (mut g, w) = (gang(), guarded());
    let question = to_question(&mut g, &w);
    let why = "the budget service refuses: 3.00 USD remain";
    done(&mut g, &question, Outcome::Budget(Decision::Wait(why.into())), &w, 1_000);
    assert_eq!(next(&mut g, &w, 1_001), None);
    let Phase::Waiting { until_ms: Some(until), why: Why::Budget(text) } = g.phase.clone() else {
        panic!("{:?}", g.phase)
    };
    assert_eq!((until, text.as_str()), (31_000, why), "retry_min");
    assert!(says::comment(&g).contains(why), "{}", says::comment(&g));
    assert_eq!(step::wake(&g), Some(until));
    assert_eq!(next(&mut g, &w, until - 1), None);
    assert!(matches!(next(&mut g, &w, until), Some(Effect::Budget { .. })), "asked again");
}

#[test]
fn a_stop_leaves_it_held_and_a_waiver_launches() {
    let (mut g, w) = (gang(), guarded());
    let question = to_question(&mut g, &w);
    done(&mut g, &question, Outcome::Budget(Decision::Stop("refused".into())), &w, 4);
    assert_eq!((next(&mut g, &w, 1_000_000), g.phase.clone()), (None, Phase::Failed("refused".into())));

    let (mut g, w) = (gang(), guarded());
    let question = to_question(&mut g, &w);
    done(&mut g, &question, go(""), &w, 4);
    assert!(matches!(next(&mut g, &w, 5), Some(Effect::Launch { .. })));
}

#[test]
fn an_answer_that_comes_to_a_cancelled_job_is_kept_and_nothing_is_launched() {
    let (mut g, w) = (gang(), guarded());
    let question = to_question(&mut g, &w);
    w.edit(|v| v.state = 4);
    done(&mut g, &question, go("t-1"), &w, 4);
    for n in 0..10 {
        assert!(!matches!(next(&mut g, &w, 5 + n), Some(Effect::Launch { .. })));
    }
    assert_eq!((g.phase.label(), g.promises.len()), ("Done", 1), "to be settled");
}

#[test]
fn many_promises_stay_few() {
    let (mut g, w) = (gang(), guarded());
    let question = to_question(&mut g, &w);
    for n in 0..100 {
        done(&mut g, &question, go(&format!("t-{n}")), &w, n);
    }
    assert_eq!(g.promises.len(), crate::asbb::MOST_PROMISES);
    assert_eq!(g.promises.last().map(|p| p.transaction.as_str()), Some("t-99"));
}
