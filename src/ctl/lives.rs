//! Lives of the ledger, asked for part by part, and who and when is asked about.

use crate::{
    cli::Common,
    out::{Fail, printable},
    places::ask,
};
use burst_plan::Seconds;
use burst_policy::{history::Filter, life::Life};
use clap::Args;
use serde_json::{Value, json};

/// Which lives.
#[derive(Debug, Clone, Default, Args)]
pub struct Which {
    /// One owner's jobs, by name or uid
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// One account's jobs
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
    /// One pool's jobs
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    /// Jobs that were over at this time or later: 2026-11-01, 2026-11-01T08:30 (UTC), or a time ago such as 36h, 7d
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Jobs that were over before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// Most lives of one answer: more do not fit into one page or table, and into this program's memory.
const MOST: usize = 200_000;

impl Which {
    /// The question.
    ///
    /// # Errors
    /// A time that is none.
    pub fn filter(&self, job: Option<&str>, brief: bool, now: u64) -> Result<Filter, Fail> {
        let time = |text: &Option<String>, option: &str| {
            match text {
            None => Ok(None),
            Some(t) => parse_time(t, now)
                .map(|s| Some(s.saturating_mul(1000)))
                .ok_or_else(|| {
                    Fail::usage(format!(
                        "--{option} {}: write a day (2026-11-01), a time (2026-11-01T08:30, in UTC), or how long ago \
                         (36h, 7d)",
                        printable(t)
                    ))
                }),
        }
        };
        Ok(Filter {
            job: job.map(str::to_owned),
            // The controller may know owners by uid only.
            user: self
                .user
                .as_ref()
                .map(|u| crate::people::uid(u).map_or_else(|| u.clone(), |n| n.to_string())),
            account: self.account.clone(),
            pool: self.pool.clone(),
            since_ms: time(&self.since, "since")?,
            until_ms: time(&self.until, "until")?,
            brief,
            before: None,
        })
    }

    /// What was asked for, in words.
    pub fn words(&self) -> String {
        let part = |name: &str, value: &Option<String>| value.as_ref().map(|v| format!("{name} {v}"));
        let parts = [
            part("user", &self.user),
            part("account", &self.account),
            part("pool", &self.pool),
            part("since", &self.since),
            part("until", &self.until),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Unix seconds of `2026-11-01`, `2026-11-01T08:30`, `2026-11-01T08:30:00` (with or without Z), or of `7d` ago.
fn parse_time(text: &str, now: u64) -> Option<u64> {
    if !text.contains('-') {
        let ago = Seconds::parse_human(text).ok()?;
        return Some(now.saturating_sub(ago.0));
    }
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let numbers = |t: &str, by: char| -> Option<Vec<u64>> {
        let digits = |p: &str| !p.is_empty() && p.len() <= 4 && p.bytes().all(|b| b.is_ascii_digit());
        t.split(by).map(|p| p.parse().ok().filter(|_| digits(p))).collect()
    };
    let [year, month, day] = *numbers(date, '-')? else { return None };
    let (hour, minute, second) = match *numbers(clock, ':')? {
        [h, m] => (h, m, 0),
        [h, m, s] => (h, m, s),
        _ => return None,
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if leap { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    if !(1970..=9999).contains(&year)
        || !(1..=length).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let years = year - 1;
    let days_before = years * 365 + years / 4 - years / 100 + years / 400 - 719_162;
    let months: u64 = lengths.iter().take(usize::try_from(month - 1).ok()?).sum();
    Some(((days_before + months + day - 1) * 24 + hour) * 3600 + minute * 60 + second)
}

/// All lives that are asked for, the youngest first.
///
/// # Errors
/// What went wrong and what to do.
pub fn fetch(common: &Common, filter: &Filter) -> Result<Vec<Life>, Fail> {
    let mut filter = filter.clone();
    let mut lives: Vec<Life> = Vec::new();
    loop {
        let mut payload = serde_json::to_value(&filter).map_err(|e| Fail::problem(e.to_string()))?;
        if let Some(fields) = payload.as_object_mut() {
            fields.insert("v".into(), json!(1));
            fields.insert("what".into(), json!("history"));
        }
        let mut answer = ask(common, "/v1/query", &payload)?;
        let part = answer.get_mut("lives").map(Value::take).unwrap_or_default();
        let part: Vec<Life> = serde_json::from_value(part).map_err(|e| {
            Fail::problem(format!(
                "the controller's answer cannot be read ({e}); are burstctl and the plugin of one version?"
            ))
        })?;
        lives.extend(part);
        let next = answer.get("next").and_then(Value::as_i64);
        if lives.len() > MOST {
            return Err(Fail::problem(format!(
                "more than {MOST} jobs: ask for fewer with --since, --until, --user or --account"
            )));
        }
        // An answer that goes on where it was would go on for ever.
        if next.is_none() || (filter.before.is_some() && next >= filter.before) {
            break;
        }
        filter.before = next;
    }
    for life in &mut lives {
        if life.user.bytes().all(|b| b.is_ascii_digit()) {
            life.user = crate::people::name(life.uid).unwrap_or_else(|| life.user.clone());
        }
    }
    Ok(lives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        let at = |t: &str| parse_time(t, 1_000_000);
        assert_eq!(at("1970-01-01"), Some(0));
        assert_eq!(at("2000-03-01"), Some(951_868_800));
        assert_eq!(at("2026-09-21T14:13:20Z"), Some(1_790_000_000));
        assert_eq!(at("2026-09-21 14:13"), Some(1_789_999_980));
        assert_eq!(at("1h"), Some(996_400));
        assert_eq!(at("3650d"), Some(0));
        for bad in [
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "1969-12-31",
            "2026-01-01T24:00",
            "x",
            "2026-1",
            "--1",
            "2026-01-01T1",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_question_says_what_was_asked() {
        let which = Which { user: Some("4242".into()), since: Some("1970-01-02".into()), ..Which::default() };
        let f = which.filter(Some("7"), true, 0).unwrap();
        assert_eq!(
            (f.user.as_deref(), f.since_ms, f.job.as_deref()),
            (Some("4242"), Some(86_400_000), Some("7"))
        );
        assert_eq!(which.words(), "user 4242, since 1970-01-02");
        let bad = Which { until: Some("soon".into()), ..Which::default() };
        assert_eq!(bad.filter(None, false, 0).unwrap_err().code, 2);
    }
}
