//! What `burstctl status` shows of EC2: rates that hold launches back, outages, and places without capacity.

use crate::out::printable;
use serde::Deserialize;
use std::fmt::Write;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ec2 {
    buckets: Vec<Bucket>,
    gangs_waiting: u64,
    throttles: u64,
    breakers: Vec<Breaker>,
    region: String,
    /// Further Regions.
    further: Vec<Ec2>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Bucket {
    name: String,
    size: u64,
    left: u64,
    per_s: f64,
    slowed: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Breaker {
    region: String,
    calls: String,
    until_ms: u64,
    failures: u64,
    code: String,
}

/// A place without capacity.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    instance_type: String,
    zone: String,
    market: String,
    grouped: bool,
    reservation: Option<String>,
    nodes: u64,
    until_ms: u64,
}

/// How long from now.
fn left(until_ms: u64, now: u64) -> u64 {
    (until_ms / 1_000).saturating_sub(now)
}

/// What holds launches back in one Region.
fn held_back(text: &mut String, ec2: &Ec2, region: &str, now: u64) {
    // Writing to a String cannot fail.
    if ec2.gangs_waiting > 0 {
        let _ =
            writeln!(text, "EC2's request budget{region}: {} gangs wait for their turn", ec2.gangs_waiting);
    }
    if ec2.throttles > 0 {
        let _ = writeln!(text, "EC2 throttled {} calls{region} since slurmctld started", ec2.throttles);
    }
    let low = |b: &&Bucket| b.slowed || b.left * 4 < b.size;
    for b in ec2.buckets.iter().filter(low) {
        let why = if b.slowed { ", slowed down after throttles" } else { "" };
        let name = printable(&b.name);
        let _ = writeln!(
            text,
            "EC2's bucket of {name}{region}: {} of {} left, {} a second{why}",
            b.left, b.size, b.per_s
        );
    }
    for b in &ec2.breakers {
        let (calls, region, code) = (printable(&b.calls), printable(&b.region), printable(&b.code));
        let s = left(b.until_ms, now);
        let _ = writeln!(
            text,
            "EC2 is left alone: {calls} in {region} failed {} times in a row ({code}), next probe in {s} s",
            b.failures
        );
    }
}

/// Nothing where nothing is held back.
pub(super) fn render(ec2: &Ec2, places: &[Place], now: u64) -> String {
    let mut text = String::new();
    held_back(&mut text, ec2, "", now);
    for there in &ec2.further {
        let region = format!(" in {}", printable(&there.region));
        held_back(&mut text, there, &region, now);
    }
    for p in places {
        let (kind, zone, market) = (printable(&p.instance_type), printable(&p.zone), printable(&p.market));
        let group = match &p.reservation {
            Some(id) => format!(", reservation {}", printable(id)),
            None if p.grouped => ", in one placement group".to_owned(),
            None => String::new(),
        };
        let s = left(p.until_ms, now);
        let _ = writeln!(
            text,
            "no capacity: {} x {kind} ({market}, {zone}{group}), not tried for {s} s",
            p.nodes
        );
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_launches_back_is_said_and_nothing_else() {
        assert_eq!(render(&Ec2::default(), &[], 0), "");
        let json = r#"{"region":"us-east-2","gangs_waiting":3,"throttles":1,
            "buckets":[{"name":"CreateFleet","size":50,"left":2,"per_s":2.5,"slowed":true},
            {"name":"Describe","size":100,"left":90,"per_s":20.0,"slowed":false}],
            "breakers":[{"region":"us-east-2","calls":"CreateFleet","state":"open","until_ms":30000,"failures":5,"code":"Timeout"}]}"#;
        let places = r#"[{"instance_type":"hpc7a.96xlarge","zone":"us-east-2b","market":"on-demand","grouped":true,
            "nodes":8,"until_ms":190000}]"#;
        let text = render(
            &serde_json::from_str(json).unwrap(),
            &serde_json::from_str::<Vec<Place>>(places).unwrap(),
            10,
        );
        let far = r#"{"further":[{"region":"us-west-2","gangs_waiting":2}]}"#;
        let far = render(&serde_json::from_str(far).unwrap(), &[], 0);
        assert_eq!(far, "\nEC2's request budget in us-west-2: 2 gangs wait for their turn\n");
        let want = "\nEC2's request budget: 3 gangs wait for their turn\n\
            EC2 throttled 1 calls since slurmctld started\n\
            EC2's bucket of CreateFleet: 2 of 50 left, 2.5 a second, slowed down after throttles\n\
            EC2 is left alone: CreateFleet in us-east-2 failed 5 times in a row (Timeout), next probe in 20 s\n\
            no capacity: 8 x hpc7a.96xlarge (on-demand, us-east-2b, in one placement group), not tried for 180 s\n";
        assert_eq!(text, want);
    }
}
