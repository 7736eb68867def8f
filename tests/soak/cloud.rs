//! EC2 with its moods: slow, throttled, without capacity, answers lost on the way; what was asked for happens even if
//! who asked is gone.

use crate::{dice::Dice, laws::Laws, life::Disk, parts, published::Published};
use async_trait::async_trait;
use burst_cloud::{
    Cloud, CloudError, FleetAnswer, FleetRequest, Group, Instance, Template, TemplateRef, TemplateSpec,
    fake::{FakeCloud, refusal},
};
use burst_policy::{TypeFacts, classify::Class, reservation::Facts};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How bad things are, in thousandths; 0 at the story's end. And how late answers to TerminateInstances come, ms.
#[derive(Clone, Default)]
pub struct Mood(Arc<AtomicU64>, Arc<AtomicU64>);

impl Mood {
    /// Sets it.
    pub fn set(&self, per_mille: u64) {
        self.0.store(per_mille, Ordering::Relaxed);
    }
    /// EC2 does at once what TerminateInstances asks for, and answers so late.
    pub fn ends_late(&self, ms: u64) {
        self.1.store(ms, Ordering::Relaxed);
    }
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one life of the engine sees of EC2.
#[derive(Clone)]
pub struct Moody {
    /// EC2 itself.
    pub inner: FakeCloud,
    /// Chance and time.
    pub dice: Dice,
    /// Protocol.
    pub laws: Laws,
    /// How bad it is.
    pub mood: Mood,
    /// EC2's throttling, where the story has it.
    pub published: Option<Published>,
    /// The journal, in which an intent has to be before it leaves.
    pub disk: Disk,
    /// When this life stopped being the active controller, true ms; 0: it is.
    pub passive_since: Arc<AtomicU64>,
}

/// A call that began so long after its controller became passive was not just under way (ms).
pub const UNDER_WAY_MS: u64 = 2_500;

fn lost(api: &str) -> CloudError {
    CloudError {
        ambiguous: true,
        request_id: None,
        ..refusal(api, "Timeout", "no answer came", Class::Transient)
    }
}

impl Moody {
    async fn call<T: Send + 'static>(
        &self,
        api: &'static str,
        changes: bool,
        effect: impl Future<Output = Result<T, CloudError>> + Send + 'static,
    ) -> Result<T, CloudError> {
        let since = self.passive_since.load(Ordering::Relaxed);
        let now = self.dice.true_ms();
        if changes && since > 0 && now > since + UNDER_WAY_MS {
            self.laws
                .broke(self.dice.passed_ms(), format!("{api} by a controller that is not the active one"));
        }
        if let Some(p) = self.published.as_ref().filter(|p| !p.request(api, self.dice.passed_ms())) {
            return Err(p.refuse(api));
        }
        let bad = self.mood.get();
        let slow = if self.dice.chance(bad / 4) { 20_000 } else { 120 };
        let (before, after) = (self.dice.ms(1, slow), self.dice.ms(1, slow));
        tokio::time::sleep(before / 4).await;
        if self.dice.chance(bad) {
            self.laws.count("faults");
            match self.dice.range(0, 4) {
                0 => {
                    return Err(refusal(
                        api,
                        "RequestLimitExceeded",
                        "Request limit exceeded.",
                        Class::Throttle,
                    ));
                }
                1 => {
                    return Err(refusal(
                        api,
                        "InternalError",
                        "An internal error has occurred",
                        Class::Transient,
                    ));
                }
                2 => return Err(refusal(api, "Connect", "connection refused", Class::Transient)),
                // The request never arrived, and nobody can know.
                _ => return Err(lost(api)),
            }
        }
        // From here on it is EC2's: it happens although the caller may be gone.
        let answer = tokio::spawn(async move {
            tokio::time::sleep(before).await;
            effect.await
        });
        let answer = answer.await.expect("a call does not panic");
        tokio::time::sleep(after).await;
        if self.dice.chance(bad) {
            self.laws.count("faults");
            return Err(lost(api));
        }
        answer
    }
}

/// An orphan may belong to an answer that is still on its way until it is so old (EC2 counts in seconds), ms.
const GRACE_MS: u64 = 29_000;

impl Moody {
    /// Law 3: what collection ends is old enough. Its kills are in the audit before they are asked for.
    fn spares_the_young(&self, ids: &[String]) {
        let asked = |id: &String| {
            let db = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
            let sql = "SELECT count(*) FROM audit WHERE what = 'instance' AND name = ?1 AND result = 'asked'";
            db.query_row(sql, [id], |r| r.get::<_, i64>(0)).is_ok_and(|n| n > 0)
        };
        for one in self.inner.instances().iter().filter(|i| ids.contains(&i.id) && asked(&i.id)) {
            let age = self.dice.true_ms().saturating_sub(one.launched * 1_000);
            self.laws.count("collected");
            if age + self.dice.jumped_ms() < GRACE_MS {
                let text = format!("{} was collected {age} ms after its launch", one.id);
                self.laws.broke(self.dice.passed_ms(), text);
            }
        }
    }
}

#[async_trait]
impl Cloud for Moody {
    async fn region(&self, name: &str) -> Result<Arc<dyn Cloud>, CloudError> {
        Ok(Arc::new(Self { inner: self.inner.in_region(name), ..self.clone() }))
    }
    async fn instance_types(&self, names: &[String]) -> Result<Vec<TypeFacts>, CloudError> {
        let (c, names) = (self.inner.clone(), names.to_vec());
        self.call("DescribeInstanceTypes", false, async move { c.instance_types(&names).await }).await
    }
    async fn subnets(&self, ids: &[String]) -> Result<BTreeMap<String, (String, u32)>, CloudError> {
        let (c, ids) = (self.inner.clone(), ids.to_vec());
        self.call("DescribeSubnets", false, async move { c.subnets(&ids).await }).await
    }
    async fn ensure_template(&self, spec: &TemplateSpec) -> Result<TemplateRef, CloudError> {
        let (c, spec) = (self.inner.clone(), spec.clone());
        self.call("CreateLaunchTemplate", true, async move { c.ensure_template(&spec).await }).await
    }
    async fn site_template(&self, id_or_name: &str, needs_efa: bool) -> Result<TemplateRef, CloudError> {
        let (c, id) = (self.inner.clone(), id_or_name.to_owned());
        self.call("DescribeLaunchTemplates", false, async move { c.site_template(&id, needs_efa).await })
            .await
    }
    async fn groups(&self, cluster: &str) -> Result<Vec<Group>, CloudError> {
        let (c, cluster) = (self.inner.clone(), cluster.to_owned());
        self.call("DescribePlacementGroups", false, async move { c.groups(&cluster).await }).await
    }
    async fn create_group(&self, cluster: &str, name: &str) -> Result<(), CloudError> {
        let (c, cluster, name) = (self.inner.clone(), cluster.to_owned(), name.to_owned());
        self.call("CreatePlacementGroup", true, async move { c.create_group(&cluster, &name).await }).await
    }
    async fn delete_group(&self, name: &str) -> Result<(), CloudError> {
        let (c, name) = (self.inner.clone(), name.to_owned());
        self.call("DeletePlacementGroup", true, async move { c.delete_group(&name).await }).await
    }
    async fn templates(&self, cluster: &str) -> Result<Vec<Template>, CloudError> {
        let (c, cluster) = (self.inner.clone(), cluster.to_owned());
        self.call("DescribeLaunchTemplates", false, async move { c.templates(&cluster).await }).await
    }
    async fn delete_template(&self, id: &str) -> Result<(), CloudError> {
        let (c, id) = (self.inner.clone(), id.to_owned());
        self.call("DeleteLaunchTemplate", true, async move { c.delete_template(&id).await }).await
    }
    async fn reservations(&self, ids: &[String]) -> Result<Vec<Facts>, CloudError> {
        let (c, ids) = (self.inner.clone(), ids.to_vec());
        self.call("DescribeCapacityReservations", false, async move { c.reservations(&ids).await }).await
    }
    async fn create_fleet(&self, request: &FleetRequest) -> Result<FleetAnswer, CloudError> {
        let (c, request) = (self.inner.clone(), request.clone());
        let (dice, laws) = (self.dice.clone(), self.laws.clone());
        let (nodes, at) = (u64::from(request.nodes), self.dice.passed_ms());
        if !parts::journalled(&self.disk, &request) {
            let gang = request.tags.get("slurm-burst:gang").cloned().unwrap_or_default();
            self.laws.broke(at, format!("gang {gang}: CreateFleet of an intent that is not in the journal"));
        }
        if let Some(p) = self.published.as_ref().filter(|p| !p.launches(nodes, at)) {
            return Err(p.refuse("CreateFleet"));
        }
        let effect = async move {
            let answer = c.create_fleet(&request).await;
            let text = match &answer {
                Ok(a) => format!("{} instances, {} errors", a.instances.len(), a.errors.len()),
                Err(e) => e.code.clone(),
            };
            if let Ok(a) = &answer {
                crate::reserves::seen(&request, a, &laws, dice.passed_ms());
            }
            let gang = request.tags.get("slurm-burst:gang").cloned().unwrap_or_default();
            laws.note(dice.passed_ms(), format!("ec2    {gang}: CreateFleet of {}: {text}", request.nodes));
            answer
        };
        self.call("CreateFleet", true, effect).await
    }
    async fn describe(&self, ids: &[String]) -> Result<Vec<Instance>, CloudError> {
        let (c, ids) = (self.inner.clone(), ids.to_vec());
        self.call("DescribeInstances", false, async move { c.describe(&ids).await }).await
    }
    async fn owned(&self, cluster: &str) -> Result<Vec<Instance>, CloudError> {
        let (c, cluster) = (self.inner.clone(), cluster.to_owned());
        self.call("DescribeInstances", false, async move { c.owned(&cluster).await }).await
    }
    async fn terminate(&self, ids: &[String]) -> Result<(), CloudError> {
        let (c, ids) = (self.inner.clone(), ids.to_vec());
        let (dice, laws) = (self.dice.clone(), self.laws.clone());
        self.spares_the_young(&ids);
        let effect = async move {
            laws.note(dice.passed_ms(), format!("ec2    TerminateInstances {}", ids.join(" ")));
            c.terminate(&ids).await
        };
        let answer = self.call("TerminateInstances", true, effect).await;
        tokio::time::sleep(std::time::Duration::from_millis(self.mood.1.load(Ordering::Relaxed))).await;
        answer
    }
}
