//! The instance metadata service of each instance, at `/imds/<id>/latest/…`.

use crate::actions::templates::user_data;
use crate::clock::{iso8601_seconds, now_ms};
use crate::sim::Sim;
use crate::world::{Instance, State};
use axum::http::{HeaderMap, Method};
use serde_json::json;

/// Answer: status and text.
pub type Answer = (u16, String);

fn header<'a>(h: &'a HeaderMap, name: &str) -> Option<&'a str> {
    h.get(name).and_then(|v| v.to_str().ok())
}

/// Answers a request for `rest` (what follows `/imds/<id>/`).
pub fn answer(sim: &Sim, method: &Method, id: &str, rest: &str, headers: &HeaderMap) -> Answer {
    let now = now_ms();
    let mut w = sim.world();
    let Some(i) = w.instances.get_mut(id).filter(|i| i.state != State::Terminated) else {
        return (404, format!("no instance {id}"));
    };
    if i.data.str("MetadataOptions.HttpEndpoint") == Some("disabled") {
        return (403, "the metadata service of this instance is disabled".into());
    }
    let path = rest.trim_end_matches('/');
    if path == "latest/api/token" {
        if method != Method::PUT {
            return (405, String::new());
        }
        if headers.contains_key("x-forwarded-for") {
            return (403, String::new());
        }
        let ttl = header(headers, "x-aws-ec2-metadata-token-ttl-seconds").and_then(|t| t.parse::<u64>().ok());
        let Some(ttl) = ttl.filter(|t| (1..=21_600).contains(t)) else { return (400, String::new()) };
        let token = sim.ids.token();
        i.imds_tokens.retain(|_, end| *end > now);
        i.imds_tokens.insert(token.clone(), now + ttl * 1000);
        return (200, token);
    }
    if method != Method::GET {
        return (405, String::new());
    }
    let good = |t: &str| i.imds_tokens.get(t).is_some_and(|end| *end > now);
    match header(headers, "x-aws-ec2-metadata-token") {
        Some(t) if good(t) => {}
        Some(_) => return (401, String::new()),
        None if i.data.str("MetadataOptions.HttpTokens") == Some("required") => return (401, String::new()),
        None => {}
    }
    get(sim, i, path).map_or_else(|| (404, String::new()), |t| (200, t))
}

fn get(sim: &Sim, i: &Instance, path: &str) -> Option<String> {
    let cfg = &sim.cfg;
    if path == "latest/user-data" {
        return i
            .data
            .str("UserData")
            .and_then(|t| user_data(t).ok())
            .map(|b| String::from_utf8_lossy(&b).into_owned());
    }
    if path == "latest/dynamic/instance-identity/document" {
        let doc = json!({
            "accountId": cfg.account, "architecture": crate::specs::find(&i.itype).and_then(|s| s.architectures().into_iter().next()),
            "availabilityZone": i.zone, "imageId": i.image, "instanceId": i.id, "instanceType": i.itype,
            "pendingTime": iso8601_seconds(i.launched_ms), "privateIp": i.private_ip, "region": cfg.region, "version": "2017-09-30",
        });
        return serde_json::to_string_pretty(&doc).ok();
    }
    let key = path.strip_prefix("latest/meta-data")?.trim_start_matches('/');
    let tags = i.data.str("MetadataOptions.InstanceMetadataTags") == Some("enabled");
    if let Some(tag) = key.strip_prefix("tags/instance").filter(|_| tags) {
        let tag = tag.trim_start_matches('/');
        if tag.is_empty() {
            return Some(i.tags.keys().cloned().collect::<Vec<_>>().join("\n"));
        }
        return i.tags.get(tag).cloned();
    }
    let text = match key {
        "" => "ami-id\ninstance-id\ninstance-life-cycle\ninstance-type\nlocal-hostname\nlocal-ipv4\nplacement/\nsecurity-groups".into(),
        "instance-id" => i.id.clone(),
        "instance-type" => i.itype.clone(),
        "ami-id" => i.image.clone(),
        "instance-life-cycle" => i.market.clone(),
        "placement/availability-zone" => i.zone.clone(),
        "placement/availability-zone-id" => sim.zone_id(&i.zone),
        "placement/region" => cfg.region.clone(),
        "placement/group-name" => i.group.clone()?,
        "local-ipv4" => i.private_ip.clone(),
        "local-hostname" | "hostname" => i.private_dns.clone(),
        "security-groups" => i.security_groups.join("\n"),
        "spot/instance-action" => {
            let (action, at) = i.notice.as_ref()?;
            json!({"action": action, "time": iso8601_seconds(*at)}).to_string()
        }
        "spot/termination-time" => iso8601_seconds(i.notice.as_ref()?.1),
        _ => return None,
    };
    Some(text)
}
