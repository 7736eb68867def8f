//! `burstctl terminate GANG`.

use crate::{
    cli::Common,
    out::{Answer, Fail},
    places::ask,
};
use serde_json::{Value, json};

/// Asks the controller to end a gang.
pub fn run(common: &Common, gang: &str) -> Result<Answer, Fail> {
    let answer = ask(common, "/v1/control", &json!({"v": 1, "do": "terminate", "gang": gang}))?;
    let says = answer.get("says").and_then(Value::as_str).unwrap_or("done").to_owned();
    let good = answer.get("ok").and_then(Value::as_bool).unwrap_or(false);
    Ok(Answer { code: u8::from(!good), text: format!("{says}\n"), json: answer })
}
