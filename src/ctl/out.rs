//! What people see: tables, times, and how a command ends.

use std::fmt::Write;

pub use burst_policy::when::utc;

/// Ends a command without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fail {
    /// Exit code: 1 a problem was found, 2 wrong usage.
    pub code: u8,
    /// What, why and what to do.
    pub text: String,
}

impl Fail {
    /// A problem (exit code 1).
    pub fn problem(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    /// Wrong usage (exit code 2).
    pub fn usage(text: impl Into<String>) -> Self {
        Self { code: 2, text: text.into() }
    }
}

/// What a command has to say, for both kinds of reader.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// 0 or 1.
    pub code: u8,
    /// For people.
    pub text: String,
    /// For programs.
    pub json: serde_json::Value,
}

impl Answer {
    /// Everything is well.
    pub fn ok(text: impl Into<String>, json: serde_json::Value) -> Self {
        Self { code: 0, text: text.into(), json }
    }
}

/// Columns that are as wide as their widest cell.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|h| (*h).to_owned()).collect()] }
    }

    /// Adds a row; an empty cell shows as `-`.
    pub fn row(&mut self, cells: Vec<String>) {
        let cell = |c: String| if c.is_empty() { "-".to_owned() } else { printable(&c) };
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// The text, each line indented by `indent` and ended by a newline.
    pub fn render(&self, indent: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |c: usize| self.rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(t, w)| format!("{t:<w$}")).collect();
            let _ = writeln!(text, "{}{}", " ".repeat(indent), cells.join("  ").trim_end());
        }
        text
    }
}

/// Without control characters: texts of users and of EC2 must not steer a terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `3 min ago`, `in 40 s`.
pub fn relative(unix: u64, now: u64) -> String {
    let span = |s: u64| match s {
        0..=99 => format!("{s} s"),
        100..=5_999 => format!("{} min", s / 60),
        6_000..=172_799 => format!("{} h {:02} min", s / 3600, s / 60 % 60),
        _ => format!("{} days", s / 86_400),
    };
    if unix > now { format!("in {}", span(unix - now)) } else { format!("{} ago", span(now - unix)) }
}

/// Unix seconds.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_a_calendar_has_them() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_790_000_000), "2026-09-21 14:13:20 UTC");
        assert_eq!(utc(4_102_444_799), "2099-12-31 23:59:59 UTC");
    }

    #[test]
    fn spans_in_the_unit_that_fits() {
        assert_eq!(relative(100, 140), "40 s ago");
        assert_eq!(relative(400, 100), "in 5 min");
        assert_eq!(relative(0, 7_260), "2 h 01 min ago");
        assert_eq!(relative(0, 200_000), "2 days ago");
    }

    #[test]
    fn tables_align_and_carry_no_escape_sequences() {
        let mut t = Table::new(&["NODE", "STATE"]);
        t.row(vec!["efa7-0001".into(), String::new()]);
        t.row(vec!["e".into(), "\u{1b}[31mred".into()]);
        assert_eq!(t.render(2), "  NODE       STATE\n  efa7-0001  -\n  e           [31mred\n");
    }
}
