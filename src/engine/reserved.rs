//! What EC2 says of the pools' capacity reservations: looked at again and again, so that no launch is tried that EC2
//! cannot grant.

use crate::{controller::Loud, core::Core, effects::Hands, regions};
use burst_plan::Seconds;
use burst_policy::{
    Rung,
    config::{Config, Pool},
    gang::{Gang, Phase},
    reservation::{Facts, Kind, Now, Reservation, contradictions, unusable},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Pause between looks.
const EVERY: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
struct Known {
    /// When the last look that was answered began, Unix ms.
    at_ms: u64,
    /// What it asked about.
    asked: BTreeSet<String>,
    facts: BTreeMap<String, Facts>,
}

/// The last look.
#[derive(Debug, Default)]
pub struct Reservations(Mutex<Known>);

impl Reservations {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, at_ms: u64, asked: &[String], facts: Vec<Facts>) {
        let facts = facts.into_iter().map(|f| (f.id.clone(), f)).collect();
        *self.lock() = Known { at_ms, asked: asked.iter().cloned().collect(), facts };
    }

    /// When the last look began, Unix ms; 0: there was none.
    pub(crate) fn at_ms(&self) -> u64 {
        self.lock().at_ms
    }

    /// Why a rung's reservation cannot take a gang now. `taken`: places that gangs took since the last look.
    pub(crate) fn unusable(&self, rung: &Rung, taken: u32, lasts: Seconds, now_ms: u64) -> Option<String> {
        let r = rung.reservation.as_ref()?;
        let known = self.lock();
        if !known.asked.contains(&r.id) {
            // EC2 refuses whole what does not fit, but of a Capacity Block it gives what there is.
            let text = || format!("{}: EC2 has not been asked about it yet", r.id);
            return (r.kind == Kind::CapacityBlock).then(text);
        }
        unusable(rung, Now { facts: known.facts.get(&r.id), taken, lasts, now_s: now_ms / 1_000 })
    }

    /// For `burstctl status`.
    pub(crate) fn shown(&self) -> Vec<Facts> {
        self.lock().facts.values().cloned().collect()
    }
}

/// The ids of burst.toml, by the Region in which their zones are.
fn ids(config: &Config) -> BTreeMap<Option<String>, BTreeSet<String>> {
    let mut all: BTreeMap<Option<String>, BTreeSet<String>> = BTreeMap::new();
    for (p, r) in config.pools.values().flat_map(|p| p.reservations.iter().map(move |r| (p, r))) {
        let place = p.places().find(|(_, zone, _)| *zone == r.zone);
        let region = place.and_then(|(region, ..)| region.map(str::to_owned));
        all.entry(region).or_default().insert(r.id.clone());
    }
    all
}

/// What is wrong with the configured reservations, for the log.
fn troubles(config: &Config, asked: &[String], facts: &[Facts]) -> Vec<String> {
    let of = |pool: &Pool, r: &Reservation| {
        if !asked.contains(&r.id) {
            return None;
        }
        let why = match facts.iter().find(|f| f.id == r.id) {
            None => vec!["EC2 does not know this reservation".to_owned()],
            Some(f) => contradictions(r, f),
        };
        (!why.is_empty()).then(|| format!("pool {}: reservation {}: {}", pool.name, r.id, why.join("; ")))
    };
    config.pools.values().flat_map(|p| p.reservations.iter().filter_map(move |r| of(p, r))).collect()
}

/// Looks for ever, where a pool has reservations.
pub(crate) async fn watch(hands: Hands) {
    let mut told = Vec::new();
    loop {
        look(&hands, &mut told).await;
        tokio::time::sleep(EVERY).await;
    }
}

async fn look(hands: &Hands, told: &mut Vec<String>) {
    let snapshot = hands.shared.snapshot.load_full();
    let Some(config) = snapshot.config.as_ref() else { return };
    let ids = ids(config);
    if ids.is_empty() || !hands.controller.active() {
        return;
    }
    let at_ms = hands.host.now_ms();
    let (mut asked, mut facts) = (Vec::new(), Vec::new());
    for (region, ids) in ids {
        let ids: Vec<String> = ids.into_iter().collect();
        let found = match regions::cloud(hands, region.as_deref()).await {
            Ok(cloud) => cloud.reservations(&ids).await,
            Err(e) => Err(e),
        };
        match found {
            Ok(found) => {
                asked.extend(ids);
                facts.extend(found);
            }
            Err(e) => tracing::warn!(error = %e, "capacity reservations could not be looked at"),
        }
    }
    if asked.is_empty() {
        return;
    }
    let found = troubles(config, &asked, &facts);
    for text in found.iter().filter(|t| !told.contains(t)) {
        hands.controller.log(Loud::Error, text);
    }
    *told = found;
    hands.prepare.reserved.take(at_ms, &asked, facts);
}

impl Core {
    /// Places of a reservation that other gangs have taken, or are about to, since EC2 was asked.
    pub(crate) fn reserved_since(&self, id: &str, but: &str) -> u32 {
        let at_ms = self.hands.prepare.reserved.at_ms();
        let same = |r: &Rung| r.reservation.as_ref().is_some_and(|r| r.id == id);
        let of = |g: &Gang| match (&g.phase, &g.won) {
            (Phase::Launching { rung, .. }, _) if same(rung) => rung.nodes,
            (_, Some(won)) if same(won) => {
                let new = g.members.iter().filter(|m| m.granted_ms >= at_ms).count();
                u32::try_from(new).unwrap_or(u32::MAX)
            }
            _ => 0,
        };
        let others = self.slots.iter().filter(|(key, _)| *key != but);
        others.map(|(_, slot)| of(&slot.gang)).fold(0, u32::saturating_add)
    }
}

/// The longest a gang of this pool may live after its launch.
pub(crate) fn lasts(pool: &Pool, gang: &Gang, kill_margin: Seconds) -> Seconds {
    let job = gang.geometry.time_limit.map_or(u64::MAX, |t| t.0);
    let around = pool.boot_limit.0 + pool.start_limit.0 + pool.epilog_limit.0 + kill_margin.0;
    Seconds(job.saturating_add(around))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burst_plan::Market;
    use burst_policy::reservation::Reserved;

    fn rung(kind: Kind) -> Rung {
        Rung {
            block: 0,
            instance_type: "p5.48xlarge".into(),
            zone: "us-east-2b".into(),
            subnet: "subnet-1".into(),
            market: Market::OnDemand,
            nodes: 2,
            efa: 32,
            hourly: None,
            max_price: None,
            reservation: Some(Reserved { id: "cr-1".into(), kind, group: None }),
            region: None,
        }
    }

    fn facts(available: u32) -> Facts {
        Facts {
            id: "cr-1".into(),
            state: "active".into(),
            kind: Kind::Targeted,
            instance_type: "p5.48xlarge".into(),
            zone: "us-east-2b".into(),
            total: 8,
            available,
            group: None,
            start_s: None,
            end_s: None,
        }
    }

    #[test]
    fn before_the_first_look_only_what_ec2_grants_whole_is_tried() {
        let known = Reservations::default();
        assert_eq!(known.unusable(&rung(Kind::Targeted), 0, Seconds(1), 0), None);
        let why = known.unusable(&rung(Kind::CapacityBlock), 0, Seconds(1), 0);
        assert_eq!(why.as_deref(), Some("cr-1: EC2 has not been asked about it yet"));
        known.take(5, &["cr-1".to_owned()], vec![facts(2)]);
        assert_eq!((known.at_ms(), known.unusable(&rung(Kind::Targeted), 0, Seconds(1), 0)), (5, None));
        let why = known.unusable(&rung(Kind::Targeted), 1, Seconds(1), 0);
        assert_eq!(why.as_deref(), Some("cr-1: 1 of 8 instances are free"));
        known.take(6, &["cr-1".to_owned()], Vec::new());
        let why = known.unusable(&rung(Kind::Targeted), 0, Seconds(1), 0);
        assert_eq!(why.as_deref(), Some("cr-1: EC2 does not know this reservation"));
    }
}
