//! The dead-man switch, decided over values.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// How long slurmd has to wait so that slurmctld sees its boot after the request for it.
///
/// slurmctld takes a boot's time as its own wall clock less the uptime that `slurmd -b` reports, both in whole seconds,
/// and waits for ever on one before the second of POWER_UP (slurm-22.05 src/slurmctld/job_mgr.c
/// `validate_jobs_on_node`, node_mgr.c `waiting_for_node_boot`). `-b` counts from its start by ticks of the uptime's
/// seconds (src/slurmd/slurmd/get_mach_stat.c): where such a tick comes before the wall clock's next, one that registers
/// between the two looks a second too old. So it starts after that tick, or at once where the wall clock's comes first,
/// or where POWER_UP was handled in an earlier second (the controller's `settled`).
/// Both arguments are the part of a second that has passed, in ms.
fn to_safe_start(wall_ms: u64, uptime_ms: u64) -> Duration {
    /// /proc/uptime is written in hundredths.
    const BLUR: u64 = 20;
    let left = |ms: u64| 1_000 - ms.min(999);
    let (wall, uptime) = (left(wall_ms), left(uptime_ms));
    Duration::from_millis(if uptime < wall + BLUR { uptime + BLUR } else { 0 })
}

/// [`to_safe_start`] by this machine's clocks; without an uptime to read the next second is waited for.
pub fn before_slurmd() -> Duration {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| u64::from(t.subsec_millis()));
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let part = uptime.split_whitespace().next().and_then(|t| t.split_once('.')?.1.parse::<u64>().ok());
    match part {
        Some(hundredths) => to_safe_start(wall, hundredths.min(99) * 10),
        None => Duration::from_millis(1_010 - wall.min(999)),
    }
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

    /// What slurmctld reckons, for every start, registration and offset of the clocks: the boot is never older than the
    /// second in which the node was seen POWERING_UP.
    #[test]
    fn no_boot_looks_older_than_its_request() {
        let mut at_once = 0;
        for wall in (0..1_000).step_by(7) {
            for uptime in (0..1_000).step_by(7) {
                // What is read is up to 10 ms old.
                let wait = u64::try_from(to_safe_start(wall, uptime / 10 * 10).as_millis()).unwrap();
                at_once += u32::from(wait == 0);
                for later in (0..4_000).step_by(13) {
                    let (started, registers) = (wait, wait + later);
                    let ticks = (uptime + registers) / 1_000 - (uptime + started) / 1_000;
                    let boot = ((wall + registers) / 1_000).checked_sub(ticks);
                    assert!(boot.is_some(), "wall {wall}, uptime {uptime}, waited {wait}, after {later}");
                }
            }
        }
        assert!(at_once > 9_000, "{at_once} of 20,449 start at once");
    }

    /// A start in a later second than the request's needs no wait.
    #[test]
    fn a_later_second_is_safe_at_once() {
        for (wall, uptime) in
            (1_000..2_000).step_by(7).flat_map(|w| (0..1_000).step_by(7).map(move |u| (w, u)))
        {
            for later in (0..4_000).step_by(13) {
                let ticks = (uptime + later) / 1_000 - uptime / 1_000;
                assert!((wall + later) / 1_000 >= ticks, "wall {wall}, uptime {uptime}, after {later}");
            }
        }
    }

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
