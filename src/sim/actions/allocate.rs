//! Who gets how much of a fleet: targets by market, pools in the order of the strategy, whole groups where the caller wants one
//! zone or one type, and the reasons for what is missing.

use super::Request;
use super::groups;
use super::launch::{Pool, Wish};
use super::reservations;
use crate::clock::now_ms;
use crate::errors::{ApiError, ApiResult};
use crate::query::Tree;
use crate::world::World;

/// How much of one market a fleet wants, and under which conditions.
pub struct Target {
    /// Market.
    pub market: &'static str,
    /// Units wanted.
    pub units: i64,
    /// Fewer than this, and nothing is launched; 0: no such condition.
    pub min: i64,
    /// All in one zone.
    pub single_zone: bool,
    /// All of one type.
    pub single_type: bool,
    /// Allocation strategy.
    pub strategy: String,
}

/// What was found for an override.
#[derive(Clone)]
pub struct Grant {
    /// Index of the override.
    pub wish: usize,
    /// Market.
    pub market: &'static str,
    /// Where.
    pub pool: Pool,
    /// Instances.
    pub count: i64,
}

/// Why an override gave less than it should.
pub struct Refusal {
    /// Index of the override.
    pub wish: usize,
    /// Market.
    pub market: &'static str,
    /// Why.
    pub error: ApiError,
}

fn target(tree: &Tree, market: &'static str, options: &str, units: i64) -> ApiResult<Target> {
    let at = |k: &str| format!("{options}.{k}");
    let min = tree.int(&at("MinTargetCapacity"));
    let (single_zone, single_type) =
        (tree.flag(&at("SingleAvailabilityZone")), tree.flag(&at("SingleInstanceType")));
    if let Some(n) = min {
        if !(1..=1000).contains(&n) {
            return Err(ApiError::value(
                &at("MinTargetCapacity"),
                &n.to_string(),
                "Expected a value between 1 and 1000.",
            ));
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
                format!(
                    "MinTargetCapacity ({n}) must not be larger than the target capacity ({units}) of {market}."
                ),
            ));
        }
    }
    let strategy = tree.str(&at("AllocationStrategy")).unwrap_or("lowest-price").to_owned();
    Ok(Target { market, units, min: min.unwrap_or(0), single_zone, single_type, strategy })
}

/// A fleet into a Capacity Block (EC2 user guide, EC2 Fleet and Capacity Blocks).
fn block(tree: &Tree, spec: &Tree, total: i64) -> ApiResult<Vec<Target>> {
    let combination = |text: &str| Err(ApiError::new("InvalidParameterCombination", text));
    if spec.at("OnDemandTargetCapacity").is_some() || spec.at("SpotTargetCapacity").is_some() {
        return combination(
            "OnDemandTargetCapacity and SpotTargetCapacity cannot be used when DefaultTargetCapacityType is \
             capacity-block.",
        );
    }
    if tree.at("OnDemandOptions.CapacityReservationOptions").is_some() {
        return combination(
            "OnDemandOptions.CapacityReservationOptions cannot be used when DefaultTargetCapacityType is capacity-block.",
        );
    }
    // Whether EC2 heeds them for Capacity Blocks is not documented.
    for path in ["OnDemandOptions", "SpotOptions"] {
        if tree.at(path).is_some() {
            let text = format!("{path} of a Capacity Block is not simulated.");
            return Err(ApiError::new("UnsupportedOperation", text));
        }
    }
    let (single_zone, single_type, strategy) = (false, false, "lowest-price".to_owned());
    Ok(vec![Target { market: "capacity-block", units: total, min: 0, single_zone, single_type, strategy }])
}

/// Reads what is wanted, by market.
pub fn targets(tree: &Tree) -> ApiResult<Vec<Target>> {
    match tree.str("Type") {
        Some("instant") => {}
        other => {
            return Err(ApiError::new(
                "UnsupportedOperation",
                format!(
                    "Only fleets of type instant are simulated, not {}.",
                    other.unwrap_or("maintain (the default)")
                ),
            ));
        }
    }
    for path in ["ReservedCapacityOptions", "SpotOptions.MaintenanceStrategies"] {
        if tree.at(path).is_some() {
            return Err(ApiError::new("UnsupportedOperation", format!("{path} is not simulated.")));
        }
    }
    let spec = tree
        .at("TargetCapacitySpecification")
        .ok_or_else(|| ApiError::missing("TargetCapacitySpecification"))?;
    let total = spec
        .int("TotalTargetCapacity")
        .ok_or_else(|| ApiError::missing("TargetCapacitySpecification.TotalTargetCapacity"))?;
    if !(1..=10_000).contains(&total) {
        return Err(ApiError::value(
            "TotalTargetCapacity",
            &total.to_string(),
            "Expected a value between 1 and 10000.",
        ));
    }
    if spec.str("DefaultTargetCapacityType") == Some("capacity-block") {
        return block(tree, spec, total);
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
            return Err(ApiError::new(
                "UnsupportedOperation",
                format!("Target capacity of type {other} is not simulated."),
            ));
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
fn available(
    r: &Request<'_>,
    w: &World,
    pool: &Pool,
    market: &str,
    wanted: i64,
    taken: &[Grant],
) -> (i64, Option<ApiError>) {
    let sum = |same: &dyn Fn(&&Grant) -> bool, each: &dyn Fn(&Grant) -> i64| -> i64 {
        taken.iter().filter(|g| same(g)).map(each).sum()
    };
    let mut got = wanted;
    let mut why = None;
    let apart = |g: &&Grant| g.pool.group == pool.group && g.pool.zone != pool.zone;
    if let Some(name) = pool.group.as_deref()
        && w.groups.get(name).is_some_and(|g| g.strategy == "cluster")
        && let Some(other) = taken.iter().find(apart)
    {
        return (0, Some(groups::one_zone(name, &other.pool.zone, &pool.zone)));
    }
    let now = now_ms();
    let serving = w.serving(&pool.wanted, pool.place(market));
    let reserved: u64 = serving.iter().map(|c| w.places(c, now)).sum();
    let outside = match pool.wanted.outside() {
        true => w.free(&pool.spec.name, &pool.zone, market),
        false => Some(0),
    };
    if let Some(free) = outside {
        let used = sum(
            &|g| g.market == market && g.pool.spec.name == pool.spec.name && g.pool.zone == pool.zone,
            &|g| g.count,
        );
        let free = i64::try_from(free.saturating_add(reserved)).unwrap_or(i64::MAX) - used;
        if free < got {
            got = free.max(0);
            why =
                Some(reservations::full(&pool.wanted, market).unwrap_or_else(|| insufficient(pool, market)));
        }
    }
    let used = sum(&|g| g.pool.subnet == pool.subnet, &|g| g.count * g.pool.addresses() as i64);
    let free = i64::try_from(w.free_addresses(&r.sim.cfg, &pool.subnet)).unwrap_or(i64::MAX) - used;
    if free / (pool.addresses() as i64) < got {
        got = (free / pool.addresses() as i64).max(0);
        why = Some(ApiError::new(
            "InsufficientFreeAddressesInSubnet",
            format!(
                "There are not enough free addresses in subnet '{}' to satisfy the requested number of instances.",
                pool.subnet
            ),
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
                ApiError::new(
                    "VcpuLimitExceeded",
                    format!(
                        "You have requested more vCPU capacity than your current vCPU limit of {limit} allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
                    ),
                )
            });
        }
    }
    (got, why)
}

/// Fills a target from pools in order.
fn fill(
    r: &Request<'_>,
    w: &World,
    t: &Target,
    pools: &[(usize, Pool)],
    taken: &[Grant],
    units: i64,
) -> (Vec<Grant>, Vec<Refusal>) {
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
            let units_here =
                if round == 0 && share > 1 { left.min((units + share - 1) / share) } else { left };
            let wanted = (units_here + pool.weight - 1) / pool.weight;
            let mut all = taken.to_vec();
            all.extend(grants.iter().cloned());
            let (got, why) = available(r, w, pool, t.market, wanted, &all);
            if got > 0 {
                left -= got * pool.weight;
                match grants.iter_mut().find(|g| g.wish == *wish) {
                    Some(g) => g.count += got,
                    None => {
                        grants.push(Grant { wish: *wish, market: t.market, pool: pool.clone(), count: got })
                    }
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
pub fn allocate(
    r: &Request<'_>,
    w: &World,
    t: &Target,
    all: &[Wish],
    taken: &[Grant],
) -> (Vec<Grant>, Vec<Refusal>) {
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
        (
            if t.single_type { p.spec.name.clone() } else { String::new() },
            if t.single_zone { p.zone.clone() } else { String::new() },
        )
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
    if cap < t.units
        && let Some(error) = capped_by
    {
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

/// A fleet that misses a minimum launches nothing at all, of no market.
pub fn minimums(targets: &[Target], grants: &mut Vec<Grant>) {
    let missed = |t: &Target| {
        let got =
            grants.iter().filter(|g| g.market == t.market).map(|g| g.count * g.pool.weight).sum::<i64>();
        got < t.min
    };
    if targets.iter().any(missed) {
        grants.clear();
    }
}

/// The tokens of launching instances, which CreateFleet draws on too: what is over them is refused in the answer.
pub fn throttle(
    w: &mut World,
    targets: &[Target],
    grants: &mut Vec<Grant>,
    refusals: &mut Vec<Refusal>,
    now: u64,
) {
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
    }
    minimums(targets, grants);
    grants.retain(|g| g.count > 0);
    let taken: i64 = grants.iter().map(|g| g.count).sum();
    w.buckets.launches(u64::try_from(taken).unwrap_or(0), now);
}
