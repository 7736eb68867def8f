//! Instances: by id, by owner, and their end.
use crate::{call::call, convert::filter, groups::CLUSTER};
use aws_sdk_ec2::{
    Client,
    operation::describe_instances::builders::DescribeInstancesFluentBuilder,
    types::{Instance as SdkInstance, InstanceStateName},
};
use burst_cloud::{CloudError, DESCRIBE_MOST, Instance, InstanceState};
use std::{collections::BTreeSet, time::Duration};

/// Ids in one TerminateInstances (EC2 takes 1000; smaller ones fail smaller).
const TERMINATE: usize = 500;
/// Waits before an id that EC2 does not know is taken as gone: right after a launch it may just not know it yet.
const UNKNOWN_WAITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1500)];

fn state(s: Option<&InstanceStateName>) -> InstanceState {
    match s {
        Some(InstanceStateName::Running) => InstanceState::Running,
        Some(InstanceStateName::ShuttingDown) => InstanceState::ShuttingDown,
        Some(InstanceStateName::Terminated) => InstanceState::Terminated,
        Some(InstanceStateName::Stopping) => InstanceState::Stopping,
        Some(InstanceStateName::Stopped) => InstanceState::Stopped,
        // An unknown state is treated as alive: it may cost money.
        _ => InstanceState::Pending,
    }
}

fn convert(i: &SdkInstance) -> Option<Instance> {
    Some(Instance {
        id: i.instance_id()?.to_owned(),
        state: state(i.state().and_then(|s| s.name())),
        ip: i.private_ip_address().and_then(|a| a.parse().ok()),
        dns: i.private_dns_name().filter(|d| !d.is_empty()).map(str::to_owned),
        instance_type: i.instance_type().map(|t| t.as_str().to_owned()).unwrap_or_default(),
        zone: i.placement().and_then(|p| p.availability_zone()).unwrap_or_default().to_owned(),
        group: i.placement().and_then(|p| p.group_name()).unwrap_or_default().to_owned(),
        launched: i.launch_time().and_then(|t| u64::try_from(t.secs()).ok()).unwrap_or(0),
        tags: i
            .tags()
            .iter()
            .filter_map(|t| Some((t.key()?.to_owned(), t.value().unwrap_or_default().to_owned())))
            .collect(),
    })
}

async fn pages(request: DescribeInstancesFluentBuilder) -> Result<Vec<Instance>, CloudError> {
    let mut out = Vec::new();
    let mut token = None;
    loop {
        let page = call("DescribeInstances", request.clone().set_next_token(token).send()).await?;
        out.extend(page.reservations().iter().flat_map(|r| r.instances()).filter_map(convert));
        token = page.next_token().filter(|t| !t.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(out);
        }
    }
}

/// By id. Ids go into a filter, not into `InstanceId`: a filter passes over what EC2 does not know (yet).
pub(crate) async fn describe(client: &Client, ids: &[String]) -> Result<Vec<Instance>, CloudError> {
    let mut out = Vec::with_capacity(ids.len());
    for batch in ids.chunks(DESCRIBE_MOST) {
        out.extend(
            pages(client.describe_instances().filters(filter("instance-id", batch)).max_results(1000))
                .await?,
        );
    }
    Ok(out)
}

/// By the cluster's tag, whatever is not terminated.
pub(crate) async fn owned(client: &Client, cluster: &str) -> Result<Vec<Instance>, CloudError> {
    let alive = ["pending", "running", "shutting-down", "stopping", "stopped"].map(str::to_owned);
    let request = client
        .describe_instances()
        .filters(filter(&format!("tag:{CLUSTER}"), &[cluster.to_owned()]))
        .filters(filter("instance-state-name", &alive))
        .max_results(1000);
    let mut all = pages(request).await?;
    all.retain(|i| i.state != InstanceState::Terminated);
    Ok(all)
}

/// Instance ids in an error message (`The instance IDs 'i-1, i-2' do not exist`).
fn ids_in(message: &str) -> BTreeSet<String> {
    message
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|w| w.len() > 2 && w.starts_with("i-"))
        .map(str::to_owned)
        .collect()
}

/// Terminates one batch; gives back the ids EC2 does not know.
async fn batch(client: &Client, ids: &[String]) -> Result<Vec<String>, CloudError> {
    let mut rest = ids.to_vec();
    let mut unknown = Vec::new();
    while !rest.is_empty() {
        let sent = client.terminate_instances().set_instance_ids(Some(rest.clone())).send();
        let message = match call("TerminateInstances", sent).await {
            Ok(_) => break,
            Err(e) if e.code == "InvalidInstanceID.NotFound" => e.message,
            Err(e) => return Err(e),
        };
        // One unknown id fails the whole call: leave out those it names, or ask which ones exist.
        let named = ids_in(&message);
        let before = rest.len();
        let (out, keep): (Vec<_>, Vec<_>) = rest.into_iter().partition(|id| named.contains(id));
        unknown.extend(out);
        rest = keep;
        if rest.len() == before {
            let known: BTreeSet<String> = describe(client, &rest).await?.into_iter().map(|i| i.id).collect();
            let (keep, out): (Vec<_>, Vec<_>) = rest.into_iter().partition(|id| known.contains(id));
            // Still refused although every id is known: the endpoint's views disagree; later is better than a loop.
            if out.is_empty() {
                unknown.extend(keep);
                break;
            }
            unknown.extend(out);
            rest = keep;
        }
    }
    Ok(unknown)
}

/// Terminates all; an id still unknown after a short wait is gone. A failed batch does not keep the others alive.
pub(crate) async fn terminate(client: &Client, ids: &[String]) -> Result<(), CloudError> {
    let mut left = ids.to_vec();
    left.sort();
    left.dedup();
    let mut failed = None;
    let mut waits = UNKNOWN_WAITS.iter();
    loop {
        let mut unknown = Vec::new();
        for ids in left.chunks(TERMINATE) {
            match batch(client, ids).await {
                Ok(u) => unknown.extend(u),
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        left = unknown;
        match waits.next() {
            Some(wait) if !left.is_empty() => tokio::time::sleep(*wait).await,
            _ => break,
        }
    }
    failed.map_or(Ok(()), Err)
}
