//! `burst-node`: on the instance, from boot to power-off.
//!
//! It asks the controller who it is, checks that the EFA devices it was promised are there, starts slurmd under its name
//! once that name is POWERING_UP, reports, and is the dead-man switch: an instance that nobody answers for powers off.
//!
//! # What an image must bring
//! Slurm of the controller's version, munge with the cluster's key, `burst-node.service` enabled and `slurmd.service` not
//! enabled. Settings: `/etc/slurm/burst-node.json` (or `$BURST_NODE_CONFIG`), overlaid by the user data (docs/WIRE.md).
#![forbid(unsafe_code)]

mod controller;
mod devices;
mod imds;
mod settings;
mod slurmd;
mod watch;

use settings::Settings;
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
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
    let (facts, settings) = match imds::learn(local, Instant::now() + Duration::from_secs(5)) {
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
    println!("EFA devices: {} found, {} promised", devices::efa(), settings.efa_devices);
    ExitCode::SUCCESS
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
    let limit = Duration::from_secs_f64(local.boot_limit_s);
    let (facts, settings) = match imds::learn(local.clone(), born + limit) {
        Ok(x) => x,
        Err(e) => return end(&local, &format!("no instance metadata: {e}")),
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
        // Best effort: the controller's boot_limit tells it as well.
        desk.report("failed", "", 0, &text);
        return end(&settings, &text);
    }
    let deadline = born + Duration::from_secs_f64(settings.boot_limit_s);
    let named = match desk.bootstrap(found, deadline, &stop) {
        Ok(n) => n,
        Err(why) => return end(&settings, &why),
    };
    say(&format!("this is node {}", named.node));
    // slurmctld compares whole seconds: a slurmd whose boot falls into the second of POWER_UP can be taken for the boot
    // before it, and would be waited for until boot_limit (seen on 22.05). Start in the next one.
    thread::sleep(watch::to_next_second());
    let mut daemon = match slurmd::Slurmd::start(&settings, &named.node, &named.slurmd_args) {
        Ok(d) => d,
        Err(e) => {
            desk.report("failed", &named.node, 0, &e);
            return end(&settings, &e);
        }
    };
    let why = serve(&settings, &mut desk, &named, &mut daemon, &stop);
    daemon.stop();
    end(&settings, &why)
}

/// Watches until there is a reason to end; answers it.
fn serve(
    settings: &Settings,
    desk: &mut controller::Desk,
    named: &controller::Named,
    daemon: &mut slurmd::Slurmd,
    stop: &AtomicBool,
) -> String {
    let orphan = named.orphan_limit_s.unwrap_or(settings.orphan_limit_s);
    let mut state =
        watch::State { silent_s: 0.0, jobs: 0, deadline_unix: named.deadline_unix, orders_end: false };
    let every = Duration::from_secs_f64(named.report_s.unwrap_or(30.0).clamp(0.05, 600.0));
    let mut heard = Instant::now();
    let mut kind = "started";
    let mut next = Instant::now();
    loop {
        if stop.load(Ordering::Relaxed) {
            return "told to stop".to_owned();
        }
        if let Err(e) = daemon.look(&named.node) {
            desk.report("failed", &named.node, 0, &e);
            return e;
        }
        if Instant::now() >= next {
            state.jobs = devices::steps();
            match desk.report(kind, &named.node, state.jobs, "") {
                Some(answer) => {
                    heard = Instant::now();
                    kind = "alive";
                    state.orders_end = answer.poweroff;
                    state.deadline_unix = answer.deadline_unix.or(state.deadline_unix);
                }
                None => say("no controller answers"),
            }
            next = Instant::now() + every;
        }
        state.silent_s = heard.elapsed().as_secs_f64();
        if let Some(why) = watch::end(&state, orphan, watch::unix_now()) {
            return why;
        }
        thread::sleep(Duration::from_millis(100).min(every));
    }
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
