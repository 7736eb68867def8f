//! Network interfaces: /proc/self/net/dev is one file, and shows this process's own network namespace.

use crate::file;
use burst_plan::report::{MOST_EACH, NicReport};
use std::path::Path;

/// Name, received and sent bytes of each interface since it came up.
#[must_use]
pub fn totals(root: &Path) -> Vec<NicReport> {
    let text = file::kernel(&root.join("proc/self/net/dev"), 256 * 1024).unwrap_or_default();
    text.lines().skip(2).filter_map(interface).collect()
}

/// `  eth0: RX-BYTES packets errs drop fifo frame compressed multicast TX-BYTES …`
fn interface(line: &str) -> Option<NicReport> {
    let (name, rest) = line.rsplit_once(':')?;
    let mut numbers = rest.split_whitespace().map(|n| n.parse::<u64>().ok());
    let rx_bytes = numbers.next()??;
    let tx_bytes = numbers.nth(7)??;
    let name = name.trim();
    (!name.is_empty() && name.len() <= 15).then(|| NicReport { name: name.to_owned(), rx_bytes, tx_bytes })
}

/// What moved since; the busiest come first. An interface that came meanwhile counts from its own beginning, and so does one
/// whose counters began anew.
#[must_use]
pub fn moved(before: &[NicReport], now: &[NicReport]) -> Vec<NicReport> {
    let since = |now: &NicReport| {
        let old = before.iter().find(|b| b.name == now.name);
        let of = |now: u64, old: Option<u64>| now.checked_sub(old.unwrap_or(0)).unwrap_or(now);
        NicReport {
            name: now.name.clone(),
            rx_bytes: of(now.rx_bytes, old.map(|o| o.rx_bytes)),
            tx_bytes: of(now.tx_bytes, old.map(|o| o.tx_bytes)),
        }
    };
    let sum = |n: &NicReport| n.rx_bytes.saturating_add(n.tx_bytes);
    let mut all: Vec<NicReport> = now.iter().map(since).filter(|n| sum(n) > 0).collect();
    all.sort_by(|a, b| sum(b).cmp(&sum(a)).then_with(|| a.name.cmp(&b.name)));
    all.truncate(MOST_EACH);
    all
}
