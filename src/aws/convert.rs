//! Facts of instance types, and subnets.
use crate::call::call;
use aws_sdk_ec2::{
    Client,
    types::{Filter, InstanceTypeInfo, NetworkCardInfo, NetworkCardInterfaceType as N, UsageClassType},
};
use burst_cloud::CloudError;
use burst_policy::{TypeFacts, types::Card};
use std::collections::BTreeMap;

/// EC2's limit of names in one DescribeInstanceTypes.
const NAMES: usize = 100;

fn whole<T: TryInto<u32>>(n: Option<T>) -> u32 {
    n.and_then(|n| n.try_into().ok()).unwrap_or(0)
}

/// Which cards carry an EFA. EC2 says so per card in `InterfaceTypes`. An endpoint that leaves the list out gives
/// only a count: all cards where it covers them; card 0 where it is one; else the last ones, because the
/// types with fewer EFAs than cards keep card 0 for ENA.
fn cards(info: &[NetworkCardInfo], efa_max: u32) -> Vec<Card> {
    let mut out: Vec<Card> = info
        .iter()
        .map(|c| Card {
            index: whole(c.network_card_index()),
            interfaces: whole(c.maximum_network_interfaces()),
            efa: c.interface_types().iter().any(|t| matches!(t, N::Efa | N::EfaOnly)),
        })
        .collect();
    out.sort_by_key(|c| c.index);
    if efa_max == 0 {
        for c in &mut out {
            c.efa = false;
        }
    } else if info.iter().all(|c| c.interface_types().is_empty()) {
        let count = u32::try_from(out.len()).unwrap_or(u32::MAX);
        let first = if efa_max == 1 { 0 } else { count.saturating_sub(efa_max) };
        for (i, c) in (0_u32..).zip(&mut out) {
            c.efa = i >= first && i - first < efa_max;
        }
    }
    out
}

fn facts(info: &InstanceTypeInfo) -> Option<TypeFacts> {
    let name = info.instance_type()?.as_str().to_owned();
    let network = info.network_info();
    let efa_max = network
        .filter(|n| n.efa_supported().unwrap_or(false))
        .map_or(0, |n| whole(n.efa_info().and_then(|e| e.maximum_efa_interfaces())).max(1));
    let usage = info.supported_usage_classes();
    Some(TypeFacts {
        name,
        vcpus: whole(info.v_cpu_info().and_then(|v| v.default_v_cpus())),
        cores: whole(info.v_cpu_info().and_then(|v| v.default_cores())),
        memory_mib: info
            .memory_info()
            .and_then(|m| m.size_in_mib())
            .and_then(|m| u64::try_from(m).ok())
            .unwrap_or(0),
        gpus: info.gpu_info().map_or(0, |g| g.gpus().iter().map(|d| whole(d.count())).sum()),
        efa_max,
        cards: cards(network.map(|n| n.network_cards()).unwrap_or_default(), efa_max),
        on_demand: usage.contains(&UsageClassType::OnDemand),
        spot: usage.contains(&UsageClassType::Spot),
    })
}

/// Facts of the types; names the region does not know are absent.
pub(crate) async fn instance_types(client: &Client, names: &[String]) -> Result<Vec<TypeFacts>, CloudError> {
    let mut out = Vec::with_capacity(names.len());
    for batch in names.chunks(NAMES) {
        let named = client
            .describe_instance_types()
            .set_instance_types(Some(batch.iter().map(|n| n.as_str().into()).collect()));
        // One unknown name fails the whole call; a filter passes it over.
        let filtered = client.describe_instance_types().filters(filter("instance-type", batch));
        let mut by_name = true;
        let mut token = None;
        loop {
            let request = if by_name { named.clone() } else { filtered.clone() };
            let page = match call("DescribeInstanceTypes", request.set_next_token(token).send()).await {
                Err(e) if by_name && e.code == "InvalidInstanceType" => {
                    by_name = false;
                    token = None;
                    continue;
                }
                other => other?,
            };
            out.extend(page.instance_types().iter().filter_map(facts));
            token = page.next_token().filter(|t| !t.is_empty()).map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
    }
    Ok(out)
}

/// Subnet id → (zone, free addresses).
pub(crate) async fn subnets(
    client: &Client,
    ids: &[String],
) -> Result<BTreeMap<String, (String, u32)>, CloudError> {
    let mut out = BTreeMap::new();
    for batch in ids.chunks(NAMES) {
        let mut token = None;
        loop {
            let request =
                client.describe_subnets().set_subnet_ids(Some(batch.to_vec())).set_next_token(token);
            let page = call("DescribeSubnets", request.send()).await?;
            for s in page.subnets() {
                if let (Some(id), Some(zone)) = (s.subnet_id(), s.availability_zone()) {
                    out.insert(id.to_owned(), (zone.to_owned(), whole(s.available_ip_address_count())));
                }
            }
            token = page.next_token().filter(|t| !t.is_empty()).map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
    }
    Ok(out)
}

/// A filter over several values.
pub(crate) fn filter(name: &str, values: &[String]) -> Filter {
    Filter::builder().name(name).set_values(Some(values.to_vec())).build()
}
