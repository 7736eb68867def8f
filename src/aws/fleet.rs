//! CreateFleet: one instant, all-or-nothing request.
use crate::{call::call, error};
use aws_sdk_ec2::{
    Client,
    operation::RequestId,
    operation::create_fleet::{CreateFleetOutput, builders::CreateFleetFluentBuilder},
    types::{
        CapacityReservationOptionsRequest, DefaultTargetCapacityType, FleetCapacityReservationUsageStrategy,
        FleetLaunchTemplateConfigRequest, FleetLaunchTemplateOverridesRequest,
        FleetLaunchTemplateSpecificationRequest, FleetType, OnDemandOptionsRequest, Placement, ResourceType,
        SpotAllocationStrategy, SpotOptionsRequest, Tag, TagSpecification,
        TargetCapacitySpecificationRequest,
    },
};
use burst_cloud::{CloudError, FleetAnswer, FleetError, FleetRequest, Granted};
use burst_plan::Market;
use burst_policy::{classify::classify, reservation::Kind};
use std::collections::BTreeMap;

/// EC2's bound of `MinTargetCapacity`.
const MAX_NODES: u32 = 1000;

/// Tags of one kind of resource.
pub(crate) fn tags(kind: ResourceType, tags: &BTreeMap<String, String>) -> TagSpecification {
    TagSpecification::builder()
        .resource_type(kind)
        .set_tags(Some(tags.iter().map(|(k, v)| Tag::builder().key(k).value(v).build()).collect()))
        .build()
}

fn request(client: &Client, r: &FleetRequest) -> Result<CreateFleetFluentBuilder, CloudError> {
    let bad = |m: String| error::own("CreateFleet", "InvalidRequest", m);
    if r.nodes == 0 || r.nodes > MAX_NODES {
        return Err(bad(format!("{} nodes: one fleet holds 1 to {MAX_NODES}", r.nodes)));
    }
    if r.client_token.is_empty() || r.client_token.len() > 64 || !r.client_token.is_ascii() {
        return Err(bad("the client token must be 1 to 64 ASCII characters".into()));
    }
    let nodes = i32::try_from(r.nodes).map_err(|e| bad(e.to_string()))?;
    let total = TargetCapacitySpecificationRequest::builder().total_target_capacity(nodes);
    let create = client.create_fleet().r#type(FleetType::Instant).client_token(&r.client_token);
    let mut place = FleetLaunchTemplateOverridesRequest::builder()
        .instance_type(r.instance_type.as_str().into())
        // The subnet fixes the zone; naming both only offers a way to contradict oneself.
        .subnet_id(&r.subnet);
    if let Some(group) = &r.group {
        place = place.placement(Placement::builder().group_name(group).build());
    }
    let kind = r.reservation.as_ref().map(|r| r.kind);
    if kind.is_some() && r.market != Market::OnDemand {
        return Err(bad("spot instances do not run in a capacity reservation".into()));
    }
    if kind == Some(Kind::CapacityBlock) && r.group.is_some() {
        return Err(bad("a Capacity Block takes no placement group".into()));
    }
    // EC2 then fills it from what is reserved first; a launch template that names a reservation goes nowhere else.
    let reserved_first = kind.map(|_| {
        CapacityReservationOptionsRequest::builder()
            .usage_strategy(FleetCapacityReservationUsageStrategy::UseCapacityReservationsFirst)
            .build()
    });
    let create = match r.market {
        // Neither the counts by market nor the options of on-demand may stand beside it (EC2 user guide, EC2 Fleet and
        // Capacity Blocks), so that EC2 may give less than all: the caller gives that back.
        Market::OnDemand if kind == Some(Kind::CapacityBlock) => create.target_capacity_specification(
            total.default_target_capacity_type(DefaultTargetCapacityType::CapacityBlock).build(),
        ),
        Market::OnDemand => create
            .target_capacity_specification(
                total
                    .on_demand_target_capacity(nodes)
                    .spot_target_capacity(0)
                    .default_target_capacity_type(DefaultTargetCapacityType::OnDemand)
                    .build(),
            )
            .on_demand_options(
                OnDemandOptionsRequest::builder()
                    .set_capacity_reservation_options(reserved_first)
                    .min_target_capacity(nodes)
                    .single_availability_zone(true)
                    .single_instance_type(true)
                    .build(),
            ),
        Market::Spot => {
            if let Some(price) = &r.max_price {
                place = place.max_price(price);
            }
            create
                .target_capacity_specification(
                    total
                        .on_demand_target_capacity(0)
                        .spot_target_capacity(nodes)
                        .default_target_capacity_type(DefaultTargetCapacityType::Spot)
                        .build(),
                )
                .spot_options(
                    SpotOptionsRequest::builder()
                        .allocation_strategy(SpotAllocationStrategy::CapacityOptimized)
                        .min_target_capacity(nodes)
                        .single_availability_zone(true)
                        .single_instance_type(true)
                        .build(),
                )
        }
        Market::Mixed => return Err(bad("a gang has one market: on-demand or spot".into())),
    };
    let template = FleetLaunchTemplateSpecificationRequest::builder()
        .launch_template_id(&r.template.id)
        .version(&r.template.version)
        .build();
    let mut create = create.launch_template_configs(
        FleetLaunchTemplateConfigRequest::builder()
            .launch_template_specification(template)
            .overrides(place.build())
            .build(),
    );
    if !r.tags.is_empty() {
        for kind in [
            ResourceType::Fleet,
            ResourceType::Instance,
            ResourceType::Volume,
            ResourceType::NetworkInterface,
        ] {
            create = create.tag_specifications(tags(kind, &r.tags));
        }
    }
    Ok(create)
}

fn answer(out: &CreateFleetOutput) -> FleetAnswer {
    let mut instances = Vec::new();
    // An entry stands for one override and can hold many ids.
    for entry in out.instances() {
        let overrides = entry.launch_template_and_overrides().and_then(|l| l.overrides());
        let zone = entry.availability_zone().or_else(|| overrides.and_then(|o| o.availability_zone()));
        let kind = entry.instance_type().or_else(|| overrides.and_then(|o| o.instance_type()));
        for id in entry.instance_ids() {
            instances.push(Granted {
                id: id.clone(),
                instance_type: kind.map(|k| k.as_str().to_owned()).unwrap_or_default(),
                zone: zone.map(str::to_owned),
            });
        }
    }
    let errors = out
        .errors()
        .iter()
        .map(|e| {
            let code = e.error_code().unwrap_or_default();
            let message = e.error_message().unwrap_or_default();
            FleetError { code: code.into(), message: message.into(), class: classify(code, message) }
        })
        .collect();
    FleetAnswer {
        fleet_id: out.fleet_id().unwrap_or_default().to_owned(),
        instances,
        errors,
        request_id: out.request_id().map(str::to_owned),
    }
}

/// Sends it once.
pub(crate) async fn create(client: &Client, r: &FleetRequest) -> Result<FleetAnswer, CloudError> {
    let out = call("CreateFleet", request(client, r)?.send()).await?;
    let mut answer = answer(&out);
    for granted in &mut answer.instances {
        if granted.instance_type.is_empty() {
            granted.instance_type.clone_from(&r.instance_type);
        }
    }
    if answer.fleet_id.is_empty() && answer.instances.is_empty() && answer.errors.is_empty() {
        let mut e =
            error::own("CreateFleet", "BadAnswer", "the answer names no fleet, no instance and no error");
        e.request_id = answer.request_id;
        e.ambiguous = true;
        return Err(e);
    }
    Ok(answer)
}
