//! burst-ec2sim: an EC2 endpoint on loopback whose instances are local processes.
//!
//! It speaks the query protocol of 2016-11-15 as AWS documents it, and keeps an audit log that says what was asked,
//! answered and run. It shares no crate with the programs that call it, so that it cannot agree with them by accident.
#![forbid(unsafe_code)]

mod actions;
mod admin;
mod audit;
mod capacity;
mod clock;
mod config;
mod errors;
mod faults;
mod ids;
mod imds;
mod netns;
mod processes;
mod query;
mod reserve;
mod server;
mod sim;
mod specs;
mod throttle;
mod world;
mod xml;

use clap::Parser;
use config::{Config, Network};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// An EC2 endpoint on loopback whose instances are local processes.
#[derive(Debug, Parser)]
#[command(name = "burst-ec2sim", version)]
struct Cli {
    /// Address to listen on (port 0: any free one).
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// Directory for audit.jsonl and the instances' logs.
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// Settings, TOML or JSON; without it a default account in us-east-2.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File to write the endpoint's URL into once it listens.
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
}

/// A reader sees the whole URL or no file.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let tmp = path.with_extension(format!("tmp{}", std::process::id()));
    std::fs::write(&tmp, text)?;
    std::fs::rename(&tmp, path)
}

async fn run(cli: Cli) -> Result<(), String> {
    if !cli.listen.ip().is_loopback() {
        return Err(format!(
            "--listen {}: only loopback addresses are served (no call is authenticated)",
            cli.listen
        ));
    }
    let cfg = cli.config.as_deref().map_or_else(|| Ok(Config::default()), Config::load)?;
    std::fs::create_dir_all(&cli.state_dir)
        .map_err(|e| format!("cannot make {}: {e}", cli.state_dir.display()))?;
    let mut term = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let mut int = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    let in_dir = |e: std::io::Error| format!("{}: {e}", cli.state_dir.display());
    let audit = audit::Audit::open(&cli.state_dir).map_err(in_dir)?;
    if let Some(f) = &cli.port_file {
        // What an earlier run left would send callers to the wrong place.
        let _ = std::fs::remove_file(f);
    }
    let listener =
        TcpListener::bind(cli.listen).await.map_err(|e| format!("cannot listen on {}: {e}", cli.listen))?;
    let addr = listener.local_addr().map_err(|e| e.to_string())?;
    let url = format!("http://{addr}");

    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let ids = ids::Ids::default();
    let netns = match cfg.network {
        Network::Shared => None,
        Network::Netns => Some(netns::Netns::new(&cfg.netns_prefix)?),
    };
    let inner = match &netns {
        None => None,
        Some(n) => match TcpListener::bind((n.gateway(), addr.port())).await {
            Ok(l) => Some(l),
            Err(e) => {
                n.remove_all();
                return Err(format!("cannot listen on {}: {e}", n.gateway()));
            }
        },
    };
    let metadata =
        netns.as_ref().map_or_else(|| url.clone(), |n| format!("http://{}:{}", n.gateway(), addr.port()));
    let (processes, jobs) =
        processes::Processes::new(&cfg, &cli.state_dir, ids.token(), metadata, netns).map_err(in_dir)?;
    let runtime = tokio::runtime::Handle::current();
    let (audit, ids, processes) = (Arc::new(audit), Arc::new(ids), Arc::new(processes));
    let region = |cfg: Config, regions| {
        let (audit, ids, processes) = (audit.clone(), ids.clone(), processes.clone());
        let (hostname, runtime) = (hostname.clone(), runtime.clone());
        let world = Mutex::new(world::World::new(&cfg));
        Arc::new_cyclic(|me| sim::Sim {
            world,
            cfg,
            audit,
            ids,
            processes,
            regions,
            hostname,
            me: me.clone(),
            runtime,
        })
    };
    let far =
        cfg.regions.keys().filter_map(|n| Some((n.clone(), region(cfg.in_region(n)?, BTreeMap::new()))));
    let far: BTreeMap<String, Arc<sim::Sim>> = far.collect();
    for (n, there) in (1u64..).zip(far.values()) {
        // Addresses follow from the number.
        there.world().next_seq = n * 10_000;
    }
    let sim = region(cfg, far);
    processes::run_starter(&sim, jobs).map_err(|e| e.to_string())?;
    sim.audit.note("simulator-started", serde_json::json!({"url": url, "pid": std::process::id()}));
    let main = tokio::spawn(server::serve(Arc::clone(&sim), listener, server::Face::All));
    if let Some(l) = inner {
        tokio::spawn(server::serve(Arc::clone(&sim), l, server::Face::Metadata));
    }
    if let Some(f) = &cli.port_file {
        write_whole(f, &url).map_err(|e| format!("cannot write {}: {e}", f.display()))?;
    }
    println!("{url}");
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    main.abort();
    sim.shut_down().await;
    Ok(())
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(r) => r,
        Err(e) => {
            eprintln!("burst-ec2sim: {e}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(cli));
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("burst-ec2sim: {e}");
            ExitCode::FAILURE
        }
    }
}
