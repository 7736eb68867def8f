//! `burstctl history`.

use crate::{
    cli::Common,
    lives::{Which, fetch},
    out::{Answer, Fail, Table, now, utc},
    report::figures::dollars,
};

use burst_policy::{history::over_ms, life::Life};
use clap::Args;
use serde_json::json;
use std::fmt::Write;

/// Which jobs.
#[derive(Debug, Clone, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    which: Which,
    /// Show all, not only the 50 that ended last
    #[arg(long)]
    all: bool,
}

/// Rows that are shown unless all are asked for.
const SHOWN: usize = 50;

/// Asks and renders.
pub fn run(common: &Common, args: &HistoryArgs) -> Result<Answer, Fail> {
    let filter = args.which.filter(None, true, now())?;
    let lives = fetch(common, &filter)?;
    let json = json!({ "lives": &lives });
    Ok(Answer::ok(render(&lives, args.all), json))
}

fn render(lives: &[Life], all: bool) -> String {
    if lives.is_empty() {
        return "No job that is over is known here (it must have launched something).\n".to_owned();
    }
    let mut table = Table::new(&[
        "JOB",
        "USER",
        "ACCOUNT",
        "STATE",
        "ENDED",
        "NODES",
        "TYPE",
        "PROVISIONED",
        "RAN",
        "USD",
    ]);
    let shown = if all { lives.len() } else { SHOWN };
    for l in lives.iter().take(shown) {
        table.row(row(l));
    }
    let mut text = table.render(0);
    if lives.len() > shown {
        let _ = writeln!(text, "and {} older ones (--all shows them)", lives.len() - shown);
    }
    let known = lives.iter().fold(0u64, |sum, l| sum.saturating_add(l.cost.total.unwrap_or(l.cost.known).0));
    let unknown = lives.iter().filter(|l| l.cost.total.is_none()).count();
    let _ = write!(text, "\n{} in all, {}", lives.len(), dollars(known));
    if unknown > 0 {
        let _ = write!(
            text,
            " at least: the cost of {unknown} is not known whole (burstctl explain JOB says why)"
        );
    }
    text.push('\n');
    text
}

/// The amount under a heading that names its unit.
fn usd_only(micro: u64) -> String {
    dollars(micro).trim_end_matches(" USD").to_owned()
}

fn row(l: &Life) -> Vec<String> {
    let d = l.phases.durations();
    let seconds =
        |ms: Option<u64>| ms.map(|ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100)).unwrap_or_default();
    let mut types: Vec<&str> = l.served().map(|i| i.instance_type.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    let life = if l.restart > 0 { format!(" (life {})", l.restart + 1) } else { String::new() };
    let cost = match l.cost.total {
        Some(usd) => usd_only(usd.0),
        None => format!(">={}", usd_only(l.cost.known.0)),
    };
    vec![
        format!("{}{life}", l.text),
        l.user.clone(),
        l.account.clone(),
        l.slurm.state.clone(),
        utc(over_ms(l) / 1000),
        l.slurm.node_count.map(|n| n.to_string()).unwrap_or_default(),
        types.join(","),
        seconds(d.provisioning),
        l.run_s().map(|s| format!("{s} s")).unwrap_or_default(),
        cost,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use burst_plan::MicroUsd;
    use burst_policy::life::{Cost, Phases, Ran, SlurmFacts};

    #[test]
    fn a_row_a_life_and_what_is_not_known_is_said() {
        let life = Life {
            text: "17".into(),
            user: "alice".into(),
            account: "phys".into(),
            restart: 1,
            slurm: SlurmFacts {
                state: "COMPLETED".into(),
                start: Some(1_790_000_000),
                end: Some(1_790_000_060),
                node_count: Some(2),
                ..SlurmFacts::default()
            },
            phases: Phases {
                launch_ms: Some(1_789_999_960_000),
                started_ms: Some(1_790_000_000_500),
                done_ms: Some(1_790_000_070_000),
                ..Phases::default()
            },
            instances: vec![Ran { instance_type: "hpc7a.96xlarge".into(), ..Ran::default() }; 2],
            cost: Cost { total: Some(MicroUsd(1_500_000)), ..Cost::default() },
            ..Life::default()
        };
        let dear = Life {
            text: "18".into(),
            cost: Cost { known: MicroUsd(250_000), ..Cost::default() },
            ..Life::default()
        };
        let text = render(&[life, dear], false);
        for words in [
            "17 (life 2)",
            "hpc7a.96xlarge",
            "40.5 s",
            "60 s",
            "1.50",
            ">=0.25",
            "2 in all, 1.75 USD at least",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(render(&[], false).contains("No job"));
        let many = vec![Life::default(); 60];
        assert!(render(&many, false).contains("and 10 older ones"));
        assert!(!render(&many, true).contains("older ones"));
    }
}
