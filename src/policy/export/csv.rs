//! Lives as a table (RFC 4180): a line each, amounts in USD, times in Unix seconds, an empty cell for what is not known.

use crate::{life::Life, record::moved_once};
use burst_plan::MicroUsd;

/// Columns, in their order.
const HEAD: &str = "job,restart,name,user,account,partition,pool,state,exit_code,submit,start,end,run_s,nodes,cpus,\
                    instance_types,zones,markets,attempts,paid,interrupted,hold_s,wait_s,grant_s,boot_s,release_s,start_s,\
                    provisioning_s,terminate_s,predicted_run_s,cost_usd,compute_usd,storage_usd,wasted_usd,\
                    spot_savings_usd,known_usd,efa_bytes,nic_bytes,reports,reports_missing,gang";

/// The head and a line for each life.
#[must_use]
pub fn csv(lives: &[Life]) -> String {
    let mut out = format!("{HEAD}\r\n");
    for life in lives {
        let cells: Vec<String> = row(life).iter().map(|c| cell(c)).collect();
        out.push_str(&cells.join(","));
        out.push_str("\r\n");
    }
    out
}

/// Quoted where it must be. A text that a spreadsheet would take for a formula begins with an apostrophe: names come from
/// users.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn some<T: ToString>(v: Option<T>) -> String {
    v.map(|v| v.to_string()).unwrap_or_default()
}

fn seconds(ms: Option<u64>) -> String {
    ms.map(|ms| format!("{}.{:03}", ms / 1000, ms % 1000)).unwrap_or_default()
}

/// Different words of the instances that served, in the order of their launch.
fn words<'a>(life: &'a Life, of: impl Fn(&'a crate::life::Ran) -> &'a str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for word in life.served().map(of) {
        if !word.is_empty() && !out.contains(&word) {
            out.push(word);
        }
    }
    out.join(" ")
}

/// Bytes that all steps of all nodes moved: over EFA (both ways, with RDMA), and over interfaces other than `lo`; None
/// where nothing was measured.
#[must_use]
pub fn moved(life: &Life) -> (Option<u64>, Option<u64>) {
    let efa = life.reports.iter().filter_map(|r| {
        moved_once(r, |s| {
            let e = s.efa.as_ref()?;
            let all = [e.rx_bytes, e.tx_bytes, e.rdma_read_bytes, e.rdma_write_bytes];
            all.into_iter().flatten().reduce(u64::saturating_add)
        })
    });
    let nic = life.reports.iter().filter_map(|r| {
        moved_once(r, |s| {
            let away = s.nics.iter().filter(|n| n.name != "lo");
            away.map(|n| n.rx_bytes.saturating_add(n.tx_bytes)).reduce(u64::saturating_add)
        })
    });
    (efa.reduce(u64::saturating_add), nic.reduce(u64::saturating_add))
}

fn row(l: &Life) -> Vec<String> {
    let usd = |m: Option<MicroUsd>| some(m);
    let (d, c, s) = (l.phases.durations(), &l.cost, &l.slurm);
    let (efa, nic) = moved(l);
    vec![
        l.text.clone(),
        l.restart.to_string(),
        l.name.clone(),
        l.user.clone(),
        l.account.clone(),
        l.partition.clone(),
        l.pool.clone(),
        s.state.clone(),
        some(s.exit_code),
        some(s.submit),
        some(s.start),
        some(s.end),
        some(l.run_s()),
        some(s.node_count),
        some(s.cpus),
        words(l, |i| &i.instance_type),
        words(l, |i| &i.zone),
        words(l, |i| i.market.map_or("", burst_plan::Market::word)),
        l.attempts.to_string(),
        l.paid.to_string(),
        l.instances.iter().filter(|i| i.interrupted).count().to_string(),
        seconds(d.hold),
        seconds(d.wait),
        seconds(d.grant),
        seconds(d.boot),
        seconds(d.release),
        seconds(d.start),
        seconds(d.provisioning),
        seconds(d.terminate),
        some(l.plan.as_ref().and_then(|p| p.expected_runtime).map(|t| t.0)),
        usd(c.total),
        usd(c.compute),
        usd(c.storage),
        usd(c.wasted),
        usd(c.spot_savings),
        c.known.to_string(),
        some(efa),
        some(nic),
        l.reports.len().to_string(),
        l.missing.len().to_string(),
        l.gang.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::{Cost, Phases, Ran, SlurmFacts};
    use burst_plan::{
        Market, Plan, Seconds,
        report::{EfaReport, NicReport, NodeReport, StepReport},
    };

    #[test]
    fn every_column_has_its_value_and_what_is_not_known_is_empty() {
        let step = StepReport {
            nics: vec![
                NicReport { name: "ens5".into(), rx_bytes: 3, tx_bytes: 4 },
                NicReport { name: "lo".into(), rx_bytes: 100, tx_bytes: 100 },
            ],
            efa: Some(EfaReport {
                devices: 1,
                rx_bytes: Some(10),
                tx_bytes: Some(20),
                ..EfaReport::default()
            }),
            ..StepReport::default()
        };
        let ran = |zone: &str| Ran {
            instance_type: "a.b".into(),
            zone: zone.into(),
            market: Some(Market::Spot),
            interrupted: zone == "z2",
            ..Ran::default()
        };
        let life = Life {
            text: "17".into(),
            name: "=cmd|' /C calc'!A0".into(),
            user: "al,\"ice\"".into(),
            slurm: SlurmFacts {
                state: "COMPLETED".into(),
                start: Some(100),
                end: Some(160),
                ..SlurmFacts::default()
            },
            phases: Phases { launch_ms: Some(1_000), granted_ms: Some(2_050), ..Phases::default() },
            instances: vec![ran("z1"), ran("z2"), ran("z1")],
            plan: Some(Plan { expected_runtime: Some(Seconds(90)), ..Plan::default() }),
            cost: Cost { total: Some(MicroUsd(1_500_000)), known: MicroUsd(1_500_000), ..Cost::default() },
            reports: vec![NodeReport { steps: vec![step], ..NodeReport::default() }],
            ..Life::default()
        };
        let text = csv(&[life.clone(), Life::default()]);
        let lines: Vec<&str> = text.split("\r\n").collect();
        let wanted = "17,0,'=cmd|' /C calc'!A0,\"al,\"\"ice\"\"\",,,,COMPLETED,,,100,160,60,,,a.b,z1 z2,spot,0,0,1,,,1.050\
                      ,,,,,,90,1.50,,,,,1.50,30,7,1,0,";
        assert_eq!(lines[1], wanted);
        let columns = HEAD.split(',').count();
        assert_eq!(lines[2].split(',').count(), columns);
        assert_eq!(row(&life).len(), columns);
        assert_eq!(lines[2], ",0,,,,,,,,,,,,,,,,,0,0,0,,,,,,,,,,,,,,,0.00,,,0,0,");
    }
}
