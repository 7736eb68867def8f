//! Further Regions: which there are, and EC2 in each.
//!
//! What a gang has is where its document says. Which Regions were ever launched into is kept in the journal, so that what
//! carries our tag there is found and ended after burst.toml no longer names them.

use crate::{effects::Hands, journal::JournalError};
use burst_cloud::{Cloud, CloudError};
use burst_policy::{config::Config, gang::Gang};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Beginning of the settings that hold them: one each, so that two gangs can write at once.
const KEPT: &str = "region:";

/// Longest wait for the journal where ending what costs money depends on it.
const READ_MOST: Duration = Duration::from_secs(5);

/// Regions that the journal is known to have.
#[derive(Debug, Default)]
pub struct Known(Mutex<Option<BTreeSet<String>>>);

impl Known {
    fn lock(&self) -> MutexGuard<'_, Option<BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// EC2 in a Region; None: the site's own.
///
/// # Errors
/// Settings that cannot work.
pub(crate) async fn cloud(hands: &Hands, region: Option<&str>) -> Result<Arc<dyn Cloud>, CloudError> {
    match region {
        None => Ok(hands.cloud.clone()),
        Some(r) => hands.cloud.region(r).await,
    }
}

/// EC2 where a gang's instances are.
///
/// # Errors
/// As [`cloud`].
pub(crate) async fn of_gang(hands: &Hands, gang: &Gang) -> Result<Arc<dyn Cloud>, CloudError> {
    cloud(hands, gang.region.as_deref()).await
}

/// The Regions of burst.toml; None is `aws.region`, and the first.
pub(crate) fn of_config(config: &Config) -> Vec<Option<String>> {
    let further = config.regions().into_iter().skip(1).map(|r| Some(r.to_owned()));
    std::iter::once(None).chain(further).collect()
}

/// Every Region in which something of ours may be: burst.toml's and those of before. A journal that cannot be read keeps
/// none of burst.toml's from being looked through.
pub(crate) async fn all(hands: &Hands) -> Vec<Option<String>> {
    let snapshot = hands.shared.snapshot.load_full();
    let config = snapshot.config.as_ref();
    let mut all = config.map_or_else(|| vec![None], of_config);
    let home = config.map_or("", |c| c.aws.region.as_str());
    let before = match tokio::time::timeout(READ_MOST, kept(hands)).await {
        Ok(Ok(before)) => before,
        Ok(Err(e)) => {
            tracing::warn!(error = %e, "the Regions of before are not known");
            return all;
        }
        Err(_) => {
            tracing::warn!("the Regions of before are not known: the journal's disk does not answer");
            return all;
        }
    };
    let new = before.into_iter().filter(|r| r != home).map(Some);
    for region in new {
        if !all.contains(&region) {
            all.push(region);
        }
    }
    all
}

async fn kept(hands: &Hands) -> Result<BTreeSet<String>, JournalError> {
    if let Some(known) = hands.prepare.regions.lock().clone() {
        return Ok(known);
    }
    let sql = "SELECT json_group_array(substr(name, 8)) FROM setting WHERE name LIKE 'region:%'";
    let text = hands.journal.statement(sql, Vec::new()).await?.unwrap_or_else(|| "[]".to_owned());
    let list: BTreeSet<String> = serde_json::from_str(&text).map_err(|e| JournalError(e.to_string()))?;
    Ok(hands.prepare.regions.lock().get_or_insert(list).clone())
}

/// Before a launch in a further Region: that something of ours may be there is on disk.
///
/// # Errors
/// The journal cannot be written: nothing may be launched there.
pub(crate) async fn keep(hands: &Hands, region: Option<&str>) -> Result<(), JournalError> {
    let Some(region) = region else { return Ok(()) };
    if kept(hands).await?.contains(region) {
        return Ok(());
    }
    let name = format!("{KEPT}{region}");
    let word = hands.journal.keep(&name, String::new(), hands.host.now_ms())?;
    word.await.map_err(|_| JournalError("the writer is gone".into()))??;
    if let Some(known) = hands.prepare.regions.lock().as_mut() {
        known.insert(region.to_owned());
    }
    Ok(())
}

/// The setting that holds the Region of before, where documents name none.
const HOME: &str = "home";
/// Pause between tries of what must be known before gangs are looked after.
const AGAIN: Duration = Duration::from_secs(1);

/// slurmctld was started with another `aws.region`: what gangs of before have is still where it was, and is looked for there
/// from now on.
pub(crate) async fn rehome(hands: &Hands, mut docs: Vec<Gang>) -> Vec<Gang> {
    let snapshot = hands.shared.snapshot.load_full();
    let Some(home) = snapshot.config.as_ref().map(|c| c.aws.region.clone()) else { return docs };
    let before = loop {
        match hands.journal.setting(HOME).await {
            Ok(found) => break found,
            Err(e) => tracing::error!(error = %e, "the Region of before cannot be read; tried again"),
        }
        tokio::time::sleep(AGAIN).await;
    };
    if before.as_ref() == Some(&home) {
        return docs;
    }
    if let Some(old) = before {
        for gang in docs.iter_mut().filter(|g| g.is_living() && g.region.is_none()) {
            gang.region = Some(old.clone());
        }
        while let Err(e) = keep(hands, Some(&old)).await {
            tracing::error!(error = %e, "the Region of before cannot be kept; tried again");
            tokio::time::sleep(AGAIN).await;
        }
    }
    if let Err(e) = hands.journal.keep(HOME, home, hands.host.now_ms()) {
        tracing::error!(error = %e, "the Region cannot be kept");
    }
    docs
}
