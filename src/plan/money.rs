//! Money as integer micro-dollars.
use serde::{Deserialize, Serialize};

/// US dollars × 10⁻⁶. Arithmetic saturates: a limit must never be passed by overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroUsd(pub u64);
