//! Watching the gangs: a line whenever something changed.

use burst_e2e::proc::TICK;
use burst_e2e::show::field;
use burst_e2e::{Cluster, Res};
use serde_json::{Map, Value, json};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A job that is being watched.
#[derive(Debug)]
pub struct Gang {
    /// The letter of the story.
    pub letter: char,
    /// Job id.
    pub job: u32,
    /// Everything that was said of it, in order: Slurm's state and the sentence of admin_comment.
    pub said: Vec<(String, String)>,
    /// The last answer of `burstctl explain`.
    pub view: Value,
}

impl Gang {
    /// Begins to watch.
    pub fn new(letter: char, job: u32) -> Self {
        Self { letter, job, said: Vec::new(), view: Value::Null }
    }

    /// Whether admin_comment ever held this.
    pub fn was_told(&self, text: &str) -> bool {
        self.said.iter().any(|(_, s)| s.contains(text))
    }

    /// Slurm's state as last seen.
    pub fn state(&self) -> &str {
        self.said.last().map_or("", |(state, _)| state)
    }

    /// Milliseconds spent in each phase, by `burstctl explain`'s history.
    pub fn phases(&self) -> Vec<(String, u64)> {
        let history: Vec<(String, u64)> = self
            .view
            .get("history")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|e| Some((e.get("phase")?.as_str()?.to_owned(), e.get("at_ms")?.as_u64()?)))
            .collect();
        let mut all: Vec<(String, u64)> = Vec::new();
        for pair in history.windows(2) {
            let [(phase, from), (_, to)] = pair else { continue };
            let spent = to.saturating_sub(*from);
            match all.iter_mut().find(|(p, _)| p == phase) {
                Some((_, ms)) => *ms += spent,
                None => all.push((phase.clone(), spent)),
            }
        }
        all
    }

    /// The same for demo.json.
    pub fn phases_json(&self) -> Value {
        Value::Object(self.phases().into_iter().map(|(p, ms)| (p, json!(ms))).collect::<Map<_, _>>())
    }
}

/// All of them.
#[derive(Debug)]
pub struct Watch {
    began: Instant,
    /// The gangs.
    pub gangs: Vec<Gang>,
}

impl Watch {
    /// Begins now.
    pub fn new() -> Self {
        Self { began: Instant::now(), gangs: Vec::new() }
    }

    /// One line of the timeline.
    pub fn say(&self, who: &str, what: &str) {
        println!("[{:6.1}s] {who:<9} {what}", self.began.elapsed().as_secs_f64());
    }

    /// Watches a job.
    pub fn add(&mut self, letter: char, job: u32) {
        self.say(&format!("({letter}) job {job}"), "submitted");
        self.gangs.push(Gang::new(letter, job));
    }

    /// A gang by its letter.
    pub fn gang(&self, letter: char) -> Res<&Gang> {
        self.gangs
            .iter()
            .find(|g| g.letter == letter)
            .ok_or_else(|| format!("job ({letter}) was never submitted"))
    }

    /// Looks once, printing what changed.
    pub fn look(&mut self, cluster: &Cluster) -> Res<()> {
        let mut news = Vec::new();
        for gang in &mut self.gangs {
            let Ok(fields) = cluster.job(gang.job) else { continue };
            let state = field(&fields, "JobState").to_owned();
            let comment = field(&fields, "AdminComment");
            let says = comment.split_once("] ").map_or(comment, |(_, s)| s).to_owned();
            if gang.said.last() != Some(&(state.clone(), says.clone())) {
                news.push((gang.letter, gang.job, format!("{state:<10} {says}")));
                gang.said.push((state, says));
                if let Ok(view) = cluster.explain(gang.job) {
                    gang.view = view;
                }
            }
        }
        for (letter, job, what) in news {
            self.say(&format!("({letter}) job {job}"), &what);
        }
        Ok(())
    }

    /// Looks until `done` holds.
    pub fn until(
        &mut self,
        cluster: &Cluster,
        what: &str,
        limit: Duration,
        mut done: impl FnMut(&Self) -> Res<bool>,
    ) -> Res<()> {
        let end = Instant::now() + limit;
        loop {
            self.look(cluster)?;
            if done(self)? {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("{what}: not within {limit:?}"));
            }
            sleep(TICK);
        }
    }

    /// The last word on every gang.
    pub fn last_look(&mut self, cluster: &Cluster) {
        for gang in &mut self.gangs {
            if let Ok(view) = cluster.explain(gang.job) {
                gang.view = view;
            }
        }
    }
}
