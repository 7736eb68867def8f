//! What nodes report of a job, checked before it is kept: it can be forged, repeated, and about anything.

use super::{
    Answer, Core, Event,
    ask::error,
    lives::{Key, LifeEvent},
};
use crate::{journal::lives::Stored, shared::Msg};
use burst_plan::report::{MOST_EACH, MOST_STEPS, NodeReport, REPORT_MOST};
use burst_policy::{gang::JobKey, life::Ran};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

/// Most bytes of reports of one life that are kept; what comes later is refused, and its node is named in the record.
const LIFE_MOST: u64 = 16 * 1024 * 1024;
/// Longest text of a report.
const TEXT_MOST: usize = 512;

/// A node reports what it saw of a job (docs/WIRE.md `/v1/report`, kind `job`).
#[derive(Debug, Clone, Deserialize)]
pub struct JobReport {
    /// `i-…`.
    pub instance_id: String,
    /// Slurm node name.
    pub node: String,
    /// What it saw.
    pub report: NodeReport,
}

impl JobReport {
    /// What is out of bounds, if anything.
    fn excess(&self) -> Option<&'static str> {
        let r = &self.report;
        if r.steps.len() > MOST_STEPS {
            return Some("too many steps");
        }
        let long = |t: &str| t.len() > TEXT_MOST;
        let longer = |t: &Option<String>| t.as_deref().is_some_and(long);
        for s in &r.steps {
            if s.nics.len() > MOST_EACH || s.exits.len() > MOST_EACH || s.flags.len() > MOST_EACH {
                return Some("too many entries of a step");
            }
            let mpi = s.mpi.as_ref().is_some_and(|m| longer(&m.library) || longer(&m.provider));
            let texts = long(&s.step) || longer(&s.io_source) || s.flags.iter().any(|f| long(f));
            let busy = s.gpu.as_ref().and_then(|g| g.busy).is_some_and(|b| !(0.0..=1.0).contains(&b));
            if mpi || texts || busy || s.nics.iter().any(|n| long(&n.name)) {
                return Some("a value out of bounds");
            }
        }
        (long(&r.node) || longer(&r.instance)).then_some("a value out of bounds")
    }
}

impl Core {
    /// Takes a report; the answer is given when it is on disk.
    pub(super) fn job_report(&mut self, r: JobReport, reply: oneshot::Sender<Answer>) {
        if !self.hands.controller.active() {
            // Who asked may have hung up.
            let _ = reply.send(error(503, "standby", "this controller is not the active one"));
            return;
        }
        let (key, doc) = match self.check(&r) {
            Ok(found) => found,
            Err((answer, why)) => {
                if let Some(why) = why {
                    self.hands.shared.reports.refuse(why);
                }
                // Who asked may have hung up.
                let _ = reply.send(answer);
                return;
            }
        };
        let bytes = doc.len() as u64;
        let stored = Stored { gang: key.0.clone(), restart: key.1, node: r.node.clone(), doc };
        let posted = self.hands.journal.post_report(stored);
        let (sender, shared) = (self.sender.clone(), self.hands.shared.clone());
        self.hands.host.spawn(async move {
            let saved = match posted {
                Ok(word) => matches!(word.await, Ok(Ok(_))),
                Err(_) => false,
            };
            let answer = if saved {
                shared.reports.take();
                let event = Event::Life(LifeEvent::Came { key, node: r.node, bytes });
                // The core lives as long as the process.
                let _ = sender.send(Msg::Internal(Box::new(event))).await;
                Answer::Json(200, json!({"ok": true, "known": false}))
            } else {
                error(503, "journal", "the report could not be written; send it again")
            };
            // Who asked may have hung up.
            let _ = reply.send(answer);
        });
    }

    /// Whose report it is, and its text.
    fn check(&self, r: &JobReport) -> Result<(Key, String), (Answer, Option<&'static str>)> {
        let refuse = |status: u16, code: &'static str, text: String| (error(status, code, text), Some(code));
        if let Some(what) = r.excess() {
            return Err(refuse(413, "bounds", format!("{what}: a report is bounded (docs/WIRE.md)")));
        }
        let own = r.report.instance.as_ref().is_none_or(|i| *i == r.instance_id);
        if r.node != r.report.node || !own {
            return Err(refuse(400, "payload", "the report is another node's than its sender".to_owned()));
        }
        let (job, restart) = (r.report.job, r.report.restart);
        let Some((key, member)) = self.whose_report(r, job, restart) else {
            let text =
                format!("job {job} (restart {restart}) is not on a gang here, or its record is written");
            return Err(refuse(404, "unknown", text));
        };
        if !member {
            let text = format!("{} ({}) is no node of job {job}", r.node, r.instance_id);
            return Err(refuse(403, "instance", text));
        }
        let came = self.lives.came.get(&key);
        if came.is_some_and(|c| c.nodes.contains(&r.node)) {
            return Err((Answer::Json(200, json!({"ok": true, "known": true})), None));
        }
        let doc = serde_json::to_string(&r.report).unwrap_or_default();
        if doc.len() > REPORT_MOST
            || came.is_some_and(|c| c.bytes.saturating_add(doc.len() as u64) > LIFE_MOST)
        {
            return Err(refuse(413, "bounds", "the job's reports are too long together".to_owned()));
        }
        Ok((key, doc))
    }

    /// The life a report is about, and whether its sender was a node of it.
    fn whose_report(&self, r: &JobReport, job: u32, restart: u32) -> Option<(Key, bool)> {
        let ran = |i: &Ran| i.id == r.instance_id && i.node == r.node;
        let mut known = None;
        for (key, slot) in &self.slots {
            let g = &slot.gang;
            // Tasks that are not split off have their array's number: several gangs can have the same.
            let is = |j: &JobKey| j.id == job && g.track.restart.unwrap_or(j.restart) == restart;
            if g.job.as_ref().is_some_and(is) {
                let now = g.members.iter().any(|m| m.instance == r.instance_id && m.node == r.node);
                let member = now || g.track.spent.iter().any(ran);
                known = Some(((burst_policy::life::key(key, g.track.again), restart), member));
                if member {
                    return known;
                }
            }
        }
        let open = self.lives.open.iter().filter(|((_, n), o)| *n == restart && o.life.job == job);
        for (key, o) in open {
            let member = o.life.instances.iter().any(ran);
            if member || known.is_none() {
                known = Some((key.clone(), member));
            }
        }
        known
    }
}
