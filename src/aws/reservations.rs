//! Capacity reservations: what EC2 says of them, and how a launch template names one.
use crate::call::call;
use aws_sdk_ec2::{
    Client,
    types::{
        CapacityReservation, CapacityReservationTarget, CapacityReservationType, InstanceMatchCriteria,
        LaunchTemplateCapacityReservationSpecificationRequest, LaunchTemplateInstanceMarketOptionsRequest,
        MarketType,
    },
};
use burst_cloud::CloudError;
use burst_policy::reservation::{Facts, Kind, Reserved};

/// Ids in one call; a site has few.
const IDS: usize = 100;

/// `CapacityReservationSpecification` of a launch template: this reservation and no other.
pub(crate) fn target(r: &Reserved) -> LaunchTemplateCapacityReservationSpecificationRequest {
    LaunchTemplateCapacityReservationSpecificationRequest::builder()
        .capacity_reservation_target(
            CapacityReservationTarget::builder().capacity_reservation_id(&r.id).build(),
        )
        .build()
}

/// `InstanceMarketOptions` of a launch template: a Capacity Block has a market of its own.
pub(crate) fn market(r: &Reserved) -> Option<LaunchTemplateInstanceMarketOptionsRequest> {
    let block = || {
        LaunchTemplateInstanceMarketOptionsRequest::builder().market_type(MarketType::CapacityBlock).build()
    };
    (r.kind == Kind::CapacityBlock).then(block)
}

fn facts(r: &CapacityReservation) -> Option<Facts> {
    let whole = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let time = |t: Option<&aws_smithy_types::DateTime>| t.and_then(|t| u64::try_from(t.secs()).ok());
    let kind = match (r.reservation_type(), r.instance_match_criteria()) {
        (Some(CapacityReservationType::CapacityBlock), _) => Kind::CapacityBlock,
        (_, Some(InstanceMatchCriteria::Open)) => Kind::Open,
        _ => Kind::Targeted,
    };
    Some(Facts {
        id: r.capacity_reservation_id()?.to_owned(),
        state: r.state().map(|s| s.as_str().to_owned()).unwrap_or_default(),
        kind,
        instance_type: r.instance_type().unwrap_or_default().to_owned(),
        zone: r.availability_zone().unwrap_or_default().to_owned(),
        total: whole(r.total_instance_count()),
        available: whole(r.available_instance_count()),
        // arn:aws:ec2:REGION:ACCOUNT:placement-group/NAME
        group: r.placement_group_arn().and_then(|a| a.rsplit_once('/')).map(|(_, name)| name.to_owned()),
        start_s: time(r.start_date()),
        end_s: time(r.end_date()),
    })
}

async fn ask(client: &Client, ids: &[String]) -> Result<Vec<Facts>, CloudError> {
    let mut out = Vec::new();
    let mut token = None;
    loop {
        let request = client
            .describe_capacity_reservations()
            .set_capacity_reservation_ids(Some(ids.to_vec()))
            .set_next_token(token);
        let page = call("DescribeCapacityReservations", request.send()).await?;
        out.extend(page.capacity_reservations().iter().filter_map(facts));
        token = page.next_token().filter(|t| !t.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(out);
        }
    }
}

fn unknown(e: &CloudError) -> bool {
    e.code.starts_with("InvalidCapacityReservationId")
}

/// What EC2 says of reservations. One unknown id fails a whole call: they are then asked for one by one, and those that
/// EC2 does not know are absent.
pub(crate) async fn describe(client: &Client, ids: &[String]) -> Result<Vec<Facts>, CloudError> {
    let mut out = Vec::with_capacity(ids.len());
    for batch in ids.chunks(IDS) {
        match ask(client, batch).await {
            Err(e) if unknown(&e) => {}
            other => {
                out.extend(other?);
                continue;
            }
        }
        for id in batch {
            match ask(client, std::slice::from_ref(id)).await {
                Err(e) if unknown(&e) => {}
                other => out.extend(other?),
            }
        }
    }
    Ok(out)
}
