//! Collection: what carries our tag and belongs to no living gang is ended (law 3), and so is what is only left over:
//! placement groups nobody uses, and launch templates ([`crate::expire`]).

use crate::{
    care::lock,
    controller::Loud,
    core::{Answer, Event, Question},
    effects::Hands,
    keep::Ended,
    regions,
    shared::Msg,
};
use burst_cloud::{Cloud, Instance};
use burst_policy::when::utc;
use serde_json::json;
use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Pause between passes.
const EVERY: Duration = Duration::from_secs(30);
/// An instance younger than this may belong to an answer that is still being written (s).
const GRACE_S: u64 = 30;
/// Most ends of one pass, unless burst.toml says `collect_most`: a mistake of ours must stay small.
const MOST: (usize, usize) = (20, 10);
/// Passes between looks at placement groups.
const GROUP_PASSES: u32 = 20;
/// Failed passes between two words about instances that cannot be ended.
const ALARM: u32 = 20;
/// Longest wait for a row of the audit: ending what costs money does not wait for a disk.
const AUDIT_MOST: Duration = Duration::from_secs(5);

/// The instances of `cloud` that no living gang wants: old enough, not ended, at most `most` of them (20, or a tenth of
/// all where that is more), and why each is ended.
#[must_use]
pub fn orphans(
    cloud: &[Instance],
    living: &HashSet<String>,
    open: &HashSet<String>,
    now_s: u64,
    most: Option<u32>,
) -> Vec<Ended> {
    let unwanted = |i: &&Instance| {
        !i.state.is_gone()
            && !living.contains(&i.id)
            && i.launched + GRACE_S <= now_s
            && i.tags.get("slurm-burst:gang").is_none_or(|g| !open.contains(g))
    };
    let usual = MOST.0.max(cloud.len() / MOST.1);
    let most = most.map_or(usual, |m| usize::try_from(m).unwrap_or(usize::MAX));
    cloud.iter().filter(unwanted).take(most).map(ended).collect()
}

fn ended(i: &Instance) -> Ended {
    let gang = i.tags.get("slurm-burst:gang").cloned().unwrap_or_default();
    let whose = match gang.is_empty() {
        true => "its tags name no gang".to_owned(),
        false => format!("its gang {gang} is not living"),
    };
    let reason = format!("{whose}; {} in {}, launched {}", i.instance_type, i.zone, utc(i.launched));
    Ended { what: "instance", name: i.id.clone(), gang, reason }
}

/// Collects for ever. The cloud is listed before the gangs: an instance that is launched in between is then known.
pub async fn run(hands: Hands, sender: mpsc::Sender<Msg>) {
    let mut pass = 0;
    let mut unused = crate::expire::ByRegion::default();
    loop {
        tokio::time::sleep(EVERY).await;
        if !hands.controller.active() || hands.shared.care.closed().is_some() {
            continue;
        }
        pass += 1;
        if pass >= GROUP_PASSES {
            pass = 0;
            groups(&hands).await;
            crate::expire::templates(&hands, &mut unused).await;
        }
        let mut unwanted = false;
        for region in regions::all(&hands).await {
            match one_region(&hands, &sender, region).await {
                Ok(found) => unwanted |= found,
                Err(Gone) => return,
            }
        }
        if !unwanted {
            *lock(&hands.shared.care.left) = None;
        }
    }
}

/// The core has ended.
struct Gone;

/// One pass in one Region; answers whether something was to be ended. A Region that does not answer keeps no other waiting
/// for good.
async fn one_region(hands: &Hands, sender: &mpsc::Sender<Msg>, region: Option<String>) -> Result<bool, Gone> {
    let shown = region.clone().unwrap_or_default();
    let at_ms = hands.host.now_ms();
    let listed = match regions::cloud(hands, region.as_deref()).await {
        Ok(cloud) => cloud.owned(&hands.cluster).await.map(|found| (cloud, found)),
        Err(e) => Err(e),
    };
    let (ec2, cloud) = match listed {
        Ok(l) => l,
        Err(e) => {
            tracing::warn!(error = %e, region = shown, "the cluster's instances could not be listed");
            return Ok(false);
        }
    };
    let ids = cloud.iter().filter(|i| !i.state.is_gone()).map(|i| i.id.clone()).collect();
    sender.send(Msg::Internal(Box::new(Event::Cloud { at_ms, region, ids }))).await.map_err(|_| Gone)?;
    let (tx, rx) = oneshot::channel();
    sender.send(Msg::Ask(Box::new(Question::Living), tx)).await.map_err(|_| Gone)?;
    let Ok(Answer::Living(living, open)) = rx.await else { return Ok(false) };
    let most = hands.shared.snapshot.load().config.as_ref().and_then(|c| c.limits.collect_most);
    let now_ms = hands.host.now_ms();
    let ends = orphans(&cloud, &living, &open, now_ms / 1000, most);
    if ends.is_empty() {
        return Ok(false);
    }
    audit(hands, &ends, now_ms).await;
    // The list and the disk may have taken long.
    if hands.controller.active() {
        end(hands, &*ec2, &ends, now_ms).await;
    }
    Ok(true)
}

/// Ends instances, and says so.
async fn end(hands: &Hands, ec2: &dyn Cloud, ends: &[Ended], at_ms: u64) {
    let ids: Vec<String> = ends.iter().map(|e| e.name.clone()).collect();
    let text = format!("instances of no living gang are ended: {}", ids.join(", "));
    hands.controller.log(Loud::Error, &text);
    tracing::warn!(instances = ?ids, "orphans");
    match ec2.terminate(&ids).await {
        Ok(()) => {
            hands.shared.care.collected(ids.len());
            hands.shared.unexplained.fetch_add(ids.len() as u64, Ordering::Relaxed);
            let alert =
                json!({"at_unix": at_ms / 1_000, "what": "instances", "instances": ids, "text": text});
            crate::alert::give(hands, &alert);
            audited(hands, at_ms, "ended").await;
        }
        Err(e) => {
            let tries = hands.shared.care.not_collected(ids.len(), e.to_string(), at_ms);
            tracing::error!(error = %e, "orphans could not be ended; tried again in the next pass");
            if tries % ALARM == 2 {
                let text = format!(
                    "dead letter: {} instances of no gang could not be ended ({tries} passes): {e}",
                    ids.len()
                );
                hands.controller.log(Loud::Error, &text);
            }
            audited(hands, at_ms, &format!("failed: {e}")).await;
        }
    }
}

async fn audit(hands: &Hands, ends: &[Ended], at_ms: u64) {
    let written = tokio::time::timeout(AUDIT_MOST, hands.journal.audit(ends, at_ms)).await;
    if !matches!(written, Ok(Ok(()))) {
        tracing::error!(ends = ?ends, "the audit of collection could not be written");
    }
}

async fn audited(hands: &Hands, at_ms: u64, result: &str) {
    let written = tokio::time::timeout(AUDIT_MOST, hands.journal.audited(at_ms, result)).await;
    if !matches!(written, Ok(Ok(()))) {
        tracing::error!(result, "the audit of collection could not be written");
    }
}

/// Placement groups that were made for a crowd and are not used any more.
async fn groups(hands: &Hands) {
    for (name, region) in hands.prepare.surplus() {
        let at_ms = hands.host.now_ms();
        let reason = "more groups are ready than are needed".to_owned();
        let end = Ended { what: "group", name: name.clone(), gang: String::new(), reason };
        audit(hands, std::slice::from_ref(&end), at_ms).await;
        if !hands.controller.active() {
            hands.prepare.keep(name, region);
            continue;
        }
        let deleted = match regions::cloud(hands, region.as_deref()).await {
            Ok(cloud) => cloud.delete_group(&name).await,
            Err(e) => Err(e),
        };
        match deleted {
            Ok(()) => audited(hands, at_ms, "ended").await,
            Err(e) => {
                tracing::warn!(group = name, error = %e, "a placement group could not be deleted");
                audited(hands, at_ms, &format!("failed: {e}")).await;
                hands.prepare.keep(name, region);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burst_cloud::InstanceState;
    use std::collections::BTreeMap;

    fn instance(id: &str, launched: u64, gang: &str) -> Instance {
        Instance {
            id: id.into(),
            state: InstanceState::Running,
            ip: None,
            dns: None,
            instance_type: "hpc7a.96xlarge".into(),
            zone: "us-east-2b".into(),
            group: String::new(),
            launched,
            tags: BTreeMap::from([("slurm-burst:gang".into(), gang.into())]),
        }
    }

    #[test]
    fn spares_the_living_the_young_and_the_open() {
        let cloud = [
            instance("i-a", 0, "1"),
            instance("i-b", 0, "2"),
            instance("i-c", 95, "3"),
            instance("i-d", 0, "4"),
        ];
        let living = HashSet::from(["i-a".to_owned()]);
        let open = HashSet::from(["2".to_owned()]);
        let ends = orphans(&cloud, &living, &open, 100, None);
        assert_eq!(ends.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["i-d"]);
        let why = "its gang 4 is not living; hpc7a.96xlarge in us-east-2b, launched 1970-01-01 00:00:00 UTC";
        assert_eq!(ends.first().map(|e| e.reason.as_str()), Some(why));
    }

    #[test]
    fn a_pass_is_bounded() {
        let cloud: Vec<_> = (0..150).map(|n| instance(&format!("i-{n}"), 0, "g")).collect();
        assert_eq!(orphans(&cloud, &HashSet::new(), &HashSet::new(), 100, None).len(), 20);
        let cloud: Vec<_> = (0..900).map(|n| instance(&format!("i-{n}"), 0, "g")).collect();
        assert_eq!(orphans(&cloud, &HashSet::new(), &HashSet::new(), 100, None).len(), 90);
        assert_eq!(
            orphans(&cloud, &HashSet::new(), &HashSet::new(), 100, Some(500)).len(),
            500,
            "unless told"
        );
        assert_eq!(orphans(&cloud, &HashSet::new(), &HashSet::new(), 100, Some(3)).len(), 3);
    }
}
