//! Launch templates that nothing uses any more.

use crate::{
    life::Life,
    operators::{Story, on_stage_with, until},
};
use std::{sync::PoisonError, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);

/// burst.toml loses a type: after a restart its template is deleted, not at once, with a row in the audit before, and the
/// one that is used stays.
///
/// # Errors
/// What did not come true.
pub fn a_template_that_nothing_uses() -> Story {
    on_stage_with("", |out, now| async move {
        let life = Life::begin(&out);
        now.set(Some(life.handle.clone()));
        until("both templates are made", MINUTE, || out.ec2.template_ids().len() == 2).await?;
        let both = out.ec2.template_ids();
        life.kill(&out);
        out.slurm.killed();
        let life = Life::begin(&out.with_one_type());
        now.set(Some(life.handle.clone()));
        tokio::time::sleep(55 * MINUTE).await;
        if out.ec2.template_ids() != both {
            return Err("one was deleted within the grace".into());
        }
        until("one is deleted", 60 * MINUTE, || out.ec2.template_ids().len() == 1).await?;
        if out.ec2.template_ids().first() != both.first() {
            return Err("the wrong one was deleted".into());
        }
        // What came of it is written after EC2's answer.
        tokio::time::sleep(Duration::from_secs(30)).await;
        let db = out.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let row = db
            .query_row("SELECT name || ' ' || result FROM audit WHERE what = 'template'", [], |r| {
                r.get::<_, String>(0)
            })
            .map_err(|e| e.to_string())?;
        match both.get(1).is_some_and(|id| row == format!("{id} ended")) {
            true => Ok(()),
            false => Err(format!("the audit says {row}")),
        }
    })
}
