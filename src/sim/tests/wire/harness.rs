//! Starts a simulator and speaks to it.

use serde_json::Value;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

pub struct Sim {
    pub child: Child,
    url: String,
    dir: tempfile::TempDir,
}

pub fn until<T>(what: &str, mut f: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        if let Some(t) = f() {
            return t;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within 20 s: {what}")
}

impl Sim {
    pub fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (file, port) = (dir.path().join("sim.toml"), dir.path().join("port"));
        std::fs::write(&file, config).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_burst-ec2sim"))
            .args([
                "--state-dir".as_ref(),
                dir.path(),
                "--config".as_ref(),
                &file,
                "--port-file".as_ref(),
                &port,
            ])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let url = until("port file", || std::fs::read_to_string(&port).ok());
        Self { child, url, dir }
    }

    pub fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<(u16, String), ureq::Error> {
        let mut b = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (k, v) in headers {
            b = b.header(*k, *v);
        }
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .into();
        let mut r = agent.run(b.body(body.to_owned()).unwrap())?;
        Ok((r.status().as_u16(), r.body_mut().read_to_string()?))
    }

    pub fn try_call(&self, action: &str, params: &[(&str, &str)]) -> Result<(u16, String), ureq::Error> {
        self.try_call_in("us-east-2", action, params)
    }

    /// A call that is scoped to a Region.
    pub fn try_call_in(
        &self,
        region: &str,
        action: &str,
        params: &[(&str, &str)],
    ) -> Result<(u16, String), ureq::Error> {
        let mut body = format!("Action={action}&Version=2016-11-15");
        for (k, v) in params {
            let v: String = v.bytes().map(|b| format!("%{b:02X}")).collect();
            body.push_str(&format!("&{k}={v}"));
        }
        let auth = format!(
            "AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/{region}/ec2/aws4_request, SignedHeaders=host;x-amz-date, Signature={}",
            "a".repeat(64)
        );
        self.http("POST", "/", &[("authorization", &auth), ("x-amz-date", "20260101T000000Z")], &body)
    }

    pub fn call(&self, action: &str, params: &[(&str, &str)]) -> (u16, String) {
        self.try_call(action, params).unwrap()
    }

    pub fn ok(&self, action: &str, params: &[(&str, &str)]) -> String {
        let (status, text) = self.call(action, params);
        assert_eq!(status, 200, "{action}: {text}");
        text
    }

    pub fn refused(&self, action: &str, params: &[(&str, &str)]) -> (u16, String) {
        let (status, text) = self.call(action, params);
        assert_ne!(status, 200, "{action}: {text}");
        (status, all(&text, "Code").remove(0))
    }

    pub fn admin(&self, method: &str, path: &str, body: &Value) -> String {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, text) = self.http(method, &format!("/_sim/{path}"), &[], &body).unwrap();
        assert_eq!(status, 200, "{path}: {text}");
        text
    }

    pub fn state(&self) -> Value {
        serde_json::from_str(&self.admin("GET", "state", &Value::Null)).unwrap()
    }

    pub fn audit(&self) -> Vec<Value> {
        self.admin("GET", "audit", &Value::Null).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    pub fn template(&self, name: &str, more: &[(&str, &str)]) {
        let mut p =
            vec![("LaunchTemplateName", name), ("LaunchTemplateData.ImageId", "ami-0burst00000000001")];
        p.extend(more);
        self.ok("CreateLaunchTemplate", &p);
    }

    /// Starts a fleet of template "tpl" with one override per type.
    pub fn fleet(&self, n: u32, min: bool, types: &[&str], more: &[(&str, &str)]) -> String {
        let n = n.to_string();
        let p = fleet_params(&n, min, types);
        let mut p: Vec<(&str, &str)> = p.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        p.extend(more);
        self.ok("CreateFleet", &p)
    }

    pub fn stop(mut self) -> tempfile::TempDir {
        self.signal();
        assert!(self.child.wait().unwrap().success());
        // A second signal must not hit a stranger with this number.
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        std::mem::forget(self);
        dir
    }

    pub fn signal(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.signal();
        let _ = self.child.wait();
    }
}

pub fn fleet_params(n: &str, min: bool, types: &[&str]) -> Vec<(String, String)> {
    let mut p: Vec<(String, String)> = [
        ("Type", "instant"),
        ("TargetCapacitySpecification.TotalTargetCapacity", n),
        ("TargetCapacitySpecification.DefaultTargetCapacityType", "on-demand"),
        ("LaunchTemplateConfigs.1.LaunchTemplateSpecification.LaunchTemplateName", "tpl"),
        ("LaunchTemplateConfigs.1.LaunchTemplateSpecification.Version", "$Default"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .to_vec();
    if min {
        p.push(("OnDemandOptions.SingleAvailabilityZone".into(), "true".into()));
        p.push(("OnDemandOptions.SingleInstanceType".into(), "true".into()));
        p.push(("OnDemandOptions.MinTargetCapacity".into(), n.into()));
    }
    for (i, t) in types.iter().enumerate() {
        let o = format!("LaunchTemplateConfigs.1.Overrides.{}", i + 1);
        p.push((format!("{o}.InstanceType"), (*t).into()));
        p.push((format!("{o}.SubnetId"), "subnet-0aa11".into()));
    }
    p
}

/// The texts of all elements of a name.
pub fn all(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open).skip(1).map(|p| p.split(&close).next().unwrap().to_owned()).collect()
}

/// The instance ids of a CreateFleet answer: several in one entry.
pub fn ids(xml: &str) -> Vec<String> {
    all(xml, "instanceIds").iter().flat_map(|x| all(x, "item")).collect()
}
