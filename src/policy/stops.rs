//! An operator's word that nothing is to be launched, for a pool or for all of them: durable, and only a word lifts it.

use crate::when::utc;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a pool is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// No gang is launched; one that has instances is brought to its end, replacements of failed nodes included.
    Pause,
    /// Nothing at all is launched: a booting gang that loses a node is given back. The pool runs empty.
    Drain,
}

/// Who stopped it, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// How.
    pub how: How,
    /// In words: `alice (uid 1000)`.
    pub who: String,
    /// Unix ms.
    pub since_ms: u64,
}

/// What is stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stops {
    /// Every pool.
    pub all: Option<Stop>,
    /// Pools by name; a name that burst.toml no longer has stays until it is resumed.
    pub pools: BTreeMap<String, Stop>,
}

impl Stops {
    /// What holds for a pool: the stricter of its own stop and that of all pools, and whether it is its own.
    #[must_use]
    pub fn of(&self, pool: &str) -> Option<(&Stop, bool)> {
        let own = self.pools.get(pool).map(|s| (s, true));
        let all = self.all.as_ref().map(|s| (s, false));
        match (own, all) {
            (Some(own), Some(all)) if own.0.how == How::Pause && all.0.how == How::Drain => Some(all),
            (own, all) => own.or(all),
        }
    }

    /// Why nothing is launched in a pool, for the job's owner. The text does not change while the stop lasts.
    #[must_use]
    pub fn reason(&self, pool: &str) -> Option<String> {
        let (stop, own) = self.of(pool)?;
        let what = if own { format!("pool {pool} was") } else { "all pools were".to_owned() };
        let how = match stop.how {
            How::Pause => "paused",
            How::Drain => "set to drain",
        };
        let since = utc(stop.since_ms / 1000);
        Some(format!("{what} {how} by {} at {since}, until an operator resumes", stop.who))
    }

    /// Whether not even a failed node may be replaced.
    #[must_use]
    pub fn drained(&self, pool: &str) -> bool {
        self.of(pool).is_some_and(|(s, _)| s.how == How::Drain)
    }

    /// Stops a pool, or all.
    pub fn stop(&mut self, pool: Option<&str>, stop: Stop) {
        match pool {
            Some(name) => {
                self.pools.insert(name.to_owned(), stop);
            }
            None => self.all = Some(stop),
        }
    }

    /// Lifts a pool's own stop, or every stop.
    ///
    /// # Errors
    /// Nothing was lifted, or the pool is still stopped with all others: in words.
    pub fn resume(&mut self, pool: Option<&str>) -> Result<(), String> {
        let Some(name) = pool else {
            if self.all.is_none() && self.pools.is_empty() {
                return Err("nothing is paused or draining".to_owned());
            }
            *self = Self::default();
            return Ok(());
        };
        let lifted = self.pools.remove(name).is_some();
        match (self.reason(name), lifted) {
            (Some(why), _) => Err(format!("{why}: `burstctl resume` without a pool lifts that")),
            (None, true) => Ok(()),
            (None, false) => Err(format!("pool {name} is neither paused nor draining")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(how: How) -> Stop {
        Stop { how, who: "alice (uid 1000)".into(), since_ms: 1_790_000_000_000 }
    }

    #[test]
    fn the_stricter_stop_holds_and_says_whose_it_is() {
        let mut s = Stops::default();
        assert_eq!(s.reason("efa"), None);
        s.stop(Some("efa"), stop(How::Pause));
        assert_eq!(
            s.reason("efa").as_deref(),
            Some(
                "pool efa was paused by alice (uid 1000) at 2026-09-21 14:13:20 UTC, until an operator resumes"
            )
        );
        assert_eq!((s.reason("gpu"), s.drained("efa")), (None, false));
        s.stop(None, stop(How::Drain));
        assert!(s.drained("efa") && s.drained("gpu"));
        assert!(s.reason("efa").is_some_and(|r| r.starts_with("all pools were set to drain by alice")));
        s.stop(None, stop(How::Pause));
        s.stop(Some("efa"), stop(How::Drain));
        assert_eq!((s.drained("efa"), s.drained("gpu")), (true, false));
    }

    #[test]
    fn only_what_is_stopped_is_lifted() {
        let mut s = Stops::default();
        assert!(s.resume(None).is_err() && s.resume(Some("efa")).is_err());
        s.stop(Some("efa"), stop(How::Pause));
        s.stop(None, stop(How::Pause));
        let still = s.resume(Some("efa")).unwrap_err();
        assert!(still.contains("all pools were paused") && still.contains("without a pool"), "{still}");
        assert_eq!(s.pools.len(), 0);
        assert_eq!(s.resume(None), Ok(()));
        assert_eq!(s, Stops::default());
        s.stop(Some("efa"), stop(How::Drain));
        assert_eq!(s.resume(Some("efa")), Ok(()));
    }

    #[test]
    fn what_an_older_version_wrote_is_read() {
        assert_eq!(serde_json::from_str::<Stops>("{}").unwrap(), Stops::default());
        let mut s = Stops::default();
        s.stop(Some("efa"), stop(How::Drain));
        let text = serde_json::to_string(&s).unwrap();
        assert_eq!(serde_json::from_str::<Stops>(&text).unwrap(), s);
    }
}
