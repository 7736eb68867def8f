//! Times and durations in text.

/// `2026-11-25T21:43:26Z` of Unix seconds (proleptic Gregorian calendar, UTC).
#[must_use]
pub fn rfc3339(unix: u64) -> String {
    let (days, s) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", s / 3_600, s / 60 % 60, s % 60)
}

/// Year, month and day of a day since 1970-01-01.
#[must_use]
pub(crate) fn date(days: u64) -> (u64, u64, u64) {
    // In years that begin on 1 March, so that the leap day is the last one.
    let z = days.saturating_add(719_468);
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, day)
}

/// `1h2m3.5s`, as Go's `time.Duration` writes it.
#[must_use]
pub fn go_duration(ms: u64) -> String {
    let (s, part) = (ms / 1_000, ms % 1_000);
    if s == 0 && part > 0 {
        return format!("{part}ms");
    }
    let mut out = String::new();
    if s >= 3_600 {
        out.push_str(&format!("{}h", s / 3_600));
    }
    if s >= 60 {
        out.push_str(&format!("{}m", s / 60 % 60));
    }
    let fine = format!("{part:03}");
    match fine.trim_end_matches('0') {
        "" => out.push_str(&format!("{}s", s % 60)),
        fine => out.push_str(&format!("{}.{fine}s", s % 60)),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_764_107_006, "2025-11-25T21:43:26Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(unix), text);
        }
        assert!(rfc3339(u64::MAX).ends_with('Z'), "no time is too far");
    }

    #[test]
    fn durations_are_as_go_writes_them() {
        for (ms, text) in [
            (0, "0s"),
            (15, "15ms"),
            (60_000, "1m0s"),
            (3_723_500, "1h2m3.5s"),
            (61_050, "1m1.05s"),
            (9_000_000, "2h30m0s"),
        ] {
            assert_eq!(go_duration(ms), text);
        }
    }
}
