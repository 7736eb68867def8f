//! One override of a fleet: what it and its template come to, and whether that can be launched at all.

use super::{groups, reservations, templates};
use crate::config::Config;
use crate::errors::{ApiError, ApiResult};
use crate::query::Tree;
use crate::reserve::{Place, Wanted};
use crate::specs::{self, Spec};
use crate::world::{State, Template, World};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What the caller wrote: a template and an override of it.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The template.
    pub template: Template,
    /// Version as it was asked for.
    pub version: String,
    /// The override (may be empty).
    pub over: Tree,
}

/// An interface as the template wants it.
#[derive(Debug, Clone)]
pub struct WishedNic {
    /// Network card.
    pub card: i64,
    /// Device index.
    pub device: i64,
    /// Type.
    pub kind: String,
    /// Security groups.
    pub groups: Vec<String>,
}

/// A place instances can be launched into.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Type.
    pub spec: &'static Spec,
    /// Zone.
    pub zone: String,
    /// Subnet.
    pub subnet: String,
    /// Image.
    pub image: String,
    /// Placement group.
    pub group: Option<String>,
    /// Capacity units an instance counts for.
    pub weight: i64,
    /// Priority; lower is first, none is last.
    pub priority: f64,
    /// Interfaces.
    pub nics: Vec<WishedNic>,
    /// Security groups of the primary interface.
    pub groups: Vec<String>,
    /// Reservations it may run in.
    pub wanted: Wanted,
}

impl Pool {
    /// The launch, as far as reservations matter.
    pub fn place<'a>(&'a self, market: &'a str) -> Place<'a> {
        Place { itype: &self.spec.name, zone: &self.zone, group: self.group.as_deref(), market }
    }

    /// Addresses an instance takes.
    pub fn addresses(&self) -> u64 {
        self.nics.iter().filter(|n| n.kind != "efa-only").count().max(1) as u64
    }
}

impl Wish {
    /// LaunchTemplateAndOverrides of the answer.
    pub fn show(&self) -> Value {
        let o = |k: &str| self.over.str(k).map(str::to_owned);
        json!({
            "launchTemplateSpecification": {"launchTemplateId": self.template.id, "version": self.shown_version()},
            "overrides": {
                "instanceType": o("InstanceType"), "maxPrice": o("MaxPrice"), "subnetId": o("SubnetId"),
                "availabilityZone": o("AvailabilityZone"), "imageId": o("ImageId"),
                "weightedCapacity": self.over.float("WeightedCapacity"), "priority": self.over.float("Priority"),
                "placement": o("Placement.GroupName").map(|g| json!({"groupName": g})),
            },
        })
    }

    fn shown_version(&self) -> &str {
        if self.version.starts_with('$') { "1" } else { &self.version }
    }

    fn either(&self, path: &str) -> Option<&str> {
        self.over.str(path).or_else(|| self.template.data.str(path))
    }

    /// Checks everything a launch would check but the amount, and says where it would go.
    pub fn pool(&self, cfg: &Config, w: &World, market: &str) -> ApiResult<Pool> {
        let data = &self.template.data;
        let itype = self.either("InstanceType").ok_or_else(|| ApiError::missing("InstanceType"))?;
        let spec = specs::find(itype).ok_or_else(|| {
            ApiError::new("InvalidParameterValue", format!("Invalid value '{itype}' for InstanceType."))
        })?;
        reservations::market(data, market)?;
        if !spec.sells(market) {
            return Err(ApiError::new(
                "UnsupportedOperation",
                format!("The instance type '{itype}' is not supported for the purchasing option '{market}'."),
            ));
        }
        let (zone, subnet) = self.place(cfg, itype)?;
        let image = self.either("ImageId").ok_or_else(|| ApiError::missing("ImageId"))?;
        let Some(ami) = cfg.images.iter().find(|i| i.id == image) else {
            return Err(ApiError::new(
                "InvalidAMIID.NotFound",
                format!("The image id '[{image}]' does not exist"),
            ));
        };
        if !spec.architectures().contains(&ami.architecture) {
            return Err(ApiError::new(
                "InvalidParameterValue",
                format!(
                    "The architecture '{}' of the specified instance type does not match the architecture '{}' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.",
                    spec.architectures().join(","),
                    ami.architecture
                ),
            ));
        }
        let (nics, groups) = interfaces(cfg, data, spec)?;
        let group = self.either("Placement.GroupName").filter(|g| !g.is_empty());
        if let Some(g) = group {
            check_group(w, g, spec, &zone)?;
        }
        let wanted = Wanted::of(data);
        reservations::usable(w, &wanted, Place { itype, zone: &zone, group, market })?;
        let weight = self.over.float("WeightedCapacity").unwrap_or(1.0);
        if weight < 1.0 || weight.fract() != 0.0 {
            return Err(ApiError::value(
                "WeightedCapacity",
                &weight.to_string(),
                "Expected a whole number from 1.",
            ));
        }
        Ok(Pool {
            spec,
            zone,
            subnet,
            image: image.to_owned(),
            group: group.map(str::to_owned),
            weight: weight as i64,
            priority: self.over.float("Priority").unwrap_or(f64::MAX),
            nics,
            groups,
            wanted,
        })
    }

    fn place(&self, cfg: &Config, itype: &str) -> ApiResult<(String, String)> {
        let from_nic =
            || self.template.data.list("NetworkInterface").into_iter().find_map(|n| n.str("SubnetId"));
        let zone = self.over.str("AvailabilityZone").or_else(|| self.either("Placement.AvailabilityZone"));
        if let Some(z) = zone.filter(|z| !cfg.zones.iter().any(|x| x == z)) {
            return Err(ApiError::new("InvalidParameterValue", format!("Invalid availability zone: [{z}]")));
        }
        let offered = cfg.zones_of(itype);
        let subnet = match self.over.str("SubnetId").or_else(from_nic) {
            Some(id) => cfg.subnets.iter().find(|s| s.id == id).ok_or_else(|| {
                ApiError::new("InvalidSubnetID.NotFound", format!("The subnet ID '{id}' does not exist"))
            })?,
            None => cfg
                .subnets
                .iter()
                .find(|s| zone.map_or_else(|| offered.contains(&s.zone.as_str()), |z| s.zone == z))
                .ok_or_else(|| {
                    ApiError::new(
                        "MissingInput",
                        "No subnets found for the default VPC. Please specify a subnet.",
                    )
                })?,
        };
        if let Some(z) = zone.filter(|z| *z != subnet.zone) {
            return Err(ApiError::new(
                "InvalidParameterValue",
                format!(
                    "The availability zone '{z}' does not match the zone '{}' of the subnet '{}'.",
                    subnet.zone, subnet.id
                ),
            ));
        }
        if !offered.contains(&subnet.zone.as_str()) {
            return Err(ApiError::new(
                "Unsupported",
                format!(
                    "Your requested instance type ({itype}) is not supported in your requested Availability Zone ({}). Please retry your request by not specifying an Availability Zone or choosing {}.",
                    subnet.zone,
                    offered.join(", ")
                ),
            ));
        }
        Ok((subnet.zone.clone(), subnet.id.clone()))
    }
}

fn check_group(w: &World, name: &str, spec: &Spec, zone: &str) -> ApiResult<()> {
    let g = w.groups.get(name).ok_or_else(|| groups::unknown(name))?;
    if !spec.groups(&g.strategy) {
        return Err(ApiError::new(
            "InvalidParameterCombination",
            format!(
                "The instance type '{}' is not supported in placement groups of strategy '{}'.",
                spec.name, g.strategy
            ),
        ));
    }
    if g.strategy == "cluster" {
        let held =
            |i: &&crate::world::Instance| i.state != State::Terminated && i.group.as_deref() == Some(name);
        if let Some(other) = w.instances.values().filter(held).find(|i| i.zone != zone) {
            return Err(groups::one_zone(name, &other.zone, zone));
        }
    }
    Ok(())
}

fn known_groups(cfg: &Config, ids: &[String]) -> ApiResult<()> {
    match ids.iter().find(|id| !cfg.security_groups.iter().any(|g| g.id == **id)) {
        Some(id) => {
            Err(ApiError::new("InvalidGroup.NotFound", format!("The security group '{id}' does not exist")))
        }
        None => Ok(()),
    }
}

/// The interfaces a template asks for, against what the type's network cards take.
fn interfaces(cfg: &Config, data: &Tree, spec: &Spec) -> ApiResult<(Vec<WishedNic>, Vec<String>)> {
    let mut top = data.strings("SecurityGroupId");
    for name in data.strings("SecurityGroup") {
        let g = cfg.security_groups.iter().find(|g| g.name == name);
        top.push(g.map_or(name, |g| g.id.clone()));
    }
    let wanted = data.list("NetworkInterface");
    if wanted.is_empty() {
        known_groups(cfg, &top)?;
        let one = WishedNic { card: 0, device: 0, kind: "interface".into(), groups: top.clone() };
        return Ok((vec![one], top));
    }
    let combination = |text: String| Err(ApiError::new("InvalidParameterCombination", text));
    if !top.is_empty() {
        return combination(
            "Network interfaces and an instance-level security groups may not be specified on the same request".into(),
        );
    }
    let several = wanted.len() > 1;
    let mut nics = Vec::new();
    let mut places = BTreeSet::new();
    let mut per_card: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    for n in wanted {
        let (card, device) = (n.int("NetworkCardIndex").unwrap_or(0), n.int("DeviceIndex").unwrap_or(0));
        let kind = n.str("InterfaceType").unwrap_or("interface");
        if !matches!(kind, "interface" | "efa" | "efa-only") {
            return Err(ApiError::value("InterfaceType", kind, "Valid values: interface, efa, efa-only."));
        }
        if several && n.at("AssociatePublicIpAddress").is_some() {
            return combination("The associatePublicIPAddress parameter cannot be specified when launching with multiple network interfaces.".into());
        }
        let Some(c) = usize::try_from(card).ok().and_then(|i| spec.cards.get(i)) else {
            return Err(ApiError::new(
                "InvalidParameterValue",
                format!(
                    "NetworkCardIndex {card} exceeds the network cards of {} ({}).",
                    spec.name,
                    spec.cards.len()
                ),
            ));
        };
        if !places.insert((card, device)) {
            return Err(ApiError::new(
                "InvalidParameterValue",
                format!(
                    "Each network interface requires a unique device index. (network card {card}, device {device})"
                ),
            ));
        }
        let efa = kind != "interface";
        if efa && spec.max_efa == 0 {
            return combination(format!("EFA interfaces are not supported on {}.", spec.name));
        }
        if !c.kinds.iter().any(|k| k == kind) {
            return combination(format!(
                "Network card {card} of {} does not support interfaces of type '{kind}'.",
                spec.name
            ));
        }
        if kind == "efa-only" {
            if card == 0 && device == 0 {
                return combination("The primary network interface cannot be of type 'efa-only'.".into());
            }
            let address = [
                "PrivateIpAddress",
                "PrivateIpAddresses",
                "SecondaryPrivateIpAddressCount",
                "Ipv6AddressCount",
                "Ipv6Addresses",
            ];
            if address.iter().any(|a| n.at(a).is_some()) {
                return combination("Interfaces of type 'efa-only' cannot have IP addresses.".into());
            }
        }
        let count = per_card.entry(card).or_default();
        count.0 += 1;
        count.1 += i64::from(efa);
        if count.0 > c.max_interfaces {
            return Err(limit("Interface", count.0, &format!("network card {card} of {}", spec.name)));
        }
        if count.1 > 1 {
            return Err(limit("EFA interface", count.1, &format!("network card {card} of {}", spec.name)));
        }
        let groups = n.strings("SecurityGroupId");
        known_groups(cfg, &groups)?;
        nics.push(WishedNic { card, device, kind: kind.to_owned(), groups });
    }
    let efas = nics.iter().filter(|n| n.kind != "interface").count() as i64;
    if efas > spec.max_efa {
        return Err(limit("EFA interface", efas, &spec.name));
    }
    if nics.len() as i64 > spec.max_interfaces {
        return Err(limit("Interface", nics.len() as i64, &spec.name));
    }
    nics.sort_by_key(|n| (n.card, n.device));
    match nics.first() {
        Some(n) if n.card == 0 && n.device == 0 => {
            let groups = n.groups.clone();
            Ok((nics, groups))
        }
        _ => Err(ApiError::new(
            "InvalidParameterValue",
            "A primary network interface (network card 0, device index 0) must be specified.",
        )),
    }
}

fn limit(what: &str, n: i64, of: &str) -> ApiError {
    ApiError::new("AttachmentLimitExceeded", format!("{what} count {n} exceeds the limit for {of}"))
}

/// Reads the configurations of a CreateFleet call into wishes, in order.
pub fn wishes(w: &World, tree: &Tree) -> ApiResult<Vec<Wish>> {
    let mut out = Vec::new();
    for c in tree.list("LaunchTemplateConfigs") {
        let empty = Tree::default();
        let spec = c.at("LaunchTemplateSpecification").unwrap_or(&empty);
        let template = templates::named(w, spec)?.clone();
        let version =
            spec.need("Version").map_err(|_| ApiError::missing("LaunchTemplateSpecification.Version"))?;
        templates::version(&template, version)?;
        let version = version.to_owned();
        let overs = c.list("Overrides");
        if overs.is_empty() {
            out.push(Wish { template: template.clone(), version: version.clone(), over: empty.clone() });
        }
        for o in overs {
            if o.at("InstanceRequirements").is_some() {
                return Err(ApiError::new(
                    "UnsupportedOperation",
                    "Attribute-based instance type selection is not simulated.",
                ));
            }
            out.push(Wish { template: template.clone(), version: version.clone(), over: o.clone() });
        }
    }
    if out.is_empty() {
        return Err(ApiError::missing("LaunchTemplateConfigs"));
    }
    if out.len() > 300 {
        return Err(ApiError::new(
            "InvalidParameterValue",
            "A fleet can have at most 300 launch template overrides.",
        ));
    }
    Ok(out)
}
