//! `[limits.cluster]`, `[limits.user.NAME]` and their like, and `[record]`.

use super::{Record, read::Table};
use crate::spending::{Budget, Spending, Who};
use std::path::PathBuf;

/// Where the advisor looks for records.
const DIR: &str = "/var/spool/asba/learning";
/// Most tables of one kind.
const MOST: usize = 10_000;

fn absolute(t: &Table<'_, '_>, key: &'static str) -> Option<PathBuf> {
    let path = t.text(key).map(PathBuf::from);
    if path.as_ref().is_some_and(|p| !p.is_absolute()) {
        t.error(key, "must be an absolute path");
    }
    path
}

pub(super) fn record(t: &Table<'_, '_>) -> Record {
    let record = Record {
        enabled: t.flag("enabled").unwrap_or(true),
        dir: absolute(t, "dir").unwrap_or_else(|| PathBuf::from(DIR)),
        keep_days: t.count("keep_days", 1, 36_500).unwrap_or(90),
        keep_bytes: t.count("keep_bytes", 1, 1 << 50).unwrap_or(1 << 30),
    };
    t.finish();
    record
}

/// The keys of `[limits]` that are about spending.
pub(super) fn spending(t: &Table<'_, '_>) -> Spending {
    let usual = Spending::default();
    let mut rules = Vec::new();
    let cluster = t.table("cluster");
    if cluster.map.is_some() {
        rules.push((Who::Cluster, budget(&cluster)));
    }
    type Kind = (&'static str, fn(String) -> Who);
    let kinds: [Kind; 3] = [("pool", Who::Pool), ("account", Who::Account), ("user", Who::User)];
    for (key, who) in kinds {
        let all = t.table(key);
        for (name, value) in all.map.into_iter().flatten().take(MOST) {
            let (name, at) = (name.get_ref().to_string(), name.span().start);
            let Some(map) = value.get_ref().as_table() else {
                all.notes.error(at, &all.at(&name), format!("is a table: write [limits.{key}.{name}]"));
                continue;
            };
            let own = Table::new(Some(map), all.at(&name), at, all.notes);
            // slurmctld writes accounts in small letters.
            let name = if key == "account" { name.to_ascii_lowercase() } else { name };
            rules.push((who(name), budget(&own)));
        }
    }
    Spending {
        rules,
        warn_percent: t.count("warn_percent", 1, 100).unwrap_or(usual.warn_percent),
        refuse: t.word("over_limit", &[("hold", false), ("refuse", true)]).unwrap_or(false),
        alert_file: absolute(t, "alert_file"),
    }
}

fn budget(t: &Table<'_, '_>) -> Budget {
    let budget =
        Budget { hour: t.usd("usd_per_hour"), day: t.usd("usd_per_day"), month: t.usd("usd_per_month") };
    if t.map.is_some_and(|m| m.is_empty()) {
        t.notes.error(t.offset, &t.path, "says nothing: write usd_per_hour, usd_per_day or usd_per_month");
    }
    t.finish();
    budget
}
