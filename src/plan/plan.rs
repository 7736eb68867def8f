//! The execution plan in both dialects, normalised.
use crate::{Efa, Market, MicroUsd, Seconds};
pub use compact::compact;
use json::{Kind, Node, position};
use read::{Notes, Object};
use serde::{Deserialize, Serialize};

mod compact;
mod fields;
mod json;
pub(crate) mod read;
#[cfg(test)]
mod tests;

/// A plan in our own types; both dialects map onto it. Advice, within what the pool allows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// The advisor's verdict; absent in neither dialect.
    pub should_burst: bool,
    /// Instance types in order of preference.
    pub types: Vec<String>,
    /// Nodes the advisor had in mind; compared with the job's own geometry.
    pub nodes: Option<u32>,
    /// MPI processes the advisor had in mind.
    pub processes: Option<u32>,
    /// Market asked for.
    pub market: Option<Market>,
    /// USD per instance-hour (never a fleet's total); 0 in dialect A means none.
    pub max_spot_price: Option<MicroUsd>,
    /// Nodes that must not be interrupted, where the market is mixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical: Option<u32>,
    /// EFA wish.
    pub efa: Option<Efa>,
    /// `cluster`, `partition`, `spread`.
    pub placement: Option<String>,
    /// Zones asked for.
    pub zones: Vec<String>,
    /// Bound on the whole job's cost.
    pub max_cost: Option<MicroUsd>,
    /// Bound on the gang's hourly cost.
    pub max_cost_per_hour: Option<MicroUsd>,
    /// Bound on duration.
    pub max_duration: Option<Seconds>,
    /// Expected run time.
    pub expected_runtime: Option<Seconds>,
    /// Version text of the advisor.
    pub advisor_version: Option<String>,
    /// Fields a user may name but the site decides (subnets, template, AMI …): named here so that a warning can say so.
    pub ignored: Vec<String>,
}

/// Something worth telling that does not stop the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// JSON path such as `instance_specification.instance_types[0]`.
    pub path: String,
    /// What and what to do.
    pub text: String,
}

/// One thing wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{path} (line {line}, column {column}): {text}")]
pub struct PlanError {
    /// JSON path.
    pub path: String,
    /// 1-based.
    pub line: u32,
    /// 1-based.
    pub column: u32,
    /// What is wrong and what is allowed.
    pub text: String,
}

/// All errors of one plan, at least one, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanErrors(pub Vec<PlanError>);

/// A plan and what to tell its author.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The plan.
    pub plan: Plan,
    /// Unknown keys and the like.
    pub warnings: Vec<Warning>,
}

/// Most bytes a plan may have unless the site says otherwise (`[limits] plan_bytes`).
pub const PLAN_BYTES: usize = 64 * 1024;

/// Reads a plan of either dialect, or the line [`compact`] makes of one. `limit` is the site's `plan_bytes`.
///
/// The dialects need not be told apart: no key means two things, so every key of both is read wherever it stands. A
/// file that is no JSON has one error, where reading stopped; all that is wrong with the values of a JSON text is told
/// at once. A key given twice is an error, because nobody can tell which one was meant; an unknown key is a warning.
///
/// # Errors
/// Every problem found, each with path, position and what is allowed.
pub fn parse(bytes: &[u8], limit: usize) -> Result<Parsed, PlanErrors> {
    let whole = |(line, column), text: String| {
        Err(PlanErrors(vec![PlanError { path: "plan".into(), line, column, text }]))
    };
    if bytes.len() > limit {
        return whole(
            (1, 1),
            format!("{} bytes; at most {limit} are taken ([limits] plan_bytes)", bytes.len()),
        );
    }
    if compact::is_line(bytes) {
        return compact::read(bytes).map(|plan| Parsed { plan, warnings: Vec::new() });
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(t) => t,
        Err(e) => {
            return whole(
                position(&String::from_utf8_lossy(bytes), e.valid_up_to()),
                "not UTF-8 text; save the file as UTF-8".into(),
            );
        }
    };
    // Some editors put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return whole((1, 1), "empty; a plan is a JSON object such as asba execution-plan writes".into());
    }
    if !text.trim_start().starts_with(['{', '[']) {
        let why = "not a JSON object { … }, which asba execution-plan writes with --output=FILE";
        return whole(position(text, text.len() - text.trim_start().len()), why.into());
    }
    let members = match json::read(text) {
        Ok(Node { kind: Kind::Object(m), .. }) => m,
        Ok(other) => return whole(position(text, other.at), "a plan is a JSON object { … }".into()),
        Err(stop) => return whole(position(text, stop.at), stop.text),
    };
    let notes = Notes::new(text);
    let start = text.find('{').unwrap_or(0);
    let plan = fields::plan(&Object::root(&members, start, &notes), &notes);
    let mut errors = notes.errors.into_inner();
    if errors.is_empty() {
        let mut warnings = notes.warnings.into_inner();
        let untold = notes.untold.into_inner();
        if untold > 0 {
            warnings.push(Warning { path: "plan".into(), text: format!("and {untold} more like these") });
        }
        return Ok(Parsed { plan, warnings });
    }
    errors.sort_by_key(|e| (e.line, e.column));
    Err(PlanErrors(errors))
}

/// Errors as compilers write them, one a line: `plan.json:3:17: path: text`.
#[must_use]
pub fn render_errors(errors: &PlanErrors, file: &str) -> String {
    let lines: Vec<String> =
        errors.0.iter().map(|e| format!("{file}:{}:{}: {}: {}", e.line, e.column, e.path, e.text)).collect();
    lines.join("\n")
}
