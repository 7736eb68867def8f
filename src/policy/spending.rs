//! Limits on what may be spent: an hour in flight, a day, a month; of the cluster, of users, accounts and pools.
//!
//! Pure: the engine fills the [`Book`] from the ledger and from its living gangs, and asks before each launch. A day is a
//! day in UTC; a life's cost belongs to the day on which its gang was given back. What a living gang may cost at most is
//! committed: it counts as if it was spent today.

use burst_plan::MicroUsd;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, path::PathBuf};

#[cfg(test)]
mod tests;

/// Whose money it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// Everybody's.
    Cluster,
    /// A pool's.
    Pool(String),
    /// An account's.
    Account(String),
    /// A user's.
    User(String),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("the cluster"),
            Self::Pool(n) => write!(f, "pool {n}"),
            Self::Account(n) => write!(f, "account {n}"),
            Self::User(n) => write!(f, "user {n}"),
        }
    }
}

/// Everybody whose limits a gang has to keep.
#[must_use]
pub fn whose(user: &str, account: &str, pool: &str) -> [Who; 4] {
    [Who::Cluster, Who::Pool(pool.into()), Who::Account(account.into()), Who::User(user.into())]
}

/// Limits of one of them; None: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Budget {
    /// `usd_per_hour`: hourly price of all instances in flight.
    pub hour: Option<MicroUsd>,
    /// `usd_per_day`.
    pub day: Option<MicroUsd>,
    /// `usd_per_month`.
    pub month: Option<MicroUsd>,
}

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Window {
    /// In flight.
    Hour,
    /// Since midnight.
    Day,
    /// Since the first of the month.
    Month,
}

impl Window {
    const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    /// As metrics and configuration name it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

impl Budget {
    /// The limit of a window.
    #[must_use]
    pub fn of(&self, window: Window) -> Option<MicroUsd> {
        match window {
            Window::Hour => self.hour,
            Window::Day => self.day,
            Window::Month => self.month,
        }
    }
}

/// The site's rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// Tables of burst.toml; the name `*` stands for each that has no table of its own.
    pub rules: Vec<(Who, Budget)>,
    /// `warn_percent`: an alert is given when so much of a limit is reached.
    pub warn_percent: u64,
    /// `over_limit = "refuse"`: a launch that would pass a limit fails; else the job is held until there is room.
    pub refuse: bool,
    /// `alert_file`: a line of JSON is appended for each alert.
    pub alert_file: Option<PathBuf>,
}

impl Default for Spending {
    fn default() -> Self {
        Self { rules: Vec::new(), warn_percent: 80, refuse: false, alert_file: None }
    }
}

impl Spending {
    /// What somebody may spend: their own table, else `*`'s.
    #[must_use]
    pub fn of(&self, who: &Who) -> Budget {
        let any = match who {
            Who::Cluster => Who::Cluster,
            Who::Pool(_) => Who::Pool("*".into()),
            Who::Account(_) => Who::Account("*".into()),
            Who::User(_) => Who::User("*".into()),
        };
        let find = |w: &Who| self.rules.iter().find(|(r, _)| r == w).map(|(_, b)| *b);
        find(who).or_else(|| find(&any)).unwrap_or_default()
    }
}

/// What is in flight, and what is spent or committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// USD an hour in flight.
    pub hour: MicroUsd,
    /// Spent today and committed.
    pub day: MicroUsd,
    /// Spent this month and committed.
    pub month: MicroUsd,
}

impl Sums {
    /// One of the three.
    #[must_use]
    pub fn of(&self, window: Window) -> MicroUsd {
        match window {
            Window::Hour => self.hour,
            Window::Day => self.day,
            Window::Month => self.month,
        }
    }
}

/// Sums of everybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Book(BTreeMap<Who, Sums>);

impl Book {
    /// Adds money to everybody it belongs to.
    pub fn add(&mut self, whose: [Who; 4], more: Sums) {
        for who in whose {
            let sums = self.0.entry(who).or_default();
            sums.hour = sums.hour.plus(more.hour);
            sums.day = sums.day.plus(more.day);
            sums.month = sums.month.plus(more.month);
        }
    }

    /// Somebody's.
    #[must_use]
    pub fn of(&self, who: &Who) -> Sums {
        self.0.get(who).copied().unwrap_or_default()
    }

    /// Everybody's, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Who, &Sums)> {
        self.0.iter()
    }
}

/// What a launch would add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// USD an hour of the dearest gang it may be given; None: no price.
    pub hourly: Option<MicroUsd>,
    /// The most it can cost, all paid attempts; None: no price.
    pub worst: Option<MicroUsd>,
}

/// A limit that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Which limit: the same for as long as it stands in the way.
    pub which: String,
    /// The figures at the moment.
    pub figures: String,
}

impl Stop {
    /// Both.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}: {}", self.which, self.figures)
    }
}

/// Whether a launch keeps every limit.
///
/// # Errors
/// The first limit that it would pass, with the figures. Without a price nothing can be said to keep a limit.
pub fn decide(rules: &Spending, book: &Book, whose: &[Who; 4], wish: Wish) -> Result<(), Stop> {
    for who in whose {
        let (budget, sums) = (rules.of(who), book.of(who));
        for window in Window::ALL {
            let Some(limit) = budget.of(window) else { continue };
            let which = match window {
                Window::Hour => format!("{who} may have {limit} USD an hour in flight"),
                Window::Day => format!("{who} may spend {limit} USD a day"),
                Window::Month => format!("{who} may spend {limit} USD a month"),
            };
            let more = if window == Window::Hour { wish.hourly } else { wish.worst };
            let Some(more) = more else {
                let figures = "what this job may cost is not known: the price table lacks a price".to_owned();
                return Err(Stop { which, figures });
            };
            let now = sums.of(window);
            if now.plus(more) > limit {
                let figures = match window {
                    Window::Hour => format!("{now} USD an hour are in flight, this job adds {more}"),
                    _ => format!("{now} USD are spent or committed, this job may cost {more}"),
                };
                return Err(Stop { which, figures });
            }
        }
    }
    Ok(())
}

/// How much of a limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Below the warning threshold.
    #[default]
    Fine,
    /// At or above it.
    Warn,
    /// At or above the limit.
    Full,
}

/// A limit and how much of it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gauge {
    /// Whose.
    pub who: Who,
    /// Which.
    pub window: Window,
    /// The limit.
    pub limit: MicroUsd,
    /// What is in flight, or spent and committed.
    pub now: MicroUsd,
    /// How much that is.
    pub level: Level,
}

/// Every limit that anything counts against.
#[must_use]
pub fn gauges(rules: &Spending, book: &Book) -> Vec<Gauge> {
    let mut out = Vec::new();
    for (who, sums) in book.iter() {
        let budget = rules.of(who);
        for window in Window::ALL {
            let Some(limit) = budget.of(window) else { continue };
            let now = sums.of(window);
            let warn = u128::from(limit.0) * u128::from(rules.warn_percent);
            let level = match u128::from(now.0) * 100 {
                _ if now >= limit => Level::Full,
                n if n >= warn => Level::Warn,
                _ => Level::Fine,
            };
            out.push(Gauge { who: who.clone(), window, limit, now, level });
        }
    }
    out
}

/// Day since 1970 and the first day of its month, of a time in Unix ms (UTC).
#[must_use]
pub fn days(unix_ms: u64) -> (u64, u64) {
    let day = unix_ms / 86_400_000;
    let (_, _, of_month) = crate::record::date(day);
    (day, day.saturating_sub(of_month - 1))
}
