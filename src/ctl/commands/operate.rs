//! `burstctl pause`, `resume`, `drain`, `retry`, `adopt` and `audit`: an operator's words.

use crate::{
    cli::Common,
    out::{Answer, Fail, Table, utc},
    places::ask,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Says it to the controller. `key` and `value` are what it is about, where it is about something.
pub fn run(common: &Common, what: &str, key: &str, value: Option<&str>) -> Result<Answer, Fail> {
    let mut payload = json!({"v": 1, "do": what});
    if let (Some(map), Some(value)) = (payload.as_object_mut(), value) {
        map.insert(key.to_owned(), value.into());
    }
    let answer = ask(common, "/v1/control", &payload)?;
    let says = answer.get("says").and_then(Value::as_str).unwrap_or("done").to_owned();
    let good = answer.get("ok").and_then(Value::as_bool).unwrap_or(false);
    Ok(Answer { code: u8::from(!good), text: format!("{says}\n"), json: answer })
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Audit {
    audit: Vec<Row>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Row {
    at_ms: u64,
    what: String,
    name: String,
    gang: String,
    reason: String,
    result: String,
}

/// What collection has ended.
pub fn audit(common: &Common, last: u32) -> Result<Answer, Fail> {
    let json = ask(common, "/v1/query", &json!({"v": 1, "what": "audit", "last": last}))?;
    let all: Audit = serde_json::from_value(json.clone()).map_err(|e| {
        Fail::problem(format!("the controller's answer cannot be read ({e}); see it with --json"))
    })?;
    Ok(Answer::ok(render(&all), json))
}

fn render(all: &Audit) -> String {
    if all.audit.is_empty() {
        return "Collection has ended nothing.\n".to_owned();
    }
    let mut table = Table::new(&["WHEN", "WHAT", "NAME", "GANG", "RESULT", "WHY"]);
    for r in &all.audit {
        let when = utc(r.at_ms / 1000);
        table.row(vec![
            when,
            r.what.clone(),
            r.name.clone(),
            r.gang.clone(),
            r.result.clone(),
            r.reason.clone(),
        ]);
    }
    table.render(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_is_a_table() {
        assert_eq!(render(&Audit::default()), "Collection has ended nothing.\n");
        let all: Audit = serde_json::from_str(
            r#"{"audit":[{"at_ms":1790000000000,"what":"instance","name":"i-0a","gang":"0123456789abcdef",
            "reason":"its gang 0123456789abcdef is not living","result":"ended","more":1}]}"#,
        )
        .unwrap();
        let text = render(&all);
        let line = "2026-09-21 14:13:20 UTC  instance  i-0a  0123456789abcdef  ended   its gang 0123456789abcdef is not living";
        assert_eq!(text.lines().nth(1), Some(line), "{text}");
    }
}
