//! One story: a cluster, its jobs, its troubles, and a calm end at which nothing may be left.

use crate::{
    abroad,
    cloud::Mood,
    dice::Dice,
    laws::Laws,
    life::{Life, Outside, disk},
    nodes, parts, reserves,
    slurm::{Slurm, State},
    users,
};
use burst_cloud::fake::{Delays, FakeCloud};
use burst_engine::{Handle, Msg};
use burst_plan::Market;
use burst_policy::Config;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// What kind of story a seed tells: the odd ones of gangs of one fleet, the even ones of gangs in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// `[limits] fleet_most`.
    fleet_most: u32,
    /// `[rates] instances`.
    instances: &'static str,
    /// Types of the two blocks.
    pub types: [&'static str; 2],
    /// Every second job asks for a mixed market.
    pub mixed: bool,
}

impl Kind {
    /// By seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let (types, mixed) = (["c6in.32xlarge", "c5n.18xlarge"], true);
        match seed % 6 {
            // Parts come one after another as fast as EC2 answers, or as its bucket of instances fills.
            0 => Self { fleet_most: 8, instances: "12/2", types, mixed },
            2 => Self { fleet_most: 3, instances: "1000/2", types, mixed },
            4 => Self { fleet_most: 8, instances: "1000/2", types, mixed },
            _ => Self {
                fleet_most: 1_000,
                instances: "1000/2",
                types: ["hpc7a.96xlarge", "hpc6a.48xlarge"],
                mixed: false,
            },
        }
    }

    fn toml(&self) -> String {
        let markets = if self.mixed { "markets_allowed = [\"on-demand\", \"mixed\"]" } else { "" };
        let [one, other] = self.types;
        TOML.replace("MARKETS", markets)
            .replace("ONE", one)
            .replace("OTHER", other)
            .replace("FLEET_MOST", &self.fleet_most.to_string())
            .replace("INSTANCES", self.instances)
    }
}

const TOML: &str = r#"
[cluster]
listen = "127.0.0.1:6826"
[aws]
region = "us-east-2"
[pool.efa]
partition = "efa"
efa = "required"
zones = { "us-east-2b" = "subnet-0aa11", "us-east-2a" = "subnet-0aa12" }
image = "ami-1"
security_groups = ["sg-1"]
local_partition = "cpu"
boot_limit = "90s"
start_limit = "60s"
epilog_limit = "30s"
orphan_limit = "60s"
retry_min = "5s"
retry_max = "30s"
split_limit = "60s"
MARKETS
[limits]
fleet_most = FLEET_MOST
[rates]
instances = "INSTANCES"
[capacity]
forget = "5s"
longest = "30s"
[[pool.efa.block]]
type = "ONE"
nodes = "efa7-[0001-0048]"
[[pool.efa.block]]
type = "OTHER"
nodes = "efa6-[0001-0048]"
[record]
enabled = false
"#;
/// Jobs arrive and things go wrong for so long (ms).
const STORY_MS: u64 = 300_000;
/// After it everything works, and all must have ended within this time (ms).
const CALM_MS: u64 = 1_500_000;

/// Today's engine, for those who speak to it.
#[derive(Clone, Default)]
pub struct Now(Arc<Mutex<Option<Handle>>>);

impl Now {
    /// Its queue, while slurmctld runs.
    pub fn life(&self) -> Option<Handle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// The same for questions.
    pub fn sender(&self) -> Option<mpsc::Sender<Msg>> {
        self.life().map(|h| h.sender())
    }
    pub(crate) fn set(&self, handle: Option<Handle>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = handle;
    }
}

/// What came of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Laws that were broken.
    pub broken: Vec<String>,
    /// Everything that happened, in order.
    pub log: Vec<String>,
    /// Events by kind.
    pub counts: BTreeMap<&'static str, u64>,
}

/// Tells the story of a seed with so many jobs.
#[must_use]
pub fn run(seed: u64, jobs: u64) -> Told {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be made");
    let laws = Laws::default();
    runtime.block_on(tell(seed, jobs, laws.clone()));
    drop(runtime);
    Told { broken: laws.broken(), log: laws.log(), counts: laws.counts() }
}

/// burst.toml with more in it.
fn configured(kind: Kind, more: &str) -> Arc<Config> {
    parsed(&format!("{}{more}", kind.toml()))
}

fn parsed(text: &str) -> Arc<Config> {
    Arc::new(Config::parse(text, "burst.toml").expect("the configuration is right"))
}

/// The pool's second type.
const SECOND: &str = "[[pool.efa.block]]\ntype = \"hpc6a.48xlarge\"\nnodes = \"efa6-[0001-0048]\"\n";

impl Outside {
    /// The same with the first type alone.
    pub(crate) fn with_one_type(&self) -> Self {
        Self {
            config: parsed(&self.kind.toml().replace(SECOND, "")),
            reserved: false,
            abroad: false,
            ..self.clone()
        }
    }
    /// The same with nothing more in burst.toml.
    pub(crate) fn without(&self) -> Self {
        Self { config: configured(self.kind, ""), reserved: false, abroad: false, ..self.clone() }
    }
}

/// A cluster and its cloud, before slurmctld starts.
pub(crate) fn outside(dice: &Dice, laws: &Laws, kind: Kind, more: &str) -> Outside {
    let config = configured(kind, more);
    let ec2 = FakeCloud::new();
    for (subnet, zone) in [("subnet-0aa11", "us-east-2b"), ("subnet-0aa12", "us-east-2a")] {
        ec2.add_subnet(subnet, zone, 4_000);
    }
    let delays = Delays {
        visible: dice.ms(0, 4_000),
        address: dice.ms(0, 2_000),
        shutdown: dice.ms(100, 8_000),
        ..Delays::default()
    };
    ec2.set_delays(delays);
    abroad::set_up(&ec2, delays);
    let names =
        config.pools.values().flat_map(|p| p.blocks.iter().flat_map(|b| b.names.clone())).collect::<Vec<_>>();
    let slurm = Slurm::new(names.into_iter(), laws.clone(), dice.clone(), ec2.clone());
    Outside {
        slurm,
        ec2,
        dice: dice.clone(),
        mood: Mood::default(),
        published: None,
        trouble: Arc::new(AtomicU64::new(0)),
        disk: disk(),
        full: Arc::default(),
        config,
        kind,
        reserved: more.contains(reserves::TOML),
        abroad: more.contains(abroad::TOML),
    }
}

async fn tell(seed: u64, jobs: u64, laws: Laws) {
    let dice = Dice::new(seed);
    // What is reserved is of the usual types.
    let (reserved, far) = (dice.chance(500) && !Kind::of(seed).mixed, dice.chance(500));
    let part = |there: bool, text: &'static str| if there { text } else { "" };
    let more = format!("{}{}", part(reserved, reserves::TOML), part(far, abroad::TOML));
    let out = outside(&dice, &laws, Kind::of(seed), &more);
    let (slurm, ec2) = (out.slurm.clone(), out.ec2.clone());
    let now = Now::default();
    let hopeless = Arc::new(AtomicU64::new(dice.range(0, 60)));
    let daemon = slurm.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            daemon.tick();
        }
    });
    tokio::spawn(nodes::run(out.clone(), now.clone(), hopeless.clone()));
    tokio::spawn(parts::watch(out.clone()));
    if out.reserved {
        reserves::set_up(&ec2, &dice).await;
    }
    let mut life = Life::begin(&out);
    now.set(Some(life.handle.clone()));
    let people: Vec<_> =
        (0..jobs).map(|n| tokio::spawn(users::job(out.clone(), now.clone(), n + 1, STORY_MS))).collect();
    // Trouble, until the time has come for calm.
    out.mood.set(dice.range(0, 80));
    out.trouble.store(dice.range(0, 30), Ordering::Relaxed);
    while dice.passed_ms() < STORY_MS + 60_000 {
        tokio::time::sleep(dice.ms(1_000, 45_000)).await;
        life = trouble(&out, &now, life).await;
    }
    out.mood.set(0);
    out.trouble.store(0, Ordering::Relaxed);
    hopeless.store(0, Ordering::Relaxed);
    for kind in out.kind.types {
        for zone in ZONES {
            ec2.set_capacity(kind, zone, Market::OnDemand, 100_000);
            ec2.set_capacity(kind, zone, Market::Spot, 100_000);
        }
    }
    abroad::calm(&out);
    for person in people {
        person.await.expect("a person does not panic");
    }
    let calm = dice.passed_ms();
    while dice.passed_ms() < calm + CALM_MS && !quiet(&out) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    judge(&out, &laws, &life);
}

const ZONES: [&str; 2] = ["us-east-2b", "us-east-2a"];

/// Something goes wrong.
async fn trouble(out: &Outside, now: &Now, life: Life) -> Life {
    let dice = &out.dice;
    let note = |text: String| out.slurm.laws.note(dice.passed_ms(), text);
    match dice.range(0, 100) {
        0..25 => {
            note("====   slurmctld is killed".into());
            out.slurm.laws.count("kills");
            now.set(None);
            life.kill(out);
            out.slurm.killed();
            restart(out, now, dice.ms(500, 20_000)).await
        }
        25..35 => {
            note("====   another controller takes over".into());
            out.slurm.laws.count("takeovers");
            now.set(None);
            life.pass_over(dice.true_ms());
            // What is requeued waits longer than a takeover takes (cred_expire, 120 s); here it would not.
            out.slurm.tables().dust_ms = u64::MAX;
            tokio::time::sleep(dice.ms(500, 15_000)).await;
            life.kill(out);
            restart(out, now, Duration::from_millis(200)).await
        }
        35..60 if out.reserved && dice.chance(400) => {
            reserves::change(out);
            life
        }
        35..60 if out.abroad && dice.chance(500) => {
            abroad::change(out);
            life
        }
        35..60 => {
            let (kind, zone) = (dice.pick(&out.kind.types).unwrap_or(""), dice.pick(&ZONES).unwrap_or(""));
            let left = dice.range(0, 12);
            let spot = out.kind.mixed && dice.chance(500);
            let market = if spot { Market::Spot } else { Market::OnDemand };
            note(format!("====   capacity of {kind} ({}) in {zone}: {left}", market.word()));
            out.ec2.set_capacity(kind, zone, market, u32::try_from(left).unwrap_or(0));
            life
        }
        60..72 => {
            if let Some(one) = dice.pick(&out.ec2.alive()) {
                note(format!("====   {} dies", one.id));
                out.slurm.tables().killed.insert(one.id.clone());
                out.ec2.kill(&one.id);
                out.slurm.laws.count("deaths");
            }
            life
        }
        72..80 => {
            let by = i64::try_from(dice.range(0, 8_000)).unwrap_or(0) - 4_000;
            note(format!("====   the clock jumps by {by} ms"));
            dice.jump(by);
            life
        }
        80..83 => {
            note("====   scontrol reconfigure".into());
            out.slurm.reconfigure();
            life
        }
        83..87 => {
            // EC2 breaks its promise once.
            out.ec2.grant_short(u32::try_from(dice.range(1, 3)).unwrap_or(1));
            life
        }
        _ => {
            out.mood.set(dice.range(0, 120));
            life
        }
    }
}

async fn restart(out: &Outside, now: &Now, pause: Duration) -> Life {
    tokio::time::sleep(pause).await;
    let life = Life::begin(out);
    now.set(Some(life.handle.clone()));
    out.slurm.laws.note(out.dice.passed_ms(), "====   slurmctld starts");
    life
}

/// Whether all jobs are over, held for good, or lost, and everything was given back.
pub(crate) fn quiet(out: &Outside) -> bool {
    let t = out.slurm.tables();
    let pending = t.jobs.values().any(|j| !settled(j));
    drop(t);
    !pending && reserves::quiet(out) && out.ec2.alive().is_empty() && out.slurm.all_off().is_empty()
}

/// Over, or waiting for a person, and saying so.
fn settled(j: &crate::slurm::Job) -> bool {
    match j.state {
        State::Over(_) => j.completing.is_none(),
        State::Running => false,
        State::Pending => j.held && WAITS.iter().any(|w| j.comment.contains(w)),
    }
}

/// What the engine writes where only a person can go on.
const WAITS: [&str; 3] = ["not launched:", "was lost when the controller stopped", "held by its owner"];

fn judge(out: &Outside, laws: &Laws, life: &Life) {
    let at = out.dice.passed_ms();
    for i in out.ec2.alive() {
        let gang = i.tags.get("slurm-burst:gang").cloned().unwrap_or_default();
        laws.broke(at, format!("orphan: {} of gang {gang} lives at the end", i.id));
    }
    for name in out.slurm.all_off() {
        laws.broke(at, format!("{name} is not powered down at the end"));
    }
    let t = out.slurm.tables();
    for j in t.jobs.values().filter(|j| !settled(j)) {
        laws.broke(at, format!("job {} is stuck: {:?} held {}: {}", j.text(), j.state, j.held, j.comment));
    }
    for j in t.past.iter().chain(t.jobs.values()) {
        if j.state == State::Over(3) && j.starts == 0 && j.rest.is_empty() {
            laws.broke(at, format!("job {} is over and never began", j.text()));
        }
    }
    drop(t);
    crate::money::judge(out, laws, at);
    parts::judge(out);
    reserves::judge(out, laws, at);
    abroad::judge(out, laws, at);
    // One fleet per intent, whatever was asked again.
    let mut intents: BTreeMap<(String, String, String), u32> = BTreeMap::new();
    for (request, answer) in out.ec2.fleets() {
        let tag = |k: &str| request.tags.get(k).cloned().unwrap_or_default();
        let key = (tag("slurm-burst:gang"), tag("slurm-burst:attempt"), tag("slurm-burst:intent"));
        if !answer.instances.is_empty() {
            *intents.entry(key.clone()).or_default() += 1;
            laws.count("fleets");
        }
    }
    for ((gang, attempt, intent), n) in intents.into_iter().filter(|(_, n)| *n > 1) {
        laws.broke(at, format!("gang {gang} attempt {attempt} intent {intent}: {n} fleets"));
    }
    let panics = life.handle.shared.panics.load(Ordering::Relaxed);
    if panics > 0 {
        laws.broke(at, format!("{panics} panics"));
    }
}
