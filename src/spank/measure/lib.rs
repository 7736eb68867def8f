//! `spank_burst_node.so`: what a step did on a node, and the epilog that reports the job (see [`watch`]).
//!
//! A plugin of its own beside `spank_burst.so`: sbatch loads no more than it needs, a fault in measuring cannot touch a
//! submission, and a site that does not want it leaves its line out of plugstack.conf. It has an epilog, so slurmd starts one
//! process per job and node for it, at the job's end and wherever the plugin is in plugstack.conf; where nothing is measured it
//! ends at once. It has no prolog and no options.
//!
//! # House rules
//! As in `spank_burst.so` (src/spank), whose modules without options it shares: every entry is guarded, Slurm's symbols are
//! referenced by the C object only, and logic that needs no Slurm is tested by `tests/logic.rs`.

#[path = "../base.rs"]
mod base;
mod ffi;
#[path = "../guard.rs"]
mod guard;
#[path = "../line.rs"]
mod line;
mod nvml;
mod settings;
mod usage;
#[path = "../version.rs"]
mod version;
mod watch;

use base::{Host, Spank};
use burst_capture::{mpi, sampler::Means, step::Size};
use ffi::What;
use line::{How, Line, lines};
use settings::Settings;
use std::ffi::{c_char, c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;
use watch::Watch;

/// Slurm's loader reads these three as data symbols (see `spank_burst.so`).
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static plugin_name: [u8; 11] = *b"burst_node\0";

/// See [`plugin_name`].
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static plugin_type: [u8; 6] = *b"spank\0";

/// See [`plugin_name`]; the number of the headers this was built with.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static plugin_version: u32 = version::decimal(env!("BURST_SLURM_VERSION_NUMBER"));

const OK: c_int = 0;

/// The step that this slurmstepd runs, where it is measured. Held during callbacks only, never while slurmstepd forks.
static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

/// The epilog's process waits for its report at most so long, whatever a name server or a full disk does.
const EPILOG: Duration = Duration::from_secs(3);

/// A step begins, where this is slurmstepd.
///
/// # Safety
/// Called by Slurm with a live handle and plugstack.conf's arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn slurm_spank_init(spank: *mut c_void, argc: c_int, argv: *mut *mut c_char) -> c_int {
    // Fallback: nothing is measured.
    guard::guarded(OK, complain, || {
        if base::host() != Host::Step {
            return OK;
        }
        // SAFETY: both come from Slurm and live through this callback, which keeps neither.
        let (spank, arguments) = unsafe { (Spank::new(spank), base::arguments(argc, argv)) };
        let (settings, complaints) = settings::parse(arguments);
        for complaint in complaints {
            show(&lines(How::Info, &complaint));
        }
        begin(spank, &settings);
        OK
    })
}

/// A step begins on this node.
fn begin(spank: Spank, settings: &Settings) {
    // slurmd told slurmstepd itself; the step's environment is its user's (source: slurm-22.05
    // src/slurmd/slurmstepd/slurmstepd.c `_init_from_slurmd`).
    let node = std::env::var("SLURMD_NODENAME").unwrap_or_default();
    let (Some(job), Some(step)) = (spank.number(What::Job), spank.number(What::Step)) else { return };
    let size = Size {
        tasks: spank.number(What::TasksHere),
        ranks: spank.number(What::Tasks),
        nodes: spank.number(What::Nodes),
    };
    match Watch::begin(settings, &node, job, step, size) {
        Ok(watch) => *watched() = watch,
        Err(why) => show(&lines(How::Info, &format!("burst: the step is not measured: {why}"))),
    }
}

/// Called once per task, when all of them are forked and wait.
///
/// # Safety
/// Called by Slurm with a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn slurm_spank_task_post_fork(
    spank: *mut c_void,
    _argc: c_int,
    _argv: *mut *mut c_char,
) -> c_int {
    // Fallback: the step runs, less is known of it. Whatever happens here is no reason to fail a job.
    guard::guarded(OK, complain, || {
        let mut watched = watched();
        let Some(watch) = watched.as_mut() else { return OK };
        // SAFETY: the handle is live during this callback and not kept.
        let spank = unsafe { Spank::new(spank) };
        let means = Means { clock: usage::thread_time, gpu: nvml::open };
        let environment = || spank.environment(mpi::wanted);
        let begun = usage::without_signals(|| watch.task_began(spank.number(What::Pid), environment, means));
        if let Err(why) = begun {
            show(&lines(How::Info, &why));
        }
        OK
    })
}

/// Called once per task that was waited for.
///
/// # Safety
/// Called by Slurm with a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn slurm_spank_task_exit(
    spank: *mut c_void,
    _argc: c_int,
    _argv: *mut *mut c_char,
) -> c_int {
    // Fallback: as in post_fork.
    guard::guarded(OK, complain, || {
        let mut watched = watched();
        let Some(watch) = watched.as_mut() else { return OK };
        // SAFETY: the handle is live during this callback and not kept.
        let spank = unsafe { Spank::new(spank) };
        let task = spank.number(What::Task).unwrap_or_default();
        let restart = spank.environment(|name| name == "SLURM_RESTART_COUNT");
        watch.task_ended(task, spank.status().unwrap_or_default(), restart);
        OK
    })
}

/// The step is over here, and no process of it is left; in other programs nothing was watched.
///
/// # Safety
/// Called by Slurm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn slurm_spank_exit(
    _spank: *mut c_void,
    _argc: c_int,
    _argv: *mut *mut c_char,
) -> c_int {
    // Fallback: the step's file is missing, and its report says so.
    guard::guarded(OK, complain, || {
        let watch = watched().take();
        if let Some(watch) = watch
            && let Err(why) = watch.finish(usage::children())
        {
            show(&lines(How::Info, &why));
        }
        OK
    })
}

/// The job is over on this node: a process of its own, as root.
///
/// # Safety
/// Called by Slurm with a live handle and plugstack.conf's arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn slurm_spank_job_epilog(
    spank: *mut c_void,
    argc: c_int,
    argv: *mut *mut c_char,
) -> c_int {
    // Fallback: the controller misses this node's report and says so. A failing epilog would drain the node.
    guard::guarded(OK, complain, || {
        // SAFETY: both come from Slurm and live through this callback, which keeps neither.
        let (spank, arguments) = unsafe { (Spank::new(spank), base::arguments(argc, argv)) };
        let (settings, _) = settings::parse(arguments);
        let Some(job) = spank.number(What::Job) else { return OK };
        let node = std::env::var("SLURMD_NODENAME").unwrap_or_default();
        let (tell, told) = mpsc::channel();
        // Not waited for beyond the limit: the process ends, and it with it; what is in the spool stays.
        let sending = std::thread::Builder::new().spawn(move || {
            let _ = tell.send(watch::report(&settings, &node, job, watch::efa_asked()));
        });
        let trouble = match sending.map(|_| told.recv_timeout(EPILOG)) {
            Ok(Ok(Ok(()))) => return OK,
            Ok(Ok(Err(why))) => why,
            Ok(Err(_)) => format!("burst: the report of job {job} took too long; it waits in the spool"),
            Err(e) => format!("burst: the report of job {job} is not sent: {e}"),
        };
        show(&lines(How::Info, &trouble));
        OK
    })
}

/// Figures only: a panic while it was held left at worst a step half measured.
fn watched() -> MutexGuard<'static, Option<Watch>> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

fn show(lines: &[Line]) {
    lines.iter().for_each(base::say);
}

fn complain(text: &str) {
    show(&lines(How::Error, text));
}
