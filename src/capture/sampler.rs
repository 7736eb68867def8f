//! A thread that looks at a step now and then: for what is gone when the step is (the sum of its processes' memory, their
//! environment, GPUs). All else is read once, at the end.
//!
//! It is started when all tasks have been forked, so that no fork of slurmstepd's for tasks meets it holding a lock, and ended
//! before the plugin is.

use crate::{
    mpi::{self, Environment},
    probe::{cgroup::Group, efa, proc},
};
use burst_plan::report::{EfaReport, GpuReport};
use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// A step may have cost so much CPU before the share counts.
const FREE: Duration = Duration::from_millis(2);
/// One part in so many of the step's time is what sampling may take: half of what was promised.
const SHARE: u32 = 2_000;
/// Shortest and longest pause.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// Looks at the environment of the step's processes: a launcher takes a while to start the ranks.
const ENVIRONMENTS: u32 = 6;

/// One look at all GPUs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GpuLook {
    /// How many.
    pub count: u32,
    /// Mean utilisation, 0 to 1.
    pub busy: Option<f64>,
    /// Memory in use, bytes.
    pub used_bytes: Option<u64>,
}

/// Something that can look at GPUs (NVML).
pub trait Gpu {
    /// One look.
    fn look(&mut self) -> Option<GpuLook>;
}

/// What the thread needs of its surroundings.
#[derive(Clone, Copy)]
pub struct Means {
    /// CPU time of the calling thread.
    pub clock: fn() -> Duration,
    /// GPUs, opened in the thread: it can take a second.
    pub gpu: fn() -> Option<Box<dyn Gpu>>,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Largest sum of the living processes' own peaks, bytes.
    pub peak_memory: Option<u64>,
    /// Of a process of the step's.
    pub environment: Environment,
    /// EFA's totals when the tasks began.
    pub efa: Option<EfaReport>,
    /// The step's control group.
    pub group: Option<Group>,
    /// GPUs until now.
    pub gpu: Option<GpuReport>,
    /// How often it looked.
    pub looks: u32,
    /// CPU time that it took.
    pub cpu: Duration,
    /// Looks at GPUs.
    pub gpu_looks: u32,
    /// The thread has ended.
    pub over: bool,
}

struct Shared {
    seen: Mutex<Seen>,
    stop: Mutex<bool>,
    wake: Condvar,
    over: Condvar,
}

/// What a poisoned lock guards is figures only.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long to rest, so that all looks together stay within the share.
#[must_use]
pub fn pause(elapsed: Duration, spent: Duration, last: Duration) -> Duration {
    let due = (spent + last).saturating_sub(FREE).saturating_mul(SHARE);
    (elapsed / 10).clamp(PAUSES.0, PAUSES.1).max(due.saturating_sub(elapsed))
}

/// The running thread.
pub struct Sampler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Looks at the descendants of process `pid`.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn start(root: &Path, pid: &str, means: Means) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            stop: Mutex::new(false),
            wake: Condvar::new(),
            over: Condvar::new(),
        });
        let (theirs, root, pid) = (Arc::clone(&shared), root.to_path_buf(), pid.to_owned());
        let thread = thread::Builder::new().name("burst-sampler".to_owned()).stack_size(256 * 1024).spawn(
            move || {
                let _over = Over(&theirs);
                run(&theirs, &root, &pid, means);
            },
        )?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Ends it and answers what it saw. One that does not end in time (a driver that hangs) is left behind: the plugin stays
    /// mapped, and slurmstepd is about to exit.
    pub fn stop(mut self, patience: Duration) -> Seen {
        *lock(&self.shared.stop) = true;
        self.shared.wake.notify_all();
        let until = Instant::now() + patience;
        let mut seen = lock(&self.shared.seen);
        while !seen.over {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return seen.clone();
            }
            seen = self.shared.over.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let seen = seen.clone();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        seen
    }
}

/// Says that the thread is over, also where it panicked.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        lock(&self.0.seen).over = true;
        self.0.over.notify_all();
    }
}

fn run(shared: &Shared, root: &Path, pid: &str, means: Means) {
    let began = Instant::now();
    lock(&shared.seen).efa = efa::totals(root);
    let mut gpu = (means.gpu)();
    // Opening it is not a look: NVML takes what it takes, once.
    let free = (means.clock)();
    let mut last = Duration::ZERO;
    loop {
        let rest = pause(began.elapsed(), (means.clock)().saturating_sub(free), last);
        let stop = lock(&shared.stop);
        let (stop, _) =
            shared.wake.wait_timeout_while(stop, rest, |stop| !*stop).unwrap_or_else(PoisonError::into_inner);
        let stopping = *stop;
        drop(stop);
        let before = (means.clock)();
        // A last look where the tasks still live: at a step's end they mostly do not, and it costs nothing.
        look(shared, root, pid, &mut gpu);
        last = (means.clock)().saturating_sub(before);
        lock(&shared.seen).cpu = (means.clock)();
        if stopping {
            return;
        }
    }
}

/// One look; the lock is not held while files are read.
fn look(shared: &Shared, root: &Path, pid: &str, gpu: &mut Option<Box<dyn Gpu>>) {
    let (looks, group) = {
        let seen = lock(&shared.seen);
        (seen.looks, seen.group.clone())
    };
    let in_group = group.as_ref().and_then(Group::used).is_some_and(|u| u.peak_memory_bytes.is_some());
    let first = looks < ENVIRONMENTS;
    let processes = if first || !in_group { proc::descendants(root, pid) } else { Vec::new() };
    // Where the group knows its peak, nobody has to add up.
    let peaks: &[u32] = if in_group { &[] } else { &processes };
    let sum = peaks.iter().filter_map(|p| proc::peak_memory(root, *p)).reduce(u64::saturating_add);
    // The deepest process: a rank rather than the launcher around it.
    let of = processes.last().filter(|_| first).map(|p| proc::environment(root, *p, mpi::wanted));
    let found =
        if group.is_none() && first { processes.last().and_then(|p| Group::of(root, *p)) } else { None };
    let gpus = gpu.as_mut().and_then(|g| g.look());
    let mut seen = lock(&shared.seen);
    seen.looks += 1;
    seen.peak_memory = seen.peak_memory.max(sum);
    seen.environment.extend(of.unwrap_or_default());
    if found.is_some() {
        seen.group = found;
    }
    if let Some(now) = gpus {
        add(&mut seen, now);
    }
}

fn add(seen: &mut Seen, now: GpuLook) {
    let before = seen.gpu.take().unwrap_or_default();
    let n = f64::from(seen.gpu_looks);
    seen.gpu_looks += 1;
    let mean = |now: f64| (before.busy.unwrap_or(now) * n + now) / (n + 1.0);
    seen.gpu = Some(GpuReport {
        count: before.count.max(now.count),
        busy: now.busy.map(mean).or(before.busy),
        peak_memory_bytes: before.peak_memory_bytes.max(now.used_bytes),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However dear a look is, all of them together stay within the share and what is free.
    #[test]
    fn looks_stay_within_the_share() {
        for cost_us in [50, 500, 5_000, 50_000] {
            let cost = Duration::from_micros(cost_us);
            let (mut elapsed, mut spent, mut last) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
            for _ in 0..2_000 {
                elapsed += pause(elapsed, spent, last) + cost;
                spent += cost;
                last = cost;
                // The first look's cost is not known before.
                assert!(spent <= FREE + cost + elapsed / SHARE, "{cost:?}: {spent:?} of {elapsed:?}");
            }
        }
    }

    #[test]
    fn a_mean_of_looks() {
        let mut seen = Seen::default();
        for (busy, used) in [(0.5, 10), (1.0, 30), (0.0, 20)] {
            add(&mut seen, GpuLook { count: 8, busy: Some(busy), used_bytes: Some(used) });
        }
        assert_eq!(seen.gpu, Some(GpuReport { count: 8, busy: Some(0.5), peak_memory_bytes: Some(30) }));
    }
}
