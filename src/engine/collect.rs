//! Collection: what carries our tag and belongs to no living gang is ended (law 3).

use crate::{
    controller::Loud,
    core::{Answer, Event, Question},
    effects::Hands,
    shared::Msg,
};
use burst_cloud::Instance;
use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Pause between passes.
const EVERY: Duration = Duration::from_secs(30);
/// An instance younger than this may belong to an answer that is still being written (s).
const GRACE_S: u64 = 30;
/// Most ends of one pass: a mistake of ours must stay small.
const MOST: (usize, usize) = (20, 10);

/// The instances of `cloud` that no living gang wants: old enough, not ended, at most 20 or a tenth of all.
#[must_use]
pub fn orphans(
    cloud: &[Instance],
    living: &HashSet<String>,
    open: &HashSet<String>,
    now_s: u64,
) -> Vec<String> {
    let unwanted = |i: &&Instance| {
        !i.state.is_gone()
            && !living.contains(&i.id)
            && i.launched + GRACE_S <= now_s
            && i.tags.get("slurm-burst:gang").is_none_or(|g| !open.contains(g))
    };
    let most = MOST.0.max(cloud.len() / MOST.1);
    cloud.iter().filter(unwanted).map(|i| i.id.clone()).take(most).collect()
}

/// Collects for ever. The cloud is listed before the gangs: an instance that is launched in between is then known.
pub async fn run(hands: Hands, sender: mpsc::Sender<Msg>) {
    loop {
        tokio::time::sleep(EVERY).await;
        if !hands.controller.active() {
            continue;
        }
        let at_ms = hands.host.now_ms();
        let cloud = match hands.cloud.owned(&hands.cluster).await {
            Ok(c) => c,
            Err(e) => {
                tracing::warn!(error = %e, "the cluster's instances could not be listed");
                continue;
            }
        };
        let ids = cloud.iter().filter(|i| !i.state.is_gone()).map(|i| i.id.clone()).collect();
        if sender.send(Msg::Internal(Box::new(Event::Cloud { at_ms, ids }))).await.is_err() {
            return;
        }
        let (tx, rx) = oneshot::channel();
        if sender.send(Msg::Ask(Box::new(Question::Living), tx)).await.is_err() {
            return;
        }
        let Ok(Answer::Living(living, open)) = rx.await else { continue };
        // The list may have taken long.
        if !hands.controller.active() {
            continue;
        }
        let ends = orphans(&cloud, &living, &open, hands.host.now_ms() / 1000);
        if ends.is_empty() {
            continue;
        }
        let text = format!("instances of no living gang are ended: {}", ends.join(", "));
        hands.controller.log(Loud::Error, &text);
        hands.shared.unexplained.fetch_add(ends.len() as u64, Ordering::Relaxed);
        tracing::warn!(instances = ?ends, "orphans");
        if let Err(e) = hands.cloud.terminate(&ends).await {
            tracing::error!(error = %e, "orphans could not be ended; tried again in the next pass");
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
        assert_eq!(orphans(&cloud, &living, &open, 100), ["i-d"]);
    }

    #[test]
    fn a_pass_is_bounded() {
        let cloud: Vec<_> = (0..150).map(|n| instance(&format!("i-{n}"), 0, "g")).collect();
        assert_eq!(orphans(&cloud, &HashSet::new(), &HashSet::new(), 100).len(), 20);
        let cloud: Vec<_> = (0..900).map(|n| instance(&format!("i-{n}"), 0, "g")).collect();
        assert_eq!(orphans(&cloud, &HashSet::new(), &HashSet::new(), 100).len(), 90);
    }
}
