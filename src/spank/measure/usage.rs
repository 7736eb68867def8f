//! What the C library says of this process: resource usage, a thread's CPU time, signals.

use burst_capture::step::Rusage;
use std::time::Duration;

/// What all reaped descendants of this process used (getrusage(2), `RUSAGE_CHILDREN`).
pub fn children() -> Option<Rusage> {
    let mut raw = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `raw` is a struct of the type that getrusage fills.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, raw.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: zeroed is a valid rusage (numbers only), and getrusage has filled it.
    let raw = unsafe { raw.assume_init() };
    let number = |n: libc::c_long| u64::try_from(n).unwrap_or(0);
    let micros =
        |t: libc::timeval| number(t.tv_sec).saturating_mul(1_000_000).saturating_add(number(t.tv_usec));
    Some(Rusage {
        user_us: micros(raw.ru_utime),
        system_us: micros(raw.ru_stime),
        // Linux counts KiB there.
        max_rss: number(raw.ru_maxrss).saturating_mul(1024),
        voluntary: number(raw.ru_nvcsw),
        involuntary: number(raw.ru_nivcsw),
    })
}

/// CPU time of the calling thread.
pub fn thread_time() -> Duration {
    let mut raw = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `raw` is a struct of the type that clock_gettime fills.
    if unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut raw) } != 0 {
        return Duration::ZERO;
    }
    Duration::new(u64::try_from(raw.tv_sec).unwrap_or(0), u32::try_from(raw.tv_nsec).unwrap_or(0))
}

/// Runs `body` with all signals blocked in this thread: a thread made in it inherits that, and Slurm's signals stay Slurm's.
pub fn without_signals<R>(body: impl FnOnce() -> R) -> R {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: both are sets of the type these functions fill; the mask of the calling thread alone is changed.
    let changed = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) == 0
    };
    let result = body();
    if changed {
        // SAFETY: pthread_sigmask succeeded, so `before` holds the mask that was there.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    result
}
