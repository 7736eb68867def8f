//! Durations in the forms users, Slurm and Go programs write them.
use serde::{Deserialize, Serialize};
use std::fmt;

#[cfg(test)]
mod tests;

/// A whole number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

/// Longest duration taken anywhere: ten years.
const MOST: u64 = 10 * 366 * 86_400;
const NANOS: u128 = 1_000_000_000;

impl Seconds {
    /// `8m`, `2h30m`, `90s`, `1d`, `1.5h`, `2 h 30 min`, and Slurm's own forms (`30` minutes, `MM:SS`, `HH:MM:SS`,
    /// `D-HH[:MM[:SS]]`). A bare number is minutes, as in every time that Slurm reads.
    ///
    /// # Errors
    /// What is allowed instead.
    pub fn parse_human(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || {
            let shown = crate::clean(text, 40);
            format!(
                "`{shown}` is not a time: write 90s, 8m, 2h30m or 1d, or a Slurm time (minutes, MM:SS, HH:MM:SS, D-HH:MM:SS)"
            )
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
        units(text, false).ok_or_else(|| {
            let shown = crate::clean(text, 40);
            format!("`{shown}` is not a duration: write it as Go does, such as 2h30m0s")
        })
    }

    /// From hours, rounded up; what is less than a millisecond is a float's own error (1.1 h are 3960 s).
    ///
    /// # Errors
    /// Negative, not finite or beyond ten years.
    pub fn from_hours(hours: f64) -> Result<Self, String> {
        let millis = (hours * 3_600_000.0).round();
        if !(0.0..=3.2e11).contains(&millis) {
            return Err(format!("{hours} is not a number of hours"));
        }
        // In range and not negative: checked above.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let seconds = (millis as u64).div_ceil(1_000);
        bounded(seconds).ok_or_else(|| format!("{hours} hours are more than ten years"))
    }

    /// From nanoseconds, as Go writes a `time.Duration` into JSON; rounded up.
    #[must_use]
    pub fn from_nanos(nanos: u64) -> Self {
        Self(nanos.div_ceil(1_000_000_000))
    }
}

fn bounded(seconds: u64) -> Option<Seconds> {
    (seconds <= MOST).then_some(Seconds(seconds))
}

/// Numbers with units, in any order; `human` allows `d`, `min` and spaces. Exact: decimal fractions are not binary ones.
fn units(text: &str, human: bool) -> Option<Seconds> {
    if text.is_empty() || text.len() > 64 {
        return None;
    }
    let mut rest = text;
    let mut total = 0u128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number = rest.get(..end)?;
        let tail = rest.get(end..)?;
        let tail = if human { tail.trim_start_matches(' ') } else { tail };
        let len = tail.find(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').unwrap_or(tail.len());
        let scale = match tail.get(..len)? {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOS,
            "m" => 60 * NANOS,
            "min" if human => 60 * NANOS,
            "h" => 3_600 * NANOS,
            "d" if human => 86_400 * NANOS,
            _ => return None,
        };
        total += scaled(number, scale)?;
        rest = tail.get(len..)?;
        if human {
            rest = rest.trim_start_matches(' ');
        }
    }
    bounded(u64::try_from(total.div_ceil(NANOS)).ok()?)
}

/// `1.5` × scale. Digits beyond the ninth after the point are dropped: they are below a microsecond of a day.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() || whole.len() > 18 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u128 = format!("{:0<9.9}", part).parse().ok()?;
    Some(whole * scale + (part * scale).div_ceil(NANOS))
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
    bounded(days.unwrap_or(0).checked_mul(86_400)?.checked_add(seconds)?)
}

impl fmt::Display for Seconds {
    /// `2 h 30 min`, `45 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.0 / 86_400, "d"),
            (self.0 / 3_600 % 24, "h"),
            (self.0 / 60 % 60, "min"),
            (self.0 % 60, "s"),
        ];
        let shown: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, u)| format!("{n} {u}")).collect();
        if shown.is_empty() { f.write_str("0 s") } else { f.write_str(&shown.join(" ")) }
    }
}
