//! All steps of a job on this node become one report, and the report one bounded message.

use crate::{
    mpi,
    place::{NodeFile, StepFile},
};
use burst_plan::{
    clean,
    report::{MOST_EACH, MOST_STEPS, NodeReport, REPORT_MOST, StepReport},
};
use serde_json::json;

/// Longest message, bytes: as base64 it stays below what the listener takes (64 KiB).
pub const MESSAGE_MOST: usize = REPORT_MOST - 4 * 1024;

/// Longest text in a report, characters.
const TEXT: usize = 300;

/// One report of one life of a job.
#[must_use]
pub fn report(job: u32, node: &str, instance: &str, files: Vec<StepFile>, lost: u32) -> NodeReport {
    // The batch script was told by slurmctld; a step's environment is its user's.
    let of = |batch: bool| {
        let some = files.iter().filter(|f| (f.step.step == "batch") == batch);
        some.filter_map(|f| f.restart).max()
    };
    let restart = of(true).or_else(|| of(false)).unwrap_or(0);
    let mut steps: Vec<StepReport> = files.into_iter().map(|f| tidy(f.step)).collect();
    steps.sort_by(|a, b| (a.began_ms, &a.step).cmp(&(b.began_ms, &b.step)));
    let (began_ms, ended_ms) =
        (steps.iter().filter_map(|s| s.began_ms).min(), steps.iter().filter_map(|s| s.ended_ms).max());
    let mut report = NodeReport {
        job,
        restart,
        node: node.to_owned(),
        instance: (!instance.is_empty()).then(|| instance.to_owned()),
        began_ms,
        ended_ms,
        cpus: None,
        memory_bytes: None,
        steps,
        steps_left_out: lost,
    };
    while report.steps.len() > MOST_STEPS {
        leave_out(&mut report);
    }
    report
}

/// The job's options or plan asked for EFA, which its steps were not told: those that speak MPI are judged by it.
pub fn efa_was_asked(report: &mut NodeReport) {
    for step in &mut report.steps {
        let wall_ms = step.ended_ms.zip(step.began_ms).map_or(0, |(e, b)| e.saturating_sub(b));
        let Some(mpi) = step.mpi.as_mut().filter(|m| !m.efa_asked) else { continue };
        mpi.efa_asked = true;
        // A provider alone can be any program's of libfabric.
        let is_mpi = mpi.library.is_some() || mpi.provider.is_none();
        if is_mpi && step.step != "extern" && step.flags.len() < MOST_EACH {
            step.flags.extend(mpi::unused(mpi, step.efa.as_ref(), wall_ms));
        }
    }
}

/// Bounds, also for a file that we did not write.
fn tidy(mut step: StepReport) -> StepReport {
    step.step = clean(&step.step, 20);
    step.nics.truncate(MOST_EACH);
    step.exits.truncate(MOST_EACH);
    step.flags.truncate(MOST_EACH);
    for text in step.flags.iter_mut().chain(step.nics.iter_mut().map(|n| &mut n.name)) {
        *text = clean(text, TEXT);
    }
    step
}

/// The latest numbered step goes: what the whole job did stands in `batch` and `extern`.
fn leave_out(report: &mut NodeReport) {
    let numbered = |s: &StepReport| s.step.starts_with(|c: char| c.is_ascii_digit());
    match report.steps.iter().rposition(numbered) {
        Some(at) => drop(report.steps.remove(at)),
        None => drop(report.steps.pop()),
    }
    report.steps_left_out = report.steps_left_out.saturating_add(1);
}

/// What is sent (docs/WIRE.md). Details go first where it would be too long, then whole steps.
///
/// # Errors
/// It cannot be written as JSON.
pub fn message(node: &NodeFile, mut report: NodeReport) -> Result<Vec<u8>, String> {
    let write = |report: &NodeReport| {
        let message = json!({
            "v": 1, "kind": "job", "instance_id": node.instance_id, "node": report.node, "report": report,
        });
        serde_json::to_vec(&message).map_err(|e| e.to_string())
    };
    let mut bytes = write(&report)?;
    if bytes.len() > MESSAGE_MOST {
        for step in &mut report.steps {
            step.nics.truncate(4);
            step.exits.truncate(4);
            step.flags.truncate(2);
        }
        bytes = write(&report)?;
    }
    while bytes.len() > MESSAGE_MOST && !report.steps.is_empty() {
        leave_out(&mut report);
        bytes = write(&report)?;
    }
    Ok(bytes)
}
