//! `spank_burst.so`: the `--burst-*` options of sbatch, salloc and srun, the check of the plan on the
//! machine where the user sits. What a step does on its nodes is `spank_burst_node.so`'s (`measure/`).
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
//!
//! # House rules
//! Every entry runs inside [`guard::guarded`]. Slurm's symbols are referenced by the C object only. Logic lives
//! in modules without Slurm, which `tests/logic.rs` includes: a test cannot link the plugin itself.

mod base;
mod check;
mod ffi;
mod file;
mod guard;
mod line;
mod session;
mod settings;
mod table;
mod version;

use base::{Host, Spank};
use line::{How, Line, lines};
use session::{Place, Session, Variable};
use std::ffi::{c_char, c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
pub static plugin_version: u32 = version::decimal(env!("BURST_SLURM_VERSION_NUMBER"));

const OK: c_int = 0;
const REFUSED: c_int = -1;

/// From init to init_post_opt; SPANK's callbacks have no user pointer.
static SESSION: Mutex<Option<Session>> = Mutex::new(None);

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
        let (spank, arguments) = unsafe { (Spank::new(spank), base::arguments(argc, argv)) };
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
        let value = unsafe { base::value(optarg) };
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

/// Where this is, and what that means for options.
fn place() -> Place {
    match base::host() {
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
    lines.iter().for_each(base::say);
}

fn complain(text: &str) {
    show(&lines(How::Error, text));
}
