//! `burst-bench [SECTION…]`: measures what was promised, to target/bench/summary.json; raw samples beside it.
//!
//! Sections: hook, sbatch, gangs, capture, memory, sizes, build; without one: all. A section alone renews its own samples.
#![forbid(unsafe_code)]

mod capture;
mod gangs;
mod hook;
mod still;

use burst_e2e::bench::Raw;
use burst_e2e::spec::target_dir;
use burst_e2e::{Context, Res};
use std::process::ExitCode;
use std::time::Instant;

type Section = fn(&mut Raw) -> Res<()>;

/// What can be measured, in order: the build last, since it heats the machine.
const SECTIONS: [(&str, Section); 7] = [
    ("hook", hook::job_submit),
    ("sbatch", hook::sbatch),
    ("gangs", gangs::gangs),
    ("capture", capture::capture),
    ("memory", still::memory),
    ("sizes", still::sizes),
    ("build", still::build),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|w| !SECTIONS.iter().any(|s| s.0 == w.as_str())) {
        let names = SECTIONS.map(|s| s.0).join(", ");
        eprintln!("burst-bench: there is no section {unknown}; sections are {names}");
        return ExitCode::from(2);
    }
    match measure(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("burst-bench: {e}");
            ExitCode::FAILURE
        }
    }
}

fn measure(wanted: &[String]) -> Res<()> {
    let dir = target_dir().join("bench");
    for (name, section) in SECTIONS.iter().filter(|s| wanted.is_empty() || wanted.iter().any(|w| w == s.0)) {
        println!("bench: {name}");
        let began = Instant::now();
        let mut raw = Raw::default();
        section(&mut raw).context(name)?;
        raw.write(&dir.join("raw"))?;
        println!("bench: {name} took {:.0} s", began.elapsed().as_secs_f64());
    }
    let summary = format!("{:#}\n", Raw::read(&dir.join("raw"))?.summary());
    let path = dir.join("summary.json");
    std::fs::write(&path, &summary).context(path.display())?;
    println!("{summary}bench: written to {}", path.display());
    Ok(())
}
