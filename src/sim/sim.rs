//! The simulator as a whole: the account, and the life of its instances.

use crate::actions::launch::Pool;
use crate::audit::Audit;
use crate::clock::{gmt, now_ms};
use crate::config::{Config, Network};
use crate::ids::Ids;
use crate::processes::{Job, Processes};
use crate::query::Tree;
use crate::world::{Instance, Nic, State, Tags, World};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Everything.
#[derive(Debug)]
pub struct Sim {
    /// Settings.
    pub cfg: Config,
    /// The account.
    pub world: Mutex<World>,
    /// The log, of all Regions.
    pub audit: Arc<Audit>,
    /// Identifiers, the same in no two Regions.
    pub ids: Arc<Ids>,
    /// Processes of instances.
    pub processes: Arc<Processes>,
    /// Further Regions of the account; only the first one has them.
    pub regions: BTreeMap<String, Arc<Sim>>,
    /// This host's name.
    pub hostname: String,
    /// Itself, for tasks it starts.
    pub me: Weak<Sim>,
    /// Where its tasks run.
    pub runtime: tokio::runtime::Handle,
}

/// An order for instances of one pool.
pub struct Launch<'a> {
    /// Fleet's id.
    pub fleet: &'a str,
    /// Client token.
    pub token: &'a str,
    /// Market.
    pub market: &'static str,
    /// Pool.
    pub pool: &'a Pool,
    /// Launch template data.
    pub data: &'a Tree,
    /// Tags of the instances.
    pub tags: Tags,
    /// Tags of their volumes and interfaces.
    pub extra_tags: BTreeMap<String, Tags>,
}

impl Sim {
    /// This Region and the further ones.
    pub fn everywhere(&self) -> impl Iterator<Item = &Sim> {
        std::iter::once(self).chain(self.regions.values().map(|r| &**r))
    }

    /// The Region that has an instance; this one where none has.
    pub fn holder(&self, id: &str) -> &Sim {
        self.everywhere().find(|s| s.world().instances.contains_key(id)).unwrap_or(self)
    }

    /// The account, locked. A panic elsewhere does not make it unusable.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A zone's id, as `use2-az1`.
    pub fn zone_id(&self, zone: &str) -> String {
        let n = self.cfg.zones.iter().position(|z| z == zone).map_or(0, |n| n + 1);
        let mut short = String::new();
        for part in self.cfg.region.split('-') {
            let keep = if short.is_empty() { 2 } else { 1 };
            short.extend(part.chars().take(keep));
        }
        format!("{short}-az{n}")
    }

    /// Creates instances; their lives go on by themselves.
    pub fn launch(&self, w: &mut World, order: &Launch<'_>, count: i64, now: u64) -> Vec<String> {
        let reservation = self.ids.resource("r");
        let mut out = Vec::new();
        for index in 0..u64::try_from(count).unwrap_or(0) {
            let seq = w.next_seq;
            w.next_seq += 1;
            let (private_ip, private_dns) = match self.cfg.network {
                Network::Shared => ("127.0.0.1".to_owned(), self.hostname.clone()),
                Network::Netns => {
                    let ip = self.processes.address(seq);
                    let name = format!("ip-{}.{}.compute.internal", ip.replace('.', "-"), self.cfg.region);
                    (ip, name)
                }
            };
            let reserved = {
                let serving = w.serving(&order.pool.wanted, order.pool.place(order.market));
                serving.into_iter().find(|c| w.places(c, now) > 0).map(|c| c.id.clone())
            };
            let nic = |n: &crate::actions::launch::WishedNic| Nic {
                id: self.ids.resource("eni"),
                card: n.card,
                device: n.device,
                kind: n.kind.clone(),
                groups: n.groups.clone(),
            };
            let i = Instance {
                id: self.ids.resource("i"),
                seq,
                index,
                reservation: reservation.clone(),
                fleet_id: order.fleet.to_owned(),
                client_token: order.token.to_owned(),
                itype: order.pool.spec.name.clone(),
                zone: order.pool.zone.clone(),
                subnet: order.pool.subnet.clone(),
                market: order.market.to_owned(),
                image: order.pool.image.clone(),
                tags: order.tags.clone(),
                extra_tags: order.extra_tags.clone(),
                state: State::Pending,
                reason: None,
                launched_ms: now,
                ended_ms: None,
                private_ip,
                private_dns,
                group: order.pool.group.clone().or_else(|| w.group_of(reserved.as_deref())),
                capacity_reservation: reserved.clone(),
                nics: order.pool.nics.iter().map(nic).collect(),
                security_groups: order.pool.groups.clone(),
                data: order.data.clone(),
                pid: None,
                started: false,
                hung: false,
                notice: None,
                imds_tokens: HashMap::new(),
            };
            self.audit.instance(&i, "launched by CreateFleet");
            out.push(i.id.clone());
            w.instances.insert(i.id.clone(), i);
        }
        if let Some(me) = self.me.upgrade() {
            let ids = out.clone();
            let delay = w.knobs.pending_ms;
            self.runtime.spawn(async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                ids.iter().for_each(|id| me.boot(id));
            });
        }
        out
    }

    /// pending → running: the process starts.
    fn boot(&self, id: &str) {
        let mut w = self.world();
        let Some(i) = w.instances.get_mut(id).filter(|i| i.state == State::Pending) else { return };
        i.state = State::Running;
        self.audit.instance(i, "booted");
        if !self.cfg.instance_command.is_empty() && !i.hung {
            i.started = true;
            let job =
                Job { id: i.id.clone(), seq: i.seq, ip: i.private_ip.clone(), dns: i.private_dns.clone() };
            self.processes.start(job);
        }
    }

    /// Ends an instance from outside: it is told to shut down, as EC2 tells the operating system, its process tree is killed
    /// after `shutdown_ms`, and then it is terminated.
    pub fn end_instance(&self, w: &mut World, id: &str, code: &str, why: &str) {
        let delay = w.knobs.shutdown_ms;
        let Some(i) = w.instances.get_mut(id) else { return };
        match i.state {
            State::Pending | State::Running | State::Stopping | State::Stopped => {}
            State::ShuttingDown | State::Terminated => return,
        }
        let bare = i.state == State::Stopped || !i.started;
        i.state = State::ShuttingDown;
        i.reason = Some((code.to_owned(), format!("{why} ({})", gmt(now_ms()))));
        self.audit.instance(i, why);
        let Some(me) = self.me.upgrade() else { return };
        let id = id.to_owned();
        if let Some(pid) = i.pid.filter(|_| delay > 0) {
            me.processes.tell(pid);
        }
        self.runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            let pid = me.world().instances.get(&id).and_then(|i| i.pid);
            match pid {
                // The rest follows when the process is seen to have ended.
                Some(pid) => me.processes.kill(pid, &id),
                None if bare => me.finish(&id, State::Terminated, "no process"),
                // About to be started: the starter sees the state and does not.
                None => {}
            }
        });
    }

    /// The process of an instance is gone.
    pub fn process_ended(&self, id: &str, how: &str) {
        let (from, to) = {
            let mut w = self.world();
            let Some(i) = w.instances.get_mut(id) else { return };
            i.pid = None;
            i.started = false;
            let stop = i.data.str("InstanceInitiatedShutdownBehavior") != Some("terminate");
            match i.state {
                State::Pending | State::Running => {
                    let (from, to) = if stop && i.market != "spot" {
                        (State::Stopping, State::Stopped)
                    } else {
                        (State::ShuttingDown, State::Terminated)
                    };
                    i.state = from;
                    i.reason = Some((
                        "Client.InstanceInitiatedShutdown".into(),
                        format!(
                            "Client.InstanceInitiatedShutdown: Instance initiated shutdown ({})",
                            gmt(now_ms())
                        ),
                    ));
                    self.audit.instance(i, how);
                    (from, to)
                }
                State::Stopping => (State::Stopping, State::Stopped),
                s => (s, State::Terminated),
            }
        };
        if from != State::Terminated {
            self.finish(id, to, how);
        }
    }

    /// Last step of an instance.
    pub fn finish(&self, id: &str, state: State, why: &str) {
        let mut w = self.world();
        let Some(i) = w.instances.get_mut(id) else { return };
        if i.state == State::Terminated || i.state == state {
            return;
        }
        i.state = state;
        i.ended_ms = Some(now_ms());
        self.audit.instance(i, why);
    }

    /// Kills everything, waits until it is gone (at most 20 s) and cleans up.
    pub async fn shut_down(self: &Arc<Self>) {
        for region in self.everywhere() {
            let mut w = region.world();
            let ids: Vec<String> = w.instances.keys().cloned().collect();
            w.knobs.shutdown_ms = 0;
            for id in ids {
                region.end_instance(&mut w, &id, "Server.ScheduledStop", "simulator ends");
            }
        }
        let until = tokio::time::Instant::now() + Duration::from_secs(20);
        let left = |s: &Sim| s.world().instances.values().any(|i| i.state != State::Terminated);
        while self.everywhere().any(left) && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.processes.sweep_all();
        self.processes.clean_up();
        self.audit.note("simulator-stopped", serde_json::json!({"pid": std::process::id()}));
    }
}
