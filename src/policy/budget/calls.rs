//! CreateFleet calls of admitted launches: kept back from their gang's turn on, out of the bucket when EC2 has them.
//!
//! The journal and the placement group come between the two, and a first call's connection. A full bucket takes nothing in
//! meanwhile, so what seems to flow in is not there.

use super::{Budget, GONE_MS, bucket::TOKEN};

/// A call that has left has reached EC2 after this, answered or not, ms.
pub(super) const ARRIVES_MS: u64 = 500;

/// Where the call of an admitted launch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Admitted then (Unix ms), not made: the journal and the placement group come first.
    Due(u64),
    /// Left then. EC2's bucket may still be full, and a full one takes nothing in.
    Left(u64),
    /// EC2 has it: it is out of the bucket.
    Counted,
}

/// A gang that was admitted and whose launch has not been settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paid {
    pub need: i64,
    /// Its turn, Unix ms.
    pub at_ms: u64,
    pub call: Call,
}

impl Paid {
    pub fn new(need: i64, at_ms: u64) -> Self {
        Self { need, at_ms, call: Call::Due(at_ms) }
    }
    /// The call is still to be made.
    pub fn is_due(&self) -> bool {
        matches!(self.call, Call::Due(_))
    }
}

impl Budget {
    /// CreateFleet calls that may be admitted, in parts of a token: what the bucket holds without the calls that are due and
    /// those that may not have reached EC2. One that was admitted long ago and not made keeps nobody else waiting.
    pub(super) fn calls(&self) -> i64 {
        let open = self.paid.values().filter(|p| match p.call {
            Call::Due(at) => self.at_ms <= at.saturating_add(GONE_MS),
            Call::Left(_) => true,
            Call::Counted => false,
        });
        self.launch.held.saturating_sub(i64::try_from(open.count()).unwrap_or(i64::MAX).saturating_mul(TOKEN))
    }

    /// A call is admitted; an earlier one of the same launch has left and counts for itself.
    pub(super) fn due(&mut self, gang: &str, need: i64) {
        let at = self.at_ms;
        let earlier = self.paid.entry(gang.to_owned()).or_insert(Paid::new(need, at));
        let was = std::mem::replace(&mut earlier.call, Call::Due(at));
        self.count(was);
    }

    /// EC2 has a call.
    pub(super) fn count(&mut self, call: Call) {
        if matches!(call, Call::Left(_)) {
            self.launch.held -= TOKEN;
        }
    }

    /// Whether the gang was admitted and its call has not left.
    #[must_use]
    pub fn is_admitted(&self, gang: &str) -> bool {
        self.paid.get(gang).is_some_and(Paid::is_due)
    }

    /// The launch of an admitted gang leaves now. False: it was not admitted (or has left before), and is to draw.
    pub fn called(&mut self, gang: &str, now_ms: u64) -> bool {
        self.flow_in(now_ms);
        let Some(p) = self.paid.get_mut(gang).filter(|p| p.is_due()) else { return false };
        p.call = Call::Left(now_ms);
        true
    }

    /// Calls that EC2 has by now.
    pub(super) fn arrive(&mut self) {
        let now = self.at_ms;
        let has = |p: &&mut Paid| matches!(p.call, Call::Left(at) if now >= at.saturating_add(ARRIVES_MS));
        for p in self.paid.values_mut().filter(has) {
            p.call = Call::Counted;
            self.launch.held -= TOKEN;
        }
    }
}
