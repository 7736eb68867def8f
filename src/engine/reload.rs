//! burst.toml, read at the start and again when it changes. A newer one that cannot be used changes nothing.

use crate::{
    care::{InUse, lock},
    controller::{Controller, Loud},
    core::Event,
    shared::{Msg, Shared},
};
use burst_policy::{Config, prices::Prices};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;

/// Pause between looks at the files. One that changed is read when two looks find it the same: editors write in steps.
pub const LOOK: Duration = Duration::from_secs(3);

/// A configuration that can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// burst.toml.
    pub config: Config,
    /// The price file.
    pub prices: Prices,
    /// What is wrong with the price file.
    pub notice: Option<String>,
}

/// Why a file cannot be used, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// All errors.
    pub why: String,
    /// As far as it could be read.
    pub text: String,
}

/// Reads and validates burst.toml and the price file it names.
///
/// # Errors
/// Everything wrong with burst.toml.
pub fn read(path: &str) -> Result<Read, Broken> {
    let text = fs::read_to_string(path).map_err(|e| Broken {
        why: format!("{path} cannot be read: {e}; set SLURM_BURST_CONF or write the file"),
        text: String::new(),
    })?;
    let config = Config::parse(&text, path).map_err(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Broken { why: all.join("\n"), text: text.clone() }
    })?;
    let (prices, notice) = match config.price_file.as_deref().map(prices) {
        None => (Prices::default(), None),
        Some(Ok(p)) => (p, None),
        Some(Err(e)) => {
            let text = format!("prices cannot be used, so nothing with a cost limit is launched: {e}");
            (Prices::default(), Some(text))
        }
    };
    Ok(Read { config, prices, notice })
}

fn prices(path: &Path) -> Result<Prices, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Prices::parse(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// What of a newer configuration counts at once, and in words what only counts after a restart of slurmctld.
///
/// # Errors
/// Nothing of it can be used before a restart: why.
pub fn merge(old: &Config, new: Config) -> Result<(Config, Option<String>), String> {
    if old.aws.region != new.aws.region {
        return Err(format!(
            "region is {} now and was {}: its zones and subnets belong to it, so that all of burst.toml waits for a restart of slurmctld",
            new.aws.region, old.aws.region
        ));
    }
    let mut merged = new;
    let mut kept = Vec::new();
    let mut keep = |what: &'static str, changed: bool| {
        if changed {
            kept.push(what);
        }
    };
    keep("cluster.name", old.cluster.name != merged.cluster.name);
    keep("cluster.state_dir", old.cluster.state_dir != merged.cluster.state_dir);
    keep("cluster.listen", old.cluster.listen != merged.cluster.listen);
    keep("aws.profile", old.aws.profile != merged.aws.profile);
    keep("aws.endpoint_url", old.aws.endpoint_url != merged.aws.endpoint_url);
    keep("aws.endpoints", old.aws.endpoints != merged.aws.endpoints);
    keep("limits.queue", old.limits.queue != merged.limits.queue);
    merged.cluster.name.clone_from(&old.cluster.name);
    merged.cluster.state_dir.clone_from(&old.cluster.state_dir);
    merged.cluster.listen = old.cluster.listen;
    merged.aws.profile.clone_from(&old.aws.profile);
    merged.aws.endpoint_url.clone_from(&old.aws.endpoint_url);
    merged.aws.endpoints.clone_from(&old.aws.endpoints);
    merged.limits.queue = old.limits.queue;
    let kept = (!kept.is_empty())
        .then(|| format!("{} of burst.toml changed and count after a restart of slurmctld", kept.join(", ")));
    Ok((merged, kept))
}

/// A file as a look finds it: modification time (s, ns), length, inode; None: it is not there.
type Mark = Option<(i64, i64, u64, u64)>;

fn mark(path: &Path) -> Mark {
    let m = fs::metadata(path).ok()?;
    Some((m.mtime(), m.mtime_nsec(), m.len(), m.ino()))
}

/// Finds out when the files have changed.
#[derive(Debug)]
pub struct Watcher {
    paths: Vec<PathBuf>,
    /// What was read.
    read: Vec<Mark>,
    /// What the last look found.
    last: Vec<Mark>,
}

impl Watcher {
    /// From the files as they are.
    #[must_use]
    pub fn new(path: &str, price_file: Option<&Path>) -> Self {
        let mut watcher = Self { paths: vec![path.into()], read: Vec::new(), last: Vec::new() };
        watcher.paths.extend(price_file.map(Path::to_owned));
        watcher.read = watcher.marks();
        watcher.last.clone_from(&watcher.read);
        watcher
    }

    fn marks(&self) -> Vec<Mark> {
        self.paths.iter().map(|p| mark(p)).collect()
    }

    /// A look. Answers whether the files are others than were read, and the same as at the look before; they then count
    /// as read.
    pub fn look(&mut self) -> bool {
        let now = self.marks();
        let settled = now == self.last && now != self.read;
        if settled {
            self.read.clone_from(&now);
        }
        self.last = now;
        settled
    }

    /// The price file may be another one now.
    fn follow(&mut self, price_file: Option<&Path>) {
        let new: Vec<PathBuf> =
            self.paths.first().cloned().into_iter().chain(price_file.map(Path::to_owned)).collect();
        if new != self.paths {
            self.paths = new;
            self.read = self.marks();
            self.last.clone_from(&self.read);
        }
    }
}

/// Takes what was read into use; answers whether it is another configuration than before.
fn take(shared: &Shared, controller: &dyn Controller, found: Result<Read, Broken>, now_ms: u64) -> bool {
    let old = shared.snapshot.load_full();
    let refuse = |why: String| {
        let text = match old.config {
            Some(_) => format!("burst.toml has changed and is not used, the old one stays: {why}"),
            None => why,
        };
        controller.log(Loud::Error, &text);
        lock(&shared.care.in_use).error = Some(text);
        false
    };
    let Read { config, prices, notice } = match found {
        Ok(r) => r,
        Err(b) => {
            if old.config.is_none() {
                let partitions = Config::partitions_of_broken(&b.text);
                shared.snapshot.change(|s| {
                    s.config_error = Some(b.why.clone());
                    s.broken_partitions.clone_from(&partitions);
                });
            }
            return refuse(b.why);
        }
    };
    let (config, kept) = match &old.config {
        Some(old) => match merge(old, config) {
            Ok(m) => m,
            Err(why) => return refuse(why),
        },
        None => (config, None),
    };
    for text in notice.iter().chain(&kept) {
        controller.log(Loud::Error, text);
    }
    let path = lock(&shared.care.in_use).path.clone();
    let failed = std::mem::replace(
        &mut *lock(&shared.care.in_use),
        InUse { path, read_ms: now_ms, error: None, kept },
    );
    if old.config.as_ref() == Some(&config) && old.prices == prices {
        if failed.error.is_some() {
            controller.log(Loud::Info, "burst.toml is again what it was");
        }
        return false;
    }
    let pools: Vec<&str> = config.pools.keys().map(String::as_str).collect();
    controller.log(Loud::Info, &format!("burst.toml was read again: pools {}", pools.join(", ")));
    shared.care.operators.store(Arc::new(crate::people::operators(&config)));
    shared.snapshot.change(|s| {
        s.config = Some(config.clone());
        s.config_error = None;
        s.broken_partitions.clear();
        s.prices = prices.clone();
    });
    true
}

/// Looks at the files for ever, and takes what changes into use. `refresh` looks at slurm.conf and the partitions anew.
pub(crate) async fn watch(
    path: String,
    shared: Arc<Shared>,
    controller: Arc<dyn Controller>,
    sender: mpsc::Sender<Msg>,
    refresh: impl Fn() + Send + Sync + 'static,
) {
    let price_file = || shared.snapshot.load().config.as_ref().and_then(|c| c.price_file.clone());
    // What was read at the start may be old: a standby waits for days. The same once more changes nothing.
    let mut watcher = Watcher { read: Vec::new(), ..Watcher::new(&path, price_file().as_deref()) };
    let refresh = Arc::new(refresh);
    loop {
        tokio::time::sleep(LOOK).await;
        let (file, refresh) = (path.clone(), refresh.clone());
        let (shared_, controller_) = (shared.clone(), controller.clone());
        let look = tokio::task::spawn_blocking(move || {
            let mut taken = false;
            if watcher.look() {
                taken = take(&shared_, &*controller_, read(&file), crate::start::now_ms());
                let price_file = shared_.snapshot.load().config.as_ref().and_then(|c| c.price_file.clone());
                watcher.follow(price_file.as_deref());
            }
            if taken {
                refresh();
            }
            (watcher, taken)
        });
        let taken;
        (watcher, taken) = match look.await {
            Ok(done) => done,
            Err(e) => {
                tracing::error!(error = %e, "a look at burst.toml ended badly");
                (Watcher::new(&path, price_file().as_deref()), false)
            }
        };
        if taken {
            shared.care.reloaded.notify_one();
            if sender.send(Msg::Internal(Box::new(Event::Reconsider))).await.is_err() {
                return;
            }
        }
    }
}

/// Waits until burst.toml can be used.
pub(crate) async fn first(path: &str, shared: &Shared, controller: &dyn Controller) -> Config {
    // Whoever wrote it may have done so before this first look.
    let mut watcher = Watcher { read: Vec::new(), ..Watcher::new(path, None) };
    loop {
        if let Some(config) = shared.snapshot.load().config.clone() {
            return config;
        }
        tokio::time::sleep(LOOK).await;
        // Small files, and nobody else waits for this task yet.
        if watcher.look() {
            take(shared, controller, read(path), crate::start::now_ms());
        }
    }
}

#[cfg(test)]
mod tests;
