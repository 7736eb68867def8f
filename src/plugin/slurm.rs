//! The engine's `Controller` over the C shim.

use crate::{
    shim::{self, BURST_INFINITE, BURST_UNSET},
    startup,
};
use burst_engine::controller::{
    Changed, Controller, Credential, JobRecord, JobUpdate, Loud, NodeRecord, PartitionRecord, SlurmConf,
    SlurmError,
};
use burst_policy::gang::{JobFacts, JobView, NodeView};
use std::{
    collections::BTreeMap,
    ffi::{CString, c_int},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long "we are the primary and it answers" is believed.
const BELIEVED: Duration = Duration::from_secs(2);

/// How long "nothing changed" is believed of the node table.
const REREAD: Duration = Duration::from_secs(1);

/// How long "nothing changed" is believed of the job table: a full read copies it under a lock of slurmctld.
const REREAD_JOBS: Duration = Duration::from_secs(5);

/// slurmctld, from inside.
#[derive(Debug, Default)]
pub struct Slurm {
    /// Time of the last look's data, and when all jobs were last read.
    jobs_since: Mutex<(i64, Option<Instant>)>,
    /// Time of the last look's data, and when all nodes were last read.
    nodes_since: Mutex<(i64, Option<Instant>)>,
    munge_socket: Mutex<Option<CString>>,
    primary: Mutex<Option<(Instant, bool)>>,
    /// slurmctld was seen to serve.
    served: AtomicBool,
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

fn checked(rc: c_int) -> Result<(), SlurmError> {
    if rc == 0 {
        return Ok(());
    }
    let (message, passing) = shim::explain(rc);
    Err(SlurmError { code: rc, message, passing })
}

/// A passing failure is tried again a few times: slurmctld is busy, or just taking its locks.
fn patient(mut call: impl FnMut() -> c_int) -> Result<(), SlurmError> {
    const PAUSES_MS: [u64; 4] = [20, 100, 500, 1_000];
    let mut last = checked(call());
    for pause in PAUSES_MS {
        match &last {
            Err(e) if e.passing => {
                std::thread::sleep(Duration::from_millis(pause));
                last = checked(call());
            }
            _ => break,
        }
    }
    last
}

fn when(t: i64) -> u64 {
    u64::try_from(t).unwrap_or(0)
}

fn minutes(m: u32) -> Option<u64> {
    (m != BURST_INFINITE && m != BURST_UNSET).then_some(u64::from(m))
}

fn job(r: &shim::burst_job_record_t) -> JobRecord {
    let array = r.array_job_id != 0;
    JobRecord {
        view: JobView {
            id: r.job_id,
            text: r.job_id.to_string(),
            state: r.state,
            completing: r.completing != 0,
            held: r.priority == 0,
            held_admin: r.held_by_admin != 0,
            restarts: r.restarts,
            submit: when(r.submit),
            eligible: when(r.eligible),
            start: when(r.start),
            dependency: shim::text(&r.dependency),
            partition: shim::text(&r.partition),
            minutes: minutes(r.time_limit),
            nodes: shim::text(&r.nodes),
            reason: shim::text(&r.state_reason),
            licences: shim::text(&r.licences),
            facts: JobFacts {
                end: when(r.end),
                exit: r.exit_code,
                derived: r.derived_exit,
                nodes: r.min_nodes,
                cpus: r.num_cpus,
                tres: shim::text(&r.tres_alloc),
            },
        },
        uid: r.user_id,
        user: owner(r),
        account: shim::text(&r.account),
        array_job: r.array_job_id,
        array_task: (array && r.is_array_meta == 0 && r.array_task_id != BURST_UNSET)
            .then_some(r.array_task_id),
        array_rest: (r.is_array_meta != 0).then(|| shim::text(&r.array_tasks)),
        array_most: r.array_max_tasks,
        comment: shim::text(&r.admin_comment),
    }
}

/// How long a name of the host's name services is believed, and that there is none.
const NAMED: (Duration, Duration) = (Duration::from_secs(3_600), Duration::from_secs(60));
/// Most names that are remembered.
const NAMES_MOST: usize = 10_000;

/// The owner's name. Slurm fills it in only where a job has started (slurm-22.05 src/slurmctld/node_scheduler.c): what a user may
/// spend is decided before that, and must not be counted under two names.
fn owner(r: &shim::burst_job_record_t) -> String {
    static NAMES: Mutex<BTreeMap<u32, (String, Instant)>> = Mutex::new(BTreeMap::new());
    let given = shim::text(&r.user_name);
    if !given.is_empty() {
        return given;
    }
    let known = lock(&NAMES).get(&r.user_id).cloned();
    let fresh =
        |(name, at): &(String, Instant)| at.elapsed() < if name.is_empty() { NAMED.1 } else { NAMED.0 };
    if let Some((name, _)) = known.filter(fresh) {
        return name;
    }
    let name = shim::user_name(r.user_id);
    let mut names = lock(&NAMES);
    if names.len() >= NAMES_MOST {
        names.clear();
    }
    names.insert(r.user_id, (name.clone(), Instant::now()));
    name
}

/// Tagged, or known by number: an administrator may have written over the comment.
fn ours() -> impl Fn(&shim::burst_job_record_t) -> bool {
    let managed = startup::shared().map(|s| s.managed.load_full());
    move |r| {
        shim::bytes(&r.admin_comment).starts_with(b"[burst ")
            || managed.as_ref().is_some_and(|m| m.contains_key(&r.job_id))
    }
}

fn node(r: &shim::burst_node_record_t) -> NodeRecord {
    NodeRecord {
        name: shim::text(&r.name),
        view: NodeView {
            idle: r.idle != 0,
            allocated: r.allocated != 0,
            down: r.down != 0,
            drain: r.drain != 0,
            no_respond: r.no_respond != 0,
            powered_down: r.powered_down != 0,
            powering_up: r.powering_up != 0,
            power_up_asked: r.power_up_asked != 0,
            powering_down: r.powering_down != 0,
            power_down_asked: r.power_down_asked != 0,
            completing: r.completing != 0,
            address: shim::text(&r.address).parse().ok(),
        },
        cloud: r.cloud != 0,
        cpus: r.cpus,
        memory_mib: r.memory,
    }
}

fn seconds(v: u32) -> Option<u64> {
    // 16-bit INFINITE of the timeouts (slurm.h INFINITE16, NO_VAL16) and the 32-bit ones.
    (v < 0xfffe || (v > 0xffff && v < BURST_UNSET)).then_some(u64::from(v))
}

impl Controller for Slurm {
    fn jobs(&self) -> Result<Changed<JobRecord>, SlurmError> {
        let mut state = lock(&self.jobs_since);
        // A dependency that is met does not count as a change (seen on 22.05): read everything now and then.
        let mut since = if state.1.is_none_or(|t| t.elapsed() >= REREAD_JOBS) { 0 } else { state.0 };
        let mut out = Vec::new();
        let ours = ours();
        let rc = shim::load_jobs(&mut since, |r| {
            if ours(r) {
                out.push(job(r));
            }
        });
        if shim::is_no_change(rc) {
            return Ok(None);
        }
        checked(rc)?;
        if since != 0 && state.1.is_none_or(|t| t.elapsed() >= REREAD_JOBS) {
            state.1 = Some(Instant::now());
        }
        state.0 = since;
        Ok(Some(out))
    }

    fn jobs_of(&self, uid: u32) -> Result<Vec<JobRecord>, SlurmError> {
        let mut out = Vec::new();
        let ours = ours();
        checked(shim::load_user_jobs(uid, |r| {
            if ours(r) {
                out.push(job(r));
            }
        }))?;
        Ok(out)
    }

    fn nodes(&self) -> Result<Changed<NodeRecord>, SlurmError> {
        let mut state = lock(&self.nodes_since);
        // POWERING_DOWN → POWERED_DOWN does not count as a change (seen on 22.05): read everything now and then.
        let mut since = if state.1.is_none_or(|t| t.elapsed() >= REREAD) { 0 } else { state.0 };
        let mut out = Vec::new();
        let rc = shim::load_nodes(&mut since, |r| out.push(node(r)));
        if rc == 0 {
            *state = (since, Some(Instant::now()));
        }
        if shim::is_no_change(rc) {
            return Ok(None);
        }
        checked(rc).map(|()| Some(out))
    }

    fn partitions(&self) -> Result<Vec<PartitionRecord>, SlurmError> {
        let mut out = Vec::new();
        checked(shim::load_partitions(|r| {
            let default = if r.default_time == BURST_UNSET { r.max_time } else { r.default_time };
            out.push(PartitionRecord {
                name: shim::text(&r.name),
                nodes: shim::text(&r.nodes),
                default_minutes: minutes(default),
                is_default: r.is_default != 0,
            });
        }))?;
        Ok(out)
    }

    fn licences(&self) -> Result<BTreeMap<String, u32>, SlurmError> {
        let mut out = BTreeMap::new();
        checked(shim::load_licences(|r| {
            out.insert(shim::text(&r.name), r.available);
        }))?;
        Ok(out)
    }

    /// The first call of all: it waits, by failing, until slurmctld serves, and once more, until its port is open.
    fn conf(&self) -> Result<SlurmConf, SlurmError> {
        if !self.served.load(Ordering::Relaxed) {
            self.served.store(shim::serves(), Ordering::Relaxed);
            return Err(SlurmError {
                code: 0,
                message: "slurmctld does not serve yet".into(),
                passing: true,
            });
        }
        let mut out = SlurmConf::default();
        let mut primary = false;
        checked(shim::load_conf(|r| {
            primary = r.this_host_is_primary != 0;
            out = SlurmConf {
                cluster: shim::text(&r.cluster),
                state_save: shim::text(&r.state_save),
                resume_program: shim::text(&r.resume_program),
                suspend_program: shim::text(&r.suspend_program),
                auth_info: shim::text(&r.auth_info),
                version: shim::text(&r.version),
                suspend_timeout: seconds(r.suspend_timeout),
                suspend_time: seconds(r.suspend_time),
                suspend_rate: r.suspend_rate,
                kill_wait: u64::from(r.kill_wait),
                over_minutes: minutes(r.over_time_limit),
                return_to_service: r.return_to_service,
                controllers: shim::text(&r.controllers)
                    .split(',')
                    .filter(|h| !h.is_empty())
                    .map(str::to_owned)
                    .collect(),
                slurm_uid: r.slurm_uid,
            };
        }))?;
        // AuthInfo=socket=/run/munge/munge.socket.2,ttl=300
        let socket = out.auth_info.split(',').find_map(|p| p.strip_prefix("socket=")).map(shim::c_text);
        *lock(&self.munge_socket) = socket;
        if primary && lock(&self.primary).is_none() {
            *lock(&self.primary) = Some((Instant::now(), true));
        }
        Ok(out)
    }

    fn update_job(&self, job: &str, update: &JobUpdate) -> Result<(), SlurmError> {
        patient(|| shim::update_job(job, update))
    }

    fn set_addresses(&self, names: &str, addresses: &str, hosts: &str) -> Result<(), SlurmError> {
        patient(|| shim::update_node(names, Some((addresses, hosts))))
    }

    fn power_down(&self, names: &str) -> Result<(), SlurmError> {
        patient(|| shim::update_node(names, None))
    }

    fn cancel(&self, job: &str) -> Result<(), SlurmError> {
        patient(|| shim::cancel_job(job))
    }

    /// job_submit was called in this process, or it runs on the primary and the primary answers.
    fn active(&self) -> bool {
        if startup::shared().is_some_and(|s| s.called.load(Ordering::Relaxed)) {
            return true;
        }
        let mut primary = lock(&self.primary);
        match *primary {
            None => false,
            Some((at, was)) if at.elapsed() < BELIEVED => was,
            Some(_) => {
                let answers = shim::primary_answers();
                *primary = Some((Instant::now(), answers));
                answers
            }
        }
    }

    fn decode(&self, credential: &str) -> Result<Credential, String> {
        let socket = lock(&self.munge_socket).clone();
        let (uid, gid, payload) = shim::munge_decode(socket.as_deref(), credential)?;
        Ok(Credential { uid, gid, payload })
    }

    fn log(&self, loud: Loud, text: &str) {
        let level = match loud {
            Loud::Error => 0,
            Loud::Info => 1,
            Loud::Debug => 3,
        };
        shim::log(level, text);
    }
}
