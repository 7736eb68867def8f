//! The cloud as the engine sees it: every call passes through EC2's rates, and looks at instances are gathered.

use crate::{host::Host, rates::Rates};
use async_trait::async_trait;
use burst_cloud::{
    Cloud, CloudError, DESCRIBE_MOST, FleetAnswer, FleetRequest, Group, Instance, Template, TemplateRef,
    TemplateSpec,
};
use burst_policy::{TypeFacts, budget::Family, classify::Class, reservation::Facts};
use std::{
    collections::{BTreeMap, HashSet},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

/// No call waits longer for its token; then it is made, and EC2 decides (ms).
const MOST_MS: u64 = 30_000;
/// Nor does one that ends instances (ms).
const END_MS: u64 = 10_000;
/// A look at instances waits at most so long for an outage to pass (ms).
const LOOK_MS: u64 = 5_000;
/// Instances in one TerminateInstances (EC2 takes 1000; smaller ones fail smaller).
const END_MOST: usize = 500;
/// Looks at instances are gathered until none has come for so long,
const IDLE: Duration = Duration::from_millis(35);
/// or until the first has waited so long.
const LONGEST: Duration = Duration::from_secs(1);

type Word = Result<Vec<Instance>, CloudError>;

/// Somebody who wants to know about some instances.
struct Look {
    ids: Vec<String>,
    word: oneshot::Sender<Word>,
}

#[derive(Default)]
struct Looks {
    waiting: Vec<Look>,
    first: Option<Instant>,
    last: Option<Instant>,
    /// Somebody gathers.
    gathering: bool,
}

/// Whether this is the active controller.
pub type Active = Arc<dyn Fn() -> bool + Send + Sync>;

/// A cloud behind the rates.
#[derive(Clone)]
pub struct Gate {
    inner: Arc<dyn Cloud>,
    rates: Arc<Rates>,
    active: Active,
    host: Host,
    looks: Arc<Mutex<Looks>>,
    /// Ids that a call of several parts has ended before another part failed: they are not counted, nor asked for, again.
    ended: Arc<Mutex<HashSet<String>>>,
    /// Further Regions: each has rates, breakers and looks of its own.
    regions: Arc<Mutex<BTreeMap<String, Gate>>>,
}

fn own(api: &str, code: &str, message: String, class: Class) -> CloudError {
    CloudError { api: api.into(), code: code.into(), message, class, request_id: None, ambiguous: false }
}

impl Gate {
    /// Puts the rates before a cloud.
    #[must_use]
    pub fn new(inner: Arc<dyn Cloud>, rates: Arc<Rates>, active: Active, host: Host) -> Self {
        Self {
            inner,
            rates,
            active,
            host,
            looks: Arc::default(),
            ended: Arc::default(),
            regions: Arc::default(),
        }
    }

    fn regions(&self) -> MutexGuard<'_, BTreeMap<String, Gate>> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.host.now_ms()
    }

    /// Another controller may have taken over while a token was waited for.
    async fn wait(&self, api: &str, ms: u64) -> Result<(), CloudError> {
        if ms == 0 {
            return Ok(());
        }
        sleep(Duration::from_millis(ms)).await;
        match (self.active)() {
            true => Ok(()),
            false => Err(own(api, "Standby", "this controller is not the active one".into(), Class::Auth)),
        }
    }

    async fn call<T>(
        &self,
        api: &str,
        family: Family,
        call: impl Future<Output = Result<T, CloudError>>,
    ) -> Result<T, CloudError> {
        let ms = self.rates.draw(family, MOST_MS, self.now()).map_err(|until| {
            let (s, code) = (until.saturating_sub(self.now()).div_ceil(1_000), self.rates.code(family));
            let text = format!("EC2 failed call after call ({code}) and is left alone for {s} s more");
            own(api, "CircuitOpen", text, Class::Transient)
        })?;
        self.wait(api, ms).await?;
        let answer = call.await;
        self.rates.note(family, &answer, self.now());
        answer
    }

    /// A look that what lives depends on: counted, waited for, never refused here.
    async fn look<T>(
        &self,
        api: &str,
        call: impl Future<Output = Result<T, CloudError>>,
    ) -> Result<T, CloudError> {
        let now = self.now();
        let ms = match self.rates.draw(Family::Describe, MOST_MS, now) {
            Ok(ms) => ms,
            Err(until) => {
                let pause = until.saturating_sub(now).min(LOOK_MS);
                pause.max(self.rates.count(Family::Describe, MOST_MS, now))
            }
        };
        self.wait(api, ms).await?;
        let answer = call.await;
        self.rates.note(Family::Describe, &answer, self.now());
        answer
    }

    fn ended(&self) -> MutexGuard<'_, HashSet<String>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a look into the next call, and answers what that call says of its ids.
    fn post(&self, ids: Vec<String>) -> oneshot::Receiver<Word> {
        let (word, receiver) = oneshot::channel();
        let now = Instant::now();
        let mut looks = self.looks();
        looks.waiting.push(Look { ids, word });
        looks.first.get_or_insert(now);
        looks.last = Some(now);
        if !std::mem::replace(&mut looks.gathering, true) {
            let gate = self.clone();
            self.host.spawn(async move { gate.gather().await });
        }
        receiver
    }

    /// Gathers looks and makes their calls, until nobody waits.
    async fn gather(&self) {
        loop {
            let pause = {
                let mut looks = self.looks();
                let (Some(first), Some(last)) = (looks.first, looks.last) else {
                    looks.gathering = false;
                    return;
                };
                let full = looks.waiting.iter().map(|l| l.ids.len()).sum::<usize>() >= DESCRIBE_MOST;
                let due = (last + IDLE).min(first + LONGEST);
                if full { Duration::ZERO } else { due.saturating_duration_since(Instant::now()) }
            };
            if !pause.is_zero() {
                sleep(pause).await;
                continue;
            }
            let batch = take(&mut self.looks());
            // Beside the gathering of the next one.
            let gate = self.clone();
            self.host.spawn(async move { gate.ask(batch).await });
        }
    }

    async fn ask(&self, batch: Vec<Look>) {
        let mut ids: Vec<String> = batch.iter().flat_map(|l| l.ids.iter().cloned()).collect();
        ids.sort();
        ids.dedup();
        let found = self.look("DescribeInstances", self.inner.describe(&ids)).await;
        let alone = batch.len() == 1;
        for look in batch {
            let word = match &found {
                Ok(all) => {
                    let wanted: HashSet<&String> = look.ids.iter().collect();
                    Ok(all.iter().filter(|i| wanted.contains(&i.id)).cloned().collect())
                }
                // It may be about somebody else's ids.
                Err(e) if !alone && matches!(e.class, Class::Configuration | Class::NotFound) => {
                    self.look("DescribeInstances", self.inner.describe(&look.ids)).await
                }
                Err(e) => Err(e.clone()),
            };
            // Whoever asked may have gone.
            let _ = look.word.send(word);
        }
    }
}

/// The looks of the next call: in their order, as many as it can hold, one at least.
fn take(looks: &mut Looks) -> Vec<Look> {
    let mut held = 0;
    let fits = |l: &&Look| {
        held += l.ids.len();
        held <= DESCRIBE_MOST
    };
    let count = looks.waiting.iter().take_while(fits).count().max(1).min(looks.waiting.len());
    let batch = looks.waiting.drain(..count).collect();
    if looks.waiting.is_empty() {
        (looks.first, looks.last) = (None, None);
    }
    batch
}

#[async_trait]
impl Cloud for Gate {
    async fn region(&self, name: &str) -> Result<Arc<dyn Cloud>, CloudError> {
        if let Some(known) = self.regions().get(name) {
            return Ok(Arc::new(known.clone()));
        }
        let inner = self.inner.region(name).await?;
        let gate = Self::new(inner, self.rates.region(name), self.active.clone(), self.host.clone());
        // Somebody else may have been faster: then all use that one.
        Ok(Arc::new(self.regions().entry(name.to_owned()).or_insert(gate).clone()))
    }
    async fn instance_types(&self, names: &[String]) -> Result<Vec<TypeFacts>, CloudError> {
        self.call("DescribeInstanceTypes", Family::Describe, self.inner.instance_types(names)).await
    }
    async fn subnets(&self, ids: &[String]) -> Result<BTreeMap<String, (String, u32)>, CloudError> {
        self.call("DescribeSubnets", Family::Describe, self.inner.subnets(ids)).await
    }
    async fn ensure_template(&self, spec: &TemplateSpec) -> Result<TemplateRef, CloudError> {
        self.call("CreateLaunchTemplate", Family::Change, self.inner.ensure_template(spec)).await
    }
    async fn site_template(&self, id_or_name: &str, needs_efa: bool) -> Result<TemplateRef, CloudError> {
        let call = self.inner.site_template(id_or_name, needs_efa);
        self.call("DescribeLaunchTemplates", Family::Describe, call).await
    }
    async fn groups(&self, cluster: &str) -> Result<Vec<Group>, CloudError> {
        self.call("DescribePlacementGroups", Family::Describe, self.inner.groups(cluster)).await
    }
    async fn create_group(&self, cluster: &str, name: &str) -> Result<(), CloudError> {
        self.call("CreatePlacementGroup", Family::Change, self.inner.create_group(cluster, name)).await
    }
    async fn delete_group(&self, name: &str) -> Result<(), CloudError> {
        self.call("DeletePlacementGroup", Family::Change, self.inner.delete_group(name)).await
    }
    async fn templates(&self, cluster: &str) -> Result<Vec<Template>, CloudError> {
        self.call("DescribeLaunchTemplates", Family::Describe, self.inner.templates(cluster)).await
    }
    async fn delete_template(&self, id: &str) -> Result<(), CloudError> {
        self.call("DeleteLaunchTemplate", Family::Change, self.inner.delete_template(id)).await
    }
    async fn reservations(&self, ids: &[String]) -> Result<Vec<Facts>, CloudError> {
        let call = self.inner.reservations(ids);
        self.call("DescribeCapacityReservations", Family::Describe, call).await
    }
    async fn create_fleet(&self, request: &FleetRequest) -> Result<FleetAnswer, CloudError> {
        // The gang has had its turn (Rates::turn): here it is only counted.
        let gang = request.tags.get("slurm-burst:gang").map_or("", String::as_str);
        let ms = self.rates.launch(gang, MOST_MS, self.now());
        self.wait("CreateFleet", ms).await?;
        let answer = self.inner.create_fleet(request).await;
        self.rates.launched(gang, &answer, self.now());
        answer
    }
    async fn describe(&self, ids: &[String]) -> Result<Vec<Instance>, CloudError> {
        let words: Vec<_> = ids.chunks(DESCRIBE_MOST).map(|part| self.post(part.to_vec())).collect();
        let mut out = Vec::with_capacity(ids.len());
        for word in words {
            let gone = |_| {
                let text = "the call was dropped".to_owned();
                own("DescribeInstances", "Internal", text, Class::Transient)
            };
            out.extend(word.await.map_err(gone)??);
        }
        Ok(out)
    }
    async fn owned(&self, cluster: &str) -> Result<Vec<Instance>, CloudError> {
        // Terminations depend on it.
        self.look("DescribeInstances", self.inner.owned(cluster)).await
    }
    async fn terminate(&self, ids: &[String]) -> Result<(), CloudError> {
        let (mut failed, mut parts) = (None, 0u32);
        let rest: Vec<String> = {
            let ended = self.ended();
            ids.iter().filter(|i| !ended.contains(*i)).cloned().collect()
        };
        for part in rest.chunks(END_MOST) {
            let count = u32::try_from(part.len()).unwrap_or(u32::MAX);
            // More than EC2's bucket holds at once: a further part waits for as long as it takes.
            let most_ms = if parts == 0 { END_MS } else { MOST_MS };
            let ms = self.rates.count_ends(count, most_ms, self.now());
            // The part before may have taken long, too.
            self.wait("TerminateInstances", ms.max(u64::from(parts > 0))).await?;
            parts += 1;
            let answer = self.inner.terminate(part).await;
            self.rates.note(Family::Terminate, &answer, self.now());
            // A part that fails does not keep the others alive, and does not end them again.
            match answer {
                Ok(()) => self.ended().extend(part.iter().cloned()),
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        match failed {
            Some(e) => Err(e),
            None => {
                let mut ended = self.ended();
                ids.iter().for_each(|i| _ = ended.remove(i));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
