//! Made-up lives for the tests of the page: four accounts, three weeks, EFA and TCP, good and bad ends.

use burst_plan::{
    Market, MicroUsd, Plan, Seconds,
    report::{EfaReport, MpiReport, NicReport, NodeReport, StepReport},
};
use burst_policy::life::{Cost, Life, Phases, Purpose, Ran, SlurmFacts};

/// A small generator, the same each time.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

const FIRST_MS: u64 = 1_793_500_000_000;

/// The nth life.
pub fn life(n: u32, d: &mut Dice) -> Life {
    let accounts = ["physics", "chemistry-and-materials-science", "bio", "eng"];
    let users = ["alice", "bob", "carol-with-a-rather-long-login-name", "dave"];
    let who = usize::try_from(d.below(4)).unwrap();
    let submit = FIRST_MS + u64::from(n) * 21_600_000 + d.below(7_200_000);
    let wait = [200, 1_000, 30_000, 900_000][usize::try_from(d.below(4)).unwrap()] + d.below(900);
    let launch = submit + wait;
    let granted = launch + 1_500 + d.below(4_000);
    let registered = granted + 55_000 + d.below(90_000);
    let started = registered + 300 + d.below(2_000);
    let run = 60_000 + d.below(100) * d.below(100) * 2_000;
    let ended = started + run;
    let efa = !d.below(3).eq(&0);
    let nodes = u32::try_from([2, 4, 8, 16][usize::try_from(d.below(4)).unwrap()]).unwrap();
    let fate = d.below(12);
    let spot = d.below(3) == 0;
    let price = if spot { 2_880_000 } else { 7_200_000 };
    let cost = MicroUsd(price).hourly_for((ended - granted) / 1000).times(u64::from(nodes));
    let predicted = run / 1000 * (80 + d.below(if n.is_multiple_of(5) { 300 } else { 40 })) / 100;
    let moved = d.below(900) * 1_000_000_000 + 5_000_000;
    let node = |i: u32| NodeReport {
        node: format!("efa7-{i:04}"),
        steps: vec![StepReport {
            step: "0".into(),
            nics: vec![NicReport {
                name: "ens5".into(),
                rx_bytes: if efa { 80_000_000 } else { moved / u64::from(nodes) / 2 },
                tx_bytes: if efa { 60_000_000 } else { moved / u64::from(nodes) / 2 },
            }],
            efa: Some(EfaReport {
                devices: 2,
                rx_bytes: Some(if efa { moved / u64::from(nodes) / 2 } else { 0 }),
                tx_bytes: Some(if efa { moved / u64::from(nodes) / 2 } else { 0 }),
                ..EfaReport::default()
            }),
            mpi: Some(MpiReport {
                provider: Some(if efa { "efa" } else { "tcp" }.into()),
                efa_asked: true,
                ..MpiReport::default()
            }),
            flags: match efa {
                true => Vec::new(),
                false => vec!["asked for EFA, but moved 0 bytes over it: MPI fell back to TCP".into()],
            },
            ..StepReport::default()
        }],
        ..NodeReport::default()
    };
    let ran = |i: u32| Ran {
        id: format!("i-{n:04}{i:04}"),
        node: format!("efa7-{i:04}"),
        instance_type: if n.is_multiple_of(4) { "hpc6a.48xlarge" } else { "hpc7a.96xlarge" }.into(),
        zone: "us-east-2b".into(),
        market: Some(if spot { Market::Spot } else { Market::OnDemand }),
        launched_ms: granted,
        ended_ms: Some(ended + 3_000),
        interrupted: fate == 1 && spot && i == 0,
        purpose: Purpose::Served,
        ..Ran::default()
    };
    let state = match fate {
        0 => "FAILED",
        1 => "NODE_FAIL",
        2 => "CANCELLED",
        3 => "TIMEOUT",
        _ => "COMPLETED",
    };
    Life {
        job: 1_000 + n,
        text: if n.is_multiple_of(9) { format!("{}_{}", 1_000 + n, n % 4) } else { (1_000 + n).to_string() },
        name: format!("run-{n} <b>&amp;</b>"),
        user: users[who].into(),
        account: accounts[who].into(),
        pool: "efa".into(),
        partition: "efa".into(),
        restart: u32::from(n % 17 == 3),
        slurm: SlurmFacts {
            state: state.into(),
            start: Some(started / 1000),
            end: Some(ended / 1000),
            node_count: Some(nodes),
            ..SlurmFacts::default()
        },
        phases: Phases {
            submit_ms: Some(submit),
            held_ms: Some(submit + 30 + d.below(90)),
            planned_ms: Some(launch),
            launch_ms: Some(launch),
            granted_ms: Some(granted),
            running_ms: Some(granted + 5_000),
            registered_ms: Some(registered),
            released_ms: Some(registered + 40 + d.below(100)),
            started_ms: Some(started),
            ended_ms: Some(ended),
            terminated_ms: Some(ended + 2_000 + d.below(9_000)),
            done_ms: Some(ended + 40_000),
        },
        instances: (1..=nodes).map(ran).collect(),
        reports: if n % 6 == 5 { Vec::new() } else { (1..=nodes).map(node).collect() },
        plan: (!n.is_multiple_of(3))
            .then(|| Plan { expected_runtime: Some(Seconds(predicted)), ..Plan::default() }),
        cost: Cost {
            compute: Some(cost),
            wasted: Some(MicroUsd(if fate == 4 { 3_210_000 } else { 0 })),
            total: (n % 23 != 7).then_some(cost),
            known: cost,
            spot_savings: Some(if spot { cost } else { MicroUsd(0) }),
            prices: "AWS price list 2026-11-01".into(),
            ..Cost::default()
        },
        trouble: (fate == 4)
            .then(|| "InsufficientInstanceCapacity: We currently do not have sufficient capacity".into()),
        ..Life::default()
    }
}

/// So many lives.
pub fn lives(n: u32) -> Vec<Life> {
    let mut d = Dice::new(7);
    (0..n).map(|i| life(i, &mut d)).collect()
}
