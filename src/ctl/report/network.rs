//! What moved over EFA and what over TCP, as the nodes counted it.

use super::{
    figures::{as_f64, bytes, median, span_ms},
    html::{esc, fold, legend, table},
};
use burst_policy::{export::moved, life::Life};
use std::{collections::BTreeMap, fmt::Write};

/// Lines of the chart: those that moved most.
const LINES: usize = 30;
/// Flags that are told, and jobs named for each.
const FLAGS: usize = 20;
const JOBS: usize = 12;

struct Net<'a> {
    life: &'a Life,
    efa: u64,
    nic: u64,
    /// EFA devices were there: 0 is a figure then.
    counted: bool,
}

/// How the ranks of a life talked, as its steps say; empty where none does.
fn provider(l: &Life) -> &'static str {
    let of = |word: &str| {
        let steps = || l.reports.iter().flat_map(|r| &r.steps).filter_map(|s| s.mpi.as_ref());
        steps().any(|m| m.provider.as_deref() == Some(word))
    };
    match (of("efa"), of("tcp")) {
        (true, false) => "efa",
        (false, true) => "tcp",
        (true, true) => "both",
        (false, false) => "",
    }
}

/// The chart and the comparison.
pub fn chart(lives: &[&Life]) -> String {
    let measured = |life: &&Life| {
        let (efa, nic) = moved(life);
        (efa.is_some() || nic.is_some()).then_some((efa, nic.unwrap_or(0)))
    };
    let net = |(life, (efa, nic)): (_, (Option<u64>, u64))| Net {
        life,
        efa: efa.unwrap_or(0),
        nic,
        counted: efa.is_some(),
    };
    let mut all: Vec<Net<'_>> = lives.iter().filter_map(|l| Some(net((*l, measured(l)?)))).collect();
    if all.is_empty() {
        return "<p class=\"empty\">No node has reported what its network moved.</p>\n".to_owned();
    }
    let mut out = compare(&all);
    all.sort_by_key(|n| std::cmp::Reverse(n.efa.saturating_add(n.nic)));
    let most = all.iter().map(|n| n.efa.saturating_add(n.nic)).max().unwrap_or(1).max(1);
    out.push_str(&legend(&[
        ("c-efa".into(), "over EFA".into()),
        ("c-tcp".into(), "over other interfaces (TCP: MPI, NFS, Lustre)".into()),
    ]));
    out.push_str("<div class=\"rows\">\n");
    let mut rows = Vec::new();
    for n in all.iter().take(LINES) {
        let x = |b: u64| as_f64(b) / as_f64(most) * 1000.0;
        let told = format!("Job {}: {} over EFA, {} over TCP", n.life.text, bytes(n.efa), bytes(n.nic));
        let _ = writeln!(
            out,
            "<div class=\"row\"><span class=\"label\"><b>{}</b> {}</span><svg class=\"bar\" viewBox=\"0 0 1000 10\" \
             preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\"><rect class=\"c-efa\" y=\"1\" width=\"{:.1}\" \
             height=\"8\"/><rect class=\"c-tcp\" x=\"{:.1}\" y=\"1\" width=\"{:.1}\" height=\"8\"/></svg></div>",
            esc(&n.life.text),
            esc(&bytes(n.efa.saturating_add(n.nic))),
            esc(&told),
            x(n.efa),
            x(n.efa),
            x(n.nic),
        );
    }
    for n in &all {
        let run = n.life.run_s().unwrap_or(0);
        let nodes = n.life.reports.len();
        rows.push(vec![
            n.life.text.clone(),
            provider(n.life).to_owned(),
            nodes.to_string(),
            if n.counted { bytes(n.efa) } else { String::new() },
            bytes(n.nic),
            rate(n).map(|r| format!("{}/s", bytes(r))).unwrap_or_default(),
            span_ms(run.saturating_mul(1000)),
        ]);
    }
    out.push_str("</div>\n");
    let head = ["Job", "MPI over", "Nodes", "EFA", "TCP", "Per node", "Ran"];
    out.push_str(&fold("What moved, as a table", &head, &[2, 3, 4, 5, 6], &rows));
    out.push_str(&flags(lives));
    out
}

/// Bytes a second and node.
fn rate(n: &Net<'_>) -> Option<u64> {
    let by = n.life.run_s()?.checked_mul(n.life.reports.len() as u64).filter(|b| *b > 0)?;
    n.efa.saturating_add(n.nic).checked_div(by)
}

/// By instance type and provider: so that EFA is compared with TCP on the same hardware.
fn compare(all: &[Net<'_>]) -> String {
    let mut groups: BTreeMap<(String, &str), Vec<&Net<'_>>> = BTreeMap::new();
    for n in all {
        let kind = n.life.served().next().map_or_else(String::new, |i| i.instance_type.clone());
        groups.entry((kind, provider(n.life))).or_default().push(n);
    }
    let rows: Vec<Vec<String>> = groups
        .iter()
        .map(|((kind, provider), of)| {
            let sum = |f: fn(&Net<'_>) -> u64| of.iter().map(|n| f(n)).fold(0, u64::saturating_add);
            let rate = median(of.iter().filter_map(|n| rate(n)).collect());
            let ratio = |n: &&&Net<'_>| {
                let predicted = n.life.plan.as_ref()?.expected_runtime?.0.max(1);
                Some(n.life.run_s()?.saturating_mul(1000) / predicted)
            };
            let ratio = median(of.iter().filter_map(|n| ratio(&n)).collect());
            vec![
                if kind.is_empty() { "not known".to_owned() } else { kind.clone() },
                if provider.is_empty() { "not known".to_owned() } else { (*provider).to_owned() },
                of.len().to_string(),
                if of.iter().any(|n| n.counted) { bytes(sum(|n| n.efa)) } else { String::new() },
                bytes(sum(|n| n.nic)),
                rate.map(|r| format!("{}/s", bytes(r))).unwrap_or_default(),
                ratio.map(|r| format!("{}.{:02}", r / 1000, r % 1000 / 10)).unwrap_or_default(),
            ]
        })
        .collect();
    let head = ["Type", "MPI over", "Lives", "EFA", "TCP", "Median per node", "Median actual / predicted"];
    table("EFA against TCP on the same hardware", &head, &[2, 3, 4, 5, 6], &rows)
}

/// What the nodes say is wrong.
fn flags(lives: &[&Life]) -> String {
    let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for l in lives.iter().rev() {
        for flag in l.reports.iter().flat_map(|r| &r.steps).flat_map(|s| &s.flags) {
            let jobs = seen.entry(flag).or_default();
            if jobs.last() != Some(&l.text.as_str()) {
                jobs.push(&l.text);
            }
        }
    }
    if seen.is_empty() {
        return String::new();
    }
    let item = |(flag, jobs): (&&str, &Vec<&str>)| {
        let named: Vec<&str> = jobs.iter().take(JOBS).copied().collect();
        let more = jobs.len().saturating_sub(JOBS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("<li>{} (jobs {}{more})</li>\n", esc(flag), esc(&named.join(", ")))
    };
    let items: String = seen.iter().take(FLAGS).map(item).collect();
    let more = seen.len().saturating_sub(FLAGS);
    let more = if more > 0 { format!("<p>and {more} more.</p>\n") } else { String::new() };
    format!("<h3>What the nodes say is wrong</h3>\n<ul class=\"flags\">\n{items}</ul>\n{more}")
}
