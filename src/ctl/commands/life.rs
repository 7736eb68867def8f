//! What became of a job that is over: how it ended, how long each phase took, what it cost.
//!
//! Every field may be absent: an older or newer controller must stay readable.

use crate::out::{Table, printable};
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write;

/// `life` of the controller's answer to `explain` (docs/WIRE.md).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Life {
    restart: Option<u32>,
    state: String,
    exit_code: Option<u32>,
    exit_signal: Option<u32>,
    nodes: String,
    durations_ms: Durations,
    cost: Cost,
    nodes_without_report: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Durations {
    hold: Option<u64>,
    wait: Option<u64>,
    grant: Option<u64>,
    boot: Option<u64>,
    release: Option<u64>,
    start: Option<u64>,
    run: Option<u64>,
    terminate: Option<u64>,
    total: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Cost {
    total_usd: Option<String>,
    at_least_usd: Option<String>,
    wasted_usd: Option<String>,
    prices: String,
    missing: Vec<String>,
}

/// The text; empty for a job that has no life that is over.
pub fn text(answer: &Value) -> String {
    let Some(life) = answer.get("life").filter(|l| l.is_object()) else { return String::new() };
    let life: Life = Deserialize::deserialize(life).unwrap_or_default();
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(out, "{name:<13} {}", printable(&value));
        }
    };
    let mut how = life.state.clone();
    for (word, n) in [("exit code", life.exit_code), ("signal", life.exit_signal)] {
        if let Some(n) = n.filter(|n| *n > 0) {
            let _ = write!(how, ", {word} {n}");
        }
    }
    if let Some(n) = life.restart.filter(|n| *n > 0) {
        let _ = write!(how, " (restart {n})");
    }
    line("Ended", how);
    line("Ran on", life.nodes.clone());
    let c = &life.cost;
    let cost = match (&c.total_usd, &c.at_least_usd) {
        (Some(total), _) => format!("{total} USD"),
        (None, Some(least)) => format!("at least {least} USD"),
        (None, None) => String::new(),
    };
    let wasted = c.wasted_usd.as_ref().filter(|w| *w != "0.00");
    line("Cost", wasted.map_or(cost.clone(), |w| format!("{cost}, {w} of it for attempts that failed")));
    line("Prices", c.prices.clone());
    for why in &c.missing {
        line("Not known", why.clone());
    }
    line("No report of", life.nodes_without_report.join(", "));
    let d = &life.durations_ms;
    let mut table = Table::new(&["PHASE", "TOOK"]);
    for (name, ms) in [
        ("held", d.hold),
        ("waiting", d.wait),
        ("launching", d.grant),
        ("booting", d.boot),
        ("releasing", d.release),
        ("starting", d.start),
        ("running", d.run),
        ("terminating", d.terminate),
        ("all", d.total),
    ] {
        if let Some(ms) = ms {
            table.row(vec![name.into(), format!("{}.{:03} s", ms / 1_000, ms % 1_000)]);
        }
    }
    let _ = write!(out, "\nPhases\n{}", table.render(2));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_that_is_over_says_how_it_went_and_what_it_cost() {
        let answer = serde_json::json!({"gang": {}, "life": {
            "restart": 1, "state": "FAILED", "exit_code": 3, "exit_signal": 0, "nodes": "efa7-[0001-0002]",
            "durations_ms": {"hold": 12, "boot": 61_042, "run": 60_000, "running": null, "total": 130_000},
            "cost": {"total_usd": null, "at_least_usd": "0.24", "wasted_usd": "0.04", "prices": "site, 2026-11",
                     "missing": ["the size of the root volumes is not known (root_gib of the pool)"]},
            "nodes_without_report": ["efa7-0002"], "more": 1,
        }});
        let text = text(&answer);
        for want in [
            "Ended         FAILED, exit code 3 (restart 1)\n",
            "Ran on        efa7-[0001-0002]\n",
            "Cost          at least 0.24 USD, 0.04 of it for attempts that failed\n",
            "Not known     the size of the root volumes",
            "No report of  efa7-0002\n",
            "61.042 s",
            "130.000 s",
        ] {
            assert!(text.contains(want), "{want}: {text}");
        }
        assert!(!text.contains("waiting"), "what was not measured has no line: {text}");
        assert_eq!(super::text(&serde_json::json!({"gang": {}, "life": null})), "");
    }
}
