//! The plan language, asked of `burst-plan`: the same parser that slurmctld uses.

use burst_plan::{PlanError, plan};

/// A plan fit to be sent, and what to tell its author.
pub struct Checked {
    /// The file's JSON without white space.
    pub json: String,
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
    let text = std::str::from_utf8(bytes).map_err(|e| format!("{file}: not UTF-8 text: {e}"))?;
    let warnings =
        parsed.warnings.iter().map(|w| format!("{file}: warning: {}: {}", w.path, w.text)).collect();
    Ok(Checked { json: minified(text), warnings })
}

fn located(error: &PlanError, file: &str) -> String {
    let PlanError { path, line, column, text } = error;
    let separator = if path.is_empty() { "" } else { ": " };
    format!("{file}:{line}:{column}: {path}{separator}{text}")
}

/// Valid JSON without the white space between its tokens. The tokens stay byte for byte what the user wrote: a
/// round trip through a parser would change long numbers and drop repeated keys.
fn minified(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for c in json.chars() {
        if !inside && matches!(c, ' ' | '\t' | '\n' | '\r') {
            continue;
        }
        if c == '"' && !escaped {
            inside = !inside;
        }
        escaped = inside && c == '\\' && !escaped;
        out.push(c);
    }
    out
}
