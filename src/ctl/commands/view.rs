//! A gang as the controller tells it (docs/WIRE.md, GANGVIEW), and its text for people.
//!
//! Every field may be absent: an older or newer controller must stay readable.

use crate::{
    out::{Table, printable, relative, utc},
    people,
};
use serde::Deserialize;
use std::fmt::Write;

/// GANGVIEW.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Gang {
    pub gang: String,
    #[serde(deserialize_with = "id")]
    pub job: String,
    pub user: Option<String>,
    pub uid: Option<u32>,
    pub pool: String,
    pub phase: String,
    pub since_unix: Option<u64>,
    pub says: String,
    pub nodes_wanted: Option<u32>,
    pub attempt: Option<u32>,
    pub paid_attempts: Option<u32>,
    pub instance_type: Option<String>,
    pub zone: Option<String>,
    pub market: Option<String>,
    pub fleet_id: Option<String>,
    pub nodes: Vec<String>,
    pub instances: Vec<Instance>,
    pub last_error: Option<LastError>,
    pub next_try_unix: Option<u64>,
    pub worst_cost_usd: Option<String>,
    pub history: Vec<Step>,
}

/// One instance.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Instance {
    pub id: String,
    pub node: Option<String>,
    pub ip: Option<String>,
    pub state: Option<String>,
}

/// Why the last try failed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LastError {
    pub code: String,
    pub message: String,
    pub request_id: Option<String>,
    pub at_unix: Option<u64>,
}

/// Something that happened.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Step {
    pub at_unix: Option<u64>,
    pub at_ms: Option<u64>,
    pub phase: String,
    pub text: String,
}

/// A job id may come as text or number.
fn id<'de, D: serde::Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    Ok(match serde_json::Value::deserialize(d)? {
        serde_json::Value::String(text) => text,
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    })
}

impl Gang {
    /// `alice`, else the uid. The controller may know the uid only.
    pub fn owner(&self) -> String {
        match (&self.user, self.uid) {
            (Some(name), _) if !name.is_empty() => people::shown(name),
            (_, Some(uid)) => people::name(uid).unwrap_or_else(|| format!("uid {uid}")),
            _ => String::new(),
        }
    }

    /// `16 x hpc7a.96xlarge (on-demand, us-east-2b)`, as far as known.
    pub fn hardware(&self) -> String {
        let count = self.nodes_wanted.or_else(|| u32::try_from(self.nodes.len()).ok().filter(|n| *n > 0));
        let count = count.map(|n| n.to_string());
        let Some(kind) = self.instance_type.as_deref().filter(|t| !t.is_empty()) else {
            return count.map(|n| format!("{n} nodes wanted")).unwrap_or_default();
        };
        let place: Vec<&str> = [&self.market, &self.zone]
            .into_iter()
            .filter_map(|t| t.as_deref())
            .filter(|t| !t.is_empty())
            .collect();
        let place = if place.is_empty() { String::new() } else { format!(" ({})", place.join(", ")) };
        format!("{}{kind}{place}", count.map(|n| format!("{n} x ")).unwrap_or_default())
    }

    /// What the controller says, without the tag that `burstctl` shows on a line of its own.
    pub fn sentence(&self) -> &str {
        self.says
            .strip_prefix("[burst ")
            .and_then(|t| t.split_once("] "))
            .map_or(&self.says, |(_, text)| text)
    }
}

/// The whole story of one gang.
pub fn explain(g: &Gang, now: u64) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:<13} {}", printable(&value));
        }
    };
    let when = |t: u64| format!("{} ({})", utc(t), relative(t, now));
    line("Job", g.job.clone());
    line("Owner", g.owner());
    line("Gang", g.gang.clone());
    line("Pool", g.pool.clone());
    line("State", g.since_unix.map_or(g.phase.clone(), |t| format!("{}, since {}", g.phase, when(t))));
    line("What happens", g.sentence().to_owned());
    line("Hardware", g.hardware());
    let attempt = g.attempt.map(|n| match g.paid_attempts {
        Some(paid) => format!("{n} ({paid} of them got instances)"),
        None => n.to_string(),
    });
    line("Attempt", attempt.unwrap_or_default());
    line("At most", g.worst_cost_usd.as_deref().map(|usd| format!("{usd} USD")).unwrap_or_default());
    line("Fleet", g.fleet_id.clone().unwrap_or_default());
    if let Some(e) = &g.last_error {
        line("Last error", format!("{}: {}", e.code, e.message));
        line("", e.request_id.as_deref().map(|r| format!("EC2 request id {r}")).unwrap_or_default());
        line("", e.at_unix.map(when).unwrap_or_default());
    }
    line("Next try", g.next_try_unix.map(when).unwrap_or_default());
    nodes(&mut text, g);
    history(&mut text, g);
    text
}

fn nodes(text: &mut String, g: &Gang) {
    if g.nodes.is_empty() && g.instances.is_empty() {
        return;
    }
    let mut table = Table::new(&["NODE", "INSTANCE", "ADDRESS", "STATE"]);
    for i in &g.instances {
        let cell = |t: &Option<String>| t.clone().unwrap_or_default();
        table.row(vec![cell(&i.node), i.id.clone(), cell(&i.ip), cell(&i.state)]);
    }
    let shown = |n: &&String| !g.instances.iter().any(|i| i.node.as_ref() == Some(n));
    for name in g.nodes.iter().filter(shown) {
        table.row(vec![name.clone(), String::new(), String::new(), "reserved".into()]);
    }
    let _ = write!(text, "\nNodes\n{}", table.render(2));
}

fn history(text: &mut String, g: &Gang) {
    let Some(first) = g.history.first().and_then(ms) else { return };
    let mut table = Table::new(&["WHEN", "AFTER", "STATE", "WHAT"]);
    for step in &g.history {
        let at = ms(step);
        let after = at.map(|t| {
            let d = t.saturating_sub(first);
            format!("+{}.{:03} s", d / 1000, d % 1000)
        });
        let when = at.map(|t| utc(t / 1000)).unwrap_or_default();
        table.row(vec![when, after.unwrap_or_default(), step.phase.clone(), step.text.clone()]);
    }
    let _ = write!(text, "\nHistory\n{}", table.render(2));
}

/// Unix milliseconds; `at_ms` may be the whole time or only the part below the second.
fn ms(step: &Step) -> Option<u64> {
    match (step.at_unix, step.at_ms) {
        (Some(s), Some(part)) if part < 1000 => Some(s * 1000 + part),
        (_, Some(whole)) => Some(whole),
        (Some(s), None) => Some(s * 1000),
        (None, None) => None,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub const WAITING: &str = r#"{"gang":"0123456789abcdef","job":"17","user":"alice","uid":1000,"pool":"efa",
        "phase":"waiting","since_unix":1790000000,"says":"[burst 0123456789abcdef] no capacity anywhere",
        "nodes_wanted":16,"attempt":3,"paid_attempts":1,"instance_type":"hpc7a.96xlarge","zone":"us-east-2b",
        "market":"on-demand","fleet_id":null,"nodes":["efa7-0001","efa7-0002"],
        "instances":[{"id":"i-0a","node":"efa7-0001","ip":"10.0.1.7","state":"running"}],
        "last_error":{"code":"InsufficientInstanceCapacity","message":"We do not have enough\ncapacity",
        "request_id":"ab-12","at_unix":1789999990},"next_try_unix":1790000300,"worst_cost_usd":"1234.50",
        "history":[{"at_unix":1789999900,"at_ms":0,"phase":"submitted","text":"seen"},
        {"at_unix":1790000000,"at_ms":42,"phase":"waiting","text":"no capacity"}]}"#;

    #[test]
    fn a_waiting_gang_explains_itself() {
        let g: Gang = serde_json::from_str(WAITING).unwrap();
        insta::assert_snapshot!(explain(&g, 1_790_000_060));
    }

    #[test]
    fn an_owner_has_a_name_where_this_machine_knows_one() {
        let owner = |json: &str| serde_json::from_str::<Gang>(json).unwrap().owner();
        assert_eq!(owner(r#"{"user":"0","uid":0}"#), "root");
        assert_eq!(owner(r#"{"uid":0}"#), "root");
        assert_eq!(owner(r#"{"uid":4294967294}"#), "uid 4294967294");
    }

    #[test]
    fn an_answer_of_another_version_is_still_shown() {
        let g: Gang = serde_json::from_str(r#"{"job":5,"phase":"held","more":[1]}"#).unwrap();
        assert_eq!(explain(&g, 0), "Job           5\nState         held\n");
    }

    #[test]
    fn times_of_history_in_either_form() {
        let step = |s, m| ms(&Step { at_unix: s, at_ms: m, ..Step::default() });
        assert_eq!(step(Some(5), Some(7)), Some(5007));
        assert_eq!(step(Some(1_790_000_000), Some(1_790_000_000_042)), Some(1_790_000_000_042));
        assert_eq!(step(Some(5), None), Some(5000));
    }
}
