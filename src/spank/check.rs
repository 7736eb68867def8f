//! The plan language, asked of `burst-plan`: the same parser that slurmctld uses.

use burst_plan::{PlanError, plan};

/// A plan fit to be sent, and what to tell its author.
pub struct Checked {
    /// The plan as slurmctld reads it, see docs/WIRE.md.
    pub line: String,
    /// Rendered warnings.
    pub warnings: Vec<String>,
}

/// Checks a plan's bytes.
///
/// # Errors
/// All problems, one a line, each with file, line and column in front as compilers print them.
pub fn plan(bytes: &[u8], limit: usize, file: &str) -> Result<Checked, String> {
    let parsed = plan::parse(bytes, limit)
        .map_err(|errors| errors.0.iter().map(|e| located(e, file)).collect::<Vec<_>>().join("\n"))?;
    let warnings =
        parsed.warnings.iter().map(|w| format!("{file}: warning: {}: {}", w.path, w.text)).collect();
    Ok(Checked { line: plan::compact(&parsed.plan), warnings })
}

fn located(error: &PlanError, file: &str) -> String {
    let PlanError { path, line, column, text } = error;
    let separator = if path.is_empty() { "" } else { ": " };
    format!("{file}:{line}:{column}: {path}{separator}{text}")
}
