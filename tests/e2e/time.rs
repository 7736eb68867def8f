//! Slurm's times. Every command of the harness runs with TZ=UTC, so no time zone is needed.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch.
#[must_use]
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// `2026-11-23T22:38:07` or `2026-11-23T22:38:07.123` in milliseconds since the epoch; None for Unknown and the like.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let (date, clock) = text.trim().split_once('T')?;
    let mut d = date.splitn(3, '-').map(|n| n.parse::<u64>().ok());
    let (year, month, day) = (d.next()??, d.next()??, d.next()??);
    let (clock, ms) = match clock.split_once('.') {
        Some((c, f)) => (c, f.get(..3).unwrap_or(f).parse::<u64>().ok()?),
        None => (clock, 0),
    };
    let mut c = clock.splitn(3, ':').map(|n| n.parse::<u64>().ok());
    let (h, m, s) = (c.next()??, c.next()??, c.next()??);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || h > 23 || m > 59 || s > 60 {
        return None;
    }
    // Days from 0000-03-01, counted with years that begin in March so that the leap day is the last.
    let (y, mp) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (153 * mp + 2) / 5 + day - 1;
    Some(((days.checked_sub(719_468)? * 24 + h) * 3600 + m * 60 + s) * 1000 + ms)
}

/// Seconds with one decimal.
#[must_use]
pub fn seconds(ms: u64) -> String {
    format!("{}.{}s", ms / 1000, ms % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn known_times() {
        assert_eq!(parse("1970-01-01T00:00:00"), Some(0));
        assert_eq!(parse("2000-02-29T00:00:00.007"), Some(951_782_400_007));
        assert_eq!(parse("2026-09-21T14:13:20"), Some(1_790_000_000_000));
        for bad in ["Unknown", "None", "", "2026-13-01T00:00:00", "2026-01-01T25:00:00", "x-y-zT1:2:3"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
