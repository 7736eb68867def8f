//! An operator's word to one gang.

use super::{Gang, Phase, Then};

/// Tries the gang again at once: one that failed, or that waits with a back-off. Its paid attempts no longer count, and
/// places where capacity was missing are asked again. What it was or will be asked of it, in words.
///
/// # Errors
/// There is nothing to try again: why.
pub fn retry(g: &mut Gang, who: &str, now_ms: u64) -> Result<String, String> {
    let job = g.job_text();
    let paid = g.paid;
    let forgiven = match paid {
        0 => String::new(),
        n => format!("; {n} paid attempts no longer count"),
    };
    let text = format!("tried again by {who}{forgiven}");
    match &mut g.phase {
        Phase::Failed(_) | Phase::Waiting { .. } => {
            (g.rung, g.rounds, g.dry_since_ms) = (0, 0, None);
            g.last_error = None;
            g.enter(Phase::Planned, text, now_ms);
        }
        Phase::Launching { retry_ms, .. } => {
            *retry_ms = 0;
            g.note(text, now_ms);
        }
        Phase::Ending {
            then: then @ (Then::Failed(_) | Then::Again { .. } | Then::Later { .. }),
            retry_ms,
            ..
        } => {
            *then = Then::Again { rung: 0 };
            *retry_ms = 0;
            g.hold = super::FailedHold::default();
            (g.rounds, g.dry_since_ms) = (0, None);
            g.note(text, now_ms);
        }
        Phase::Ending { retry_ms, .. } => {
            // Its job is over; what is being given back is asked for again at once, and nothing follows.
            *retry_ms = 0;
            g.note(format!("giving back is tried again by {who}"), now_ms);
            return Ok(format!("job {job} is over; giving its instances back is tried again"));
        }
        other => return Err(format!("job {job} is {}: there is nothing to try again", other.label())),
    }
    g.paid = 0;
    g.end_asked = None;
    g.insist = true;
    Ok(format!("job {job} is tried again{forgiven}"))
}
