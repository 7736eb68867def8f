//! Between the SPANK plugin and the controller: what the plugin needs to know, and reports that its epilogs could not send.

use crate::{
    controller::{Desk, Named, jitter},
    imds::Facts,
    say,
    settings::Settings,
};
use burst_capture::{NodeFile, Place, spool};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// What sending may take, each time: the instance's end waits for it, and so does the dead-man switch.
const PATIENCE: Duration = Duration::from_secs(3);

/// An epilog sends its report itself, for so long; only then is it ours.
const EPILOG: Duration = Duration::from_secs(3);
/// First pause between tries of what waits, and between looks for it.
const SOON: Duration = Duration::from_secs(1);

/// A named node's run directory.
pub struct Reports {
    place: Option<Place>,
    told: String,
    next: Instant,
    pause: Duration,
}

impl Reports {
    /// Tells the plugin that this is a pool's node; without that the node serves all the same, unmeasured.
    pub fn announce(settings: &Settings, facts: &Facts, named: &Named) -> Self {
        let file = NodeFile {
            node: named.node.clone(),
            instance_id: facts.instance_id.clone(),
            controllers: settings.controllers.clone(),
            munge: settings.munge.clone(),
            munge_socket: settings.munge_socket.clone(),
        };
        let place = Place::new(Path::new(&settings.run_dir), &named.node);
        if let Some(Err(e)) = place.as_ref().map(|p| p.announce(&file)) {
            say(&format!("jobs are not measured here: {e}"));
        }
        Self { place, told: String::new(), next: Instant::now(), pause: SOON }
    }

    /// Between two reports of the node itself, `every` apart: a gang is given back seconds after its job, and what an epilog
    /// could not send has to be gone by then.
    pub fn look(&mut self, desk: &Desk, every: Duration) {
        if Instant::now() < self.next {
            return;
        }
        let Some(place) = &self.place else { return };
        if spool::waits(&place.spool(), EPILOG) {
            self.flush(desk);
            // A whole gang's nodes have the same trouble at the same time.
            self.next = Instant::now() + jitter(self.pause);
            self.pause = (self.pause * 2).min(every.max(SOON));
        } else {
            (self.next, self.pause) = (Instant::now() + SOON, SOON);
        }
    }

    /// Sends what waits.
    pub fn flush(&mut self, desk: &Desk) {
        let Some(place) = &self.place else { return };
        let until = Instant::now() + PATIENCE;
        let done = spool::flush(&place.spool(), None, until, |message| desk.deliver(message));
        for why in &done.dropped {
            say(&format!("a job's report was given up: {why}"));
        }
        if done.sent > 0 {
            say(&format!("sent {} reports of jobs that had waited", done.sent));
        }
        // Said once, not each time.
        let waits = done.waits.unwrap_or_default();
        if waits != self.told && !waits.is_empty() {
            say(&format!("reports of jobs wait: {waits}"));
        }
        self.told = waits;
    }
}
