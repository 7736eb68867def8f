//! Identifiers in EC2's forms.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Source of identifiers that do not repeat within a process, nor (practically) between two of them.
#[derive(Debug, Default)]
pub struct Ids {
    seed: RandomState,
    next: AtomicU64,
}

impl Ids {
    fn word(&self) -> u64 {
        self.seed.hash_one(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// `prefix-` and 17 hex digits, as EC2's long ids have.
    pub fn resource(&self, prefix: &str) -> String {
        format!("{prefix}-0{:016x}", self.word())
    }

    /// A version-4 UUID: request ids, and the last part of a fleet's id.
    pub fn uuid(&self) -> String {
        let (a, b) = (self.word(), self.word());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            0x8000 | (b >> 48 & 0x3fff),
            b & 0xffff_ffff_ffff
        )
    }

    /// A fleet's id: `fleet-` and a UUID.
    pub fn fleet(&self) -> String {
        format!("fleet-{}", self.uuid())
    }

    /// An opaque token of 128 bits.
    pub fn token(&self) -> String {
        format!("{:016x}{:016x}", self.word(), self.word())
    }
}

/// Whether `id` is `prefix-` and 8 or 17 lower-case hex digits.
pub fn well_formed(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix).and_then(|r| r.strip_prefix('-')).is_some_and(|r| {
        (r.len() == 17 || r.len() == 8) && r.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let ids = Ids::default();
        let a = ids.resource("i");
        assert!(well_formed(&a, "i"), "{a}");
        assert_ne!(a, ids.resource("i"));
        assert_eq!(ids.uuid().len(), 36);
        assert!(!well_formed("i-xyz", "i") && !well_formed("lt-0123456789abcdef0", "i"));
    }
}
