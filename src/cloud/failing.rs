//! A wrapper that fails on demand.
//!
//! Faults are programmed per API name (`CreateFleet`) and call number, and say on which side of the effect they
//! happen: refused before, or done and the answer lost.
use crate::{
    Cloud, CloudError, FleetAnswer, FleetRequest, Group, Instance, Template, TemplateRef, TemplateSpec,
};
use async_trait::async_trait;
use burst_policy::{TypeFacts, classify::Class, reservation::Facts};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Refused with this code and class; nothing was done.
    Refuse(String, Class),
    /// RequestLimitExceeded; nothing was done.
    Throttle,
    /// The connection was refused; nothing was done.
    Unreachable,
    /// The request was lost on its way, and the caller cannot know: nothing was done, the error is ambiguous.
    LostRequest,
    /// It was done, and the answer was lost: the error is ambiguous.
    LostAnswer,
    /// It is done after a while.
    Delay(Duration),
    /// Done, then no answer ever comes.
    Hang,
}

#[derive(Debug, Clone)]
struct Rule {
    api: String,
    /// First and last call of that API (1-based) it applies to.
    from: u64,
    to: u64,
    fault: Fault,
}

#[derive(Debug, Default)]
struct Schedule {
    rules: Vec<Rule>,
    seen: BTreeMap<String, u64>,
}

/// A cloud that fails by schedule.
#[derive(Debug)]
pub struct Failing<C> {
    inner: C,
    schedule: Arc<Mutex<Schedule>>,
}

impl<C: Clone> Clone for Failing<C> {
    /// Clones share the schedule.
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), schedule: Arc::clone(&self.schedule) }
    }
}

impl<C> Failing<C> {
    /// Wraps a cloud; without rules nothing changes.
    pub fn new(inner: C) -> Self {
        Self { inner, schedule: Arc::default() }
    }
    /// The cloud behind.
    pub fn inner(&self) -> &C {
        &self.inner
    }
    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The next `times` calls of an API fail so.
    pub fn next(&self, api: &str, times: u64, fault: Fault) {
        let mut s = self.schedule();
        let from = s.seen.get(api).copied().unwrap_or(0) + 1;
        s.rules.push(Rule { api: api.into(), from, to: from.saturating_add(times).saturating_sub(1), fault });
    }
    /// The n-th call (1-based, counted from the beginning) fails so.
    pub fn nth(&self, api: &str, n: u64, fault: Fault) {
        self.schedule().rules.push(Rule { api: api.into(), from: n, to: n, fault });
    }
    /// Every call fails so until [`Failing::heal`].
    pub fn always(&self, api: &str, fault: Fault) {
        self.next(api, u64::MAX, fault);
    }
    /// Forgets all faults of an API.
    pub fn heal(&self, api: &str) {
        self.schedule().rules.retain(|r| r.api != api);
    }
    /// Calls of an API so far, failed ones included.
    #[must_use]
    pub fn seen(&self, api: &str) -> u64 {
        self.schedule().seen.get(api).copied().unwrap_or(0)
    }

    fn fault(&self, api: &str) -> Option<Fault> {
        let mut s = self.schedule();
        let seen = s.seen.entry(api.into()).or_insert(0);
        *seen += 1;
        let n = *seen;
        s.rules.iter().find(|r| r.api == api && (r.from..=r.to).contains(&n)).map(|r| r.fault.clone())
    }

    /// `future` is lazy: what is not awaited is not done.
    async fn run<T>(
        &self,
        api: &str,
        future: impl Future<Output = Result<T, CloudError>>,
    ) -> Result<T, CloudError> {
        let error = |code: &str, message: &str, class, ambiguous: bool| {
            Err(CloudError {
                api: api.into(),
                code: code.into(),
                message: message.into(),
                class,
                request_id: Some("11111111-1111-4111-8111-111111111111".into()).filter(|_| !ambiguous),
                ambiguous,
            })
        };
        match self.fault(api) {
            None => future.await,
            Some(Fault::Refuse(code, class)) => error(&code, "refused by schedule", class, false),
            Some(Fault::Throttle) => {
                error("RequestLimitExceeded", "Request limit exceeded.", Class::Throttle, false)
            }
            Some(Fault::Unreachable) => error("Connect", "connection refused", Class::Transient, false),
            Some(Fault::LostRequest) => error("Timeout", "no answer in time", Class::Transient, true),
            Some(Fault::LostAnswer) => {
                future.await?;
                error("Timeout", "no answer in time", Class::Transient, true)
            }
            Some(Fault::Delay(wait)) => {
                tokio::time::sleep(wait).await;
                future.await
            }
            Some(Fault::Hang) => {
                future.await?;
                std::future::pending().await
            }
        }
    }
}

#[async_trait]
impl<C: Cloud> Cloud for Failing<C> {
    /// Another Region does not fail.
    async fn region(&self, name: &str) -> Result<Arc<dyn Cloud>, CloudError> {
        self.inner.region(name).await
    }
    async fn instance_types(&self, names: &[String]) -> Result<Vec<TypeFacts>, CloudError> {
        self.run("DescribeInstanceTypes", self.inner.instance_types(names)).await
    }
    async fn subnets(&self, ids: &[String]) -> Result<BTreeMap<String, (String, u32)>, CloudError> {
        self.run("DescribeSubnets", self.inner.subnets(ids)).await
    }
    async fn ensure_template(&self, spec: &TemplateSpec) -> Result<TemplateRef, CloudError> {
        self.run("CreateLaunchTemplate", self.inner.ensure_template(spec)).await
    }
    async fn site_template(&self, id_or_name: &str, needs_efa: bool) -> Result<TemplateRef, CloudError> {
        self.run("DescribeLaunchTemplateVersions", self.inner.site_template(id_or_name, needs_efa)).await
    }
    async fn groups(&self, cluster: &str) -> Result<Vec<Group>, CloudError> {
        self.run("DescribePlacementGroups", self.inner.groups(cluster)).await
    }
    async fn create_group(&self, cluster: &str, name: &str) -> Result<(), CloudError> {
        self.run("CreatePlacementGroup", self.inner.create_group(cluster, name)).await
    }
    async fn delete_group(&self, name: &str) -> Result<(), CloudError> {
        self.run("DeletePlacementGroup", self.inner.delete_group(name)).await
    }
    async fn templates(&self, cluster: &str) -> Result<Vec<Template>, CloudError> {
        self.run("DescribeLaunchTemplates", self.inner.templates(cluster)).await
    }
    async fn delete_template(&self, id: &str) -> Result<(), CloudError> {
        self.run("DeleteLaunchTemplate", self.inner.delete_template(id)).await
    }
    async fn reservations(&self, ids: &[String]) -> Result<Vec<Facts>, CloudError> {
        self.run("DescribeCapacityReservations", self.inner.reservations(ids)).await
    }
    async fn create_fleet(&self, request: &FleetRequest) -> Result<FleetAnswer, CloudError> {
        self.run("CreateFleet", self.inner.create_fleet(request)).await
    }
    async fn describe(&self, ids: &[String]) -> Result<Vec<Instance>, CloudError> {
        self.run("DescribeInstances", self.inner.describe(ids)).await
    }
    async fn owned(&self, cluster: &str) -> Result<Vec<Instance>, CloudError> {
        self.run("DescribeInstances", self.inner.owned(cluster)).await
    }
    async fn terminate(&self, ids: &[String]) -> Result<(), CloudError> {
        self.run("TerminateInstances", self.inner.terminate(ids)).await
    }
}

#[cfg(test)]
#[path = "failing_tests.rs"]
mod tests;
