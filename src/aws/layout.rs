//! Network interfaces of an instance, from the network cards of its type.
//!
//! AWS's guidance for several cards: card 0 / device 0 is an ordinary (ENA) interface, card 0 / device 1 is
//! `efa-only` where card 0 has EFA, and each further card carries one `efa-only` at device 0. An `efa-only`
//! interface takes no address and cannot be the primary one. Where one EFA is wanted and card 0 can carry it on a
//! type with a single card, or where card 0 takes one interface only, the primary interface itself is an `efa`.
use burst_policy::{TypeFacts, types::Card};
use serde::{Deserialize, Serialize};

/// EC2's `InterfaceType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// ENA.
    Interface,
    /// ENA and EFA.
    Efa,
    /// EFA without addresses.
    EfaOnly,
}

impl Kind {
    /// EC2's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Efa => "efa",
            Self::EfaOnly => "efa-only",
        }
    }
    /// Carries an EFA device.
    #[must_use]
    pub fn is_efa(self) -> bool {
        self != Self::Interface
    }
}

/// One network interface of a launch template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// `NetworkCardIndex`.
    pub card: u32,
    /// `DeviceIndex`.
    pub device: u32,
    /// `InterfaceType`.
    pub kind: Kind,
}

/// The interfaces for `efa` EFA devices; fewer where the type has fewer (compare [`efa_count`] with what was asked).
/// The first is the primary one.
#[must_use]
pub fn layout(facts: &TypeFacts, efa: u32) -> Vec<Interface> {
    let mut cards: Vec<&Card> = facts.cards.iter().collect();
    cards.sort_by_key(|c| c.index);
    cards.dedup_by_key(|c| c.index);
    let want = efa.min(facts.efa_max);
    let zero = cards.iter().find(|c| c.index == 0);
    let zero_efa = zero.is_some_and(|c| c.efa);
    let zero_room = zero.is_some_and(|c| c.interfaces > 1);
    let mut left = want;
    let single = cards.len() == 1 && want == 1;
    let primary = if left > 0 && zero_efa && (single || !zero_room) {
        left -= 1;
        Kind::Efa
    } else {
        Kind::Interface
    };
    let mut out = vec![Interface { card: 0, device: 0, kind: primary }];
    if left > 0 && zero_efa && zero_room && primary == Kind::Interface {
        left -= 1;
        out.push(Interface { card: 0, device: 1, kind: Kind::EfaOnly });
    }
    for card in cards.iter().filter(|c| c.index != 0 && c.efa && c.interfaces > 0) {
        if left == 0 {
            break;
        }
        left -= 1;
        out.push(Interface { card: card.index, device: 0, kind: Kind::EfaOnly });
    }
    out
}

/// EFA devices of a layout.
#[must_use]
pub fn efa_count(interfaces: &[Interface]) -> u32 {
    u32::try_from(interfaces.iter().filter(|i| i.kind.is_efa()).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "tests/layout.rs"]
mod tests;
