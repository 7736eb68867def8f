//! Effects, executed: the only place where the engine touches Slurm's state and EC2's.

use crate::{
    asbb::Asbb,
    controller::{Controller, JobUpdate, SlurmError},
    fault::{self, Point},
    host::Host,
    journal::{Intent, Journal, Reply},
    prepare::Prepare,
    rates::Rates,
    regions,
    shared::Shared,
};
use burst_cloud::{Cloud, CloudError, FleetAnswer, FleetRequest};
use burst_plan::Market;
use burst_policy::{
    Rung,
    classify::Class,
    gang::{Addresses, Effect, Gang, Grant, Member, Outcome, Trouble},
};
use std::{collections::BTreeMap, future::Future, sync::Arc};

/// Highest priority an update may set below Slurm's reserved values (slurm-22.05 slurm.h NO_VAL, INFINITE).
const TOP_PRIORITY: u32 = u32::MAX - 256;
/// Priority that lifts a hold (slurm-22.05 src/slurmctld/job_mgr.c: INFINITE recomputes it).
const RELEASE: u32 = u32::MAX;

/// Longest wait for a write that nothing depends on but a repetition of its effect.
const SAVE_MOST: std::time::Duration = std::time::Duration::from_secs(5);

/// What effects need.
#[derive(Clone)]
pub struct Hands {
    /// Clock and threads.
    pub host: Host,
    /// Slurm.
    pub controller: Arc<dyn Controller>,
    /// EC2.
    pub cloud: Arc<dyn Cloud>,
    /// Journal.
    pub journal: Journal,
    /// Templates and groups.
    pub prepare: Arc<Prepare>,
    /// EC2's rates and outages.
    pub rates: Arc<Rates>,
    /// Published state.
    pub shared: Arc<Shared>,
    /// The budget service.
    pub budget: Arc<Asbb>,
    /// Cluster UUID.
    pub cluster: Arc<str>,
    /// Cluster name.
    pub name: Arc<str>,
}

/// An executed effect.
#[derive(Debug)]
pub struct Done {
    /// What came of it.
    pub outcome: Outcome,
    /// Placement group used by a launch.
    pub group: Option<String>,
}

impl From<Outcome> for Done {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, group: None }
    }
}

/// Writes the document, then does it. The document is on disk before anything leaves.
pub async fn execute(hands: &Hands, gang: &Gang, effect: &Effect) -> Done {
    fault::point(effect, Point::Decided);
    let done = carry_out(hands, gang, effect).await;
    fault::point(effect, Point::After);
    done
}

async fn carry_out(hands: &Hands, gang: &Gang, effect: &Effect) -> Done {
    if !hands.controller.active() {
        return own("Standby", "this controller is not the active one", Class::Auth).into();
    }
    if let Effect::Launch { rung, comment } = effect {
        return launch(hands, gang, effect, (rung, comment.clone())).await;
    }
    // Giving back must not wait for a disk: what is lost is only a repetition of the same effect.
    let repeatable = matches!(
        effect,
        Effect::Terminate { .. }
            | Effect::PowerDown
            | Effect::PowerDownAgain { .. }
            | Effect::Retire
            | Effect::Comment { .. }
            | Effect::Hold { .. }
    );
    let saved = match repeatable {
        true => tokio::time::timeout(SAVE_MOST, save(hands, gang, None))
            .await
            .unwrap_or_else(|_| Err("its disk does not answer".to_owned())),
        false => save(hands, gang, None).await,
    };
    if let Err(e) = saved
        && !repeatable
    {
        return own("Journal", &e, Class::Auth).into();
    }
    fault::point(effect, Point::Before);
    match effect {
        Effect::Launch { .. } => own("Internal", "launch is handled above", Class::Configuration).into(),
        Effect::Budget { check, .. } => hands.budget.check(hands, check).await.into(),
        Effect::Addresses => addresses(hands, gang).await.into(),
        Effect::Terminate { sweep } => terminate(hands, gang, *sweep).await.into(),
        Effect::Retire => {
            // The bill first: a name that does not go down costs nothing.
            let ids: Vec<String> = gang.retired.iter().map(|r| r.instance.clone()).collect();
            match terminated(hands, gang, &ids).await {
                Ok(()) => slurm(hands, gang, effect).await.into(),
                Err(e) => Outcome::Failed(cloud_trouble(e)).into(),
            }
        }
        _ => slurm(hands, gang, effect).await.into(),
    }
}

/// One of the effects that are calls to slurmctld, on a thread that may block.
async fn slurm(hands: &Hands, gang: &Gang, effect: &Effect) -> Outcome {
    let (controller, gang, effect) = (hands.controller.clone(), gang.clone(), effect.clone());
    let pinned = pinned_address(hands, &gang);
    let call = move || match controller.active() {
        true => in_slurm(&*controller, &gang, &effect, pinned),
        false => own("Standby", "this controller is not the active one", Class::Auth),
    };
    let done = hands.host.in_turn(call).await;
    done.unwrap_or_else(|e| own("Internal", &e, Class::Transient))
}

fn own(code: &str, message: &str, class: Class) -> Outcome {
    Outcome::Failed(Trouble {
        code: code.into(),
        message: message.into(),
        class,
        request_id: None,
        ambiguous: false,
    })
}

/// Serialises and writes a gang's document.
///
/// # Errors
/// In words.
pub async fn save(hands: &Hands, gang: &Gang, intent: Option<Intent>) -> Result<Option<String>, String> {
    let doc = serde_json::to_string(gang).map_err(|e| e.to_string())?;
    hands.journal.save(gang.key(), doc, gang.is_living(), intent).await.map_err(|e| e.to_string())
}

/// Writes a gang's document behind every earlier write of it, without waiting; a failure is logged.
pub fn save_behind(hands: &Hands, gang: &Gang) {
    let id = gang.key();
    let posted = serde_json::to_string(gang)
        .map_err(|e| e.to_string())
        .and_then(|doc| hands.journal.post(id.clone(), doc, gang.is_living()).map_err(|e| e.to_string()));
    match posted {
        Ok(word) => {
            hands.host.spawn(async move {
                if let Ok(Err(e)) = word.await {
                    tracing::error!(gang_id = %id, error = %e, "a gang's document could not be written");
                }
            });
        }
        Err(error) => tracing::error!(gang_id = %id, error, "a gang's document could not be written"),
    }
}

/// Puts a gang's document into the queue at once and answers where the word that it is on disk will come from.
///
/// # Errors
/// In words.
pub fn post(hands: &Hands, gang: &Gang) -> Result<tokio::sync::oneshot::Receiver<Reply>, String> {
    let doc = serde_json::to_string(gang).map_err(|e| e.to_string())?;
    hands.journal.post(gang.key(), doc, gang.is_living()).map_err(|e| e.to_string())
}

/// Puts a gang's document into the queue at once and answers whether it came onto the disk.
pub fn posted(hands: &Hands, gang: &Gang) -> impl Future<Output = bool> + Send + use<> {
    let posted = post(hands, gang);
    async move {
        match posted {
            Ok(word) => matches!(word.await, Ok(Ok(_))),
            Err(_) => false,
        }
    }
}

/// A trial's nodes share one fixed address that slurm.conf knows.
fn pinned_address(hands: &Hands, gang: &Gang) -> bool {
    let snapshot = hands.shared.snapshot.load();
    let pool = snapshot.config.as_ref().and_then(|c| c.pools.get(&gang.pool));
    // By name: burst.toml may have been read again since.
    let of = |b: &&burst_policy::config::Block| gang.names.first().is_some_and(|n| b.names.contains(n));
    let block = pool.and_then(|p| p.blocks.iter().find(of));
    block.is_some_and(|b| b.node_addr.is_some())
}

fn in_slurm(slurm: &dyn Controller, gang: &Gang, effect: &Effect, pinned: bool) -> Outcome {
    let job = gang.job.as_ref().map_or("", |j| j.text.as_str());
    let names = || gang.names.join(",");
    let result = match effect {
        Effect::Hold { comment } => slurm.update_job(
            job,
            &JobUpdate { comment: Some(comment.clone()), priority: Some(0), ..JobUpdate::default() },
        ),
        Effect::Comment { comment } => {
            slurm.update_job(job, &JobUpdate { comment: Some(comment.clone()), ..JobUpdate::default() })
        }
        // slurm.conf has their addresses.
        Effect::TellAddresses if pinned => Ok(()),
        Effect::TellAddresses => {
            let new = || gang.members.iter().filter(|m| !m.up);
            let list = |f: fn(&Member) -> String| new().map(f).collect::<Vec<_>>().join(",");
            let hosts = list(|m| m.host.clone().unwrap_or_else(|| address(m)));
            slurm.set_addresses(&list(|m| m.node.clone()), &list(address), &hosts)
        }
        Effect::Retire => {
            slurm.power_down(&gang.retired.iter().map(|r| r.node.clone()).collect::<Vec<_>>().join(","))
        }
        Effect::Release { comment } => slurm
            .update_job(
                job,
                &JobUpdate {
                    comment: Some(comment.clone()),
                    req_nodes: Some(names()),
                    nodes: u32::try_from(gang.names.len()).ok(),
                    priority: Some(RELEASE),
                    partition: None,
                },
            )
            .map(|()| {
                // Its nodes are its own: at top priority the scheduler looks at it in the next pass, however long
                // the queue. When it has started already, Slurm refuses, and nothing is lost.
                let top = JobUpdate { priority: Some(TOP_PRIORITY), ..JobUpdate::default() };
                if let Err(e) = slurm.update_job(job, &top) {
                    tracing::debug!(job, error = %e, "priority not raised");
                }
            }),
        Effect::PowerDown => slurm.power_down(&gang.all_names().cloned().collect::<Vec<_>>().join(",")),
        Effect::PowerDownAgain { names } => slurm.power_down(&names.join(",")),
        Effect::Cancel { comment } => {
            let told =
                slurm.update_job(job, &JobUpdate { comment: Some(comment.clone()), ..JobUpdate::default() });
            if let Err(e) = told {
                tracing::warn!(job, error = %e, "the reason of a cancel could not be written");
            }
            slurm.cancel(job)
        }
        Effect::MoveLocal { partition, comment } => slurm.update_job(
            job,
            &JobUpdate {
                comment: Some(comment.clone()),
                partition: Some(partition.clone()),
                priority: Some(RELEASE),
                ..JobUpdate::default()
            },
        ),
        Effect::Launch { .. } | Effect::Addresses | Effect::Terminate { .. } | Effect::Budget { .. } => {
            Ok(())
        }
    };
    match result {
        Ok(()) => Outcome::Ok,
        Err(e) => Outcome::Failed(slurm_trouble(&e)),
    }
}

fn address(m: &Member) -> String {
    m.ip.map(|ip| ip.to_string()).unwrap_or_default()
}

fn slurm_trouble(e: &SlurmError) -> Trouble {
    Trouble {
        code: format!("Slurm{}", e.code),
        message: e.message.clone(),
        class: if e.passing { Class::Transient } else { Class::Unknown },
        request_id: None,
        ambiguous: false,
    }
}

fn cloud_trouble(e: CloudError) -> Trouble {
    Trouble {
        code: e.code,
        message: e.message,
        class: e.class,
        request_id: e.request_id,
        ambiguous: e.ambiguous,
    }
}

async fn launch(
    hands: &Hands,
    gang: &Gang,
    effect: &Effect,
    (rung, comment): (&Rung, Option<String>),
) -> Done {
    let token = gang.token(&hands.cluster);
    let stored = match hands.journal.request(token.clone()).await {
        Ok(s) => s,
        Err(e) => return own("Journal", &e.to_string(), Class::Auth).into(),
    };
    let request = match stored {
        Some(text) => text,
        None => match compose(hands, gang, rung, &token).await {
            Ok(r) => r,
            Err(t) => return Outcome::Failed(t).into(),
        },
    };
    let intent = Intent { token: token.clone(), request };
    // The group is in the document, so that after a restart nobody else is given it.
    let group = serde_json::from_str::<FleetRequest>(&intent.request).ok().and_then(|r| r.group);
    let gang = &Gang { group, ..gang.clone() };
    let text = match save(hands, gang, Some(intent.clone())).await {
        Ok(Some(text)) => text,
        Ok(None) => intent.request,
        Err(e) => return own("Journal", &e, Class::Auth).into(),
    };
    let request: FleetRequest = match serde_json::from_str(&text) {
        Ok(r) => r,
        Err(e) => return own("Journal", &format!("stored request: {e}"), Class::Configuration).into(),
    };
    let cloud = match at(hands, &request, gang).await {
        Ok(c) => c,
        Err(t) => return Outcome::Failed(t).into(),
    };
    if !hands.controller.active() {
        return own("Standby", "this controller is not the active one", Class::Auth).into();
    }
    let group = request.group.clone();
    fault::point(effect, Point::Before);
    // The job's owner reads what is being launched while EC2 thinks, and the launch does not wait for it. The next
    // comment does: this one must not overwrite it.
    let tell = async {
        let Some(comment) = comment else { return };
        let (controller, job) = (hands.controller.clone(), gang.job_text());
        let update = JobUpdate { comment: Some(comment), ..JobUpdate::default() };
        let told = hands.host.in_turn(move || controller.update_job(&job, &update)).await;
        if let Err(e) = told.and_then(|r| r.map_err(|e| e.to_string())) {
            tracing::debug!(job_id = %gang.job_text(), error = e, "admin_comment not written during the launch");
        }
    };
    let ask = async {
        match cloud.create_fleet(&request).await {
            Ok(a) => {
                let text = serde_json::to_string(&a).unwrap_or_default();
                if let Err(e) = hands.journal.answer(token, text).await {
                    tracing::warn!(error = %e, "a fleet's answer could not be written");
                }
                Outcome::Fleet(grant(a))
            }
            Err(e) => Outcome::Failed(cloud_trouble(e)),
        }
    };
    let ((), outcome) = tokio::join!(tell, ask);
    Done { outcome, group }
}

/// EC2 where a launch goes: the journalled request says it. That something of ours may be there is on disk before.
async fn at(hands: &Hands, request: &FleetRequest, gang: &Gang) -> Result<Arc<dyn Cloud>, Trouble> {
    let region = request.region.as_deref().or(gang.region.as_deref());
    regions::keep(hands, region).await.map_err(|e| Trouble {
        code: "Journal".into(),
        message: e.to_string(),
        class: Class::Auth,
        request_id: None,
        ambiguous: false,
    })?;
    regions::cloud(hands, region).await.map_err(cloud_trouble)
}

async fn terminated(hands: &Hands, gang: &Gang, ids: &[String]) -> Result<(), CloudError> {
    regions::of_gang(hands, gang).await?.terminate(ids).await
}

fn grant(a: FleetAnswer) -> Grant {
    Grant {
        fleet: a.fleet_id,
        instances: a.instances.into_iter().map(|i| i.id).collect(),
        errors: a.errors.into_iter().map(|e| (e.code, e.message, e.class)).collect(),
        request_id: a.request_id,
    }
}

async fn compose(hands: &Hands, gang: &Gang, rung: &Rung, token: &str) -> Result<String, Trouble> {
    let (template, group) = hands.prepare.for_launch(hands, gang, rung).await.map_err(cloud_trouble)?;
    let request = FleetRequest {
        client_token: token.to_owned(),
        template,
        instance_type: rung.instance_type.clone(),
        zone: rung.zone.clone(),
        subnet: rung.subnet.clone(),
        market: if rung.market == Market::Spot { Market::Spot } else { Market::OnDemand },
        group,
        nodes: rung.nodes,
        max_price: rung.max_price.map(|p| p.to_string()),
        tags: tags(hands, gang),
        reservation: rung.reservation.clone(),
        region: rung.region.clone(),
    };
    serde_json::to_string(&request).map_err(|e| Trouble {
        code: "Internal".into(),
        message: e.to_string(),
        class: Class::Configuration,
        request_id: None,
        ambiguous: false,
    })
}

/// EC2's bounds: keys 128, values 256 characters.
fn tags(hands: &Hands, gang: &Gang) -> BTreeMap<String, String> {
    let snapshot = hands.shared.snapshot.load();
    let job = gang.job_text();
    let account = gang.geometry.account.as_str();
    let fill = |v: &str| {
        v.replace("{account}", account)
            .replace("{project}", account)
            .replace("{user}", &gang.user)
            .replace("{pool}", &gang.pool)
            .replace("{job}", &job)
    };
    let mut tags: BTreeMap<String, String> = snapshot
        .config
        .as_ref()
        .map(|c| c.aws.tags.iter().map(|(k, v)| (k.clone(), fill(v))).collect())
        .unwrap_or_default();
    tags.insert("slurm-burst:cluster".into(), hands.cluster.to_string());
    tags.insert("slurm-burst:pool".into(), gang.pool.clone());
    tags.insert("slurm-burst:gang".into(), gang.key());
    tags.insert("slurm-burst:job".into(), job.clone());
    tags.insert("slurm-burst:attempt".into(), gang.attempt.to_string());
    tags.insert("slurm-burst:intent".into(), gang.intent.to_string());
    tags.insert("slurm-burst:user".into(), gang.user.clone());
    tags.insert("slurm-burst:account".into(), account.to_owned());
    tags.insert("Name".into(), format!("burst-{}-{job}", hands.name));
    for value in tags.values_mut() {
        *value = value.chars().take(256).collect();
    }
    tags
}

async fn addresses(hands: &Hands, gang: &Gang) -> Outcome {
    let ids: Vec<String> = gang.members.iter().map(|m| m.instance.clone()).collect();
    let found = match regions::of_gang(hands, gang).await {
        Ok(cloud) => cloud.describe(&ids).await,
        Err(e) => Err(e),
    };
    match found {
        Ok(found) => {
            let map: Addresses =
                found.into_iter().filter(|i| !i.state.is_gone()).map(|i| (i.id, (i.ip, i.dns))).collect();
            Outcome::Addresses(map)
        }
        Err(e) => Outcome::Failed(cloud_trouble(e)),
    }
}

async fn terminate(hands: &Hands, gang: &Gang, sweep: bool) -> Outcome {
    let mut ids: Vec<String> = gang.all_instances().cloned().collect();
    if sweep {
        let key = gang.key();
        let found = match regions::of_gang(hands, gang).await {
            Ok(cloud) => cloud.owned(&hands.cluster).await,
            Err(e) => Err(e),
        };
        match found {
            Ok(found) => ids.extend(
                found
                    .into_iter()
                    .filter(|i| i.tags.get("slurm-burst:gang") == Some(&key) && !i.state.is_gone())
                    .map(|i| i.id),
            ),
            Err(e) => return Outcome::Failed(cloud_trouble(e)),
        }
    }
    ids.sort();
    ids.dedup();
    if ids.is_empty() {
        return Outcome::Ok;
    }
    // The list may have taken long.
    if !hands.controller.active() {
        return own("Standby", "this controller is not the active one", Class::Auth);
    }
    match terminated(hands, gang, &ids).await {
        Ok(()) => {
            hands.prepare.give_back(gang.group.as_deref());
            Outcome::Ok
        }
        Err(e) => Outcome::Failed(cloud_trouble(e)),
    }
}
