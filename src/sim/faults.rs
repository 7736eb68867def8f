//! Faults on order: which call of which action goes wrong, and how.

use serde::{Deserialize, Serialize};

/// What happens to a call that a rule hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Refused with `code` and `status`; nothing is done.
    Error,
    /// Done and then answered with `code` and `status`.
    CommitThenError,
    /// No answer for `ms`, then the connection closes; nothing is done.
    Timeout,
    /// The connection closes at once; nothing is done.
    DropConnectionBefore,
    /// Done, and the connection closes without an answer.
    CommitThenDrop,
    /// An HTML 500, as a broken load balancer sends it; nothing is done.
    Http500,
    /// Answered as usual, `ms` later.
    Delay,
    /// CreateFleet only: at most `grant` instances, and `code` inside the answer's Errors.
    FleetError,
}

/// A fault rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Action, or `*`.
    pub action: String,
    /// What goes wrong.
    pub kind: Kind,
    /// First call hit, counted from 1 since the rule was set.
    #[serde(default = "one")]
    pub nth: u64,
    /// From `nth` on every this-many calls (default 1: each).
    #[serde(default = "one")]
    pub every: u64,
    /// How often in all; 0 is without end.
    #[serde(default = "one")]
    pub times: u64,
    /// Error code.
    #[serde(default = "internal")]
    pub code: String,
    /// HTTP status.
    #[serde(default = "status500")]
    pub status: u16,
    /// Error text.
    #[serde(default)]
    pub message: Option<String>,
    /// Milliseconds of `delay` and `timeout`.
    #[serde(default)]
    pub ms: Option<u64>,
    /// Instances granted in spite of `fleet-error`.
    #[serde(default)]
    pub grant: u64,
    /// Calls seen so far.
    #[serde(default)]
    pub seen: u64,
    /// Calls hit so far.
    #[serde(default)]
    pub hit: u64,
}

fn one() -> u64 {
    1
}
fn internal() -> String {
    "InternalError".into()
}
fn status500() -> u16 {
    500
}

impl Rule {
    /// Text of the error.
    pub fn text(&self) -> String {
        self.message.clone().unwrap_or_else(|| match self.code.as_str() {
            "RequestLimitExceeded" => "Request limit exceeded.".into(),
            "InternalError" => "An internal error has occurred".into(),
            code => format!("{code} (ordered by a fault rule)"),
        })
    }

    fn strikes(&mut self, action: &str) -> bool {
        if self.action != "*" && self.action != action {
            return false;
        }
        self.seen += 1;
        let due = self.seen >= self.nth && (self.seen - self.nth).is_multiple_of(self.every.max(1));
        if !due || (self.times != 0 && self.hit >= self.times) {
            return false;
        }
        self.hit += 1;
        true
    }
}

/// The rule that hits this call, if any. Every rule counts the call; the first that is due strikes.
pub fn strike(rules: &mut [Rule], action: &str) -> Option<Rule> {
    let mut found = None;
    for r in rules.iter_mut() {
        if found.is_some() {
            if r.action == "*" || r.action == action {
                r.seen += 1;
            }
        } else if r.strikes(action) {
            found = Some(r.clone());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(rule: &str, calls: u64) -> Vec<u64> {
        let mut rules: Vec<Rule> = vec![serde_json::from_str(rule).unwrap()];
        (1..=calls).filter(|_| strike(&mut rules, "CreateFleet").is_some()).collect()
    }

    #[test]
    fn nth_every_times() {
        assert_eq!(hits(r#"{"action":"CreateFleet","kind":"http500"}"#, 4), [1]);
        assert_eq!(hits(r#"{"action":"*","kind":"http500","nth":2,"every":3,"times":0}"#, 9), [2, 5, 8]);
        assert_eq!(hits(r#"{"action":"CreateFleet","kind":"error","nth":2,"times":2}"#, 9), [2, 3]);
        assert!(hits(r#"{"action":"CreateTags","kind":"error"}"#, 3).is_empty());
    }
}
