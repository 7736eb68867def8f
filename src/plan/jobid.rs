//! Job identifiers as users write them: `12`, `12_3`, `12_[3-5]`, `12+1`.
use crate::hostlist;
use serde::{Deserialize, Serialize};

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

/// Most tasks one identifier may name.
const MAX_TASKS: usize = hostlist::MAX_NAMES;

fn number(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Array tasks of `0-9:2,15%3`: the tasks and the limit after `%`.
///
/// # Errors
/// What is allowed.
pub fn array_tasks(text: &str) -> Result<(Vec<u32>, Option<u32>), String> {
    let wrong = || format!("`{text}` is not an array such as 0-9, 1,3,7 or 0-99:2%4");
    let (list, limit) = match text.split_once('%') {
        Some((l, n)) => (l, Some(number(n).ok_or_else(wrong)?)),
        None => (text, None),
    };
    let mut out = Vec::new();
    for part in list.split(',') {
        let (range, pace) = match part.split_once(':') {
            Some((r, p)) => (r, number(p).filter(|p| *p > 0).ok_or_else(wrong)?),
            None => (part, 1),
        };
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to) = (number(from).ok_or_else(wrong)?, number(to).ok_or_else(wrong)?);
        if to < from || ((to - from) / pace) as usize + out.len() >= MAX_TASKS {
            return Err(wrong());
        }
        out.extend((from..=to).step_by(pace as usize));
    }
    Ok((out, limit))
}

/// One identifier.
///
/// # Errors
/// What is allowed.
pub fn parse(text: &str) -> Result<JobSpec, String> {
    let wrong = || format!("`{text}` is not a job: write 12, 12_3, 12_[3-5] or 12+1");
    if let Some((job, het)) = text.split_once('+') {
        let (job, het) = (number(job).ok_or_else(wrong)?, number(het).ok_or_else(wrong)?);
        return Ok(JobSpec { job, tasks: Vec::new(), het: Some(het) });
    }
    let Some((job, tasks)) = text.split_once('_') else {
        return Ok(JobSpec { job: number(text).ok_or_else(wrong)?, tasks: Vec::new(), het: None });
    };
    let job = number(job).ok_or_else(wrong)?;
    let inner = tasks.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(tasks);
    let (tasks, _) = if inner == "*" { (Vec::new(), None) } else { array_tasks(inner).map_err(|_| wrong())? };
    Ok(JobSpec { job, tasks, het: None })
}

/// Identifiers between commas (not those inside brackets), as slurmctld takes them in one update.
///
/// # Errors
/// The first that cannot be read.
pub fn parse_list(text: &str) -> Result<Vec<JobSpec>, String> {
    let (mut depth, mut start, mut out) = (0i32, 0, Vec::new());
    if text.is_empty() {
        return Ok(out);
    }
    for (i, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 0 => {
                out.push(parse(text.get(start..i).unwrap_or(""))?);
                start = i + 1;
            }
            _ => {}
        }
        if out.len() > 1_000 {
            return Err("more than 1000 jobs in one list".to_owned());
        }
    }
    out.push(parse(text.get(start..).unwrap_or(""))?);
    Ok(out)
}
