//! What the plugin's line in plugstack.conf may say after the path of the .so.

use burst_plan::plan::PLAN_BYTES;

/// A single environment variable of an executed program ends at 128 KiB on Linux, and batch scripts get
/// `SLURM_SPANK_BURST_PLAN`: a larger plan could never start its job.
const MOST_PLAN_BYTES: usize = 120_000;

/// Settings of the site.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    /// `plan_bytes=N`, the same as `[limits] plan_bytes` of burst.toml.
    pub plan_bytes: usize,
}

/// Reads the arguments; a wrong one is told and passed over, since a submission must not fail for it.
pub fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> (Settings, Vec<String>) {
    let mut settings = Settings { plan_bytes: PLAN_BYTES };
    let mut complaints = Vec::new();
    for argument in arguments {
        let wanted = argument.strip_prefix("plan_bytes=").map(str::parse::<usize>);
        match wanted {
            Some(Ok(bytes)) if (1..=MOST_PLAN_BYTES).contains(&bytes) => settings.plan_bytes = bytes,
            Some(_) => complaints.push(format!(
                "burst: plugstack.conf: {argument}: a number from 1 to {MOST_PLAN_BYTES} is expected; using {}",
                settings.plan_bytes
            )),
            None => complaints.push(format!(
                "burst: plugstack.conf: {argument} is not known (known: plan_bytes=N); ignored"
            )),
        }
    }
    (settings, complaints)
}
