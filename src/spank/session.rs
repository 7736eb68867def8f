//! One submission: options as they come in, job-control variables as they go out. No Slurm, no I/O but the
//! plan file.

use crate::line::{How, Line, lines, printable};
use crate::{check, file, table};
use burst_plan::Options;
use std::collections::BTreeMap;
use std::ffi::OsStr;

/// The program that loaded the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// sbatch or salloc: makes a job.
    Submit,
    /// scrontab: checks options, but never calls `init_post_opt`, so nothing can travel with the job
    /// (source: slurm-22.05 src/scrontab/scrontab.c).
    Scrontab,
    /// srun outside of an allocation: makes a job and a step.
    Srun,
    /// srun inside of one: a step only.
    StepOfJob,
    /// slurmstepd: Slurm repeats the submitter's options there.
    Remote,
    /// slurmd, prolog, epilog: nothing of ours.
    Elsewhere,
}

impl Place {
    /// Whether options must be known to SPANK here. slurmstepd prints an error for an option of ours that
    /// srun hands over and that is not registered.
    pub fn has_options(self) -> bool {
        self != Self::Elsewhere
    }
}

/// What the option callback answers.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// False ends the command: Slurm adds "Invalid --OPTION argument" and exits non-zero. Only an option
    /// callback can do that; the result of `init_post_opt` is ignored where plugstack.conf says `optional`.
    pub accept: bool,
    /// To be shown before that.
    pub lines: Vec<Line>,
}

impl Answer {
    fn silent() -> Self {
        Self { accept: true, lines: Vec::new() }
    }

    fn refuse(text: &str) -> Self {
        Self { accept: false, lines: lines(How::Error, text) }
    }
}

/// A job-control variable.
#[derive(Debug, PartialEq, Eq)]
pub enum Variable {
    /// To be set.
    Set(&'static str, String),
    /// To be taken out, where it came from a surrounding job's environment.
    Unset(&'static str),
}

/// The plan's variable, see docs/WIRE.md.
pub const PLAN_VARIABLE: &str = "BURST_PLAN";

/// The options' variable, see docs/WIRE.md.
pub const OPTIONS_VARIABLE: &str = "BURST_OPTS";

/// State from `slurm_spank_init` to `slurm_spank_init_post_opt`.
pub struct Session {
    place: Place,
    limit: usize,
    /// Raw values by option, the last one given.
    given: BTreeMap<&'static str, String>,
    /// Checked, as they will travel.
    options: Options,
    /// Minified.
    plan: Option<String>,
}

impl Session {
    /// A session in `place`; a plan may have `limit` bytes.
    pub fn new(place: Place, limit: usize) -> Self {
        Self { place, limit, given: BTreeMap::new(), options: Options::default(), plan: None }
    }

    /// The option callback: `val` is an index of [`table::ENTRIES`], `None` an option without a value.
    ///
    /// Slurm calls it for `#SBATCH` lines, then for the environment, then for the command line
    /// (source: slurm-22.05 src/sbatch/opt.c `process_options_second_pass`), so the last value is the one
    /// that counts; each is checked, as Slurm does with its own options.
    pub fn option(&mut self, val: i32, value: Option<&OsStr>) -> Answer {
        match self.place {
            Place::Remote | Place::Elsewhere => return Answer::silent(),
            Place::Submit | Place::Srun | Place::StepOfJob | Place::Scrontab => {}
        }
        let Some(name) = table::name_of(val) else {
            return Answer::refuse("burst: Slurm asked for an option that this plugin does not have");
        };
        match self.place {
            Place::StepOfJob => {
                return Answer {
                    accept: true,
                    lines: lines(
                        How::Info,
                        &format!(
                            "burst: --{name} has no effect on a step, the job's nodes are there already; \
                             give it to sbatch or salloc"
                        ),
                    ),
                };
            }
            Place::Scrontab => {
                return Answer::refuse(&format!(
                    "burst: --{name} does not work in scrontab, which drops it; let the entry run a script \
                     that calls sbatch --{name}"
                ));
            }
            Place::Submit | Place::Srun | Place::Remote | Place::Elsewhere => {}
        }
        let mut answer = if name == table::PLAN {
            self.read_plan(value.unwrap_or_default())
        } else {
            self.set_option(name, value)
        };
        if answer.accept {
            let text = value.unwrap_or_default().to_string_lossy().into_owned();
            let before = self.given.insert(name, text.clone()).filter(|before| *before != text);
            if let Some(before) = before {
                let note = format!(
                    "burst: --{name} was given more than once: {} counts, {} does not \
                     (#SBATCH lines, then environment, then command line; the last one wins)",
                    shown(&text),
                    shown(&before)
                );
                answer.lines.extend(lines(How::Info, &note));
            }
        }
        answer
    }

    fn read_plan(&mut self, path: &OsStr) -> Answer {
        let shown = printable(&path.to_string_lossy());
        let bytes = match file::read(path, self.limit) {
            Ok(bytes) => bytes,
            Err(why) if path.is_empty() => return Answer::refuse(&format!("--{}: {why}", table::PLAN)),
            Err(why) => return Answer::refuse(&format!("{shown}: {why}")),
        };
        match check::plan(&bytes, self.limit, &shown) {
            Ok(checked) => {
                self.plan = Some(checked.line);
                Answer {
                    accept: true,
                    lines: checked.warnings.iter().flat_map(|w| lines(How::Info, w)).collect(),
                }
            }
            Err(report) => Answer::refuse(&report),
        }
    }

    fn set_option(&mut self, name: &'static str, value: Option<&OsStr>) -> Answer {
        if value.is_some_and(|value| value.to_str().is_none()) {
            return Answer::refuse(&format!("--{name}: the value is not UTF-8 text"));
        }
        match self.options.set(name, value.and_then(OsStr::to_str)) {
            Ok(()) => Answer::silent(),
            Err(why) => Answer::refuse(&why),
        }
    }

    /// What `slurm_spank_init_post_opt` has to send along. It is asked once per component of a
    /// heterogeneous job.
    pub fn variables(&self) -> Vec<Variable> {
        if !matches!(self.place, Place::Submit | Place::Srun) {
            return Vec::new();
        }
        let options = (self.options != Options::default()).then(|| self.options.to_json());
        [(PLAN_VARIABLE, self.plan.clone()), (OPTIONS_VARIABLE, options)]
            .into_iter()
            .filter_map(|(name, value)| match value {
                Some(value) => Some(Variable::Set(name, value)),
                // srun begins with the variables of a surrounding job (source: slurm-22.05
                // src/srun/libsrun/opt.c `init_spank_env`); that job's plan is not this one's.
                None if self.place == Place::Srun => Some(Variable::Unset(name)),
                None => None,
            })
            .collect()
    }
}

fn shown(value: &str) -> String {
    if value.is_empty() { "the one without a value".to_owned() } else { format!("\"{}\"", printable(value)) }
}
