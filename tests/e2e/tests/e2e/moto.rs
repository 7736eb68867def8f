//! The good path on an EC2 that we did not write: moto's server, unmodified, as far as it goes. Its instances are records,
//! so no node boots there; and it has no placement groups.

use crate::help::*;
use burst_e2e::proc::{Proc, run, wait_until};
use burst_e2e::spec::{target_dir, workspace};
use burst_e2e::{Cluster, User};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// moto's server in an environment of its own, pinned with hashes; made once.
fn server() -> PathBuf {
    let venv = std::path::absolute(target_dir().join("venv-moto")).unwrap();
    let ready = venv.join("ready");
    let wanted = workspace().join("tests/e2e/fixtures/moto/requirements.txt");
    let list = std::fs::read_to_string(&wanted).unwrap();
    if std::fs::read_to_string(&ready).is_ok_and(|r| r == list) {
        return venv.join("bin/moto_server");
    }
    let go = |command: &mut Command| {
        let out = run(command, "", Duration::from_secs(300)).unwrap();
        assert!(out.ok(), "moto could not be installed (python3-venv and PyPI are needed): {}", out.text());
    };
    go(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--retries=10",
        "--timeout=60",
        "--no-deps",
        "--require-hashes",
        "-r",
    ]);
    go(pip.arg(wanted));
    std::fs::write(ready, list).unwrap();
    venv.join("bin/moto_server")
}

/// The texts between `<tag>` and `</tag>`.
fn elements<'a>(xml: &'a str, tag: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    xml.split(open.as_str()).skip(1).filter_map(|rest| rest.split(close.as_str()).next()).collect()
}

#[test]
fn the_good_path_on_moto_as_far_as_moto_goes() {
    let program = server();
    let mut spec = spec("moto").sized(4).pool("placement = \"none\"");
    spec.sim = false;
    let mut c = Cluster::start(spec).unwrap();
    c.stop_slurmctld();
    let port = c.at.sim_port();
    let mut command = Command::new(program);
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).env_clear().env("PATH", "/usr/bin:/bin");
    let mut moto = Proc::spawn("moto", &c.at.file("log/moto.log"), &mut command).unwrap();
    let ask = |what: &str| -> burst_e2e::Res<String> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let body = format!("Version=2016-11-15&Action={what}");
        let mut answer = agent
            .post(format!("http://127.0.0.1:{port}/"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-2/ec2/aws4_request, SignedHeaders=host, Signature=x")
            .send(&body)
            .map_err(|e| e.to_string())?;
        answer.body_mut().read_to_string().map_err(|e| e.to_string())
    };
    let subnets = wait_until(S, || Ok(ask("DescribeSubnets").ok())).unwrap();
    let zone = elements(&subnets, "availabilityZone").iter().position(|z| *z == "us-east-2b").unwrap();
    let subnet = elements(&subnets, "subnetId")[zone];
    let groups = ask("DescribeSecurityGroups").unwrap();
    let images = ask("DescribeImages&Owner.1=amazon").unwrap();
    let toml = std::fs::read_to_string(c.at.burst_toml()).unwrap();
    let toml = toml
        .replace("subnet-0aa11", subnet)
        .replace("sg-0burst0000000001", elements(&groups, "groupId")[0])
        .replace("ami-0burst00000000001", elements(&images, "imageId")[0]);
    std::fs::write(c.at.burst_toml(), toml).unwrap();
    c.start_slurmctld().unwrap();

    let job = submit(&c, 2, &[], "true");
    c.wait_says(job, "nodes are booting", S).unwrap();
    let shown =
        ask(&format!("DescribeInstances&Filter.1.Name=tag:slurm-burst:job&Filter.1.Value.1={job}")).unwrap();
    assert_eq!(elements(&shown, "instanceId").len(), 2, "{shown}");
    assert_eq!(elements(&shown, "instanceType"), ["hpc7a.96xlarge"; 2], "{shown}");
    for key in ["slurm-burst:cluster", "slurm-burst:gang", "slurm-burst:attempt", "slurm-burst:user", "Name"]
    {
        assert_eq!(elements(&shown, "key").iter().filter(|k| **k == key).count(), 2, "{key}: {shown}");
    }
    assert!(shown.contains(subnet), "{shown}");
    c.scancel(User::Ordinary, job).unwrap();
    c.wait_job(job, "CANCELLED", S).unwrap();
    c.wait_quiet(S).unwrap();
    let left = ask("DescribeInstances").unwrap();
    let states: Vec<&str> = elements(&left, "instanceState").iter().map(|s| elements(s, "name")[0]).collect();
    assert_eq!(states, ["terminated"; 2], "{left}");
    c.stop();
    moto.stop(Duration::from_secs(3));
    assert!(c.processes().is_empty());
}
