//! Launch templates of ours that nothing uses any more: of card layouts, images or pools that burst.toml no longer has.
//!
//! A template is deleted when it is old, no present layout is made of it, and no launch that may have to be repeated
//! names it; a row of the audit is on disk before. Instances that were launched from it live on.

use crate::{controller::Loud, effects::Hands, journal::Journal, keep::Ended, regions};
use burst_cloud::{Cloud, Template};
use burst_policy::when::utc;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A template younger than this, or unused for less, may be another controller's that reads another burst.toml (s).
pub const GRACE_S: u64 = 3_600;
/// Most templates deleted in one pass: a mistake of ours must stay small.
const MOST: usize = 20;
/// Longest wait for a row of the audit.
const AUDIT_MOST: Duration = Duration::from_secs(5);

/// The same for each Region.
#[derive(Debug, Default)]
pub struct ByRegion(BTreeMap<String, Unused>);

/// Since when templates are seen without use, by id, Unix seconds; lost with the process, which only waits anew.
#[derive(Debug, Default)]
pub struct Unused(BTreeMap<String, u64>);

impl Unused {
    /// What of `all` is to be deleted now.
    pub fn expired(&mut self, all: &[Template], used: &BTreeSet<String>, now_s: u64) -> Vec<Template> {
        let idle: Vec<&Template> = all.iter().filter(|t| !used.contains(&t.id)).collect();
        let ids: BTreeSet<&str> = idle.iter().map(|t| t.id.as_str()).collect();
        self.0.retain(|id, _| ids.contains(id.as_str()));
        let due = |t: &&&Template| {
            let since = *self.0.entry(t.id.clone()).or_insert(now_s);
            since + GRACE_S <= now_s && t.created + GRACE_S <= now_s
        };
        idle.iter().filter(due).take(MOST).map(|t| (*t).clone()).collect()
    }
}

fn ended(t: &Template) -> Ended {
    let reason = format!("{}, made {}: no pool launches from it any more", t.name, utc(t.created));
    Ended { what: "template", name: t.id.clone(), gang: String::new(), reason }
}

/// Looks once, and deletes what has expired.
pub(crate) async fn templates(hands: &Hands, unused: &mut ByRegion) {
    // What is used has to be known whole: with anything missing, nothing is deleted.
    let used = match hands.prepare.templates(hands).await {
        Ok(u) => u,
        Err(e) => {
            tracing::debug!(error = %e, "which launch templates are used is not known");
            return;
        }
    };
    let named = match hands.journal.open_templates().await {
        Ok(n) => n,
        Err(e) => {
            tracing::debug!(error = %e, "which launch templates unanswered launches name is not known");
            return;
        }
    };
    let used = used.into_iter().chain(named).collect();
    for region in regions::all(hands).await {
        let Ok(cloud) = regions::cloud(hands, region.as_deref()).await else { continue };
        let all = match cloud.templates(&hands.cluster).await {
            Ok(t) => t,
            Err(e) => {
                tracing::warn!(error = %e, "the cluster's launch templates could not be listed");
                continue;
            }
        };
        let unused = unused.0.entry(region.unwrap_or_default()).or_default();
        for t in unused.expired(&all, &used, hands.host.now_ms() / 1_000) {
            delete(hands, &*cloud, &t).await;
        }
    }
}

async fn delete(hands: &Hands, cloud: &dyn Cloud, t: &Template) {
    let at_ms = hands.host.now_ms();
    let row = [ended(t)];
    let written = tokio::time::timeout(AUDIT_MOST, hands.journal.audit(&row, at_ms)).await;
    // It costs nothing where it is: without its row it stays.
    if !matches!(written, Ok(Ok(()))) || !hands.controller.active() || hands.prepare.uses(&t.id) {
        return;
    }
    let result = match cloud.delete_template(&t.id).await {
        Ok(()) => {
            let text = format!("launch template {} ({}) is deleted: no pool uses it", t.name, t.id);
            hands.controller.log(Loud::Info, &text);
            "ended".to_owned()
        }
        Err(e) => {
            tracing::warn!(template = t.id, error = %e, "a launch template could not be deleted");
            format!("failed: {e}")
        }
    };
    // One that burst.toml wants again meanwhile is made anew.
    hands.prepare.forget_template(&t.id);
    let written = tokio::time::timeout(AUDIT_MOST, hands.journal.audited(at_ms, &result)).await;
    if !matches!(written, Ok(Ok(()))) {
        tracing::error!(template = t.id, result, "the audit of a launch template could not be written");
    }
}

impl Journal {
    /// Ids of the launch templates that launches without a known answer name: a repetition names them again.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(crate) async fn open_templates(&self) -> Result<Vec<String>, crate::journal::JournalError> {
        let sql = "SELECT json_group_array(json_extract(request, '$.template.id')) FROM intent
          WHERE answer IS NULL AND gang IN (SELECT key FROM gang WHERE living = 1)";
        let text = self.statement(sql, Vec::new()).await?.unwrap_or_default();
        let list: Vec<Option<String>> =
            serde_json::from_str(&text).map_err(|e| crate::journal::JournalError(e.to_string()))?;
        Ok(list.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(id: &str, created: u64) -> Template {
        Template { id: id.into(), name: format!("burst-{id}"), created }
    }

    fn ids(found: &[Template]) -> Vec<&str> {
        found.iter().map(|t| t.id.as_str()).collect()
    }

    #[test]
    fn one_is_deleted_when_it_is_old_and_was_without_use_for_the_grace() {
        let mut unused = Unused::default();
        let all = [template("lt-a", 0), template("lt-b", 0), template("lt-c", 10_000)];
        let used = BTreeSet::from(["lt-a".to_owned()]);
        assert!(unused.expired(&all, &used, 10_000).is_empty(), "seen for the first time");
        assert!(unused.expired(&all, &used, 10_000 + GRACE_S - 1).is_empty());
        assert_eq!(ids(&unused.expired(&all, &used, 10_000 + GRACE_S)), ["lt-b", "lt-c"]);
        // Used again in between: it waits anew.
        let other = BTreeSet::from(["lt-b".to_owned()]);
        assert_eq!(ids(&unused.expired(&all, &other, 20_000)), ["lt-c"]);
        assert_eq!(ids(&unused.expired(&all, &used, 20_001)), ["lt-c"]);
        let young = [template("lt-c", 20_000)];
        assert!(unused.expired(&young, &used, 20_001).is_empty(), "made anew under the same id");
    }

    #[test]
    fn a_pass_is_bounded() {
        let mut unused = Unused::default();
        let all: Vec<Template> = (0..90).map(|n| template(&format!("lt-{n:02}"), 0)).collect();
        unused.expired(&all, &BTreeSet::new(), 10_000);
        assert_eq!(unused.expired(&all, &BTreeSet::new(), 20_000).len(), MOST);
    }
}
