//! Measuring a step inside slurmstepd, and reporting a job in the epilog. No Slurm here: values come in, files and one message
//! go out.
//!
//! # When
//! - `slurm_spank_init`: whether this node is to be measured, and the interfaces' counters. Elsewhere that is one file that is
//!   not there, and nothing more happens.
//! - `slurm_spank_task_post_fork`: all tasks are forked and wait; the sampler's thread begins.
//! - `slurm_spank_task_exit`: a task was waited for. After the node's last one the step's control group is read, which still
//!   exists then.
//! - `slurm_spank_exit`: the sampler ends, the step's file is written. Only then does slurmstepd tell that the step is over, so
//!   the epilog finds the file (source: slurm-22.05 src/slurmd/slurmstepd/mgr.c `job_manager`).

use crate::settings::{Capture, Settings};
use burst_capture::{
    NodeFile, Place, merge, mpi,
    probe::proc,
    sampler::{Means, Sampler, Seen},
    send, spool,
    step::{Rusage, Size, Step},
};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// The step's end waits for the sampler so long: it rests, or reads some files.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the way to the controller may take: the node's end waits for the epilog.
pub const SENDING: Duration = Duration::from_millis(2_500);

/// Whether this node is measured, and where its files are.
fn place(settings: &Settings, node: &str) -> Result<Option<(Place, NodeFile)>, String> {
    if settings.capture == Capture::Off {
        return Ok(None);
    }
    let Some(place) = Place::new(&settings.run_dir, node) else { return Ok(None) };
    let own = NodeFile {
        node: node.to_owned(),
        instance_id: String::new(),
        controllers: settings.controllers.clone(),
        munge: settings.munge.clone(),
        munge_socket: settings.munge_socket.clone(),
    };
    match place.node_file()? {
        Some(file) if file.node == node => Ok(Some((place, file))),
        _ if settings.capture == Capture::All => Ok(Some((place, own))),
        _ => Ok(None),
    }
}

/// A step that is measured.
pub struct Watch {
    job: u32,
    place: Place,
    step: Step,
    sampler: Option<Sampler>,
    /// slurmstepd: newer Slurms can run callbacks in another process that shares its memory (`contain_spank`), where no
    /// thread may be made and /proc/self is somebody else.
    process: u32,
}

impl Watch {
    /// None where this node is not measured.
    ///
    /// # Errors
    /// It should be, but its run directory is not to be trusted.
    pub fn begin(
        settings: &Settings,
        node: &str,
        job: u32,
        step: u32,
        size: Size,
    ) -> Result<Option<Self>, String> {
        let Some((place, _)) = place(settings, node)? else { return Ok(None) };
        let step = Step::begin(Path::new("/"), step, size);
        Ok(Some(Self { job, place, step, sampler: None, process: std::process::id() }))
    }

    fn is_here(&self) -> bool {
        std::process::id() == self.process
    }

    /// A task has been forked. The first one brings the step's environment and begins the sampler.
    ///
    /// # Errors
    /// No thread could be made; the step goes on without its samples.
    pub fn task_began(
        &mut self,
        pid: Option<u32>,
        environment: impl FnOnce() -> Vec<(String, String)>,
        means: Means,
    ) -> Result<(), String> {
        self.step.task_began(pid);
        if self.sampler.is_some() || !self.is_here() {
            return Ok(());
        }
        self.step.environment(environment().into_iter().collect());
        let sampler = Sampler::start(Path::new("/"), "self", means);
        self.sampler =
            Some(sampler.map_err(|e| format!("burst: the step is measured without samples: {e}"))?);
        Ok(())
    }

    /// A task has been waited for. Slurm has told its environment the restart count by then, also where the step began
    /// without it.
    pub fn task_ended(&mut self, task: u32, status: i32, environment: Vec<(String, String)>) {
        self.step.environment(environment.into_iter().collect());
        if self.is_here() {
            self.step.task_ended(task, status);
        } else {
            self.step.task_ended_elsewhere(task, status);
        }
    }

    /// The step is over: its file is written.
    ///
    /// # Errors
    /// What the file system said.
    pub fn finish(self, rusage: Option<Rusage>) -> Result<(), String> {
        let seen = self.sampler.map_or_else(Seen::default, |s| s.stop(PATIENCE));
        let file = self.step.finish(rusage, seen);
        self.place.keep_step(self.job, &file).map_err(|e| format!("burst: what the step did is lost: {e}"))
    }
}

/// Whether the job asked for EFA, by the variables that its epilog is given.
pub fn efa_asked() -> bool {
    let of = |name: &str| std::env::var(name).ok();
    mpi::asked_by_job(of("SPANK_BURST_OPTS").as_deref(), of("SPANK_BURST_PLAN").as_deref())
}

/// The epilog: all steps of the job here become one report, which is spooled, then sent.
///
/// # Errors
/// What went wrong; the report is lost then, or waits in the spool.
pub fn report(settings: &Settings, node: &str, job: u32, efa_asked: bool) -> Result<(), String> {
    let Some((place, file)) = place(settings, node)? else { return Ok(()) };
    let until = Instant::now() + SENDING;
    let (steps, lost) = place.steps(job);
    // Where nothing ran (a job cancelled before its first step) there is nothing to say; what waits is still sent.
    let mut own = None;
    if !steps.is_empty() || lost > 0 {
        let mut report = merge::report(job, node, &file.instance_id, steps, lost);
        report.cpus = proc::cpus(Path::new("/"));
        report.memory_bytes = proc::memory(Path::new("/"));
        if efa_asked {
            merge::efa_was_asked(&mut report);
        }
        let restart = report.restart;
        let message = merge::message(&file, report)?;
        let (path, given_up) = spool::put(&place.spool(), job, restart, &message)
            .map_err(|e| format!("burst: the report of job {job} is lost: {e}"))?;
        own = Some((path, given_up.len()));
    }
    place.forget(job, SystemTime::now());
    if file.controllers.is_empty() {
        return Err(format!(
            "burst: the report of job {job} stays in {}: no controller is known; give controllers= in plugstack.conf",
            place.spool().display()
        ));
    }
    let credential = |message: &[u8], until: Instant| {
        send::munge(&file.munge, file.munge_socket.as_deref(), message, until)
    };
    let first = own.as_ref().map(|(path, _)| path.as_path());
    let done = spool::flush(&place.spool(), first, until, |message| {
        send::deliver(&file.controllers, "/v1/report", message, until, credential)
    });
    let mut trouble: Vec<String> =
        done.dropped.iter().map(|why| format!("burst: a report was given up: {why}")).collect();
    if let Some((_, given_up @ 1..)) = own {
        trouble.push(format!("burst: {given_up} old reports were given up: the spool is full"));
    }
    if let Some(why) = done.waits {
        trouble.push(format!("burst: reports wait in {}: {why}", place.spool().display()));
    }
    if trouble.is_empty() { Ok(()) } else { Err(trouble.join("\n")) }
}
