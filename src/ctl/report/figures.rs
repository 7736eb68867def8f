//! Numbers of the report, and how they are written.

use burst_plan::MicroUsd;

/// `1,234.56 USD`, rounded to the cent; more digits only where there would be none.
pub fn dollars(micro: u64) -> String {
    if micro > 0 && micro < 5_000 {
        return format!("{} USD", MicroUsd(micro));
    }
    let cents = (micro.saturating_add(5_000)) / 10_000;
    format!("{}.{:02} USD", thousands(cents / 100), cents % 100)
}

/// `12,345`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 10 min`, `3 d 04 h`.
pub fn span_ms(ms: u64) -> String {
    let s = ms / 1000;
    match ms {
        0..=999 => format!("{ms} ms"),
        1_000..=99_999 => format!("{}.{} s", s, ms % 1000 / 100),
        100_000..=5_999_999 => format!("{} min {:02} s", s / 60, s % 60),
        6_000_000..=172_799_999 => format!("{} h {:02} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {:02} h", s / 86_400, s / 3600 % 24),
    }
}

/// `1.5 GB`, decimal as networks are.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut shown, mut unit) = (as_f64(n), "B");
    for next in UNITS.iter().skip(1) {
        if shown < 1000.0 {
            break;
        }
        (shown, unit) = (shown / 1000.0, next);
    }
    if unit == "B" { format!("{n} B") } else { format!("{shown:.1} {unit}") }
}

/// For charts, where a rounded last digit cannot be seen.
#[allow(clippy::cast_precision_loss)]
pub fn as_f64(n: u64) -> f64 {
    n as f64
}

/// The value at a share (0..=1) of the sorted values, the nearest rank; None for none.
pub fn quantile(sorted: &[u64], share: f64) -> Option<u64> {
    let last = sorted.len().checked_sub(1)?;
    // In range: share is 0 to 1.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = (share * last as f64).round() as usize;
    sorted.get(at.min(last)).copied()
}

/// The middle value.
pub fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    quantile(&values, 0.5)
}

/// A sum of costs of which some may not be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Money {
    /// What is known, micro-dollars.
    pub known: u64,
    /// Lives whose cost is not known whole.
    pub unknown: usize,
}

impl Money {
    /// Of (total, known part).
    pub fn sum(all: impl Iterator<Item = (Option<MicroUsd>, MicroUsd)>) -> Self {
        let mut out = Self::default();
        for (total, known) in all {
            out.known = out.known.saturating_add(total.unwrap_or(known).0);
            out.unknown += usize::from(total.is_none());
        }
        out
    }

    /// `at least 12.00 USD` where a part is missing.
    pub fn shown(&self) -> String {
        if self.unknown == 0 { dollars(self.known) } else { format!("≥ {}", dollars(self.known)) }
    }

    /// What is missing, in words.
    pub fn note(&self) -> String {
        match self.unknown {
            0 => "instances and volumes, without traffic".to_owned(),
            1 => "at least: the cost of 1 job is not known whole".to_owned(),
            n => format!("at least: the cost of {n} jobs is not known whole"),
        }
    }
}

/// A logarithmic axis from `low` to `high`, as a share of its length.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    low: f64,
    high: f64,
}

impl Log {
    /// Around all values: whole powers of ten, at least one decade.
    pub fn around(values: impl Iterator<Item = u64>) -> Self {
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        for v in values {
            let l = as_f64(v.max(1)).log10();
            (low, high) = (low.min(l), high.max(l));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let low = low.floor();
        Self { low, high: high.ceil().max(low + 1.0) }
    }

    /// 0 to 1.
    pub fn at(&self, value: u64) -> f64 {
        let l = as_f64(value.max(1)).log10();
        ((l - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_as_people_write_them() {
        assert_eq!(dollars(0), "0.00 USD");
        assert_eq!(dollars(1_234_567_890_000), "1,234,567.89 USD");
        assert_eq!(dollars(999_996_000), "1,000.00 USD");
        assert_eq!(dollars(120), "0.00012 USD");
        let spans: Vec<String> =
            [7, 12_345, 245_000, 7_800_000, 273_600_000].into_iter().map(span_ms).collect();
        assert_eq!(spans, ["7 ms", "12.3 s", "4 min 05 s", "2 h 10 min", "3 d 04 h"]);
        assert_eq!([bytes(999), bytes(1_500_000_000)], ["999 B", "1.5 GB"]);
    }

    #[test]
    fn quantiles_by_nearest_rank() {
        assert_eq!(median(vec![3, 1, 2]), Some(2));
        assert_eq!(median(Vec::new()), None);
        let all: Vec<u64> = (1..=101).collect();
        assert_eq!(
            [0.0, 0.25, 0.95, 1.0].map(|q| quantile(&all, q)),
            [Some(1), Some(26), Some(96), Some(101)]
        );
    }

    #[test]
    fn what_is_not_known_is_said() {
        let m = Money::sum(
            [(Some(MicroUsd(2_000_000)), MicroUsd(2_000_000)), (None, MicroUsd(500_000))].into_iter(),
        );
        assert_eq!(m.shown(), "≥ 2.50 USD");
        assert!(m.note().contains("1 job is not known"), "{}", m.note());
    }

    #[test]
    fn a_logarithmic_axis_holds_all_values() {
        let log = Log::around([20, 3_000].into_iter());
        assert_eq!((log.at(10), log.at(10_000), log.at(0), log.at(u64::MAX)), (0.0, 1.0, 0.0, 1.0));
        assert!((log.at(316) - 0.5).abs() < 0.01);
        assert_eq!(Log::around(std::iter::empty()).at(1), 0.0);
    }
}
