//! Walks one gang through an EC2 endpoint that costs nothing (moto, ec2sim): types, template, group, fleet, end.
//!
//! `probe URL IMAGE SUBNET SECURITY_GROUP [TYPE [NODES [nogroups]]]`
use burst_aws::{Ec2, Settings};
use burst_cloud::{Cloud, CloudError, FleetRequest, TemplateSpec};
use burst_plan::Market;
use std::{collections::BTreeMap, process::ExitCode};

fn main() -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    match runtime.block_on(walk()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("probe: {e} (class {:?}, ambiguous {})", e.class, e.ambiguous);
            ExitCode::FAILURE
        }
    }
}

async fn walk() -> Result<(), CloudError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |n: usize, default: &str| args.get(n).cloned().unwrap_or_else(|| default.to_owned());
    let url = arg(0, "http://127.0.0.1:5000");
    if !["http://127.0.0.1", "http://[::1]", "http://localhost"].iter().any(|p| url.starts_with(p)) {
        eprintln!(
            "probe: {url} is not on this machine; this example launches instances and is for simulators only"
        );
        return Ok(());
    }
    let (kind, nodes) = (arg(4, "hpc7a.96xlarge"), arg(5, "4").parse().unwrap_or(4));
    let ec2 = Ec2::new(Settings { endpoint_url: Some(url), ..Settings::region("us-east-2") }).await?;
    ec2.check_credentials().await?;
    let types = ec2.instance_types(std::slice::from_ref(&kind)).await?;
    println!("types: {types:?}");
    let Some(facts) = types.into_iter().next() else { return Ok(()) };
    let subnets = ec2.subnets(&[arg(2, "subnet-0")]).await?;
    println!("subnets: {subnets:?}");
    let spec = TemplateSpec {
        cluster: "probe-cluster".into(),
        pool: "efa".into(),
        efa: facts.efa_max,
        facts,
        image: arg(1, "ami-0"),
        security_groups: vec![arg(3, "sg-0")],
        instance_profile: None,
        key_name: None,
        root_gib: Some(64),
        public_ip: false,
        user_data: "{}".into(),
        reservation: None,
    };
    let template = ec2.ensure_template(&spec).await?;
    println!("template: {template:?}, again {:?}", ec2.ensure_template(&spec).await?);
    println!("as a site's: {:?}", ec2.site_template(&template.id, spec.efa > 0).await?);
    let group = if arg(6, "groups") == "groups" {
        ec2.create_group(&spec.cluster, "probe-group").await?;
        ec2.create_group(&spec.cluster, "probe-group").await?;
        println!("groups: {:?}", ec2.groups(&spec.cluster).await?);
        Some("probe-group".to_owned())
    } else {
        None
    };
    let request = FleetRequest {
        client_token: format!("probe-{}", std::process::id()),
        template,
        instance_type: kind,
        zone: subnets.values().next().map(|s| s.0.clone()).unwrap_or_default(),
        subnet: arg(2, "subnet-0"),
        market: Market::OnDemand,
        group: group.clone(),
        nodes,
        max_price: None,
        tags: BTreeMap::from([("slurm-burst:cluster".to_owned(), spec.cluster.clone())]),
        reservation: None,
        region: None,
    };
    let answer = ec2.create_fleet(&request).await?;
    println!("fleet: {answer:?}");
    println!("replayed: {:?}", ec2.create_fleet(&request).await.map(|a| a.fleet_id));
    let mut ids: Vec<String> = answer.instances.iter().map(|i| i.id.clone()).collect();
    ids.push("i-0123456789abcdef0".into());
    for i in ec2.describe(&ids).await? {
        println!("instance: {i:?}");
    }
    let owned = ec2.owned(&spec.cluster).await?;
    println!("owned: {}", owned.len());
    ids.extend(owned.into_iter().map(|i| i.id));
    ec2.terminate(&ids).await?;
    let left = ec2.owned(&spec.cluster).await?;
    println!("left after terminate: {:?}", left.iter().map(|i| (&i.id, i.state)).collect::<Vec<_>>());
    if let Some(group) = group {
        println!("group deleted: {:?}", ec2.delete_group(&group).await.map_err(|e| e.to_string()));
        println!("gone already: {:?}", ec2.delete_group("never-was").await.map_err(|e| e.to_string()));
    }
    Ok(())
}
