//! `burstctl status`.

use super::view::Gang;
use crate::{
    cli::Common,
    out::{Answer, Fail, Table, now, printable, relative},
    places::ask,
};
use serde::Deserialize;
use serde_json::json;
use std::fmt::Write;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Status {
    cluster: Cluster,
    pools: Vec<Pool>,
    gangs: Vec<Gang>,
    ec2: super::ec2::Ec2,
    places: Vec<super::ec2::Place>,
    reservations: Vec<super::reservations::Reservation>,
    warnings: Vec<String>,
    dead_letters: Vec<DeadLetter>,
}

/// An operation that exhausted its retry budget.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct DeadLetter {
    job: Option<String>,
    gang: Option<String>,
    what: String,
    tries: u64,
    since_unix: Option<u64>,
    next_try_unix: Option<u64>,
    error: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Cluster {
    name: String,
    uuid: String,
    active: Option<bool>,
    version: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Pool {
    name: String,
    partition: String,
    state: String,
    why: Vec<String>,
    names: Option<u64>,
    busy: Option<u64>,
    free: Option<u64>,
}

/// Asks and renders. A refused pool, a dead letter or a warning is a problem found.
pub fn run(common: &Common) -> Result<Answer, Fail> {
    let json = ask(common, "/v1/query", &json!({"v": 1, "what": "status"}))?;
    let status: Status = serde_json::from_value(json.clone()).map_err(|e| {
        Fail::problem(format!("the controller's answer cannot be read ({e}); see it with --json"))
    })?;
    let bad = !status.warnings.is_empty()
        || !status.dead_letters.is_empty()
        || status.pools.iter().any(|p| p.state == "refused");
    Ok(Answer { code: u8::from(bad), text: render(&status, now()), json })
}

fn render(s: &Status, now: u64) -> String {
    let c = &s.cluster;
    let mut text = format!("Cluster {} ({}), slurm-burst {}", c.name, c.uuid, c.version);
    text.push_str(if c.active == Some(false) { ", STANDBY: launches nothing\n" } else { "\n" });
    for w in &s.warnings {
        let _ = writeln!(text, "warning: {}", printable(w));
    }
    let mut pools = Table::new(&["POOL", "PARTITION", "STATE", "NODE NAMES", "IN USE", "FREE"]);
    let count = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    for p in &s.pools {
        pools.row(vec![
            p.name.clone(),
            p.partition.clone(),
            p.state.clone(),
            count(p.names),
            count(p.busy),
            count(p.free),
        ]);
    }
    let _ = write!(text, "\n{}", pools.render(0));
    for p in s.pools.iter().filter(|p| !p.why.is_empty()) {
        for why in &p.why {
            let _ = writeln!(text, "pool {}: {}", p.name, printable(why));
        }
    }
    text.push_str(&super::ec2::render(&s.ec2, &s.places, now));
    text.push_str(&super::reservations::render(&s.reservations));
    letters(&mut text, &s.dead_letters, now);
    if s.gangs.is_empty() {
        text.push_str("\nNo gangs under way.\n");
        return text;
    }
    let mut gangs = Table::new(&["JOB", "USER", "POOL", "STATE", "SINCE", "HARDWARE", "AT MOST", "GANG"]);
    for g in &s.gangs {
        gangs.row(vec![
            g.job.clone(),
            g.owner(),
            g.pool.clone(),
            g.phase.clone(),
            g.since_unix.map(|t| relative(t, now)).unwrap_or_default(),
            g.hardware(),
            g.worst_cost_usd.as_deref().map(|usd| format!("{usd} USD")).unwrap_or_default(),
            g.gang.clone(),
        ]);
    }
    let _ = write!(text, "\n{}\nMore about a job: burstctl explain JOB\n", gangs.render(0));
    text
}

fn letters(text: &mut String, all: &[DeadLetter], now: u64) {
    if all.is_empty() {
        return;
    }
    text.push_str("\nDead letters: tried in vain for long, and tried on\n");
    for d in all {
        let whose = match (&d.job, &d.gang) {
            (Some(job), _) => format!("job {job}: "),
            (None, Some(gang)) => format!("gang {gang}: "),
            (None, None) => String::new(),
        };
        let when = |what: &str, t: Option<u64>| {
            t.map(|t| format!(", {what} {}", relative(t, now))).unwrap_or_default()
        };
        let line = format!(
            "{whose}{} ({} tries{}{}){}",
            d.what,
            d.tries,
            when("since", d.since_unix),
            when("next", d.next_try_unix),
            d.error.as_deref().map(|e| format!(": {e}")).unwrap_or_default()
        );
        let _ = writeln!(text, "  {}", printable(&line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_gangs_and_what_is_wrong() {
        let json = format!(
            r#"{{"cluster":{{"name":"c1","uuid":"u-1","active":true,"version":"0.1.0"}},
            "pools":[{{"name":"efa","partition":"efa","state":"ok","why":[],"names":1024,"busy":16,"free":1008}},
            {{"name":"gpu","partition":"gpu","state":"refused","why":["slurm.conf: write SuspendRate=0"],"names":8}}],
            "gangs":[{}],"warnings":["disk is full"]}}"#,
            crate::commands::view::tests::WAITING
        );
        let s: Status = serde_json::from_str(&json).unwrap();
        insta::assert_snapshot!(render(&s, 1_790_000_060));
    }

    #[test]
    fn dead_letters_are_shown_with_whose_they_are() {
        let json = r#"{"dead_letters":[{"gang":"0123456789abcdef","job":"17","what":"TerminateInstances: its instances run on",
            "tries":12,"since_unix":1790000000,"next_try_unix":1790000100,"error":"UnauthorizedOperation: no"}]}"#;
        let s: Status = serde_json::from_str(json).unwrap();
        let text = render(&s, 1_790_000_060);
        let line = "  job 17: TerminateInstances: its instances run on (12 tries, since 60 s ago, next in 40 s): UnauthorizedOperation: no\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn nothing_under_way_is_said() {
        let text = render(&Status::default(), 0);
        assert!(text.contains("No gangs under way."), "{text}");
    }
}
