//! The image's own settings, and what the user data may add.

use serde::Deserialize;
use serde_json::Value;

/// Everything that can be set; from `slurmd` on only by the image.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// URLs, tried in order.
    pub controllers: Vec<String>,
    /// Cluster UUID.
    pub cluster: String,
    /// Pool.
    pub pool: String,
    /// EFA devices that must be there.
    pub efa_devices: u32,
    /// Seconds from process start to a name.
    pub boot_limit_s: f64,
    /// Seconds without a controller and without a job before power-off.
    pub orphan_limit_s: f64,
    /// slurmd.
    pub slurmd: String,
    /// SLURM_CONF for slurmd.
    pub slurm_conf: Option<String>,
    /// The munge program.
    pub munge: String,
    /// Its socket.
    pub munge_socket: Option<String>,
    /// `auto`, `systemd`, `direct`.
    pub start: String,
    /// `poweroff`, `exit`.
    pub on_end: String,
    /// Where the agent's process id is written while it lives.
    pub pidfile: Option<String>,
    /// Where it meets the SPANK plugin, whose `run_dir=` says the same.
    pub run_dir: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            controllers: Vec::new(),
            cluster: String::new(),
            pool: String::new(),
            efa_devices: 0,
            boot_limit_s: 480.0,
            orphan_limit_s: 900.0,
            slurmd: "/usr/sbin/slurmd".into(),
            slurm_conf: None,
            munge: "/usr/bin/munge".into(),
            munge_socket: None,
            start: "auto".into(),
            on_end: "poweroff".into(),
            pidfile: None,
            run_dir: burst_capture::place::RUN_DIR.into(),
        }
    }
}

/// Seconds that can be counted down from.
fn is_limit(n: f64) -> bool {
    n.is_finite() && n > 0.0 && n < 1e8
}

/// Largest user data EC2 takes, bytes.
const MOST: usize = 16 * 1024;
/// Keys the user data may set: it comes from EC2, the image from the site.
const REMOTE: [&str; 6] = ["controllers", "cluster", "pool", "efa_devices", "boot_limit_s", "orphan_limit_s"];

impl Settings {
    /// The image's file; absent means defaults.
    pub fn local() -> Result<Self, String> {
        let path = std::env::var("BURST_NODE_CONFIG").unwrap_or_else(|_| "/etc/slurm/burst-node.json".into());
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Self>(&bytes)
                .map_err(|e| e.to_string())
                .and_then(Self::checked)
                .map_err(|e| format!("{path}: {e}")),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(format!("{path}: {e}")),
        }
    }

    /// A limit that is none, or a word that means nothing, must not pass for a default.
    fn checked(self) -> Result<Self, String> {
        for (key, n) in [("boot_limit_s", self.boot_limit_s), ("orphan_limit_s", self.orphan_limit_s)] {
            if !is_limit(n) {
                return Err(format!("{key} is {n}: write seconds above 0 and below 100000000"));
            }
        }
        if !["auto", "systemd", "direct"].contains(&self.start.as_str()) {
            return Err(format!("start is {:?}: write auto, systemd or direct", self.start));
        }
        if !["poweroff", "exit"].contains(&self.on_end.as_str()) {
            return Err(format!("on_end is {:?}: write poweroff or exit", self.on_end));
        }
        Ok(self)
    }

    /// Overlays what the user data says; text that is not ours says nothing.
    pub fn overlay(mut self, user_data: &str) -> Self {
        if user_data.len() > MOST {
            crate::say("the user data is longer than 16 KiB: ignored");
            return self;
        }
        let Ok(Value::Object(root)) = serde_json::from_str::<Value>(user_data) else { return self };
        let Some(Value::Object(map)) = root.get("burst_node") else { return self };
        for key in map.keys().filter(|k| !REMOTE.contains(&k.as_str()) && *k != "v") {
            crate::say(&format!("the user data may not set {key}: ignored"));
        }
        let text = |k: &str| map.get(k).and_then(Value::as_str).map(str::to_owned);
        let number = |k: &str| map.get(k).and_then(Value::as_f64).filter(|n| is_limit(*n));
        if let Some(Value::Array(list)) = map.get("controllers") {
            let urls = list.iter().filter_map(Value::as_str).filter(|u| u.starts_with("http://")).take(8);
            let urls: Vec<String> = urls.map(str::to_owned).collect();
            if urls.is_empty() {
                crate::say("the user data names no usable controller: the image's own are kept");
            } else {
                self.controllers = urls;
            }
        }
        self.cluster = text("cluster").unwrap_or(self.cluster);
        self.pool = text("pool").unwrap_or(self.pool);
        if let Some(n) = map.get("efa_devices").and_then(Value::as_u64) {
            self.efa_devices = u32::try_from(n).unwrap_or(u32::MAX);
        }
        self.boot_limit_s = number("boot_limit_s").unwrap_or(self.boot_limit_s);
        self.orphan_limit_s = number("orphan_limit_s").unwrap_or(self.orphan_limit_s);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_sets_only_what_it_may() {
        let text = r#"{"burst_node":{"controllers":["http://10.0.0.5:6826","ftp://x"],"efa_devices":2,
            "boot_limit_s":-1,"slurmd":"/tmp/evil","on_end":"exit"}}"#;
        let s = Settings::default().overlay(text);
        assert_eq!((s.controllers.len(), s.efa_devices, s.boot_limit_s), (1, 2, 480.0));
        assert_eq!((s.slurmd.as_str(), s.on_end.as_str()), ("/usr/sbin/slurmd", "poweroff"));
    }

    #[test]
    fn other_user_data_says_nothing() {
        for text in ["#!/bin/sh\n", "", "[]", "{\"burst_node\":7}"] {
            assert!(Settings::default().overlay(text).controllers.is_empty());
        }
        assert!(Settings::default().overlay(&" ".repeat(20_000)).controllers.is_empty());
    }
}
