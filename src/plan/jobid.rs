//! Job identifiers as users write them: `12`, `12_3`, `12_[3-5]`, `12+1`.
use serde::{Deserialize, Serialize};

/// A parsed job identifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Base job id.
    pub job: u32,
    /// Array tasks named, empty for the whole job.
    pub tasks: Vec<u32>,
    /// Het component.
    pub het: Option<u32>,
}
