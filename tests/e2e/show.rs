//! What `scontrol show` says, read from its text.

use std::collections::BTreeMap;

/// One record.
pub type Fields = BTreeMap<String, String>;

/// Lines whose value is free text up to the end of the line.
const FREE: &[&str] = &[
    "AdminComment",
    "Comment",
    "Command",
    "WorkDir",
    "StdErr",
    "StdIn",
    "StdOut",
    "SystemComment",
    "Reason",
    "OS",
];

/// The records of `scontrol show job` or `scontrol show node` in the form of several lines, separated by blank ones.
#[must_use]
pub fn records(text: &str) -> Vec<Fields> {
    let mut all = Vec::new();
    let mut now = Fields::new();
    for line in text.lines().chain([""]) {
        let line = line.trim();
        if line.is_empty() {
            if !now.is_empty() {
                all.push(std::mem::take(&mut now));
            }
            continue;
        }
        if let Some((key, value)) = line.split_once('=').filter(|(k, _)| FREE.contains(k)) {
            now.insert(key.into(), value.into());
            continue;
        }
        for word in line.split_whitespace() {
            if let Some((key, value)) = word.split_once('=') {
                now.insert(key.into(), value.into());
            }
        }
    }
    all
}

/// A field, empty when there is none.
#[must_use]
pub fn field<'a>(fields: &'a Fields, key: &str) -> &'a str {
    fields.get(key).map_or("", String::as_str)
}

/// Expands `a[01-03,7],b` into names; what is no hostlist comes back as it is.
#[must_use]
pub fn hosts(list: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut depth = 0;
    for part in list.split(|c: char| {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    }) {
        let Some((prefix, rest)) = part.split_once('[') else {
            if !part.is_empty() && part != "(null)" {
                all.push(part.into());
            }
            continue;
        };
        let Some((ranges, suffix)) = rest.split_once(']') else { continue };
        for range in ranges.split(',') {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            if let (Ok(a), Ok(b)) = (from.parse::<u64>(), to.parse::<u64>()) {
                let width = from.len();
                all.extend(
                    (a..=b.min(a.saturating_add(100_000))).map(|n| format!("{prefix}{n:0width$}{suffix}")),
                );
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_records() {
        let text = "JobId=7 JobName=x y\n   JobState=PENDING Reason=JobHeldAdmin Dependency=(null)\n   \
                    AdminComment=[burst 0123456789abcdef] waiting: type=hpc7a none free \n\nJobId=8 JobName=z\n\n";
        let all = records(text);
        assert_eq!(all.len(), 2);
        assert_eq!(field(&all[0], "JobState"), "PENDING");
        assert_eq!(field(&all[0], "Reason"), "JobHeldAdmin");
        assert_eq!(field(&all[0], "AdminComment"), "[burst 0123456789abcdef] waiting: type=hpc7a none free");
        assert_eq!(field(&all[1], "JobId"), "8");
        assert_eq!(field(&all[1], "AdminComment"), "");
    }

    #[test]
    fn host_lists() {
        assert_eq!(
            hosts("efa7-[0001-0003,0010],x,(null)"),
            ["efa7-0001", "efa7-0002", "efa7-0003", "efa7-0010", "x"]
        );
        assert!(hosts("(null)").is_empty());
        assert!(hosts("").is_empty());
        assert_eq!(hosts("local1"), ["local1"]);
    }
}
