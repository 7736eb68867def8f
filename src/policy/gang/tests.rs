//! The state machine against a small world of values.

use super::{step::PAID_ATTEMPTS, *};
use crate::{
    admit::{Admission, Refusal},
    config::{Block, Placement},
};
use burst_plan::{Efa, Else, Market, MicroUsd, Seconds};
use std::{cell::RefCell, collections::BTreeMap};

mod boot;
mod budget;
mod forgotten;
mod operators;
mod parts;
mod reserved;
mod turns;

struct World {
    pool: Pool,
    seen: RefCell<Seen>,
    nodes: RefCell<BTreeMap<String, NodeView>>,
    ladder: RefCell<Vec<Rung>>,
    otherwise: Else,
    wait: Option<Seconds>,
    refuse: Option<String>,
    dry: RefCell<BTreeMap<String, u64>>,
    /// Why rungs of reservations cannot be used.
    shut: RefCell<Option<String>>,
    turn: RefCell<Option<(u64, Why)>>,
    shortage: RefCell<Option<String>>,
    stops: RefCell<crate::stops::Stops>,
    budget: Option<crate::asbb::Service>,
    born_ms: u64,
    fleet_most: u32,
}

fn rung(zone: &str, nodes: u32) -> Rung {
    Rung {
        block: 0,
        instance_type: "hpc7a.96xlarge".into(),
        zone: zone.into(),
        subnet: "subnet-1".into(),
        market: Market::OnDemand,
        nodes,
        efa: 2,
        hourly: Some(MicroUsd(7_200_000)),
        max_price: None,
        reservation: None,
        region: None,
    }
}

fn pool() -> Pool {
    let names: Vec<String> = (1..=8).map(|n| format!("e-{n}")).collect();
    Pool {
        name: "efa".into(),
        partition: "efa".into(),
        market: Market::OnDemand,
        markets_allowed: vec![Market::OnDemand],
        placement: Placement::Cluster,
        efa: Efa::Required,
        strict: false,
        zones: vec![("us-east-2b".into(), "subnet-1".into())],
        image: Some("ami-1".into()),
        security_groups: vec!["sg-1".into()],
        instance_profile: None,
        launch_template: None,
        root_gib: None,
        key_name: None,
        public_ip: false,
        boot_limit: Seconds(480),
        start_limit: Seconds(300),
        epilog_limit: Seconds(600),
        report_grace: Seconds(10),
        orphan_limit: Seconds(900),
        on_no_capacity: Else::Wait,
        wait_limit: None,
        retry_min: Seconds(30),
        retry_max: Seconds(600),
        dry_run: false,
        split_limit: Seconds(600),
        critical_nodes: 1,
        local_partition: Some("cpu".into()),
        max_nodes: 8,
        max_cost_per_job: None,
        blocks: vec![Block {
            instance_type: "hpc7a.96xlarge".into(),
            nodes: "e-[1-8]".into(),
            names,
            cpus: 192,
            memory_mib: 700_000,
            gpus: 0,
            efa_max: 2,
            ports: None,
            node_addr: None,
        }],
        reservations: Vec::new(),
        reservations_only: false,
        regions: Vec::new(),
    }
}

impl World {
    fn new() -> Self {
        let pool = pool();
        let down = NodeView { idle: true, powered_down: true, ..NodeView::default() };
        let nodes =
            pool.blocks.iter().flat_map(|b| b.names.iter()).map(|n| (n.clone(), down.clone())).collect();
        Self {
            pool,
            seen: RefCell::new(Seen::Unknown),
            nodes: RefCell::new(nodes),
            ladder: RefCell::new(vec![rung("us-east-2b", 2), rung("us-east-2c", 2)]),
            otherwise: Else::Wait,
            wait: None,
            refuse: None,
            dry: RefCell::default(),
            shut: RefCell::default(),
            turn: RefCell::new(None),
            shortage: RefCell::new(None),
            stops: RefCell::default(),
            budget: None,
            born_ms: 0,
            fleet_most: 1_000,
        }
    }
    fn pending(&self, held: bool) {
        *self.seen.borrow_mut() = Seen::Is(JobView {
            id: 7,
            text: "7".into(),
            held,
            held_admin: held,
            partition: "efa".into(),
            minutes: Some(60),
            submit: 1_000,
            ..JobView::default()
        });
    }
    fn edit(&self, f: impl FnOnce(&mut JobView)) {
        if let Seen::Is(v) = &mut *self.seen.borrow_mut() {
            f(v);
        }
    }
    fn set_nodes(&self, names: &[String], view: &NodeView) {
        for n in names {
            self.nodes.borrow_mut().insert(n.clone(), view.clone());
        }
    }
}

impl House for World {
    fn job(&self, _: &Gang) -> Seen {
        self.seen.borrow().clone()
    }
    fn node(&self, name: &str) -> Option<NodeView> {
        self.nodes.borrow().get(name).cloned()
    }
    fn pool(&self, _: &str) -> Option<&Pool> {
        Some(&self.pool)
    }
    fn admit(&self, _: &Gang) -> Verdict {
        if let Some(why) = &self.refuse {
            return Verdict::Refuse(Refusal(why.clone()));
        }
        Verdict::Launch(Box::new(Admission {
            pool: "efa".into(),
            ladder: self.ladder.borrow().clone(),
            worst_cost: Some(MicroUsd(1)),
            otherwise: self.otherwise,
            wait: self.wait,
            notices: Vec::new(),
        }))
    }
    fn free_names(&self, _: &str, block: usize, count: u32) -> Option<Vec<String>> {
        let names = &self.pool.blocks.get(block)?.names;
        let free: Vec<String> = names
            .iter()
            .filter(|n| self.nodes.borrow().get(*n).is_some_and(NodeView::is_free))
            .take(count as usize)
            .cloned()
            .collect();
        (free.len() == count as usize).then_some(free)
    }
    fn parts(&self, _: &Gang, rung: &Rung) -> Vec<crate::parts::Part> {
        crate::parts::cut(rung, 1, self.fleet_most, |_| Some(MicroUsd(7_200_000)))
    }
    fn dry_until(&self, _: &Gang, rung: &Rung) -> Option<u64> {
        self.dry.borrow().get(&rung.zone).copied()
    }
    fn unusable(&self, _: &Gang, rung: &Rung, _: u64) -> Option<String> {
        self.shut.borrow().clone().filter(|_| rung.reservation.is_some())
    }
    fn turn(&self, _: &Gang, _: &Rung, _: u64) -> Turn {
        match self.turn.borrow().clone() {
            Some((ask_ms, why)) => Turn::Wait { ask_ms, why },
            None => Turn::Go,
        }
    }
    fn shortage(&self, _: &JobView) -> Option<String> {
        self.shortage.borrow().clone()
    }
    fn budget(&self) -> Option<&crate::asbb::Service> {
        self.budget.as_ref()
    }
    fn stopped(&self, pool: &str) -> Option<String> {
        self.stops.borrow().reason(pool)
    }
    fn drained(&self, pool: &str) -> bool {
        self.stops.borrow().drained(pool)
    }
    fn born_ms(&self) -> u64 {
        self.born_ms
    }
    fn lead_s(&self, _: &str) -> u64 {
        0
    }
    fn jitter(&self) -> u64 {
        500
    }
}

fn gang() -> Gang {
    let geometry =
        Geometry { partition: "efa".into(), time_limit: Some(Seconds(3600)), ..Geometry::default() };
    Gang::new("00000000000000aa".into(), 1000, "efa".into(), Request::default(), geometry, 0)
}

/// Steps past comments to the next effect that matters.
fn next(g: &mut Gang, w: &World, now: u64) -> Option<Effect> {
    for _ in 0..4 {
        match step(g, w, now) {
            Some(e @ Effect::Comment { .. }) => {
                done(g, &e, Outcome::Ok, w, now);
            }
            other => return other,
        }
    }
    None
}

fn grant(n: usize) -> Outcome {
    Outcome::Fleet(Grant {
        fleet: "fleet-1".into(),
        instances: (0..n).map(|i| format!("i-{i}")).collect(),
        errors: Vec::new(),
        request_id: Some("r-1".into()),
    })
}

/// Registered, with the address that `boot_granted` finds.
fn idle() -> NodeView {
    NodeView { idle: true, address: "10.0.0.1".parse().ok(), ..NodeView::default() }
}

fn no_capacity() -> Outcome {
    Outcome::Fleet(Grant {
        fleet: "fleet-0".into(),
        instances: Vec::new(),
        errors: vec![("InsufficientInstanceCapacity".into(), "none left".into(), Class::Capacity)],
        request_id: Some("r-0".into()),
    })
}

/// From submission to the first launch.
fn to_launch(g: &mut Gang, w: &World) -> Effect {
    w.pending(true);
    let hold = next(g, w, 1).expect("hold");
    assert!(matches!(hold, Effect::Hold { .. }), "{hold:?}");
    done(g, &hold, Outcome::Ok, w, 2);
    let launch = next(g, w, 3).expect("launch");
    assert!(matches!(launch, Effect::Launch { .. }), "{launch:?}");
    launch
}

fn to_booting(g: &mut Gang, w: &World) {
    let launch = to_launch(g, w);
    done(g, &launch, grant(2), w, 10);
    boot_granted(g, w);
}

fn boot_granted(g: &mut Gang, w: &World) {
    let look = next(g, w, 11).expect("addresses");
    assert_eq!(look, Effect::Addresses);
    let found = g.members.iter().map(|m| (m.instance.clone(), ("10.0.0.1".parse().ok(), None))).collect();
    done(g, &look, Outcome::Addresses(found), w, 12);
    let up = next(g, w, 13).expect("addresses told");
    assert_eq!(up, Effect::TellAddresses);
    // Nobody else's: the engine does not hand out what a gang has.
    w.set_nodes(&g.names, &NodeView { no_respond: true, ..NodeView::default() });
    done(g, &up, Outcome::Ok, w, 14);
    assert!(matches!(g.phase, Phase::Booting { .. }));
}

fn all_ask(g: &mut Gang) {
    for m in &mut g.members {
        m.asked = true;
    }
}

#[test]
fn job_submit_writes_the_comment_that_the_engine_believes_is_there() {
    let g = gang();
    assert_eq!(says::submitted(&g.id), says::comment(&g));
}

#[test]
fn the_good_way_ends_with_nothing_left() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    assert_eq!(next(&mut g, &w, 20), None, "not before every node is up");
    all_ask(&mut g);
    w.set_nodes(&g.names[..1], &idle());
    assert_eq!(next(&mut g, &w, 21), None, "half a gang is not released");
    w.set_nodes(&g.names, &idle());
    let release = next(&mut g, &w, 22).expect("release");
    assert!(matches!(release, Effect::Release { .. }));
    done(&mut g, &release, Outcome::Ok, &w, 23);
    w.edit(|v| (v.held, v.state) = (false, 1));
    assert_eq!(next(&mut g, &w, 30), None);
    assert_eq!(g.phase, Phase::Running);
    w.edit(|v| (v.state, v.completing) = (3, true));
    assert_eq!(next(&mut g, &w, 40), None, "the epilog may still run");
    w.edit(|v| v.completing = false);
    assert_eq!(next(&mut g, &w, 50), Some(Effect::PowerDown));
    done(&mut g, &Effect::PowerDown, Outcome::Ok, &w, 51);
    assert_eq!(next(&mut g, &w, 52), Some(Effect::Terminate { sweep: false }));
    done(&mut g, &Effect::Terminate { sweep: false }, Outcome::Ok, &w, 53);
    let going = NodeView { idle: true, power_down_asked: true, ..NodeView::default() };
    w.set_nodes(&g.names.clone(), &going);
    assert_eq!(next(&mut g, &w, 54), None, "names are still going down");
    w.set_nodes(&g.names.clone(), &NodeView { idle: true, powered_down: true, ..NodeView::default() });
    assert_eq!(next(&mut g, &w, 60), None);
    assert_eq!(g.phase, Phase::Done);
    assert!(g.names.is_empty() && g.members.is_empty());
}

#[test]
fn law1_a_refused_rung_touches_no_node_and_the_next_follows() {
    let (mut g, w) = (gang(), World::new());
    let launch = to_launch(&mut g, &w);
    let first = g.token("u");
    done(&mut g, &launch, no_capacity(), &w, 10);
    assert!(!g.powered && g.members.is_empty() && g.names.is_empty());
    let again = next(&mut g, &w, 11).expect("second rung");
    assert!(matches!(&again, Effect::Launch { rung, .. } if rung.zone == "us-east-2c"), "{again:?}");
    assert_ne!(first, g.token("u"), "another intent has another token");
    assert_eq!(g.paid, 0);
}

#[test]
fn law1_part_of_a_gang_is_given_back() {
    let (mut g, w) = (gang(), World::new());
    let launch = to_launch(&mut g, &w);
    done(&mut g, &launch, grant(1), &w, 10);
    assert_eq!(next(&mut g, &w, 11), Some(Effect::Terminate { sweep: false }));
    assert!(!g.powered, "no node is touched for part of a gang");
}

#[test]
fn law2_a_lost_answer_is_asked_again_with_the_same_token() {
    let (mut g, w) = (gang(), World::new());
    let launch = to_launch(&mut g, &w);
    let Effect::Launch { rung, .. } = &launch else { panic!("{launch:?}") };
    let token = g.token("u");
    let lost = Trouble {
        code: "Timeout".into(),
        message: "no answer".into(),
        class: Class::Transient,
        request_id: None,
        ambiguous: true,
    };
    for n in 0..40u64 {
        done(&mut g, &launch, Outcome::Failed(lost.clone()), &w, 10 + n);
        let again = next(&mut g, &w, 100_000 * (n + 1));
        assert!(matches!(&again, Some(Effect::Launch { rung: r, .. }) if r == rung), "try {n}: {again:?}");
        assert_eq!(token, g.token("u"));
    }
}

#[test]
fn law3_cancelled_with_an_unanswered_launch_sweeps_by_tag() {
    let (mut g, w) = (gang(), World::new());
    to_launch(&mut g, &w);
    // The controller restarts here: the effect is lost, the job is cancelled meanwhile.
    w.edit(|v| v.state = 4);
    let sweep = Effect::Terminate { sweep: true };
    assert_eq!(next(&mut g, &w, 20), Some(sweep.clone()));
    // EC2 may list late what it launched.
    done(&mut g, &sweep, Outcome::Ok, &w, 21);
    assert_eq!(next(&mut g, &w, 22), None);
    assert_eq!(next(&mut g, &w, 3_021), Some(sweep.clone()));
    done(&mut g, &sweep, Outcome::Ok, &w, 30_020);
    assert_eq!(next(&mut g, &w, 30_021), None);
    assert_eq!(g.phase, Phase::Done);
}

#[test]
fn cancel_while_booting_ends_in_termination() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    *w.seen.borrow_mut() = Seen::Gone;
    assert_eq!(next(&mut g, &w, 20), Some(Effect::PowerDown));
    done(&mut g, &Effect::PowerDown, Outcome::Ok, &w, 21);
    assert_eq!(next(&mut g, &w, 22), Some(Effect::Terminate { sweep: false }));
}

#[test]
fn terminating_is_tried_for_ever() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    *w.seen.borrow_mut() = Seen::Gone;
    next(&mut g, &w, 20);
    done(&mut g, &Effect::PowerDown, Outcome::Ok, &w, 21);
    let mut now = 22;
    for _ in 0..200 {
        assert_eq!(next(&mut g, &w, now), Some(Effect::Terminate { sweep: false }));
        let t = Trouble {
            code: "Unavailable".into(),
            message: String::new(),
            class: Class::Transient,
            request_id: None,
            ambiguous: false,
        };
        done(&mut g, &Effect::Terminate { sweep: false }, Outcome::Failed(t), &w, now);
        assert_eq!(next(&mut g, &w, now), None, "not at once");
        now += dead::PAUSE_MS;
    }
}

#[test]
fn no_capacity_waits_with_growing_pauses() {
    let (mut g, w) = (gang(), World::new());
    let mut launch = to_launch(&mut g, &w);
    let mut now = 10;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        done(&mut g, &launch, no_capacity(), &w, now);
        launch = next(&mut g, &w, now).expect("second rung");
        done(&mut g, &launch, no_capacity(), &w, now);
        assert_eq!(next(&mut g, &w, now), None);
        let Phase::Waiting { until_ms: Some(until), why: Why::Capacity } = g.phase else {
            panic!("{:?}", g.phase)
        };
        pauses.push(until - now);
        now = until;
        launch = next(&mut g, &w, now).expect("launch again");
    }
    assert!(pauses.windows(2).all(|p| p[0] <= p[1]), "{pauses:?}");
    assert!(pauses[0] >= 15_000 && *pauses.last().expect("some") <= 600_000);
}

#[test]
fn local_and_cancel_are_what_the_user_asked_for() {
    for (otherwise, want) in [(Else::Local, "local"), (Else::Cancel, "cancel")] {
        let mut w = World::new();
        w.otherwise = otherwise;
        let mut g = gang();
        let launch = to_launch(&mut g, &w);
        done(&mut g, &launch, no_capacity(), &w, 10);
        let launch = next(&mut g, &w, 10).expect("second rung");
        done(&mut g, &launch, no_capacity(), &w, 11);
        match (next(&mut g, &w, 12).expect("effect"), want) {
            (Effect::MoveLocal { partition, .. }, "local") => assert_eq!(partition, "cpu"),
            (Effect::Cancel { .. }, "cancel") => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_node_that_does_not_register_gives_the_whole_gang_back() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    assert_eq!(next(&mut g, &w, 480_015), Some(Effect::PowerDown));
    let text = says::comment(&g);
    assert!(text.contains("another launch follows"), "{text}");
}

#[test]
fn law7_two_paid_attempts_then_an_operator() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    for round in 1..=PAID_ATTEMPTS {
        let late = 1_000_000 * u64::from(round);
        assert_eq!(next(&mut g, &w, late), Some(Effect::PowerDown));
        done(&mut g, &Effect::PowerDown, Outcome::Ok, &w, late);
        assert_eq!(next(&mut g, &w, late), Some(Effect::Terminate { sweep: false }));
        done(&mut g, &Effect::Terminate { sweep: false }, Outcome::Ok, &w, late);
        let names = g.names.clone();
        w.set_nodes(&names, &NodeView { idle: true, powered_down: true, ..NodeView::default() });
        let then = next(&mut g, &w, late + 1);
        assert!(g.former.is_empty(), "no kill can be under way to a job that never started");
        match then {
            Some(launch @ Effect::Launch { .. }) if round < PAID_ATTEMPTS => {
                done(&mut g, &launch, grant(2), &w, late + 2);
                boot_granted(&mut g, &w);
            }
            None if round == PAID_ATTEMPTS => assert!(matches!(g.phase, Phase::Failed(_)), "{:?}", g.phase),
            other => panic!("round {round}: {other:?}"),
        }
    }
}

#[test]
fn released_but_not_started_is_held_again_and_given_back() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    all_ask(&mut g);
    w.set_nodes(&g.names, &idle());
    let release = next(&mut g, &w, 22).expect("release");
    done(&mut g, &release, Outcome::Ok, &w, 23);
    w.edit(|v| v.held = false);
    assert!(matches!(next(&mut g, &w, 400_000), Some(Effect::Hold { .. })));
}

#[test]
fn a_requeue_is_held_at_once_and_gets_a_new_gang() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    all_ask(&mut g);
    w.set_nodes(&g.names, &idle());
    let release = next(&mut g, &w, 22).expect("release");
    done(&mut g, &release, Outcome::Ok, &w, 23);
    w.edit(|v| (v.held, v.state) = (false, 1));
    next(&mut g, &w, 30);
    w.edit(|v| (v.state, v.restarts, v.submit) = (0, 1, 35));
    let hold = next(&mut g, &w, 40).expect("hold");
    assert!(matches!(hold, Effect::Hold { .. }), "{hold:?}");
    done(&mut g, &hold, Outcome::Ok, &w, 41);
    w.edit(|v| v.held = true);
    assert_eq!(next(&mut g, &w, 42), Some(Effect::PowerDown));
    assert_eq!(g.job.as_ref().map(|j| (j.restart, j.submit)), Some((1, 35)));
}

#[test]
fn what_may_not_run_yet_is_not_launched() {
    let (mut g, w) = (gang(), World::new());
    w.pending(true);
    w.edit(|v| v.dependency = "afterok:3(unfulfilled)".into());
    let hold = next(&mut g, &w, 1).expect("hold");
    done(&mut g, &hold, Outcome::Ok, &w, 2);
    assert_eq!(next(&mut g, &w, 3), None);
    assert!(says::sentence(&g).contains("dependency afterok:3"), "{}", says::sentence(&g));
    w.edit(|v| v.dependency.clear());
    g.user_hold = true;
    assert_eq!(next(&mut g, &w, 4), None);
    assert!(says::sentence(&g).contains("held by its owner"));
    g.user_hold = false;
    *w.shortage.borrow_mut() = Some("licences are in use: matlab needs 2, 0 are free".into());
    assert_eq!(next(&mut g, &w, 5), None);
    assert!(says::sentence(&g).contains("matlab needs 2"), "{}", says::sentence(&g));
    *w.shortage.borrow_mut() = None;
    w.edit(|v| v.eligible = 100);
    assert_eq!(next(&mut g, &w, 6), None);
    assert!(matches!(next(&mut g, &w, 100_000), Some(Effect::Launch { .. })));
}

#[test]
fn throttling_is_never_missing_capacity() {
    let (mut g, w) = (gang(), World::new());
    let launch = to_launch(&mut g, &w);
    let answer = Outcome::Fleet(Grant {
        fleet: "f".into(),
        instances: Vec::new(),
        errors: vec![
            ("InsufficientInstanceCapacity".into(), String::new(), Class::Capacity),
            ("RequestLimitExceeded".into(), String::new(), Class::Throttle),
        ],
        request_id: None,
    });
    let dry = done(&mut g, &launch, answer, &w, 10);
    assert_eq!(dry, None, "nothing is remembered as dry");
    assert!(matches!(g.phase, Phase::Waiting { why: Why::Trouble, .. }), "{:?}", g.phase);
}

#[test]
fn law2_a_job_that_got_a_lost_job_s_number_within_its_second_gets_no_fleet_of_that_job_s() {
    let w = World::new();
    let (mut lost, mut other) = (gang(), Gang { id: "00000000000000bb".into(), ..gang() });
    to_launch(&mut lost, &w);
    to_launch(&mut other, &w);
    assert_eq!(lost.job, other.job);
    assert_ne!(lost.token("u"), other.token("u"));
}

#[test]
fn the_document_survives_the_journal() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    let text = serde_json::to_string(&g).expect("to JSON");
    let back: Gang = serde_json::from_str(&text).expect("from JSON");
    assert_eq!(back, g);
    assert_eq!(back.token("u"), g.token("u"));
}
