//! CreateFleet of type instant: one synchronous attempt, whole or in part, with an error for each override that gave nothing.

use super::Request;
use super::launch::{Pool, Wish, wishes};
use super::shared::{Filters, dry_run, page, remember, replay, tag_set, tag_specs, tags_of};
use crate::clock::{iso8601, now_ms};
use crate::errors::{ApiError, ApiResult};
use crate::query::Tree;
use crate::world::{Fleet, Tags, World};
use serde_json::{Value, json};

/// How much of one market a fleet wants, and under which conditions.
struct Target {
    market: &'static str,
    units: i64,
    min: i64,
    single_zone: bool,
    single_type: bool,
    strategy: String,
}

/// What was found for an override.
#[derive(Clone)]
struct Grant {
    wish: usize,
    market: &'static str,
    pool: Pool,
    count: i64,
}

struct Refusal {
    wish: usize,
    market: &'static str,
    error: ApiError,
}

fn target(tree: &Tree, market: &'static str, options: &str, units: i64) -> ApiResult<Target> {
    let at = |k: &str| format!("{options}.{k}");
    let min = tree.int(&at("MinTargetCapacity"));
    let (single_zone, single_type) = (tree.flag(&at("SingleAvailabilityZone")), tree.flag(&at("SingleInstanceType")));
    if let Some(n) = min {
        if !(1..=1000).contains(&n) {
            return Err(ApiError::value(&at("MinTargetCapacity"), &n.to_string(), "Expected a value between 1 and 1000."));
        }
        if !single_zone && !single_type {
            return Err(ApiError::new(
                "InvalidParameterCombination",
                "MinTargetCapacity requires SingleAvailabilityZone or SingleInstanceType.",
            ));
        }
        if n > units {
            return Err(ApiError::new(
                "InvalidParameterCombination",
                format!("MinTargetCapacity ({n}) must not be larger than the target capacity ({units}) of {market}."),
            ));
        }
    }
    let strategy = tree.str(&at("AllocationStrategy")).unwrap_or("lowest-price").to_owned();
    Ok(Target { market, units, min: min.unwrap_or(0), single_zone, single_type, strategy })
}

/// Reads what is wanted, by market.
fn targets(tree: &Tree) -> ApiResult<Vec<Target>> {
    match tree.str("Type") {
        Some("instant") => {}
        other => {
            return Err(ApiError::new(
                "UnsupportedOperation",
                format!("Only fleets of type instant are simulated, not {}.", other.unwrap_or("maintain (the default)")),
            ));
        }
    }
    for path in ["ReservedCapacityOptions", "OnDemandOptions.CapacityReservationOptions", "SpotOptions.MaintenanceStrategies"] {
        if tree.at(path).is_some() {
            return Err(ApiError::new("UnsupportedOperation", format!("{path} is not simulated.")));
        }
    }
    let spec = tree.at("TargetCapacitySpecification").ok_or_else(|| ApiError::missing("TargetCapacitySpecification"))?;
    let total = spec
        .int("TotalTargetCapacity")
        .ok_or_else(|| ApiError::missing("TargetCapacitySpecification.TotalTargetCapacity"))?;
    if !(1..=10_000).contains(&total) {
        return Err(ApiError::value("TotalTargetCapacity", &total.to_string(), "Expected a value between 1 and 10000."));
    }
    let mut on_demand = spec.int("OnDemandTargetCapacity").unwrap_or(0);
    let mut spot = spec.int("SpotTargetCapacity").unwrap_or(0);
    if on_demand < 0 || spot < 0 || on_demand + spot > total {
        return Err(ApiError::new(
            "InvalidParameterCombination",
            "The sum of OnDemandTargetCapacity and SpotTargetCapacity must not be larger than TotalTargetCapacity.",
        ));
    }
    match spec.str("DefaultTargetCapacityType") {
        None | Some("on-demand") => on_demand += total - on_demand - spot,
        Some("spot") => spot += total - on_demand - spot,
        Some(other) => {
            return Err(ApiError::new("UnsupportedOperation", format!("Target capacity of type {other} is not simulated.")));
        }
    }
    let list = [("on-demand", "OnDemandOptions", on_demand), ("spot", "SpotOptions", spot)];
    list.into_iter().filter(|(_, _, n)| *n > 0).map(|(m, o, n)| target(tree, m, o, n)).collect()
}

fn insufficient(pool: &Pool, market: &str) -> ApiError {
    ApiError::new(
        "InsufficientInstanceCapacity",
        if market == "spot" {
            "There is no Spot capacity available that matches your request.".to_owned()
        } else {
            format!(
                "We currently do not have sufficient {} capacity in the Availability Zone you requested ({}). Our system will be working on provisioning additional capacity. You can currently get {} capacity by not specifying an Availability Zone in your request or choosing another Availability Zone.",
                pool.spec.name, pool.zone, pool.spec.name
            )
        },
    )
}

/// Instances a pool can give now, of `wanted`, beside what `taken` took already; and why not more.
fn available(r: &Request<'_>, w: &World, pool: &Pool, market: &str, wanted: i64, taken: &[Grant]) -> (i64, Option<ApiError>) {
    let sum = |same: &dyn Fn(&&Grant) -> bool, each: &dyn Fn(&Grant) -> i64| -> i64 {
        taken.iter().filter(|g| same(g)).map(each).sum()
    };
    let mut got = wanted;
    let mut why = None;
    if let Some(free) = w.free(&pool.spec.name, &pool.zone, market) {
        let used = sum(
            &|g| g.market == market && g.pool.spec.name == pool.spec.name && g.pool.zone == pool.zone,
            &|g| g.count,
        );
        let free = i64::try_from(free).unwrap_or(i64::MAX) - used;
        if free < got {
            got = free.max(0);
            why = Some(insufficient(pool, market));
        }
    }
    let used = sum(&|g| g.pool.subnet == pool.subnet, &|g| g.count * g.pool.addresses() as i64);
    let free = i64::try_from(w.free_addresses(&r.sim.cfg, &pool.subnet)).unwrap_or(i64::MAX) - used;
    if free / (pool.addresses() as i64) < got {
        got = (free / pool.addresses() as i64).max(0);
        why = Some(ApiError::new(
            "InsufficientFreeAddressesInSubnet",
            format!("There are not enough free addresses in subnet '{}' to satisfy the requested number of instances.", pool.subnet),
        ));
    }
    if let Some(limit) = r.sim.cfg.vcpu_limit.get(market) {
        let vcpus = |t: &str| crate::specs::find(t).map_or(0, |s| s.vcpus);
        let used = w.living().filter(|i| i.market == market).map(|i| vcpus(&i.itype)).sum::<i64>()
            + sum(&|g| g.market == market, &|g| g.count * g.pool.spec.vcpus);
        let fits = ((limit - used) / pool.spec.vcpus.max(1)).max(0);
        if fits < got {
            got = fits;
            why = Some(if market == "spot" {
                ApiError::new("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
            } else {
                ApiError::new("VcpuLimitExceeded", format!("You have requested more vCPU capacity than your current vCPU limit of {limit} allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."))
            });
        }
    }
    (got, why)
}

/// Fills a target from pools in order.
fn fill(r: &Request<'_>, w: &World, t: &Target, pools: &[(usize, Pool)], taken: &[Grant], units: i64) -> (Vec<Grant>, Vec<Refusal>) {
    let mut grants: Vec<Grant> = Vec::new();
    let mut refusals = Vec::new();
    let mut left = units;
    let share = if t.strategy == "diversified" { pools.len().max(1) as i64 } else { 1 };
    let rounds = if share > 1 { 2 } else { 1 };
    for round in 0..rounds {
        for (wish, pool) in pools {
            if left <= 0 {
                break;
            }
            let units_here = if round == 0 && share > 1 { left.min((units + share - 1) / share) } else { left };
            let wanted = (units_here + pool.weight - 1) / pool.weight;
            let mut all = taken.to_vec();
            all.extend(grants.iter().cloned());
            let (got, why) = available(r, w, pool, t.market, wanted, &all);
            if got > 0 {
                left -= got * pool.weight;
                match grants.iter_mut().find(|g| g.wish == *wish) {
                    Some(g) => g.count += got,
                    None => grants.push(Grant { wish: *wish, market: t.market, pool: pool.clone(), count: got }),
                }
            }
            if let Some(error) = why.filter(|_| round + 1 == rounds) {
                refusals.push(Refusal { wish: *wish, market: t.market, error });
            }
        }
    }
    (grants, refusals)
}

/// What one market of the fleet gets.
fn allocate(r: &Request<'_>, w: &World, t: &Target, all: &[Wish], taken: &[Grant]) -> (Vec<Grant>, Vec<Refusal>) {
    let mut pools: Vec<(usize, Pool)> = Vec::new();
    let mut refusals = Vec::new();
    for (wish, x) in all.iter().enumerate() {
        match x.pool(&r.sim.cfg, w, t.market) {
            Ok(p) => pools.push((wish, p)),
            Err(error) => refusals.push(Refusal { wish, market: t.market, error }),
        }
    }
    match t.strategy.as_str() {
        "prioritized" | "capacity-optimized-prioritized" => {
            pools.sort_by(|a, b| a.1.priority.total_cmp(&b.1.priority));
        }
        "capacity-optimized" | "price-capacity-optimized" => {
            let room = |p: &Pool| w.free(&p.spec.name, &p.zone, t.market).unwrap_or(u64::MAX);
            pools.sort_by_key(|(_, p)| std::cmp::Reverse(room(p)));
        }
        // No prices are simulated: the smallest type stands for the lowest price.
        _ => pools.sort_by_key(|(_, p)| p.spec.vcpus),
    }
    let knob = w.knobs.partial_fleet;
    let mut cap = if knob < 1.0 { (t.units as f64 * knob).floor() as i64 } else { t.units };
    let mut capped_by = pools.first().map(|(_, p)| insufficient(p, t.market));
    if let Some(f) = &r.fleet_fault {
        cap = cap.min(i64::try_from(f.grant).unwrap_or(i64::MAX));
        capped_by = Some(ApiError::new(&f.code, f.text()));
    }
    let key = |p: &Pool| {
        (if t.single_type { p.spec.name.clone() } else { String::new() }, if t.single_zone { p.zone.clone() } else { String::new() })
    };
    let mut keys: Vec<(String, String)> = Vec::new();
    for (_, p) in &pools {
        if !keys.contains(&key(p)) {
            keys.push(key(p));
        }
    }
    let units = |g: &[Grant]| g.iter().map(|g| g.count * g.pool.weight).sum::<i64>();
    let mut best: Vec<Grant> = Vec::new();
    for k in keys {
        let group: Vec<(usize, Pool)> = pools.iter().filter(|(_, p)| key(p) == k).cloned().collect();
        let (grants, why) = fill(r, w, t, &group, taken, cap);
        refusals.extend(why);
        let enough = units(&grants) >= t.units;
        if units(&grants) > units(&best) {
            best = grants;
        }
        if enough {
            break;
        }
    }
    if cap < t.units && let Some(error) = capped_by {
        for (wish, _) in &pools {
            if !refusals.iter().any(|x| x.wish == *wish) {
                refusals.push(Refusal { wish: *wish, market: t.market, error: error.clone() });
            }
        }
    }
    if units(&best) < t.min.max(1) {
        best.clear();
    }
    (best, refusals)
}

/// The tokens of launching instances, which CreateFleet draws on too: what is over them is refused in the answer.
fn throttle(w: &mut World, targets: &[Target], grants: &mut Vec<Grant>, refusals: &mut Vec<Refusal>, now: u64) {
    if !w.knobs.throttling {
        return;
    }
    let mut left = i64::try_from(w.buckets.launches_left(now)).unwrap_or(i64::MAX);
    for t in targets {
        for g in grants.iter_mut().filter(|g| g.market == t.market) {
            let allowed = g.count.min(left);
            if allowed < g.count {
                let error = ApiError::new("RequestLimitExceeded", "Request limit exceeded.");
                refusals.push(Refusal { wish: g.wish, market: g.market, error });
            }
            g.count = allowed;
            left -= allowed;
        }
        let got: i64 = grants.iter().filter(|g| g.market == t.market).map(|g| g.count * g.pool.weight).sum();
        if got < t.min {
            let back: i64 = grants.iter().filter(|g| g.market == t.market).map(|g| g.count).sum();
            left += back;
            grants.retain(|g| g.market != t.market);
        }
    }
    grants.retain(|g| g.count > 0);
    let taken: i64 = grants.iter().map(|g| g.count).sum();
    w.buckets.launches(u64::try_from(taken).unwrap_or(0), now);
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
    dry_run(tree)?;
    let now = now_ms();
    let (mut grants, mut refusals) = (Vec::new(), Vec::new());
    for t in &targets {
        let (g, e) = allocate(r, &w, t, &all, &grants);
        grants.extend(g);
        refusals.extend(e);
    }
    throttle(&mut w, &targets, &mut grants, &mut refusals, now);
    w.fleet_calls += 1;
    let fleet = r.sim.ids.fleet();
    let token = tree.str("ClientToken").map_or_else(|| r.sim.ids.uuid(), str::to_owned);
    let mut instances = Vec::new();
    let mut shown = Vec::new();
    for g in &grants {
        let Some(wish) = all.get(g.wish) else { continue };
        let own = tag_specs(&wish.template.data, "TagSpecification", &["instance", "volume", "network-interface", "spot-instances-request"])?;
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
            extra_tags: ["volume", "network-interface"].into_iter().map(|k| (k.to_owned(), tags_for(k))).collect(),
        };
        let ids = r.sim.launch(&mut w, &order, g.count, now);
        shown.push(json!({
            "launchTemplateAndOverrides": wish.show(), "lifecycle": g.market, "instanceIds": ids,
            "instanceType": g.pool.spec.name,
            "availabilityZone": g.pool.zone, "availabilityZoneId": r.sim.zone_id(&g.pool.zone), "subnetId": g.pool.subnet,
        }));
        instances.extend(ids);
    }
    let errors: Vec<Value> = refusals
        .iter()
        .filter_map(|e| {
            let wish = all.get(e.wish)?;
            Some(json!({"launchTemplateAndOverrides": wish.show(), "lifecycle": e.market,
                "errorCode": e.error.code, "errorMessage": e.error.message}))
        })
        .collect();
    let answer = json!({"fleetId": fleet, "errorSet": errors, "fleetInstanceSet": shown});
    let mut tags: Tags = tags_of(&specs, "fleet");
    tags.retain(|k, _| !k.starts_with("aws:"));
    w.fleets.insert(fleet.clone(), Fleet {
        id: fleet,
        created_ms: now,
        client_token: token,
        target: targets.iter().map(|t| t.units).sum(),
        tags,
        instances,
        answer: answer.clone(),
    });
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
                "errorSet": f.answer.get("errorSet"), "fleetInstanceSet": f.answer.get("fleetInstanceSet"),
            })
        })
        .collect();
    let (list, next) = page(&r.tree, list, (1, 100))?;
    dry_run(&r.tree)?;
    Ok(json!({"fleetSet": list, "nextToken": next}))
}
