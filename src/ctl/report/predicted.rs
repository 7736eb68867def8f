//! What the plans had predicted against what was.

use super::{
    figures::{Log, as_f64, span_ms},
    html::{esc, fold},
};
use burst_policy::life::Life;
use std::fmt::Write;

/// Points of the chart: the youngest.
const POINTS: usize = 1_000;
/// A prediction within this share of what was is called near.
const NEAR: f64 = 0.2;

/// Lines of the grid, seconds, and how far apart they are at least (of the whole side).
const TICKS: [(u64, &str); 14] = [
    (1, "1 s"),
    (2, "2 s"),
    (5, "5 s"),
    (10, "10 s"),
    (30, "30 s"),
    (60, "1 min"),
    (180, "3 min"),
    (600, "10 min"),
    (1_800, "30 min"),
    (3_600, "1 h"),
    (10_800, "3 h"),
    (36_000, "10 h"),
    (86_400, "1 d"),
    (259_200, "3 d"),
];
const APART: f64 = 0.15;
/// Where the chart's left edge is, so that the longest tick stands before it on a phone, and how wide it is.
const LEFT: f64 = 16.0;
const WIDE: f64 = 80.0;

struct Pair<'a> {
    life: &'a Life,
    predicted: u64,
    actual: u64,
}

impl Pair<'_> {
    fn near(&self) -> bool {
        (as_f64(self.actual) / as_f64(self.predicted.max(1)) - 1.0).abs() <= NEAR
    }
}

/// Run times in ms of the lives that had a prediction and ran to their end.
fn pairs<'a>(lives: &[&'a Life]) -> Vec<Pair<'a>> {
    let pair = |life: &&'a Life| {
        let life: &'a Life = life;
        let predicted = life.plan.as_ref()?.expected_runtime?.0.saturating_mul(1000);
        let actual = life.run_s()?.saturating_mul(1000);
        (life.succeeded() && predicted > 0).then_some(Pair { life, predicted, actual })
    };
    lives.iter().filter_map(pair).collect()
}

/// The chart.
pub fn chart(lives: &[&Life]) -> String {
    let all = pairs(lives);
    if all.is_empty() {
        return "<p class=\"empty\">No job that completed had a plan with an expected run time.</p>\n"
            .to_owned();
    }
    let near = all.iter().filter(|p| p.near()).count();
    let log = Log::around(all.iter().flat_map(|p| [p.predicted, p.actual.max(1)]));
    let mut points = String::new();
    for p in all.iter().rev().take(POINTS) {
        let (x, y) = (LEFT + log.at(p.predicted) * WIDE, 88.0 - log.at(p.actual) * 84.0);
        let class = if p.near() { "c-near" } else { "c-far" };
        let title = esc(&told(p));
        let _ = match p.near() {
            true => write!(
                points,
                "<circle class=\"{class}\" cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"1.3\"><title>{title}</title></circle>"
            ),
            // Another shape, for those who do not see the colours.
            false => write!(
                points,
                "<rect class=\"{class}\" x=\"{:.2}\" y=\"{:.2}\" width=\"2.4\" height=\"2.4\"><title>{title}</title></rect>",
                x - 1.2,
                y - 1.2
            ),
        };
    }
    let mut grid = String::new();
    let mut last = 0.0;
    for (seconds, name) in TICKS {
        let at = log.at(seconds * 1_000);
        if at <= 0.0 || at >= 1.0 || at < last + APART {
            continue;
        }
        last = at;
        let (x, y) = (LEFT + at * WIDE, 88.0 - at * 84.0);
        let _ = write!(
            grid,
            "<path class=\"c-grid\" d=\"M{x:.2} 4V88M{LEFT} {y:.2}H96\"/><text x=\"{x:.2}\" y=\"92.5\" text-anchor=\"middle\">{name}\
             </text><text x=\"15\" y=\"{:.2}\" text-anchor=\"end\">{name}</text>",
            y + 1.1
        );
    }
    let summary =
        format!("{near} of {} predictions were within {:.0} % of the run time.", all.len(), NEAR * 100.0);
    let rows: Vec<Vec<String>> = all
        .iter()
        .rev()
        .take(POINTS)
        .map(|p| {
            let ratio = as_f64(p.actual) / as_f64(p.predicted.max(1));
            let name = p.life.text.clone();
            vec![name, span_ms(p.predicted), span_ms(p.actual), format!("{ratio:.2}")]
        })
        .collect();
    format!(
        "<p>{summary} On the line a prediction was right; above it the job took longer. Circles: near; squares: not.</p>\n\
         <svg class=\"square\" viewBox=\"0 0 100 100\" role=\"img\" aria-label=\"{}\">\
         <path class=\"c-frame\" d=\"M16 4V88H96\"/>{grid}<path class=\"c-right\" d=\"M16 88L96 4\"/>{points}\
         <text x=\"95\" y=\"86.5\" text-anchor=\"end\">predicted</text>\
         <text x=\"18\" y=\"7.5\">actual</text></svg>\n{}",
        esc(&format!("Predicted against actual run times. {summary}")),
        fold(
            "The predictions as a table",
            &["Job", "Predicted", "Actual", "Actual / predicted"],
            &[1, 2, 3],
            &rows
        )
    )
}

fn told(p: &Pair<'_>) -> String {
    format!("job {}: predicted {}, actual {}", p.life.text, span_ms(p.predicted), span_ms(p.actual))
}
