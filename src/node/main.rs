//! `burst-node`: on the instance, from boot to power-off.
//!
//! It asks the controller who it is, checks that the EFA devices it was promised are there, starts slurmd under its name
//! once slurmctld knows its address, reports, and is the dead-man switch: an instance that nobody answers for powers off.
//!
//! # What an image must bring
//! Slurm of the controller's version, munge with the cluster's key, `burst-node.service` enabled and `slurmd.service` not
//! enabled; `systemctl`, or `poweroff`, or `shutdown`. The launch template says that a shutdown terminates. Stopping
//! `burst-node.service` ends neither the instance nor systemd's slurmd. Settings: `/etc/slurm/burst-node.json` (or `$BURST_NODE_CONFIG`), overlaid by the user data (docs/WIRE.md).
#![forbid(unsafe_code)]

mod controller;
mod devices;
mod imds;
mod reports;
mod serve;
mod settings;
mod slurmd;
mod watch;

use serve::Over;
use settings::Settings;
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const USAGE: &str = "burst-node: names an EC2 instance, starts its slurmd, powers it off when it is abandoned\n\n\
    Usage: burst-node [--check | --version | --help]\n\n\
    --check    say what would be done, and do nothing\n\
    Settings: $BURST_NODE_CONFIG or /etc/slurm/burst-node.json, then the instance's user data.\n";

/// One line to stderr; systemd's journal keeps it.
pub(crate) fn say(text: &str) {
    eprintln!("burst-node: {text}");
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => run(),
        Some("--check") => check(),
        Some("--version") => {
            println!("burst-node {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Some("--help") => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Some(_) => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn check() -> ExitCode {
    let local = match Settings::local() {
        Ok(s) => s,
        Err(e) => {
            println!("settings: {e}");
            return ExitCode::from(1);
        }
    };
    let (facts, settings) =
        match imds::learn(local, &AtomicBool::new(false), Instant::now() + Duration::from_secs(5)) {
            Ok(x) => x,
            Err(e) => {
                println!("metadata: {e}");
                return ExitCode::from(1);
            }
        };
    println!(
        "instance {} ({}) in {}, address {}",
        facts.instance_id, facts.instance_type, facts.zone, facts.private_ip
    );
    println!("pool {}, controllers {}", settings.pool, settings.controllers.join(", "));
    let found = devices::efa();
    println!("EFA devices: {found} found, {} promised", settings.efa_devices);
    let agent = imds::agent(Duration::from_secs(3));
    let mut answers = 0;
    for base in &settings.controllers {
        match agent.get(format!("{}/healthz", base.trim_end_matches('/'))).call() {
            Ok(answer) => {
                answers += u32::from(answer.status().is_success());
                println!("{base}: answers {}", answer.status().as_u16());
            }
            Err(e) => println!("{base}: {e}; check its address and the security group's rule for its port"),
        }
    }
    if answers > 0 && found >= settings.efa_devices { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn run() -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        if let Err(e) = signal_hook::flag::register(signal, Arc::clone(&stop)) {
            say(&format!("signal {signal} cannot be caught: {e}"));
        }
    }
    let born = Instant::now();
    let local = match Settings::local() {
        Ok(s) => s,
        Err(e) => {
            say(&e);
            return end(&Settings::default(), "its settings cannot be read");
        }
    };
    if let Some(file) = &local.pidfile
        && let Err(e) = std::fs::write(file, format!("{}\n", std::process::id()))
    {
        say(&format!("pidfile {file}: {e}"));
    }
    let code = live(&local, born, &stop);
    if let Some(file) = &local.pidfile {
        let _ = std::fs::remove_file(file);
    }
    code
}

/// From the metadata to the end.
fn live(local: &Settings, born: Instant, stop: &AtomicBool) -> ExitCode {
    let limit = Duration::from_secs_f64(local.boot_limit_s);
    let (facts, settings) = match imds::learn(local.clone(), stop, born + limit) {
        Ok(x) => x,
        Err(_) if stop.load(Ordering::Relaxed) => return stopped(),
        Err(e) => return end(local, &format!("no instance metadata: {e}")),
    };
    say(&format!(
        "{} ({}) in {}, pool {}",
        facts.instance_id, facts.instance_type, facts.zone, settings.pool
    ));
    let mut desk = controller::Desk::new(&settings, &facts);
    let found = devices::efa();
    if found < settings.efa_devices {
        let text = format!(
            "{found} EFA devices are here, {} were promised; check the EFA driver and the launch template's interface types",
            settings.efa_devices
        );
        say(&text);
        desk.failed("", &text, stop);
        return end(&settings, &text);
    }
    let deadline = born + Duration::from_secs_f64(settings.boot_limit_s);
    let named = match desk.bootstrap(found, deadline, stop) {
        Ok(n) => n,
        Err(_) if stop.load(Ordering::Relaxed) => return stopped(),
        Err(why) => return end(&settings, &why),
    };
    say(&format!("this is node {}", named.node));
    // Before slurmd: the first job's first step looks for it.
    let mut reports = reports::Reports::announce(&settings, &facts, &named);
    let mut daemon = match slurmd::Slurmd::start(&settings, &named.node, &named.slurmd_args) {
        Ok(d) => d,
        Err(e) => {
            desk.failed(&named.node, &e, stop);
            return end(&settings, &e);
        }
    };
    let over = serve::serve(&settings, &mut desk, &mut reports, &named, &mut daemon, stop);
    serve::close(&mut daemon, &over);
    // After slurmd, whose last epilogs may have left something.
    reports.flush(&desk);
    match over {
        Over::Off(why) => end(&settings, &why),
        Over::Stopped => stopped(),
    }
}

/// The instance goes on, now without its dead-man switch: whoever stops the agent starts it again.
fn stopped() -> ExitCode {
    say("told to stop");
    ExitCode::SUCCESS
}

/// Powers the instance off (which terminates it), or ends the process where the settings say so.
fn end(settings: &Settings, why: &str) -> ExitCode {
    say(&format!("ends this instance: {why}"));
    if settings.on_end == "exit" {
        return ExitCode::SUCCESS;
    }
    for (program, args) in
        [("systemctl", ["poweroff", ""]), ("poweroff", ["", ""]), ("shutdown", ["-h", "now"])]
    {
        let args = args.iter().filter(|a| !a.is_empty());
        if std::process::Command::new(program).args(args).status().is_ok_and(|s| s.success()) {
            return ExitCode::SUCCESS;
        }
    }
    say("nothing here powers the instance off");
    ExitCode::from(1)
}
