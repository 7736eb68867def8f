//! What the account can use: types, offerings, images, subnets, groups, zones.

use super::Request;
use super::shared::{Filters, dry_run, page, tag_set};
use crate::errors::{ApiError, ApiResult};
use crate::specs;
use crate::world::Tags;
use serde_json::{Value, json};

fn show(v: Option<&Value>) -> Vec<String> {
    match v {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(s)) => vec![s.clone()],
        Some(Value::Array(a)) => a.iter().flat_map(|x| show(Some(x))).collect(),
        Some(x) => vec![x.to_string()],
    }
}

const TYPE_FILTERS: &[(&str, &str)] = &[
    ("auto-recovery-supported", "/autoRecoverySupported"),
    ("bare-metal", "/bareMetal"),
    ("burstable-performance-supported", "/burstablePerformanceSupported"),
    ("current-generation", "/currentGeneration"),
    ("dedicated-hosts-supported", "/dedicatedHostsSupported"),
    ("free-tier-eligible", "/freeTierEligible"),
    ("hibernation-supported", "/hibernationSupported"),
    ("hypervisor", "/hypervisor"),
    ("instance-storage-supported", "/instanceStorageSupported"),
    ("instance-type", "/instanceType"),
    ("memory-info.size-in-mib", "/memoryInfo/sizeInMiB"),
    ("network-info.efa-info.maximum-efa-interfaces", "/networkInfo/efaInfo/maximumEfaInterfaces"),
    ("network-info.efa-supported", "/networkInfo/efaSupported"),
    ("network-info.maximum-network-cards", "/networkInfo/maximumNetworkCards"),
    ("network-info.maximum-network-interfaces", "/networkInfo/maximumNetworkInterfaces"),
    ("network-info.network-performance", "/networkInfo/networkPerformance"),
    ("processor-info.supported-architecture", "/processorInfo/supportedArchitectures"),
    ("supported-usage-class", "/supportedUsageClasses"),
    ("supported-virtualization-type", "/supportedVirtualizationTypes"),
    ("vcpu-info.default-cores", "/vCpuInfo/defaultCores"),
    ("vcpu-info.default-threads-per-core", "/vCpuInfo/defaultThreadsPerCore"),
    ("vcpu-info.default-vcpus", "/vCpuInfo/defaultVCpus"),
];

/// DescribeInstanceTypes.
pub fn instance_types(r: &Request<'_>) -> ApiResult<Value> {
    let known: Vec<&str> = TYPE_FILTERS.iter().map(|(n, _)| *n).collect();
    let filters = Filters::read(&r.tree, &known)?;
    let names = r.tree.strings("InstanceType");
    if names.len() > 100 {
        return Err(ApiError::value(
            "InstanceTypes",
            &names.len().to_string(),
            "At most 100 types in one call.",
        ));
    }
    let unknown: Vec<&str> = names.iter().filter(|n| specs::find(n).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(ApiError::new(
            "InvalidInstanceType",
            format!("The following supplied instance types do not exist: [{}]", unknown.join(", ")),
        ));
    }
    let list: Vec<Value> = specs::all()
        .iter()
        .filter(|s| names.is_empty() || names.contains(&s.name))
        .filter(|s| !r.sim.cfg.zones_of(&s.name).is_empty())
        .filter(|s| {
            filters.pass(None, |name| {
                let pointer = TYPE_FILTERS.iter().find(|(n, _)| *n == name).map_or("", |(_, p)| p);
                show(s.raw.pointer(pointer))
            })
        })
        .map(|s| s.raw.clone())
        .collect();
    let (list, next) = page(&r.tree, list, (5, 100))?;
    dry_run(&r.tree)?;
    // Without MaxResults the service still answers at most a hundred types; there are fewer here.
    Ok(json!({"instanceTypeSet": list, "nextToken": next}))
}

/// DescribeInstanceTypeOfferings.
pub fn offerings(r: &Request<'_>) -> ApiResult<Value> {
    let kind = r.tree.str("LocationType").unwrap_or("region");
    let filters = Filters::read(&r.tree, &["location", "instance-type"])?;
    let cfg = &r.sim.cfg;
    let mut list = Vec::new();
    for s in specs::all() {
        let zones = cfg.zones_of(&s.name);
        let places: Vec<String> = match kind {
            "availability-zone" => zones.iter().map(|z| (*z).to_owned()).collect(),
            "availability-zone-id" => zones.iter().map(|z| r.sim.zone_id(z)).collect(),
            "region" if !zones.is_empty() => vec![cfg.region.clone()],
            _ => Vec::new(),
        };
        for place in places {
            if filters.pass(None, |n| vec![if n == "location" { place.clone() } else { s.name.clone() }]) {
                list.push(json!({"instanceType": s.name, "locationType": kind, "location": place}));
            }
        }
    }
    let (list, next) = page(&r.tree, list, (5, 1000))?;
    dry_run(&r.tree)?;
    Ok(json!({"instanceTypeOfferingSet": list, "nextToken": next}))
}

/// The ids asked for must all exist.
fn all_known(asked: &[String], have: &[&str], code: &str, what: &str) -> ApiResult<()> {
    let missing: Vec<&str> = asked.iter().map(String::as_str).filter(|a| !have.contains(a)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(code, format!("The {what} '{}' does not exist", missing.join(", "))))
}

/// DescribeImages.
pub fn images(r: &Request<'_>) -> ApiResult<Value> {
    let cfg = &r.sim.cfg;
    let filters = Filters::read(
        &r.tree,
        &[
            "architecture",
            "image-id",
            "name",
            "state",
            "owner-id",
            "image-type",
            "virtualization-type",
            "tag",
        ],
    )?;
    let ids = r.tree.strings("ImageId");
    let have: Vec<&str> = cfg.images.iter().map(|i| i.id.as_str()).collect();
    if let Some(bad) = ids.iter().find(|i| !have.contains(&i.as_str())) {
        return Err(if bad.starts_with("ami-") {
            ApiError::new("InvalidAMIID.NotFound", format!("The image id '[{bad}]' does not exist"))
        } else {
            ApiError::new("InvalidAMIID.Malformed", format!("Invalid id: \"{bad}\" (expecting \"ami-...\")"))
        });
    }
    let owners = r.tree.strings("Owner");
    let mine = owners.is_empty() || owners.iter().any(|o| o == "self" || *o == cfg.account);
    let w = r.sim.world();
    let none = Tags::new();
    let list: Vec<Value> = cfg
        .images
        .iter()
        .filter(|i| mine && (ids.is_empty() || ids.contains(&i.id)))
        .filter(|i| {
            filters.pass(Some(w.other_tags.get(&i.id).unwrap_or(&none)), |n| {
                vec![match n {
                    "architecture" => i.architecture.clone(),
                    "image-id" => i.id.clone(),
                    "name" => i.name.clone(),
                    "state" => "available".into(),
                    "owner-id" => cfg.account.clone(),
                    "image-type" => "machine".into(),
                    _ => "hvm".into(),
                }]
            })
        })
        .map(|i| {
            json!({
                "imageId": i.id, "imageLocation": format!("{}/{}", cfg.account, i.name), "imageState": "available",
                "imageOwnerId": cfg.account, "creationDate": "2026-01-01T00:00:00.000Z", "isPublic": false,
                "architecture": i.architecture, "imageType": "machine", "name": i.name, "enaSupport": true,
                "hypervisor": "xen", "rootDeviceName": "/dev/sda1", "rootDeviceType": "ebs",
                "virtualizationType": "hvm", "platformDetails": "Linux/UNIX", "usageOperation": "RunInstances",
                "imdsSupport": "v2.0", "sriovNetSupport": "simple",
                "blockDeviceMapping": [{"deviceName": "/dev/sda1", "ebs": {
                    "deleteOnTermination": true, "snapshotId": "snap-0123456789abcdef0", "volumeSize": 16,
                    "volumeType": "gp3", "encrypted": false}}],
                "tagSet": tag_set(w.other_tags.get(&i.id).unwrap_or(&none)),
            })
        })
        .collect();
    let (list, next) = page(&r.tree, list, (1, 1000))?;
    dry_run(&r.tree)?;
    Ok(json!({"imagesSet": list, "nextToken": next}))
}

/// DescribeSubnets.
pub fn subnets(r: &Request<'_>) -> ApiResult<Value> {
    let cfg = &r.sim.cfg;
    let filters = Filters::read(
        &r.tree,
        &[
            "availability-zone",
            "availabilityZone",
            "availability-zone-id",
            "subnet-id",
            "vpc-id",
            "state",
            "cidr-block",
            "tag",
        ],
    )?;
    let ids = r.tree.strings("SubnetId");
    let have: Vec<&str> = cfg.subnets.iter().map(|s| s.id.as_str()).collect();
    all_known(&ids, &have, "InvalidSubnetID.NotFound", "subnet ID")?;
    let w = r.sim.world();
    let none = Tags::new();
    let list: Vec<Value> = cfg
        .subnets
        .iter()
        .filter(|s| ids.is_empty() || ids.contains(&s.id))
        .filter(|s| {
            filters.pass(Some(w.other_tags.get(&s.id).unwrap_or(&none)), |n| {
                vec![match n {
                    "availability-zone" | "availabilityZone" => s.zone.clone(),
                    "availability-zone-id" => r.sim.zone_id(&s.zone),
                    "subnet-id" => s.id.clone(),
                    "vpc-id" => cfg.vpc.clone(),
                    "state" => "available".into(),
                    _ => s.cidr.clone(),
                }]
            })
        })
        .map(|s| {
            json!({
                "subnetId": s.id, "subnetArn": format!("arn:aws:ec2:{}:{}:subnet/{}", cfg.region, cfg.account, s.id),
                "state": "available", "vpcId": cfg.vpc, "ownerId": cfg.account, "cidrBlock": s.cidr,
                "availableIpAddressCount": w.free_addresses(cfg, &s.id), "availabilityZone": s.zone,
                "availabilityZoneId": r.sim.zone_id(&s.zone), "defaultForAz": false, "mapPublicIpOnLaunch": false,
                "assignIpv6AddressOnCreation": false, "ipv6Native": false, "enableDns64": false,
                "ipv6CidrBlockAssociationSet": [], "tagSet": tag_set(w.other_tags.get(&s.id).unwrap_or(&none)),
            })
        })
        .collect();
    let (list, next) = page(&r.tree, list, (5, 1000))?;
    dry_run(&r.tree)?;
    Ok(json!({"subnetSet": list, "nextToken": next}))
}

/// DescribeSecurityGroups.
pub fn security_groups(r: &Request<'_>) -> ApiResult<Value> {
    let cfg = &r.sim.cfg;
    let filters = Filters::read(&r.tree, &["group-id", "group-name", "vpc-id", "owner-id", "tag"])?;
    let (ids, names) = (r.tree.strings("GroupId"), r.tree.strings("GroupName"));
    let have: Vec<&str> = cfg.security_groups.iter().map(|s| s.id.as_str()).collect();
    all_known(&ids, &have, "InvalidGroup.NotFound", "security group")?;
    let have: Vec<&str> = cfg.security_groups.iter().map(|s| s.name.as_str()).collect();
    all_known(&names, &have, "InvalidGroup.NotFound", "security group")?;
    let w = r.sim.world();
    let none = Tags::new();
    let list: Vec<Value> = cfg
        .security_groups
        .iter()
        .filter(|g| (ids.is_empty() && names.is_empty()) || ids.contains(&g.id) || names.contains(&g.name))
        .filter(|g| {
            filters.pass(Some(w.other_tags.get(&g.id).unwrap_or(&none)), |n| {
                vec![match n {
                    "group-id" => g.id.clone(),
                    "group-name" => g.name.clone(),
                    "vpc-id" => cfg.vpc.clone(),
                    _ => cfg.account.clone(),
                }]
            })
        })
        .map(|g| {
            let own = json!([{"ipProtocol": "-1", "groups": [{"userId": cfg.account, "groupId": g.id}],
                "ipRanges": [], "ipv6Ranges": [], "prefixListIds": []}]);
            let rules = if g.allows_itself { own } else { json!([]) };
            json!({
                "groupId": g.id, "groupName": g.name, "groupDescription": g.name, "vpcId": cfg.vpc,
                "ownerId": cfg.account, "ipPermissions": rules, "ipPermissionsEgress": rules,
                "tagSet": tag_set(w.other_tags.get(&g.id).unwrap_or(&none)),
            })
        })
        .collect();
    let (list, next) = page(&r.tree, list, (5, 1000))?;
    dry_run(&r.tree)?;
    Ok(json!({"securityGroupInfo": list, "nextToken": next}))
}

/// DescribeAvailabilityZones.
pub fn zones(r: &Request<'_>) -> ApiResult<Value> {
    let cfg = &r.sim.cfg;
    let filters = Filters::read(
        &r.tree,
        &["zone-name", "zone-id", "state", "region-name", "zone-type", "opt-in-status", "group-name"],
    )?;
    let (names, ids) = (r.tree.strings("ZoneName"), r.tree.strings("ZoneId"));
    for n in &names {
        if !cfg.zones.contains(n) {
            return Err(ApiError::new("InvalidParameterValue", format!("Invalid availability zone: [{n}]")));
        }
    }
    let list: Vec<Value> = cfg
        .zones
        .iter()
        .filter(|z| names.is_empty() || names.contains(z))
        .filter(|z| ids.is_empty() || ids.contains(&r.sim.zone_id(z)))
        .filter(|z| {
            filters.pass(None, |n| {
                vec![match n {
                    "zone-name" => (*z).clone(),
                    "zone-id" => r.sim.zone_id(z),
                    "state" => "available".into(),
                    "region-name" => cfg.region.clone(),
                    "zone-type" => "availability-zone".into(),
                    "opt-in-status" => "opt-in-not-required".into(),
                    _ => cfg.region.clone(),
                }]
            })
        })
        .map(|z| {
            json!({"zoneName": z, "zoneId": r.sim.zone_id(z), "zoneState": "available", "regionName": cfg.region,
                "groupName": cfg.region, "networkBorderGroup": cfg.region, "zoneType": "availability-zone",
                "optInStatus": "opt-in-not-required", "messageSet": []})
        })
        .collect();
    dry_run(&r.tree)?;
    Ok(json!({"availabilityZoneInfo": list}))
}

/// STS GetCallerIdentity.
pub fn identity(r: &Request<'_>) -> ApiResult<Value> {
    let account = &r.sim.cfg.account;
    Ok(
        json!({"Arn": format!("arn:aws:iam::{account}:user/burst"), "UserId": "AIDABURSTSIMULATOR00", "Account": account}),
    )
}
