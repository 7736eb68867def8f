//! XML answers, written from JSON values whose keys are the elements' names.

use crate::errors::ApiError;
use serde_json::Value;
use std::fmt::Write;

const EC2_NS: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";
const STS_NS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", c as u32);
            }
            // XML 1.0 has no way to write the other control characters.
            c if (c as u32) < 0x20 => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

/// Writes one element. A list is `<name><item>…</item></name>`; a key `name/member` gives its members another name.
fn element(out: &mut String, key: &str, value: &Value) {
    let (name, member) = key.split_once('/').unwrap_or((key, "item"));
    match value {
        Value::Null => {}
        Value::Array(items) if items.is_empty() => {
            let _ = write!(out, "<{name}/>");
        }
        Value::Array(items) => {
            let _ = write!(out, "<{name}>");
            items.iter().for_each(|i| element(out, member, i));
            let _ = write!(out, "</{name}>");
        }
        Value::Object(map) => {
            let _ = write!(out, "<{name}>");
            map.iter().for_each(|(k, v)| element(out, k, v));
            let _ = write!(out, "</{name}>");
        }
        Value::String(s) => {
            let _ = write!(out, "<{name}>");
            escape(out, s);
            let _ = write!(out, "</{name}>");
        }
        Value::Bool(_) | Value::Number(_) => {
            let _ = write!(out, "<{name}>{value}</{name}>");
        }
    }
}

/// The answer of a successful EC2 action.
pub fn ec2_answer(action: &str, request_id: &str, body: &Value) -> String {
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Response xmlns=\"{EC2_NS}\"><requestId>{request_id}</requestId>"
    );
    if let Value::Object(map) = body {
        map.iter().for_each(|(k, v)| element(&mut out, k, v));
    }
    let _ = write!(out, "</{action}Response>");
    out
}

/// The answer of a successful STS action.
pub fn sts_answer(action: &str, request_id: &str, body: &Value) -> String {
    let mut out = format!("<{action}Response xmlns=\"{STS_NS}\">");
    element(&mut out, &format!("{action}Result"), body);
    let _ = write!(
        out,
        "<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    );
    out
}

/// The answer of a refused action.
pub fn error(sts: bool, request_id: &str, e: &ApiError) -> String {
    let (mut code, mut message) = (String::new(), String::new());
    escape(&mut code, &e.code);
    escape(&mut message, &e.message);
    if sts {
        return format!(
            "<ErrorResponse xmlns=\"{STS_NS}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        );
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>{request_id}</RequestID></Response>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_names_and_escapes() {
        let x = ec2_answer(
            "Do",
            "r",
            &json!({"aSet":[{"k":"a<&\n"}],"e":[],"gs/groupId":["sg-1"],"n":1.5,"z":null}),
        );
        assert!(x.contains("<aSet><item><k>a&lt;&amp;&#10;</k></item></aSet>"), "{x}");
        assert!(
            x.contains("<e/>") && x.contains("<gs><groupId>sg-1</groupId></gs>") && x.contains("<n>1.5</n>")
        );
        assert!(!x.contains("<z"));
        assert!(
            x.starts_with("<?xml")
                && x.contains("<DoResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">")
        );
    }
}
