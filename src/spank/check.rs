//! The plan language, asked of `burst-plan`: the same parser that slurmctld uses.

use burst_plan::{Efa, Else, Market, PlanError, plan};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

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

/// Checks one option's value; what it is called and looks like in `BURST_OPTS`, see docs/WIRE.md.
///
/// # Errors
/// What is wrong with the value and what is allowed.
pub fn option(name: &str, value: &str) -> Result<(&'static str, Value), String> {
    let text = || Value::String(value.to_owned());
    match name {
        "burst" => Ok(("pool", text())),
        "burst-types" => types(value).map(|list| ("types", list)),
        "burst-market" => match one_of::<Market>(value) {
            Some(Market::OnDemand | Market::Spot) => Ok(("market", text())),
            _ => Err("on-demand or spot is expected".to_owned()),
        },
        "burst-efa" => one_of::<Efa>(value)
            .map(|_| ("efa", text()))
            .ok_or_else(|| "required, preferred or off is expected".to_owned()),
        "burst-max-cost" if dollars(value) => Ok(("max_cost", text())),
        "burst-max-cost" => Err("an amount in US dollars is expected, such as 250 or 12.50".to_owned()),
        "burst-wait" if value.starts_with(|c: char| c.is_ascii_digit()) => Ok(("wait", text())),
        "burst-wait" => Err("a time is expected, such as 90m, 2h or 1-00:00:00".to_owned()),
        "burst-else" => one_of::<Else>(value)
            .map(|_| ("else", text()))
            .ok_or_else(|| "wait, local or cancel is expected".to_owned()),
        _ => Err("this option is not known".to_owned()),
    }
}

fn one_of<T: DeserializeOwned>(value: &str) -> Option<T> {
    serde_json::from_value(Value::String(value.to_owned())).ok()
}

fn types(value: &str) -> Result<Value, String> {
    let list: Vec<&str> = value.split(',').map(str::trim).collect();
    if list.iter().any(|one| one.is_empty()) {
        return Err("instance types separated by commas are expected, such as hpc7a.96xlarge,hpc6a.48xlarge"
            .to_owned());
    }
    Ok(list.into_iter().collect())
}

/// Digits, at most one point among them: no sign, exponent, NaN or infinity.
fn dollars(value: &str) -> bool {
    let (whole, part) = value.split_once('.').unwrap_or((value, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && digits(part)
}

/// The transport form of the options.
pub fn transport(options: &Map<String, Value>) -> String {
    Value::Object(options.clone()).to_string()
}
