//! Launch templates.

use super::Request;
use super::shared::{Filters, dry_run, page, remember, replay, tag_set, tag_specs, tags_of};
use crate::clock::{iso8601, now_ms};
use crate::errors::{ApiError, ApiResult};
use crate::query::Tree;
use crate::world::{Template, World};
use base64::Engine as _;
use serde_json::{Map, Value, json};

/// Reads user data; what is too long or not base64 is refused.
pub fn user_data(text: &str) -> ApiResult<Vec<u8>> {
    let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(compact)
        .map_err(|_| ApiError::new("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data."))?;
    if bytes.len() > 16_384 {
        return Err(ApiError::new("InvalidParameterValue", "User data is limited to 16384 bytes"));
    }
    Ok(bytes)
}

/// CreateLaunchTemplate.
pub fn create(r: &Request<'_>) -> ApiResult<Value> {
    let name = r.tree.need("LaunchTemplateName")?;
    let valid = |c: char| c.is_ascii_alphanumeric() || "().-/_".contains(c);
    if !(3..=128).contains(&name.len()) || !name.chars().all(valid) {
        return Err(ApiError::new(
            "InvalidLaunchTemplateName.MalformedException",
            format!("Launch template name '{name}' must be 3 to 128 letters, digits or any of ( ) . - / _"),
        ));
    }
    let Some(data) = r.tree.at("LaunchTemplateData") else {
        return Err(ApiError::missing("LaunchTemplateData"));
    };
    if data.at("InstanceRequirements").is_some() {
        return Err(ApiError::new(
            "UnsupportedOperation",
            "Attribute-based instance type selection is not simulated.",
        ));
    }
    let tags = tags_of(&tag_specs(&r.tree, "TagSpecification", &["launch-template"])?, "launch-template");
    tag_specs(
        data,
        "TagSpecification",
        &["instance", "volume", "network-interface", "spot-instances-request"],
    )?;
    super::reservations::check(data)?;
    if let Some(text) = data.str("UserData") {
        user_data(text)?;
    }
    let mut w = r.sim.world();
    if let Some(answer) = replay(r, &w, "CreateLaunchTemplate", 128)? {
        return Ok(answer);
    }
    if w.templates.values().any(|t| t.name == name) {
        return Err(ApiError::new(
            "InvalidLaunchTemplateName.AlreadyExistsException",
            "Launch template name already in use.",
        ));
    }
    dry_run(&r.tree)?;
    let t = Template {
        id: r.sim.ids.resource("lt"),
        name: name.to_owned(),
        description: r.tree.str("VersionDescription").map(str::to_owned),
        created_ms: now_ms(),
        tags,
        data: data.clone(),
    };
    let answer = json!({"launchTemplate": show(r, &t)});
    w.templates.insert(t.id.clone(), t);
    remember(r, &mut w, "CreateLaunchTemplate", &answer);
    Ok(answer)
}

fn show(r: &Request<'_>, t: &Template) -> Value {
    json!({
        "launchTemplateId": t.id, "launchTemplateName": t.name, "createTime": iso8601(t.created_ms),
        "createdBy": format!("arn:aws:iam::{}:user/burst", r.sim.cfg.account),
        "defaultVersionNumber": 1, "latestVersionNumber": 1, "tagSet": tag_set(&t.tags),
    })
}

fn no_name(name: &str) -> ApiError {
    ApiError::new(
        "InvalidLaunchTemplateName.NotFoundException",
        format!("At least one of the launch templates specified in the request does not exist: {name}"),
    )
}

fn no_id(id: &str) -> ApiError {
    let (code, why) = if crate::ids::well_formed(id, "lt") {
        ("InvalidLaunchTemplateId.NotFound", "does not exist")
    } else {
        ("InvalidLaunchTemplateId.Malformed", "is malformed")
    };
    ApiError::new(code, format!("The specified launch template, with template ID {id}, {why}."))
}

/// The template that `LaunchTemplateId` or `LaunchTemplateName` of a tree names: exactly one has to be given.
pub fn named<'w>(w: &'w World, tree: &Tree) -> ApiResult<&'w Template> {
    match (tree.str("LaunchTemplateId"), tree.str("LaunchTemplateName")) {
        (Some(id), None) => w.templates.get(id).ok_or_else(|| no_id(id)),
        (None, Some(n)) => w.templates.values().find(|t| t.name == n).ok_or_else(|| no_name(n)),
        (None, None) => Err(ApiError::new(
            "MissingParameter",
            "Either a launch template ID or a launch template name must be specified in the request.",
        )),
        (Some(_), Some(_)) => Err(ApiError::new(
            "InvalidParameterCombination",
            "The request must contain either a launch template ID or a launch template name, but not both.",
        )),
    }
}

/// A version has to be one that there is.
pub fn version(t: &Template, v: &str) -> ApiResult<()> {
    if matches!(v, "1" | "$Latest" | "$Default") {
        return Ok(());
    }
    Err(ApiError::new(
        "InvalidLaunchTemplateId.VersionNotFound",
        format!("Could not find the specified version {v} for the launch template with ID {}.", t.id),
    ))
}

/// DescribeLaunchTemplates.
pub fn describe(r: &Request<'_>) -> ApiResult<Value> {
    let filters = Filters::read(&r.tree, &["launch-template-name", "create-time", "tag"])?;
    let (ids, names) = (r.tree.strings("LaunchTemplateId"), r.tree.strings("LaunchTemplateName"));
    let w = r.sim.world();
    if let Some(id) = ids.iter().find(|i| !w.templates.contains_key(*i)) {
        return Err(no_id(id));
    }
    if let Some(n) = names.iter().find(|n| !w.templates.values().any(|t| t.name == **n)) {
        return Err(no_name(n));
    }
    let list: Vec<Value> = w
        .templates
        .values()
        .filter(|t| (ids.is_empty() && names.is_empty()) || ids.contains(&t.id) || names.contains(&t.name))
        .filter(|t| {
            filters.pass(Some(&t.tags), |n| {
                vec![if n == "create-time" { iso8601(t.created_ms) } else { t.name.clone() }]
            })
        })
        .map(|t| show(r, t))
        .collect();
    let (list, next) = page(&r.tree, list, (1, 200))?;
    dry_run(&r.tree)?;
    Ok(json!({"launchTemplates": list, "nextToken": next}))
}

/// DescribeLaunchTemplateVersions.
pub fn versions(r: &Request<'_>) -> ApiResult<Value> {
    Filters::read(&r.tree, &[])?;
    let w = r.sim.world();
    let asked = r.tree.strings("LaunchTemplateVersion");
    let several = r.tree.str("LaunchTemplateId").is_none()
        && r.tree.str("LaunchTemplateName").is_none()
        && !asked.is_empty()
        && asked.iter().all(|v| v.starts_with('$'));
    let list: Vec<&Template> =
        if several { w.templates.values().collect() } else { vec![named(&w, &r.tree)?] };
    for (t, v) in list.iter().flat_map(|t| asked.iter().map(move |v| (t, v))) {
        version(t, v)?;
    }
    let outside =
        r.tree.int("MinVersion").is_some_and(|n| n > 1) || r.tree.int("MaxVersion").is_some_and(|n| n < 1);
    let list: Vec<Value> = list
        .into_iter()
        .filter(|_| !outside)
        .map(|t| {
            json!({
                "launchTemplateId": t.id, "launchTemplateName": t.name, "versionNumber": 1,
                "versionDescription": t.description, "createTime": iso8601(t.created_ms),
                "createdBy": format!("arn:aws:iam::{}:user/burst", r.sim.cfg.account), "defaultVersion": true,
                "launchTemplateData": data(&t.data, ""),
            })
        })
        .collect();
    let (list, next) = page(&r.tree, list, (1, 200))?;
    dry_run(&r.tree)?;
    Ok(json!({"launchTemplateVersionSet": list, "nextToken": next}))
}

/// Names of the answer's elements that are not the request's with a small first letter.
fn answer_name(parent: &str, name: &str) -> String {
    let other = match (parent, name) {
        ("NetworkInterface", "SecurityGroupId") => "groupSet/groupId",
        (_, "SecurityGroupId") => "securityGroupIdSet",
        (_, "SecurityGroup") => "securityGroupSet",
        (_, "BlockDeviceMapping") => "blockDeviceMappingSet",
        (_, "NetworkInterface") => "networkInterfaceSet",
        (_, "TagSpecification") => "tagSpecificationSet",
        (_, "Tag") => "tagSet",
        (_, "LicenseSpecification") => "licenseSet",
        (_, "Ipv6Addresses") => "ipv6AddressesSet",
        ("NetworkInterface", "PrivateIpAddresses") => "privateIpAddressesSet",
        (_, "MetricCategoryId") => "metricCategoryIdSet",
        (_, "ElasticGpuSpecification") => "elasticGpuSpecificationSet",
        (_, "ElasticInferenceAccelerator") => "elasticInferenceAcceleratorSet",
        (_, "SecondaryInterface") => "secondaryInterfaceSet",
        (_, "Ipv4Prefix") if parent == "NetworkInterface" => "ipv4PrefixSet",
        (_, "Ipv6Prefix") if parent == "NetworkInterface" => "ipv6PrefixSet",
        _ => {
            let mut c = name.chars();
            return c.next().map(|f| f.to_lowercase().chain(c).collect()).unwrap_or_default();
        }
    };
    other.to_owned()
}

/// Launch template data as the answer writes it.
fn data(tree: &Tree, parent: &str) -> Value {
    if let Some(text) = tree.text() {
        return json!(text);
    }
    if tree.kids().all(|(k, _)| k.parse::<u32>().is_ok()) {
        let mut list: Vec<(u32, &Tree)> =
            tree.kids().filter_map(|(k, t)| Some((k.parse().ok()?, t))).collect();
        list.sort_by_key(|(n, _)| *n);
        return list.into_iter().map(|(_, t)| data(t, parent)).collect();
    }
    let map: Map<String, Value> = tree.kids().map(|(k, t)| (answer_name(parent, k), data(t, k))).collect();
    Value::Object(map)
}

/// DeleteLaunchTemplate.
pub fn delete(r: &Request<'_>) -> ApiResult<Value> {
    let mut w = r.sim.world();
    let t = named(&w, &r.tree)?.clone();
    dry_run(&r.tree)?;
    w.templates.remove(&t.id);
    Ok(json!({"launchTemplate": show(r, &t)}))
}
