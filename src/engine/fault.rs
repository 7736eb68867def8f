//! Fault points: where a test build (`--features faults`) of the plugin may be told to kill its own process.
//!
//! The shipped build has the two empty functions below and nothing else; `tests/e2e/tests/house.rs` looks for what a test
//! build would have left in the file.

/// Where, seen from an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Decided; the document is not on disk yet.
    Decided,
    /// The document is on disk and nothing has left.
    Before,
    /// Slurm or EC2 has answered; the outcome is not on disk.
    After,
}

/// Reads the order, once, when the engine starts.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub const fn start() {}

/// A boundary is reached.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub const fn point(_: &burst_policy::gang::Effect, _: Point) {}

#[cfg(feature = "faults")]
pub use armed::{point, start};

/// Compiled for tests, too: an effect that the list lacks must not wait for the next storm to be found.
#[cfg(any(test, feature = "faults"))]
mod armed {
    use super::Point;
    use burst_policy::gang::Effect;

    /// The list and the name of every effect from one list of variants: the match must cover them all.
    macro_rules! effects {
        ($($variant:ident)*) => {
            /// Every effect.
            pub const EFFECTS: &[&str] = &[$(stringify!($variant)),*];

            /// An effect's name.
            pub const fn name(effect: &Effect) -> &'static str {
                match effect {
                    $(Effect::$variant { .. } => stringify!($variant),)*
                    // Not in the list: the storm's cluster has no budget service.
                    Effect::Budget { .. } => "Budget",
                    Effect::PowerDownAgain { .. } => "PowerDown",
                }
            }
        };
    }
    effects!(Hold Comment Launch Retire Addresses TellAddresses Release PowerDown Terminate Cancel MoveLocal);

    impl Point {
        /// Every point, in the order in which they are passed.
        pub const ALL: [Self; 3] = [Self::Decided, Self::Before, Self::After];

        /// Its name.
        pub const fn name(self) -> &'static str {
            match self {
                Self::Decided => "decided",
                Self::Before => "before",
                Self::After => "after",
            }
        }
    }

    /// Every boundary, a line each: `Launch before`.
    pub fn boundaries() -> String {
        let all = EFFECTS.iter().flat_map(|e| Point::ALL.iter().map(move |p| format!("{e} {}\n", p.name())));
        all.collect()
    }

    /// `Launch before 2 3000`: the boundary, the how-manieth pass of it is the last, and how long passes do not count, ms
    /// since the start.
    pub fn order(text: &str) -> Option<(&str, u32, u64)> {
        let (rest, quiet) = text.trim().rsplit_once(' ')?;
        let (boundary, count) = rest.rsplit_once(' ')?;
        let known = boundaries().lines().any(|b| b == boundary);
        Some((boundary, count.parse().ok()?, quiet.parse().ok()?)).filter(|(_, n, _)| known && *n > 0)
    }

    #[cfg(feature = "faults")]
    mod kill {
        use super::{Point, boundaries, name, order};
        use burst_policy::gang::Effect;
        use std::{
            fs::{self, OpenOptions},
            io::Write,
            path::PathBuf,
            sync::{
                OnceLock,
                atomic::{AtomicU32, Ordering},
            },
        };

        struct Order {
            boundary: String,
            from_ms: u64,
            left: AtomicU32,
            kills: PathBuf,
        }

        static ORDER: OnceLock<Option<Order>> = OnceLock::new();

        fn read() -> Option<Order> {
            let dir = PathBuf::from(std::env::var_os("BURST_FAULTS")?);
            if let Err(e) = fs::write(dir.join("fault-boundaries"), boundaries()) {
                tracing::error!(error = %e, "the list of boundaries could not be written");
            }
            let text = fs::read_to_string(dir.join("fault-order")).ok()?;
            let Some((boundary, count, quiet)) = order(&text) else {
                tracing::error!(text, "no such boundary");
                return None;
            };
            let kills = dir.join("fault-kills");
            let from_ms = crate::start::now_ms() + quiet;
            Some(Order { boundary: boundary.to_owned(), from_ms, left: AtomicU32::new(count), kills })
        }

        /// Reads the order in the folder that `$BURST_FAULTS` names, and writes the list of boundaries there.
        pub fn start() {
            ORDER.get_or_init(read);
        }

        /// A boundary is passed; the ordered pass of the ordered boundary is this process's last act.
        pub fn point(effect: &Effect, point: Point) {
            let Some(order) = ORDER.get().and_then(Option::as_ref) else { return };
            let here = format!("{} {}", name(effect), point.name());
            // Once: it wraps far later than any process lives.
            let counts = here == order.boundary && crate::start::now_ms() >= order.from_ms;
            if !counts || order.left.fetch_sub(1, Ordering::AcqRel) != 1 {
                return;
            }
            if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(&order.kills) {
                // What is written survives the process, and who reads it sees the process gone.
                let _ = writeln!(file, "{here} {}", crate::start::now_ms());
            }
            let killed =
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            tracing::error!(?killed, "a fault point could not kill");
        }
    }
    #[cfg(feature = "faults")]
    pub use kill::{point, start};

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::collections::BTreeSet;

        #[test]
        fn every_effect_has_three_boundaries_of_its_own() {
            let text = boundaries();
            let all: BTreeSet<&str> = text.lines().collect();
            assert_eq!(all.len(), EFFECTS.len() * Point::ALL.len());
            assert!(all.contains("Launch before") && all.contains("MoveLocal after"), "{all:?}");
            assert_eq!(name(&Effect::Terminate { sweep: true }), "Terminate");
            assert_eq!(name(&Effect::Retire), "Retire");
        }

        #[test]
        fn an_order_names_a_boundary_and_a_count() {
            assert_eq!(order("Launch before 2 30\n"), Some(("Launch before", 2, 30)));
            for bad in ["", "Launch before", "Launch before 1", "Launch before 0 1", "Lunch before 1 1"] {
                assert_eq!(order(bad), None, "{bad}");
            }
        }
    }
}
