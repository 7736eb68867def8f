//! The options users see, in the order of `sbatch --help`.

use std::ffi::CStr;

/// SPANK's name of this plugin: part of the environment variables that Slurm derives from an option.
pub const PLUGIN: &str = "burst";

/// One option as it is registered with SPANK.
pub struct Entry {
    /// Long name, without the dashes.
    pub name: &'static CStr,
    /// What `--help` prints after the equals sign. Name and argument together stay below 24 columns: Slurm
    /// starts the text on a line of its own otherwise.
    pub argument: &'static CStr,
    /// One sentence for `--help`.
    pub usage: &'static CStr,
    /// May be given without a value.
    pub optional: bool,
}

/// The option that names the plan file.
pub const PLAN: &str = "burst-plan";

/// All options; an entry's index is the value SPANK hands back to the callback.
pub const ENTRIES: [Entry; 8] = [
    Entry {
        name: c"burst-plan",
        argument: c"FILE",
        usage: c"launch the cloud nodes that this execution plan (JSON) asks for and start the job on them",
        optional: false,
    },
    Entry {
        name: c"burst",
        argument: c"[POOL]",
        usage: c"launch cloud nodes with the defaults of POOL (or of the partition's pool), without a plan",
        optional: true,
    },
    Entry {
        name: c"burst-types",
        argument: c"LIST",
        usage: c"instance types to use, in order of preference: hpc7a.96xlarge,hpc6a.48xlarge",
        optional: false,
    },
    Entry {
        name: c"burst-market",
        argument: c"MARKET",
        usage: c"how instances are paid for: on-demand, spot or mixed",
        optional: false,
    },
    Entry {
        name: c"burst-efa",
        argument: c"WISH",
        usage: c"Elastic Fabric Adapter on each node: required, preferred or off",
        optional: false,
    },
    Entry {
        name: c"burst-max-cost",
        argument: c"USD",
        usage: c"launch nothing that could cost more than this for the whole job, in US dollars",
        optional: false,
    },
    Entry {
        name: c"burst-wait",
        argument: c"TIME",
        usage: c"how long to keep trying for cloud capacity, e.g. 90m, 2h or 1-00:00:00",
        optional: false,
    },
    Entry {
        name: c"burst-else",
        argument: c"ACTION",
        usage: c"without cloud capacity: wait (keep trying), local (run on the local partition) or cancel",
        optional: false,
    },
];

/// The long name of the entry that SPANK calls `val`.
pub fn name_of(val: i32) -> Option<&'static str> {
    let entry = ENTRIES.get(usize::try_from(val).ok()?)?;
    entry.name.to_str().ok()
}

/// Variables through which a job hands its own plan and options on to commands run inside it.
///
/// sbatch and salloc export each job-control variable with the prefix `SLURM_SPANK_`, their options among them
/// (source: slurm-22.05 src/sbatch/sbatch.c `_set_spank_env`, src/common/plugstack.c `_opt_env_name`), and
/// sbatch, salloc and srun read such a variable as if the option had been typed.
pub fn inherited_variables() -> Vec<String> {
    ENTRIES
        .iter()
        .filter_map(|entry| entry.name.to_str().ok())
        .map(|name| format!("SLURM_SPANK__SLURM_SPANK_OPTION_{PLUGIN}_{}", name.replace('-', "_")))
        .chain(["SLURM_SPANK_BURST_PLAN".to_owned(), "SLURM_SPANK_BURST_OPTS".to_owned()])
        .collect()
}
