//! `burst-soak SEEDS [JOBS [FIRST]]`: tells SEEDS stories of JOBS jobs each, from seed FIRST on, on all processors. A seed
//! that breaks a law is told again with as few jobs as still break one, and its protocol is shown; ten are enough.
#![forbid(unsafe_code)]

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// Broken seeds after which no further story is told.
const ENOUGH: usize = 10;
/// Lines of a broken story that are shown.
const SHOWN: usize = 400;

fn main() -> ExitCode {
    let args: Result<Vec<u64>, _> = std::env::args().skip(1).map(|a| a.parse()).collect();
    let Ok(args) = args else {
        eprintln!("burst-soak: usage: burst-soak SEEDS [JOBS [FIRST]]");
        return ExitCode::from(2);
    };
    let get = |i: usize, or: u64| args.get(i).copied().unwrap_or(or);
    let (seeds, jobs, first) = (get(0, 300), get(1, 50), get(2, 1));
    let (next, told, gangs) = (AtomicU64::new(first), AtomicU64::new(0), AtomicU64::new(0));
    let broken = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|s| {
        for _ in 0..threads {
            s.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || broken.lock().is_ok_and(|all| all.len() >= ENOUGH) {
                        return;
                    }
                    let story = burst_soak::run(seed, jobs);
                    told.fetch_add(1, Ordering::Relaxed);
                    gangs.fetch_add(story.counts.get("jobs").copied().unwrap_or(0), Ordering::Relaxed);
                    if !story.broken.is_empty()
                        && let Ok(mut all) = broken.lock()
                    {
                        println!("seed {seed}: {}", story.broken.join("\n  "));
                        all.push(seed);
                    }
                }
            });
        }
    });
    let mut broken = broken.into_inner().unwrap_or_default();
    broken.sort_unstable();
    if let Some(seed) = broken.first() {
        replay(*seed, jobs);
    }
    let (told, gangs) = (told.load(Ordering::Relaxed), gangs.load(Ordering::Relaxed));
    println!("soak: {told} seeds, {gangs} gangs, {} broken", broken.len());
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The seed again with as few jobs as still break a law.
fn replay(seed: u64, jobs: u64) {
    // The same law in the same words: fewer jobs may break another.
    let first =
        |n: u64| burst_soak::run(seed, n).broken.first().map(|b| b.replace(|c: char| c.is_ascii_digit(), ""));
    let words = |b: String| b.chars().take(24).collect::<String>();
    let whole = first(jobs).map(words);
    let least = (1..=jobs).find(|n| first(*n).map(words) == whole).unwrap_or(jobs);
    let told = burst_soak::run(seed, least);
    println!("\nburst-soak 1 {least} {seed} replays it:");
    let upto = told.log.iter().position(|l| l.contains("BROKEN")).unwrap_or(told.log.len());
    for line in told.log.iter().take(upto + 1).skip((upto + 1).saturating_sub(SHOWN)) {
        println!("{line}");
    }
}
