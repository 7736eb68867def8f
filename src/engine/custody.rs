//! EC2 as this machine may use it: everything may be looked at, and nothing is changed while the gate is closed.

use crate::shared::Shared;
use async_trait::async_trait;
use burst_cloud::{
    Cloud, CloudError, FleetAnswer, FleetRequest, Group, Instance, Template, TemplateRef, TemplateSpec,
};
use burst_policy::{TypeFacts, classify::Class, reservation::Facts};
use std::{collections::BTreeMap, sync::Arc};

/// A cloud behind the gate of [`crate::care::Care`].
pub struct Custody {
    inner: Arc<dyn Cloud>,
    shared: Arc<Shared>,
}

impl Custody {
    /// Puts the gate in front.
    #[must_use]
    pub fn new(inner: Arc<dyn Cloud>, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }

    fn open(&self, api: &str) -> Result<(), CloudError> {
        let Some(why) = self.shared.care.closed() else { return Ok(()) };
        Err(CloudError {
            api: api.into(),
            code: "NotAdopted".into(),
            message: why,
            class: Class::Auth,
            request_id: None,
            ambiguous: false,
        })
    }
}

#[async_trait]
impl Cloud for Custody {
    async fn region(&self, name: &str) -> Result<Arc<dyn Cloud>, CloudError> {
        Ok(Arc::new(Self { inner: self.inner.region(name).await?, shared: self.shared.clone() }))
    }
    async fn instance_types(&self, names: &[String]) -> Result<Vec<TypeFacts>, CloudError> {
        self.inner.instance_types(names).await
    }
    async fn subnets(&self, ids: &[String]) -> Result<BTreeMap<String, (String, u32)>, CloudError> {
        self.inner.subnets(ids).await
    }
    async fn ensure_template(&self, spec: &TemplateSpec) -> Result<TemplateRef, CloudError> {
        self.open("CreateLaunchTemplate")?;
        self.inner.ensure_template(spec).await
    }
    async fn site_template(&self, id_or_name: &str, needs_efa: bool) -> Result<TemplateRef, CloudError> {
        self.inner.site_template(id_or_name, needs_efa).await
    }
    async fn groups(&self, cluster: &str) -> Result<Vec<Group>, CloudError> {
        self.inner.groups(cluster).await
    }
    async fn create_group(&self, cluster: &str, name: &str) -> Result<(), CloudError> {
        self.open("CreatePlacementGroup")?;
        self.inner.create_group(cluster, name).await
    }
    async fn delete_group(&self, name: &str) -> Result<(), CloudError> {
        self.open("DeletePlacementGroup")?;
        self.inner.delete_group(name).await
    }
    async fn templates(&self, cluster: &str) -> Result<Vec<Template>, CloudError> {
        self.inner.templates(cluster).await
    }
    async fn delete_template(&self, id: &str) -> Result<(), CloudError> {
        self.open("DeleteLaunchTemplate")?;
        self.inner.delete_template(id).await
    }
    async fn reservations(&self, ids: &[String]) -> Result<Vec<Facts>, CloudError> {
        self.inner.reservations(ids).await
    }
    async fn create_fleet(&self, request: &FleetRequest) -> Result<FleetAnswer, CloudError> {
        self.open("CreateFleet")?;
        self.inner.create_fleet(request).await
    }
    async fn describe(&self, ids: &[String]) -> Result<Vec<Instance>, CloudError> {
        self.inner.describe(ids).await
    }
    async fn owned(&self, cluster: &str) -> Result<Vec<Instance>, CloudError> {
        self.inner.owned(cluster).await
    }
    async fn terminate(&self, ids: &[String]) -> Result<(), CloudError> {
        self.open("TerminateInstances")?;
        self.inner.terminate(ids).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burst_cloud::fake::FakeCloud;

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_lets_nothing_be_changed() {
        let shared = Arc::new(Shared::default());
        let gate = Custody::new(Arc::new(FakeCloud::new()), shared.clone());
        gate.create_group("c", "g").await.unwrap();
        shared.care.close("a copy".into());
        for done in [
            gate.create_group("c", "h").await,
            gate.delete_group("g").await,
            gate.terminate(&["i-1".to_owned()]).await,
        ] {
            let e = done.unwrap_err();
            assert_eq!((e.code.as_str(), e.ambiguous), ("NotAdopted", false));
            assert!(e.message.contains("burstctl adopt"), "{e}");
        }
        assert_eq!(gate.groups("c").await.unwrap().len(), 1, "looking is allowed");
    }
}
