//! Asking the cluster, and telling it what to do.

use super::{Cluster, User};
use crate::proc::{Output, wait_until};
use crate::show::{self, Fields, field};
use crate::{Context, Res};
use serde_json::Value;
use std::time::Duration;

/// How long one command of Slurm's may take.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// States a job does not leave.
const FINAL: &[&str] = &[
    "COMPLETED",
    "CANCELLED",
    "FAILED",
    "TIMEOUT",
    "NODE_FAIL",
    "BOOT_FAIL",
    "DEADLINE",
    "OUT_OF_MEMORY",
    "PREEMPTED",
];

impl Cluster {
    /// `sbatch` with a script on standard input; gives the job's id.
    ///
    /// # Errors
    /// It was refused: the text is what the user was told.
    pub fn sbatch(&self, user: User, args: &[&str], script: &str) -> Res<u32> {
        let out = self.sbatch_raw(user, args, script)?;
        let id = out.out.trim().split(';').next().and_then(|id| id.parse().ok());
        match id {
            Some(id) if out.ok() => Ok(id),
            _ => Err(out.text()),
        }
    }

    /// `sbatch --parsable`, whatever comes of it.
    ///
    /// # Errors
    /// It could not be run.
    pub fn sbatch_raw(&self, user: User, args: &[&str], script: &str) -> Res<Output> {
        let script =
            if script.starts_with("#!") { script.to_owned() } else { format!("#!/bin/sh\n{script}\n") };
        let mut all = vec!["--parsable"];
        all.extend(args);
        self.run(user, "sbatch", &all, &script)
    }

    /// `scontrol`, as root.
    ///
    /// # Errors
    /// It could not be run.
    pub fn scontrol(&self, args: &[&str]) -> Res<Output> {
        self.run(User::Root, "scontrol", args, "")
    }

    /// `scontrol`, asked again where slurmctld was too busy to answer within MessageTimeout.
    pub(super) fn patiently(&self, args: &[&str]) -> Res<Output> {
        let mut out = self.scontrol(args)?;
        for _ in 0..5 {
            if out.ok() || !out.text().contains("Socket timed out") || self.slurmctld_died() {
                break;
            }
            out = self.scontrol(args)?;
        }
        Ok(out)
    }

    /// `scancel`.
    ///
    /// # Errors
    /// It failed.
    pub fn scancel(&self, user: User, job: u32) -> Res<()> {
        let out = self.run(user, "scancel", &[&job.to_string()], "")?;
        if out.ok() { Ok(()) } else { Err(out.text()) }
    }

    /// All records of a job: one, or those of an array's tasks.
    ///
    /// # Errors
    /// Slurm does not know the job.
    pub fn job_records(&self, job: u32) -> Res<Vec<Fields>> {
        let out = self.patiently(&["show", "job", &job.to_string()])?;
        if out.ok() { Ok(show::records(&out.out)) } else { Err(out.text()) }
    }

    /// A job's fields.
    ///
    /// # Errors
    /// Slurm does not know the job.
    pub fn job(&self, job: u32) -> Res<Fields> {
        self.job_records(job)?.into_iter().next().ok_or_else(|| format!("no record of job {job}"))
    }

    /// A job's state in Slurm's words.
    ///
    /// # Errors
    /// Slurm does not know the job.
    pub fn state(&self, job: u32) -> Res<String> {
        Ok(field(&self.job(job)?, "JobState").to_owned())
    }

    /// A job's admin_comment.
    ///
    /// # Errors
    /// Slurm does not know the job.
    pub fn says(&self, job: u32) -> Res<String> {
        Ok(field(&self.job(job)?, "AdminComment").to_owned())
    }

    /// Waits for a state; fails at once when the job ends in another.
    ///
    /// # Errors
    /// The deadline passed or the job ended otherwise; the text has the job's record.
    pub fn wait_job(&self, job: u32, state: &str, limit: Duration) -> Res<Fields> {
        self.wait_job_where(job, state, limit, |fields| {
            let now = field(fields, "JobState");
            if now != state && FINAL.contains(&now) {
                return Err(format!("it is {now}"));
            }
            Ok(now == state)
        })
    }

    /// Waits until admin_comment holds `text`.
    ///
    /// # Errors
    /// The deadline passed; the text has the job's record.
    pub fn wait_says(&self, job: u32, text: &str, limit: Duration) -> Res<Fields> {
        self.wait_job_where(job, text, limit, |fields| Ok(field(fields, "AdminComment").contains(text)))
    }

    /// What `burstctl explain --json` says of a job's gang (docs/WIRE.md, GANGVIEW).
    ///
    /// # Errors
    /// The controller does not answer, or does not know the job.
    pub fn explain(&self, job: u32) -> Res<Value> {
        let out = self.run(User::Root, "burstctl", &["explain", &job.to_string(), "--json"], "")?;
        let value: Value = serde_json::from_str(&out.out).map_err(|e| format!("{e}: {}", out.text()))?;
        value.get("gang").filter(|g| g.is_object()).cloned().ok_or_else(|| out.text())
    }

    /// Waits until the gang is in a phase (`Launching`, `Booting`, …) or, by its history, has been in it.
    ///
    /// # Errors
    /// The deadline passed; the text has the last answer.
    pub fn wait_phase(&self, job: u32, phase: &str, limit: Duration) -> Res<()> {
        let mut last = String::new();
        let is = |v: Option<&Value>| v.and_then(Value::as_str) == Some(phase);
        wait_until(limit, || {
            let view = self.explain(job);
            last = format!("{view:?}");
            let Ok(view) = view else { return Ok(None) };
            let history = view.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
            Ok((is(view.get("phase")) || history.iter().any(|e| is(e.get("phase")))).then_some(()))
        })
        .map_err(|e| format!("job {job} waiting for phase {phase}: {e}\n{last}"))
    }

    /// Waits until the job's record is as wanted. Restarts of slurmctld meanwhile are no failure.
    ///
    /// # Errors
    /// The deadline passed, or `wanted` failed; the text has the job's record.
    pub fn wait_job_where(
        &self,
        job: u32,
        what: &str,
        limit: Duration,
        mut wanted: impl FnMut(&Fields) -> Res<bool>,
    ) -> Res<Fields> {
        let mut last = Err("never asked".to_owned());
        wait_until(limit, || {
            last = self.job(job);
            if last.is_err() && self.slurmctld_died() {
                return Err("slurmctld died".into());
            }
            let Ok(fields) = &last else { return Ok(None) };
            Ok(wanted(fields)?.then(|| fields.clone()))
        })
        .map_err(|e| {
            let record = match &last {
                Ok(fields) => fields.iter().map(|(k, v)| format!("  {k}={v}\n")).collect(),
                Err(e) => e.clone(),
            };
            format!("job {job} waiting for {what}: {e}\n{record}")
        })
    }

    /// Waits until the state that slurmctld saved names `text` (a job's name): what it has not saved, a kill loses.
    ///
    /// # Errors
    /// The deadline passed.
    pub fn wait_saved(&self, text: &str, limit: Duration) -> Res<()> {
        let path = self.at.file("state/job_state");
        wait_until(limit, || {
            let saved = std::fs::read(&path).unwrap_or_default();
            Ok(saved.windows(text.len().max(1)).any(|w| w == text.as_bytes()).then_some(()))
        })
        .context(format!("slurmctld saving {text}"))
    }

    /// Waits until slurmctld has saved a job as it is now (it gets another name, which the saved state must have): a kill
    /// before that is Slurm's own loss.
    ///
    /// # Errors
    /// It cannot be renamed, or the deadline passed.
    pub fn wait_job_saved(&self, job: u32, limit: Duration) -> Res<()> {
        let name = format!("saved-as-it-was-{job}");
        let out = self.scontrol(&["update", &format!("JobId={job}"), &format!("JobName={name}")])?;
        if out.ok() { self.wait_saved(&name, limit) } else { Err(out.text()) }
    }

    /// All nodes' fields.
    ///
    /// # Errors
    /// slurmctld does not answer.
    pub fn nodes(&self) -> Res<Vec<Fields>> {
        let out = self.patiently(&["show", "node"])?;
        if out.ok() { Ok(show::records(&out.out)) } else { Err(out.text()) }
    }

    /// A node's fields.
    ///
    /// # Errors
    /// slurmctld does not answer, or does not know the node.
    pub fn node(&self, name: &str) -> Res<Fields> {
        let out = self.patiently(&["show", "node", name])?;
        show::records(&out.out).into_iter().next().ok_or_else(|| out.text()).context(name)
    }

    /// Names of pool nodes that are not powered down and idle, with their states.
    ///
    /// # Errors
    /// slurmctld does not answer.
    pub fn awake(&self) -> Res<Vec<(String, String)>> {
        Ok(self
            .nodes()?
            .iter()
            .map(|n| (field(n, "NodeName").to_owned(), field(n, "State").to_owned()))
            .filter(|(_, s)| s.contains("CLOUD"))
            .filter(|(_, s)| s.trim_end_matches('*') != "IDLE+CLOUD+POWERED_DOWN")
            .collect())
    }

    /// Gangs that the controller still looks after, with their phases; none where there is no plugin.
    ///
    /// # Errors
    /// The controller does not answer.
    pub fn gangs(&self) -> Res<Vec<String>> {
        if !self.spec.plugin {
            return Ok(Vec::new());
        }
        let out = self.run(User::Root, "burstctl", &["status", "--json"], "")?;
        let value: Value = serde_json::from_str(&out.out).map_err(|e| format!("{e}: {}", out.text()))?;
        let gangs = value.get("gangs").and_then(Value::as_array).ok_or_else(|| out.text())?;
        Ok(gangs
            .iter()
            .map(|g| {
                format!(
                    "{} {}",
                    g.get("gang").unwrap_or(&Value::Null),
                    g.get("phase").unwrap_or(&Value::Null)
                )
            })
            .collect())
    }

    /// Waits until every pool node is `IDLE+CLOUD+POWERED_DOWN`, no instance lives and no gang is looked after.
    ///
    /// # Errors
    /// The deadline passed; the text says what is left.
    pub fn wait_quiet(&self, limit: Duration) -> Res<()> {
        let mut left = String::new();
        wait_until(limit, || {
            let awake = self.awake()?;
            let living = self.sim.as_ref().map_or(Ok(Vec::new()), |s| s.living())?;
            // Right after a start the engine does not listen yet.
            let gangs = self.gangs().unwrap_or_else(|e| vec![e]);
            left = format!("nodes {awake:?}, instances {living:?}, gangs {gangs:?}");
            Ok((awake.is_empty() && living.is_empty() && gangs.is_empty()).then_some(()))
        })
        .map_err(|e| format!("all nodes powered down and no instance left: {e}; left: {left}"))
    }
}
