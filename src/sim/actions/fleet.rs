//! CreateFleet of type instant: one synchronous attempt, whole or in part, with an error for each override that gave nothing.

use super::Request;
use super::allocate::{allocate, minimums, targets, throttle};
use super::launch::wishes;
use super::shared::{Filters, dry_run, page, remember, replay, tag_set, tag_specs, tags_of};
use crate::clock::{iso8601, now_ms};
use crate::errors::{ApiError, ApiResult};
use crate::world::{Fleet, Tags};
use serde_json::{Value, json};

/// A fleet's answer has no word of its own for a Capacity Block.
fn lifecycle(market: &str) -> &str {
    if market == "capacity-block" { "on-demand" } else { market }
}

/// CreateFleet.
pub fn create(r: &Request<'_>) -> ApiResult<Value> {
    let tree = &r.tree;
    let specs = tag_specs(tree, "TagSpecification", &["fleet", "instance", "volume", "network-interface"])?;
    let mut w = r.sim.world();
    if let Some(answer) = replay(r, &w, "CreateFleet", 64)? {
        return Ok(answer);
    }
    let targets = targets(tree)?;
    let all = wishes(&w, tree)?;
    if targets.iter().any(|t| t.market == "capacity-block") {
        let named = all.iter().map(|x| crate::reserve::Wanted::of(&x.template.data));
        super::reservations::one_block(named)?;
    }
    dry_run(tree)?;
    let now = now_ms();
    let (mut grants, mut refusals) = (Vec::new(), Vec::new());
    for t in &targets {
        let (g, e) = allocate(r, &w, t, &all, &grants);
        grants.extend(g);
        refusals.extend(e);
    }
    minimums(&targets, &mut grants);
    throttle(&mut w, &targets, &mut grants, &mut refusals, now);
    w.fleet_calls += 1;
    let fleet = r.sim.ids.fleet();
    let token = tree.str("ClientToken").map_or_else(|| r.sim.ids.uuid(), str::to_owned);
    let mut instances = Vec::new();
    let mut shown = Vec::new();
    for g in &grants {
        let Some(wish) = all.get(g.wish) else { continue };
        let own = tag_specs(
            &wish.template.data,
            "TagSpecification",
            &["instance", "volume", "network-interface", "spot-instances-request"],
        )?;
        let tags_for = |kind: &str| {
            let mut t = tags_of(&own, kind);
            t.extend(tags_of(&specs, kind));
            t
        };
        let mut tags = tags_for("instance");
        tags.extend([
            ("aws:ec2:fleet-id".to_owned(), fleet.clone()),
            ("aws:ec2launchtemplate:id".to_owned(), wish.template.id.clone()),
            ("aws:ec2launchtemplate:version".to_owned(), "1".to_owned()),
        ]);
        let order = crate::sim::Launch {
            fleet: &fleet,
            token: &token,
            market: g.market,
            pool: &g.pool,
            data: &wish.template.data,
            tags,
            extra_tags: ["volume", "network-interface"]
                .into_iter()
                .map(|k| (k.to_owned(), tags_for(k)))
                .collect(),
        };
        let ids = r.sim.launch(&mut w, &order, g.count, now);
        shown.push(json!({
            "launchTemplateAndOverrides": wish.show(), "lifecycle": lifecycle(g.market), "instanceIds": ids,
            "instanceType": g.pool.spec.name,
            "availabilityZone": g.pool.zone, "availabilityZoneId": r.sim.zone_id(&g.pool.zone), "subnetId": g.pool.subnet,
        }));
        instances.extend(ids);
    }
    let errors: Vec<Value> = refusals
        .iter()
        .filter_map(|e| {
            let wish = all.get(e.wish)?;
            Some(json!({"launchTemplateAndOverrides": wish.show(), "lifecycle": lifecycle(e.market),
                "errorCode": e.error.code, "errorMessage": e.error.message}))
        })
        .collect();
    let answer = json!({"fleetId": fleet, "errorSet": errors, "fleetInstanceSet": shown});
    let mut tags: Tags = tags_of(&specs, "fleet");
    tags.retain(|k, _| !k.starts_with("aws:"));
    w.fleets.insert(
        fleet.clone(),
        Fleet {
            id: fleet,
            created_ms: now,
            client_token: token,
            target: targets.iter().map(|t| t.units).sum(),
            tags,
            instances,
            answer: answer.clone(),
        },
    );
    remember(r, &mut w, "CreateFleet", &answer);
    Ok(answer)
}

/// DescribeFleets: instant fleets are described only when they are named.
pub fn describe(r: &Request<'_>) -> ApiResult<Value> {
    Filters::read(&r.tree, &[])?;
    let ids = r.tree.strings("FleetId");
    let w = r.sim.world();
    if let Some(bad) = ids.iter().find(|i| !w.fleets.contains_key(*i)) {
        return Err(ApiError::new("InvalidFleetId.NotFound", format!("The fleet ID '{bad}' does not exist")));
    }
    // Here EC2 names neither zone nor subnet, unlike in CreateFleet's own answer.
    let granted = |f: &Fleet| -> Value {
        let mut set = f.answer.get("fleetInstanceSet").cloned().unwrap_or_default();
        for entry in set.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            entry
                .retain(|k, _| !matches!(k.as_str(), "availabilityZone" | "availabilityZoneId" | "subnetId"));
        }
        set
    };
    let list: Vec<Value> = ids
        .iter()
        .filter_map(|i| w.fleets.get(i))
        .map(|f| {
            json!({
                "fleetId": f.id, "fleetState": "active", "type": "instant", "createTime": iso8601(f.created_ms),
                "activityStatus": if f.instances.is_empty() { "error" } else { "fulfilled" },
                "clientToken": f.client_token, "tagSet": tag_set(&f.tags),
                "fulfilledCapacity": f.instances.len() as f64,
                "targetCapacitySpecification": {"totalTargetCapacity": f.target},
                "errorSet": f.answer.get("errorSet"), "fleetInstanceSet": granted(f),
            })
        })
        .collect();
    let (list, next) = page(&r.tree, list, (1, 100))?;
    dry_run(&r.tree)?;
    Ok(json!({"fleetSet": list, "nextToken": next}))
}
