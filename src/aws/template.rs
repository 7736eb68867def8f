//! Launch templates: ours, named after their content, and the site's own.
use crate::{
    call::call,
    convert::filter,
    error,
    fleet::tags,
    groups::CLUSTER,
    layout::{Interface, Kind, efa_count, layout},
};
use aws_sdk_ec2::{
    Client,
    types::{
        Image, LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest,
        LaunchTemplateHttpTokensState, LaunchTemplateIamInstanceProfileSpecificationRequest,
        LaunchTemplateInstanceMetadataEndpointState, LaunchTemplateInstanceMetadataOptionsRequest,
        LaunchTemplateInstanceMetadataTagsState, LaunchTemplateInstanceNetworkInterfaceSpecificationRequest,
        RequestLaunchTemplateData, ResourceType, ShutdownBehavior,
    },
};
use burst_cloud::{CloudError, Template, TemplateRef, TemplateSpec};
use burst_policy::reservation::Reserved;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, time::Duration};

/// EC2's limit of user data before base64.
const USER_DATA: usize = 16 * 1024;
/// Part of every name: a change of what we write for the same spec must give another template.
const FORM: u32 = 1;
/// The version of a template that we created and never change.
const FIRST: &str = "1";
/// Waits for a template that exists by name but is not shown yet.
const UNSEEN_WAITS: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(900),
    Duration::from_millis(2000),
];

/// What decides a template; facts of the type count only through the interfaces they give.
#[derive(Serialize)]
struct Canonical<'a> {
    form: u32,
    cluster: &'a str,
    pool: &'a str,
    interfaces: &'a [Interface],
    image: &'a str,
    security_groups: &'a [String],
    instance_profile: Option<&'a str>,
    key_name: Option<&'a str>,
    root_gib: Option<u32>,
    public_ip: bool,
    user_data: &'a str,
    /// Absent where there is none: templates of before keep their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation: Option<&'a Reserved>,
}

fn bad(code: &str, message: impl Into<String>) -> CloudError {
    error::own("CreateLaunchTemplate", code, message)
}

/// Name of the template of a spec: `burst-POOL-HASH`.
///
/// # Errors
/// A spec that cannot become a template: too much user data, a public address with several interfaces, more EFA
/// interfaces than the type takes.
pub fn template_name(spec: &TemplateSpec) -> Result<String, CloudError> {
    checked(spec).map(|(name, _)| name)
}

fn checked(spec: &TemplateSpec) -> Result<(String, Vec<Interface>), CloudError> {
    let interfaces = layout(&spec.facts, spec.efa);
    let found = efa_count(&interfaces);
    if found < spec.efa {
        return Err(bad(
            "TooFewEfa",
            format!(
                "{} takes {found} EFA interfaces, {} were asked for; choose another type",
                spec.facts.name, spec.efa
            ),
        ));
    }
    if spec.user_data.len() > USER_DATA {
        return Err(bad(
            "UserDataTooLong",
            format!(
                "user data is {} bytes, EC2 takes {USER_DATA}; shorten the list of controllers",
                spec.user_data.len()
            ),
        ));
    }
    if spec.public_ip && interfaces.len() > 1 {
        return Err(bad(
            "PublicAddressWithSeveralInterfaces",
            format!(
                "EC2 gives no public address to an instance with several interfaces ({} has {}): remove public_ip from \
                 the pool and reach the network through NAT or VPC endpoints",
                spec.facts.name,
                interfaces.len()
            ),
        ));
    }
    let canonical = serde_json::to_vec(&Canonical {
        form: FORM,
        cluster: &spec.cluster,
        pool: &spec.pool,
        interfaces: &interfaces,
        image: &spec.image,
        security_groups: &spec.security_groups,
        instance_profile: spec.instance_profile.as_deref(),
        key_name: spec.key_name.as_deref(),
        root_gib: spec.root_gib,
        public_ip: spec.public_ip,
        user_data: &spec.user_data,
        reservation: spec.reservation.as_ref(),
    })
    .map_err(|e| bad("InvalidRequest", e.to_string()))?;
    let hash: String = Sha256::digest(&canonical).iter().take(6).map(|b| format!("{b:02x}")).collect();
    Ok((format!("burst-{}-{hash}", spec.pool), interfaces))
}

/// Encrypts the image's EBS volumes and ends them with the instance; sizes the root.
fn volumes(
    image: &Image,
    spec: &TemplateSpec,
) -> Result<Vec<LaunchTemplateBlockDeviceMappingRequest>, CloudError> {
    let root = image.root_device_name().unwrap_or_default();
    let mut out = Vec::new();
    let mut seen_root = false;
    let mapping = |device: &str, size: Option<u32>| {
        let mut ebs =
            LaunchTemplateEbsBlockDeviceRequest::builder().encrypted(true).delete_on_termination(true);
        if let Some(gib) = size.and_then(|s| i32::try_from(s).ok()) {
            ebs = ebs.volume_size(gib);
        }
        LaunchTemplateBlockDeviceMappingRequest::builder().device_name(device).ebs(ebs.build()).build()
    };
    for m in image.block_device_mappings() {
        let (Some(device), Some(ebs)) = (m.device_name(), m.ebs()) else { continue };
        let is_root = device == root;
        seen_root |= is_root;
        let least = ebs.volume_size().and_then(|s| u32::try_from(s).ok()).unwrap_or(0);
        if let Some(gib) = spec.root_gib.filter(|&g| is_root && g < least) {
            return Err(bad(
                "RootTooSmall",
                format!("root_gib = {gib}, but image {} needs {least} GiB: write at least that", spec.image),
            ));
        }
        out.push(mapping(device, spec.root_gib.filter(|_| is_root)));
    }
    if !seen_root && !root.is_empty() {
        out.insert(0, mapping(root, spec.root_gib));
    }
    Ok(out)
}

fn interface(
    i: &Interface,
    spec: &TemplateSpec,
    alone: bool,
) -> LaunchTemplateInstanceNetworkInterfaceSpecificationRequest {
    let mut b = LaunchTemplateInstanceNetworkInterfaceSpecificationRequest::builder()
        .network_card_index(i32::try_from(i.card).unwrap_or(0))
        .device_index(i32::try_from(i.device).unwrap_or(0))
        .delete_on_termination(true)
        .set_groups(Some(spec.security_groups.clone()).filter(|g| !g.is_empty()));
    if i.kind != Kind::Interface || !alone {
        b = b.interface_type(i.kind.as_str());
    }
    // Without the key the subnet's own setting decides, which EC2 refuses beside several interfaces.
    if alone {
        b = b.associate_public_ip_address(spec.public_ip);
    }
    b.build()
}

fn data(
    spec: &TemplateSpec,
    interfaces: &[Interface],
    volumes: Vec<LaunchTemplateBlockDeviceMappingRequest>,
) -> RequestLaunchTemplateData {
    let metadata = LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_endpoint(LaunchTemplateInstanceMetadataEndpointState::Enabled)
        .http_tokens(LaunchTemplateHttpTokensState::Required)
        .http_put_response_hop_limit(2)
        .instance_metadata_tags(LaunchTemplateInstanceMetadataTagsState::Enabled)
        .build();
    let mut b = RequestLaunchTemplateData::builder()
        .image_id(&spec.image)
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .metadata_options(metadata)
        .set_block_device_mappings(Some(volumes).filter(|v| !v.is_empty()))
        .set_key_name(spec.key_name.clone())
        .set_capacity_reservation_specification(spec.reservation.as_ref().map(crate::reservations::target))
        .set_instance_market_options(spec.reservation.as_ref().and_then(crate::reservations::market))
        .set_network_interfaces(Some(
            interfaces.iter().map(|i| interface(i, spec, interfaces.len() == 1)).collect(),
        ));
    if !spec.user_data.is_empty() {
        b = b.user_data(aws_smithy_types::base64::encode(spec.user_data.as_bytes()));
    }
    if let Some(profile) = &spec.instance_profile {
        let p = LaunchTemplateIamInstanceProfileSpecificationRequest::builder();
        let p = if profile.starts_with("arn:") { p.arn(profile) } else { p.name(profile) };
        b = b.iam_instance_profile(p.build());
    }
    b.build()
}

async fn find(client: &Client, name: &str) -> Result<Option<TemplateRef>, CloudError> {
    let by_name = filter("launch-template-name", &[name.to_owned()]);
    let out =
        call("DescribeLaunchTemplates", client.describe_launch_templates().filters(by_name).send()).await?;
    Ok(out
        .launch_templates()
        .iter()
        .find(|t| t.launch_template_name() == Some(name))
        .and_then(|t| t.launch_template_id())
        .map(|id| TemplateRef { id: id.to_owned(), version: FIRST.to_owned() }))
}

/// Finds or creates the template of a spec.
pub(crate) async fn ensure(client: &Client, spec: &TemplateSpec) -> Result<TemplateRef, CloudError> {
    let (name, interfaces) = checked(spec)?;
    if let Some(found) = find(client, &name).await? {
        return Ok(found);
    }
    let images = call("DescribeImages", client.describe_images().image_ids(&spec.image).send()).await?;
    let Some(image) = images.images().first() else {
        return Err(bad(
            "InvalidAMIID.NotFound",
            format!("image {} is not in this region, or not shared with this account", spec.image),
        ));
    };
    let volumes = volumes(image, spec)?;
    let owner = BTreeMap::from([
        (CLUSTER.to_owned(), spec.cluster.clone()),
        ("slurm-burst:pool".to_owned(), spec.pool.clone()),
    ]);
    let request = client
        .create_launch_template()
        .launch_template_name(&name)
        .launch_template_data(data(spec, &interfaces, volumes))
        .tag_specifications(tags(ResourceType::LaunchTemplate, &owner));
    match call("CreateLaunchTemplate", request.send()).await {
        Ok(out) => {
            let id = out.launch_template().and_then(|t| t.launch_template_id());
            id.map(|id| TemplateRef { id: id.to_owned(), version: FIRST.to_owned() })
                .ok_or_else(|| bad("BadAnswer", "the answer names no launch template"))
        }
        // Somebody else (the backup controller, an earlier self) was faster: same name, same content.
        Err(e) if e.code.starts_with("InvalidLaunchTemplateName.AlreadyExists") => {
            for wait in UNSEEN_WAITS {
                if let Some(found) = find(client, &name).await? {
                    return Ok(found);
                }
                tokio::time::sleep(wait).await;
            }
            Err(e)
        }
        Err(e) => Err(e),
    }
}

/// Templates with the cluster's tag.
pub(crate) async fn list(client: &Client, cluster: &str) -> Result<Vec<Template>, CloudError> {
    let mine = filter(&format!("tag:{CLUSTER}"), &[cluster.to_owned()]);
    let mut out = Vec::new();
    let mut token = None;
    loop {
        let request = client.describe_launch_templates().filters(mine.clone()).set_next_token(token);
        let page = call("DescribeLaunchTemplates", request.send()).await?;
        out.extend(page.launch_templates().iter().filter_map(|t| {
            Some(Template {
                id: t.launch_template_id()?.to_owned(),
                name: t.launch_template_name().unwrap_or_default().to_owned(),
                created: t.create_time().and_then(|c| u64::try_from(c.secs()).ok()).unwrap_or(0),
            })
        }));
        token = page.next_token().filter(|t| !t.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(out);
        }
    }
}

/// Deletes one.
pub(crate) async fn delete(client: &Client, id: &str) -> Result<(), CloudError> {
    match call("DeleteLaunchTemplate", client.delete_launch_template().launch_template_id(id).send()).await {
        Err(e) if e.code != "InvalidLaunchTemplateId.NotFound" => Err(e),
        _ => Ok(()),
    }
}

fn is_id(text: &str) -> bool {
    text.strip_prefix("lt-").is_some_and(|h| h.len() >= 8 && h.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The site's own template at its default version.
pub(crate) async fn of_site(client: &Client, text: &str, needs_efa: bool) -> Result<TemplateRef, CloudError> {
    const API: &str = "DescribeLaunchTemplateVersions";
    let request = client.describe_launch_template_versions().versions("$Default");
    let request =
        if is_id(text) { request.launch_template_id(text) } else { request.launch_template_name(text) };
    let out = call(API, request.send()).await?;
    let Some(v) = out.launch_template_versions().first() else {
        return Err(error::own(
            API,
            "InvalidLaunchTemplate",
            format!("launch template {text:?} has no default version"),
        ));
    };
    let (Some(id), Some(number)) = (v.launch_template_id(), v.version_number()) else {
        return Err(error::own(
            API,
            "BadAnswer",
            format!("launch template {text:?}: the answer has no id or version"),
        ));
    };
    let data = v.launch_template_data();
    let efa = data.is_some_and(|d| {
        d.network_interfaces().iter().any(|i| matches!(i.interface_type(), Some("efa" | "efa-only")))
    });
    if needs_efa && !efa {
        return Err(error::own(
            API,
            "NoEfaInterfaces",
            format!(
                "version {number} of launch template {text:?} has no network interface of type efa or efa-only: add \
                 them, or set efa = \"off\" in the pool, or let slurm-burst make the template (image instead of \
                 launch_template)"
            ),
        ));
    }
    if data.and_then(|d| d.instance_initiated_shutdown_behavior()) != Some(&ShutdownBehavior::Terminate) {
        tracing::warn!(
            template = text,
            "the site's launch template does not set InstanceInitiatedShutdownBehavior=terminate: an instance that \
             switches itself off would stop, keep its volumes and cost money"
        );
    }
    Ok(TemplateRef { id: id.to_owned(), version: number.to_string() })
}
