//! `spank_burst.so`: the `--burst-*` options of sbatch, salloc and srun, the check of the plan on the
//! machine where the user sits, and on the nodes what a step did (see [`watch`]).
//!
//! # The way of a plan
//! `slurm_spank_init` registers the options. Their callback reads and checks (only a callback's failure ends the
//! command where plugstack.conf says `optional`; what `init_post_opt` returns is ignored then).
//! `slurm_spank_init_post_opt` puts the results into the job-control environment: `BURST_PLAN` and `BURST_OPTS`,
//! which slurmctld finds in the job description and validates again.
//!
//! # What Slurm does with options afterwards
//! - sbatch and salloc export each option and each job-control variable to the job
//!   (`SLURM_SPANK__SLURM_SPANK_OPTION_burst_burst_plan=…`, `SLURM_SPANK_BURST_PLAN=…`), and sbatch, salloc and
//!   srun *inside* the job take such a variable as if the option had been typed. So inside a job these variables
//!   are dropped before options are processed: no step reads the plan again (its path may mean nothing there), and
//!   a job submitted from within a job bursts only if its own submission says so.
//! - slurmstepd repeats the options to its own copy of the plugin, which registers them and does nothing with them.
//!   A node without the plugin prints one warning per option of an `srun` that was given options; batch jobs none.
//! - The plugin has an epilog, so slurmd starts one process per job and node for it, at the job's end and wherever the plugin is
//!   in plugstack.conf; where nothing is measured it ends at once. It has no prolog.
//!
//! # House rules
//! Every entry runs inside [`guard::guarded`]. Slurm's symbols are referenced by the C object only. Logic lives
//! in modules without Slurm, which `tests/logic.rs` includes: a test cannot link the plugin itself.

mod check;
mod ffi;
mod file;
mod guard;
mod line;
mod nvml;
mod session;
mod settings;
mod table;
mod usage;
mod watch;

use burst_capture::{mpi, sampler::Means, step::Size};
use ffi::{Host, Spank, What};
use line::{How, Line, lines};
use session::{Place, Session, Variable};
use settings::Settings;
use std::ffi::{c_char, c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;
use watch::Watch;

/// Slurm's loader reads these three as data symbols. With the type "spank" it compares major and minor version
/// only, so a micro upgrade of Slurm needs no new build.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static plugin_name: [u8; 6] = *b"burst\0";

/// See [`plugin_name`].
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static plugin_type: [u8; 6] = *b"spank\0";

/// See [`plugin_name`]; the number of the headers this was built with.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static plugin_version: u32 = decimal(env!("BURST_SLURM_VERSION_NUMBER"));

const OK: c_int = 0;
const REFUSED: c_int = -1;

/// From init to init_post_opt; SPANK's callbacks have no user pointer.
static SESSION: Mutex<Option<Session>> = Mutex::new(None);

/// The step that this slurmstepd runs, where it is measured. Held during callbacks only, never while slurmstepd forks.
static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

/// The epilog's process waits for its report at most so long, whatever a name server or a full disk does.
const EPILOG: Duration = Duration::from_secs(3);

/// Registers the options.
///
/// # Safety
/// Called by Slurm with a live handle and plugstack.conf's arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn slurm_spank_init(spank: *mut c_void, argc: c_int, argv: *mut *mut c_char) -> c_int {
    // Fallback: no options. The command then does not know --burst-plan, as without the plugin.
    guard::guarded(OK, complain, || {
        let place = place();
        if !place.has_options() {
            return OK;
        }
        // SAFETY: both come from Slurm and live through this callback, which keeps neither.
        let (spank, arguments) = unsafe { (Spank::new(spank), ffi::arguments(argc, argv)) };
        let (settings, complaints) = settings::parse(arguments);
        if place != Place::Remote {
            for complaint in complaints {
                show(&lines(How::Info, &complaint));
            }
            if inside_job() {
                ffi::forget_environment(&table::inherited_variables());
            }
        }
        *session() = Some(Session::new(place, settings.plan_bytes));
        if place == Place::Remote {
            guard::guarded((), complain, || begin(spank, &settings));
        }
        for (val, entry) in (0..).zip(&table::ENTRIES) {
            if let Err(why) = spank.register(entry, val, on_option) {
                let name = entry.name.to_string_lossy();
                show(&lines(How::Error, &format!("burst: --{name} is not available: {why}")));
            }
        }
        OK
    })
}

/// One option of the command line, the script or the environment.
///
/// # Safety
/// Called by Slurm; `optarg` is NULL or a NUL-terminated string.
unsafe extern "C" fn on_option(val: c_int, optarg: *const c_char, remote: c_int) -> c_int {
    // Fallback: the option is refused, as it is without the plugin; the job would run without its plan otherwise.
    guard::guarded(REFUSED, complain, || {
        if remote != 0 {
            return OK;
        }
        // SAFETY: Slurm's string lives through this callback, and the session copies what it keeps.
        let value = unsafe { ffi::value(optarg) };
        let answer = match session().as_mut() {
            Some(session) => session.option(val, value),
            None => return REFUSED,
        };
        show(&answer.lines);
        if answer.accept { OK } else { REFUSED }
    })
}

/// Sends plan and options along with the job.
///
/// # Safety
/// Called by Slurm with a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn slurm_spank_init_post_opt(
    spank: *mut c_void,
    _argc: c_int,
    _argv: *mut *mut c_char,
) -> c_int {
    // Fallback: nothing is sent. slurmctld sees the option without its content and refuses the job.
    guard::guarded(REFUSED, complain, || {
        let variables = session().as_ref().map(Session::variables).unwrap_or_default();
        // SAFETY: the handle is live during this callback and not kept.
        let spank = unsafe { Spank::new(spank) };
        let mut code = OK;
        for variable in variables {
            let (name, done) = match &variable {
                Variable::Set(name, value) => (name, spank.set(name, value)),
                Variable::Unset(name) => (name, spank.unset(name)),
            };
            if let Err(why) = done {
                show(&lines(How::Error, &format!("burst: {name} could not be sent with the job: {why}")));
                code = REFUSED;
            }
        }
        code
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
        let (spank, arguments) = unsafe { (Spank::new(spank), ffi::arguments(argc, argv)) };
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

/// Where this is, and what that means for options.
fn place() -> Place {
    match ffi::host() {
        Host::Submit if command() == "scrontab" => Place::Scrontab,
        Host::Submit => Place::Submit,
        // srun makes a step whenever it finds a job's id (source: slurm-22.05 src/srun/libsrun/opt.c).
        Host::Srun if inside_job() => Place::StepOfJob,
        Host::Srun => Place::Srun,
        Host::Step => Place::Remote,
        Host::Other => Place::Elsewhere,
    }
}

/// Whether the command was started from within a job.
fn inside_job() -> bool {
    ["SLURM_JOB_ID", "SLURM_JOBID"].iter().any(|name| std::env::var_os(name).is_some_and(|id| !id.is_empty()))
}

/// The name under which this program was started, without its directory.
fn command() -> String {
    let first = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&first).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A panic while it was held left at worst an incomplete session, and refused the command.
fn session() -> MutexGuard<'static, Option<Session>> {
    SESSION.lock().unwrap_or_else(PoisonError::into_inner)
}

fn show(lines: &[Line]) {
    lines.iter().for_each(ffi::say);
}

fn complain(text: &str) {
    show(&lines(How::Error, text));
}

/// `str::parse` is not const.
const fn decimal(text: &str) -> u32 {
    let mut rest = text.as_bytes();
    let mut number = 0;
    while let [digit, tail @ ..] = rest {
        assert!(digit.is_ascii_digit(), "the build script writes digits only");
        number = number * 10 + (*digit - b'0') as u32;
        rest = tail;
    }
    number
}
