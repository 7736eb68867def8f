//! Instances as processes, with networks and metadata.

use crate::harness::{Sim, all, ids, until};
use serde_json::json;
use std::path::Path;
use std::process::Command;

/// Processes whose environment names this mark.
fn marked(mark: &str) -> usize {
    let dir = std::fs::read_dir("/proc").unwrap().flatten();
    dir.filter_map(|e| std::fs::read(e.path().join("environ")).ok())
        .filter(|env| env.split(|b| *b == 0).any(|e| e == mark.as_bytes()))
        .count()
}

fn processes_config(dir: &Path, script: &str, more: &str) -> (String, String) {
    let mark = format!("SIM_TEST_MARK={}", dir.display());
    let config = format!(
        "instance_command = ['/bin/sh', '-c', '''{script}''']\n{more}\n[instance_env]\nSIM_TEST_MARK = '{}'\n",
        dir.display()
    );
    (config, mark)
}

fn life_of_processes(more: &str) {
    let dir = tempfile::tempdir().unwrap();
    // The second child leaves the process group, as a job step's daemon does.
    let script = format!(
        "touch {0}/$BURST_SIM_INSTANCE; setsid sleep 3600 & while [ ! -e {0}/end-$BURST_SIM_INSTANCE ]; do sleep 0.05; done",
        dir.path().display()
    );
    let (config, mark) = processes_config(dir.path(), &script, more);
    let s = Sim::start(&config);
    s.template("tpl", &[("LaunchTemplateData.InstanceInitiatedShutdownBehavior", "terminate")]);
    let all_ids = ids(&s.fleet(4, true, &["c5n.18xlarge"], &[]));
    until("all started", || all_ids.iter().all(|i| dir.path().join(i).exists()).then_some(()));
    let state =
        |id: &str| all(&s.ok("DescribeInstances", &[("InstanceId.1", id)]), "instanceState")[0].clone();
    let ended = |id: &str| until("terminated", || state(id).contains("terminated").then_some(()));
    let of = |id: &str| marked(&format!("BURST_SIM_INSTANCE={id}"));
    // Ended by the API, by itself, and by the administrator.
    s.ok("TerminateInstances", &[("InstanceId.1", &all_ids[0])]);
    std::fs::write(dir.path().join(format!("end-{}", all_ids[1])), "").unwrap();
    s.admin("POST", "stop-instance", &json!({"id": all_ids[2]}));
    for id in &all_ids[..3] {
        ended(id);
        until("process tree gone", || (of(id) == 0).then_some(()));
    }
    assert!(of(&all_ids[3]) >= 2, "the fourth lives");
    let events: Vec<String> = s
        .audit()
        .iter()
        .filter(|l| l["instance_id"] == all_ids[1].as_str())
        .map(|l| l["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        events,
        ["instance-pending", "instance-running", "instance-shutting-down", "instance-terminated"]
    );
    let kept = s.stop();
    assert_eq!(marked(&mark), 0, "nothing outlives the simulator");
    let log = std::fs::read_to_string(kept.path().join("audit.jsonl")).unwrap();
    assert_eq!(log.matches("instance-terminated").count(), 4);
}

#[test]
fn processes_end_with_their_instances() {
    life_of_processes("");
}

#[test]
fn processes_end_with_their_instances_without_namespaces() {
    life_of_processes("pid_namespace = 'off'");
}

#[test]
fn a_halted_instance_is_stopped_unless_the_template_says_terminate() {
    let dir = tempfile::tempdir().unwrap();
    let (config, _) = processes_config(dir.path(), "exit 0", "");
    let s = Sim::start(&config);
    s.template("tpl", &[]);
    let id = ids(&s.fleet(1, true, &["c5n.18xlarge"], &[])).remove(0);
    until("stopped", || {
        s.ok("DescribeInstances", &[("InstanceId.1", &id)]).contains("<name>stopped</name>").then_some(())
    });
}

#[test]
fn hundreds_start_without_holding_up_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (config, mark) = processes_config(dir.path(), "exec sleep 3600", "");
    let s = Sim::start(&config);
    s.template("tpl", &[]);
    assert_eq!(ids(&s.fleet(200, true, &["c5n.18xlarge"], &[])).len(), 200);
    let call = s.audit().into_iter().find(|l| l["action"] == "CreateFleet").unwrap();
    let took = call["answered_ms"].as_u64().unwrap() - call["at_ms"].as_u64().unwrap();
    assert!(took < 2000, "{took} ms");
    until("all have a process", || {
        s.state()["instances"].as_array().unwrap().iter().all(|i| i["pid"].is_number()).then_some(())
    });
    s.stop();
    assert_eq!(marked(&mark), 0);
}

#[test]
fn metadata_of_an_instance() {
    let s = Sim::start("");
    s.template(
        "tpl",
        &[
            ("LaunchTemplateData.UserData", "eyJhIjoxfQ=="),
            ("LaunchTemplateData.MetadataOptions.HttpTokens", "required"),
        ],
    );
    let p = [("TargetCapacitySpecification.SpotTargetCapacity", "1")];
    let id = ids(&s.fleet(1, false, &["c5n.18xlarge"], &p)).remove(0);
    let base = format!("/imds/{id}/latest");
    let get = |path: &str, token: &str| {
        let h: &[(&str, &str)] = &[("x-aws-ec2-metadata-token", token)];
        let h = if token.is_empty() { &[] } else { h };
        s.http("GET", &format!("{base}/{path}"), h, "").unwrap()
    };
    assert_eq!(get("meta-data/instance-id", "").0, 401);
    assert_eq!(get("meta-data/instance-id", "wrong").0, 401);
    assert_eq!(s.http("PUT", &format!("{base}/api/token"), &[], "").unwrap().0, 400);
    let ttl = [("x-aws-ec2-metadata-token-ttl-seconds", "60")];
    let (_, token) = s.http("PUT", &format!("{base}/api/token"), &ttl, "").unwrap();
    for (path, want) in [
        ("meta-data/instance-id", id.as_str()),
        ("meta-data/instance-type", "c5n.18xlarge"),
        ("meta-data/placement/availability-zone", "us-east-2b"),
        ("meta-data/placement/region", "us-east-2"),
        ("meta-data/local-ipv4", "127.0.0.1"),
        ("user-data", "{\"a\":1}"),
    ] {
        assert_eq!(get(path, &token), (200, want.to_owned()), "{path}");
    }
    assert_eq!(get("meta-data/tags/instance/Name", &token).0, 404, "tags are not served unless enabled");
    assert_eq!(get("meta-data/spot/instance-action", &token).0, 404);
    s.admin("POST", "spot-notice", &json!({"id": id, "seconds": 3600}));
    assert!(get("meta-data/spot/instance-action", &token).1.contains("terminate"));
}

#[test]
fn each_instance_has_its_own_network() {
    let root = rustix::process::geteuid().is_root();
    let probe = format!("bsp{:x}", std::process::id());
    let can = |args: &[&str]| Command::new("ip").args(args).output().is_ok_and(|o| o.status.success());
    if !root || !can(&["link", "add", &probe, "type", "bridge"]) {
        eprintln!("skipped: needs root and network namespaces");
        return;
    }
    assert!(can(&["link", "del", &probe]));
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "ip -4 -o addr show eth0 > {0}/$BURST_SIM_INSTANCE.tmp; ip -o addr show lo >> {0}/$BURST_SIM_INSTANCE.tmp; echo $AWS_EC2_METADATA_SERVICE_ENDPOINT >> {0}/$BURST_SIM_INSTANCE.tmp; mv {0}/$BURST_SIM_INSTANCE.tmp {0}/$BURST_SIM_INSTANCE; exec sleep 3600",
        dir.path().display()
    );
    let (config, mark) = processes_config(dir.path(), &script, "network = 'netns'\nnetns_prefix = '10.251'");
    let s = Sim::start(&config);
    let pid = s.child.id();
    s.template("tpl", &[]);
    let all_ids = ids(&s.fleet(3, true, &["c5n.18xlarge"], &[]));
    let mut seen = std::collections::BTreeSet::new();
    for id in &all_ids {
        let file = dir.path().join(id);
        let text = until("instance wrote its address", || std::fs::read_to_string(&file).ok());
        let ip = all(&s.ok("DescribeInstances", &[("InstanceId.1", id)]), "privateIpAddress")[0].clone();
        assert!(
            ip.starts_with("10.251.") && text.contains(&ip) && text.contains("127.0.0.1"),
            "{ip}: {text}"
        );
        assert!(text.contains("http://10.251.0.1:"), "{text}");
        seen.insert(ip);
    }
    assert_eq!(seen.len(), 3);
    s.stop();
    assert_eq!(marked(&mark), 0);
    let names = std::fs::read_dir("/run/netns")
        .map(|d| d.flatten().map(|e| e.file_name().into_string().unwrap()).collect::<Vec<_>>());
    assert!(names.unwrap_or_default().iter().all(|n| !n.starts_with(&format!("burstsim-{pid}-"))));
    assert!(!can(&["link", "show", &format!("bsb{pid:x}")]));
}
