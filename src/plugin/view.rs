//! From the flat view to our own types.

use crate::shim::{self, BURST_INFINITE, BURST_UNSET, burst_job_view_t};
use burst_engine::memo::Key;
use burst_plan::{Annotations, Geometry, Seconds};

/// BURST_UNSET64 and what lies above it are sentinels (slurm.h NO_VAL64, INFINITE64).
const NO_MEMORY: u64 = 0xffff_ffff_ffff_fffe;

fn number(v: u32) -> Option<u32> {
    (v != BURST_UNSET && v != BURST_INFINITE).then_some(v)
}

fn given(s: String) -> Option<String> {
    (!s.is_empty()).then_some(s)
}

/// The job's geometry but for owner and name. Zero nodes or tasks mean "not given", as in slurmctld.
pub fn geometry(v: &burst_job_view_t) -> Geometry {
    let positive = |n: u32| number(n).filter(|n| *n > 0);
    Geometry {
        min_nodes: number(v.min_nodes),
        max_nodes: positive(v.max_nodes),
        ntasks: positive(v.num_tasks),
        cpus_per_task: positive(v.cpus_per_task),
        ntasks_per_node: positive(v.ntasks_per_node),
        min_cpus: positive(v.min_cpus),
        mem_per_node: (v.mem_per_node < NO_MEMORY && v.mem_per_node > 0).then_some(v.mem_per_node),
        mem_per_cpu: (v.mem_per_cpu < NO_MEMORY && v.mem_per_cpu > 0).then_some(v.mem_per_cpu),
        tres_per_job: given(shim::text(&v.tres_per_job)),
        tres_per_node: given(shim::text(&v.tres_per_node)),
        tres_per_socket: given(shim::text(&v.tres_per_socket)),
        tres_per_task: given(shim::text(&v.tres_per_task)),
        time_limit: number(v.time_limit).map(|m| Seconds(u64::from(m) * 60)),
        unlimited: v.time_limit == BURST_INFINITE,
        exclusive: v.shared == 0,
        features: given(shim::text(&v.features)),
        array: given(shim::text(&v.array)),
        het_offset: number(v.het_offset),
        partition: shim::text(&v.partition),
        // As slurmctld will, once job_submit is done (`_validate_job_create_req`, xstrtolower).
        account: shim::text(&v.account).to_ascii_lowercase(),
        qos: shim::text(&v.qos),
        name: String::new(),
        uid: 0,
        batch: v.has_script != 0,
        begin: u64::try_from(v.begin_time).ok().filter(|t| *t > 0),
        dependency: given(shim::text(&v.dependency)),
    }
}

/// The longest a text may be that slurmctld itself takes, bytes (slurm-22.05 … 26.05 src/slurmctld/job_mgr.c
/// `_test_job_desc_fields`). It looks only after job_submit has, and its wire takes a gigabyte.
const SHORT: usize = 1_024;
/// Most bytes of the advisor's words in the job's environment, and of a list of nodes.
const LONG: usize = 64 * 1_024;

/// The text that is longer than slurmctld, or we, would take, and how long it may be.
pub fn too_long(v: &burst_job_view_t, options: Option<&[u8]>) -> Option<(&'static str, usize)> {
    let texts = [
        ("--account", &v.account, SHORT),
        ("--partition", &v.partition, SHORT),
        ("--qos", &v.qos, SHORT),
        ("--job-name", &v.name, SHORT),
        ("--comment", &v.comment, SHORT),
        ("--constraint", &v.features, SHORT),
        ("--array", &v.array, 4 * SHORT),
        ("--dependency", &v.dependency, 128 * SHORT),
        ("--nodelist", &v.req_nodes, LONG),
        ("--gpus-per-node", &v.tres_per_node, SHORT),
        ("--gpus-per-task", &v.tres_per_task, SHORT),
        ("--gpus", &v.tres_per_job, SHORT),
        ("--gpus-per-socket", &v.tres_per_socket, SHORT),
    ];
    let given = texts.iter().find(|(_, text, most)| text.len > *most).map(|(name, _, most)| (*name, *most));
    let options = || options.is_some_and(|o| o.len() > LONG).then_some(("burst options", LONG));
    let words = || (asba(v).map(<[u8]>::len).sum::<usize>() > LONG).then_some(("ASBA_ environment", LONG));
    given.or_else(options).or_else(words)
}

/// Everything a decision is made from but the published snapshot: jobs with the same key are decided alike. Owner, name
/// and the owner's own hold are not looked at there.
pub fn key(key: &mut Key, v: &burst_job_view_t, options: Option<&[u8]>, plan: Option<&[u8]>) {
    key.clear();
    key.option(options);
    key.option(plan);
    for text in [
        &v.account,
        &v.partition,
        &v.qos,
        &v.comment,
        &v.features,
        &v.array,
        &v.dependency,
        &v.req_nodes,
        &v.tres_per_node,
        &v.tres_per_task,
        &v.tres_per_job,
        &v.tres_per_socket,
    ] {
        key.text(shim::bytes(text));
    }
    for number in [
        v.min_nodes,
        v.max_nodes,
        v.num_tasks,
        v.min_cpus,
        v.cpus_per_task,
        v.ntasks_per_node,
        v.time_limit,
        v.het_offset,
        v.shared,
        u32::from(v.has_script),
    ] {
        key.number(u64::from(number));
    }
    for number in [v.mem_per_node, v.mem_per_cpu, v.begin_time.cast_unsigned()] {
        key.number(number);
    }
    for line in burst_plan::annotations::own_lines(shim::bytes(&v.script)) {
        key.option(Some(line));
    }
    key.option(None);
    for entry in asba(v) {
        key.option(Some(entry));
    }
}

/// The advisor's words in the job's environment.
fn asba(v: &burst_job_view_t) -> impl Iterator<Item = &'static [u8]> {
    shim::entries(v.env, v.env_size, c"ASBA_")
}

/// The value of a name in the job-control environment.
pub fn spank_value(v: &burst_job_view_t, name: &str) -> Option<&'static [u8]> {
    shim::environment(v.spank_env, v.spank_env_size)
        .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Slurm's own copy of `--burst-plan` in the job-control environment
/// (slurm-22.05 src/common/plugstack.c `_opt_env_name`).
pub const PLAN_OPTION: &str = "_SLURM_SPANK_OPTION_burst_burst_plan";

/// Whether any burst option was given, whatever became of it.
pub fn has_burst_option(v: &burst_job_view_t) -> bool {
    shim::entries(v.spank_env, v.spank_env_size, c"_SLURM_SPANK_OPTION_burst_burst").next().is_some()
}

/// What script, comment, environment and constraints say, by their precedence.
pub fn annotations(v: &burst_job_view_t) -> (Annotations, Vec<burst_plan::Warning>) {
    let mut warnings = Vec::new();
    let mut all = Annotations::default();
    let mut add = |(notes, more): (Annotations, Vec<burst_plan::Warning>)| {
        all = std::mem::take(&mut all).merge(notes);
        warnings.extend(more);
    };
    add(burst_plan::annotations::from_script(shim::bytes(&v.script)));
    add(burst_plan::annotations::from_comment(&shim::text(&v.comment)));
    add(burst_plan::annotations::from_env(asba(v).filter_map(|e| std::str::from_utf8(e).ok())));
    let (notes, _left, more) = burst_plan::annotations::from_features(&shim::text(&v.features));
    add((notes, more));
    (all, warnings)
}
