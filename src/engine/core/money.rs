//! What is spent and committed, against the site's limits (law 7).

use super::{Core, lives::wasted_so_far};
use crate::{controller::Loud, journal::lives::Day};
use burst_plan::MicroUsd;
use burst_policy::{
    admit::Admission,
    gang::{Gang, Phase},
    life::Life,
    spending::{Book, Level, Stop, Sums, Who, Window, Wish, days, decide, gauges, whose},
};
use serde_json::json;
use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

/// Pause between looks at the thresholds, ms.
const LOOK_MS: u64 = 1_000;

/// Money of lives that are over, and what people were told.
#[derive(Debug, Default)]
pub(crate) struct Money {
    /// Day → (user, account, pool) → micro-dollars.
    days: BTreeMap<u64, BTreeMap<(String, String, String), MicroUsd>>,
    told: BTreeMap<(Who, Window), Level>,
    /// Everybody's sums, until something changes.
    book: RefCell<Option<Arc<Book>>>,
    looked_ms: u64,
    /// Alerts given.
    pub alerts: u64,
}

impl Money {
    /// A gang has come or gone, or ended.
    pub fn changed(&mut self) {
        *self.book.get_mut() = None;
    }

    pub fn past(&mut self, rows: Vec<Day>) {
        for (day, user, account, pool, micro) in rows {
            let sum = self.days.entry(day).or_default().entry((user, account, pool)).or_default();
            *sum = sum.plus(MicroUsd(micro));
        }
        self.changed();
    }

    pub fn spent(&mut self, life: &Life) {
        let (day, _) = days(life.phases.done_ms.unwrap_or(0));
        let row = (day, life.user.clone(), life.account.clone(), life.pool.clone(), life.cost.known.0);
        self.past(vec![row]);
    }
}

/// Price of a living gang's instances an hour, and the most it may cost.
fn committed(gang: &Gang) -> (MicroUsd, MicroUsd) {
    let flying = matches!(
        gang.phase,
        Phase::Launching { .. }
            | Phase::Granted { .. }
            | Phase::Booting { .. }
            | Phase::Ready { .. }
            | Phase::Released { .. }
            | Phase::Running
            | Phase::Ending { .. }
    );
    if !flying {
        return (MicroUsd(0), wasted_so_far(gang));
    }
    let rung = gang.won.as_ref().or(gang.track.rung.as_ref());
    let rung = match &gang.phase {
        Phase::Launching { .. } if gang.split.is_some() => gang.split.as_ref().map(|s| &s.whole),
        Phase::Launching { rung, .. } if gang.won.is_none() => Some(rung),
        _ => rung,
    };
    let hourly = rung.and_then(|r| Some(r.hourly?.times(u64::from(r.nodes)))).unwrap_or_default();
    (hourly, gang.worst.unwrap_or_default())
}

impl Core {
    /// Everybody's sums.
    pub(crate) fn book(&self, now: u64) -> Arc<Book> {
        let mut kept = self.money.book.borrow_mut();
        kept.get_or_insert_with(|| Arc::new(self.add_up(now))).clone()
    }

    fn add_up(&self, now: u64) -> Book {
        let (today, first) = days(now);
        let mut book = Book::default();
        for (day, rows) in self.money.days.range(first..) {
            for ((user, account, pool), sum) in rows {
                let day = if *day == today { *sum } else { MicroUsd(0) };
                book.add(whose(user, account, pool), Sums { hour: MicroUsd(0), day, month: *sum });
            }
        }
        for slot in self.slots.values().filter(|s| s.gang.is_living()) {
            let g = &slot.gang;
            let (hour, day) = committed(g);
            if hour.0 > 0 || day.0 > 0 {
                book.add(whose(&g.user, &g.geometry.account, &g.pool), Sums { hour, day, month: day });
            }
        }
        // Over, but not in the ledger yet.
        let snapshot = self.hands.shared.snapshot.load();
        for open in self.lives.open.values() {
            let mut life = open.life.clone();
            burst_policy::ledger::price(&mut life, &snapshot.prices, None);
            let day = life.cost.known;
            book.add(
                whose(&life.user, &life.account, &life.pool),
                Sums { hour: MicroUsd(0), day, month: day },
            );
        }
        book
    }

    /// The limit that a launch would pass, if there is one.
    pub(crate) fn over_limit(&self, gang: &Gang, admission: &Admission) -> Option<Stop> {
        let snapshot = self.hands.shared.snapshot.load();
        let rules = &snapshot.config.as_ref()?.limits.spending;
        if rules.rules.is_empty() {
            return None;
        }
        if !self.lives.known {
            let which = "what was spent before is being read from the ledger".to_owned();
            return Some(Stop { which, figures: "a moment".to_owned() });
        }
        let hourly: Option<Vec<MicroUsd>> =
            admission.ladder.iter().map(|r| Some(r.hourly?.times(u64::from(r.nodes)))).collect();
        let wish = Wish { hourly: hourly.and_then(|h| h.into_iter().max()), worst: admission.worst_cost };
        let book = self.book(self.now());
        decide(rules, &book, &whose(&gang.user, &gang.geometry.account, &gang.pool), wish).err()
    }

    /// Tells once that a threshold is passed, and forgets it when it is not any more.
    pub(super) fn look_at_money(&mut self, now: u64) {
        let snapshot = self.hands.shared.snapshot.load_full();
        let Some(rules) = snapshot.config.as_ref().map(|c| &c.limits.spending) else { return };
        if rules.rules.is_empty() || !self.lives.known {
            return;
        }
        if now < self.money.looked_ms.saturating_add(LOOK_MS) {
            return;
        }
        let (day, first) = days(now);
        if days(self.money.looked_ms).0 != day {
            self.money.days = self.money.days.split_off(&first);
            self.money.changed();
        }
        self.money.looked_ms = now;
        let all = gauges(rules, &self.book(now));
        let levels = all.iter().map(|g| ((g.who.clone(), g.window), g.level)).collect();
        let told = std::mem::replace(&mut self.money.told, levels);
        for g in all {
            let old = told.get(&(g.who.clone(), g.window)).copied().unwrap_or_default();
            if g.level <= old {
                continue;
            }
            self.money.alerts += 1;
            let what = match g.window {
                Window::Hour => "an hour in flight",
                Window::Day => "spent or committed today",
                Window::Month => "spent or committed this month",
            };
            let word = if g.level == Level::Full { "the limit is reached" } else { "the limit comes near" };
            let text = format!("spending of {}: {} of {} USD {what}: {word}", g.who, g.now, g.limit);
            self.hands.controller.log(Loud::Error, &text);
            tracing::warn!(who = %g.who, window = g.window.word(), now = %g.now, limit = %g.limit, "spending");
            let alert = json!({
                "at_unix": now / 1_000, "what": "spending", "who": g.who, "window": g.window.word(),
                "usd": g.now.to_string(), "limit_usd": g.limit.to_string(), "full": g.level == Level::Full,
                "text": text,
            });
            crate::alert::give(&self.hands, &alert);
        }
    }
}
