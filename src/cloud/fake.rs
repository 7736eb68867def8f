//! A cloud in memory, for tests of what uses a cloud.
//!
//! It keeps the promises the engine builds on (all or nothing, client tokens, ids unknown for a while, states that
//! change with time) and records every call. Time is tokio's, so it runs under a paused clock too.
use crate::{
    Cloud, CloudError, FleetAnswer, FleetError, FleetRequest, Granted, Group, Instance, InstanceState,
    Template, TemplateRef, TemplateSpec,
};
use async_trait::async_trait;
use burst_plan::Market;
use burst_policy::{TypeBook, TypeFacts, classify::Class, reservation::Facts};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

mod reserved;

/// Unix time at which a fake cloud begins.
pub const EPOCH: u64 = 1_790_000_000;

/// How long things take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delays {
    /// Every call.
    pub call: Duration,
    /// CreateFleet, instead of `call`.
    pub fleet: Duration,
    /// From launch until DescribeInstances knows the instance.
    pub visible: Duration,
    /// From launch until it has an address.
    pub address: Duration,
    /// From launch to `running`.
    pub boot: Duration,
    /// From TerminateInstances to `terminated`.
    pub shutdown: Duration,
}

/// One call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// API name.
    pub api: &'static str,
    /// Since the cloud began.
    pub at: Duration,
    /// The interesting parameter: token, ids, name.
    pub detail: String,
}

#[derive(Debug)]
struct Machine {
    instance: Instance,
    born: Instant,
    ended: Option<Instant>,
    /// The reservation whose place it takes.
    reservation: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    types: BTreeMap<String, TypeFacts>,
    subnets: BTreeMap<String, (String, u32)>,
    site_templates: BTreeMap<String, (TemplateRef, bool)>,
    /// With their times, Unix seconds.
    templates: Vec<(TemplateSpec, TemplateRef, u64)>,
    groups: BTreeMap<String, String>,
    capacity: BTreeMap<(String, String, Market), u32>,
    /// `available` is counted anew from the instances.
    reservations: BTreeMap<String, Facts>,
    short: Option<u32>,
    fleets: Vec<(FleetRequest, FleetAnswer)>,
    machines: BTreeMap<String, Machine>,
    delays: Delays,
    calls: Vec<Call>,
    serial: u64,
}

/// The cloud; clones are the same cloud.
#[derive(Debug, Clone)]
pub struct FakeCloud {
    state: Arc<Mutex<State>>,
    began: Instant,
    /// Further Regions; shared by all of them.
    regions: Arc<Mutex<BTreeMap<String, FakeCloud>>>,
    /// The first one: what it is asked about the world counts for all Regions.
    home: bool,
}

impl Default for FakeCloud {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeCloud {
    /// An empty cloud with the built-in types, unlimited capacity and no delays.
    #[must_use]
    pub fn new() -> Self {
        let state = State { types: TypeBook::builtin().0, ..State::default() };
        let regions = Arc::default();
        Self { state: Arc::new(Mutex::new(state)), began: Instant::now(), regions, home: true }
    }
    /// The same account in another Region; it has nothing in the beginning.
    #[must_use]
    pub fn in_region(&self, name: &str) -> Self {
        let mut all = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = all.len() as u64 + 1;
        let new = || {
            // Part of every id: no two Regions have the same.
            let (types, serial) = (self.state().types.clone(), mark << 32);
            let state = State { types, serial, delays: self.state().delays, ..State::default() };
            let (state, regions) = (Arc::new(Mutex::new(state)), self.regions.clone());
            Self { state, began: self.began, regions, home: false }
        };
        all.entry(name.to_owned()).or_insert_with(new).clone()
    }
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// This Region, and of the first one all others.
    fn everywhere(&self) -> Vec<Self> {
        let mut all = vec![self.clone()];
        if self.home {
            let others = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(others.values().cloned());
        }
        all
    }
    /// Adds or replaces a type.
    pub fn add_type(&self, facts: TypeFacts) {
        self.state().types.insert(facts.name.clone(), facts);
    }
    /// Adds a subnet with its zone and free addresses.
    pub fn add_subnet(&self, id: &str, zone: &str, free: u32) {
        self.state().subnets.insert(id.into(), (zone.into(), free));
    }
    /// Adds a template of the site's under an id or name.
    pub fn add_site_template(&self, id_or_name: &str, template: TemplateRef, has_efa: bool) {
        self.state().site_templates.insert(id_or_name.into(), (template, has_efa));
    }
    /// How many more instances of a type a zone has; what was never set is unlimited.
    pub fn set_capacity(&self, instance_type: &str, zone: &str, market: Market, instances: u32) {
        self.state().capacity.insert((instance_type.into(), zone.into(), market), instances);
    }
    /// The next fleet grants only so many, although the request said all or nothing.
    pub fn grant_short(&self, instances: u32) {
        self.state().short = Some(instances);
    }
    /// Sets how long things take from now on.
    pub fn set_delays(&self, delays: Delays) {
        self.state().delays = delays;
    }
    /// Every call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }
    /// How often an API was called.
    #[must_use]
    pub fn count(&self, api: &str) -> usize {
        self.state().calls.iter().filter(|c| c.api == api).count()
    }
    /// Every fleet that was created, with its answer; replays with the same token are one.
    #[must_use]
    pub fn fleets(&self) -> Vec<(FleetRequest, FleetAnswer)> {
        self.everywhere().iter().flat_map(|c| c.state().fleets.clone()).collect()
    }
    /// Every instance ever, as it is now, whether visible to callers yet or not.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        let of = |c: &Self| {
            let s = c.state();
            s.machines.values().map(|m| m.shown(&s.delays)).collect::<Vec<_>>()
        };
        self.everywhere().iter().flat_map(of).collect()
    }
    /// Instances that cost money now.
    #[must_use]
    pub fn alive(&self) -> Vec<Instance> {
        self.instances().into_iter().filter(|i| !i.state.is_gone()).collect()
    }
    /// Whether an instance costs money now.
    #[must_use]
    pub fn lives(&self, id: &str) -> bool {
        let here = |c: &Self| {
            c.state().machines.get(id).is_some_and(|m| m.ended.is_none() && !m.instance.state.is_gone())
        };
        self.everywhere().iter().any(here)
    }
    /// The private address an instance has from its birth, whenever it is shown.
    #[must_use]
    pub fn address(&self, id: &str) -> Option<IpAddr> {
        self.everywhere().iter().find_map(|c| c.state().machines.get(id).and_then(|m| m.instance.ip))
    }
    /// Instances that cost money now, with the value of one tag each.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> BTreeMap<String, String> {
        let of = |m: &Machine| (m.instance.id.clone(), m.instance.tags.get(tag).cloned().unwrap_or_default());
        let here = |c: &Self| {
            let s = c.state();
            let living = s.machines.values().filter(|m| m.ended.is_none() && !m.instance.state.is_gone());
            living.map(of).collect::<Vec<_>>()
        };
        self.everywhere().iter().flat_map(here).collect()
    }
    /// Plants an instance nobody asked for.
    pub fn plant(&self, instance: Instance) {
        let machine = Machine { born: Instant::now(), ended: None, instance, reservation: None };
        self.state().machines.insert(machine.instance.id.clone(), machine);
    }
    /// Ends an instance from outside: spot interruption, hardware, an operator.
    pub fn kill(&self, id: &str) {
        for c in self.everywhere() {
            if let Some(m) = c.state().machines.get_mut(id) {
                m.ended.get_or_insert(Instant::now());
            }
        }
    }
    /// Ids of the launch templates, the oldest first.
    #[must_use]
    pub fn template_ids(&self) -> Vec<String> {
        self.state().templates.iter().map(|(_, t, _)| t.id.clone()).collect()
    }
    /// Names of the placement groups.
    #[must_use]
    pub fn group_names(&self) -> Vec<String> {
        self.state().groups.keys().cloned().collect()
    }

    async fn enter(&self, api: &'static str, detail: impl Into<String>) {
        let wait = {
            let mut s = self.state();
            s.calls.push(Call { api, at: self.began.elapsed(), detail: detail.into() });
            if api == "CreateFleet" { s.delays.fleet } else { s.delays.call }
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// An error as EC2 would word it.
#[must_use]
pub fn refusal(api: &str, code: &str, message: &str, class: Class) -> CloudError {
    CloudError {
        api: api.into(),
        code: code.into(),
        message: message.into(),
        class,
        request_id: Some("00000000-0000-4000-8000-000000000000".into()),
        ambiguous: false,
    }
}

impl Machine {
    fn shown(&self, d: &Delays) -> Instance {
        let mut i = self.instance.clone();
        let age = self.born.elapsed();
        i.state = match self.ended {
            Some(t) if t.elapsed() >= d.shutdown => InstanceState::Terminated,
            Some(_) => InstanceState::ShuttingDown,
            None if i.state != InstanceState::Pending => i.state,
            None if age >= d.boot => InstanceState::Running,
            None => InstanceState::Pending,
        };
        if age < d.address || i.state == InstanceState::Terminated {
            i.ip = None;
            i.dns = None;
        }
        i
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn seen<'a>(&'a self, of: impl Iterator<Item = &'a Machine>) -> Vec<Instance> {
        of.filter(|m| m.born.elapsed() >= self.delays.visible).map(|m| m.shown(&self.delays)).collect()
    }

    fn launch(&mut self, r: &FleetRequest, now: u64) -> Result<FleetAnswer, CloudError> {
        if let Some((first, answer)) = self.fleets.iter().find(|(f, _)| f.client_token == r.client_token) {
            return if first == r {
                Ok(answer.clone())
            } else {
                Err(refusal(
                    "CreateFleet",
                    "IdempotentParameterMismatch",
                    "the client token was used with other parameters",
                    Class::Configuration,
                ))
            };
        }
        let known = self.templates.iter().map(|t| &t.1).chain(self.site_templates.values().map(|t| &t.0));
        if !known.into_iter().any(|t| t.id == r.template.id) {
            let text = format!("launch template {} does not exist", r.template.id);
            return Err(refusal(
                "CreateFleet",
                "InvalidLaunchTemplateId.NotFound",
                &text,
                Class::Configuration,
            ));
        }
        let mut errors = Vec::new();
        let mut refuse = |code: &str, message: String, class| {
            errors.push(FleetError { code: code.into(), message, class });
        };
        let pool = (r.instance_type.clone(), r.zone.clone(), r.market);
        let wanted = r.reservation.as_ref().map(|w| w.id.clone());
        let named = self.reserved_room(r);
        let open = wanted.as_deref().filter(|_| named.is_none()).and_then(|id| self.reserved(id));
        let spare = open.map_or(0, |f| f.available);
        let market_room = self.capacity.get(&pool).copied().unwrap_or(u32::MAX);
        let room = match &named {
            Some(Ok(n)) => *n,
            Some(Err(_)) => 0,
            None => market_room.saturating_add(spare),
        };
        let free = self.subnets.get(&r.subnet).map_or(u32::MAX, |s| s.1);
        let group_missing = r.group.as_ref().is_some_and(|g| !self.groups.contains_key(g));
        let mut granted = 0;
        if group_missing {
            refuse(
                "InvalidPlacementGroup.Unknown",
                "the placement group is unknown".into(),
                Class::Configuration,
            );
        } else if free < r.nodes {
            let text = format!("not enough free addresses in subnet {}", r.subnet);
            refuse("InsufficientFreeAddressesInSubnet", text, Class::Subnet);
        } else if let Some(Err((code, text))) = &named {
            refuse(code, text.clone(), burst_policy::classify::classify(code, ""));
        } else if room < r.nodes && named.is_some() {
            // A Capacity Block gives what it has; the others keep the promise of all or nothing.
            let block = reserved::is_block(r);
            granted = if block { room } else { 0 };
            let text = format!("{room} instances are left in the reservation");
            refuse("ReservationCapacityExceeded", text, Class::Capacity);
        } else if room < r.nodes {
            let text = format!("no capacity for {} {} in {}", r.nodes, r.instance_type, r.zone);
            refuse("InsufficientInstanceCapacity", text, Class::Capacity);
        } else {
            granted = self.short.take().unwrap_or(r.nodes).min(r.nodes);
        }
        let reserved = if named.is_some() { granted } else { granted.min(spare) };
        if let Some(left) = self.capacity.get_mut(&pool) {
            *left = left.saturating_sub(granted - reserved);
        }
        if let Some((_, left)) = self.subnets.get_mut(&r.subnet) {
            *left = left.saturating_sub(granted);
        }
        let fleet_id = format!("fleet-{:08x}", self.next());
        let place = |n: u32| wanted.clone().filter(|_| n < reserved);
        let instances: Vec<Granted> = (0..granted).map(|n| self.boot(r, place(n), now)).collect();
        let request_id = Some(format!("request-{}", self.next()));
        let answer = FleetAnswer { fleet_id, instances, errors, request_id };
        self.fleets.push((r.clone(), answer.clone()));
        Ok(answer)
    }

    fn boot(&mut self, r: &FleetRequest, reservation: Option<String>, now: u64) -> Granted {
        let serial = self.next();
        let id = format!("i-{serial:017x}");
        let low = u32::try_from(((serial >> 32) & 0xf) << 20 | serial & 0x000f_ffff).unwrap_or(0);
        let instance = Instance {
            id: id.clone(),
            state: InstanceState::Pending,
            ip: Some(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | low))),
            dns: Some(format!("ip-{serial}.internal")),
            instance_type: r.instance_type.clone(),
            zone: r.zone.clone(),
            group: r.group.clone().unwrap_or_default(),
            launched: now,
            tags: r.tags.clone(),
        };
        let machine = Machine { instance, born: Instant::now(), ended: None, reservation };
        self.machines.insert(id.clone(), machine);
        Granted { id, instance_type: r.instance_type.clone(), zone: Some(r.zone.clone()) }
    }
}

#[async_trait]
impl Cloud for FakeCloud {
    async fn region(&self, name: &str) -> Result<Arc<dyn Cloud>, CloudError> {
        Ok(Arc::new(self.in_region(name)))
    }

    async fn instance_types(&self, names: &[String]) -> Result<Vec<TypeFacts>, CloudError> {
        self.enter("DescribeInstanceTypes", names.join(",")).await;
        let s = self.state();
        Ok(names.iter().filter_map(|n| s.types.get(n).cloned()).collect())
    }

    async fn subnets(&self, ids: &[String]) -> Result<BTreeMap<String, (String, u32)>, CloudError> {
        self.enter("DescribeSubnets", ids.join(",")).await;
        let s = self.state();
        let mut out = BTreeMap::new();
        for id in ids {
            let Some(subnet) = s.subnets.get(id) else {
                let text = format!("The subnet ID '{id}' does not exist");
                return Err(refusal(
                    "DescribeSubnets",
                    "InvalidSubnetID.NotFound",
                    &text,
                    Class::Configuration,
                ));
            };
            out.insert(id.clone(), subnet.clone());
        }
        Ok(out)
    }

    async fn ensure_template(&self, spec: &TemplateSpec) -> Result<TemplateRef, CloudError> {
        self.enter("CreateLaunchTemplate", &spec.pool).await;
        let mut s = self.state();
        if let Some((_, found, _)) = s.templates.iter().find(|(t, ..)| t == spec) {
            return Ok(found.clone());
        }
        let made = TemplateRef { id: format!("lt-{:08x}", s.next()), version: "1".into() };
        let now = EPOCH + self.began.elapsed().as_secs();
        s.templates.push((spec.clone(), made.clone(), now));
        Ok(made)
    }

    async fn site_template(&self, id_or_name: &str, needs_efa: bool) -> Result<TemplateRef, CloudError> {
        const API: &str = "DescribeLaunchTemplateVersions";
        self.enter(API, id_or_name).await;
        match self.state().site_templates.get(id_or_name) {
            None => {
                let text = format!("launch template {id_or_name} does not exist");
                Err(refusal(API, "InvalidLaunchTemplateName.NotFoundException", &text, Class::Configuration))
            }
            Some((_, false)) if needs_efa => {
                let text = format!("launch template {id_or_name} has no EFA interfaces");
                Err(refusal(API, "NoEfaInterfaces", &text, Class::Configuration))
            }
            Some((found, _)) => Ok(found.clone()),
        }
    }

    async fn groups(&self, cluster: &str) -> Result<Vec<Group>, CloudError> {
        self.enter("DescribePlacementGroups", cluster).await;
        let s = self.state();
        let mine = s.groups.iter().filter(|(_, owner)| *owner == cluster);
        Ok(mine.map(|(name, _)| Group { name: name.clone(), available: true }).collect())
    }

    async fn create_group(&self, cluster: &str, name: &str) -> Result<(), CloudError> {
        self.enter("CreatePlacementGroup", name).await;
        self.state().groups.entry(name.into()).or_insert_with(|| cluster.into());
        Ok(())
    }

    async fn delete_group(&self, name: &str) -> Result<(), CloudError> {
        self.enter("DeletePlacementGroup", name).await;
        let mut s = self.state();
        let used = s
            .machines
            .values()
            .any(|m| m.instance.group == name && m.shown(&s.delays).state != InstanceState::Terminated);
        if used {
            let text = format!("The placement group '{name}' is in use and may not be deleted");
            return Err(refusal(
                "DeletePlacementGroup",
                "InvalidPlacementGroup.InUse",
                &text,
                Class::Transient,
            ));
        }
        s.groups.remove(name);
        Ok(())
    }

    async fn templates(&self, cluster: &str) -> Result<Vec<Template>, CloudError> {
        self.enter("DescribeLaunchTemplates", cluster).await;
        let s = self.state();
        let mine = s.templates.iter().filter(|(spec, ..)| spec.cluster == cluster);
        let shown = |(spec, t, created): &(TemplateSpec, TemplateRef, u64)| Template {
            id: t.id.clone(),
            name: format!("burst-{}-{}", spec.pool, t.id),
            created: *created,
        };
        Ok(mine.map(shown).collect())
    }

    async fn delete_template(&self, id: &str) -> Result<(), CloudError> {
        self.enter("DeleteLaunchTemplate", id).await;
        self.state().templates.retain(|(_, t, _)| t.id != id);
        Ok(())
    }

    async fn reservations(&self, ids: &[String]) -> Result<Vec<Facts>, CloudError> {
        self.enter("DescribeCapacityReservations", ids.join(",")).await;
        let s = self.state();
        Ok(ids.iter().filter_map(|id| s.reserved(id)).collect())
    }

    async fn create_fleet(&self, request: &FleetRequest) -> Result<FleetAnswer, CloudError> {
        self.enter("CreateFleet", &request.client_token).await;
        let now = EPOCH + self.began.elapsed().as_secs();
        self.state().launch(request, now)
    }

    async fn describe(&self, ids: &[String]) -> Result<Vec<Instance>, CloudError> {
        self.enter("DescribeInstances", ids.join(",")).await;
        let s = self.state();
        Ok(s.seen(ids.iter().filter_map(|id| s.machines.get(id))))
    }

    async fn owned(&self, cluster: &str) -> Result<Vec<Instance>, CloudError> {
        self.enter("DescribeInstances", format!("cluster {cluster}")).await;
        let s = self.state();
        let ours = |m: &&Machine| m.instance.tags.get("slurm-burst:cluster").is_some_and(|c| c == cluster);
        let mut seen = s.seen(s.machines.values().filter(ours));
        seen.retain(|i| i.state != InstanceState::Terminated);
        Ok(seen)
    }

    async fn terminate(&self, ids: &[String]) -> Result<(), CloudError> {
        self.enter("TerminateInstances", ids.join(",")).await;
        let mut s = self.state();
        for id in ids {
            let Some(m) = s.machines.get_mut(id).filter(|m| m.ended.is_none()) else { continue };
            m.ended = Some(Instant::now());
            if m.reservation.is_some() {
                continue;
            }
            let pool = (m.instance.instance_type.clone(), m.instance.zone.clone());
            for market in [Market::OnDemand, Market::Spot] {
                // Capacity returns to the market it came from; a fleet remembers which.
                let took = s
                    .fleets
                    .iter()
                    .any(|(r, a)| r.market == market && a.instances.iter().any(|g| g.id == *id));
                if took && let Some(left) = s.capacity.get_mut(&(pool.0.clone(), pool.1.clone(), market)) {
                    *left = left.saturating_add(1);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "fake_tests.rs"]
pub(crate) mod tests;
