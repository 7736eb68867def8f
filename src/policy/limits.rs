//! Every limit that is not the site's to set, with its why.

/// Paid attempts of one job without an operator (law 7): the second may be bad luck, the third is a fault.
pub const PAID_ATTEMPTS: u32 = 2;
/// Shortest time EC2 bills an instance for, seconds (EC2 pricing: per second, one minute at least).
pub const BILLED_LEAST_S: u64 = 60;
/// CreateFleet's largest MinTargetCapacity (EC2 API reference).
pub const FLEET_MOST: u32 = 1_000;
/// Largest gang: its document, with all its instances, is written at each step.
pub const GANG_MOST: u32 = 4_000;
/// Hours of a month, as EBS prices are given.
pub const MONTH_HOURS: u64 = 730;
/// GiB a root volume is counted with where a pool leaves its size to the image: more than images usually have.
pub const ROOT_GIB_ASSUMED: u32 = 128;
/// A job that uses less than this share of its gang's CPUs is warned (per cent).
pub const SMALL_USE_PERCENT: u64 = 50;
