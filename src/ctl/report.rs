//! The report: one page that needs nothing but a browser. No script, no font, no picture from elsewhere; what a chart
//! shows stands in a table beside it.

mod cost;
pub mod figures;
mod html;
mod network;
mod phases;
mod predicted;
mod style;
mod timeline;

use crate::out::utc;
use burst_policy::{history::over_ms, life::Life};
use figures::{Money, dollars, median, span_ms};
use html::{esc, section, tile};
use std::fmt::Write;

/// What stands at the top of the page.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// Heading.
    pub title: String,
    /// What was asked for, in words (`user alice, since 2026-11-01`); empty for everything.
    pub scope: String,
    /// When it was made, Unix seconds.
    pub made: u64,
}

/// The page.
pub fn page(lives: &[Life], head: &Head) -> String {
    let mut lives: Vec<&Life> = lives.iter().collect();
    lives.sort_by_key(|l| (over_ms(l), l.job, l.restart));
    let mut body = String::new();
    top(&mut body, &lives, head);
    if lives.is_empty() {
        body.push_str("<p class=\"empty\">No job that is over is in this selection.</p>\n");
    } else {
        body.push_str(&section("timeline", "Timeline of gangs", &timeline::chart(&lives)));
        body.push_str(&section("phases", "How long each step took", &phases::chart(&lives)));
        body.push_str(&section("cost", "Cost by account and day", &cost::chart(&lives)));
        body.push_str(&section("predicted", "Predicted against actual", &predicted::chart(&lives)));
        body.push_str(&section("network", "EFA against TCP", &network::chart(&lives)));
        body.push_str(&section("jobs", "Jobs", &timeline::table(&lives)));
    }
    let title = esc(&head.title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{}</style>\n</head>\n\
         <body>\n<a class=\"skip\" href=\"#main\">Skip to the report</a>\n<main id=\"main\">\n{body}</main>\n</body>\n</html>\n",
        style::CSS
    )
}

fn top(body: &mut String, lives: &[&Life], head: &Head) {
    let first = lives.iter().filter_map(|l| l.phases.submit_ms).min();
    let last = lives.iter().map(|l| over_ms(l)).max();
    let period = match (first, last) {
        (Some(a), Some(b)) => format!("{} to {}. ", utc(a / 1000), utc(b / 1000)),
        _ => String::new(),
    };
    let scope = if head.scope.is_empty() { String::new() } else { format!("Shown: {}. ", esc(&head.scope)) };
    // Writing to a String cannot fail; the same holds for every write of this room.
    let _ = write!(
        body,
        "<header><h1>{}</h1>\n<p class=\"sub\">{period}{scope}Made {}.</p></header>\n<div class=\"tiles\">\n",
        esc(&head.title),
        utc(head.made)
    );
    let good = lives.iter().filter(|l| l.succeeded()).count();
    let total = Money::sum(lives.iter().map(|l| (l.cost.total, l.cost.known)));
    let wasted: u64 = lives.iter().filter_map(|l| l.cost.wasted).map(|m| m.0).fold(0, u64::saturating_add);
    let provisioning = median(lives.iter().filter_map(|l| l.phases.durations().provisioning).collect());
    let interrupted = lives.iter().flat_map(|l| &l.instances).filter(|i| i.interrupted).count();
    let instances: usize = lives.iter().map(|l| l.instances.len()).sum();
    body.push_str(&tile("Lives of jobs", &lives.len().to_string(), &format!("{good} completed")));
    body.push_str(&tile("Cost", &total.shown(), &total.note()));
    body.push_str(&tile("Wasted", &dollars(wasted), "failed attempts and replaced nodes"));
    let took = provisioning.map_or_else(|| "not known".to_owned(), span_ms);
    body.push_str(&tile("Median provisioning", &took, "from the first launch to the start"));
    body.push_str(&tile("Instances", &instances.to_string(), &format!("{interrupted} ended by EC2")));
    body.push_str("</div>\n");
}

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
