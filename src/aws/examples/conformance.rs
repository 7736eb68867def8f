//! The scenarios of `make conformance`: what the engine asks of EC2, against an endpoint that costs nothing, in the order
//! of a gang's life and then with every fault that a network and an overloaded service know.
//!
//! `conformance URL MICROBURST IMAGE SUBNET ZONE SECURITY_GROUP`: a JSON line for each scenario. URL is a recorder in
//! front of microburst in front of the endpoint (tests/conformance/run.py). A scenario says `ok` when all is as EC2
//! documents it.
use burst_aws::{Ec2, Settings, Timeouts};
use burst_cloud::{Cloud, CloudError, FleetAnswer, FleetRequest, TemplateRef, TemplateSpec};
use burst_plan::Market;
use burst_policy::classify::Class;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::TcpStream,
    process::ExitCode,
    time::Duration,
};

const TYPE: &str = "c5n.18xlarge";
const EMPTY: &str = "hpc6a.48xlarge";
const CLUSTER: &str = "conformance-cluster";
const GROUP: &str = "conformance-group";
const NODES: u32 = 3;

type Said = Result<String, String>;

struct Place {
    ec2: Ec2,
    url: String,
    microburst: String,
    image: String,
    subnet: String,
    zone: String,
    security_group: String,
}

fn main() -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    match runtime.block_on(all()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("conformance: {e}");
            ExitCode::FAILURE
        }
    }
}

fn settings(url: &str) -> Settings {
    let timeouts = Timeouts {
        connect: Duration::from_secs(2),
        read: Duration::from_secs(8),
        operation: Duration::from_secs(25),
        launch: Duration::from_secs(8),
        attempts: 3,
    };
    Settings { endpoint_url: Some(url.to_owned()), timeouts, ..Settings::region("us-east-2") }
}

/// A plain HTTP request, without the SDK.
fn http(method: &str, url: &str, body: &str) -> Result<String, String> {
    let host = url.strip_prefix("http://").unwrap_or(url);
    let (host, path) = host.split_once('/').unwrap_or((host, ""));
    let mut stream = TcpStream::connect(host).map_err(|e| format!("{host}: {e}"))?;
    let request = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut answer = String::new();
    stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.read_to_string(&mut answer))
        .map_err(|e| format!("{url}: {e}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split_whitespace().nth(1) == Some("200") {
        Ok(body.to_owned())
    } else {
        Err(format!("{url}: {head}: {body}"))
    }
}

impl Place {
    /// The rule of microburst that holds until the next one.
    fn fault(&self, operation: &str, times: u32, what: &str) -> Result<(), String> {
        let rule = match what {
            "" => "[]".to_owned(),
            what => {
                format!(r#"[{{"service": "ec2", "operation": "{operation}", "times": {times}, {what}}}]"#)
            }
        };
        http("POST", &format!("{}/_microburst/rules", self.microburst), &rule).map(|_| ())
    }

    /// Requests of an action so far.
    fn asked(&self, action: &str) -> Result<u32, String> {
        let text = http("GET", &format!("{}/_record/count?action={action}", self.url), "")?;
        text.trim().parse().map_err(|e| format!("{text}: {e}"))
    }

    async fn template(&self, kind: &str) -> Result<TemplateRef, String> {
        let facts = self.ec2.instance_types(&[kind.to_owned()]).await.map_err(|e| e.to_string())?;
        let facts = facts.into_iter().next().ok_or("no such type")?;
        let spec = TemplateSpec {
            cluster: CLUSTER.into(),
            pool: "efa".into(),
            efa: facts.efa_max,
            facts,
            image: self.image.clone(),
            security_groups: vec![self.security_group.clone()],
            instance_profile: None,
            key_name: None,
            root_gib: Some(64),
            public_ip: false,
            user_data: "{}".into(),
            reservation: None,
        };
        self.ec2.ensure_template(&spec).await.map_err(|e| e.to_string())
    }

    async fn request(&self, token: &str, kind: &str, group: Option<&str>) -> Result<FleetRequest, String> {
        let tag = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        Ok(FleetRequest {
            client_token: format!("{token}-{}", std::process::id()),
            template: self.template(kind).await?,
            instance_type: kind.into(),
            zone: self.zone.clone(),
            subnet: self.subnet.clone(),
            market: Market::OnDemand,
            group: group.map(str::to_owned),
            nodes: NODES,
            max_price: None,
            tags: BTreeMap::from([tag("slurm-burst:cluster", CLUSTER), tag("slurm-burst:gang", token)]),
            reservation: None,
            region: None,
        })
    }

    /// Instances that EC2 has of a gang.
    async fn of(&self, gang: &str) -> Result<BTreeSet<String>, String> {
        let all = self.ec2.owned(CLUSTER).await.map_err(|e| e.to_string())?;
        let of = all.into_iter().filter(|i| i.tags.get("slurm-burst:gang").is_some_and(|g| g == gang));
        Ok(of.filter(|i| !i.state.is_gone()).map(|i| i.id).collect())
    }

    async fn launched(
        &self,
        token: &str,
        group: Option<&str>,
    ) -> Result<(FleetRequest, FleetAnswer), String> {
        let request = self.request(token, TYPE, group).await?;
        let answer = self.ec2.create_fleet(&request).await.map_err(|e| e.to_string())?;
        Ok((request, answer))
    }

    /// A CreateFleet that goes wrong: how it is understood, and that it was sent once.
    async fn fleet_fails(
        &self,
        token: &str,
        what: &str,
        class: Class,
        ambiguous: bool,
    ) -> Result<CloudError, String> {
        let request = self.request(token, TYPE, None).await?;
        let before = self.asked("CreateFleet")?;
        self.fault("CreateFleet", 1, what)?;
        let answer = self.ec2.create_fleet(&request).await;
        self.fault("", 0, "")?;
        let sent = self.asked("CreateFleet")? - before;
        match answer {
            Err(e) if e.class == class && e.ambiguous == ambiguous && sent == 1 => Ok(e),
            other => Err(format!("sent {sent} times, {other:?}")),
        }
    }
}

fn ids(a: &FleetAnswer) -> BTreeSet<String> {
    a.instances.iter().map(|i| i.id.clone()).collect()
}

fn want(right: bool, said: impl Into<String>) -> Said {
    if right { Ok(said.into()) } else { Err(said.into()) }
}

fn words<T, E: std::fmt::Display>(r: Result<T, E>) -> Result<T, String> {
    r.map_err(|e| e.to_string())
}

fn tell(scenario: &str, said: Said) {
    let (outcome, said) = match said {
        Ok(said) => ("ok", said),
        Err(said) => ("differs", said),
    };
    println!("{}", serde_json::json!({"scenario": scenario, "outcome": outcome, "said": said}));
}

async fn all() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, microburst, image, subnet, zone, security_group] = <[String; 6]>::try_from(args)
        .map_err(|_| "usage: conformance URL MICROBURST IMAGE SUBNET ZONE SECURITY_GROUP")?;
    if ![&url, &microburst].iter().all(|u| u.starts_with("http://127.0.0.1:")) {
        return Err("this launches instances and is for simulators on this machine only".into());
    }
    let ec2 = words(Ec2::new(settings(&url)).await)?;
    let p = Place { ec2, url, microburst, image, subnet, zone, security_group };
    p.fault("", 0, "")?;
    tell("types", types(&p).await);
    tell("subnets", subnets(&p).await);
    tell("template-twice", template_twice(&p).await);
    tell("group-twice", group_twice(&p).await);
    tell("whole", whole(&p).await);
    tell("group-of-fleet", group_of_fleet(&p).await);
    tell("replay", replay(&p, false).await);
    tell("replay-changed", replay(&p, true).await);
    tell("no-capacity", no_capacity(&p).await);
    tell("describe-unknown", describe_unknown(&p).await);
    tell("terminate-twice", terminate_twice(&p).await);
    tell("describe-throttled-once", retried(&p, THROTTLE, 1).await);
    tell("describe-throttled", throttled(&p).await);
    tell("describe-reset-once", retried(&p, r#""reset": true"#, 1).await);
    tell("describe-500-once", retried(&p, INTERNAL, 1).await);
    let fails = async |token: &str, what: &str, class, ambiguous| {
        p.fleet_fails(token, what, class, ambiguous).await.map(|e| e.to_string())
    };
    tell("fleet-throttled", fails("throttled", THROTTLE, Class::Throttle, false).await);
    let capacity = r#""error": {"code": "InsufficientInstanceCapacity", "status": 500}"#;
    tell("fleet-refused-with-500", fails("refused", capacity, Class::Capacity, false).await);
    let denied = r#""error": {"code": "UnauthorizedOperation", "status": 403}"#;
    tell("fleet-denied", fails("denied", denied, Class::Auth, false).await);
    tell("fleet-500", fails("internal", INTERNAL, Class::Transient, true).await);
    tell("fleet-reset", fails("reset", r#""reset": true"#, Class::Transient, true).await);
    tell("fleet-timeout", fails("timeout", r#""timeout_ms": 12000"#, Class::Transient, true).await);
    tell("commit-then-lost", lost(&p).await);
    tell("answer-cut", cut(&p).await);
    tell("web-page", web_page(&p).await);
    tell("group-deleted-twice", group_deleted(&p).await);
    tell("nothing-left", nothing_left(&p).await);
    Ok(())
}

const THROTTLE: &str = r#""error": {"code": "RequestLimitExceeded", "status": 503}"#;
const INTERNAL: &str = r#""error": {"code": "InternalError", "status": 500}"#;

async fn types(p: &Place) -> Said {
    let all = words(p.ec2.instance_types(&[TYPE.to_owned()]).await)?;
    let right = all.len() == 1 && all.iter().all(|t| t.vcpus == 72 && t.efa_max == 1 && t.on_demand);
    want(right, format!("{all:?}"))
}

async fn subnets(p: &Place) -> Said {
    let all = words(p.ec2.subnets(std::slice::from_ref(&p.subnet)).await)?;
    want(all.get(&p.subnet).is_some_and(|(zone, free)| *zone == p.zone && *free > 16), format!("{all:?}"))
}

async fn template_twice(p: &Place) -> Said {
    let (first, again) = (p.template(TYPE).await?, p.template(TYPE).await?);
    let site = words(p.ec2.site_template(&first.id, false).await)?;
    want(first == again && site.id == first.id, format!("{first:?} {again:?} {site:?}"))
}

async fn group_twice(p: &Place) -> Said {
    words(p.ec2.create_group(CLUSTER, GROUP).await)?;
    words(p.ec2.create_group(CLUSTER, GROUP).await)?;
    let all = words(p.ec2.groups(CLUSTER).await)?;
    want(all.len() == 1 && all.iter().all(|g| g.name == GROUP && g.available), format!("{all:?}"))
}

async fn whole(p: &Place) -> Said {
    let (_, answer) = p.launched("whole", None).await?;
    let shown = words(p.ec2.describe(&ids(&answer).into_iter().collect::<Vec<_>>()).await)?;
    let right = answer.instances.len() == NODES as usize
        && answer.errors.is_empty()
        && shown.len() == NODES as usize
        && shown.iter().all(|i| i.ip.is_some() && i.zone == p.zone && i.instance_type == TYPE)
        && p.of("whole").await? == ids(&answer);
    want(right, format!("{answer:?} {shown:?}"))
}

async fn group_of_fleet(p: &Place) -> Said {
    let (_, answer) = p.launched("grouped", Some(GROUP)).await?;
    let shown = words(p.ec2.describe(&ids(&answer).into_iter().collect::<Vec<_>>()).await)?;
    words(p.ec2.terminate(&ids(&answer).into_iter().collect::<Vec<_>>()).await)?;
    let groups: Vec<&str> = shown.iter().map(|i| i.group.as_str()).collect();
    want(groups == [GROUP; NODES as usize], format!("{groups:?}"))
}

async fn replay(p: &Place, changed: bool) -> Said {
    let token = if changed { "changed" } else { "replayed" };
    let (mut request, first) = p.launched(token, None).await?;
    request.nodes += u32::from(changed);
    let again = p.ec2.create_fleet(&request).await;
    let of = p.of(token).await?;
    let right = match &again {
        Ok(again) => !changed && again.fleet_id == first.fleet_id && ids(again) == ids(&first),
        Err(e) => changed && e.code == "IdempotentParameterMismatch" && !e.ambiguous,
    };
    want(right && of == ids(&first), format!("{again:?}; {} instances for {NODES} nodes", of.len()))
}

async fn no_capacity(p: &Place) -> Said {
    let request = p.request("dry", EMPTY, None).await?;
    let answer = words(p.ec2.create_fleet(&request).await)?;
    let right = answer.instances.is_empty()
        && !answer.errors.is_empty()
        && answer.errors.iter().all(|e| e.class == Class::Capacity)
        && p.of("dry").await?.is_empty();
    want(right, format!("{} instances, {:?}", answer.instances.len(), answer.errors))
}

async fn describe_unknown(p: &Place) -> Said {
    let mut some: Vec<String> = p.of("whole").await?.into_iter().collect();
    let known = some.len();
    some.push("i-0123456789abcdef0".into());
    let shown = words(p.ec2.describe(&some).await)?;
    want(known > 0 && shown.len() == known, format!("{} of {known} known and one unknown", shown.len()))
}

async fn terminate_twice(p: &Place) -> Said {
    let mut some: Vec<String> = p.of("whole").await?.into_iter().collect();
    some.push("i-0123456789abcdef0".into());
    words(p.ec2.terminate(&some).await)?;
    words(p.ec2.terminate(&some).await)?;
    let left = p.of("whole").await?;
    want(some.len() > 1 && left.is_empty(), format!("{} asked, left {left:?}", some.len()))
}

/// A fault that a second try does not meet.
async fn retried(p: &Place, what: &str, times: u32) -> Said {
    let before = p.asked("DescribeInstances")?;
    p.fault("DescribeInstances", times, what)?;
    let answer = p.ec2.owned(CLUSTER).await;
    p.fault("", 0, "")?;
    let sent = p.asked("DescribeInstances")? - before;
    want(answer.is_ok() && sent > times, format!("sent {sent} times, {:?}", answer.map(|a| a.len())))
}

async fn throttled(p: &Place) -> Said {
    let before = p.asked("DescribeInstances")?;
    p.fault("DescribeInstances", 99, THROTTLE)?;
    let answer = p.ec2.owned(CLUSTER).await;
    p.fault("", 0, "")?;
    let sent = p.asked("DescribeInstances")? - before;
    let right = matches!(&answer, Err(e) if e.class == Class::Throttle) && (1..=3).contains(&sent);
    want(right, format!("sent {sent} times, {:?}", answer.map(|a| a.len())))
}

/// EC2 has launched and nobody heard: the replay finds the same fleet.
async fn lost(p: &Place) -> Said {
    let what = r#""response": {"abort_bytes": 0}"#;
    let e = p.fleet_fails("lost", what, Class::Transient, true).await?;
    let there = p.of("lost").await?;
    let request = p.request("lost", TYPE, None).await?;
    let again = words(p.ec2.create_fleet(&request).await)?;
    let after = p.of("lost").await?;
    let right = there.len() == NODES as usize && ids(&again) == there && after == there;
    want(right, format!("{e}; {} launched unheard, {} after the replay", there.len(), after.len()))
}

/// Half an answer is none.
async fn cut(p: &Place) -> Said {
    let e = p.fleet_fails("cut", r#""response": {"truncate_frac": 0.5}"#, Class::Unknown, true).await?;
    want(e.code == "BadAnswer" && !p.of("cut").await?.is_empty(), e.to_string())
}

/// An HTML 500 is loud and is not asked again.
async fn web_page(p: &Place) -> Said {
    let ec2 = words(Ec2::new(settings(&format!("{}/_page", p.url))).await)?;
    let before = p.asked("DescribeInstances")?;
    let answer = ec2.owned(CLUSTER).await.map(|a| a.len());
    let sent = p.asked("DescribeInstances")? - before;
    let right = matches!(&answer, Err(e) if e.code == "BadAnswer" && e.class == Class::Unknown && e.message.contains("web page"));
    want(right && sent == 1, format!("sent {sent} times, {answer:?}"))
}

async fn group_deleted(p: &Place) -> Said {
    words(p.ec2.delete_group(GROUP).await)?;
    words(p.ec2.delete_group(GROUP).await)?;
    let left = words(p.ec2.groups(CLUSTER).await)?;
    want(left.is_empty(), format!("{left:?}"))
}

/// What is tagged is found and ended, whatever happened before.
async fn nothing_left(p: &Place) -> Said {
    let all = words(p.ec2.owned(CLUSTER).await)?;
    let some: Vec<String> = all.into_iter().map(|i| i.id).collect();
    words(p.ec2.terminate(&some).await)?;
    let left = words(p.ec2.owned(CLUSTER).await)?;
    want(left.iter().all(|i| i.state.is_gone()), format!("{} ended, left {left:?}", some.len()))
}
