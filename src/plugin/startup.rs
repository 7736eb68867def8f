//! init: configuration, the queue, and the engine's own thread.

use crate::{log, shim, slurm::Slurm};
use burst_aws::{Ec2, Settings};
use burst_cloud::Cloud;
use burst_engine::{
    LetterBox, Shared, Slot, reload,
    shared::{Handle, Snapshot},
    start::{self, Setup},
};
use burst_policy::{Config, TypeBook};
use once_cell::sync::OnceCell;
use std::{
    ffi::c_int,
    sync::{Arc, OnceLock, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

/// Queue of a controller whose configuration cannot be read (messages are then refused before they are pushed).
const QUEUE: usize = 4_096;

static SLOT: OnceCell<Slot> = OnceCell::new();

/// The engine's letter box; None before init.
pub fn slot() -> Option<&'static Slot> {
    SLOT.get()
}

/// Published state; None before init.
pub fn shared() -> Option<&'static Shared> {
    SLOT.get().map(|s| &*s.handle.shared)
}

/// How long the engine's start is waited for (it takes a tenth of a second).
const STARTS: Duration = Duration::from_secs(3);
static BORN: OnceLock<Instant> = OnceLock::new();

/// Whether slurmctld has just started and the engine is not up yet: what it is given then is not written down for as long.
pub fn is_starting() -> bool {
    shared().is_some_and(|s| !s.running.load(Ordering::Acquire))
        && BORN.get().is_some_and(|born| born.elapsed() < STARTS)
}

/// The entry. Whatever goes wrong, slurmctld starts: a job that needs us is then refused with the reason.
pub fn init() -> c_int {
    BORN.get_or_init(Instant::now);
    let started = SLOT.get_or_try_init(|| {
        let path = std::env::var("SLURM_BURST_CONF")
            .unwrap_or_else(|_| burst_policy::config::DEFAULT_PATH.to_owned());
        let snapshot = read(&path);
        let size = snapshot.config.as_ref().map_or(QUEUE, |c| c.limits.queue);
        let shared = Arc::new(Shared::default());
        shared.snapshot.publish(snapshot);
        let (handle, receiver) = Handle::new(size, shared);
        let (slot, letters) = Slot::new(size, handle.clone());
        thread::Builder::new()
            .name("burst-engine".into())
            .spawn(move || engine(handle, receiver, letters, path))
            .map(|_| slot)
    });
    if let Err(e) = started {
        shim::log(0, &format!("the engine's thread could not be started: {e}"));
    }
    0
}

fn read(path: &str) -> Snapshot {
    match reload::read(path) {
        Ok(reload::Read { config, prices, notice }) => {
            if let Some(text) = notice {
                shim::log(0, &text);
            }
            Snapshot { config: Some(config), prices, types: TypeBook::builtin(), ..Snapshot::default() }
        }
        Err(broken) => {
            shim::log(0, &broken.why);
            Snapshot {
                broken_partitions: Config::partitions_of_broken(&broken.text),
                config_error: Some(broken.why),
                types: TypeBook::builtin(),
                ..Snapshot::default()
            }
        }
    }
}

fn engine(
    handle: Handle,
    receiver: tokio::sync::mpsc::Receiver<burst_engine::Msg>,
    letters: LetterBox,
    conf: String,
) {
    // Before the runtime makes its threads: they inherit the mask and the policy.
    shim::block_signals();
    log::install();
    shim::stand_back();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_name("burst")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(r) => r,
        Err(e) => {
            shim::log(0, &format!("the engine's runtime could not be started: {e}"));
            return;
        }
    };
    let shared = handle.shared.clone();
    let connect: start::Connect = Box::new(move || {
        let snapshot = shared.snapshot.load_full();
        Box::pin(async move {
            let aws = snapshot.config.as_ref().map(|c| c.aws.clone());
            let mut settings = Settings::region(aws.as_ref().map_or("", |a| a.region.as_str()));
            if let Some(a) = aws {
                settings.profile = a.profile;
                settings.endpoint_url = a.endpoint_url;
                settings.endpoints = a.endpoints;
            }
            let cloud: Arc<dyn Cloud> = Arc::new(Ec2::new(settings).await?);
            Ok(cloud)
        })
    });
    runtime.block_on(start::run(Setup {
        controller: Arc::new(Slurm::default()),
        connect,
        handle,
        receiver,
        letters,
        conf,
    }));
}
