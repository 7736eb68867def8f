//! Law 7 against the state machine itself: whatever happens to a gang, its bill stays within what was said before.
//!
//! Instances are charged from CreateFleet's answer to TerminateInstances' answer, on the clock that moves the gang.

use super::*;
use crate::{
    admit::{Admission, Rung, Verdict},
    classify::Class,
    config::Pool,
    gang::{
        Effect, Gang, Grant, House, JobView, NodeView, Outcome, Phase, Seen, Trouble, Turn, Why, done, step,
    },
};
use crate::{
    life::Life,
    parts::{Part, cut, worst_waiting},
    track::observe,
};
use burst_plan::{Else, Geometry, Market, Request};
use proptest::prelude::*;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

const HOURLY: u64 = 7_200_000;
const LIMIT_S: u64 = 900;
const MARGIN_S: u64 = 90;

/// When a name whose address was told is idle, Unix ms; `u64::MAX` never.
struct World {
    pool: Pool,
    ladder: Vec<Rung>,
    job: RefCell<Option<JobView>>,
    up: RefCell<BTreeMap<String, u64>>,
    now: Cell<u64>,
    /// Instances of one fleet.
    most: u32,
}

impl House for World {
    fn job(&self, _: &Gang) -> Seen {
        self.job.borrow().clone().map_or(Seen::Gone, Seen::Is)
    }
    fn node(&self, name: &str) -> Option<NodeView> {
        let up = self.up.borrow().get(name).copied();
        let ready = up.is_some_and(|t| self.now.get() >= t);
        Some(NodeView {
            idle: true,
            powered_down: up.is_none(),
            powering_up: up.is_some() && !ready,
            address: "10.0.0.1".parse().ok(),
            ..NodeView::default()
        })
    }
    fn pool(&self, _: &str) -> Option<&Pool> {
        Some(&self.pool)
    }
    fn admit(&self, _: &Gang) -> Verdict {
        Verdict::Launch(Box::new(Admission {
            pool: self.pool.name.clone(),
            ladder: self.ladder.clone(),
            worst_cost: None,
            otherwise: Else::Cancel,
            wait: None,
            notices: Vec::new(),
        }))
    }
    fn free_names(&self, _: &str, block: usize, count: u32) -> Option<Vec<String>> {
        let up = self.up.borrow();
        let names = self.pool.blocks.get(block)?.names.iter();
        Some(names.filter(|n| !up.contains_key(*n)).take(count as usize).cloned().collect())
    }
    fn dry_until(&self, _: &Gang, _: &Rung) -> Option<u64> {
        None
    }
    fn parts(&self, _: &Gang, rung: &Rung) -> Vec<Part> {
        cut(rung, 1, self.most, |_| Some(MicroUsd(HOURLY)))
    }
    /// EC2's rates let a later fleet through only late, and for every third intent not in time.
    fn turn(&self, g: &Gang, _: &Rung, now: u64) -> Turn {
        let late = if g.intent.is_multiple_of(3) { 900_000 } else { 150_000 };
        match g.split.as_ref().and_then(|s| s.begun_ms) {
            Some(begun) if now < begun + late => {
                let (said_ms, expected_ms) = (now, begun + late);
                Turn::Wait { ask_ms: expected_ms, why: Why::Rate { said_ms, expected_ms } }
            }
            _ => Turn::Go,
        }
    }
    fn shortage(&self, _: &JobView) -> Option<String> {
        None
    }
    fn lead_s(&self, _: &str) -> u64 {
        0
    }
    fn jitter(&self) -> u64 {
        0
    }
}

/// Numbers that decide what happens; the same ones give the same story.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }
}

/// What a story came to.
struct Bill {
    micro: u64,
    /// The same by the ledger, from what was observed of the gang.
    ledger: u64,
    paid: u32,
    over: bool,
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
        hourly: Some(MicroUsd(HOURLY)),
        max_price: None,
        reservation: None,
        region: None,
    }
}

fn story(seed: u64, nodes: u32, most: u32) -> Bill {
    let mut dice = Dice(seed);
    let record = JobView {
        id: 7,
        text: "7".into(),
        partition: "efa".into(),
        minutes: Some(LIMIT_S / 60),
        ..JobView::default()
    };
    let world = World {
        pool: crate::config::tests::pool(),
        ladder: ["us-east-2b", "us-east-2a", "us-east-2b"].map(|z| rung(z, nodes)).to_vec(),
        job: RefCell::new(Some(record)),
        up: RefCell::default(),
        now: Cell::new(1_000_000),
        most,
    };
    let geometry =
        Geometry { partition: "efa".into(), time_limit: Some(Seconds(LIMIT_S)), ..Geometry::default() };
    let mut gang =
        Gang::new("00000000000000aa".into(), 1, "efa".into(), Request::default(), geometry, 1_000_000);
    let mut running: BTreeMap<String, u64> = BTreeMap::new();
    let (mut micro, mut serial) = (0u64, 0u64);
    // The job's next change: when, and to what.
    let mut change: Option<u64> = None;
    let mut lives: Vec<Box<Life>> = Vec::new();
    for _ in 0..4_000 {
        let now = world.now.get();
        if change.is_some_and(|t| now >= t) {
            change = life(&mut world.job.borrow_mut(), &mut dice, now);
        }
        let before = gang.clone();
        let effect = step(&mut gang, &world, now);
        lives.extend(observe(&before, &mut gang, &world.job(&before), now));
        let Some(effect) = effect else {
            if matches!(gang.phase, Phase::Done | Phase::Failed(_)) {
                break;
            }
            let wake = step::wake(&gang).filter(|t| *t > now);
            let node = world.up.borrow().values().copied().filter(|t| *t > now && *t < u64::MAX).min();
            let next = [wake, node, change.filter(|t| *t > now)].into_iter().flatten().min();
            world.now.set(next.unwrap_or(now + 1_000));
            continue;
        };
        let mut end = |which: &BTreeSet<String>| {
            for id in which {
                if let Some(from) = running.remove(id) {
                    micro += actual(MicroUsd(HOURLY), (now - from).div_ceil(1_000)).0;
                }
            }
        };
        let outcome = match &effect {
            Effect::Launch { .. } if dice.below(3) == 0 => {
                // An answer that never came is asked for again with the same token.
                Outcome::Failed(Trouble {
                    code: "RequestLimitExceeded".into(),
                    message: "slow down".into(),
                    class: Class::Throttle,
                    request_id: None,
                    ambiguous: dice.below(2) == 0,
                })
            }
            Effect::Launch { rung, .. } => {
                let got = match dice.below(6) {
                    0 => 0,
                    1 if rung.nodes > 1 => 1 + dice.below(u64::from(rung.nodes) - 1),
                    _ => u64::from(rung.nodes),
                };
                let instances: Vec<String> = (0..got).map(|i| format!("i-{}", serial + i)).collect();
                serial += got;
                running.extend(instances.iter().map(|i| (i.clone(), now)));
                Outcome::Fleet(Grant {
                    fleet: "fleet-1".into(),
                    instances,
                    errors: Vec::new(),
                    request_id: None,
                })
            }
            Effect::Addresses => {
                let ip = "10.0.0.1".parse().ok();
                Outcome::Addresses(gang.members.iter().map(|m| (m.instance.clone(), (ip, None))).collect())
            }
            Effect::TellAddresses => {
                for m in &mut gang.members {
                    m.asked = true;
                    let after = match dice.below(8) {
                        0 => u64::MAX - now,
                        n => n * 60_000,
                    };
                    world.up.borrow_mut().entry(m.node.clone()).or_insert(now + after);
                }
                Outcome::Ok
            }
            Effect::Hold { .. } => {
                if let Some(j) = world.job.borrow_mut().as_mut() {
                    j.held = true;
                }
                Outcome::Ok
            }
            Effect::Release { .. } => {
                if let Some(j) = world.job.borrow_mut().as_mut() {
                    j.held = false;
                }
                // Sometimes the scheduler never takes it.
                change = (dice.below(4) > 0).then(|| now + dice.below(300) * 1_000);
                Outcome::Ok
            }
            Effect::PowerDown => {
                for name in gang.all_names() {
                    world.up.borrow_mut().remove(name);
                }
                change = change.filter(|_| world.job.borrow().as_ref().is_some_and(|j| j.completing));
                Outcome::Ok
            }
            Effect::Terminate { .. } => {
                end(&gang.all_instances().cloned().collect());
                Outcome::Ok
            }
            Effect::Retire => {
                for r in &gang.retired {
                    world.up.borrow_mut().remove(&r.node);
                }
                end(&gang.retired.iter().map(|r| r.instance.clone()).collect());
                Outcome::Ok
            }
            Effect::Cancel { .. } | Effect::MoveLocal { .. } => {
                *world.job.borrow_mut() = None;
                Outcome::Ok
            }
            Effect::PowerDownAgain { names } => {
                for name in names {
                    world.up.borrow_mut().remove(name);
                }
                Outcome::Ok
            }
            Effect::Comment { .. } | Effect::Budget { .. } => Outcome::Ok,
        };
        let before = gang.clone();
        done(&mut gang, &effect, outcome, &world, now);
        lives.extend(observe(&before, &mut gang, &Seen::Unknown, now));
    }
    // Failed: the life goes on, held.
    let rest = Life { instances: gang.track.spent.clone(), ..Life::default() };
    let ledger = lives.iter().map(|l| &**l).chain([&rest]).map(bill).sum();
    Bill {
        micro,
        ledger,
        paid: gang.paid,
        over: running.is_empty() && matches!(gang.phase, Phase::Done | Phase::Failed(_)),
    }
}

/// What the ledger says of a life, without volumes.
fn bill(life: &Life) -> u64 {
    let mut life = Life { region: "us-east-2".into(), ..life.clone() };
    let text =
        r#"{"source":"here","regions":{"us-east-2":{"types":{"hpc7a.96xlarge":{"on-demand":"7.20"}}}}}"#;
    crate::ledger::price(&mut life, &crate::prices::Prices::parse(text).expect("reads"), None);
    life.cost.known.0
}

/// Pending → running → completing → gone or pending again.
fn life(job: &mut Option<JobView>, dice: &mut Dice, now: u64) -> Option<u64> {
    let j = job.as_mut()?;
    match (j.state, j.completing) {
        (0, false) if !j.held => {
            j.state = 1;
            // Every fourth one runs into its limit, and then as long as Slurm lets it.
            let ran = if dice.below(4) == 0 { LIMIT_S + MARGIN_S } else { dice.below(LIMIT_S) };
            Some(now + ran * 1_000)
        }
        (1, false) => {
            let again = dice.below(3) == 0;
            (j.state, j.completing) = (if again { 0 } else { 3 }, true);
            j.restarts += u32::from(again);
            // The site's Epilog may take longer than anybody waits for it.
            Some(now + dice.below(1_000) * 1_000)
        }
        (_, true) => {
            j.completing = false;
            None
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn law7_no_story_costs_more_than_was_said(seed in any::<u64>(), nodes in 1u32..9) {
        let bill = story(seed, nodes, 1_000);
        prop_assert!(bill.over, "the story has no end");
        prop_assert!(bill.paid <= PAID_ATTEMPTS);
        prop_assert_eq!(bill.ledger, bill.micro, "the ledger knows every instance and each of its seconds");
        let bound = worst(MicroUsd(HOURLY), nodes, Seconds(LIMIT_S), &crate::config::tests::pool(), Seconds(MARGIN_S));
        prop_assert!(bill.micro <= bound.0, "{} over {}, {} paid", bill.micro, bound.0, bill.paid);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn law7_gangs_of_several_fleets_cost_no_more_than_was_said(seed in any::<u64>(), nodes in 2u32..9, most in 1u32..5) {
        let bill = story(seed, nodes, most);
        prop_assert!(bill.over, "the story has no end");
        prop_assert!(bill.paid <= PAID_ATTEMPTS);
        prop_assert_eq!(bill.ledger, bill.micro, "the ledger knows every instance and each of its seconds");
        let pool = crate::config::tests::pool();
        let one = worst(MicroUsd(HOURLY), nodes, Seconds(LIMIT_S), &pool, Seconds(MARGIN_S));
        let parts = cut(&rung("us-east-2b", nodes), 1, most, |_| Some(MicroUsd(HOURLY)));
        let bound = one.plus(worst_waiting(&parts, MicroUsd(HOURLY), &pool));
        prop_assert!(bill.micro <= bound.0, "{} over {}, {} paid", bill.micro, bound.0, bill.paid);
    }
}

/// The test above would be worthless if its stories were short: some must come near the bound.
#[test]
fn stories_come_near_the_bound() {
    let bound =
        worst(MicroUsd(HOURLY), 4, Seconds(LIMIT_S), &crate::config::tests::pool(), Seconds(MARGIN_S));
    let bills: Vec<Bill> = (0..2_000).map(|s| story(s, 4, 1_000)).collect();
    let dearest = bills.iter().map(|b| b.micro).max().unwrap_or(0);
    assert!(dearest * 100 >= bound.0 * 75, "{dearest} of {}", bound.0);
    assert!((0..=2).all(|n| bills.iter().any(|b| b.paid == n)), "every number of paid attempts occurs");
}
