//! What the engine knows of EC2's rates and outages: the policy's budget and breakers, shared by every call.
//!
//! Gangs ask for their turn before they launch; every other call draws when it is made ([`crate::gate`]). Lost with the
//! process: a throttle teaches it anew.

use burst_cloud::{CloudError, FleetAnswer};
use burst_policy::{
    breaker::{Breakers, Pass, is_outage},
    budget::{Answer, Buckets, Budget, Family, Settled, Throttled},
    classify::Class,
    config::Config,
    gang::{Turn, Why},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// EC2's code for too many instances, rather than too many calls (CreateFleet's and TerminateInstances' errors).
const TOO_MANY: &str = "RequestResourceCountExceeded";

/// What a gang wants to launch now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// One fleet of so many instances.
    Fleet(u32),
    /// The first of several.
    First {
        /// Instances of it.
        nodes: u32,
        /// Of all of them.
        total: u32,
    },
    /// A further one, of so many instances, while others of the gang are granted and paid for.
    Next(u32),
}

struct Inner {
    /// Made at the first question: full buckets before that.
    budget: Option<Budget>,
    breakers: Breakers,
    region: String,
    jitter: u64,
    throttles: u64,
}

/// Budget and breakers of the account, by Region.
pub struct Rates {
    /// Of `aws.region`.
    home: Mutex<Inner>,
    /// Of further Regions: EC2 counts in each for itself.
    others: Mutex<BTreeMap<String, Arc<Rates>>>,
}

impl std::fmt::Debug for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rates")
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self::of(String::new(), None)
    }
}

impl Inner {
    fn budget(&mut self, now: u64) -> &mut Budget {
        self.budget.get_or_insert_with(|| Budget::new(Buckets::default(), now))
    }

    /// A number in 0..1000.
    fn jitter(&mut self, now: u64) -> u64 {
        self.jitter = (self.jitter ^ now)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.jitter >> 33) % 1_000
    }

    /// One Region, for people.
    fn view(&mut self, now: u64) -> Value {
        let (buckets, waiting) = (self.budget(now).shown(now), self.budget(now).waiting());
        json!({
            "region": self.region, "buckets": buckets, "gangs_waiting": waiting, "throttles": self.throttles,
            "breakers": self.breakers.shown(),
        })
    }

    fn outage(&self, family: Family) -> Why {
        Why::Outage {
            calls: format!("{} in {}", family.label(), self.region),
            code: self.breakers.code(&self.region, family).to_owned(),
        }
    }

    /// EC2 failed a call of this family, or answered it.
    fn note(&mut self, family: Family, error: Option<&CloudError>, now: u64) {
        let region = self.region.clone();
        let Some(e) = error else {
            self.breakers.good(&region, family);
            self.budget(now).succeeded(family);
            return;
        };
        if is_outage(&e.code, e.class, e.request_id.is_some()) {
            let jitter = self.jitter(now);
            if self.breakers.bad(&region, family, &e.code, jitter, now) {
                tracing::warn!(calls = family.label(), region, error = %e, "EC2 is left alone for a while");
            }
            return;
        }
        if is_ours(e) {
            return;
        }
        self.breakers.good(&region, family);
        if e.class == Class::Throttle {
            let what = match (e.code == TOO_MANY, family) {
                (true, Family::Launch) => Throttled::Launches,
                (true, Family::Terminate) => Throttled::Ends,
                _ => Throttled::Requests(family),
            };
            self.throttled(what, &e.code, now);
        }
    }

    fn throttled(&mut self, what: Throttled, code: &str, now: u64) {
        self.throttles += 1;
        self.budget(now).throttled(what, now);
        tracing::warn!(?what, code, "EC2 throttles: the budget is slowed down");
    }
}

/// Errors that were made here and say nothing about EC2.
fn is_ours(e: &CloudError) -> bool {
    matches!(e.code.as_str(), "Standby" | "NoCredentials")
}

impl Rates {
    fn of(region: String, budget: Option<Budget>) -> Self {
        let inner = Inner { budget, breakers: Breakers::default(), region, jitter: 1, throttles: 0 };
        Self { home: Mutex::new(inner), others: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn others(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Self>>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of a further Region.
    pub fn region(&self, name: &str) -> Arc<Self> {
        self.others()
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(Self::of(name.to_owned(), None)))
            .clone()
    }

    /// Takes over what burst.toml says.
    pub fn configure(&self, config: &Config, now: u64) {
        for abroad in config.regions().into_iter().skip(1) {
            self.region(abroad).lock().budget(now).resize(config.rates);
        }
        let mut i = self.lock();
        i.budget(now).resize(config.rates);
        i.region.clone_from(&config.aws.region);
    }

    /// A gang asks for its turn to launch so many instances (0: for the repetition of a launch without an answer).
    pub fn turn(&self, gang: &str, nodes: u32, now: u64) -> Turn {
        self.turn_of(gang, Wanted::Fleet(nodes), now)
    }

    /// The same where the gang may take several fleets.
    pub fn turn_of(&self, gang: &str, wanted: Wanted, now: u64) -> Turn {
        let mut i = self.lock();
        if i.budget(now).is_admitted(gang) {
            return Turn::Go;
        }
        let region = i.region.clone();
        for family in [Family::Launch, Family::Change] {
            if let Pass::Wait(ask_ms) = i.breakers.look(&region, family, now) {
                return Turn::Wait { ask_ms, why: i.outage(family) };
            }
        }
        let budget = i.budget(now);
        let answer = match wanted {
            Wanted::Fleet(nodes) => budget.admit(gang, nodes, now),
            Wanted::First { nodes, total } => budget.admit_first(gang, nodes, total, now),
            Wanted::Next(nodes) => budget.admit_next(gang, nodes, now),
        };
        match answer {
            Answer::Wait { ask_ms, expected_ms } => {
                Turn::Wait { ask_ms, why: Why::Rate { said_ms: now, expected_ms } }
            }
            Answer::Ok => {
                // After an outage this gang is the probe.
                let _ = i.breakers.ask(&region, Family::Launch, now);
                Turn::Go
            }
        }
    }

    /// The gang does not want to launch any more.
    pub fn leave(&self, gang: &str, now: u64) {
        for other in self.others().values() {
            other.lock().budget(now).leave(gang);
        }
        self.lock().budget(now).leave(gang);
    }

    /// The gang's CreateFleet leaves: how long it has to wait, ms; 0 where its turn was given.
    pub(crate) fn launch(&self, gang: &str, most_ms: u64, now: u64) -> u64 {
        let mut i = self.lock();
        match i.budget(now).called(gang, now) {
            true => 0,
            false => i.budget(now).draw(Family::Launch, most_ms, now),
        }
    }

    /// What came of it.
    pub(crate) fn launched(&self, gang: &str, answer: &Result<FleetAnswer, CloudError>, now: u64) {
        let mut i = self.lock();
        let how = match answer {
            Ok(a) => {
                let region = i.region.clone();
                i.breakers.good(&region, Family::Launch);
                let throttle = a.errors.iter().find(|e| e.class == Class::Throttle);
                match throttle {
                    Some(e) => i.throttled(Throttled::Launches, &e.code, now),
                    None => i.budget(now).succeeded(Family::Launch),
                }
                match (a.instances.is_empty(), throttle) {
                    (false, _) => Settled::Granted,
                    (true, Some(_)) => Settled::Throttled,
                    (true, None) => Settled::Refused,
                }
            }
            Err(e) => {
                i.note(Family::Launch, Some(e), now);
                match e.class {
                    // Only a repetition can tell: the instances stay counted until it has.
                    _ if e.ambiguous => return,
                    Class::Throttle => Settled::Throttled,
                    _ => Settled::Refused,
                }
            }
        };
        i.budget(now).settled(gang, how, now);
    }

    /// Any other call: after how many ms it may be made, or until when EC2 is left alone.
    pub(crate) fn draw(&self, family: Family, most_ms: u64, now: u64) -> Result<u64, u64> {
        let mut i = self.lock();
        let region = i.region.clone();
        match i.breakers.ask(&region, family, now) {
            Pass::Wait(until) => Err(until),
            Pass::Go => Ok(i.budget(now).draw(family, most_ms, now)),
        }
    }

    /// The same for what nothing may stop: it is counted, and no breaker is asked.
    pub(crate) fn count(&self, family: Family, most_ms: u64, now: u64) -> u64 {
        self.lock().budget(now).draw(family, most_ms, now)
    }

    /// TerminateInstances of so many.
    pub(crate) fn count_ends(&self, instances: u32, most_ms: u64, now: u64) -> u64 {
        self.lock().budget(now).draw_ends(instances, most_ms, now)
    }

    /// What came of a call.
    pub(crate) fn note<T>(&self, family: Family, answer: &Result<T, CloudError>, now: u64) {
        self.lock().note(family, answer.as_ref().err(), now);
    }

    /// The code of a family's last failure.
    pub(crate) fn code(&self, family: Family) -> String {
        let i = self.lock();
        i.breakers.code(&i.region, family).to_owned()
    }

    /// For `/metrics`.
    pub(crate) fn metrics(&self, now: u64) -> String {
        let others: Vec<Arc<Self>> = self.others().values().cloned().collect();
        let (mut waiting, mut open, mut throttles) = (0, 0, 0);
        for i in others.iter().map(|o| o.lock()).chain([self.lock()]) {
            let mut i = i;
            waiting += i.budget(now).waiting();
            open += i.breakers.shown().len();
            throttles += i.throttles;
        }
        format!(
            "# TYPE burst_ec2_throttles counter\n# HELP burst_ec2_throttles Calls that EC2 throttled.\n\
             burst_ec2_throttles_total {}\n\
             # TYPE burst_ec2_waiting gauge\n# HELP burst_ec2_waiting Gangs that wait for EC2's rates.\n\
             burst_ec2_waiting {waiting}\n\
             # TYPE burst_ec2_outages gauge\n# HELP burst_ec2_outages Kinds of calls that EC2 is left alone with.\n\
             burst_ec2_outages {open}\n",
            throttles
        )
    }

    /// For `burstctl status` (docs/WIRE.md).
    pub(crate) fn view(&self, now: u64) -> Value {
        let others: Vec<Arc<Self>> = self.others().values().cloned().collect();
        let further: Vec<Value> = others.iter().map(|o| o.lock().view(now)).collect();
        let mut view = self.lock().view(now);
        if let Some(map) = view.as_object_mut().filter(|_| !further.is_empty()) {
            map.insert("further".into(), Value::Array(further));
        }
        view
    }
}
