//! EC2 through the AWS SDK: the only crate that names `aws_*`.
//!
//! [`Ec2`] implements [`burst_cloud::Cloud`]. It spawns no process and installs no signal handler, because it runs
//! inside slurmctld; it needs a tokio runtime with time and I/O enabled around its futures and nothing else. Its
//! pooled connections live on the runtime that first used them: use one [`Ec2`] (and its clones) from one runtime.
//! CreateFleet is sent once and never again from here: whether to replay it is the journal's decision.
#![forbid(unsafe_code)]

mod call;
mod convert;
mod credentials;
mod error;
mod fleet;
mod groups;
mod instances;
pub mod layout;
mod reservations;
mod settings;
mod template;
mod whole;

pub use settings::{Settings, Timeouts};
pub use template::template_name;

use async_trait::async_trait;
use aws_sdk_ec2::{
    Client,
    config::{SharedCredentialsProvider, SharedHttpClient},
};
use burst_cloud::{
    Cloud, CloudError, FleetAnswer, FleetRequest, Group, Instance, Template, TemplateRef, TemplateSpec,
};
use burst_policy::{TypeFacts, reservation::Facts};
use std::{collections::BTreeMap, sync::Arc};

/// EC2 of one account and region.
#[derive(Debug, Clone)]
pub struct Ec2 {
    /// Everything that may be repeated.
    client: Client,
    /// CreateFleet: no retries, longer timeouts.
    launcher: Client,
    credentials: SharedCredentialsProvider,
    /// What the clients of another Region are made of.
    settings: Settings,
    http: SharedHttpClient,
}

impl Ec2 {
    /// Prepares the clients. No call is made: credentials are looked up with the first request, so that a metadata
    /// service which is slow at boot does not stop the controller from starting.
    ///
    /// # Errors
    /// Settings that cannot work (`BadSettings`).
    pub async fn new(settings: Settings) -> Result<Self, CloudError> {
        let http = settings::http();
        let credentials = credentials::chain(&settings, http.clone()).await;
        Self::with(settings, http, credentials).await
    }

    async fn with(
        settings: Settings,
        http: SharedHttpClient,
        credentials: SharedCredentialsProvider,
    ) -> Result<Self, CloudError> {
        let (client, launcher) =
            settings::clients(settings.clone(), http.clone(), credentials.clone()).await?;
        Ok(Self { client, launcher, credentials, settings, http })
    }

    /// Looks the credentials up now, without a request to EC2.
    ///
    /// # Errors
    /// `NoCredentials`, with what to configure.
    pub async fn check_credentials(&self) -> Result<(), CloudError> {
        credentials::check(&self.credentials).await
    }
}

#[async_trait]
impl Cloud for Ec2 {
    async fn region(&self, name: &str) -> Result<Arc<dyn Cloud>, CloudError> {
        let mut there = self.settings.clone();
        there.endpoint_url = there.endpoints.get(name).cloned();
        name.clone_into(&mut there.region);
        Ok(Arc::new(Self::with(there, self.http.clone(), self.credentials.clone()).await?))
    }
    async fn instance_types(&self, names: &[String]) -> Result<Vec<TypeFacts>, CloudError> {
        convert::instance_types(&self.client, names).await
    }
    async fn subnets(&self, ids: &[String]) -> Result<BTreeMap<String, (String, u32)>, CloudError> {
        convert::subnets(&self.client, ids).await
    }
    async fn ensure_template(&self, spec: &TemplateSpec) -> Result<TemplateRef, CloudError> {
        template::ensure(&self.client, spec).await
    }
    async fn site_template(&self, id_or_name: &str, needs_efa: bool) -> Result<TemplateRef, CloudError> {
        template::of_site(&self.client, id_or_name, needs_efa).await
    }
    async fn groups(&self, cluster: &str) -> Result<Vec<Group>, CloudError> {
        groups::list(&self.client, cluster).await
    }
    async fn create_group(&self, cluster: &str, name: &str) -> Result<(), CloudError> {
        groups::create(&self.client, cluster, name).await
    }
    async fn delete_group(&self, name: &str) -> Result<(), CloudError> {
        groups::delete(&self.client, name).await
    }
    async fn templates(&self, cluster: &str) -> Result<Vec<Template>, CloudError> {
        template::list(&self.client, cluster).await
    }
    async fn delete_template(&self, id: &str) -> Result<(), CloudError> {
        template::delete(&self.client, id).await
    }
    async fn reservations(&self, ids: &[String]) -> Result<Vec<Facts>, CloudError> {
        reservations::describe(&self.client, ids).await
    }
    async fn create_fleet(&self, request: &FleetRequest) -> Result<FleetAnswer, CloudError> {
        fleet::create(&self.launcher, request).await
    }
    async fn describe(&self, ids: &[String]) -> Result<Vec<Instance>, CloudError> {
        instances::describe(&self.client, ids).await
    }
    async fn owned(&self, cluster: &str) -> Result<Vec<Instance>, CloudError> {
        instances::owned(&self.client, cluster).await
    }
    async fn terminate(&self, ids: &[String]) -> Result<(), CloudError> {
        instances::terminate(&self.client, ids).await
    }
}

#[cfg(test)]
mod tests;
