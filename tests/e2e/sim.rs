//! The EC2 simulator as the harness starts and asks it.

use crate::files::Layout;
use crate::proc::{Proc, wait_until};
use crate::spec::{ClusterSpec, Network};
use crate::{Context, Res};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Longest answer: a long storm leaves many instances behind.
const STATE_MOST: u64 = 256 * 1024 * 1024;

/// A running simulator.
#[derive(Debug)]
pub struct Sim {
    proc: Option<Proc>,
    url: String,
    audit: PathBuf,
}

impl Sim {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// It ended or did not answer.
    pub fn start(spec: &ClusterSpec, at: &Layout, env: Vec<(String, String)>) -> Res<Self> {
        let conf = at.file("etc/sim.json");
        std::fs::write(&conf, config(spec, at).to_string()).context(conf.display())?;
        let mut command = Command::new(at.file("bin/burst-ec2sim"));
        command.env_clear().envs(env).current_dir(at.file("sim"));
        command.arg(format!("--listen=127.0.0.1:{}", at.sim_port())).arg("--config").arg(&conf);
        command.arg("--state-dir").arg(at.file("sim"));
        let proc = Proc::spawn("burst-ec2sim", &at.file("log/sim.log"), &mut command)?;
        let mut sim = Self {
            proc: Some(proc),
            url: format!("http://127.0.0.1:{}", at.sim_port()),
            audit: at.file("sim/audit.jsonl"),
        };
        wait_until(Duration::from_secs(10), || {
            if !sim.proc.as_mut().is_some_and(Proc::alive) {
                return Err("burst-ec2sim ended".into());
            }
            Ok(sim.state().is_ok().then_some(()))
        })
        .context("burst-ec2sim answering")?;
        Ok(sim)
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.audit.clone()
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Everything it knows, of what has ended as well.
    ///
    /// # Errors
    /// It does not answer.
    pub fn state(&self) -> Res<Value> {
        self.admin("GET", "state", None)
    }

    /// Ids of instances that are neither terminated nor on the way there.
    ///
    /// # Errors
    /// It does not answer.
    pub fn living(&self) -> Res<Vec<String>> {
        let state = self.admin("GET", "living", None)?;
        let all = state.get("instances").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(all
            .iter()
            .filter(|i| matches!(text(i, "state"), "pending" | "running" | "stopping" | "shutting-down"))
            .map(|i| text(i, "id").to_owned())
            .collect())
    }

    /// Instances whose tag names this job and that are neither terminated nor on the way there.
    ///
    /// # Errors
    /// It does not answer.
    pub fn living_of(&self, job: u32) -> Res<Vec<String>> {
        let (state, job) = (self.admin("GET", "living", None)?, job.to_string());
        let all = state.get("instances").and_then(Value::as_array).cloned().unwrap_or_default();
        let of =
            |i: &&Value| i.pointer("/tags/slurm-burst:job").and_then(Value::as_str) == Some(job.as_str());
        Ok(all
            .iter()
            .filter(of)
            .filter(|i| matches!(text(i, "state"), "pending" | "running"))
            .map(|i| text(i, "id").to_owned())
            .collect())
    }

    /// Sets how many instances of a type can live at once; None: no limit.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn capacity(&self, kind: &str, count: Option<u64>) -> Res<()> {
        self.admin("POST", "capacity", Some(&json!({"type": kind, "count": count}))).map(|_| ())
    }

    /// Ends an instance's process, as a crashing machine would.
    ///
    /// # Errors
    /// It does not answer, or knows no such running instance.
    pub fn stop_instance(&self, id: &str) -> Res<()> {
        self.admin("POST", "stop-instance", Some(&json!({"id": id}))).map(|_| ())
    }

    /// A pending instance will run, as EC2 sees it, and never say anything.
    ///
    /// # Errors
    /// It does not answer, or knows no such pending instance.
    pub fn hang_instance(&self, id: &str) -> Res<()> {
        self.admin("POST", "hang-instance", Some(&json!({"id": id}))).map(|_| ())
    }

    /// Adds a fault rule.
    ///
    /// # Errors
    /// It does not answer, or refuses the rule.
    pub fn fault(&self, rule: &Value) -> Res<()> {
        self.admin("POST", "fault", Some(rule)).map(|_| ())
    }

    /// Changes knobs.
    ///
    /// # Errors
    /// It does not answer, or refuses them.
    pub fn settings(&self, knobs: &Value) -> Res<()> {
        self.admin("POST", "settings", Some(knobs)).map(|_| ())
    }

    /// One administrator's request.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn admin(&self, method: &str, what: &str, body: Option<&Value>) -> Res<Value> {
        let url = format!("{}/_sim/{what}", self.url);
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(30)))
            .http_status_as_error(false)
            .build()
            .into();
        let answer = match (method, body) {
            ("GET", _) => agent.get(&url).call(),
            (_, body) => agent.post(&url).send(body.map(ToString::to_string).unwrap_or_default()),
        };
        let mut answer = answer.context(&url)?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(STATE_MOST).read_to_string().context(&url)?;
        if status >= 300 {
            return Err(format!("{url}: {status} {text}"));
        }
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).context(&url)
    }

    /// Ends it and its instances.
    pub fn stop(&mut self) {
        if let Some(mut p) = self.proc.take() {
            p.stop(Duration::from_secs(10));
        }
    }

    /// Lets it go on after the harness.
    pub fn leave(&mut self) {
        self.proc = None;
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn config(spec: &ClusterSpec, at: &Layout) -> Value {
    let network = if spec.network == Network::Netns { "netns" } else { "shared" };
    let mut all = json!({
        "network": network,
        "netns_prefix": at.netns_prefix,
        "instance_command": [at.file("bin/burst-node")],
        "instance_env": {
            "BURST_NODE_CONFIG": at.file("etc/burst-node.json"),
            "BURST_TEST_SYSFS": at.file("sys"),
            "SLURM_CONF": at.slurm_conf(),
        },
    });
    merge(&mut all, &spec.sim_settings);
    all
}

/// Objects key by key, everything else replaced.
pub(crate) fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_merge_and_lists_are_replaced() {
        let mut v = json!({"a": {"b": 1, "c": [1, 2]}, "d": 4});
        merge(&mut v, &json!({"a": {"c": [3]}, "e": 5}));
        assert_eq!(v, json!({"a": {"b": 1, "c": [3]}, "d": 4, "e": 5}));
    }
}
