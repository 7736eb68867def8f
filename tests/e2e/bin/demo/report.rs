//! What held and what did not: on the terminal and in target/demo.json.

use burst_e2e::Res;
use burst_e2e::spec::target_dir;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// The checks so far.
#[derive(Debug)]
pub struct Report {
    checks: Vec<(String, bool, String)>,
    /// Milliseconds by phase, by gang.
    pub phases_ms: Map<String, Value>,
    /// Instances that live at the end; None: it could not be asked.
    pub instances_left: Option<usize>,
    /// Pool nodes that are not powered down at the end; None: it could not be asked.
    pub nodes_awake: Option<usize>,
}

impl Default for Report {
    fn default() -> Self {
        Self { checks: Vec::new(), phases_ms: Map::new(), instances_left: None, nodes_awake: None }
    }
}

impl Report {
    /// Notes a check: Ok has a detail, Err says what was wrong.
    pub fn check(&mut self, name: &str, outcome: Res<String>) {
        let (passed, detail) = match outcome {
            Ok(detail) => (true, detail),
            Err(why) => (false, why),
        };
        self.checks.push((name.to_owned(), passed, detail));
    }

    /// Notes a yes-or-no check.
    pub fn that(&mut self, name: &str, holds: bool, detail: impl Into<String>) {
        let detail = detail.into();
        self.check(name, if holds { Ok(detail) } else { Err(detail) });
    }

    /// Whether anything failed so far.
    pub fn failed(&self) -> bool {
        self.checks.iter().any(|c| !c.1)
    }

    /// Prints and writes everything; the exit code is the verdict.
    pub fn finish(&self) -> ExitCode {
        println!("\nChecks");
        for (name, passed, detail) in &self.checks {
            let mark = if *passed { "ok    " } else { "FAILED" };
            let mut lines = detail.lines();
            println!("  {mark} {name}{}", lines.next().map(|l| format!(": {l}")).unwrap_or_default());
            for line in lines.take(60) {
                println!("           {line}");
            }
        }
        let checks: Vec<Value> = self
            .checks
            .iter()
            .map(|(name, passed, detail)| json!({"name": name, "passed": passed, "detail": detail}))
            .collect();
        let all = json!({
            "checks": checks, "phases_ms": self.phases_ms, "instances_left": self.instances_left,
            "nodes_not_powered_down": self.nodes_awake,
        });
        let path = target_dir().join("demo.json");
        let mut failed = self.checks.iter().filter(|c| !c.1).count();
        if let Err(e) = std::fs::write(&path, format!("{all:#}\n")) {
            println!("  FAILED writing {}: {e}", path.display());
            failed += 1;
        }
        let passed = self.checks.iter().filter(|c| c.1).count();
        println!("\ndemo: passed {passed} checks, failed {failed}");
        if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
