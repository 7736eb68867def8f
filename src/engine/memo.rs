//! Decisions of before, by all that they were made from.
//!
//! The same job is submitted again and again (a sweep, a resubmission), and slurmctld holds its locks while one is read.

use std::sync::Arc;

/// Decisions that are kept.
pub const KEPT: usize = 16;
/// A longer key is not kept (bytes).
pub const KEY_MOST: usize = 4_096;

/// A bounded memory of decisions that were made under one version of the snapshot.
#[derive(Debug)]
pub struct Memo<T> {
    version: u64,
    known: Vec<(Box<[u8]>, Arc<T>)>,
    next: usize,
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self { version: 0, known: Vec::new(), next: 0 }
    }
}

impl<T> Memo<T> {
    /// The decision made from exactly these bytes under this version.
    #[must_use]
    pub fn get(&self, version: u64, key: &[u8]) -> Option<Arc<T>> {
        if self.version != version {
            return None;
        }
        self.known.iter().find(|(k, _)| **k == *key).map(|(_, d)| d.clone())
    }

    /// Remembers one; the oldest goes, and with a new version all.
    pub fn put(&mut self, version: u64, key: &[u8], decision: Arc<T>) {
        if self.version != version {
            *self = Self { version, ..Self::default() };
        }
        if key.len() > KEY_MOST {
            return;
        }
        let entry = (key.into(), decision);
        match self.known.get_mut(self.next) {
            Some(place) => *place = entry,
            None => self.known.push(entry),
        }
        self.next = (self.next + 1) % KEPT;
    }
}

/// Builds a key: every part with its length, so that no two different jobs read the same.
#[derive(Debug, Default)]
pub struct Key(Vec<u8>);

impl Key {
    /// An empty key in a buffer of before.
    pub fn clear(&mut self) {
        self.0.clear();
    }
    /// A text.
    pub fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text);
    }
    /// A text that may be absent.
    pub fn option(&mut self, text: Option<&[u8]>) {
        self.number(u64::from(text.is_some()));
        self.text(text.unwrap_or(b""));
    }
    /// A number.
    pub fn number(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_ne_bytes());
    }
    /// So far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_version_forgets_all() {
        let mut memo = Memo::default();
        memo.put(1, b"a", Arc::new(1));
        assert_eq!(memo.get(1, b"a").as_deref(), Some(&1));
        assert_eq!(memo.get(2, b"a"), None);
        memo.put(2, b"b", Arc::new(2));
        assert_eq!((memo.get(1, b"a"), memo.get(2, b"a")), (None, None));
        assert_eq!(memo.get(2, b"b").as_deref(), Some(&2));
    }

    #[test]
    fn it_is_bounded() {
        let mut memo = Memo::default();
        for n in 0..KEPT * 3 {
            memo.put(1, n.to_string().as_bytes(), Arc::new(n));
        }
        assert_eq!(memo.known.len(), KEPT);
        assert_eq!(memo.get(1, (KEPT * 3 - 1).to_string().as_bytes()).as_deref(), Some(&(KEPT * 3 - 1)));
        assert_eq!(memo.get(1, b"0"), None);
        memo.put(1, &vec![0; KEY_MOST + 1], Arc::new(0));
        assert_eq!(memo.get(1, &vec![0; KEY_MOST + 1]), None);
    }

    /// Two lists of parts have the same key only if they are the same.
    #[test]
    fn keys_tell_parts_apart() {
        let words = [None, Some(""), Some("a"), Some("b"), Some("ab"), Some("\0")];
        let mut lists = vec![Vec::new()];
        for length in 0..3 {
            let longest: Vec<Vec<_>> =
                lists.iter().filter(|l: &&Vec<_>| l.len() == length).cloned().collect();
            lists.extend(longest.iter().flat_map(|l| words.iter().map(|w| [&l[..], &[*w]].concat())));
        }
        let keys: std::collections::BTreeSet<Vec<u8>> = lists
            .iter()
            .map(|parts: &Vec<Option<&str>>| {
                let mut key = Key::default();
                parts.iter().for_each(|p| key.option(p.map(str::as_bytes)));
                key.bytes().to_vec()
            })
            .collect();
        assert_eq!((lists.len(), keys.len()), (1 + 6 + 36 + 216, lists.len()));
    }
}
