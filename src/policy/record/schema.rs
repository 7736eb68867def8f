//! As much of JSON Schema (draft 2020-12) as docs/schema/ uses: a schema with another word is refused, so that nothing in
//! it is taken for a check that it is not.

use serde_json::Value;

/// What is wrong with a value, a line each; a word of the schema that is not known here is wrong, too.
pub fn check(schema: &Value, value: &Value) -> Vec<String> {
    let mut out = Vec::new();
    at(schema, value, "$", &mut out);
    out
}

fn at(schema: &Value, value: &Value, path: &str, out: &mut Vec<String>) {
    let Some(words) = schema.as_object() else {
        return out.push(format!("{path}: the schema is no object"));
    };
    for (word, rule) in words {
        let fine = match word.as_str() {
            "$schema" | "title" | "description" => true,
            "type" => match rule {
                Value::String(t) => is(t, value),
                Value::Array(all) => all.iter().any(|t| t.as_str().is_some_and(|t| is(t, value))),
                _ => false,
            },
            "enum" => rule.as_array().is_some_and(|all| all.contains(value)),
            "minimum" => value.as_f64().is_none_or(|v| rule.as_f64().is_some_and(|r| v >= r)),
            "maximum" => value.as_f64().is_none_or(|v| rule.as_f64().is_some_and(|r| v <= r)),
            "pattern" => value.as_str().is_none_or(|v| pattern(rule.as_str().unwrap_or(""), v)),
            "required" => value.as_object().is_none_or(|v| {
                rule.as_array()
                    .is_some_and(|all| all.iter().all(|k| k.as_str().is_some_and(|k| v.contains_key(k))))
            }),
            "properties" => {
                for (key, rule) in rule.as_object().into_iter().flatten() {
                    if let Some(v) = value.get(key) {
                        at(rule, v, &format!("{path}.{key}"), out);
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = words.get("properties");
                let extra = value.as_object().into_iter().flatten();
                let extra: Vec<_> = extra.filter(|(k, _)| known.and_then(|p| p.get(k)).is_none()).collect();
                if rule.is_object() {
                    for (key, v) in &extra {
                        at(rule, v, &format!("{path}.{key}"), out);
                    }
                }
                rule.is_object() || extra.is_empty()
            }
            "items" => {
                for (i, v) in value.as_array().into_iter().flatten().enumerate() {
                    at(rule, v, &format!("{path}[{i}]"), out);
                }
                true
            }
            _ => false,
        };
        if !fine {
            out.push(format!("{path}: {word} {rule} is not true of {value}"));
        }
    }
}

fn is(kind: &str, v: &Value) -> bool {
    match kind {
        "null" => v.is_null(),
        "boolean" => v.is_boolean(),
        "string" => v.is_string(),
        "array" => v.is_array(),
        "object" => v.is_object(),
        "integer" => v.is_u64() || v.is_i64(),
        "number" => v.is_number(),
        _ => false,
    }
}

/// The two patterns there are.
fn pattern(rule: &str, text: &str) -> bool {
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    match rule {
        "^[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$" => {
            let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            shape.trim_start_matches('0') == "-00-00T00:00:00Z" && shape.len() >= 20
        }
        "^([0-9]+h)?([0-9]+m)?[0-9]+([.][0-9]+)?m?s$" => {
            let Some(rest) = text.strip_suffix('s') else { return false };
            let rest = rest.strip_suffix('m').unwrap_or(rest);
            let rest = rest.split_once('h').map_or(rest, |(h, r)| if digits(h) { r } else { "" });
            let rest = rest.split_once('m').map_or(rest, |(m, r)| if digits(m) { r } else { "" });
            match rest.split_once('.') {
                Some((a, b)) => digits(a) && digits(b),
                None => digits(rest),
            }
        }
        _ => false,
    }
}
