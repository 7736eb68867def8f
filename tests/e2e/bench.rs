//! Figures of `make bench`: raw samples by key, and the summary made of them.

use crate::{Context, Res};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Gang sizes that are timed (nodes).
pub const SIZES: [u16; 3] = [1, 16, 64];

/// Samples by key; the unit is the key's ending.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Raw(pub BTreeMap<String, Vec<f64>>);

impl Raw {
    /// The samples below `dir`: one file a key.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(dir: &Path) -> Res<Self> {
        let mut raw = Self::default();
        for entry in std::fs::read_dir(dir).context(dir.display())? {
            let path = entry.context(dir.display())?.path();
            let Some(key) = path.file_name().and_then(|n| n.to_str()?.strip_suffix(".json")) else {
                continue;
            };
            let text = std::fs::read_to_string(&path).context(path.display())?;
            raw.0.insert(key.to_owned(), serde_json::from_str(&text).context(path.display())?);
        }
        Ok(raw)
    }

    /// Adds one.
    pub fn add(&mut self, key: &str, sample: f64) {
        self.0.entry(key.to_owned()).or_default().push(sample);
    }

    /// Writes each key's file; other keys' files stay.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, dir: &Path) -> Res<()> {
        std::fs::create_dir_all(dir).context(dir.display())?;
        for (key, samples) in &self.0 {
            let path: PathBuf = dir.join(format!("{key}.json"));
            std::fs::write(&path, json!(samples).to_string()).context(path.display())?;
        }
        Ok(())
    }

    /// The least that at least this part of the samples stayed within (nearest rank).
    #[must_use]
    pub fn quantile(&self, key: &str, part: f64) -> Option<f64> {
        let mut sorted = self.0.get(key)?.clone();
        sorted.sort_by(f64::total_cmp);
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied()
    }

    /// target/bench/summary.json; null where nothing was measured.
    #[must_use]
    pub fn summary(&self) -> Value {
        let value = |v: Option<f64>| v.map_or(Value::Null, |v| json!((v * 1_000.0).round() / 1_000.0));
        let median = |key: &str| value(self.quantile(key, 0.5));
        let micros = |key: &str| {
            let at = |part| value(self.quantile(key, part).map(|ns| ns / 1_000.0));
            json!({"p50": at(0.5), "p99": at(0.99)})
        };
        let more = |with: &str, without: &str| {
            value(Some(self.quantile(with, 0.5)? - self.quantile(without, 0.5)?)).into()
        };
        let sizes = |key: &str| {
            let all = SIZES.iter().map(|n| (n.to_string(), median(&format!("{key}.{n}"))));
            Value::Object(all.collect::<Map<_, _>>())
        };
        let mb = |key: &str| value(self.quantile(key, 0.5).map(|b| b / 1e6));
        json!({
            "submit_hook_us": {"4k": micros("submit_hook_ns.4k"), "64k": micros("submit_hook_ns.64k")},
            "foreign_job_hook_us": micros("foreign_job_hook_ns"),
            "submit_to_create_fleet_ms": median("submit_to_create_fleet_ms"),
            "calls_before_create_fleet": value(self.quantile("calls_before_create_fleet", 1.0)),
            "registered_to_release_ms": median("registered_to_release_ms"),
            "submit_to_script_s": sizes("submit_to_script_s"),
            "floor_submit_to_script_s": sizes("floor_submit_to_script_s"),
            "slurmctld_added_mb": Option::<Value>::unwrap_or_default(more("slurmctld_mb.burst", "slurmctld_mb.plain")),
            "so_mb": {"job_submit": mb("so_bytes.job_submit"), "spank": mb("so_bytes.spank")},
            "sbatch_added_ms": Option::<Value>::unwrap_or_default(more("sbatch_ms.burst", "sbatch_ms.plain")),
            "capture": {
                "srun_ms": {
                    "with": median("srun_ms.with"),
                    "without": median("srun_ms.without"),
                    "no_plugin": median("srun_ms.no_plugin"),
                },
                "srun_added_ms": Option::<Value>::unwrap_or_default(more("srun_ms.with", "srun_ms.without")),
                "sampler_cpu_percent": value(self.quantile("sampler_cpu_percent", 1.0)),
            },
            "clean_build_s": median("clean_build_s"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_samples() {
        let mut raw = Raw::default();
        (1..=1_000).rev().for_each(|n| raw.add("submit_hook_ns.4k", f64::from(n) * 10.0));
        for (with, without) in [(12.0, 10.0), (14.0, 11.0), (13.0, 9.0)] {
            raw.add("sbatch_ms.burst", with);
            raw.add("sbatch_ms.plain", without);
        }
        let s = raw.summary();
        assert_eq!(s["submit_hook_us"]["4k"], json!({"p50": 5.0, "p99": 9.9}));
        assert_eq!(s["sbatch_added_ms"], json!(3.0));
        assert_eq!(s["clean_build_s"], Value::Null, "what was not measured is not made up");
    }
}
