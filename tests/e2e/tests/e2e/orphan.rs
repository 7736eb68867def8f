//! Instances that carry our cluster's tag and belong to no living gang.

use crate::help::*;
use burst_e2e::checker::Expect;
use burst_e2e::proc::wait_until;
use burst_e2e::{Cluster, User};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A call of EC2's API, as anybody with credentials can make it.
fn call(c: &Cluster, params: &BTreeMap<String, String>) -> String {
    let escape = |text: &str| -> String {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
        text.bytes().map(|b| if fine(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
    };
    let body: Vec<String> = params.iter().map(|(k, v)| format!("{k}={}", escape(v))).collect();
    let signature = "0".repeat(64);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let scope = "Credential=test/20260101/us-east-2/ec2/aws4_request, SignedHeaders=host";
    let mut answer = agent
        .post(format!("{}/", c.sim.as_ref().unwrap().url()))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("X-Amz-Date", "20260101T000000Z")
        .header("Authorization", format!("AWS4-HMAC-SHA256 {scope}, Signature={signature}"))
        .send(body.join("&"))
        .unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{text}");
    text
}

#[test]
fn law3_no_orphan_what_belongs_to_no_living_gang_is_ended_and_others_are_spared() {
    // Instances are records here: nothing in them could end itself.
    let c = Cluster::start(spec("orphan").simulator(&json!({"instance_command": []}))).unwrap();
    let sim = c.sim.as_ref().unwrap();
    let job = submit(&c, 2, &[], "true");
    c.wait_says(job, "booting", S).unwrap();
    c.scancel(User::Ordinary, job).unwrap();
    c.wait_quiet(S).unwrap();
    // The same launch once more, by nobody: with a gang that nobody knows, and for another cluster.
    let fleet = asked(&c, "CreateFleet").into_iter().next().unwrap();
    let params: BTreeMap<String, String> = serde_json::from_value(fleet["params"].clone()).unwrap();
    let again = |gang: &str, cluster: Option<&str>| {
        let mut p = params.clone();
        p.insert("ClientToken".into(), gang.into());
        let tags: Vec<(String, String)> = params
            .iter()
            .filter_map(|(k, v)| Some((k.strip_suffix(".Key")?.to_owned(), v.clone())))
            .collect();
        for (at, key) in tags {
            let new = match (key.as_str(), cluster) {
                ("slurm-burst:gang", _) => gang,
                ("slurm-burst:cluster", Some(other)) => other,
                _ => continue,
            };
            p.insert(format!("{at}.Value"), new.into());
        }
        call(&c, &p);
    };
    again("feedfeedfeedfeed", None);
    again("0123456789abcdef", Some("00000000-0000-4000-8000-000000000000"));
    let living = || -> burst_e2e::Res<Vec<String>> {
        let state = sim.state()?;
        let all = state["instances"].as_array().cloned().unwrap_or_default();
        let up = |i: &&Value| ["pending", "running"].contains(&i["state"].as_str().unwrap_or_default());
        Ok(all
            .iter()
            .filter(up)
            .map(|i| i["tags"]["slurm-burst:gang"].as_str().unwrap_or_default().to_owned())
            .collect())
    };
    assert_eq!(living().unwrap().len(), 4);
    wait_until(S, || Ok((!living()?.iter().any(|g| g == "feedfeedfeedfeed")).then_some(()))).unwrap();
    assert_eq!(living().unwrap(), ["0123456789abcdef"; 2], "another cluster's are none of our business");
    assert!(c.log().contains("instances of no living gang are ended"), "the log says so");
    let mut end = BTreeMap::from(
        [("Action", "TerminateInstances"), ("Version", "2016-11-15")]
            .map(|(k, v)| (k.to_owned(), v.to_owned())),
    );
    for (n, id) in sim.living().unwrap().into_iter().enumerate() {
        end.insert(format!("InstanceId.{}", n + 1), id);
    }
    call(&c, &end);
    finish_expecting(c, &Expect { after_end_ms: 120_000, ..Expect::default() });
}
