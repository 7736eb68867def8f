//! What the engine needs of a cloud: one narrow trait, its data types, a fake in memory and a wrapper that fails on demand.
#![forbid(unsafe_code)]

pub mod failing;
pub mod fake;

use async_trait::async_trait;
use burst_plan::Market;
use burst_policy::{
    TypeFacts,
    classify::Class,
    reservation::{Facts, Reserved},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// Instances one DescribeInstances can ask for: EC2's limit of values in one filter.
pub const DESCRIBE_MOST: usize = 200;

/// What a launch template of ours is made of; equal values give one template (content-addressed).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateSpec {
    /// Cluster UUID.
    pub cluster: String,
    /// Pool name.
    pub pool: String,
    /// Type whose cards are laid out.
    pub facts: TypeFacts,
    /// EFA interfaces wanted (0: one plain interface).
    pub efa: u32,
    /// AMI id.
    pub image: String,
    /// Security groups.
    pub security_groups: Vec<String>,
    /// Instance profile name or ARN.
    pub instance_profile: Option<String>,
    /// Key pair.
    pub key_name: Option<String>,
    /// Root volume GiB, None: the image's.
    pub root_gib: Option<u32>,
    /// Public address on the primary interface.
    pub public_ip: bool,
    /// User data, plain (base64 is the adapter's).
    pub user_data: String,
    /// Reservation that its instances are launched into (`CapacityReservationTarget`); None: any open one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<Reserved>,
}

/// A launch template that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateRef {
    /// `lt-…`.
    pub id: String,
    /// Version number as text.
    pub version: String,
}

/// One CreateFleet, complete. Its JSON is journalled and replayed byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetRequest {
    /// ≤ 64 ASCII.
    pub client_token: String,
    /// Template.
    pub template: TemplateRef,
    /// Type.
    pub instance_type: String,
    /// Zone name.
    pub zone: String,
    /// Subnet id.
    pub subnet: String,
    /// Market (never Mixed).
    pub market: Market,
    /// Placement group name.
    pub group: Option<String>,
    /// TotalTargetCapacity = MinTargetCapacity.
    pub nodes: u32,
    /// `Overrides.MaxPrice`, USD text.
    pub max_price: Option<String>,
    /// Tags of fleet, instances, volumes, interfaces.
    pub tags: BTreeMap<String, String>,
    /// Reservation it is launched into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<Reserved>,
    /// Region it is launched in; None: the cloud's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// An instance a fleet granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// `i-…`.
    pub id: String,
    /// Type.
    pub instance_type: String,
    /// Zone, where the answer says it.
    pub zone: Option<String>,
}

/// One entry of CreateFleet's `Errors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetError {
    /// EC2's code.
    pub code: String,
    /// EC2's message.
    pub message: String,
    /// What it means.
    pub class: Class,
}

/// CreateFleet's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetAnswer {
    /// `fleet-…`.
    pub fleet_id: String,
    /// All instance ids of all entries.
    pub instances: Vec<Granted>,
    /// All errors.
    pub errors: Vec<FleetError>,
    /// AWS request id.
    pub request_id: Option<String>,
}

/// Lifecycle state (EC2 `InstanceStateName`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// pending
    Pending,
    /// running
    Running,
    /// shutting-down
    ShuttingDown,
    /// terminated
    Terminated,
    /// stopping
    Stopping,
    /// stopped
    Stopped,
}

impl InstanceState {
    /// Costs nothing and will not come back.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Terminated | Self::ShuttingDown)
    }
}

/// An instance as DescribeInstances shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// State.
    pub state: InstanceState,
    /// Private address, absent right after launch.
    pub ip: Option<IpAddr>,
    /// Private DNS name.
    pub dns: Option<String>,
    /// Type.
    pub instance_type: String,
    /// Zone.
    pub zone: String,
    /// Placement group, empty for none.
    pub group: String,
    /// Launch time, Unix seconds.
    pub launched: u64,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// A launch template that carries the cluster's tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// `lt-…`.
    pub id: String,
    /// Name.
    pub name: String,
    /// When it was made, Unix seconds.
    pub created: u64,
}

/// A placement group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Usable (state `available`).
    pub available: bool,
}

/// A failed call, with everything a person needs to complain to AWS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{api}: {code}: {message}{}", request_id.as_deref().map(|r| format!(" (request {r})")).unwrap_or_default())]
pub struct CloudError {
    /// API name (`CreateFleet`).
    pub api: String,
    /// EC2's code, or `Timeout`, `Connect`, `NoCredentials`, `BadAnswer` of our own.
    pub code: String,
    /// Message.
    pub message: String,
    /// What it means.
    pub class: Class,
    /// AWS request id.
    pub request_id: Option<String>,
    /// The call may have taken effect (answer lost): only a replay with the same token is safe.
    pub ambiguous: bool,
}

/// What the engine needs. Implementations retry nothing that could launch twice.
#[async_trait]
pub trait Cloud: Send + Sync + 'static {
    /// The same account in another Region. No call is made.
    async fn region(&self, name: &str) -> Result<Arc<dyn Cloud>, CloudError>;
    /// Facts of the named types (cached by the caller).
    async fn instance_types(&self, names: &[String]) -> Result<Vec<TypeFacts>, CloudError>;
    /// subnet id → (zone name, free addresses).
    async fn subnets(&self, ids: &[String]) -> Result<BTreeMap<String, (String, u32)>, CloudError>;
    /// Makes sure the content-addressed template exists.
    async fn ensure_template(&self, spec: &TemplateSpec) -> Result<TemplateRef, CloudError>;
    /// Looks up the site's own template (id or name) and its default version; `needs_efa`: refuse one without EFA interfaces.
    async fn site_template(&self, id_or_name: &str, needs_efa: bool) -> Result<TemplateRef, CloudError>;
    /// Our placement groups (by cluster tag).
    async fn groups(&self, cluster: &str) -> Result<Vec<Group>, CloudError>;
    /// Creates a cluster placement group; one that exists already is success.
    async fn create_group(&self, cluster: &str, name: &str) -> Result<(), CloudError>;
    /// Deletes a placement group; one that is gone is success.
    async fn delete_group(&self, name: &str) -> Result<(), CloudError>;
    /// Our launch templates (by cluster tag).
    async fn templates(&self, cluster: &str) -> Result<Vec<Template>, CloudError>;
    /// Deletes a launch template; one that is gone is success. Instances that were launched from it live on.
    async fn delete_template(&self, id: &str) -> Result<(), CloudError>;
    /// What EC2 says of capacity reservations; ids that it does not know are absent from the answer, not an error.
    async fn reservations(&self, ids: &[String]) -> Result<Vec<Facts>, CloudError>;
    /// One CreateFleet (instant). Never retried inside.
    async fn create_fleet(&self, request: &FleetRequest) -> Result<FleetAnswer, CloudError>;
    /// Instances by id; ids EC2 does not know (yet) are absent from the answer, not an error.
    async fn describe(&self, ids: &[String]) -> Result<Vec<Instance>, CloudError>;
    /// Every instance with the cluster's tag that is not terminated.
    async fn owned(&self, cluster: &str) -> Result<Vec<Instance>, CloudError>;
    /// Terminates in batches; ids that are gone are success.
    async fn terminate(&self, ids: &[String]) -> Result<(), CloudError>;
}
