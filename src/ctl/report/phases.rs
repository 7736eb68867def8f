//! The distribution of each step's time.

use super::{
    figures::{Log, quantile, span_ms},
    html::{esc, fold},
};
use burst_policy::life::{Durations, Life};
use std::fmt::Write;

type Step = (&'static str, &'static str, fn(&Durations) -> Option<u64>);

/// Steps: name, what it is, value.
const STEPS: [Step; 9] = [
    ("Hold", "from submission to the hold", |d| d.hold),
    ("Wait", "from the hold to the first launch", |d| d.wait),
    ("Grant", "from the first launch to the grant", |d| d.grant),
    ("Boot", "from the grant to the last registration", |d| d.boot),
    ("Release", "from the last registration to the release", |d| d.release),
    ("Start", "from the release to the start", |d| d.start),
    ("Provisioning", "from the first launch to the start", |d| d.provisioning),
    ("Run", "from the start to the end", |d| d.run),
    ("Terminate", "from the end to the order to terminate", |d| d.terminate),
];

/// The chart: a line from the least to the most, a box from a quarter to three quarters, a mark at the median.
pub fn chart(lives: &[&Life]) -> String {
    let all: Vec<Durations> = lives.iter().map(|l| l.phases.durations()).collect();
    let values = |of: fn(&Durations) -> Option<u64>| {
        let mut v: Vec<u64> = all.iter().filter_map(of).collect();
        v.sort_unstable();
        v
    };
    let log = Log::around(STEPS.iter().flat_map(|s| values(s.2)));
    let mut out = String::from(
        "<p>Line: least to most. Box: the middle half. Mark: the median. The scale is logarithmic.</p>\n<div class=\"rows\">\n",
    );
    let mut rows = Vec::new();
    for (name, what, of) in STEPS {
        let v = values(of);
        let Some([least, low, mid, high, late, most]) = marks(&v) else {
            rows.push(vec![name.to_owned(), what.to_owned(), "0".into()]);
            let _ = writeln!(
                out,
                "<div class=\"row\"><span class=\"label\"><b>{name}</b> not seen</span><span class=\"bar\"></span></div>"
            );
            continue;
        };
        let x = |ms: u64| log.at(ms) * 1000.0;
        let span = |a: u64, b: u64| (x(b) - x(a)).max(2.0);
        let _ = writeln!(
            out,
            "<div class=\"row\"><span class=\"label\"><b>{name}</b> {}</span><svg class=\"bar\" viewBox=\"-4 0 1008 10\" \
             preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\"><rect class=\"c-line\" x=\"{:.1}\" y=\"4.4\" \
             width=\"{:.1}\" height=\"1.2\"/><rect class=\"c-box\" x=\"{:.1}\" y=\"1.5\" width=\"{:.1}\" height=\"7\"/>\
             <rect class=\"c-mark\" x=\"{:.1}\" y=\"0.5\" width=\"4\" height=\"9\"/></svg></div>",
            esc(&span_ms(mid)),
            esc(&format!(
                "{name}, {what}: median {}, middle half {} to {}, least {}, most {}",
                span_ms(mid),
                span_ms(low),
                span_ms(high),
                span_ms(least),
                span_ms(most)
            )),
            x(least),
            span(least, most),
            x(low),
            span(low, high),
            x(mid) - 2.0,
        );
        let mut row = vec![name.to_owned(), what.to_owned(), v.len().to_string()];
        row.extend([least, low, mid, high, late, most].map(span_ms));
        rows.push(row);
    }
    out.push_str("</div>\n");
    out.push_str(&ticks(&log));
    let head = ["Step", "What", "Lives", "Least", "25 %", "Median", "75 %", "95 %", "Most"];
    out.push_str(&fold("The distributions as a table", &head, &[2, 3, 4, 5, 6, 7, 8], &rows));
    out
}

fn marks(v: &[u64]) -> Option<[u64; 6]> {
    let q = |share| quantile(v, share);
    Some([q(0.0)?, q(0.25)?, q(0.5)?, q(0.75)?, q(0.95)?, q(1.0)?])
}

/// Names of round times under the bars, as far apart as they are.
fn ticks(log: &Log) -> String {
    const ROUND: [(u64, &str); 7] = [
        (1, "1 ms"),
        (100, "0.1 s"),
        (1_000, "1 s"),
        (10_000, "10 s"),
        (60_000, "1 min"),
        (3_600_000, "1 h"),
        (86_400_000, "1 d"),
    ];
    let mut items = String::new();
    let (mut last, mut wide) = (-1.0, -1.0);
    for (ms, name) in ROUND {
        let at = log.at(ms);
        // One at each end of the scale at most, and none upon another.
        if at > 0.0 && at < 1.0 && at - last > 0.11 {
            // Where the page is narrow there is room for fewer.
            let class = if at - wide > 0.2 { "" } else { " class=\"tight\"" };
            let _ = write!(items, "<span{class} style=\"left:{:.1}%\">{name}</span>", at * 100.0);
            last = at;
            if class.is_empty() {
                wide = at;
            }
        }
    }
    format!("<p class=\"ticks with-label\" aria-hidden=\"true\">{items}</p>\n")
}
