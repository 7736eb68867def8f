//! The administrator's side, under `/_sim/`: looking at the account and disturbing it.

use crate::clock::now_ms;
use crate::config::Knobs;
use crate::sim::Sim;
use crate::world::{State, World};
use crate::{capacity, faults};
use axum::http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Answer: status, content type, text.
pub type Answer = (u16, &'static str, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Notice {
    id: String,
    #[serde(default = "two_minutes")]
    seconds: f64,
}

fn two_minutes() -> f64 {
    120.0
}

fn read<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, (u16, String)> {
    serde_json::from_slice(body).map_err(|e| (400, e.to_string()))
}

/// Things as JSON.
fn list<T: serde::Serialize>(all: impl Iterator<Item = T>) -> Vec<Value> {
    all.filter_map(|t| serde_json::to_value(t).ok()).collect()
}

/// Answers a request for `path` (what follows `/_sim/`).
pub fn answer(sim: &Sim, method: &Method, path: &str, body: &[u8]) -> Answer {
    if (method, path) == (&Method::GET, "audit") {
        return match std::fs::read_to_string(sim.audit.path()) {
            Ok(text) => (200, "application/x-ndjson", text),
            Err(e) => (500, "text/plain", e.to_string()),
        };
    }
    if (method, path) == (&Method::GET, "healthz") {
        return (200, "text/plain", "ok\n".into());
    }
    match order(sim, method, path, body) {
        Ok(v) => (200, "application/json", format!("{v}\n")),
        Err((status, why)) => (status, "application/json", format!("{}\n", json!({"error": why}))),
    }
}

fn order(sim: &Sim, method: &Method, path: &str, body: &[u8]) -> Result<Value, (u16, String)> {
    let note = |what: &str| {
        let detail = serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
        sim.audit.note(what, detail);
    };
    match (method.as_str(), path) {
        ("GET", "state") => {
            let all = |f: fn(&World) -> Vec<Value>| -> Vec<Value> {
                sim.everywhere().flat_map(|s| f(&s.world())).collect()
            };
            let (instances, fleets) = (all(|w| list(w.instances.values())), all(|w| list(w.fleets.values())));
            let (groups, templates) = (all(|w| list(w.groups.values())), all(|w| list(w.templates.values())));
            let w = sim.world();
            Ok(json!({
                "instances": instances, "fleets": fleets, "groups": groups, "templates": templates,
                "capacity": w.capacity, "reservations": w.reservations.values().collect::<Vec<_>>(), "faults": w.faults, "knobs": w.knobs, "fleet_calls": w.fleet_calls,
            }))
        }
        ("GET", "living") => {
            let of = |w: &World| list(w.instances.values().filter(|i| i.state != State::Terminated));
            let all: Vec<Value> = sim.everywhere().flat_map(|s| of(&s.world())).collect();
            Ok(json!({"instances": all}))
        }
        ("POST", "capacity") => {
            let rule: capacity::Rule = read(body)?;
            // A zone is one Region's: elsewhere the rule says nothing.
            for region in sim.everywhere() {
                let mut rule = rule.clone();
                let mut w = region.world();
                // Counted from now, as the caller cannot know how many calls there were.
                if rule.after_fleets > 0 {
                    rule.after_fleets += w.fleet_calls;
                } else {
                    w.capacity.retain(|r| {
                        (&r.itype, &r.zone, &r.market) != (&rule.itype, &rule.zone, &rule.market)
                    });
                }
                w.capacity.push(rule);
            }
            note("capacity-set");
            Ok(json!({"ok": true, "capacity": sim.world().capacity}))
        }
        ("POST", "reservation") => {
            let r: crate::reserve::Reservation = read(body)?;
            let there = sim.everywhere().find(|s| s.cfg.zones.contains(&r.zone)).unwrap_or(sim);
            r.check(&there.cfg.zones).map_err(|e| (400, e))?;
            there.world().reservations.insert(r.id.clone(), r);
            note("reservation-set");
            Ok(json!({"ok": true}))
        }
        ("POST", "fault") => {
            let rule: faults::Rule = read(body)?;
            sim.world().faults.push(rule);
            note("fault-set");
            Ok(json!({"ok": true}))
        }
        ("DELETE", "faults") => {
            sim.world().faults.clear();
            note("faults-cleared");
            Ok(json!({"ok": true}))
        }
        ("POST", "settings") => {
            let change: serde_json::Map<String, Value> = read(body)?;
            let mut w = sim.world();
            let mut all = serde_json::to_value(&w.knobs).map_err(|e| (500, e.to_string()))?;
            if let Value::Object(m) = &mut all {
                m.extend(change);
            }
            w.knobs = serde_json::from_value::<Knobs>(all).map_err(|e| (400, e.to_string()))?;
            for far in sim.regions.values() {
                far.world().knobs = w.knobs.clone();
            }
            note("settings-changed");
            Ok(json!({"ok": true, "knobs": w.knobs}))
        }
        ("POST", "stop-instance") => {
            let which: Which = read(body)?;
            let sim = sim.holder(&which.id);
            let pid = {
                let w = sim.world();
                let i = w.instances.get(&which.id).filter(|i| i.state.up());
                i.ok_or((404, format!("no running instance {}", which.id)))?.pid
            };
            note("instance-killed");
            match pid {
                Some(pid) => sim.processes.kill(pid, &which.id),
                None => sim.process_ended(&which.id, "stopped by the administrator"),
            }
            Ok(json!({"ok": true}))
        }
        ("POST", "hang-instance") => {
            let which: Which = read(body)?;
            let sim = sim.holder(&which.id);
            let mut w = sim.world();
            let i = w.instances.get_mut(&which.id).filter(|i| i.state == crate::world::State::Pending);
            i.ok_or((404, format!("no pending instance {}", which.id)))?.hung = true;
            note("instance-hung");
            Ok(json!({"ok": true}))
        }
        ("POST", "spot-notice") => {
            let n: Notice = read(body)?;
            if !(0.0..=86_400.0).contains(&n.seconds) {
                return Err((400, "seconds must be between 0 and 86400".into()));
            }
            let sim = sim.holder(&n.id);
            let delay = Duration::from_secs_f64(n.seconds);
            {
                let mut w = sim.world();
                let i = w.instances.get_mut(&n.id).filter(|i| i.state.up() && i.market == "spot");
                let i = i.ok_or((404, format!("no running spot instance {}", n.id)))?;
                let at = now_ms().saturating_add(u64::try_from(delay.as_millis()).unwrap_or(0));
                i.notice = Some(("terminate".into(), at));
            }
            note("spot-notice");
            if let Some(me) = sim.me.upgrade() {
                sim.runtime.spawn(async move {
                    tokio::time::sleep(delay).await;
                    me.end_instance(
                        &mut me.world(),
                        &n.id,
                        "Server.SpotInstanceTermination",
                        "Spot instance termination",
                    );
                });
            }
            Ok(json!({"ok": true}))
        }
        _ => Err((
            404,
            format!(
                "no {method} /_sim/{path}; there are GET state, living, audit, healthz; POST capacity, reservation, fault, settings, stop-instance, hang-instance, spot-notice; DELETE faults"
            ),
        )),
    }
}
