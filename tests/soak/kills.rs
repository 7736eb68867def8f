//! Kills that slurmctld could not deliver: a requeued job has its old number, and on the same name it would be hit.

use crate::slurm::{Job, Slurm, Tables};

/// How long slurmctld tries to connect for a kill (slurm-22.05 src/common/slurm_protocol_api.c).
const KILLS_MS: u64 = 10_000;

/// (job, name, tried until, true ms).
pub(crate) type Kill = (u32, String, u64);

/// A slurmctld that starts sends its kills anew.
pub(crate) fn renew(kills: &mut [Kill], now: u64) {
    kills.iter_mut().for_each(|k| k.2 = now + KILLS_MS);
}

impl Slurm {
    /// slurmctld sends a job's kill to its nodes: those that live take it at once.
    pub(crate) fn kill(&self, t: &mut Tables, j: &Job) {
        let until = self.dice.true_ms() + KILLS_MS;
        let lives = |n: &String| {
            let instance = t.nodes.get(n).and_then(|n| n.instance.as_ref());
            instance.is_some_and(|i| self.ec2.lives(i))
        };
        let dead: Vec<String> = j.nodes.iter().filter(|n| !lives(n)).cloned().collect();
        t.kills.extend(dead.into_iter().map(|n| (j.id, n, until)));
    }

    /// A start on a name that a kill of the job's is on its way to.
    pub(crate) fn old_kills(&self, t: &mut Tables, j: &Job, names: &[String], now: u64) {
        t.kills.retain(|(_, _, until)| *until > now);
        if t.kills.iter().any(|(id, name, _)| *id == j.id && names.contains(name)) {
            self.broke(format!("job {} started on {names:?} into a kill of its life before", j.text()));
        }
    }
}
