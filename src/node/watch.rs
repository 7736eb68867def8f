//! The dead-man switch, decided over values.

use std::time::{SystemTime, UNIX_EPOCH};

/// What is known.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Seconds since a controller answered.
    pub silent_s: f64,
    /// Job steps here.
    pub jobs: usize,
    /// The job's latest end, Unix seconds.
    pub deadline_unix: Option<u64>,
    /// The controller wants it off.
    pub orders_end: bool,
}

/// Unix seconds; a clock before 1970 reads as 0 and so never passes a deadline.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs())
}

/// Why the instance has to end now, if it has to.
pub fn end(s: &State, orphan_limit_s: f64, now_unix: u64) -> Option<String> {
    if s.orders_end {
        return Some("the controller wants it no more".into());
    }
    if let Some(deadline) = s.deadline_unix
        && now_unix > deadline
    {
        return Some(format!("its job's latest end ({deadline}) has passed"));
    }
    (s.jobs == 0 && s.silent_s > orphan_limit_s)
        .then(|| format!("no controller has answered for {:.0} s and no job runs here", s.silent_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_only_with_a_reason() {
        let calm = State { silent_s: 0.0, jobs: 0, deadline_unix: Some(100), orders_end: false };
        assert_eq!(end(&calm, 900.0, 100), None);
        assert!(end(&calm, 900.0, 101).is_some(), "past the deadline, job or not");
        assert!(end(&State { jobs: 3, ..calm.clone() }, 900.0, 101).is_some());
        assert!(end(&State { orders_end: true, ..calm.clone() }, 900.0, 1).is_some());
        let silent = State { silent_s: 901.0, ..calm };
        assert!(end(&silent, 900.0, 1).is_some());
        assert_eq!(
            end(&State { jobs: 1, ..silent }, 900.0, 1),
            None,
            "a running job is not ended for silence"
        );
    }
}
