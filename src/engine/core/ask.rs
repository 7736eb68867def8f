//! Questions from instances and people, answered from the core's own state.

use super::{Core, Slot, operate::Wish};
use crate::{journal::Reply, views};
use burst_policy::gang::{Member, Phase, Seen};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::HashSet, net::IpAddr};
use tokio::sync::oneshot;

/// An instance asks who it is (docs/WIRE.md `/v1/bootstrap`).
#[derive(Debug, Clone, Deserialize)]
pub struct Bootstrap {
    /// `i-…`.
    pub instance_id: String,
    /// Its own idea of its address.
    #[serde(default)]
    pub private_ip: Option<IpAddr>,
}

/// An instance reports (docs/WIRE.md `/v1/report`).
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    /// `i-…`.
    pub instance_id: String,
    /// `started`, `alive`, `failed`.
    pub kind: String,
    /// What and why.
    #[serde(default)]
    pub detail: String,
}

/// What can be asked.
#[derive(Debug, Clone)]
pub enum Question {
    /// Who am I?
    Bootstrap(Bootstrap),
    /// So am I.
    Report(Report),
    /// What a node saw of a job.
    JobReport(Box<super::reports::JobReport>),
    /// All that this uid may see.
    Status {
        /// Asking.
        uid: u32,
        /// Sees all.
        operator: bool,
    },
    /// One job.
    Explain {
        /// Asking.
        uid: u32,
        /// Sees all.
        operator: bool,
        /// `12` or `12_3`.
        job: String,
    },
    /// How long job_submit took.
    Timings,
    /// End a gang.
    Terminate {
        /// GANG or GANG_TASK.
        gang: String,
        /// Asking.
        uid: u32,
    },
    /// Slurm's power thread asked for names (burst-power).
    Power {
        /// `resume` or `suspend`.
        op: String,
        /// Names.
        nodes: Vec<String>,
    },
    /// An operator's word; `who` in words.
    Operate {
        /// What.
        wish: Wish,
        /// Asking.
        who: String,
    },
    /// For collection: what must not be touched.
    Living,
    /// For `/metrics`.
    Metrics,
}

/// What is answered.
#[derive(Debug)]
pub enum Answer {
    /// HTTP status and body.
    Json(u16, Value),
    /// Instances of living gangs, and keys of gangs whose launch has no known answer.
    Living(HashSet<String>, HashSet<String>),
    /// Done, and to be told so when it is on disk.
    Kept(oneshot::Receiver<Reply>, Value),
}

pub(super) fn error(status: u16, code: &str, text: impl Into<String>) -> Answer {
    Answer::Json(status, json!({"error": text.into(), "code": code}))
}

impl Core {
    pub(super) fn answer(&mut self, question: Question) -> Answer {
        if !self.hands.controller.active() && !matches!(question, Question::Living | Question::Metrics) {
            return error(503, "standby", "this controller is not the active one");
        }
        match question {
            Question::Bootstrap(b) => self.bootstrap(&b),
            Question::Report(r) => self.report(&r),
            Question::JobReport(_) => error(500, "internal", "a report is answered when it is on disk"),
            Question::Status { uid, operator } => Answer::Json(200, views::status(self, uid, operator)),
            Question::Explain { uid, operator, job } => self.explain(uid, operator, &job),
            Question::Terminate { gang, uid } => self.end_gang(&gang, uid),
            Question::Power { op, nodes } => self.power(&op, &nodes),
            Question::Operate { wish, who } => self.operate(wish, &who),
            // Before the job table was seen once, nobody knows what runs.
            Question::Living if !self.looked => error(503, "early", "the job table has not been read yet"),
            Question::Living => {
                let living = || self.slots.values().map(|s| &s.gang).filter(|g| g.is_living());
                let ids = living().flat_map(|g| g.all_instances().cloned().collect::<Vec<_>>()).collect();
                let open = living()
                    .filter(|g| matches!(g.phase, Phase::Launching { .. }))
                    .map(|g| g.key())
                    // What the journal lost and Slurm still runs is nobody's to end before its job is over.
                    .chain(self.lost_running.iter().cloned())
                    .collect();
                Answer::Living(ids, open)
            }
            Question::Timings => Answer::Json(200, views::timings(&self.hands.shared.timings)),
            Question::Metrics => Answer::Json(200, Value::String(views::metrics(self))),
        }
    }

    fn find(&mut self, instance: &str) -> Option<(String, usize)> {
        self.slots.iter().filter(|(_, s)| s.gang.is_living()).find_map(|(k, s)| {
            let i = s.gang.members.iter().position(|m| m.instance == instance)?;
            Some((k.clone(), i))
        })
    }

    fn with<T>(&mut self, key: &str, i: usize, f: impl FnOnce(&mut Member) -> T) -> Option<T> {
        let slot = self.slots.get_mut(key)?;
        let member = slot.gang.members.get_mut(i)?;
        let out = f(member);
        // A restart must not forget who has asked: an instance asks once.
        self.unsaved.0.insert(key.to_owned());
        self.dirty.insert(key.to_owned());
        Some(out)
    }

    fn bootstrap(&mut self, ask: &Bootstrap) -> Answer {
        let Some((key, i)) = self.find(&ask.instance_id) else {
            let open = self.slots.values().any(|s| matches!(s.gang.phase, Phase::Launching { .. }));
            let young = self.now().saturating_sub(self.born_ms) < 30_000;
            if open || young {
                return Answer::Json(
                    202,
                    json!({"retry_ms": 100, "why": "the fleet's answer is not written yet"}),
                );
            }
            return error(410, "unwanted", format!("no living gang wants {}", ask.instance_id));
        };
        let known = self.slots.get(&key).and_then(|s| s.gang.members.get(i)).cloned();
        let Some(member) = known else { return error(410, "unwanted", "gone") };
        if let (Some(theirs), Some(ours)) = (ask.private_ip, member.ip)
            && theirs != ours
        {
            let text =
                format!("{} has address {ours} in EC2, but {theirs} asks for its name", ask.instance_id);
            self.hands.controller.log(crate::controller::Loud::Error, &text);
            return error(409, "address", text);
        }
        if !member.asked {
            self.with(&key, i, |m| m.asked = true);
        }
        let Some(slot) = self.slots.get(&key) else { return error(410, "unwanted", "gone") };
        if matches!(slot.gang.phase, Phase::Ending { .. } | Phase::Failed(_) | Phase::Done) {
            return error(410, "unwanted", "its gang is being given back");
        }
        // Slurm must know the address first. One that goes down would not be let in (slurm-22.05 node_mgr.c
        // `waiting_for_node_power_down`).
        let view = self.node_view(&member.node);
        if !member.up || view.powering_down || view.power_down_asked {
            return Answer::Json(200, json!({"node": member.node, "start": false, "retry_ms": 50}));
        }
        let pool = self.hands.shared.snapshot.load();
        let pool = pool.config.as_ref().and_then(|c| c.pools.get(&slot.gang.pool));
        let orphan = pool.map_or(900, |p| p.orphan_limit.0);
        Answer::Json(
            200,
            json!({
                "node": member.node, "start": true, "slurmd_args": ["-b"], "orphan_limit_s": orphan,
                "report_s": (orphan / 10).clamp(1, 30), "deadline_unix": self.deadline(slot),
            }),
        )
    }

    /// When the job must be over, with the site's margins; before it has begun: at the latest that its limits allow.
    fn deadline(&self, slot: &Slot) -> Option<u64> {
        let Seen::Is(view) = &slot.seen else { return None };
        let snapshot = self.hands.shared.snapshot.load();
        let pool = snapshot.config.as_ref().and_then(|c| c.pools.get(&slot.gang.pool))?;
        let running = view.minutes? * 60 + snapshot.kill_margin.0 + pool.epilog_limit.0;
        match view.state == 1 && view.start > 0 {
            true => Some(view.start + running),
            false => Some(slot.gang.since_ms / 1000 + pool.boot_limit.0 + pool.start_limit.0 + running),
        }
    }

    fn report(&mut self, report: &Report) -> Answer {
        let Some((key, i)) = self.find(&report.instance_id) else {
            let young = self.now().saturating_sub(self.born_ms) < 30_000;
            let orders = if young { "continue" } else { "poweroff" };
            return Answer::Json(200, json!({"orders": orders, "deadline_unix": null}));
        };
        let asked = self.slots.get(&key).and_then(|s| s.gang.members.get(i)).is_some_and(|m| m.asked);
        match report.kind.as_str() {
            "started" => {
                self.with(&key, i, |m| (m.asked, m.started) = (true, true));
            }
            "failed" => {
                let why: String = report.detail.chars().take(1024).collect();
                self.with(&key, i, |m| m.failed = Some(why));
            }
            // Who reports has asked, even if the controller was killed before it wrote so.
            _ if !asked => {
                self.with(&key, i, |m| (m.asked, m.started) = (true, true));
            }
            _ => {}
        }
        let deadline = self.slots.get(&key).and_then(|s| self.deadline(s));
        let orders = if self.has_lost_registration(&key, i) { "register" } else { "continue" };
        Answer::Json(200, json!({"orders": orders, "deadline_unix": deadline}))
    }

    /// A slurmd registers once, and a slurmctld that was killed may not have saved it: the name is powered down then, and
    /// the node would be waited for until boot_limit.
    fn has_lost_registration(&self, key: &str, i: usize) -> bool {
        let Some(slot) = self.slots.get(key) else { return false };
        let Some(m) = slot.gang.members.get(i) else { return false };
        let before = m.granted_ms < self.born_ms && self.nodes_at_ms > self.born_ms;
        let awaited = matches!(slot.gang.phase, Phase::Booting { .. }) && m.up && m.started;
        before && awaited && self.node_view(&m.node).is_free()
    }

    fn explain(&self, uid: u32, operator: bool, job: &str) -> Answer {
        let matches = |s: &&Slot| {
            s.gang.job.as_ref().is_some_and(|j| j.text == job || j.id.to_string() == job)
                || s.gang.key() == job
        };
        // The youngest life of a job number: numbers can come round again.
        let slot = self.slots.values().filter(matches).max_by_key(|s| s.gang.born_ms);
        match slot {
            Some(s) if operator || s.gang.uid == uid => {
                let life = self.lives.last(&s.gang.key()).map(views::life);
                Answer::Json(200, json!({"gang": views::gang(s), "life": life}))
            }
            Some(_) => error(403, "foreign", format!("job {job} belongs to somebody else")),
            None => error(
                404,
                "unknown",
                format!(
                    "no gang is known for job {job}: it is not managed by slurm-burst, or it ended long ago"
                ),
            ),
        }
    }

    fn end_gang(&mut self, gang: &str, uid: u32) -> Answer {
        let Some(slot) = self.slots.get_mut(gang).filter(|s| s.gang.is_living()) else {
            return error(404, "unknown", format!("no living gang {gang}; burstctl status lists them"));
        };
        let who = format!("ended by an operator (uid {uid}); ask them, or cancel and submit again");
        slot.gang.end_asked = Some(who);
        self.dirty.insert(gang.to_owned());
        let text = format!("gang {gang} is being given back; its job stays held");
        Answer::Json(200, json!({"ok": true, "says": text}))
    }

    /// The tripwire: Slurm wants one of our names up that no living gang backs.
    fn power(&self, op: &str, nodes: &[String]) -> Answer {
        if op != "resume" {
            return Answer::Json(200, json!({"ok": true, "says": "noted"}));
        }
        let text = self.resumed(nodes).unwrap_or_else(|| "all names are backed by gangs".to_owned());
        Answer::Json(200, json!({"ok": true, "says": text}))
    }
}
