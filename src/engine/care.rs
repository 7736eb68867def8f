//! What keeps the engine from acting and what people are told of it, beside the gangs: the machine it runs on, the
//! configuration it goes by, what collection could not end.

use crate::identity::{self, Machine};
use arc_swap::ArcSwap;
use std::{
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Notify;

/// burst.toml as it is in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    /// Its path.
    pub path: String,
    /// When it was read, Unix ms.
    pub read_ms: u64,
    /// What is wrong with a newer one.
    pub error: Option<String>,
    /// Keys of a newer one that count only after a restart of slurmctld, in words.
    pub kept: Option<String>,
}

/// Orphans that could not be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Passes that failed.
    pub tries: u32,
    /// When the first did, Unix ms.
    pub since_ms: u64,
    /// EC2's last words.
    pub error: String,
    /// How many instances.
    pub instances: usize,
}

/// Where the engine's state is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// State directory.
    pub dir: PathBuf,
    /// UUID in use; None: the engine waits for one.
    pub uuid: Option<String>,
}

/// Shared, and never waited for.
#[derive(Debug, Default)]
pub struct Care {
    closed: Mutex<Option<String>>,
    place: Mutex<Option<Place>>,
    /// Why the engine is not up yet.
    pub waits: Mutex<Option<String>>,
    /// burst.toml.
    pub in_use: Mutex<InUse>,
    /// uids that see and end everything, beside root and SlurmUser.
    pub operators: ArcSwap<Vec<u32>>,
    /// Another burst.toml is in use.
    pub reloaded: Notify,
    /// What collection could not end.
    pub left: Mutex<Option<Left>>,
    /// Instances collection has ended.
    pub collected: AtomicU64,
}

/// A lock of which a panic elsewhere has no say.
pub(crate) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Care {
    /// Why nothing may be changed in EC2 from this machine.
    #[must_use]
    pub fn closed(&self) -> Option<String> {
        lock(&self.closed).clone()
    }

    /// Nothing may be changed in EC2 until somebody says `burstctl adopt`.
    pub fn close(&self, why: String) {
        *lock(&self.closed) = Some(format!("{why}; `burstctl adopt` says that it is not"));
    }

    /// Where the state is.
    pub fn set_place(&self, place: Place) {
        *lock(&self.place) = Some(place);
    }

    /// An operator's `burstctl adopt [UUID]`: this machine is the cluster's, or the cluster's UUID is another. Writes files,
    /// so it belongs on a thread that may block. What follows, in words.
    ///
    /// # Errors
    /// There is nothing to adopt, or it cannot be written, in words.
    pub fn adopt(&self, uuid: Option<&str>, managed: usize) -> Result<String, String> {
        let place =
            lock(&self.place).clone().ok_or("the engine does not know its state directory yet; ask again")?;
        let Some(uuid) = uuid else {
            if self.closed().is_none() {
                return Err(
                    "this machine is the one that the state directory belongs to: nothing to adopt".into()
                );
            }
            identity::adopt(&place.dir, &Machine::here())?;
            *lock(&self.closed) = None;
            return Ok("the cluster is this machine's: launches and collection go on".into());
        };
        match place.uuid.as_deref() {
            Some(now) if now == uuid => return Err(format!("{uuid} is the cluster's UUID already")),
            Some(now) if managed > 0 => {
                return Err(format!(
                    "{managed} jobs are looked after under the UUID in use, {now}: end them first, or their instances would be nobody's"
                ));
            }
            _ => {}
        }
        identity::adopt_uuid(&place.dir, uuid)?;
        Ok(match place.uuid {
            None => format!("the cluster's UUID is {uuid}: the engine goes on with it in seconds"),
            Some(old) => format!(
                "the cluster's UUID is {uuid} when slurmctld is restarted; until then, {old}. Instances tagged with the new one that no running job needs are ended then"
            ),
        })
    }

    /// Counts what collection ended.
    pub fn collected(&self, instances: usize) {
        self.collected.fetch_add(instances as u64, Ordering::Relaxed);
        *lock(&self.left) = None;
    }

    /// A pass of collection failed.
    pub fn not_collected(&self, instances: usize, error: String, now_ms: u64) -> u32 {
        let mut left = lock(&self.left);
        let (tries, since_ms) =
            left.as_ref().map_or((1, now_ms), |l| (l.tries.saturating_add(1), l.since_ms));
        *left = Some(Left { tries, since_ms, error, instances });
        tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const OLD: &str = "11111111-2222-4333-8444-555555555555";
    const NEW: &str = "99999999-2222-4333-8444-555555555555";

    #[test]
    fn an_operators_word_opens_the_gate_and_names_the_uuid() {
        let dir = std::env::temp_dir().join(format!("burst-care-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let care = Care::default();
        assert!(care.adopt(None, 0).unwrap_err().contains("does not know its state directory"));
        care.set_place(Place { dir: dir.clone(), uuid: Some(OLD.into()) });
        assert!(care.adopt(None, 0).unwrap_err().contains("nothing to adopt"));
        care.close("it may be a copy".into());
        assert!(
            care.closed()
                .is_some_and(|why| why.contains("it may be a copy") && why.contains("burstctl adopt"))
        );
        care.adopt(None, 0).unwrap();
        assert_eq!(care.closed(), None);
        assert_eq!(identity::check(&dir, &Machine::here(), &[]), Ok(None), "and the next start finds it so");

        assert!(care.adopt(Some(OLD), 0).unwrap_err().contains("already"));
        assert!(care.adopt(Some("x"), 0).unwrap_err().contains("is no UUID"));
        assert!(care.adopt(Some(NEW), 3).unwrap_err().contains("3 jobs are looked after"));
        assert!(!dir.join("uuid").exists());
        assert!(care.adopt(Some(NEW), 0).unwrap().contains("restarted"));
        assert_eq!(fs::read_to_string(dir.join("uuid")).unwrap(), NEW);
        care.set_place(Place { dir: dir.clone(), uuid: None });
        assert!(care.adopt(Some(OLD), 3).unwrap().contains("goes on with it"), "it waits for one");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_collection_cannot_end_is_counted_until_it_can() {
        let care = Care::default();
        assert_eq!(care.not_collected(2, "no".into(), 10), 1);
        assert_eq!(care.not_collected(3, "still no".into(), 40), 2);
        let left = lock(&care.left).clone();
        assert_eq!(left, Some(Left { tries: 2, since_ms: 10, error: "still no".into(), instances: 3 }));
        care.collected(3);
        assert_eq!((lock(&care.left).clone(), care.collected.load(Ordering::Relaxed)), (None, 3));
    }
}
