//! Calls to the site's budget service (`burst_policy::asbb` says what they mean).
//!
//! A service that hangs must not take the threads that look at Slurm: few calls at a time, each with a time-out, and none
//! for a while after one that was not answered. What a life cost is told from files of the state directory, so that a
//! service that is away, or a restart of slurmctld, loses nothing.

use crate::{controller::Loud, effects::Hands, host::Host};
use burst_policy::{
    asbb::{self, Check, Decision, Promise, Reconcile, Service, Settled, Word},
    gang::Outcome,
    life::Life,
};
use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::sync::{Notify, Semaphore};

mod tally;
#[cfg(test)]
mod tests;

/// Calls under way at once.
const AT_ONCE: usize = 4;
/// After a call that was not answered nobody calls for so long, ms.
const QUIET_MS: u64 = 10_000;
/// Pause between tries of what is to be told.
const AGAIN: Duration = Duration::from_secs(60);
/// Longest answer that is read, bytes.
const ANSWER_MOST: u64 = 64 * 1024;
/// Costs that wait to be told; the youngest are left out then, with an error in the log.
const WAITING_MOST: usize = 10_000;

/// The engine's side of the budget service.
#[derive(Debug)]
pub struct Asbb {
    /// Where costs wait to be told; None: nothing is told (a test without a state directory).
    dir: Option<PathBuf>,
    turns: Semaphore,
    quiet_until_ms: AtomicU64,
    wake: Notify,
    number: AtomicU64,
    tally: tally::Tally,
}

impl Default for Asbb {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Asbb {
    /// With a directory of the state directory.
    #[must_use]
    pub fn new(dir: Option<PathBuf>) -> Self {
        let (quiet_until_ms, number) = (AtomicU64::new(0), AtomicU64::new(0));
        let (turns, wake, tally) = (Semaphore::new(AT_ONCE), Notify::new(), tally::Tally::default());
        Self { dir, turns, quiet_until_ms, wake, number, tally }
    }

    /// What was asked and told so far, as OpenMetrics.
    pub fn metrics(&self, out: &mut String) {
        self.tally.metrics(out);
    }

    /// Asks before a launch.
    pub async fn check(&self, hands: &Hands, check: &Check) -> Outcome {
        let Some(service) = service(hands) else {
            let note = "no budget service is configured any more".to_owned();
            return Outcome::Budget(Decision::Go { transaction: String::new(), note });
        };
        Outcome::Budget(self.decide(&hands.host, &service, check).await)
    }

    async fn decide(&self, host: &Host, service: &Service, check: &Check) -> Decision {
        let word = self.ask(host, service, check).await;
        self.tally.checked(&word);
        if let Word::Unclear(why) = &word {
            tracing::warn!(url = service.url, why, "the budget service gave no usable answer");
        }
        asbb::decide(word, service)
    }

    async fn ask(&self, host: &Host, service: &Service, check: &Check) -> Word {
        // Closed never.
        let _turn = self.turns.acquire().await;
        if host.now_ms() < self.quiet_until_ms.load(Ordering::Relaxed) {
            return Word::Unclear("it did not answer a moment ago".into());
        }
        let body = serde_json::to_string(check).unwrap_or_default();
        match self.post(host, service, "/api/v1/budget/check", body).await {
            Ok((status, text)) => asbb::read_check(status, &text),
            Err(e) => Word::Unclear(e),
        }
    }

    async fn post(
        &self,
        host: &Host,
        service: &Service,
        path: &str,
        body: String,
    ) -> Result<(u16, String), String> {
        let (url, limit) = (format!("{}{path}", service.url), Duration::from_secs(service.timeout.0));
        let answer = host.block(move || post(&url, body, limit)).await.and_then(|a| a);
        if answer.is_err() {
            let until = host.now_ms().saturating_add(QUIET_MS);
            self.quiet_until_ms.store(until, Ordering::Relaxed);
        }
        answer
    }

    /// Puts down what is to be told of a life that is over (None: it left no trace), to be told from then on.
    pub async fn settle(&self, hands: &Hands, job: &str, promises: &[Promise], life: Option<&Life>) {
        if let Err(e) = self.put_down(&hands.host, job, promises, life).await {
            hands.controller.log(Loud::Error, &e);
        }
    }

    /// The same for a life whose cost is known now.
    pub async fn settle_life(&self, hands: &Hands, life: &Life) {
        self.settle(hands, &life.text, &life.promises, Some(life)).await;
    }

    async fn put_down(
        &self,
        host: &Host,
        job: &str,
        promises: &[Promise],
        life: Option<&Life>,
    ) -> Result<(), String> {
        let Some(dir) = self.dir.clone() else { return Ok(()) };
        let told = asbb::reconcile(job, promises, life);
        if told.is_empty() {
            return Ok(());
        }
        let first = self.number.fetch_add(told.len() as u64, Ordering::Relaxed);
        let at = host.now_ms();
        let text = format!("{told:?}");
        let written = host.block(move || put_down(&dir, at, first, &told)).await.and_then(|w| w);
        self.wake.notify_one();
        written.map_err(|e| {
            format!("the budget service cannot be told of job {job}: {e}; tell it by hand: {text}")
        })
    }

    /// Tells what waits, for ever.
    pub async fn run(&self, hands: Hands) {
        let Some(dir) = self.dir.clone() else { return };
        loop {
            if hands.controller.active()
                && let Some(service) = service(&hands)
            {
                let log = |text: &str| hands.controller.log(Loud::Error, text);
                self.tell(&hands.host, &service, &dir, &log).await;
            }
            // The time-out is the pause between tries.
            let _ = tokio::time::timeout(AGAIN, self.wake.notified()).await;
        }
    }

    /// One pass over what waits; it ends at the first that has to be told again.
    async fn tell(&self, host: &Host, service: &Service, dir: &Path, log: &(dyn Fn(&str) + Sync)) {
        let at = dir.to_path_buf();
        let files = host.block(move || waiting(&at)).await.unwrap_or_default();
        let mut left = files.len();
        self.tally.waits(left);
        for file in files {
            let path = file.clone();
            let read = host.block(move || fs::read_to_string(path).map_err(|e| e.to_string())).await;
            let Some(what) = read.ok().and_then(Result::ok) else { continue };
            let Ok(told) = serde_json::from_str::<Reconcile>(&what) else {
                log(&format!("{} cannot be read and is not told to the budget service", file.display()));
                self.remove(host, file).await;
                left -= 1;
                continue;
            };
            let answer = self.post(host, service, "/api/v1/budget/reconcile", what).await;
            let settled = match answer {
                Ok((status, text)) => asbb::read_reconcile(status, &text),
                Err(e) => Settled::Again(e),
            };
            self.tally.told(&settled);
            left -= usize::from(!matches!(settled, Settled::Again(_)));
            self.tally.waits(left);
            match settled {
                Settled::Yes => self.remove(host, file).await,
                Settled::Never(why) => {
                    let (job, cost, t) = (&told.job_id, told.actual_cost, &told.transaction_id);
                    let text = format!(
                        "the budget service does not take the cost of job {job} ({cost} USD, transaction {t}): {why}"
                    );
                    log(&text);
                    self.remove(host, file).await;
                }
                Settled::Again(why) => {
                    tracing::warn!(
                        job_id = told.job_id,
                        why,
                        "a cost is told to the budget service again later"
                    );
                    return;
                }
            }
        }
    }

    async fn remove(&self, host: &Host, file: PathBuf) {
        let path = file.clone();
        let done = host.block(move || fs::remove_file(path).map_err(|e| e.to_string())).await;
        if let Err(e) = done.and_then(|d| d) {
            tracing::warn!(file = %file.display(), error = e, "cannot be removed: the budget service is told twice");
        }
    }
}

fn service(hands: &Hands) -> Option<Service> {
    hands.shared.snapshot.load().config.as_ref()?.budget_service.clone()
}

/// One call; its status and body.
fn post(url: &str, body: String, limit: Duration) -> Result<(u16, String), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        // slurmctld's environment is not where a site says how its budget service is reached.
        .proxy(None)
        .build()
        .into();
    let mut answer = agent
        .post(url)
        .header("Content-Type", "application/json")
        .header("Accept", "application/json")
        .send(body)
        .map_err(|e| format!("{url}: {e}"))?;
    let status = answer.status().as_u16();
    let text = answer.body_mut().with_config().limit(ANSWER_MOST).read_to_string();
    text.map(|t| (status, t)).map_err(|e| format!("{url}: {e}"))
}

/// Files in the order they were put down.
fn waiting(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let mut files: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    files
}

/// A file each, whole or not there.
fn put_down(dir: &Path, at_ms: u64, first: u64, told: &[Reconcile]) -> Result<(), String> {
    let say = |e: std::io::Error| format!("{}: {e}", dir.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(say)?;
    if waiting(dir).len() + told.len() > WAITING_MOST {
        return Err(format!("{} has {WAITING_MOST} costs that wait already", dir.display()));
    }
    for (n, one) in (first..).zip(told) {
        let text = serde_json::to_string(one).map_err(|e| e.to_string())?;
        let name = dir.join(format!("{at_ms:015}-{n:06}"));
        let part = name.with_extension("part");
        let mut file = fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&part)
            .map_err(say)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(say)?;
        fs::rename(&part, name.with_extension("json")).map_err(say)?;
    }
    Ok(())
}
