//! `burstctl explain JOB`.

use super::{
    life,
    view::{self, Gang},
};
use crate::{
    cli::Common,
    out::{Answer, Fail, now},
    places::ask,
};
use serde_json::json;

/// Asks and renders.
pub fn run(common: &Common, job: &str) -> Result<Answer, Fail> {
    let answer = ask(common, "/v1/query", &json!({"v": 1, "what": "explain", "job": job}))?;
    let gang = answer.get("gang").cloned().unwrap_or_default();
    let gang: Gang = serde_json::from_value(gang).map_err(|e| {
        Fail::problem(format!("the controller's answer cannot be read ({e}); see it with --json"))
    })?;
    let mut text = view::explain(&gang, now());
    let over = life::text(&answer);
    if !over.is_empty() {
        text.push('\n');
        text.push_str(&over);
    }
    Ok(Answer::ok(text, answer))
}
