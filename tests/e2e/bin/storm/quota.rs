//! Which boundary is next.

use std::collections::BTreeMap;

/// Chance under a seed.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// One story for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `n`; 0 for none.
    pub fn below(&mut self, n: u64) -> u64 {
        // Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33).checked_rem(n).unwrap_or(0)
    }
}

/// Kills and misses of one boundary.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// slurmctld died there.
    pub kills: u64,
    /// It was never reached in the time given.
    pub misses: u64,
}

/// All boundaries.
#[derive(Debug)]
pub struct Quota {
    /// By name.
    pub all: BTreeMap<String, Tally>,
}

impl Quota {
    /// None killed yet.
    pub fn new(boundaries: &str) -> Self {
        Self { all: boundaries.lines().map(|b| (b.to_owned(), Tally::default())).collect() }
    }

    /// Kills so far.
    pub fn kills(&self) -> u64 {
        self.all.values().map(|t| t.kills).sum()
    }

    /// Of the boundaries with the fewest kills and misses, one by chance.
    pub fn next(&self, dice: &mut Dice) -> Option<String> {
        let least = self.all.values().map(|t| t.kills + t.misses).min()?;
        let open: Vec<&String> =
            self.all.iter().filter(|(_, t)| t.kills + t.misses == least).map(|(b, _)| b).collect();
        let which = usize::try_from(dice.below(open.len() as u64)).unwrap_or(0);
        open.get(which).map(|b| (*b).clone())
    }
}
