//! stop-everything against an EC2 endpoint of the test's.

use crate::{Bench, config, controller::Fake, err, out};
use std::{
    io::Write,
    process::{Output, Stdio},
};

const UUID: &str = "7d0c1f0a-0000-4000-8000-000000000001";

fn described(instance: &str) -> String {
    format!(
        r#"<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>
<reservationSet>{instance}</reservationSet></DescribeInstancesResponse>"#
    )
}

fn running() -> String {
    described(&format!(
        "<item><reservationId>r-1</reservationId><instancesSet><item><instanceId>i-0aa11</instanceId><instanceState>\
         <code>16</code><name>running</name></instanceState><instanceType>hpc7a.96xlarge</instanceType>\
         <launchTime>2026-11-23T20:00:00.000Z</launchTime><placement><availabilityZone>us-east-2b</availabilityZone>\
         </placement><tagSet><item><key>slurm-burst:job</key><value>4711</value></item><item>\
         <key>slurm-burst:cluster</key><value>{UUID}</value></item></tagSet></item></instancesSet></item>"
    ))
}

const TERMINATED: &str = r#"<TerminateInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>
<instancesSet></instancesSet></TerminateInstancesResponse>"#;

/// Runs it with a state directory that holds the UUID, and `typed` as the answer.
fn stop(b: &Bench, ec2: &Fake, more: &[&str], typed: &str) -> Output {
    let state = b.path("state");
    b.write("state/uuid", &format!("{UUID}\n"));
    let text = config("127.0.0.1:6826")
        .replace("/nonexistent/burst", state.to_str().unwrap())
        .replace("[aws]", &format!("[aws]\nendpoint_url = {:?}", ec2.url));
    let file = b.write("burst.toml", &text);
    b.script("bin/scontrol", "exit 1");
    let mut child = b
        .ctl_command()
        .args(["stop-everything", "--config", file.to_str().unwrap()])
        .args(more)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn it_ends_what_carries_the_uuid_and_waits() {
    let b = Bench::new();
    let (one, none) = (running(), described(""));
    let ec2 = Fake::answering(vec![(200, &one), (200, TERMINATED), (200, &one), (200, &none), (200, &none)]);
    let o = stop(&b, &ec2, &[], "c1\n");
    assert_eq!(o.status.code(), Some(0), "{}{}", out(&o), err(&o));
    let asked = ec2.next();
    assert!(asked.body.contains("Action=DescribeInstances") && asked.body.contains(UUID), "{}", asked.body);
    let ended = ec2.next();
    assert!(
        ended.body.contains("Action=TerminateInstances") && ended.body.contains("i-0aa11"),
        "{}",
        ended.body
    );
    assert!(err(&o).contains("4711") && err(&o).contains("Type the cluster's name (c1)"), "{}", err(&o));
    assert!(out(&o).contains("1 instances ended; nothing of cluster c1 is left"), "{}", out(&o));
}

#[test]
fn without_the_name_nothing_is_ended() {
    let b = Bench::new();
    let one = running();
    let ec2 = Fake::answering(vec![(200, &one), (200, TERMINATED)]);
    let o = stop(&b, &ec2, &[], "y\n");
    assert_eq!(o.status.code(), Some(1));
    assert!(err(&o).contains("nothing was ended"), "{}", err(&o));
    assert!(ec2.next().body.contains("Action=DescribeInstances"));
    assert!(ec2.was_not_asked(), "TerminateInstances was sent");
}

#[test]
fn nothing_left_is_said() {
    let b = Bench::new();
    let none = described("");
    let ec2 = Fake::answering(vec![(200, &none)]);
    let o = stop(&b, &ec2, &["--yes"], "");
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    assert!(out(&o).contains("nothing to end"), "{}", out(&o));
}

#[test]
fn a_running_slurmctld_is_named_and_the_list_alone_ends_nothing() {
    let b = Bench::new();
    let one = running();
    let ec2 = Fake::answering(vec![(200, &one), (200, &one)]);
    let o = stop(&b, &ec2, &["--list", "--json"], "");
    assert_eq!(o.status.code(), Some(1), "instances are there: a problem found");
    let json: serde_json::Value = serde_json::from_str(&out(&o)).unwrap();
    assert_eq!(json["left"][0]["id"], "i-0aa11");
    assert_eq!(json["left"][0]["job"], "4711");
    b.script("bin/scontrol", "echo 'Slurmctld(primary) at head is UP'");
    let file = b.path("burst.toml");
    let o = b
        .ctl_command()
        .args(["stop-everything", "--config", file.to_str().unwrap()])
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(o.status.code(), Some(1));
    assert!(err(&o).contains("slurmctld answers here"), "{}", err(&o));
}

#[test]
fn without_a_uuid_it_says_where_it_is() {
    let b = Bench::new();
    let file = b.write("burst.toml", &config("127.0.0.1:6826"));
    let o = b.ctl(&["stop-everything", "--config", file.to_str().unwrap()]);
    assert_eq!(o.status.code(), Some(1));
    assert!(err(&o).contains("/nonexistent/burst/uuid") && err(&o).contains("--cluster-uuid"), "{}", err(&o));
    let o = b.ctl(&["stop-everything", "--config", "/nonexistent/b.toml"]);
    assert!(err(&o).contains("--region"), "{}", err(&o));
}
