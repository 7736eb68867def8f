//! What `slurm-conf` writes, read by a real slurmctld.

use crate::{Bench, config, err, out};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(name: &str) -> Option<std::path::PathBuf> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().map(|d| Path::new(d).join(name)).find(|p| p.exists())
}

/// Polls until `done` says yes.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A free port of the range these tests may use.
fn port() -> u16 {
    (21_200..21_300).find(|p| std::net::TcpListener::bind(("127.0.0.1", *p)).is_ok()).unwrap()
}

#[test]
fn a_real_slurmctld_takes_the_lines_and_calls_burst_power() {
    let (Some(slurmctld), Some(munged), Some(scontrol)) =
        (program("slurmctld"), program("munged"), program("scontrol"))
    else {
        println!("skipped: slurmctld, munged or scontrol is not installed");
        return;
    };
    let b = Bench::new();
    let dir = b.dir.path();
    for d in ["munge", "state", "sbin"] {
        std::fs::create_dir(b.path(d)).unwrap();
    }
    std::fs::write(b.path("munge/key"), [7u8; 1024]).unwrap();
    let socket = b.path("munge/socket");
    let _munged = Running(
        Command::new(munged)
            .args(["--foreground", "--force"])
            .arg(format!("--key-file={}", b.path("munge/key").display()))
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--pid-file={}", b.path("munge/pid").display()))
            .arg(format!("--log-file={}", b.path("munge/log").display()))
            .arg(format!("--seed-file={}", b.path("munge/seed").display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    until("munged", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    for name in ["burst-resume", "burst-suspend"] {
        let log = b.path("power.log");
        // The real program, its words kept: slurmctld throws them away.
        let body = format!(
            "echo \"{name} $* SLURM_CONF=$SLURM_CONF\" >> {0}\nexec {1} {2} \"$@\" 2>> {0}",
            log.display(),
            env!("CARGO_BIN_EXE_burst-power"),
            name.trim_start_matches("burst-")
        );
        b.script(&format!("sbin/{name}"), &body);
    }
    let text = config("127.0.0.1:1").replace(
        "nodes = \"efa6-[0001-0004]\"",
        "nodes = \"efa6-[0001-0004]\"\nnode_addr = \"127.0.0.1\"\nports = \"21250-21253\"",
    );
    let burst = b.write("burst.toml", &text);
    let power = b.path("sbin/burst-power");
    let o = b.ctl(&[
        "slurm-conf",
        "--config",
        burst.to_str().unwrap(),
        "--part",
        "slurm",
        "--burst-power",
        power.to_str().unwrap(),
        "--suspend-timeout",
        "2",
    ]);
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    // The plugin itself is not built here.
    let lines = out(&o).replace("JobSubmitPlugins=burst", "#JobSubmitPlugins=burst");
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let port = port();
    b.write(
        "slurm.conf",
        &format!(
            "ClusterName=t\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort={port}\nSlurmUser={user}\nAuthType=auth/munge\n\
             AuthInfo=socket={}\nStateSaveLocation={1}/state\nSlurmctldPidFile={1}/state/pid\nSlurmctldLogFile={1}/log\n\
             SlurmdSpoolDir={1}/spool\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\n\
             SelectTypeParameters=CR_Core\nMpiDefault=none\nCommunicationParameters=NoAddrCache\n{lines}",
            socket.display(),
            dir.display(),
            user = user.trim(),
        ),
    );
    let _slurmctld = Running(
        Command::new(slurmctld)
            .args(["-D", "-c", "-f"])
            .arg(b.path("slurm.conf"))
            .env("SLURM_CONF", b.path("slurm.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let ask = |args: &[&str]| {
        Command::new(&scontrol).args(args).env("SLURM_CONF", b.path("slurm.conf")).output().unwrap()
    };
    let log = || std::fs::read_to_string(b.path("log")).unwrap_or_default();
    until(&format!("slurmctld on {port}"), || ask(&["ping"]).status.success());

    let nodes = out(&ask(&["-o", "show", "nodes"]));
    assert_eq!(nodes.lines().count(), 20, "{nodes}");
    let one = nodes.lines().find(|l| l.starts_with("NodeName=efa7-0016 ")).unwrap();
    for part in [
        "CPUTot=192",
        "RealMemory=749568",
        "State=IDLE+CLOUD+POWERED_DOWN",
        "AvailableFeatures=hpc7a.96xlarge,efa,",
    ] {
        assert!(one.contains(part), "{part} is missing in {one}");
    }
    let four = nodes.lines().find(|l| l.starts_with("NodeName=efa6-0004 ")).unwrap();
    assert!(four.contains("NodeAddr=127.0.0.1") && four.contains("Port=21253"), "{four}");
    let partition = out(&ask(&["-o", "show", "partition", "efa"]));
    assert!(partition.contains("TotalNodes=20"), "{partition}");
    for bad in [
        "error: power_save",
        "error: Invalid",
        "error: _parse",
        "error: ResumeProgram",
        "error: SuspendProgram",
    ] {
        assert!(!log().contains(bad), "{bad}: {}", log());
    }

    // Power saving is on, both ways work although the partition is in SuspendExcParts, and our program is what runs.
    let o = ask(&["update", "nodename=efa7-[0001-0002]", "state=power_up"]);
    assert!(o.status.success(), "{}", err(&o));
    let calls = || std::fs::read_to_string(b.path("power.log")).unwrap_or_default();
    until("the call of burst-resume", || calls().contains("burst-resume efa7-[0001-0002]"));
    let conf = format!("SLURM_CONF={}", b.path("slurm.conf").display());
    assert!(calls().contains(&conf), "slurmctld names its slurm.conf to the program: {}", calls());
    until("the log line of burst-power", || calls().contains("which are ours"));
    let o = ask(&["update", "nodename=efa7-[0001-0002]", "state=power_down_force"]);
    assert!(o.status.success(), "{}", err(&o));
    until("the call of burst-suspend", || calls().contains("burst-suspend efa7-[0001-0002]"));
    // And the names are free again, as `idle~`.
    let down = |line: &str| line.contains("State=IDLE+CLOUD+POWERED_DOWN");
    until("POWERED_DOWN", || {
        out(&ask(&["-o", "show", "nodes", "efa7-[0001-0002]"])).lines().filter(|l| down(l)).count() == 2
    });
}
