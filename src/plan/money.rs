//! Money as integer micro-dollars.
use serde::{Deserialize, Serialize};
use std::fmt;

#[cfg(test)]
mod tests;

/// US dollars × 10⁻⁶. Arithmetic saturates: a limit must never be passed by overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroUsd(pub u64);

/// Largest amount a person may write: a thousand million dollars.
const MOST_USD: f64 = 1e9;
/// The same in micro-dollars.
const MOST: u64 = 1_000_000_000_000_000;

impl MicroUsd {
    /// Reads `12`, `12.5`, `0.000001`, up to a thousand million. No sign, no exponent, no currency.
    ///
    /// # Errors
    /// What is allowed instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            let shown = crate::clean(text, 40);
            format!(
                "`{shown}` is not an amount in USD: write digits, at most six after the point, such as 12.50"
            )
        };
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 10 || part.len() > 6 || !digits(whole) || !digits(part) {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let part: u64 = format!("{part:0<6}").parse().map_err(|_| wrong())?;
        let all = whole * 1_000_000 + part;
        if all > MOST {
            return Err(format!("{text} USD is more than 1000000000, the most that can be written"));
        }
        Ok(Self(all))
    }

    /// From a JSON or TOML number, rounded to the nearest micro-dollar; what is more than nothing stays more than nothing,
    /// because nothing often means "no limit".
    ///
    /// # Errors
    /// Negative, not finite, or beyond any real amount.
    pub fn from_f64(usd: f64) -> Result<Self, String> {
        if !usd.is_finite() || usd.is_sign_negative() && usd != 0.0 || usd > MOST_USD {
            return Err(format!("{usd} is not an amount in USD: write a number from 0 to 1000000000"));
        }
        // In range and not negative: checked above.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(Self(((usd * 1e6).round() as u64).max(u64::from(usd > 0.0))))
    }

    /// What `self` an hour comes to in so many seconds, rounded up.
    #[must_use]
    pub fn hourly_for(self, seconds: u64) -> Self {
        let exact = u128::from(self.0) * u128::from(seconds);
        Self(u64::try_from(exact.div_ceil(3_600)).unwrap_or(u64::MAX))
    }

    /// Times a count.
    #[must_use]
    pub fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// Sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for MicroUsd {
    /// `12.50`; more digits only where two do not tell the whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if part % 10_000 == 0 {
            return write!(f, "{whole}.{:02}", part / 10_000);
        }
        let digits = format!("{part:06}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}
