//! `burstctl explain JOB`.

use super::{
    past,
    view::{self, Gang},
};
use crate::{
    cli::Common,
    lives::{Which, fetch},
    out::{Answer, Fail, now},
    places::ask_or_404,
};
use burst_policy::life::Life;
use serde_json::{Value, json};

/// Asks and renders: the gang as it is, and what earlier lives of the job did and cost.
pub fn run(common: &Common, job: &str) -> Result<Answer, Fail> {
    let gang = ask_or_404(common, "/v1/query", &json!({"v": 1, "what": "explain", "job": job}))?;
    let (answer, unknown) = match gang {
        Ok(answer) => (answer, None),
        Err(fail) => (json!({ "gang": null }), Some(fail)),
    };
    let shown: Gang = match answer.get("gang") {
        None | Some(Value::Null) => Gang::default(),
        Some(known) => serde_json::from_value(known.clone()).map_err(|e| {
            Fail::problem(format!("the controller's answer cannot be read ({e}); see it with --json"))
        })?,
    };
    let past = if unknown.is_some() || has_past(&shown) { lives(common, job) } else { Ok(Vec::new()) };
    match (unknown, past) {
        (Some(fail), Ok(lives)) if lives.is_empty() => Err(fail),
        (Some(fail), Err(_)) => Err(fail),
        (Some(_), Ok(lives)) => {
            let text = past::render(&lives).trim_start().to_owned();
            Ok(Answer::ok(text, with(answer, &lives)))
        }
        (None, past) => {
            let mut text = view::explain(&shown, now());
            let lives = past.unwrap_or_else(|fail| {
                text.push_str(&format!("\nWhat it did and cost is not known: {}\n", fail.text));
                Vec::new()
            });
            text.push_str(&past::render(&lives));
            Ok(Answer::ok(text, with(answer, &lives)))
        }
    }
}

/// The controller's answer, and the lives where there are some.
fn with(mut answer: Value, lives: &[Life]) -> Value {
    if let Some(fields) = answer.as_object_mut().filter(|_| !lives.is_empty()) {
        fields.insert("lives".into(), json!(lives));
    }
    answer
}

/// Whether a life of the job is over: only then is the ledger looked through.
fn has_past(gang: &Gang) -> bool {
    gang.phase.eq_ignore_ascii_case("done") || gang.history.iter().any(|s| s.text.contains("requeued"))
}

fn lives(common: &Common, job: &str) -> Result<Vec<Life>, Fail> {
    fetch(common, &Which::default().filter(Some(job), false, now())?)
}
