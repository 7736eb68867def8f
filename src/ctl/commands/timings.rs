//! `burstctl timings`.

use crate::{
    cli::Common,
    out::{Answer, Fail, Table},
    places::ask,
};
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Timings {
    job_submit: Kinds,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kinds {
    managed: Took,
    foreign: Took,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Took {
    calls: u64,
    ns: Vec<u64>,
}

/// Asks and renders; `--json` has every call that is remembered, in nanoseconds.
pub fn run(common: &Common) -> Result<Answer, Fail> {
    let json = ask(common, "/v1/query", &json!({"v": 1, "what": "timings"}))?;
    let t: Timings = serde_json::from_value(json.clone()).map_err(|e| {
        Fail::problem(format!("the controller's answer cannot be read ({e}); see it with --json"))
    })?;
    Ok(Answer::ok(render(&t), json))
}

fn render(t: &Timings) -> String {
    let mut table = Table::new(&["JOBS", "SINCE START", "REMEMBERED", "MEDIAN", "99 %", "MOST"]);
    for (name, took) in [("burst", &t.job_submit.managed), ("others", &t.job_submit.foreign)] {
        let mut ns = took.ns.clone();
        ns.sort_unstable();
        let at = |percent: usize| {
            let rank = (ns.len() * percent).div_ceil(100).max(1);
            ns.get(rank - 1).map_or_else(|| "-".to_owned(), |ns| micros(*ns))
        };
        table.row(vec![
            name.to_owned(),
            took.calls.to_string(),
            ns.len().to_string(),
            at(50),
            at(99),
            at(100),
        ]);
    }
    format!("Time that slurmctld spent in slurm-burst's job_submit\n\n{}", table.render(0))
}

/// `12.3 us`.
fn micros(ns: u64) -> String {
    format!("{}.{} us", ns / 1_000, ns % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_by_kind() {
        let ns: Vec<u64> = (1..=100).map(|n| n * 1_000).collect();
        let t = Timings { job_submit: Kinds { managed: Took { calls: 700, ns }, foreign: Took::default() } };
        let text = render(&t);
        for word in ["700", "50.0 us", "99.0 us", "100.0 us", "others", "-"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
}
