//! A named node's life: reports, orders, and a watch on slurmd and on the reasons to end.

use crate::{
    controller::{Desk, Heard, Named, jitter},
    devices,
    reports::Reports,
    say,
    settings::Settings,
    slurmd::Slurmd,
    watch,
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Why a node's life is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// The instance is to end, and why.
    Off(String),
    /// The agent was told to stop: an upgrade or an operator, no reason to end the instance.
    Stopped,
}

/// First pause after a report that nobody took, and before an unknown instance asks again.
const AGAIN: Duration = Duration::from_millis(500);

/// Watches until it is over.
pub fn serve(
    settings: &Settings,
    desk: &mut Desk,
    reports: &mut Reports,
    named: &Named,
    daemon: &mut Slurmd,
    stop: &AtomicBool,
) -> Over {
    let orphan = named.orphan_limit_s.unwrap_or(settings.orphan_limit_s);
    let mut state =
        watch::State { silent_s: 0.0, jobs: 0, deadline_unix: named.deadline_unix, orders_end: false };
    let every = Duration::from_secs_f64(named.report_s.unwrap_or(30.0).clamp(0.05, 600.0));
    let mut heard = Instant::now();
    let mut kind = "started";
    let mut next = Instant::now();
    let mut pause = AGAIN;
    let mut unknown = false;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Over::Stopped;
        }
        if let Err(e) = daemon.look(&named.node) {
            desk.failed(&named.node, &e, stop);
            return Over::Off(e);
        }
        if Instant::now() >= next {
            state.jobs = devices::steps();
            let wait = match desk.report(kind, &named.node, state.jobs, "") {
                Heard::Orders(answer) => {
                    heard = Instant::now();
                    kind = "alive";
                    (pause, unknown) = (AGAIN, false);
                    state.orders_end = answer.poweroff;
                    state.deadline_unix = answer.deadline_unix.or(state.deadline_unix);
                    if answer.register && state.jobs == 0 {
                        daemon.register(&named.node);
                    }
                    // Somebody answers: what waits has its chance.
                    reports.flush(desk);
                    every
                }
                // A controller that has just started may not have read its journal yet.
                Heard::Unknown => {
                    state.orders_end = unknown;
                    unknown = true;
                    AGAIN.min(every)
                }
                // Soon again, for a lost `started` costs the gang its fast polling, but not all nodes at once.
                Heard::Nothing => {
                    unknown = false;
                    let wait = jitter(pause).min(every);
                    pause = (pause * 2).min(every.max(AGAIN));
                    wait
                }
            };
            next = Instant::now() + wait;
        }
        reports.look(desk, every);
        state.silent_s = heard.elapsed().as_secs_f64();
        if state.silent_s > orphan {
            // The count of the last report is old: a job may have begun since.
            state.jobs = devices::steps();
        }
        if let Some(why) = watch::end(&state, orphan, watch::unix_now()) {
            return Over::Off(why);
        }
        thread::sleep(Duration::from_millis(100).min(every));
    }
}

/// After [`serve`]: slurmd goes with the instance, and with an agent whose child it is; systemd's own outlives the agent.
pub fn close(daemon: &mut Slurmd, over: &Over) {
    if *over == Over::Stopped && daemon.is_systemds() {
        say("slurmd.service goes on without the agent");
    } else {
        daemon.stop();
    }
}
