//! Job identifiers as users write them: `12`, `12_3`, `12_[3-5]`, `12+1`.
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// A parsed job identifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Base job id.
    pub job: u32,
    /// Array tasks named, empty for the whole job.
    pub tasks: Vec<u32>,
    /// Het component.
    pub het: Option<u32>,
}

/// Most tasks one identifier may name; Slurm's default for an array is 1,001.
pub const MAX_TASKS: usize = 100_000;
/// Largest task number Slurm can be configured for (`MaxArraySize` 4000001).
const LAST_TASK: u32 = 4_000_000;

fn number(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// At most 60 characters of what somebody wrote.
fn short(text: &str) -> String {
    crate::clean(text, 60)
}

/// Array tasks of `0-9:2,15%3`, in order and each once, and the limit after `%` (0 means none, as in Slurm).
///
/// # Errors
/// What is allowed.
pub fn array_tasks(text: &str) -> Result<(Vec<u32>, Option<u32>), String> {
    let wrong = || format!("`{}` is not an array such as 0-9, 1,3,7 or 0-99:2%4", short(text));
    let (list, limit) = match text.split_once('%') {
        Some((l, n)) => (l, Some(number(n).ok_or_else(wrong)?).filter(|n| *n > 0)),
        None => (text, None),
    };
    let mut out: Vec<u32> = Vec::new();
    for part in list.split(',') {
        let (range, pace) = match part.split_once(':') {
            Some((r, p)) => (r, number(p).filter(|p| *p > 0).ok_or_else(wrong)?),
            None => (part, 1),
        };
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to) = (number(from).ok_or_else(wrong)?, number(to).ok_or_else(wrong)?);
        if to < from {
            return Err(wrong());
        }
        if to > LAST_TASK {
            return Err(format!("array task {to} is beyond {LAST_TASK}, Slurm's last"));
        }
        if ((to - from) / pace) as usize + out.len() >= MAX_TASKS {
            return Err(format!(
                "`{}` names more than {MAX_TASKS} array tasks; name fewer at a time",
                short(text)
            ));
        }
        out.extend((from..=to).step_by(pace as usize));
    }
    out.sort_unstable();
    out.dedup();
    Ok((out, limit))
}

/// The number an identifier begins with, read as slurmctld reads it (`strtol`: white space and a + may stand in front, and of
/// a number that is too large the low 32 bits are taken; `slurm-22.05 src/slurmctld/job_mgr.c` `update_job_str`).
/// For guards: whatever follows, this is the job that is meant.
#[must_use]
pub fn leading(text: &str) -> Option<u32> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let long: i64 = text.get(..end)?.parse().ok()?;
    u32::try_from(long & i64::from(u32::MAX)).ok()
}

/// One identifier.
///
/// # Errors
/// What is allowed.
pub fn parse(text: &str) -> Result<JobSpec, String> {
    let wrong = || format!("`{}` is not a job: write 12, 12_3, 12_[3-5] or 12+1", short(text));
    if let Some((job, het)) = text.split_once('+') {
        let (job, het) = (number(job).ok_or_else(wrong)?, number(het).ok_or_else(wrong)?);
        return Ok(JobSpec { job, tasks: Vec::new(), het: Some(het) });
    }
    let Some((job, tasks)) = text.split_once('_') else {
        let job = number(text).ok_or_else(|| match text.contains(',') {
            true => format!("`{}` names several jobs: write one", short(text)),
            false => wrong(),
        })?;
        return Ok(JobSpec { job, tasks: Vec::new(), het: None });
    };
    let job = number(job).ok_or_else(wrong)?;
    let inner = tasks.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(tasks);
    let tasks = match inner {
        "*" => Vec::new(),
        _ => array_tasks(inner).map_err(|e| if e.contains("is not an array") { wrong() } else { e })?.0,
    };
    Ok(JobSpec { job, tasks, het: None })
}
