//! Describing and ending instances.

use super::Request;
use super::shared::{Filters, dry_run, page, tag_set};
use crate::clock::{iso8601, now_ms};
use crate::errors::{ApiError, ApiResult};
use crate::ids::well_formed;
use crate::specs;
use crate::world::{Instance, State, World};
use serde_json::{Map, Value, json};

fn check_ids(ids: &[String]) -> ApiResult<()> {
    match ids.iter().find(|i| !well_formed(i, "i")) {
        Some(bad) => Err(ApiError::new(
            "InvalidInstanceID.Malformed",
            format!("Invalid id: \"{bad}\" (expecting \"i-...\")"),
        )),
        None => Ok(()),
    }
}

fn not_found(missing: &[&str]) -> ApiError {
    let text = match missing {
        [one] => format!("The instance ID '{one}' does not exist"),
        many => format!("The instance IDs '{}' do not exist", many.join(", ")),
    };
    ApiError::new("InvalidInstanceID.NotFound", text)
}

const FILTERS: &[&str] = &[
    "instance-state-name",
    "instance-state-code",
    "instance-id",
    "instance-type",
    "instance-lifecycle",
    "availability-zone",
    "placement-group-name",
    "image-id",
    "client-token",
    "subnet-id",
    "vpc-id",
    "private-ip-address",
    "private-dns-name",
    "reservation-id",
    "tag",
];

fn attribute(r: &Request<'_>, i: &Instance, name: &str) -> Vec<String> {
    let one = match name {
        "instance-state-name" => i.state.name().into(),
        "instance-state-code" => i.state.code().to_string(),
        "instance-id" => i.id.clone(),
        "instance-type" => i.itype.clone(),
        "instance-lifecycle" if i.market == "spot" => "spot".into(),
        "availability-zone" => i.zone.clone(),
        "placement-group-name" => return i.group.iter().cloned().collect(),
        "image-id" => i.image.clone(),
        "client-token" => i.client_token.clone(),
        "subnet-id" => i.subnet.clone(),
        "vpc-id" => r.sim.cfg.vpc.clone(),
        "private-ip-address" => i.private_ip.clone(),
        "private-dns-name" => i.private_dns.clone(),
        "reservation-id" => i.reservation.clone(),
        _ => return Vec::new(),
    };
    vec![one]
}

/// Whether the API shows an instance yet: what was launched a moment ago is not known everywhere.
fn seen(w: &World, i: &Instance, now: u64) -> bool {
    i.launched_ms.saturating_add(w.knobs.consistency_ms) <= now
}

/// The ids that the API does not know (yet).
fn unseen<'a>(w: &World, ids: &'a [String], now: u64) -> Vec<&'a str> {
    let known = |id: &&String| w.instances.get(*id).is_some_and(|i| seen(w, i, now));
    ids.iter().filter(|id| !known(id)).map(String::as_str).collect()
}

/// DescribeInstances.
pub fn describe(r: &Request<'_>) -> ApiResult<Value> {
    let ids = r.tree.strings("InstanceId");
    let filters = Filters::read(&r.tree, FILTERS)?;
    check_ids(&ids)?;
    if !ids.is_empty() && r.tree.int("MaxResults").is_some() {
        return Err(ApiError::new(
            "InvalidParameterCombination",
            "The parameter instancesSet cannot be used with the parameter maxResults",
        ));
    }
    let now = now_ms();
    let mut w = r.sim.world();
    w.forget(now);
    let visible = |i: &Instance| seen(&w, i, now);
    let missing = unseen(&w, &ids, now);
    if !missing.is_empty() {
        return Err(not_found(&missing));
    }
    let mut list: Vec<&Instance> = if ids.is_empty() {
        w.instances.values().filter(|i| visible(i)).collect()
    } else {
        let unique: std::collections::BTreeSet<&String> = ids.iter().collect();
        unique.into_iter().filter_map(|id| w.instances.get(id)).collect()
    };
    list.retain(|i| filters.pass(Some(&i.tags), |n| attribute(r, i, n)));
    list.sort_by_key(|i| i.seq);
    let (list, next) = page(&r.tree, list, (5, 1000))?;
    dry_run(&r.tree)?;
    let mut reservations: Vec<(String, Vec<Value>)> = Vec::new();
    for i in list {
        let shown = show(r, &w, i, now);
        match reservations.last_mut() {
            Some((id, members)) if *id == i.reservation => members.push(shown),
            _ => reservations.push((i.reservation.clone(), vec![shown])),
        }
    }
    let set: Vec<Value> = reservations
        .into_iter()
        .map(|(id, members)| {
            json!({"reservationId": id, "ownerId": r.sim.cfg.account, "groupSet": [], "instancesSet": members})
        })
        .collect();
    Ok(json!({"reservationSet": set, "nextToken": next}))
}

fn group_set(r: &Request<'_>, ids: &[String]) -> Value {
    ids.iter()
        .map(|id| {
            let name = r.sim.cfg.security_groups.iter().find(|g| g.id == *id).map_or("", |g| g.name.as_str());
            json!({"groupId": id, "groupName": name})
        })
        .collect()
}

fn show(r: &Request<'_>, w: &World, i: &Instance, now: u64) -> Value {
    let cfg = &r.sim.cfg;
    let live = i.state != State::Terminated;
    let addressed = live && i.launched_ms.saturating_add(w.knobs.address_ms) <= now;
    let spec = specs::find(&i.itype);
    let text = |path: &str| i.data.str(path);
    let mut m = Map::new();
    let mut put = |k: &str, v: Value| {
        m.insert(k.to_owned(), v);
    };
    put("instanceId", json!(i.id));
    put("imageId", json!(i.image));
    put("instanceState", json!({"code": i.state.code(), "name": i.state.name()}));
    put("privateDnsName", json!(if addressed { i.private_dns.as_str() } else { "" }));
    put("dnsName", json!(""));
    put("reason", json!(i.reason.as_ref().map_or("", |(_, t)| t.as_str())));
    if let Some((code, message)) = &i.reason {
        put("stateReason", json!({"code": code, "message": message}));
    }
    put("keyName", json!(text("KeyName")));
    put("amiLaunchIndex", json!(i.index));
    put("productCodes", json!([]));
    put("instanceType", json!(i.itype));
    put("launchTime", json!(iso8601(i.launched_ms)));
    put(
        "placement",
        json!({
            "availabilityZone": i.zone, "availabilityZoneId": r.sim.zone_id(&i.zone),
            "groupName": i.group.clone().unwrap_or_default(), "tenancy": "default",
            "groupId": i.group.as_ref().and_then(|g| w.groups.get(g)).map(|g| g.id.clone()),
        }),
    );
    put(
        "monitoring",
        json!({"state": if i.data.flag("Monitoring.Enabled") { "enabled" } else { "disabled" }}),
    );
    put("architecture", json!(spec.and_then(|s| s.architectures().into_iter().next())));
    put("rootDeviceType", json!("ebs"));
    put("rootDeviceName", json!("/dev/sda1"));
    put("virtualizationType", json!("hvm"));
    put("hypervisor", json!("xen"));
    put("clientToken", json!(i.client_token));
    put("tagSet", tag_set(&i.tags));
    put("enaSupport", json!(true));
    put("ebsOptimized", json!(i.data.flag("EbsOptimized")));
    if let Some(id) = &i.capacity_reservation {
        put("capacityReservationId", json!(id));
    }
    if i.market == "capacity-block" {
        put("instanceLifecycle", json!("capacity-block"));
    }
    if i.market == "spot" {
        put("instanceLifecycle", json!("spot"));
        put(
            "spotInstanceRequestId",
            json!(format!("sir-{}", i.id.trim_start_matches("i-").get(9..).unwrap_or(""))),
        );
    }
    if let Some(s) = spec {
        let cores = i.data.int("CpuOptions.CoreCount").unwrap_or(s.cores);
        let threads = i.data.int("CpuOptions.ThreadsPerCore").unwrap_or(s.threads);
        put("cpuOptions", json!({"coreCount": cores, "threadsPerCore": threads}));
    }
    put(
        "metadataOptions",
        json!({
            "state": "applied", "httpTokens": text("MetadataOptions.HttpTokens").unwrap_or("optional"),
            "httpPutResponseHopLimit": i.data.int("MetadataOptions.HttpPutResponseHopLimit").unwrap_or(1),
            "httpEndpoint": text("MetadataOptions.HttpEndpoint").unwrap_or("enabled"),
            "httpProtocolIpv6": text("MetadataOptions.HttpProtocolIpv6").unwrap_or("disabled"),
            "instanceMetadataTags": text("MetadataOptions.InstanceMetadataTags").unwrap_or("disabled"),
        }),
    );
    if live {
        put("subnetId", json!(i.subnet));
        put("vpcId", json!(cfg.vpc));
        put("sourceDestCheck", json!(true));
        put("groupSet", group_set(r, &i.security_groups));
        if addressed {
            put("privateIpAddress", json!(i.private_ip));
        }
        let nics: Vec<Value> = i
            .nics
            .iter()
            .enumerate()
            .map(|(n, nic)| {
                let ip = (addressed && n == 0).then(|| i.private_ip.clone());
                json!({
                    "networkInterfaceId": nic.id, "subnetId": i.subnet, "vpcId": cfg.vpc, "ownerId": cfg.account,
                    "status": "in-use", "interfaceType": nic.kind, "sourceDestCheck": true,
                    "privateIpAddress": ip, "groupSet": group_set(r, &nic.groups),
                    "attachment": {"attachmentId": nic.id.replacen("eni", "eni-attach", 1), "deviceIndex": nic.device,
                        "networkCardIndex": nic.card, "status": "attached", "deleteOnTermination": true,
                        "attachTime": iso8601(i.launched_ms)},
                })
            })
            .collect();
        put("networkInterfaceSet", Value::Array(nics));
    }
    Value::Object(m)
}

/// TerminateInstances.
pub fn terminate(r: &Request<'_>) -> ApiResult<Value> {
    let mut ids = r.tree.strings("InstanceId");
    if ids.is_empty() {
        return Err(ApiError::missing("InstanceId"));
    }
    if ids.len() > 1000 {
        return Err(ApiError::value(
            "InstanceId",
            &ids.len().to_string(),
            "At most 1000 instances in one call.",
        ));
    }
    check_ids(&ids)?;
    ids.sort();
    ids.dedup();
    let now = now_ms();
    let mut w = r.sim.world();
    w.forget(now);
    let missing = unseen(&w, &ids, now);
    if !missing.is_empty() {
        return Err(not_found(&missing));
    }
    // One protected instance keeps those of its zone alive; those of other zones end all the same.
    let protected = |i: &&Instance| i.state != State::Terminated && i.data.flag("DisableApiTermination");
    let kept: Vec<(String, String)> = ids
        .iter()
        .filter_map(|id| w.instances.get(id))
        .filter(protected)
        .map(|i| (i.zone.clone(), i.id.clone()))
        .collect();
    let refused = kept.first().map(|(_, id)| {
        ApiError::new(
            "OperationNotPermitted",
            format!(
                "The instance '{id}' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again."
            ),
        )
    });
    if r.tree.flag("DryRun") {
        return Err(refused.unwrap_or_else(ApiError::dry_run));
    }
    ids.retain(|id| w.instances.get(id).is_some_and(|i| kept.iter().all(|(zone, _)| *zone != i.zone)));
    if w.knobs.throttling && !w.buckets.terminations(ids.len() as u64, now) {
        return Err(ApiError::with_status(503, "RequestLimitExceeded", "Request limit exceeded."));
    }
    let mut set = Vec::new();
    for id in &ids {
        let before = w.instances.get(id).map_or(State::Terminated, |i| i.state);
        r.sim.end_instance(&mut w, id, "Client.UserInitiatedShutdown", "User initiated");
        let after = w.instances.get(id).map_or(State::Terminated, |i| i.state);
        set.push(json!({"instanceId": id,
            "currentState": {"code": after.code(), "name": after.name()},
            "previousState": {"code": before.code(), "name": before.name()}}));
    }
    refused.map_or_else(|| Ok(json!({"instancesSet": set})), Err)
}
