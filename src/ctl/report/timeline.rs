//! Each gang as a line of its phases, and the table of jobs.

use super::{
    figures::{Money, as_f64, span_ms, thousands},
    html::{self, esc, fold, legend},
};
use crate::out::utc;
use burst_policy::{history::over_ms, life::Life};
use std::fmt::Write;

/// Lines of the chart: the youngest.
const LINES: usize = 40;
/// Rows of the table of jobs.
const ROWS: usize = 500;
/// Parts a line is made of: class, name.
const PARTS: [(&str, &str); 6] = [
    ("c-wait", "waiting"),
    ("c-launch", "launching"),
    ("c-boot", "booting"),
    ("c-start", "starting"),
    ("c-run", "running"),
    ("c-end", "ending"),
];

/// From–to of each part, Unix ms; what was not seen has no part, and the part before it goes on.
fn parts(l: &Life) -> Vec<(usize, u64, u64)> {
    let p = &l.phases;
    let marks = [p.submit_ms, p.launch_ms, p.granted_ms, p.registered_ms, p.started_ms, p.ended_ms];
    let end = p.terminated_ms.or(p.done_ms).unwrap_or_else(|| over_ms(l));
    let known: Vec<(usize, u64)> = marks.into_iter().enumerate().filter_map(|(i, m)| Some((i, m?))).collect();
    let next = |i: usize| known.get(i + 1).map_or(end, |k| k.1);
    known.iter().enumerate().map(|(i, (part, from))| (*part, *from, next(i).max(*from))).collect()
}

fn name(l: &Life) -> String {
    let life = if l.restart > 0 { format!(" (life {})", l.restart + 1) } else { String::new() };
    format!("{}{life}", l.text)
}

/// The chart.
pub fn chart(lives: &[&Life]) -> String {
    let shown: Vec<&&Life> = lives.iter().rev().take(LINES).collect();
    let from = shown.iter().filter_map(|l| l.phases.submit_ms).min().unwrap_or(0);
    let to = shown.iter().map(|l| over_ms(l)).max().unwrap_or(0).max(from + 1);
    let mut out = String::new();
    if lives.len() > LINES {
        let _ = writeln!(out, "<p>The youngest {LINES} of {}.</p>", lives.len());
    }
    out.push_str(&legend(&PARTS.map(|(c, n)| (c.to_owned(), n.to_owned()))));
    out.push_str("<div class=\"rows\">\n");
    let mut rows = Vec::new();
    for l in &shown {
        let mut bars = String::new();
        let mut told = Vec::new();
        for (part, a, b) in parts(l) {
            let Some((class, word)) = PARTS.get(part) else { continue };
            let at = |t: u64| as_f64(t.saturating_sub(from)) / as_f64(to - from) * 1000.0;
            // Never so thin that it cannot be seen.
            let (x, w) = (at(a), (at(b) - at(a)).max(1.5));
            let took = span_ms(b - a);
            let _ = write!(
                bars,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"1\" width=\"{w:.1}\" height=\"8\"><title>{word} {took}</title></rect>"
            );
            told.push(format!("{word} {took}"));
        }
        let _ = writeln!(
            out,
            "<div class=\"row\"><span class=\"label\"><b>{}</b> {}</span><svg class=\"bar\" viewBox=\"0 0 1000 10\" \
             preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">{bars}</svg></div>",
            esc(&name(l)),
            esc(&l.user),
            esc(&format!("Job {}: {}", name(l), told.join(", ")))
        );
        let d = l.phases.durations();
        let cell = |ms: Option<u64>| ms.map(span_ms).unwrap_or_default();
        rows.push(vec![
            name(l),
            l.user.clone(),
            l.phases.submit_ms.map(|t| utc(t / 1000)).unwrap_or_default(),
            cell(d.wait),
            cell(d.grant),
            cell(d.boot),
            cell(d.start),
            cell(d.run),
            cell(d.terminate),
        ]);
    }
    let _ = writeln!(
        out,
        "</div>\n<p class=\"axis with-label\"><span>{}</span><span>{}</span></p>",
        utc(from / 1000),
        utc(to / 1000)
    );
    out.push_str(&provisioning(&shown));
    let head =
        ["Job", "User", "Submitted", "Waited", "Granted after", "Booted in", "Started in", "Ran", "Ended in"];
    out.push_str(&fold("The timeline as a table", &head, &[3, 4, 5, 6, 7, 8], &rows));
    out
}

/// The same gangs from their first launch to the start, on one scale: over days these minutes are too short to be seen.
fn provisioning(shown: &[&&Life]) -> String {
    let span = |l: &Life| l.phases.durations().provisioning;
    let Some(most) = shown.iter().filter_map(|l| span(l)).max().filter(|m| *m > 0) else {
        return String::new();
    };
    let mut out = String::from("<h3>From the first launch to the start</h3>\n<div class=\"rows\">\n");
    for l in shown.iter().filter(|l| span(l).is_some()) {
        let launch = l.phases.launch_ms.unwrap_or(0);
        let (mut bars, mut told) = (String::new(), Vec::new());
        for (part, a, b) in parts(l).into_iter().filter(|(part, ..)| (1..=3).contains(part)) {
            let Some((class, word)) = PARTS.get(part) else { continue };
            let at = |t: u64| as_f64(t.saturating_sub(launch)) / as_f64(most) * 1000.0;
            let took = span_ms(b - a);
            let _ = write!(
                bars,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"1\" width=\"{:.1}\" height=\"8\"><title>{word} {took}</title></rect>",
                at(a),
                (at(b) - at(a)).max(1.5)
            );
            told.push(format!("{word} {took}"));
        }
        let took = span_ms(span(l).unwrap_or(0));
        let _ = writeln!(
            out,
            "<div class=\"row\"><span class=\"label\"><b>{}</b> {took}</span><svg class=\"bar\" viewBox=\"0 0 1000 10\" \
             preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">{bars}</svg></div>",
            esc(&name(l)),
            esc(&format!("Job {}: {}", name(l), told.join(", ")))
        );
    }
    let _ = writeln!(
        out,
        "</div>\n<p class=\"axis with-label\"><span>0</span><span>{}</span></p>",
        span_ms(most)
    );
    out
}

/// What went wrong, beside the state: exit code, signal, the gang's last trouble.
fn trouble(l: &Life) -> String {
    let all = burst_policy::record::error(l).or_else(|| l.trouble.clone()).unwrap_or_default();
    all.strip_prefix(l.slurm.state.as_str()).unwrap_or(&all).trim_start_matches([',', ';', ' ']).to_owned()
}

/// All jobs with what they were and cost.
fn table_rows(lives: &[&Life]) -> Vec<Vec<String>> {
    let row = |l: &&&Life| {
        let mut types: Vec<&str> = l.served().map(|i| i.instance_type.as_str()).collect();
        types.sort_unstable();
        types.dedup();
        let money = Money::sum(std::iter::once((l.cost.total, l.cost.known)));
        vec![
            name(l),
            l.slurm.state.clone(),
            money.shown(),
            // Slurm counts whole seconds.
            l.run_s()
                .map(|s| if s == 0 { "0 s".to_owned() } else { span_ms(s.saturating_mul(1000)) })
                .unwrap_or_default(),
            l.slurm.node_count.map(|n| thousands(n.into())).unwrap_or_default(),
            types.join(" "),
            l.user.clone(),
            l.account.clone(),
            l.name.clone(),
            trouble(l),
        ]
    };
    lives.iter().rev().take(ROWS).collect::<Vec<_>>().iter().map(row).collect()
}

/// The table of jobs.
pub fn table(lives: &[&Life]) -> String {
    let head = ["Job", "State", "Cost", "Ran", "Nodes", "Type", "User", "Account", "Name", "Trouble"];
    let rows = table_rows(lives);
    let caption = match lives.len() > rows.len() {
        true => format!("The youngest {} of {} lives of jobs", rows.len(), lives.len()),
        false => "All lives of jobs, the youngest first".to_owned(),
    };
    html::table(&caption, &head, &[2, 3, 4], &rows)
}
