//! Counters of EFA devices: `/sys/class/infiniband/DEVICE/ports/PORT/hw_counters/*`, or `…/counters/*` where a driver has
//! only those (InfiniBand's `port_*_data` count words of four bytes).

use crate::file;
use burst_plan::report::EfaReport;
use std::path::Path;

/// Most devices that are looked at; the largest instance types have 32.
const DEVICES: usize = 64;

fn is_efa(device: &Path) -> bool {
    std::fs::canonicalize(device.join("device/driver")).is_ok_and(|d| d.ends_with("efa"))
}

fn add(sum: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        *sum = Some(sum.unwrap_or(0).saturating_add(more));
    }
}

/// All EFA devices' totals since they came up; None where there is none.
#[must_use]
pub fn totals(root: &Path) -> Option<EfaReport> {
    let mut all = EfaReport::default();
    for device in std::fs::read_dir(root.join("sys/class/infiniband")).ok()?.flatten().take(DEVICES) {
        let device = device.path();
        if !is_efa(&device) {
            continue;
        }
        all.devices += 1;
        for port in std::fs::read_dir(device.join("ports")).into_iter().flatten().flatten().take(8) {
            let hardware = |name: &str| file::number(&port.path().join("hw_counters").join(name));
            let words = |name: &str| {
                file::number(&port.path().join("counters").join(name)).map(|words| words.saturating_mul(4))
            };
            add(&mut all.rx_bytes, hardware("rx_bytes").or_else(|| words("port_rcv_data")));
            add(&mut all.tx_bytes, hardware("tx_bytes").or_else(|| words("port_xmit_data")));
            add(&mut all.rdma_read_bytes, hardware("rdma_read_bytes"));
            add(&mut all.rdma_write_bytes, hardware("rdma_write_bytes"));
            add(&mut all.rx_drops, hardware("rx_drops"));
        }
    }
    (all.devices > 0).then_some(all)
}

/// What moved since.
#[must_use]
pub fn moved(before: &EfaReport, now: &EfaReport) -> EfaReport {
    let of = |now: Option<u64>, before: Option<u64>| {
        now.map(|now| now.checked_sub(before.unwrap_or(0)).unwrap_or(now))
    };
    EfaReport {
        devices: now.devices,
        rx_bytes: of(now.rx_bytes, before.rx_bytes),
        tx_bytes: of(now.tx_bytes, before.tx_bytes),
        rdma_read_bytes: of(now.rdma_read_bytes, before.rdma_read_bytes),
        rdma_write_bytes: of(now.rdma_write_bytes, before.rdma_write_bytes),
        rx_drops: of(now.rx_drops, before.rx_drops),
    }
}

/// All bytes that EFA moved.
#[must_use]
pub fn bytes(report: &EfaReport) -> u64 {
    let all = [report.rx_bytes, report.tx_bytes, report.rdma_read_bytes, report.rdma_write_bytes];
    all.into_iter().flatten().fold(0, u64::saturating_add)
}
