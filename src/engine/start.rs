//! From nothing to a running engine: who we are, whether we may, and what was before.

use crate::{
    asbb::Asbb,
    care::{InUse, Place, lock},
    controller::{Controller, Loud, SlurmConf},
    core::Core,
    custody::Custody,
    effects::Hands,
    gate::Gate,
    host::Host,
    http::{Desk, router},
    identity::{self, Machine},
    journal::Journal,
    keep, people,
    prepare::Prepare,
    regions, reload,
    shared::{Handle, LetterBox, Msg, PartitionFacts, Shared},
};
use burst_cloud::Cloud;
use burst_plan::Seconds;
use burst_policy::gang::Gang;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions, TryLockError},
    io::Read,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{mpsc, watch};

/// Pause between tries of what must succeed before anything else.
const AGAIN: Duration = Duration::from_secs(2);
/// Pause between looks at partitions and slurm.conf.
const REFRESH: Duration = Duration::from_secs(30);

/// Unix time in ms.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Makes the cloud once region and credentials are known; may be tried again.
pub type Connect =
    Box<dyn Fn() -> futures_like::Boxed<Result<Arc<dyn Cloud>, burst_cloud::CloudError>> + Send + Sync>;

/// The one future type the engine hands over a border.
pub mod futures_like {
    use std::{future::Future, pin::Pin};
    /// A boxed future.
    pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
}

/// What the engine is made of.
pub struct Setup {
    /// Slurm.
    pub controller: Arc<dyn Controller>,
    /// EC2.
    pub connect: Connect,
    /// Queue and published state.
    pub handle: Handle,
    /// The queue's other end.
    pub receiver: mpsc::Receiver<Msg>,
    /// What job_submit puts its messages into.
    pub letters: LetterBox,
    /// burst.toml's path.
    pub conf: String,
}

/// Runs the engine for as long as the process lives. A burst.toml that cannot be used is waited for.
pub async fn run(setup: Setup) {
    crate::fault::start();
    let Setup { controller, connect, handle, receiver, letters, conf: path } = setup;
    let shared = handle.shared.clone();
    let conf = first_conf(&*controller).await;
    if shared.snapshot.load().config.is_none() {
        controller.log(Loud::Error, "burst.toml cannot be used: the engine waits for one that can");
    }
    let config = reload::first(&path, &shared, &*controller).await;
    refresh(&*controller, &shared, &conf);
    *lock(&shared.care.in_use) = InUse { path: path.clone(), read_ms: now_ms(), ..InUse::default() };
    shared.care.operators.store(Arc::new(people::operators(&config)));
    while !controller.active() {
        tokio::time::sleep(AGAIN).await;
    }
    let dir =
        config.cluster.state_dir.clone().unwrap_or_else(|| PathBuf::from(&conf.state_save).join("burst"));
    let (changed, nodes) = watch::channel(0);
    let opened = Arc::new(OnceLock::new());
    let desk = Desk {
        controller: controller.clone(),
        host: Host::default(),
        sender: handle.sender(),
        nodes,
        slurm_uid: conf.slurm_uid,
        shared: shared.clone(),
        journal: opened.clone(),
    };
    let mut listening = false;
    let mut listen = || {
        if !std::mem::replace(&mut listening, true) {
            tokio::spawn(serve(controller.clone(), config.cluster.listen, desk.clone()));
        }
    };
    let (journal, docs, uuid, _lock) = open_state(&*controller, &dir, &conf, &shared, &mut listen).await;
    // The desk is the first to need it; set once.
    let _ = opened.set(journal.clone());
    let cloud = loop {
        match connect().await {
            Ok(c) => break c,
            Err(e) => controller.log(Loud::Error, &format!("EC2 cannot be used yet: {e}")),
        }
        tokio::time::sleep(AGAIN * 5).await;
    };
    let name =
        if config.cluster.name.is_empty() { conf.cluster.clone() } else { config.cluster.name.clone() };
    let hands = Hands {
        host: Host::default(),
        controller: controller.clone(),
        cloud: Arc::new(Custody::new(cloud, shared.clone())),
        journal,
        prepare: Arc::new(Prepare::default()),
        rates: Arc::default(),
        budget: Arc::new(Asbb::new(Some(dir.join("asbb")))),
        shared: shared.clone(),
        cluster: uuid.as_str().into(),
        name: name.as_str().into(),
    };
    let living = docs.iter().filter(|g| g.is_living()).count();
    tokio::spawn(letters.carry(handle.sender()));
    listen();
    tokio::spawn(keep_fresh(controller.clone(), shared.clone()));
    let (c, s) = (controller.clone(), shared.clone());
    let anew = move || match c.conf() {
        Ok(conf) => refresh(&*c, &s, &conf),
        Err(e) => {
            tracing::warn!(error = %e, "slurm.conf could not be read after burst.toml; the next look is soon")
        }
    };
    tokio::spawn(reload::watch(path, shared.clone(), controller.clone(), handle.sender(), anew));
    let tells = hands.clone();
    tokio::spawn(async move { tells.budget.clone().run(tells).await });
    shared.running.store(true, Ordering::Release);
    controller.log(
        Loud::Info,
        &format!(
            "engine up: cluster {name} ({uuid}), {} pools, {living} gangs of before",
            config.pools.len()
        ),
    );
    drive(hands, handle.sender(), docs, changed, receiver).await;
}

/// The engine once everything it needs is there: what is made ahead, collection, and the core, for ever.
pub async fn drive(
    hands: Hands,
    sender: mpsc::Sender<Msg>,
    docs: Vec<Gang>,
    changed: watch::Sender<u64>,
    receiver: mpsc::Receiver<Msg>,
) {
    let hands = behind_rates(hands);
    let stops = keep::stops(&hands).await;
    let docs = regions::rehome(&hands, docs).await;
    let core = Core::new(hands.clone(), sender.clone(), docs, changed).stopped_by(stops);
    hands.host.spawn(keep::watch(hands.clone(), sender.clone()));
    hands.host.spawn(ahead(hands.clone()));
    hands.host.spawn(crate::reserved::watch(hands.clone()));
    hands.host.spawn(crate::collect::run(hands.clone(), sender));
    core.run(receiver).await;
}

/// From here on every call passes through EC2's rates.
fn behind_rates(hands: Hands) -> Hands {
    if let Some(config) = &hands.shared.snapshot.load().config {
        hands.rates.configure(config, hands.host.now_ms());
    }
    let controller = hands.controller.clone();
    let active = Arc::new(move || controller.active());
    let gate = Gate::new(hands.cloud.clone(), hands.rates.clone(), active, hands.host.clone());
    Hands { cloud: Arc::new(gate), ..hands }
}

async fn first_conf(controller: &dyn Controller) -> SlurmConf {
    loop {
        match controller.conf() {
            Ok(c) => return c,
            Err(e) => tracing::debug!(error = %e, "slurmctld does not answer yet"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reads partitions and checks slurm.conf, and publishes what job_submit needs of them.
fn refresh(controller: &dyn Controller, shared: &Shared, conf: &SlurmConf) {
    let partitions = match controller.partitions() {
        Ok(p) => p,
        Err(e) => {
            tracing::warn!(error = %e, "partitions could not be read");
            return;
        }
    };
    let old = shared.snapshot.load_full();
    let facts: BTreeMap<_, _> = partitions
        .iter()
        .map(|p| {
            (p.name.clone(), PartitionFacts { default_time: p.default_minutes.map(|m| Seconds(m * 60)) })
        })
        .collect();
    let default_partition = partitions.iter().find(|p| p.is_default).map(|p| p.name.clone());
    let mut refused = BTreeMap::new();
    for pool in old.config.iter().flat_map(|c| c.pools.values()) {
        let mut why = prerequisites(conf);
        match partitions.iter().find(|p| p.name == pool.partition) {
            None => why.push(format!(
                "slurm.conf has no partition {}; `burstctl slurm-conf` writes its lines",
                pool.partition
            )),
            Some(p) => why.extend(missing_names(pool, &p.nodes)),
        }
        if !why.is_empty() {
            let text = why.join("; ");
            if old.refused_pools.get(&pool.name) != Some(&text) {
                controller.log(Loud::Error, &format!("pool {} may not launch: {text}", pool.name));
            }
            refused.insert(pool.name.clone(), text);
        }
    }
    shared.snapshot.change(|s| {
        s.kill_margin = Seconds(conf.kill_wait + conf.over_minutes.unwrap_or(0) * 60);
        s.slurm_version.clone_from(&conf.version);
        s.partitions = Some(facts.clone());
        s.default_partition.clone_from(&default_partition);
        s.refused_pools.clone_from(&refused);
    });
}

/// Names of the pool that its partition does not have.
fn missing_names(pool: &burst_policy::config::Pool, nodes: &str) -> Option<String> {
    let has: BTreeSet<String> = burst_plan::hostlist::expand(nodes).unwrap_or_default().into_iter().collect();
    let all = pool.blocks.iter().flat_map(|b| &b.names);
    let missing: Vec<String> = all.filter(|n| !has.contains(*n)).cloned().collect();
    (!missing.is_empty()).then(|| {
        let list = burst_plan::hostlist::compress(&missing);
        let list: String = list.chars().take(200).collect();
        format!("partition {} lacks the nodes {list}; `burstctl slurm-conf` writes its lines", pool.partition)
    })
}

/// What slurm.conf must say for a gang to work, each with the line to write.
#[must_use]
pub fn prerequisites(conf: &SlurmConf) -> Vec<String> {
    let mut why = Vec::new();
    let absolute = |p: &str| p.starts_with('/');
    if !absolute(&conf.resume_program) {
        why.push("slurm.conf needs ResumeProgram (write ResumeProgram=/usr/sbin/burst-resume)".to_owned());
    }
    if !absolute(&conf.suspend_program) {
        why.push("slurm.conf needs SuspendProgram (write SuspendProgram=/usr/sbin/burst-suspend)".to_owned());
    }
    if conf.suspend_time.is_none() {
        why.push(
            "SuspendTime must be finite or Slurm refuses POWER_DOWN (write SuspendTime=31536000)".to_owned(),
        );
    }
    // Names of a large gang would come back only after minutes.
    if conf.suspend_rate != 0 {
        let rate = conf.suspend_rate;
        why.push(format!("SuspendRate={rate} powers gangs down bit by bit (write SuspendRate=0)"));
    }
    if conf.suspend_timeout.is_none() {
        why.push(
            "SuspendTimeout must be finite: names come back after it (write SuspendTimeout=30)".to_owned(),
        );
    }
    if conf.return_to_service != 2 {
        why.push("a node comes up by registering (write ReturnToService=2)".to_owned());
    }
    if conf.over_minutes.is_none() {
        why.push("OverTimeLimit=UNLIMITED leaves the cost without bound (write OverTimeLimit=0)".to_owned());
    }
    why
}

async fn keep_fresh(controller: Arc<dyn Controller>, shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(REFRESH).await;
        let (c, s) = (controller.clone(), shared.clone());
        let look = tokio::task::spawn_blocking(move || match c.conf() {
            Ok(conf) => refresh(&*c, &s, &conf),
            Err(e) => tracing::debug!(error = %e, "slurm.conf could not be read"),
        });
        if let Err(e) = look.await {
            tracing::error!(error = %e, "a refresh ended badly");
        }
    }
}

type State = (Journal, Vec<Gang>, String, fs::File);

/// Opens the state directory; waits for as long as another engine holds it.
async fn open_state(
    controller: &dyn Controller,
    dir: &Path,
    conf: &SlurmConf,
    shared: &Shared,
    listen: &mut impl FnMut(),
) -> State {
    let mut told = String::new();
    shared.care.set_place(Place { dir: dir.to_owned(), uuid: None });
    loop {
        match try_open(controller, dir, conf, shared) {
            Ok(state) => {
                *lock(&shared.care.waits) = None;
                shared.care.set_place(Place { dir: dir.to_owned(), uuid: Some(state.2.clone()) });
                return state;
            }
            Err(e) => {
                *lock(&shared.care.waits) = Some(e.clone());
                if e.contains(RESTORE) {
                    // An operator can say which it is.
                    listen();
                }
                if e != told {
                    controller.log(Loud::Error, &format!("the engine waits: {e}"));
                    told = e;
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn try_open(
    controller: &dyn Controller,
    dir: &Path,
    conf: &SlurmConf,
    shared: &Shared,
) -> Result<State, String> {
    let say = |what: &str, e: std::io::Error| format!("{what} {}: {e}", dir.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| say("cannot make", e))?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(dir.join("lock"))
        .map_err(|e| say("cannot open the lock in", e))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(format!("another engine holds {}", dir.display())),
        Err(TryLockError::Error(e)) => return Err(say("cannot lock", e)),
    }
    // Before the journal is made: one without a UUID beside it has lost it.
    let fresh = !dir.join("burst.db").exists();
    let uuid = uuid(dir, fresh)?;
    if let Some(why) = identity::check(dir, &Machine::here(), &conf.controllers)? {
        if shared.care.closed().is_none() {
            let text = format!("nothing is launched or ended: {why}; an operator must say `burstctl adopt`");
            controller.log(Loud::Error, &text);
        }
        shared.care.close(why);
    }
    let log = |text: &str| controller.log(Loud::Error, text);
    let (journal, docs) = Journal::open(&dir.join("burst.db"), &log).map_err(|e| e.to_string())?;
    let mut gangs = Vec::with_capacity(docs.len());
    for doc in docs {
        match serde_json::from_str::<Gang>(&doc) {
            Ok(g) => gangs.push(g),
            Err(e) => {
                controller
                    .log(Loud::Error, &format!("a row of the journal cannot be read and is skipped: {e}"));
                if let Err(e) = journal.bury(&doc, now_ms()) {
                    tracing::warn!(error = %e, "a row of the journal that cannot be read lives on");
                }
            }
        }
    }
    Ok((journal, gangs, uuid, lock))
}

/// How a lost UUID comes back.
const RESTORE: &str =
    "restore it (the tag slurm-burst:cluster of an instance shows it), or say `burstctl adopt UUID`";

/// The cluster's UUID: made once, random, kept beside the journal.
fn uuid(dir: &Path, fresh: bool) -> Result<String, String> {
    let path = dir.join("uuid");
    let written = match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && fresh => None,
        // Another one would own nothing of what is tagged with the old one.
        Err(e) => {
            let path = path.display();
            return Err(format!("{path} cannot be read: {e}; {RESTORE}"));
        }
    };
    if let Some(text) = written {
        let text = text.trim();
        return match identity::is_uuid(text) {
            true => Ok(text.to_owned()),
            false => Err(format!("{} does not hold a UUID; {RESTORE}", path.display())),
        };
    }
    let mut bytes = [0u8; 16];
    fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes)).map_err(|e| e.to_string())?;
    let mut hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    // RFC 9562 version 4, variant 10.
    hex.replace_range(12..13, "4");
    hex.replace_range(16..17, "8");
    for at in [20, 16, 12, 8] {
        hex.insert(at, '-');
    }
    let temp = dir.join("uuid.new");
    fs::write(&temp, &hex).and_then(|()| fs::rename(&temp, &path)).map_err(|e| e.to_string())?;
    Ok(hex)
}

async fn serve(controller: Arc<dyn Controller>, listen: std::net::SocketAddr, desk: Desk) {
    let mut told = false;
    loop {
        match tokio::net::TcpListener::bind(listen).await {
            Ok(listener) => {
                controller.log(Loud::Info, &format!("listening on {listen}"));
                if let Err(e) = axum::serve(crate::listen::Door::new(listener), router(desk.clone())).await {
                    controller.log(Loud::Error, &format!("the listener on {listen} ended: {e}"));
                }
            }
            Err(e) if !told => {
                told = true;
                let text = format!(
                    "cannot listen on {listen}: {e}; nodes cannot ask for their names until this works"
                );
                controller.log(Loud::Error, &text);
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Learns types and subnets, makes templates and groups, until it has worked once.
async fn ahead(hands: Hands) {
    let mut told = String::new();
    let look = async || {
        learn_types(&hands).await?;
        let subnets = learn_subnets(&hands).await;
        hands.prepare.ahead(&hands).await.and(subnets)
    };
    loop {
        while !hands.controller.active() {
            tokio::time::sleep(AGAIN).await;
        }
        let outcome = look().await;
        hands.prepare.looked();
        let text = match outcome {
            Ok(()) => {
                hands.controller.log(Loud::Info, "launch templates and placement groups are ready");
                told.clear();
                // Until burst.toml is another one.
                hands.shared.care.reloaded.notified().await;
                hands.prepare.reconsider();
                continue;
            }
            Err(e) => e.to_string(),
        };
        if text != told {
            hands.controller.log(Loud::Error, &format!("EC2 cannot be prepared: {text}; tried again"));
            told = text;
        }
        tokio::time::sleep(AGAIN * 5).await;
    }
}

/// A subnet lies in one zone, whatever burst.toml says: EC2 would launch there, and the plan's zone, the placement group
/// and the price would be another's.
async fn learn_subnets(hands: &Hands) -> Result<(), burst_cloud::CloudError> {
    let old = hands.shared.snapshot.load_full();
    let Some(config) = &old.config else { return Ok(()) };
    let (mut known, mut failed) = (BTreeMap::new(), None);
    for region in regions::of_config(config) {
        let here = |p: &(Option<&str>, &str, &str)| p.0 == region.as_deref();
        let places = config.pools.values().flat_map(|p| p.places());
        let ids: BTreeSet<String> = places.filter(here).map(|(.., subnet)| subnet.to_owned()).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let found = match regions::cloud(hands, region.as_deref()).await {
            Ok(cloud) => cloud.subnets(&ids).await,
            Err(e) => Err(e),
        };
        match found {
            Ok(found) => known.extend(found),
            Err(e) if region.is_none() => return Err(e),
            // It keeps the first Region waiting for nothing.
            Err(e) => failed = Some(e),
        }
    }
    let mut wrong = BTreeMap::new();
    for pool in config.pools.values() {
        let why: Vec<String> = pool
            .places()
            .filter_map(|(_, zone, subnet)| {
                let (real, _) = known.get(subnet).filter(|(real, _)| real != zone)?;
                Some(format!(
                    "subnet {subnet} lies in {real}, not in {zone} (write zones = {{ {real} = \"{subnet}\" }})"
                ))
            })
            .collect();
        if !why.is_empty() {
            let text = why.join("; ");
            hands.controller.log(Loud::Error, &format!("pool {} may not launch: {text}", pool.name));
            wrong.insert(pool.name.clone(), text);
        }
    }
    hands.shared.snapshot.change(|s| s.wrong_subnets = wrong.clone());
    failed.map_or(Ok(()), Err)
}

async fn learn_types(hands: &Hands) -> Result<(), burst_cloud::CloudError> {
    let old = hands.shared.snapshot.load_full();
    let Some(config) = &old.config else { return Ok(()) };
    let mut names: Vec<String> =
        config.pools.values().flat_map(|p| p.blocks.iter().map(|b| b.instance_type.clone())).collect();
    names.sort();
    names.dedup();
    let facts = hands.cloud.instance_types(&names).await?;
    let mut types = old.types.clone();
    for fact in facts {
        types.0.insert(fact.name.clone(), fact);
    }
    hands.shared.snapshot.change(|s| s.types = types.clone());
    Ok(())
}
