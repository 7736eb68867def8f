//! Structured events of the engine as JSON lines in Slurm's log: warnings as errors there, the rest at debug.

use crate::shim;
use std::io;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Hands each event to Slurm's log.
pub struct SlurmLog;

/// One event.
pub struct Line {
    level: i32,
    text: Vec<u8>,
}

impl io::Write for Line {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        let text = text.trim_end();
        if !text.is_empty() {
            shim::log(self.level, text);
        }
    }
}

impl<'a> MakeWriter<'a> for SlurmLog {
    type Writer = Line;
    fn make_writer(&'a self) -> Line {
        Line { level: 3, text: Vec::new() }
    }
    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        let level = if *meta.level() <= Level::WARN { 0 } else { 3 };
        Line { level, text: Vec::new() }
    }
}

/// Only our own crates: the SDK's debug lines could hold what must not be in a log.
pub fn install() {
    use tracing_subscriber::{
        Layer, filter::Targets, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt,
    };
    let ours = ["burst_engine", "burst_aws", "burst_policy"].map(|name| (name, Level::INFO));
    let lines = fmt::layer().json().flatten_event(true).with_writer(SlurmLog);
    let made = registry().with(lines.with_filter(ours.into_iter().collect::<Targets>())).try_init();
    if made.is_err() {
        shim::log(3, "another subscriber is installed: structured lines are left out");
    }
}
