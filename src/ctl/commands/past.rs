//! A life that is over, for people: how it ended, when what happened, what it cost and why a figure is missing.

use crate::out::{Table, printable, utc};
use burst_policy::life::Life;
use std::fmt::Write;

/// Instances that are listed of one life.
const INSTANCES: usize = 64;

/// One life after another, the youngest last, as a story goes on.
pub fn render(lives: &[Life]) -> String {
    let mut text = String::new();
    for life in lives.iter().rev() {
        one(&mut text, life);
    }
    text
}

fn one(text: &mut String, l: &Life) {
    let restart = if l.restart > 0 || l.slurm.restarts > 0 {
        format!(", life {}", l.restart + 1)
    } else {
        String::new()
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\nWhat job {}{restart} did", printable(&l.text));
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:<13} {}", printable(&value));
        }
    };
    line("Ended", ended(l));
    line("Ran", l.run_s().map(|s| format!("{s} s on {} nodes", l.served().count())).unwrap_or_default());
    line("Attempts", format!("{} ({} of them got instances)", l.attempts, l.paid));
    line("Cost", cost(l));
    for why in &l.cost.missing {
        line("", why.clone());
    }
    line("Trouble", l.trouble.clone().unwrap_or_default());
    if !l.reports.is_empty() || !l.missing.is_empty() {
        let missing =
            if l.missing.is_empty() { String::new() } else { format!("; missing: {}", l.missing.join(", ")) };
        line("Reports", format!("{} nodes{missing}", l.reports.len()));
    }
    let mut flags: Vec<&str> =
        l.reports.iter().flat_map(|r| &r.steps).flat_map(|s| &s.flags).map(String::as_str).collect();
    flags.sort_unstable();
    flags.dedup();
    for flag in flags {
        line("Note", flag.to_owned());
    }
    phases(text, l);
    instances(text, l);
}

fn ended(l: &Life) -> String {
    let s = &l.slurm;
    let mut out = if s.state.is_empty() { "not known".to_owned() } else { s.state.clone() };
    if let Some(code) = s.exit_code {
        let _ = write!(out, ", exit code {code}");
    }
    if let Some(signal) = s.exit_signal.filter(|s| *s > 0) {
        let _ = write!(out, ", signal {signal}");
    }
    if let Some(end) = s.end {
        let _ = write!(out, ", {}", utc(end));
    }
    out
}

fn cost(l: &Life) -> String {
    let c = &l.cost;
    let part = |name: &str, m: Option<burst_plan::MicroUsd>| m.map(|m| format!("{name} {m}"));
    let parts: Vec<String> =
        [part("instances", c.compute), part("volumes", c.storage), part("wasted", c.wasted)]
            .into_iter()
            .flatten()
            .collect();
    let of = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    let total = match c.total {
        Some(total) => format!("{total} USD"),
        None => format!("at least {} USD, a part is not known", c.known),
    };
    let prices = if c.prices.is_empty() { String::new() } else { format!("; prices: {}", c.prices) };
    format!("{total}{of}{prices}")
}

fn phases(text: &mut String, l: &Life) {
    let seen: Vec<(&str, u64)> =
        l.phases.list().into_iter().filter_map(|(name, at)| Some((name, at?))).collect();
    let Some(first) = seen.first().map(|(_, at)| *at) else { return };
    let mut table = Table::new(&["PHASE", "AT", "AFTER", "STEP"]);
    let mut before = first;
    for (name, at) in seen {
        let span = |ms: u64| format!("+{}.{:03} s", ms / 1000, ms % 1000);
        table.row(vec![
            name.to_owned(),
            utc(at / 1000),
            span(at.saturating_sub(first)),
            span(at.saturating_sub(before)),
        ]);
        before = at;
    }
    let _ = write!(text, "\nPhases\n{}", table.render(2));
}

fn instances(text: &mut String, l: &Life) {
    if l.instances.is_empty() {
        return;
    }
    let mut table = Table::new(&["INSTANCE", "NODE", "TYPE", "ZONE", "MARKET", "SECONDS", "USD", "WHAT"]);
    for i in l.instances.iter().take(INSTANCES) {
        let mut what = i.purpose.word().to_owned();
        if i.interrupted {
            what.push_str(", ended by EC2");
        }
        if !i.why.is_empty() {
            let _ = write!(what, ": {}", i.why);
        }
        table.row(vec![
            i.id.clone(),
            i.node.clone(),
            i.instance_type.clone(),
            i.zone.clone(),
            i.market.map(|m| m.word().to_owned()).unwrap_or_default(),
            i.billed_s.map(|s| s.to_string()).unwrap_or_default(),
            i.cost().map(|c| c.to_string()).unwrap_or_default(),
            what,
        ]);
    }
    let _ = write!(text, "\nInstances\n{}", table.render(2));
    let more = l.instances.len().saturating_sub(INSTANCES);
    if more > 0 {
        let _ = writeln!(text, "  and {more} more (--json has all)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burst_plan::{
        Market, MicroUsd,
        report::{NodeReport, StepReport},
    };
    use burst_policy::life::{Cost, Phases, Purpose, Ran, SlurmFacts};

    #[test]
    fn a_life_tells_its_story() {
        let step =
            StepReport { flags: vec!["moved next to nothing over EFA".into()], ..StepReport::default() };
        let ran = |id: &str, purpose: Purpose| Ran {
            id: id.into(),
            instance_type: "hpc7a.96xlarge".into(),
            market: Some(Market::OnDemand),
            billed_s: Some(100),
            compute: Some(MicroUsd(200_000)),
            storage: Some(MicroUsd(0)),
            purpose,
            why: if purpose == Purpose::Replaced { "no EFA device".into() } else { String::new() },
            ..Ran::default()
        };
        let life = Life {
            text: "17".into(),
            attempts: 2,
            paid: 1,
            slurm: SlurmFacts {
                state: "FAILED".into(),
                exit_code: Some(3),
                start: Some(1_790_000_000),
                end: Some(1_790_000_060),
                ..SlurmFacts::default()
            },
            phases: Phases {
                submit_ms: Some(1_789_999_900_000),
                launch_ms: Some(1_789_999_900_250),
                started_ms: Some(1_790_000_000_000),
                ..Phases::default()
            },
            instances: vec![ran("i-1", Purpose::Served), ran("i-2", Purpose::Replaced)],
            reports: vec![NodeReport { steps: vec![step.clone(), step], ..NodeReport::default() }],
            missing: vec!["efa7-0002".into()],
            cost: Cost {
                compute: Some(MicroUsd(200_000)),
                known: MicroUsd(400_000),
                missing: vec!["the price table has no ebs_gib_month of us-east-2".into()],
                ..Cost::default()
            },
            ..Life::default()
        };
        let text = render(&[life]);
        for line in [
            "What job 17 did\n",
            "FAILED, exit code 3, 2026-09-21 14:14:20 UTC",
            "60 s on 1 nodes",
            "at least 0.40 USD, a part is not known (instances 0.20)",
            "              the price table has no ebs_gib_month of us-east-2\n",
            "1 nodes; missing: efa7-0002",
            "launch   2026-09-21 14:11:40 UTC  +0.250 s    +0.250 s",
            "started  2026-09-21 14:13:20 UTC  +100.000 s  +99.750 s",
            "replaced: no EFA device",
        ] {
            assert!(text.contains(line), "{line:?} is missing in\n{text}");
        }
        assert_eq!(text.matches("moved next to nothing").count(), 1, "{text}");
    }

    #[test]
    fn lives_are_told_in_their_order() {
        let life = |restart| Life { text: "9".into(), restart, ..Life::default() };
        let text = render(&[life(1), life(0)]);
        assert!(text.find("What job 9 did") < text.find("What job 9, life 2 did"), "{text}");
        assert!(text.contains("Ended         not known"), "{text}");
    }
}
