//! Placement groups.

use super::Request;
use super::shared::{Filters, dry_run, tag_set, tag_specs, tags_of};
use crate::errors::{ApiError, ApiResult};
use crate::world::{Group, State};
use serde_json::{Value, json};

const LIMIT: usize = 500;

/// CreatePlacementGroup.
pub fn create(r: &Request<'_>) -> ApiResult<Value> {
    let name = r.tree.need("GroupName")?;
    if name.len() > 255 || !name.is_ascii() {
        return Err(ApiError::value("GroupName", name, "Expected at most 255 ASCII characters."));
    }
    let strategy = r.tree.str("Strategy").unwrap_or("cluster");
    if strategy == "precision-time"
        || r.tree.str("LinkedGroupId").is_some()
        || r.tree.str("ParentGroupId").is_some()
    {
        return Err(ApiError::new("UnsupportedOperation", "This kind of placement group is not simulated."));
    }
    let partitions = r.tree.int("PartitionCount");
    if partitions.is_some() && strategy != "partition" {
        return Err(ApiError::new(
            "InvalidParameterCombination",
            "PartitionCount is valid only when Strategy is set to partition.",
        ));
    }
    let tags = tags_of(&tag_specs(&r.tree, "TagSpecification", &["placement-group"])?, "placement-group");
    let mut w = r.sim.world();
    if w.groups.contains_key(name) {
        return Err(ApiError::new(
            "InvalidPlacementGroup.Duplicate",
            format!("The Placement Group '{name}' already exists."),
        ));
    }
    if w.groups.len() >= LIMIT {
        return Err(ApiError::new(
            "PlacementGroupLimitExceeded",
            format!("The maximum number of placement groups ({LIMIT}) has been reached."),
        ));
    }
    dry_run(&r.tree)?;
    let g = Group {
        id: r.sim.ids.resource("pg"),
        name: name.to_owned(),
        strategy: strategy.to_owned(),
        partitions: partitions.or((strategy == "partition").then_some(2)),
        spread: (strategy == "spread").then(|| r.tree.str("SpreadLevel").unwrap_or("rack").to_owned()),
        tags,
    };
    let shown = show(r, &g);
    w.groups.insert(g.name.clone(), g);
    Ok(json!({"placementGroup": shown}))
}

fn show(r: &Request<'_>, g: &Group) -> Value {
    json!({
        "groupName": g.name, "groupId": g.id, "state": "available", "strategy": g.strategy,
        "partitionCount": g.partitions, "spreadLevel": g.spread, "tagSet": tag_set(&g.tags),
        "groupArn": format!("arn:aws:ec2:{}:{}:placement-group/{}", r.sim.cfg.region, r.sim.cfg.account, g.name),
    })
}

/// The error for a group that is not there.
pub fn unknown(name: &str) -> ApiError {
    ApiError::new("InvalidPlacementGroup.Unknown", format!("The Placement Group '{name}' is unknown."))
}

/// The error for a cluster group that would span two zones.
pub fn one_zone(name: &str, has: &str, wanted: &str) -> ApiError {
    ApiError::new(
        "InvalidParameterCombination",
        format!(
            "The cluster placement group '{name}' has instances in Availability Zone {has}; it cannot span to {wanted}."
        ),
    )
}

/// DescribePlacementGroups.
pub fn describe(r: &Request<'_>) -> ApiResult<Value> {
    let filters =
        Filters::read(&r.tree, &["group-name", "group-arn", "state", "strategy", "spread-level", "tag"])?;
    let (names, ids) = (r.tree.strings("GroupName"), r.tree.strings("GroupId"));
    let w = r.sim.world();
    if let Some(n) = names.iter().find(|n| !w.groups.contains_key(*n)) {
        return Err(unknown(n));
    }
    if let Some(id) = ids.iter().find(|i| !w.groups.values().any(|g| g.id == **i)) {
        return Err(ApiError::new(
            "InvalidPlacementGroupId.Unknown",
            format!("The Placement Group '{id}' is unknown."),
        ));
    }
    dry_run(&r.tree)?;
    let list: Vec<Value> = w
        .groups
        .values()
        .filter(|g| (names.is_empty() && ids.is_empty()) || names.contains(&g.name) || ids.contains(&g.id))
        .filter(|g| {
            filters.pass(Some(&g.tags), |n| match n {
                "group-name" => vec![g.name.clone()],
                "state" => vec!["available".into()],
                "strategy" => vec![g.strategy.clone()],
                "spread-level" => g.spread.iter().cloned().collect(),
                _ => vec![format!(
                    "arn:aws:ec2:{}:{}:placement-group/{}",
                    r.sim.cfg.region, r.sim.cfg.account, g.name
                )],
            })
        })
        .map(|g| show(r, g))
        .collect();
    Ok(json!({"placementGroupSet": list}))
}

/// DeletePlacementGroup.
pub fn delete(r: &Request<'_>) -> ApiResult<Value> {
    let name = r.tree.need("GroupName")?;
    let mut w = r.sim.world();
    if !w.groups.contains_key(name) {
        return Err(unknown(name));
    }
    if w.instances.values().any(|i| i.state != State::Terminated && i.group.as_deref() == Some(name)) {
        return Err(ApiError::new(
            "InvalidPlacementGroup.InUse",
            format!("The placement group '{name}' is in use and may not be deleted."),
        ));
    }
    dry_run(&r.tree)?;
    w.groups.remove(name);
    Ok(json!({"return": true}))
}
