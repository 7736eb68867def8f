//! An operator's words: stops, retries; and what alarms them.

use super::{Answer, Core, ask::error};
use crate::{controller::Loud, effects};
use burst_policy::{
    gang::{Gang, dead, operator},
    stops::{How, Stop, Stops},
};
use serde_json::json;
use std::collections::BTreeMap;

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Stop a pool, or all.
    Stop {
        /// How.
        how: How,
        /// None: all.
        pool: Option<String>,
    },
    /// Lift a pool's stop, or all.
    Resume {
        /// None: all.
        pool: Option<String>,
    },
    /// Try a gang again.
    Retry {
        /// `12`, `12_3`, or the gang's key.
        job: String,
    },
}

/// What operators have set, and what they were told.
#[derive(Debug, Default)]
pub(crate) struct Operators {
    pub stops: Stops,
    /// They were changed in this life of the engine.
    changed: bool,
    /// Gang → its dead letter as it was told last.
    told: BTreeMap<String, dead::DeadLetter>,
}

impl Core {
    /// What operators stopped before the restart.
    #[must_use]
    pub fn stopped_by(mut self, stops: Stops) -> Self {
        self.operators.stops = stops;
        self
    }

    pub(super) fn operate(&mut self, wish: Wish, who: &str) -> Answer {
        match wish {
            Wish::Stop { how, pool } => self.stop(how, pool.as_deref(), who),
            Wish::Resume { pool } => self.resume(pool.as_deref(), who),
            Wish::Retry { job } => self.retry(&job, who),
        }
    }

    fn stop(&mut self, how: How, pool: Option<&str>, who: &str) -> Answer {
        if let Some(name) = pool {
            let snapshot = self.hands.shared.snapshot.load();
            let pools: Vec<&String> = snapshot.config.iter().flat_map(|c| c.pools.keys()).collect();
            if !pools.iter().any(|p| *p == name) {
                let all: Vec<&str> = pools.iter().map(|p| p.as_str()).collect();
                return error(404, "pool", format!("there is no pool {name}; there are: {}", all.join(", ")));
            }
        }
        let stop = Stop { how, who: who.to_owned(), since_ms: self.now() };
        let before = self.operators.stops.clone();
        self.operators.stops.stop(pool, stop);
        let held =
            self.slots.values().filter(|s| pool.is_none_or(|p| p == s.gang.pool)).filter(|s| has(&s.gang));
        let held = held.count();
        let what = match how {
            How::Pause => "nothing new is launched",
            How::Drain => "nothing is launched any more, not even for a node that fails",
        };
        self.stops_changed(
            before,
            who,
            format!("{}: {what}; {held} gangs that have instances go on", named(pool, how)),
        )
    }

    fn resume(&mut self, pool: Option<&str>, who: &str) -> Answer {
        let before = self.operators.stops.clone();
        match self.operators.stops.resume(pool) {
            Ok(()) => {
                let what =
                    pool.map_or("all pools launch again".to_owned(), |p| format!("pool {p} launches again"));
                self.stops_changed(before, who, what)
            }
            Err(why) if self.operators.stops == before => error(409, "not-stopped", why),
            // Its own stop is lifted, and that of all pools holds on.
            Err(why) => {
                self.stops_changed(before, who, String::new());
                error(409, "still-stopped", why)
            }
        }
    }

    fn stops_changed(&mut self, before: Stops, who: &str, says: String) -> Answer {
        let word = self.hands.journal.keep_stops(&self.operators.stops, self.now());
        let word = match word {
            Ok(w) => w,
            Err(e) => {
                self.operators.stops = before;
                return error(503, "journal", format!("nothing was changed: {e}"));
            }
        };
        if !says.is_empty() {
            self.hands.controller.log(Loud::Info, &format!("{who}: {says}"));
        }
        self.operators.changed = true;
        self.look_again();
        Answer::Kept(word, json!({"ok": true, "says": says}))
    }

    fn retry(&mut self, job: &str, who: &str) -> Answer {
        let named = |g: &Gang| {
            g.job.as_ref().is_some_and(|j| j.text == job || j.id.to_string() == job) || g.key() == job
        };
        let (now, found) =
            (self.now(), self.slots.iter().filter(|(_, s)| s.gang.is_living() && named(&s.gang)));
        let Some(key) = found.max_by_key(|(_, s)| s.gang.born_ms).map(|(k, _)| k.clone()) else {
            let text = format!("no gang is under way for job {job}; burstctl status lists them");
            return error(404, "unknown", text);
        };
        let Some(slot) = self.slots.get_mut(&key) else { return error(404, "unknown", "gone") };
        if slot.busy.is_some() {
            let text = format!("job {job} is being acted upon at this moment; ask again");
            return error(409, "busy", text);
        }
        let says = match operator::retry(&mut slot.gang, who, now) {
            Ok(says) => says,
            Err(why) => return error(409, "nothing", why),
        };
        let gang = slot.gang.clone();
        self.dirty.insert(key);
        let says = match self.stopped(&gang.pool) {
            Some(why) => format!("{says}, when it may: {why}"),
            None => says,
        };
        self.hands.controller.log(Loud::Info, &format!("{who}: {says}"));
        match effects::post(&self.hands, &gang) {
            Ok(word) => Answer::Kept(word, json!({"ok": true, "says": says})),
            Err(e) => error(503, "journal", format!("{says}; but the journal does not take it: {e}")),
        }
    }

    /// Why nothing may be launched in a pool.
    pub(crate) fn stopped(&self, pool: &str) -> Option<String> {
        let shared = &self.hands.shared;
        let journal = || self.hands.journal.health().trouble();
        shared.care.closed().or_else(journal).or_else(|| self.operators.stops.reason(pool))
    }

    /// Something that all gangs go by has changed. The journal may be able to keep what it could not.
    pub(super) fn reconsider(&mut self) {
        if self.operators.changed
            && let Err(e) = self.hands.journal.keep_stops(&self.operators.stops, self.now())
        {
            tracing::warn!(error = %e, "what operators have stopped is not on disk");
        }
        self.look_again();
    }

    fn look_again(&mut self) {
        let living = self.slots.iter().filter(|(_, s)| s.gang.is_living() && s.busy.is_none());
        self.dirty.extend(living.map(|(k, _)| k.clone()));
    }

    /// A dead letter is told when it becomes one, and every tenth try after.
    pub(super) fn alarm(&mut self, gang: &Gang) {
        let key = gang.key();
        let Some(letter) = dead::letter(gang) else {
            if self.operators.told.remove(&key).is_some() {
                let text = format!("gang {key} of job {}: what had failed for long is done", gang.job_text());
                self.hands.controller.log(Loud::Info, &text);
            }
            return;
        };
        let told = self.operators.told.get(&key);
        if told.is_some_and(|t| t.what == letter.what && letter.tries < t.tries.saturating_add(dead::BUDGET))
        {
            return;
        }
        let last = gang
            .last_error
            .as_ref()
            .map(|e| format!("; last: {}: {}", e.code, e.message))
            .unwrap_or_default();
        let text = format!(
            "dead letter: gang {key} of job {}: {} ({} tries{last}); it is tried on every {} s",
            gang.job_text(),
            letter.what,
            letter.tries,
            letter.pause_ms / 1000
        );
        self.hands.controller.log(Loud::Error, &text);
        self.operators.told.insert(key, letter);
    }
}

fn named(pool: Option<&str>, how: How) -> String {
    let how = match how {
        How::Pause => "paused",
        How::Drain => "draining",
    };
    pool.map_or_else(|| format!("all pools are {how}"), |p| format!("pool {p} is {how}"))
}

/// Whether the gang has (or may have) instances.
pub(crate) fn has(g: &Gang) -> bool {
    g.is_living() && (g.unsure || g.all_instances().next().is_some())
}
