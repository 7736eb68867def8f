//! Wall-clock time as EC2 writes it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// ISO 8601 with milliseconds, in UTC.
pub fn iso8601(ms: u64) -> String {
    let (y, mo, d, h, mi, s) = civil(ms / 1000);
    format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{:03}Z", ms % 1000)
}

/// ISO 8601 to the second, as the instance metadata service writes times.
pub fn iso8601_seconds(ms: u64) -> String {
    let (y, mo, d, h, mi, s) = civil(ms / 1000);
    format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}Z")
}

/// "2026-01-02 03:04:05 GMT", the form used in state transition reasons.
pub fn gmt(ms: u64) -> String {
    let (y, mo, d, h, mi, s) = civil(ms / 1000);
    format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02} GMT")
}

/// Days-to-civil of the proleptic Gregorian calendar, counted in eras of 400 years from 0000-03-01.
fn civil(secs: u64) -> (u64, u64, u64, u64, u64, u64) {
    let z = secs / 86_400 + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    let t = secs % 86_400;
    (year, month, day, t / 3600, t / 60 % 60, t % 60)
}

#[cfg(test)]
mod tests {
    #[test]
    fn known_dates() {
        assert_eq!(super::iso8601(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(super::iso8601(951_782_400_007), "2000-02-29T00:00:00.007Z");
        assert_eq!(super::iso8601_seconds(1_790_000_000_000), "2026-09-21T14:13:20Z");
        assert_eq!(super::gmt(1_790_000_000_000), "2026-09-21 14:13:20 GMT");
    }
}
