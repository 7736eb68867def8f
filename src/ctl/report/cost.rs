//! Money by account and day.

use super::{
    figures::{Money, as_f64, dollars},
    html::{esc, fold, legend, table},
};
use crate::out::utc;
use burst_policy::{history::over_ms, life::Life};
use std::{collections::BTreeMap, fmt::Write};

/// Accounts with a colour of their own: the dearest.
const OWN: usize = 6;
/// Days of the chart: the youngest.
const DAYS: u64 = 62;
const DAY_MS: u64 = 86_400_000;

/// `2026-11-25`.
fn date(day: u64) -> String {
    utc(day * 86_400).chars().take(10).collect()
}

fn account(l: &Life) -> &str {
    if l.account.is_empty() { "(no account)" } else { &l.account }
}

#[derive(Default)]
struct Sum {
    lives: u64,
    money: Money,
    wasted: u64,
    saved: u64,
}

/// The chart and its tables. A life counts on the day it was over.
pub fn chart(lives: &[&Life]) -> String {
    let mut accounts: BTreeMap<&str, Sum> = BTreeMap::new();
    let mut days: BTreeMap<u64, BTreeMap<&str, u64>> = BTreeMap::new();
    for l in lives {
        let money = Money::sum(std::iter::once((l.cost.total, l.cost.known)));
        let sum = accounts.entry(account(l)).or_default();
        sum.lives += 1;
        sum.money.known = sum.money.known.saturating_add(money.known);
        sum.money.unknown += money.unknown;
        sum.wasted = sum.wasted.saturating_add(l.cost.wasted.map_or(0, |m| m.0));
        sum.saved = sum.saved.saturating_add(l.cost.spot_savings.map_or(0, |m| m.0));
        let day = days.entry(over_ms(l) / DAY_MS).or_default().entry(account(l)).or_default();
        *day = day.saturating_add(money.known);
    }
    let mut order: Vec<&str> = accounts.keys().copied().collect();
    order.sort_by_key(|a| std::cmp::Reverse(accounts.get(a).map_or(0, |s| s.money.known)));
    let mut out = String::new();
    let last = days.keys().next_back().copied().unwrap_or(0);
    let first = days.keys().next().copied().unwrap_or(last).max((last + 1).saturating_sub(DAYS));
    if days.keys().next().is_some_and(|d| *d < first) {
        let _ =
            writeln!(out, "<p>The chart shows the last {DAYS} days; the table of accounts counts all.</p>");
    }
    let named = order.iter().take(OWN).enumerate().map(|(i, a)| (format!("a{i}"), (*a).to_owned()));
    let mut keys: Vec<(String, String)> = named.collect();
    if order.len() > OWN {
        keys.push(("a-rest".into(), format!("{} others", order.len() - OWN)));
    }
    out.push_str(&legend(&keys));
    out.push_str(&bars(&days, &order, (first, last)));
    let rows: Vec<Vec<String>> = order
        .iter()
        .filter_map(|a| {
            let s = accounts.get(a)?;
            Some(vec![
                (*a).to_owned(),
                s.lives.to_string(),
                s.money.shown(),
                dollars(s.wasted),
                dollars(s.saved),
                if s.money.unknown > 0 { s.money.unknown.to_string() } else { String::new() },
            ])
        })
        .collect();
    let head = ["Account", "Lives", "Cost", "Wasted", "Saved by spot", "Cost not known whole"];
    out.push_str(&table("Cost by account", &head, &[1, 2, 3, 4, 5], &rows));
    let by_day: Vec<Vec<String>> = days
        .iter()
        .rev()
        .flat_map(|(day, of)| of.iter().map(|(a, usd)| vec![date(*day), (*a).to_owned(), dollars(*usd)]))
        .collect();
    out.push_str(&fold("Cost by day and account as a table", &["Day", "Account", "Cost"], &[2], &by_day));
    let prices: std::collections::BTreeSet<&str> =
        lives.iter().map(|l| l.cost.prices.as_str()).filter(|p| !p.is_empty()).collect();
    if !prices.is_empty() {
        let prices: Vec<&str> = prices.into_iter().take(5).collect();
        let _ = writeln!(out, "<p class=\"sub\">Prices from: {}.</p>", esc(&prices.join("; ")));
    }
    out
}

fn bars(days: &BTreeMap<u64, BTreeMap<&str, u64>>, order: &[&str], (first, last): (u64, u64)) -> String {
    let total = |of: &BTreeMap<&str, u64>| of.values().fold(0, |a: u64, b| a.saturating_add(*b));
    let most = days.range(first..=last).map(|(_, of)| total(of)).max().unwrap_or(0).max(1);
    let count = last - first + 1;
    let mut rects = String::new();
    for (day, of) in days.range(first..=last) {
        let mut below = 0.0;
        for (name, usd) in order.iter().filter_map(|a| Some((*a, *of.get(a)?))) {
            let place = order.iter().position(|a| *a == name).unwrap_or(OWN);
            let class = if place < OWN { format!("a{place}") } else { "a-rest".to_owned() };
            let height = as_f64(usd) / as_f64(most) * 98.0;
            let x = as_f64(day - first) * 10.0 + 1.0;
            let title = esc(&format!("{} {name} {}", date(*day), dollars(usd)));
            let _ = write!(
                rects,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{:.2}\" width=\"8\" height=\"{height:.2}\"><title>{title}</title></rect>",
                100.0 - below - height
            );
            below += height;
        }
    }
    let told =
        format!("Cost of each day from {} to {}, at most {} a day", date(first), date(last), dollars(most));
    // A few days are not drawn as wide as walls.
    let wide = count.max(14) * 10;
    let end = if count > 1 { date(last) } else { String::new() };
    format!(
        "<p class=\"most\">{}</p>\n<svg class=\"days\" viewBox=\"0 0 {wide} 100\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"{}\">{rects}</svg>\n<p class=\"axis\" style=\"width:{:.1}%\"><span>{}</span><span>{end}</span></p>\n",
        esc(&format!("{} a day", dollars(most))),
        esc(&told),
        as_f64(count * 10) / as_f64(wide) * 100.0,
        date(first),
    )
}
