//! The two programs as they are run: with a controller that is a socket of the test, a munge that is a script, and a
//! real slurmctld where one is installed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs)]

mod controller;
mod docs;
mod files;
mod lives;
mod people;
mod power;
mod prices;
mod slurmctld;
mod stop;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A directory with a `munge` that writes its input in hex, and nothing of the machine's own settings.
pub(crate) struct Bench {
    pub dir: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bench = Self { dir };
        bench.script("bin/munge", "printf 'MUNGE:%s:\\n' \"$(od -An -v -tx1 | tr -d ' \\n')\"");
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let (fresh, path) =
            (self.write(&format!("{name}.new"), &format!("#!/bin/sh\n{body}\n")), self.path(name));
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).unwrap();
        // What is open for writing cannot be executed, and another test's child may still hold what this process wrote.
        assert!(Command::new("cp").arg("-p").args([&fresh, &path]).status().unwrap().success());
        path
    }

    fn command(&self, program: &Path) -> Command {
        let mut c = Command::new(program);
        c.env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()))
            .env("SLURM_CONF", self.path("slurm.conf"))
            .env("BURST_POWER_NO_SYSLOG", "1")
            .current_dir(self.dir.path());
        c
    }

    pub fn ctl(&self, args: &[&str]) -> Output {
        self.ctl_command().args(args).output().unwrap()
    }

    pub fn ctl_command(&self) -> Command {
        self.command(Path::new(env!("CARGO_BIN_EXE_burstctl")))
    }

    pub fn power(&self) -> Command {
        self.command(Path::new(env!("CARGO_BIN_EXE_burst-power")))
    }

    pub fn power_as(&self, name: &str) -> Command {
        let link = self.path(name);
        let _ = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_burst-power"), &link);
        self.command(&link)
    }
}

pub fn out(o: &Output) -> String {
    String::from_utf8_lossy(&o.stdout).into_owned()
}

pub fn err(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}

/// A configuration with one pool of two blocks.
pub fn config(listen: &str) -> String {
    format!(
        r#"[cluster]
name = "c1"
state_dir = "/nonexistent/burst"
listen = "{listen}"

[aws]
region = "us-east-2"

[pool.efa]
partition = "efa"
market = "on-demand"
zones = {{ "us-east-2b" = "subnet-0aa11bb22cc33dd44" }}
image = "ami-0aa11bb22cc33dd44"
security_groups = ["sg-0aa11bb22cc33dd44"]

[[pool.efa.block]]
type = "hpc7a.96xlarge"
nodes = "efa7-[0001-0016]"
cpus = 192
memory = 749568

[[pool.efa.block]]
type = "hpc6a.48xlarge"
nodes = "efa6-[0001-0004]"
cpus = 96
memory = 373555
"#
    )
}
