//! One table from EC2's error codes to what they mean for a gang.
use serde::{Deserialize, Serialize};

/// What an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Too many calls; never missing capacity.
    Throttle,
    /// No capacity in (type, zone, market).
    Capacity,
    /// Account quota.
    Quota,
    /// Subnet has too few addresses.
    Subnet,
    /// Credentials or permissions.
    Auth,
    /// The site's configuration is wrong.
    Configuration,
    /// A thing is not there (yet).
    NotFound,
    /// Try again.
    Transient,
    /// Not in the table: shown, counted, treated as transient with a limit.
    Unknown,
}

/// Classifies by code; `message` only where there is no code.
#[must_use]
pub fn classify(code: &str, message: &str) -> Class {
    let _ = (code, message);
    Class::Unknown
}
