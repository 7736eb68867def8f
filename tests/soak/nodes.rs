//! Instances: they boot or do not, ask who they are, start slurmd, report, and end themselves when nobody wants them.

use crate::{
    life::{Outside, ask},
    story::Now,
};
use burst_engine::core::{
    Question,
    ask::{Bootstrap, Report},
};
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

/// orphan_limit of the pool (ms).
const ORPHAN_MS: u64 = 60_000;

/// Watches EC2 and gives every new instance a life.
pub async fn run(out: Outside, now: Now, hopeless: std::sync::Arc<std::sync::atomic::AtomicU64>) {
    let mut known = BTreeSet::new();
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        for id in out.ec2.tagged("slurm-burst:gang").into_keys() {
            if known.insert(id.clone()) {
                let bad = hopeless.load(std::sync::atomic::Ordering::Relaxed);
                let dead = out.dice.chance(bad);
                let boot = out.dice.ms(1_000, 15_000);
                tokio::spawn(live(out.clone(), now.clone(), id, boot, dead));
            }
        }
    }
}

fn alive(out: &Outside, id: &str) -> bool {
    out.ec2.lives(id)
}

/// It ends itself: the dead-man switch, or an order.
fn power_off(out: &Outside, id: &str, why: &str) {
    out.slurm.laws.note(out.dice.passed_ms(), format!("node   {id} powers off: {why}"));
    out.slurm.tables().killed.insert(id.to_owned());
    out.ec2.kill(id);
}

async fn live(out: Outside, now: Now, id: String, boot: Duration, dead: bool) {
    tokio::time::sleep(boot).await;
    let mut heard = out.dice.passed_ms();
    let name = loop {
        if !alive(&out, &id) {
            return;
        }
        if !dead {
            let question = Question::Bootstrap(Bootstrap { instance_id: id.clone(), private_ip: None });
            match ask(now.sender(), question).await {
                Some((200, v)) if v.get("start") == Some(&Value::Bool(true)) => {
                    break v.get("node").and_then(Value::as_str).unwrap_or("").to_owned();
                }
                Some((410, _)) => return power_off(&out, &id, "nobody wants it"),
                Some(_) => heard = out.dice.passed_ms(),
                None => {}
            }
        }
        // Not bootstrapped in time: burst-node's own limit.
        if out.dice.passed_ms() > heard + ORPHAN_MS + 90_000 {
            return power_off(&out, &id, "no controller in time");
        }
        tokio::time::sleep(out.dice.ms(80, 400)).await;
    };
    out.slurm.laws.note(out.dice.passed_ms(), format!("node   {id} is {name}"));
    let mut kind = "started";
    let mut heard = out.dice.passed_ms();
    let mut last = 0;
    let mut registered = false;
    loop {
        if !alive(&out, &id) {
            return;
        }
        // slurmd asks until it is let in, and then no more.
        registered = registered || out.slurm.register(&name, &id);
        let at = out.dice.passed_ms();
        if at >= last + 6_000 {
            last = at;
            let report = Report { instance_id: id.clone(), kind: kind.into(), detail: String::new() };
            match ask(now.sender(), Question::Report(report)).await {
                Some((200, v)) => {
                    heard = out.dice.passed_ms();
                    kind = "alive";
                    if v.get("orders").and_then(Value::as_str) == Some("register") {
                        out.slurm.laws.note(out.dice.passed_ms(), format!("node   {id} registers again"));
                        registered = false;
                    }
                    if v.get("orders").and_then(Value::as_str) == Some("poweroff") {
                        if out.slurm.busy(&id) {
                            let text = format!("{id} is ordered off under a job");
                            out.slurm.laws.broke(out.dice.passed_ms(), text);
                        }
                        return power_off(&out, &id, "ordered");
                    }
                }
                Some((503, _)) | None => {}
                Some(_) => heard = out.dice.passed_ms(),
            }
        }
        if out.dice.passed_ms() > heard + ORPHAN_MS && !out.slurm.busy(&id) {
            return power_off(&out, &id, "orphan");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
