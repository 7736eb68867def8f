//! Placement groups.
use crate::{call::call, convert::filter, fleet::tags};
use aws_sdk_ec2::{
    Client,
    types::{PlacementGroupState, PlacementStrategy, ResourceType},
};
use burst_cloud::{CloudError, Group};
use std::collections::BTreeMap;

/// The tag that says which cluster a thing belongs to.
pub(crate) const CLUSTER: &str = "slurm-burst:cluster";

/// Groups with the cluster's tag that are not on their way out.
pub(crate) async fn list(client: &Client, cluster: &str) -> Result<Vec<Group>, CloudError> {
    let mine = filter(&format!("tag:{CLUSTER}"), &[cluster.to_owned()]);
    let out =
        call("DescribePlacementGroups", client.describe_placement_groups().filters(mine).send()).await?;
    Ok(out
        .placement_groups()
        .iter()
        .filter(|g| !matches!(g.state(), Some(PlacementGroupState::Deleting | PlacementGroupState::Deleted)))
        .filter_map(|g| {
            Some(Group {
                name: g.group_name()?.to_owned(),
                available: g.state() == Some(&PlacementGroupState::Available),
            })
        })
        .collect())
}

/// Creates one of strategy `cluster`.
pub(crate) async fn create(client: &Client, cluster: &str, name: &str) -> Result<(), CloudError> {
    let owner = BTreeMap::from([(CLUSTER.to_owned(), cluster.to_owned())]);
    let request = client
        .create_placement_group()
        .group_name(name)
        .strategy(PlacementStrategy::Cluster)
        .tag_specifications(tags(ResourceType::PlacementGroup, &owner));
    match call("CreatePlacementGroup", request.send()).await {
        Err(e) if e.code != "InvalidPlacementGroup.Duplicate" => Err(e),
        _ => Ok(()),
    }
}

/// Deletes one.
pub(crate) async fn delete(client: &Client, name: &str) -> Result<(), CloudError> {
    match call("DeletePlacementGroup", client.delete_placement_group().group_name(name).send()).await {
        Err(e) if e.code != "InvalidPlacementGroup.Unknown" => Err(e),
        _ => Ok(()),
    }
}
