//! Tags.

use super::Request;
use super::shared::{Filters, dry_run, page, read_tags};
use crate::errors::{ApiError, ApiResult};
use crate::world::{State, Tags, World};
use serde_json::{Value, json};

fn tags_mut<'w>(r: &Request<'_>, w: &'w mut World, id: &str) -> Option<&'w mut Tags> {
    let cfg = &r.sim.cfg;
    if id.starts_with("i-") {
        return w.instances.get_mut(id).filter(|i| i.state != State::Terminated).map(|i| &mut i.tags);
    }
    if id.starts_with("lt-") {
        return w.templates.get_mut(id).map(|t| &mut t.tags);
    }
    if id.starts_with("fleet-") {
        return w.fleets.get_mut(id).map(|f| &mut f.tags);
    }
    if id.starts_with("pg-") {
        return w.groups.values_mut().find(|g| g.id == id).map(|g| &mut g.tags);
    }
    let known = cfg.subnets.iter().any(|s| s.id == id)
        || cfg.images.iter().any(|s| s.id == id)
        || cfg.security_groups.iter().any(|s| s.id == id);
    known.then(|| w.other_tags.entry(id.to_owned()).or_default())
}

/// CreateTags.
pub fn create(r: &Request<'_>) -> ApiResult<Value> {
    let ids = r.tree.strings("ResourceId");
    let new = read_tags(&r.tree.list("Tag"))?;
    if ids.is_empty() {
        return Err(ApiError::missing("ResourceIdSet"));
    }
    if new.is_empty() {
        return Err(ApiError::missing("TagSet"));
    }
    if ids.len() > 1000 {
        return Err(ApiError::value(
            "ResourceIdSet",
            &ids.len().to_string(),
            "At most 1000 resources in one call.",
        ));
    }
    let mut w = r.sim.world();
    // Everything is checked before anything is written.
    for id in &ids {
        let Some(tags) = tags_mut(r, &mut w, id) else {
            let (code, what) = match id.split('-').next() {
                Some("i") => ("InvalidInstanceID.NotFound", "instance ID"),
                Some("lt") => ("InvalidLaunchTemplateId.NotFound", "launch template ID"),
                Some("pg") => ("InvalidPlacementGroupId.Unknown", "placement group ID"),
                Some("fleet") => ("InvalidFleetId.NotFound", "fleet ID"),
                Some("subnet") => ("InvalidSubnetID.NotFound", "subnet ID"),
                _ => ("InvalidID", "ID"),
            };
            return Err(ApiError::new(code, format!("The {what} '{id}' does not exist")));
        };
        let own = tags.keys().chain(new.keys()).filter(|k| !k.starts_with("aws:"));
        if own.collect::<std::collections::BTreeSet<_>>().len() > 50 {
            return Err(ApiError::new(
                "TagLimitExceeded",
                format!("The maximum number of tags for {id} is 50."),
            ));
        }
    }
    dry_run(&r.tree)?;
    for id in &ids {
        if let Some(tags) = tags_mut(r, &mut w, id) {
            tags.extend(new.clone());
        }
    }
    for i in ids.iter().filter_map(|id| w.instances.get(id)) {
        r.sim.audit.note("instance-tagged", json!({"instance_id": i.id, "tags": i.tags}));
    }
    Ok(json!({"return": true}))
}

/// DescribeTags.
pub fn describe(r: &Request<'_>) -> ApiResult<Value> {
    let filters = Filters::read(&r.tree, &["key", "value", "resource-id", "resource-type", "tag"])?;
    let w = r.sim.world();
    let mut all: Vec<(&str, &str, &Tags)> = Vec::new();
    all.extend(w.instances.values().map(|i| (i.id.as_str(), "instance", &i.tags)));
    all.extend(w.templates.values().map(|t| (t.id.as_str(), "launch-template", &t.tags)));
    all.extend(w.fleets.values().map(|f| (f.id.as_str(), "fleet", &f.tags)));
    all.extend(w.groups.values().map(|g| (g.id.as_str(), "placement-group", &g.tags)));
    all.extend(w.other_tags.iter().map(|(id, t)| {
        let kind = match id.split('-').next() {
            Some("ami") => "image",
            Some("sg") => "security-group",
            _ => "subnet",
        };
        (id.as_str(), kind, t)
    }));
    let mut list = Vec::new();
    for (id, kind, tags) in all {
        for (k, v) in tags {
            let one = Tags::from([(k.clone(), v.clone())]);
            let attribute = |n: &str| {
                vec![match n {
                    "key" => k.clone(),
                    "value" => v.clone(),
                    "resource-id" => id.to_owned(),
                    _ => kind.to_owned(),
                }]
            };
            if filters.pass(Some(&one), attribute) {
                list.push(json!({"key": k, "resourceId": id, "resourceType": kind, "value": v}));
            }
        }
    }
    let (list, next) = page(&r.tree, list, (5, 1000))?;
    dry_run(&r.tree)?;
    Ok(json!({"tagSet": list, "nextToken": next}))
}
