//! Node names: one that a gang gives up is free for others when that is on disk, not before. After a restart an older
//! document would take it back, and power it down under whoever has it now.

use super::{Core, Event};
use crate::{effects, shared::Msg};
use burst_policy::gang::Gang;
use std::{collections::HashSet, time::Duration};

impl Core {
    /// Whether the gang has the name, or gave it up and it is not free for others yet.
    pub(crate) fn has_or_had(&self, gang: &Gang, name: &String) -> bool {
        gang.all_names().any(|n| n == name) || self.freeing.get(&gang.key()).is_some_and(|f| f.contains(name))
    }

    /// Names that `held` had and the gang has no more are free when that is on disk.
    pub(super) fn give_names_back(&mut self, gang: &Gang, held: Vec<String>) {
        let now: HashSet<&String> = gang.all_names().collect();
        let names: Vec<String> = held.into_iter().filter(|n| !now.contains(n)).collect();
        if names.is_empty() {
            return;
        }
        let (key, sender) = (gang.key(), self.sender.clone());
        self.freeing.entry(key.clone()).or_default().extend(names.iter().cloned());
        let word = effects::posted(&self.hands, gang);
        self.hands.host.spawn(async move {
            let saved = word.await;
            if !saved {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            // The core lives as long as the process.
            let _ = sender.send(Msg::Internal(Box::new(Event::Free { key, names, saved }))).await;
        });
    }

    pub(super) fn free(&mut self, key: &str, names: Vec<String>, saved: bool) {
        if let Some(freeing) = self.freeing.get_mut(key) {
            freeing.retain(|n| !names.contains(n));
            if freeing.is_empty() {
                self.freeing.remove(key);
            }
        }
        let Some(slot) = self.slots.get(key) else {
            names.iter().for_each(|n| {
                self.taken.remove(n);
            });
            return;
        };
        if !saved {
            let gang = slot.gang.clone();
            return self.give_names_back(&gang, names);
        }
        let kept: HashSet<&String> = slot.gang.all_names().collect();
        for name in names.iter().filter(|n| !kept.contains(n)) {
            self.taken.remove(name);
        }
        // Who waits for names is looked at with the next node table.
    }
}
