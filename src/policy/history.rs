//! Which lives of the ledger somebody asks for, and what of them they may see.

use crate::life::Life;
use serde::{Deserialize, Serialize};

/// A question for lives (`POST /v1/query`, `what: "history"`). Everything that is absent asks for nothing special.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// One job: `12`, `12_3`, or an array's own number for all its tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// One owner, by name or uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// One account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// One pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Lives that were over at this time or later, Unix ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Lives that were over before this time, Unix ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Without the nodes' reports.
    pub brief: bool,
    /// Go on where an earlier answer ended (its `next`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
}

/// Rows are written when a life is over, but a slow one may be written after a younger one: how much older than `since`
/// a row has to be before nothing behind it is looked at, ms.
const SLACK_MS: u64 = 7 * 24 * 3_600_000;

/// When a life was over, Unix ms: the latest thing known of it.
#[must_use]
pub fn over_ms(life: &Life) -> u64 {
    let p = &life.phases;
    [p.done_ms, p.terminated_ms, p.ended_ms, p.started_ms, p.submit_ms]
        .into_iter()
        .flatten()
        .max()
        .unwrap_or(0)
}

impl Filter {
    /// Whether a life is asked for by somebody who may see it: `uid` asks, an operator sees all.
    #[must_use]
    pub fn takes(&self, life: &Life, uid: u32, operator: bool) -> bool {
        let is = |wanted: &Option<String>, own: &str| wanted.as_ref().is_none_or(|w| w == own);
        let over = over_ms(life);
        (operator || life.uid == uid)
            && self.job.as_ref().is_none_or(|j| is_job(life, j))
            && self.user.as_ref().is_none_or(|u| *u == life.user || *u == life.uid.to_string())
            && is(&self.account, &life.account)
            && is(&self.pool, &life.pool)
            && self.since_ms.is_none_or(|t| over >= t)
            && self.until_ms.is_none_or(|t| over < t)
    }

    /// Whether nothing older than this life can be asked for.
    #[must_use]
    pub fn ends_at(&self, life: &Life) -> bool {
        self.since_ms.is_some_and(|t| over_ms(life).saturating_add(SLACK_MS) < t)
    }
}

fn is_job(life: &Life, job: &str) -> bool {
    let base = life.text.split('_').next().unwrap_or("");
    life.text == job || base == job || life.job.to_string() == job
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::Phases;

    fn life() -> Life {
        Life {
            job: 19,
            text: "17_3".into(),
            user: "alice".into(),
            uid: 1000,
            account: "phys".into(),
            pool: "efa".into(),
            phases: Phases { submit_ms: Some(5), done_ms: Some(1_000), ..Phases::default() },
            ..Life::default()
        }
    }

    #[test]
    fn own_lives_for_users_all_for_operators() {
        let f = Filter::default();
        assert!(f.takes(&life(), 1000, false));
        assert!(!f.takes(&life(), 1001, false));
        assert!(f.takes(&life(), 1001, true));
        let foreign = Filter { user: Some("alice".into()), ..Filter::default() };
        assert!(!foreign.takes(&life(), 1001, false), "asking by name opens nothing");
    }

    #[test]
    fn every_part_narrows() {
        let asked = |json: &str| serde_json::from_str::<Filter>(json).expect(json).takes(&life(), 0, true);
        for yes in [
            "{}",
            r#"{"job":"17"}"#,
            r#"{"job":"17_3"}"#,
            r#"{"job":"19"}"#,
            r#"{"user":"alice"}"#,
            r#"{"user":"1000","account":"phys","pool":"efa"}"#,
            r#"{"since_ms":1000,"until_ms":1001}"#,
        ] {
            assert!(asked(yes), "{yes}");
        }
        for no in [
            r#"{"job":"1"}"#,
            r#"{"job":"17_4"}"#,
            r#"{"user":"bob"}"#,
            r#"{"account":""}"#,
            r#"{"pool":"x"}"#,
            r#"{"since_ms":1001}"#,
            r#"{"until_ms":1000}"#,
        ] {
            assert!(!asked(no), "{no}");
        }
    }

    #[test]
    fn a_search_ends_where_all_is_too_old() {
        let since = |t| Filter { since_ms: Some(t), ..Filter::default() };
        assert!(!since(1_001).ends_at(&life()), "a younger one may stand behind it");
        assert!(since(1_001 + SLACK_MS).ends_at(&life()));
        assert!(!Filter::default().ends_at(&life()));
    }
}
