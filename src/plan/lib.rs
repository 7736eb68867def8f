//! Execution plans, annotations, job geometry, durations, money and hostlists.
//!
//! Shared by the controller plugin, the SPANK plugin and the command line, so that a plan means the same
//! everywhere. Everything here is pure: bytes in, values or explained errors out. Nothing panics on foreign input.
#![forbid(unsafe_code)]

pub mod annotations;
pub mod duration;
pub mod geometry;
pub mod gpus;
pub mod hostlist;
pub mod jobid;
pub mod money;
pub mod options;
pub mod plan;
pub mod report;
pub mod request;

pub use annotations::Annotations;
pub use duration::Seconds;
pub use geometry::Geometry;
pub use gpus::Gpus;
pub use jobid::JobSpec;
pub use money::MicroUsd;
pub use options::Options;
pub use plan::{Parsed, Plan, PlanError, PlanErrors, Warning};
pub use request::Request;

use serde::{Deserialize, Serialize};

/// How instances are paid for (EC2 `Lifecycle`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Market {
    /// EC2 On-Demand.
    OnDemand,
    /// EC2 Spot.
    Spot,
    /// Part on-demand, part spot; refused by admission with a message.
    Mixed,
}

/// What the job asks of the Elastic Fabric Adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Efa {
    /// Only types with EFA, interfaces of type EFA.
    Required,
    /// EFA where the type has it.
    Preferred,
    /// Never EFA interfaces.
    Off,
}

/// What happens when no rung of the ladder has capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Else {
    /// Keep the job held and try again with back-off.
    Wait,
    /// Move the job to the pool's `local_partition`.
    Local,
    /// Cancel the job with a reason.
    Cancel,
}

impl Efa {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Preferred => "preferred",
            Self::Off => "off",
        }
    }
}

impl Else {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Local => "local",
            Self::Cancel => "cancel",
        }
    }
}

impl Market {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
            Self::Mixed => "mixed",
        }
    }
}

/// At most so many characters, and `…` where there are more, of a foreign text in one line and without anything that could
/// move a cursor, forge a line of a log or turn the direction of writing: such characters are shown by their number. What
/// is clean stays as it is.
#[must_use]
pub fn clean(text: &str, most: usize) -> String {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    let mut out = String::with_capacity(text.len().min(most));
    let mut left = most;
    for c in text.chars() {
        // As it is shown, a number is as many characters as it has: what was cut once is not cut again.
        let shown = if odd(c) { c.escape_default().count() } else { 1 };
        let Some(rest) = left.checked_sub(shown) else {
            out.push('…');
            break;
        };
        left = rest;
        match odd(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

/// Whether two words are alike but for one letter: for "did you mean".
#[must_use]
pub fn near(a: &str, b: &str) -> bool {
    plan::read::near(a, b)
}

#[cfg(test)]
mod tests {
    use super::clean;
    use proptest::prelude::*;

    #[test]
    fn foreign_words_stay_on_their_line() {
        assert_eq!(clean("a\nb\r\t\u{1b}[31m\u{202e}ä\"", 99), "a\\nb\\r\\t\\u{1b}[31m\\u{202e}ä\"");
        assert_eq!(clean("äöü", 2), "äö…");
        assert_eq!(clean("äö", 2), "äö");
        assert_eq!(clean("a\nb", 3), "a\\n…", "a number counts as it is shown");
        assert_eq!(clean("ab\n", 3), "ab…", "and is not cut in two");
    }

    proptest! {
        #[test]
        fn bounded_and_printable(text in prop_oneof![any::<String>(), "[\u{7f}\n\u{202e}a]{0,60}"], most in 0usize..50) {
            let out = clean(&text, most);
            prop_assert!(!out.chars().any(char::is_control));
            prop_assert!(out.chars().count() <= most + 1);
            prop_assert_eq!(clean(&out, most), out, "what is clean stays as it is");
        }
    }
}
