//! Made ahead of time: launch templates per card layout and placement groups, so that neither is created on the way.

use crate::{effects::Hands, reserved::Reservations};
use burst_cloud::{Cloud, CloudError, TemplateRef, TemplateSpec};
use burst_policy::{
    Rung,
    classify::Class,
    config::{Config, Placement, Pool},
    gang::Gang,
    parts::may_split,
    reservation::{Kind, Reserved},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Semaphore;

/// How long a launch waits for the first look at EC2 after slurmctld's start.
const FIRST_LOOK: Duration = Duration::from_secs(20);

/// Placement groups kept ready beside those in use: EC2 allows 500 a Region.
const GROUPS_READY: usize = 4;
/// Placement groups that may lie ready: those of a crowd of gangs are used again by the next.
const GROUPS_KEPT: usize = 32;

/// A Region; None: `aws.region`.
type Where = Option<String>;

/// Names are the same in no two Regions.
#[derive(Debug, Default)]
struct Groups {
    /// Name → Region.
    free: BTreeMap<String, Where>,
    /// Name → gang and Region.
    used: BTreeMap<String, (String, Where)>,
    next: u64,
}

impl Groups {
    fn ready(&self, region: &Where) -> usize {
        self.free.values().filter(|r| *r == region).count()
    }

    /// The first that lies ready in a Region.
    fn take(&mut self, region: &Where) -> Option<String> {
        let name = self.free.iter().find(|(_, r)| *r == region).map(|(n, _)| n.clone())?;
        self.free.remove(&name);
        Some(name)
    }

    /// Ready again.
    fn back(&mut self, name: &str) {
        if let Some((_, region)) = self.used.remove(name) {
            self.free.insert(name.to_owned(), region);
        }
    }
}

/// The pool of prepared things.
#[derive(Debug)]
pub struct Prepare {
    templates: Mutex<BTreeMap<String, TemplateRef>>,
    groups: Mutex<Groups>,
    /// What EC2 says of the pools' reservations.
    pub reserved: Reservations,
    /// Regions that were launched into.
    pub regions: crate::regions::Known,
    /// Closed when EC2 was asked about types, subnets, templates and groups, with whatever success: who waits is woken
    /// in the order in which it came.
    looked: Semaphore,
}

impl Default for Prepare {
    fn default() -> Self {
        let (templates, groups, reserved, regions) = Default::default();
        Self { templates, groups, reserved, regions, looked: Semaphore::new(0) }
    }
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

fn broken(code: &str, message: String) -> CloudError {
    CloudError {
        api: "burst".into(),
        code: code.into(),
        message,
        class: Class::Configuration,
        request_id: None,
        ambiguous: false,
    }
}

impl Prepare {
    /// The template of a rung and, where the pool places its gangs, a group nobody uses.
    ///
    /// # Errors
    /// EC2's, or a configuration that cannot be launched.
    pub async fn for_launch(
        &self,
        hands: &Hands,
        gang: &Gang,
        rung: &Rung,
    ) -> Result<(TemplateRef, Option<String>), CloudError> {
        // A look that takes too long fails the launch's own calls, too, and those say why.
        let _ = tokio::time::timeout(FIRST_LOOK, self.looked.acquire()).await;
        may_act(hands)?;
        let snapshot = hands.shared.snapshot.load_full();
        if let Some(why) = snapshot.wrong_subnets.get(&gang.pool) {
            return Err(broken("WrongSubnet", why.clone()));
        }
        let config =
            snapshot.config.as_ref().ok_or_else(|| broken("NoConfig", "burst.toml cannot be used".into()))?;
        let pool = config
            .pools
            .get(&gang.pool)
            .ok_or_else(|| broken("NoPool", format!("pool {} is not in burst.toml", gang.pool)))?;
        let cloud = crate::regions::cloud(hands, rung.region.as_deref()).await?;
        let template = self.template(hands, (config, pool), rung, &*cloud).await?;
        let group = match (&rung.reservation, pool.placement) {
            // The place is the reservation's: where it was made in a group, it is that one.
            (Some(r), _) => r.group.clone(),
            (None, Placement::Cluster) => Some(self.group(hands, &gang.key(), &rung.region, &*cloud).await?),
            (None, Placement::None) => None,
        };
        Ok((template, group))
    }

    async fn template(
        &self,
        hands: &Hands,
        (config, pool): (&Config, &Pool),
        rung: &Rung,
        cloud: &dyn Cloud,
    ) -> Result<TemplateRef, CloudError> {
        let snapshot = hands.shared.snapshot.load_full();
        let facts = snapshot
            .types
            .get(&rung.instance_type)
            .ok_or_else(|| broken("UnknownType", format!("nothing is known of {}", rung.instance_type)))?;
        let reservation = named(rung);
        let id = reservation.as_ref().map_or("", |r| r.id.as_str());
        let region = rung.region.as_deref().unwrap_or("");
        let key = format!("{}|{}|{}|{id}|{region}", pool.name, rung.instance_type, rung.efa);
        if let Some(known) = lock(&self.templates).get(&key) {
            return Ok(known.clone());
        }
        may_act(hands)?;
        let gone = || broken("NoRegion", format!("pool {} has no Region {region} any more", pool.name));
        let pool = &pool.in_region(rung.region.as_deref()).ok_or_else(gone)?;
        let made = match &pool.launch_template {
            Some(site) => cloud.site_template(site, rung.efa > 0).await?,
            None => {
                let spec = TemplateSpec {
                    cluster: hands.cluster.to_string(),
                    pool: pool.name.clone(),
                    facts: facts.clone(),
                    efa: rung.efa,
                    image: pool.image.clone().unwrap_or_default(),
                    security_groups: pool.security_groups.clone(),
                    instance_profile: pool.instance_profile.clone(),
                    key_name: pool.key_name.clone(),
                    root_gib: pool.root_gib,
                    public_ip: pool.public_ip,
                    user_data: user_data(&hands.cluster, config, pool, rung.efa),
                    reservation,
                };
                cloud.ensure_template(&spec).await?
            }
        };
        lock(&self.templates).insert(key, made.clone());
        Ok(made)
    }

    async fn group(
        &self,
        hands: &Hands,
        key: &str,
        region: &Where,
        cloud: &dyn Cloud,
    ) -> Result<String, CloudError> {
        let (name, make) = {
            let mut groups = lock(&self.groups);
            let whose = (key.to_owned(), region.clone());
            let held = groups.used.iter().find(|(_, k)| **k == whose).map(|(n, _)| n.clone());
            match held.or_else(|| groups.take(region)) {
                Some(n) => {
                    groups.used.insert(n.clone(), whose);
                    (n, false)
                }
                None => {
                    let n = fresh(&mut groups, &hands.cluster, hands.host.now_ms());
                    groups.used.insert(n.clone(), whose);
                    (n, true)
                }
            }
        };
        if make {
            // The template before it may have taken long.
            let made = match may_act(hands) {
                Ok(()) => cloud.create_group(&hands.cluster, &name).await,
                Err(e) => Err(e),
            };
            if let Err(e) = made {
                lock(&self.groups).used.remove(&name);
                return Err(e);
            }
        }
        Ok(name)
    }

    /// A gang of before a restart holds this group.
    pub fn claim(&self, name: &str, key: &str, region: Where) {
        let mut groups = lock(&self.groups);
        groups.free.remove(name);
        groups.used.insert(name.to_owned(), (key.to_owned(), region));
    }

    /// The group is free again.
    pub fn give_back(&self, name: Option<&str>) {
        let Some(name) = name else { return };
        lock(&self.groups).back(name);
    }

    /// A launch was refused: whatever group its gang held is free again.
    pub fn release_of(&self, key: &str) {
        let mut groups = lock(&self.groups);
        let held: Vec<String> =
            groups.used.iter().filter(|(_, (k, _))| k == key).map(|(n, _)| n.clone()).collect();
        for name in held {
            groups.back(&name);
        }
    }

    /// Groups that lie ready beyond what is kept, and their Regions; nobody is offered them any more.
    pub fn surplus(&self) -> Vec<(String, Where)> {
        let mut groups = lock(&self.groups);
        let regions: BTreeSet<Where> = groups.free.values().cloned().collect();
        let mut out = Vec::new();
        for region in regions {
            while groups.ready(&region) > GROUPS_KEPT
                && let Some(name) = groups.take(&region)
            {
                out.push((name, region.clone()));
            }
        }
        out
    }

    /// A group that could not be deleted lies ready again.
    pub fn keep(&self, name: String, region: Where) {
        lock(&self.groups).free.insert(name, region);
    }

    /// burst.toml was read again: templates are made anew where they differ.
    pub fn reconsider(&self) {
        lock(&self.templates).clear();
    }

    /// EC2 says that something of ours is gone: it is not offered again.
    pub fn forget(&self, code: &str, group: Option<&str>) {
        if code.starts_with("InvalidPlacementGroup")
            && let Some(name) = group
        {
            let mut groups = lock(&self.groups);
            groups.free.remove(name);
            groups.used.remove(name);
        }
        if code.starts_with("InvalidLaunchTemplate") {
            lock(&self.templates).clear();
        }
    }

    /// The first look at EC2 is over.
    pub fn looked(&self) {
        self.looked.close();
    }

    /// Makes ahead what launches will need: groups that EC2 still has are used again, templates of every block made.
    ///
    /// # Errors
    /// EC2's first.
    pub async fn ahead(&self, hands: &Hands) -> Result<(), CloudError> {
        let snapshot = hands.shared.snapshot.load_full();
        let Some(config) = snapshot.config.as_ref() else { return Ok(()) };
        // A further Region that does not answer keeps the others waiting for nothing.
        let mut failed = None;
        for region in crate::regions::of_config(config) {
            match self.ahead_in(hands, config, &region).await {
                Err(e) if region.is_none() => return Err(e),
                Err(e) => failed = failed.or(Some(e)),
                Ok(()) => {}
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn ahead_in(&self, hands: &Hands, config: &Config, region: &Where) -> Result<(), CloudError> {
        let cloud = crate::regions::cloud(hands, region.as_deref()).await?;
        let wants = |p: &Pool| {
            p.placement == Placement::Cluster
                && region.as_ref().is_none_or(|r| p.regions.iter().any(|a| a.region == *r))
        };
        if config.pools.values().any(wants) {
            for group in cloud.groups(&hands.cluster).await? {
                let mut groups = lock(&self.groups);
                if group.available && !groups.used.contains_key(&group.name) {
                    groups.free.insert(group.name, region.clone());
                }
            }
            // In a further Region they are made when they are needed.
            while region.is_none() && lock(&self.groups).ready(region) < GROUPS_READY {
                let name = fresh(&mut lock(&self.groups), &hands.cluster, hands.host.now_ms());
                may_act(hands)?;
                cloud.create_group(&hands.cluster, &name).await?;
                lock(&self.groups).free.insert(name, region.clone());
            }
        }
        for pool in config.pools.values() {
            for rung in layouts_in(pool, region) {
                self.template(hands, (config, pool), &rung, &*cloud).await?;
            }
        }
        Ok(())
    }

    /// Makes sure that the template of every card layout is there, and answers the ids of all that are used.
    ///
    /// # Errors
    /// EC2's first.
    pub async fn templates(&self, hands: &Hands) -> Result<BTreeSet<String>, CloudError> {
        let snapshot = hands.shared.snapshot.load_full();
        let config =
            snapshot.config.as_ref().ok_or_else(|| broken("NoConfig", "burst.toml cannot be used".into()))?;
        for pool in config.pools.values() {
            for rung in layouts(pool) {
                let cloud = crate::regions::cloud(hands, rung.region.as_deref()).await?;
                self.template(hands, (config, pool), &rung, &*cloud).await?;
            }
        }
        Ok(lock(&self.templates).values().map(|t| t.id.clone()).collect())
    }

    /// Whether launches are made from this template.
    pub(crate) fn uses(&self, id: &str) -> bool {
        lock(&self.templates).values().any(|t| t.id == id)
    }

    /// It is gone.
    pub(crate) fn forget_template(&self, id: &str) {
        lock(&self.templates).retain(|_, t| t.id != id);
    }
}

/// Another controller may have taken over since the last call.
fn may_act(hands: &Hands) -> Result<(), CloudError> {
    if hands.controller.active() {
        return Ok(());
    }
    Err(CloudError {
        class: Class::Auth,
        ..broken("Standby", "this controller is not the active one".into())
    })
}

/// The reservation that a rung's launch template has to name: an open one takes what comes.
fn named(rung: &Rung) -> Option<Reserved> {
    let r = rung.reservation.as_ref().filter(|r| r.kind != Kind::Open)?;
    // The group stands in the launch.
    Some(Reserved { group: None, ..r.clone() })
}

/// Whether a placement group is one of ours, and not the site's that a reservation was made in.
pub(crate) fn is_ours(cluster: &str, name: &str) -> bool {
    let short: String = cluster.chars().take(8).collect();
    name.strip_prefix("burst-").and_then(|n| n.strip_prefix(&*short)).is_some_and(|n| n.starts_with('-'))
}

/// A name nobody has used: the cluster's first UUID digits and a number that outlives restarts.
fn fresh(groups: &mut Groups, cluster: &str, now_ms: u64) -> String {
    let short: String = cluster.chars().take(8).collect();
    groups.next = groups.next.max(now_ms) + 1;
    format!("burst-{short}-{:x}", groups.next)
}

/// One rung per card layout a pool can need, in each of its Regions: the site's own first.
fn layouts(pool: &Pool) -> Vec<Rung> {
    let abroad = pool.regions.iter().map(|a| Some(a.region.clone()));
    std::iter::once(None).chain(abroad).flat_map(|r| layouts_in(pool, &r)).collect()
}

fn layouts_in(pool: &Pool, region: &Where) -> Vec<Rung> {
    let Some((_, zone, subnet)) = pool.places().find(|(r, ..)| *r == region.as_deref()) else {
        return Vec::new();
    };
    let rung = |block: usize, kind: &str, efa: u32| Rung {
        block,
        instance_type: kind.to_owned(),
        zone: zone.to_owned(),
        subnet: subnet.to_owned(),
        market: pool.market,
        nodes: 1,
        efa,
        hourly: None,
        max_price: None,
        reservation: None,
        region: region.clone(),
    };
    let mut out = Vec::new();
    for (i, block) in pool.blocks.iter().enumerate() {
        if block.efa_max > 0 && pool.efa != burst_plan::Efa::Off {
            out.push(rung(i, &block.instance_type, block.efa_max));
        }
        if pool.efa != burst_plan::Efa::Required {
            out.push(rung(i, &block.instance_type, 0));
        }
    }
    let reserved = |r: &burst_policy::reservation::Reservation| {
        let reservation = Some(Reserved { id: r.id.clone(), kind: r.kind, group: None });
        let of = |l: &Rung| Rung { reservation: reservation.clone(), ..l.clone() };
        let layouts = out.iter().filter(|l| l.instance_type == r.instance_type);
        layouts.map(of).collect::<Vec<_>>()
    };
    let here = |zone: &str| pool.places().any(|(r, z, _)| r == region.as_deref() && z == zone);
    let named = pool.reservations.iter().filter(|r| here(&r.zone));
    let mut all: Vec<Rung> = named.flat_map(reserved).collect();
    all.append(&mut out);
    all
}

/// The JSON burst-node reads (docs/WIRE.md).
fn user_data(cluster: &str, config: &Config, pool: &Pool, efa: u32) -> String {
    let mut controllers = config.cluster.advertise.clone();
    if controllers.is_empty() {
        controllers.push(format!("http://{}", config.cluster.listen));
    }
    serde_json::json!({"burst_node": {
        "v": 1,
        "controllers": controllers,
        "cluster": cluster,
        "pool": pool.name,
        "efa_devices": efa,
        // Instances of a gang that takes several fleets wait for the others before they are named.
        "boot_limit_s": pool.boot_limit.0 + if may_split(config, pool) { pool.split_limit.0 } else { 0 },
        "orphan_limit_s": pool.orphan_limit.0,
    }})
    .to_string()
}
