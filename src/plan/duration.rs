//! Durations in the forms users, Slurm and Go programs write them.
use serde::{Deserialize, Serialize};
use std::fmt;

/// A whole number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

/// Longest duration taken anywhere: ten years.
const MOST: f64 = 10.0 * 366.0 * 86_400.0;

impl Seconds {
    /// `8m`, `2h30m`, `90s`, `1d`, and Slurm's own forms (`30` minutes, `MM:SS`, `HH:MM:SS`, `D-HH[:MM[:SS]]`).
    ///
    /// # Errors
    /// What is allowed instead.
    pub fn parse_human(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || {
            format!("`{text}` is not a time: write 90s, 8m, 2h30m or 1d, or a Slurm time (minutes, MM:SS, HH:MM:SS, D-HH:MM:SS)")
        };
        if text.bytes().any(|b| b.is_ascii_alphabetic()) {
            return units(text, true).ok_or_else(wrong);
        }
        slurm(text).ok_or_else(wrong)
    }

    /// A Go duration: `2h30m0s`, `1.5h`, `15µs` (below a second: rounded up).
    ///
    /// # Errors
    /// What is allowed instead.
    pub fn parse_go(text: &str) -> Result<Self, String> {
        if text == "0" {
            return Ok(Self(0));
        }
        units(text, false).ok_or_else(|| format!("`{text}` is not a duration: write it as Go does, such as 2h30m0s"))
    }

    /// From hours, rounded up.
    ///
    /// # Errors
    /// Negative, not finite or beyond ten years.
    pub fn from_hours(hours: f64) -> Result<Self, String> {
        whole(hours * 3_600.0).ok_or_else(|| format!("{hours} is not a number of hours"))
    }
}

/// Rounded up to seconds, within bounds.
fn whole(seconds: f64) -> Option<Seconds> {
    if !seconds.is_finite() || !(0.0..=MOST).contains(&seconds) {
        return None;
    }
    // Checked above.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Some(Seconds(seconds.ceil() as u64))
}

/// Numbers with units, largest forms of both dialects; `days` allows `d`.
fn units(text: &str, days: bool) -> Option<Seconds> {
    let mut rest = text;
    let mut total = 0.0f64;
    if rest.is_empty() || rest.len() > 64 {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest.get(..end)?.parse().ok()?;
        let tail = rest.get(end..)?;
        let len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let scale = match tail.get(..len)? {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "min" if days => 60.0,
            "h" => 3_600.0,
            "d" if days => 86_400.0,
            _ => return None,
        };
        total += number * scale;
        rest = tail.get(len..)?;
    }
    whole(total)
}

fn slurm(text: &str) -> Option<Seconds> {
    let number = |s: &str| -> Option<u64> {
        (!s.is_empty() && s.len() <= 9 && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse().ok())?
    };
    let (days, clock) = match text.split_once('-') {
        Some((d, c)) => (Some(number(d)?), c),
        None => (None, text),
    };
    let parts: Vec<u64> = clock.split(':').map(number).collect::<Option<_>>()?;
    let seconds = match (days, parts.as_slice()) {
        (Some(_), [h]) => h.checked_mul(3_600)?,
        (Some(_), [h, m]) => h.checked_mul(3_600)?.checked_add(m.checked_mul(60)?)?,
        (_, [h, m, s]) => h.checked_mul(3_600)?.checked_add(m.checked_mul(60)?)?.checked_add(*s)?,
        (None, [m, s]) => m.checked_mul(60)?.checked_add(*s)?,
        (None, [m]) => m.checked_mul(60)?,
        _ => return None,
    };
    let total = days.unwrap_or(0).checked_mul(86_400)?.checked_add(seconds)?;
    // Below 2^53: exact.
    #[allow(clippy::cast_precision_loss)]
    whole(total as f64)
}

impl fmt::Display for Seconds {
    /// `2 h 30 min`, `45 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.0 / 86_400, "d"), (self.0 / 3_600 % 24, "h"), (self.0 / 60 % 60, "min"), (self.0 % 60, "s")];
        let shown: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, u)| format!("{n} {u}")).collect();
        if shown.is_empty() { f.write_str("0 s") } else { f.write_str(&shown.join(" ")) }
    }
}
