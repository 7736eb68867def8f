//! Lives of the controller: what a slurmctld process holds, from its start to its kill.

use crate::{
    cloud::{Mood, Moody},
    dice::Dice,
    published::Published,
    seat::Seat,
    slurm::Slurm,
};
use burst_engine::{
    Handle, Host, Msg, Shared,
    core::{Answer, Question},
    effects::Hands,
    journal::{Journal, documents, make_tables},
    prepare::Prepare,
    shared::Snapshot,
    start::drive,
};
use burst_policy::{Config, TypeBook, gang::Gang};
use rusqlite::Connection;
use serde_json::Value;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

/// The journal's file: what was committed outlives every life.
pub type Disk = Arc<Mutex<Connection>>;

/// An empty journal.
pub fn disk() -> Disk {
    let db = Connection::open_in_memory().expect("SQLite has memory");
    make_tables(&db).expect("the tables can be made");
    Arc::new(Mutex::new(db))
}

/// Everything outside of the engine.
#[derive(Clone)]
pub struct Outside {
    /// slurmctld's own part.
    pub slurm: Slurm,
    /// EC2.
    pub ec2: burst_cloud::fake::FakeCloud,
    /// Chance and time.
    pub dice: Dice,
    /// EC2's mood.
    pub mood: Mood,
    /// EC2's throttling, where the story has it.
    pub published: Option<Published>,
    /// Slurm's passing errors and the disk's, in thousandths.
    pub trouble: Arc<AtomicU64>,
    /// The journal's file.
    pub disk: Disk,
    /// The disk takes nothing more.
    pub full: Arc<AtomicBool>,
    /// burst.toml.
    pub config: Arc<Config>,
    /// What kind of story it is.
    pub kind: crate::story::Kind,
    /// It has capacity reservations.
    pub reserved: bool,
    /// It has a second Region.
    pub abroad: bool,
}

/// One life.
pub struct Life {
    host: Host,
    /// The engine's queue.
    pub handle: Handle,
    passive_since: Arc<AtomicU64>,
}

impl Life {
    /// slurmctld starts.
    pub fn begin(out: &Outside) -> Self {
        let shared = Arc::new(Shared::default());
        shared.snapshot.publish(Snapshot {
            config: Some((*out.config).clone()),
            types: TypeBook::builtin(),
            ..Snapshot::default()
        });
        let (handle, receiver) = Handle::new(4_096, shared.clone());
        let host = Host::staged(Arc::new(out.dice.clone()));
        let passive_since = Arc::new(AtomicU64::new(0));
        let (journal, mut writer) = Journal::queue();
        let (disk, dice, trouble) = (out.disk.clone(), out.dice.clone(), out.trouble.clone());
        let full = out.full.clone();
        host.spawn(async move {
            while writer.wait().await {
                tokio::time::sleep(dice.ms(1, 12)).await;
                if dice.chance(trouble.load(Ordering::Relaxed) / 4) || full.load(Ordering::Relaxed) {
                    writer.refuse("database or disk is full");
                    continue;
                }
                let mut db = disk.lock().unwrap_or_else(PoisonError::into_inner);
                writer.commit(&mut db, burst_engine::host::Stage::now_ms(&dice));
            }
        });
        let docs = {
            let db = out.disk.lock().unwrap_or_else(PoisonError::into_inner);
            documents(&db).expect("the journal can be read")
        };
        let gangs: Vec<Gang> =
            docs.iter().map(|d| serde_json::from_str(d).expect("a row of the journal can be read")).collect();
        let seat = Seat {
            slurm: out.slurm.clone(),
            passive_since: passive_since.clone(),
            trouble: out.trouble.clone(),
            told: [AtomicU64::new(0), AtomicU64::new(0)],
        };
        let cloud = Moody {
            inner: out.ec2.clone(),
            dice: out.dice.clone(),
            laws: out.slurm.laws.clone(),
            mood: out.mood.clone(),
            published: out.published.clone(),
            disk: out.disk.clone(),
            passive_since: passive_since.clone(),
        };
        let hands = Hands {
            host: host.clone(),
            controller: Arc::new(seat),
            cloud: Arc::new(cloud),
            journal,
            prepare: Arc::new(Prepare::default()),
            rates: Arc::default(),
            budget: Arc::default(),
            shared,
            cluster: "11111111-2222-4333-8444-555555555555".into(),
            name: "soak".into(),
        };
        let (changed, _) = watch::channel(0);
        host.spawn(drive(hands, handle.sender(), gangs, changed, receiver));
        out.slurm.tables().dust_ms = out.dice.true_ms() + crate::slurm::DUST_MS;
        out.slurm.up.store(true, Ordering::Relaxed);
        Self { host, handle, passive_since }
    }

    /// Another controller has taken over; this process does not know yet.
    pub fn pass_over(&self, now_ms: u64) {
        self.passive_since.store(now_ms, Ordering::Relaxed);
    }

    /// `kill -9`.
    pub fn kill(&self, out: &Outside) {
        out.slurm.up.store(false, Ordering::Relaxed);
        self.host.crash();
    }
}

/// Asks the engine of today, as the HTTP listener does; None: nobody answers.
pub async fn ask(sender: Option<mpsc::Sender<Msg>>, question: Question) -> Option<(u16, Value)> {
    let (tx, rx) = oneshot::channel();
    sender?.send(Msg::Ask(Box::new(question), tx)).await.ok()?;
    // An engine that is killed drops the question.
    match tokio::time::timeout(Duration::from_secs(10), rx).await {
        Ok(Ok(Answer::Json(status, body))) => Some((status, body)),
        Ok(Ok(Answer::Kept(word, body))) => match word.await {
            Ok(Ok(_)) => Some((200, body)),
            _ => None,
        },
        _ => None,
    }
}
