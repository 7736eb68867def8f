//! The API's actions.

pub mod allocate;
pub mod catalog;
pub mod fleet;
pub mod groups;
pub mod instances;
pub mod launch;
pub mod reservations;
pub mod shared;
pub mod tags;
pub mod templates;

use crate::errors::{ApiError, ApiResult};
use crate::query::{Params, Tree};
use crate::sim::Sim;
use serde_json::Value;

/// A call that passed the checks of form.
pub struct Request<'a> {
    /// The simulator.
    pub sim: &'a Sim,
    /// Parameters as a tree.
    pub tree: Tree,
    /// Parameters as they came.
    pub params: &'a Params,
    /// The fault of this call that only CreateFleet carries out.
    pub fleet_fault: Option<crate::faults::Rule>,
}

/// Carries an action out.
pub fn run(action: &str, r: &Request<'_>) -> ApiResult<Value> {
    match action {
        "DescribeInstanceTypes" => catalog::instance_types(r),
        "DescribeInstanceTypeOfferings" => catalog::offerings(r),
        "DescribeImages" => catalog::images(r),
        "DescribeSubnets" => catalog::subnets(r),
        "DescribeSecurityGroups" => catalog::security_groups(r),
        "DescribeAvailabilityZones" => catalog::zones(r),
        "CreateLaunchTemplate" => templates::create(r),
        "DescribeLaunchTemplates" => templates::describe(r),
        "DescribeLaunchTemplateVersions" => templates::versions(r),
        "DeleteLaunchTemplate" => templates::delete(r),
        "CreatePlacementGroup" => groups::create(r),
        "DescribePlacementGroups" => groups::describe(r),
        "DeletePlacementGroup" => groups::delete(r),
        "DescribeCapacityReservations" => reservations::describe(r),
        "CreateFleet" => fleet::create(r),
        "DescribeFleets" => fleet::describe(r),
        "DescribeInstances" => instances::describe(r),
        "TerminateInstances" => instances::terminate(r),
        "CreateTags" => tags::create(r),
        "DescribeTags" => tags::describe(r),
        "GetCallerIdentity" => catalog::identity(r),
        _ => Err(ApiError::new(
            "InvalidAction",
            format!("The action {action} is not valid for this web service."),
        )),
    }
}
