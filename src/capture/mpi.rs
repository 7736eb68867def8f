//! What the environment of a step's tasks says about MPI, and what is told when EFA was asked for and not used.

use crate::probe::efa;
use burst_plan::{
    Options,
    report::{EfaReport, MpiReport},
};
use std::collections::BTreeMap;

/// Variables that are looked at.
pub type Environment = BTreeMap<String, String>;

/// Beginnings of such names.
const PREFIXES: [&str; 9] =
    ["FI_", "OMPI_", "I_MPI_", "MPICH_", "MPIR_", "HYDI_", "PMI_", "PMIX_", "SLURM_SPANK_BURST_"];
/// Others.
const NAMES: [&str; 5] =
    ["LOADEDMODULES", "SLURM_MPI_TYPE", "SLURM_RESTART_COUNT", "SLURM_JOB_NUM_NODES", "SLURM_NTASKS"];

/// Less than this over EFA in a whole step is what devices and start-up make (bytes).
pub const NEXT_TO_NOTHING: u64 = 1 << 20;

/// A shorter step proves nothing (ms).
const SHORT: u64 = 5_000;

/// Whether a variable is one of those.
#[must_use]
pub fn wanted(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|p| name.starts_with(p))
}

fn library(env: &Environment) -> Option<&'static str> {
    let any = |prefix: &str| env.keys().any(|k| k.starts_with(prefix));
    let module = |word: &str| env.get("LOADEDMODULES").is_some_and(|m| m.to_ascii_lowercase().contains(word));
    if any("OMPI_COMM_WORLD_") {
        Some("openmpi")
    } else if any("I_MPI_") {
        Some("intelmpi")
    } else if any("OMPI_") {
        Some("openmpi")
    } else if any("MPICH_") || any("MPIR_") || any("HYDI_") {
        Some("mpich")
    } else if module("openmpi") {
        Some("openmpi")
    } else if module("intelmpi") || module("intel-oneapi-mpi") || module("impi") {
        Some("intelmpi")
    } else if module("mpich") {
        Some("mpich")
    } else {
        None
    }
}

/// Whether a launcher of MPI started the tasks.
fn launched(env: &Environment) -> bool {
    let any = |prefix: &str| env.keys().any(|k| k.starts_with(prefix));
    any("PMIX_") || any("PMI_") || env.get("SLURM_MPI_TYPE").is_some_and(|t| t != "none")
}

/// The provider that libfabric was told to use.
fn told(env: &Environment) -> Option<String> {
    let names = ["FI_PROVIDER", "I_MPI_OFI_PROVIDER", "OMPI_MCA_mtl_ofi_provider_include"];
    let word = names.iter().find_map(|n| env.get(*n)).map(|v| v.trim().to_ascii_lowercase());
    let tcp = || {
        let btl = env.get("OMPI_MCA_btl").is_some_and(|b| b.split(',').any(|w| w.trim() == "tcp"));
        btl.then(|| "tcp".to_owned())
    };
    word.filter(|w| !w.is_empty()).or_else(tcp).map(|w| burst_plan::clean(&w, 40))
}

/// Whether the job's options or its plan ask for EFA: the values of `BURST_OPTS` and `BURST_PLAN` (docs/WIRE.md).
#[must_use]
pub fn asked_by_job(options: Option<&str>, plan: Option<&str>) -> bool {
    let options = options.and_then(|o| Options::from_json(o.as_bytes()).ok());
    let option = options.and_then(|o| o.efa).is_some_and(|e| e != burst_plan::Efa::Off);
    let words = |p: &str| p.split_whitespace().any(|w| w == "efa=required" || w == "efa=preferred");
    option || plan.is_some_and(words)
}

/// Whether the user or the plan asked for EFA. srun takes the plan's variables out of the environment of steps: for these the
/// epilog knows it.
fn asked(env: &Environment, told: Option<&str>) -> bool {
    let of = |name: &str| env.get(name).map(String::as_str);
    asked_by_job(of("SLURM_SPANK_BURST_OPTS"), of("SLURM_SPANK_BURST_PLAN"))
        || told.is_some_and(|t| !t.starts_with('^') && t.split([',', ';']).any(|w| w.trim() == "efa"))
}

/// Facts about MPI; None where nothing speaks of it.
#[must_use]
pub fn facts(
    env: &Environment,
    ranks: Option<u32>,
    nodes: Option<u32>,
    moved: Option<&EfaReport>,
) -> Option<MpiReport> {
    let (library, told) = (library(env), told(env));
    let efa_asked = asked(env, told.as_deref());
    if library.is_none() && told.is_none() && !launched(env) && !efa_asked {
        return None;
    }
    let seen = moved.is_some_and(|m| efa::bytes(m) >= NEXT_TO_NOTHING);
    Some(MpiReport {
        library: library.map(str::to_owned),
        provider: if seen { Some("efa".to_owned()) } else { told },
        ranks,
        nodes,
        efa_asked,
    })
}

/// What is wrong with a step, in words of the user's.
#[must_use]
pub fn flags(
    env: &Environment,
    mpi: Option<&MpiReport>,
    moved: Option<&EfaReport>,
    wall_ms: u64,
) -> Vec<String> {
    let is_mpi = |mpi: &&MpiReport| mpi.library.is_some() || launched(env);
    mpi.filter(is_mpi).and_then(|mpi| unused(mpi, moved, wall_ms)).into_iter().collect()
}

/// What is told of an MPI step of several nodes that asked for EFA and moved next to nothing over it. Bytes over TCP prove
/// nothing: NFS and Lustre are TCP, too.
#[must_use]
pub fn unused(mpi: &MpiReport, moved: Option<&EfaReport>, wall_ms: u64) -> Option<String> {
    let spread = mpi.nodes.is_some_and(|n| n > 1);
    if !(mpi.efa_asked && spread && wall_ms >= SHORT) {
        return None;
    }
    match moved {
        None => Some(
            "EFA was asked for, but this node has no EFA device: MPI's messages went over another network"
                .to_owned(),
        ),
        Some(moved) if efa::bytes(moved) < NEXT_TO_NOTHING => Some(format!(
            "EFA was asked for, but only {} bytes moved over this node's {} EFA devices: MPI probably fell back to TCP; look \
             at FI_PROVIDER, the MPI library's libfabric and the security group (it must allow all traffic to itself)",
            efa::bytes(moved),
            moved.devices
        )),
        Some(_) => None,
    }
}
