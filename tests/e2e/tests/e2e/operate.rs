//! What operators say: pause, resume, drain, retry, dry runs, another burst.toml, another machine, a full disk.

use crate::help::*;
use burst_e2e::proc::wait_until;
use burst_e2e::show::field;
use burst_e2e::{Cluster, Output, User};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

const SCRIPT: &str = "srun printenv SLURMD_NODENAME";

fn ctl(c: &Cluster, user: User, args: &[&str]) -> Output {
    c.run(user, "burstctl", args, "").unwrap()
}

fn say(c: &Cluster, args: &[&str], words: &[&str]) {
    // A gang that is being acted upon at this moment is asked again.
    let said = wait_until(S, || {
        let out = ctl(c, User::Root, args);
        Ok((!out.text().contains("ask again")).then_some(out))
    });
    let out = said.unwrap();
    assert!(out.ok(), "{args:?}: {out:?}");
    holds(&out.out, words, &args);
}

fn status(c: &Cluster) -> Value {
    let out = ctl(c, User::Root, &["status", "--json"]);
    serde_json::from_str(&out.out).unwrap_or_else(|e| panic!("{e}: {out:?}"))
}

fn pool_state(c: &Cluster) -> String {
    status(c)["pools"][0]["state"].as_str().unwrap_or_default().to_owned()
}

fn wait_up(c: &Cluster) {
    wait_until(S, || Ok(ctl(c, User::Root, &["status", "--json"]).out.contains("\"pools\"").then_some(())))
        .unwrap();
}

#[test]
fn a_paused_pool_launches_nothing_across_a_restart_until_it_is_resumed() {
    let mut c = cluster("pause");
    wait_up(&c);
    let out = ctl(&c, User::Ordinary, &["pause"]);
    assert_eq!(out.code, Some(1), "{out:?}");
    holds(&out.text(), &["only root, SlurmUser and the operators"], &"an ordinary user");
    let out = ctl(&c, User::Root, &["pause", "nosuch"]);
    assert_eq!(out.code, Some(1), "{out:?}");
    holds(&out.text(), &["no pool nosuch", "efa"], &"another pool");
    say(&c, &["pause", "efa"], &["pool efa is paused", "nothing new is launched"]);
    let job = submit(&c, 2, &["-J", "paused"], SCRIPT);
    let says = field(&c.wait_says(job, "was paused by", S).unwrap(), "AdminComment").to_owned();
    holds(&says, &["pool efa was paused by root (uid 0) at 20", "UTC", "until an operator resumes"], &says);
    assert_eq!(pool_state(&c), "paused");
    c.wait_saved("paused", S).unwrap();
    c.kill_slurmctld();
    c.start_slurmctld().unwrap();
    wait_up(&c);
    assert_eq!(pool_state(&c), "paused", "a restart forgets nothing");
    assert!(asked(&c, "CreateFleet").is_empty());
    say(&c, &["resume"], &["all pools launch again"]);
    ran(&c, job, 2);
    let out = ctl(&c, User::Root, &["resume"]);
    assert_eq!(out.code, Some(1), "{out:?}");
    finish(c);
}

#[test]
fn a_draining_pool_lets_what_runs_go_on_and_a_requeue_waits() {
    // A finished job may be requeued while slurmctld remembers it.
    let spec = spec("drain").slurm("AuthInfo=socket={dir}/munge/socket,cred_expire=5");
    let c = Cluster::start(spec).unwrap();
    let job = submit(&c, 2, &["--requeue", "--open-mode=truncate"], &format!("{SCRIPT}; sleep 8"));
    c.wait_job(job, "RUNNING", S).unwrap();
    say(&c, &["drain", "efa"], &["pool efa is draining", "1 gangs that have instances go on"]);
    assert_eq!(pool_state(&c), "draining");
    let second = submit(&c, 1, &[], SCRIPT);
    c.wait_says(second, "set to drain by root", S).unwrap();
    ran(&c, job, 2);
    assert!(c.run(User::Ordinary, "scontrol", &["requeue", &job.to_string()], "").unwrap().ok());
    c.wait_says(job, "set to drain by root", S).unwrap();
    wait_until(S, || Ok((pool_state(&c) == "drained").then_some(()))).unwrap();
    assert!(c.sim.as_ref().unwrap().living().unwrap().is_empty());
    say(&c, &["resume", "efa"], &["pool efa launches again"]);
    ran(&c, second, 1);
    ran(&c, job, 2);
    finish(c);
}

#[test]
fn a_retry_ends_a_back_off_and_forgives_a_failed_gang() {
    let c = Cluster::start(spec("retry").pool("retry_min = \"10m\"\nretry_max = \"10m\"")).unwrap();
    let sim = c.sim.as_ref().unwrap();
    sim.capacity("hpc7a.96xlarge", Some(0)).unwrap();
    sim.capacity("hpc6a.48xlarge", Some(0)).unwrap();
    let job = submit(&c, 2, &[], SCRIPT);
    c.wait_says(job, "no capacity", S).unwrap();
    sim.capacity("hpc7a.96xlarge", None).unwrap();
    // The next try would be in minutes.
    say(&c, &["retry", &job.to_string()], &[&format!("job {job} is tried again")]);
    ran(&c, job, 2);
    sim.settings(&json!({"pending_ms": 20_000})).unwrap();
    let ended = submit(&c, 1, &[], SCRIPT);
    c.wait_says(ended, "booting", S).unwrap();
    let gang = c.explain(ended).unwrap()["gang"].as_str().unwrap().to_owned();
    say(&c, &["terminate", &gang], &["given back"]);
    c.wait_phase(ended, "Failed", S).unwrap();
    sim.settings(&json!({"pending_ms": 300})).unwrap();
    say(&c, &["retry", &ended.to_string()], &["1 paid attempts no longer count"]);
    ran(&c, ended, 1);
    c.wait_phase(ended, "Done", S).unwrap();
    let history = ctl(&c, User::Root, &["explain", &ended.to_string()]).out;
    holds(&history, &["tried again by root (uid 0)"], &"history");
    let out = ctl(&c, User::Root, &["retry", &ended.to_string()]);
    assert_eq!(out.code, Some(1), "{out:?}");
    finish(c);
}

#[test]
fn burst_toml_is_read_again_and_a_broken_one_changes_nothing() {
    let c = Cluster::start(spec("reload").pool("dry_run = true")).unwrap();
    let job = submit(&c, 2, &[], SCRIPT);
    let says = field(&c.wait_says(job, "dry run", S).unwrap(), "AdminComment").to_owned();
    holds(&says, &["it would launch 2 x hpc7a.96xlarge (on-demand) in us-east-2b", "USD"], &says);
    assert_eq!(pool_state(&c), "dry-run");
    let path = c.at.burst_toml();
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, good.replace("market =", "marquet =")).unwrap();
    wait_until(S, || Ok(status(&c)["config"]["error"].is_string().then_some(()))).unwrap();
    let out = ctl(&c, User::Root, &["status"]);
    assert_eq!(out.code, Some(1), "{out:?}");
    for text in [&out.text(), &c.log()] {
        holds(text, &["the old one stays", "marquet"], &"a broken file is told");
    }
    assert_eq!(pool_state(&c), "dry-run");
    assert!(asked(&c, "CreateFleet").is_empty(), "a dry run launches nothing");
    fs::write(&path, good.replace("dry_run = true", "dry_run = false")).unwrap();
    ran(&c, job, 2);
    assert!(ctl(&c, User::Root, &["status"]).ok(), "nothing is wrong any more");

    // A block goes while a gang of it runs: it ends as it would have.
    let six = submit(&c, 1, &["--burst-types=hpc6a.48xlarge"], &format!("{SCRIPT}; sleep 40"));
    c.wait_job(six, "RUNNING", S).unwrap();
    let second = good.rfind("[[pool.efa.block]]").unwrap();
    let rest = good[second + 5..].find("\n[").map_or(good.len(), |n| second + 5 + n);
    let less = format!("{}{}", &good[..second], &good[rest..]).replace("dry_run = true", "dry_run = false");
    let read = status(&c)["config"]["read_unix"].as_u64().unwrap();
    fs::write(&path, less).unwrap();
    wait_until(S, || Ok((status(&c)["config"]["read_unix"].as_u64() > Some(read)).then_some(()))).unwrap();
    assert_eq!(field(&c.job(six).unwrap(), "JobState"), "RUNNING");
    ran(&c, six, 1);
    finish(c);
}

#[test]
fn law3_a_restored_copy_ends_nothing_until_it_is_adopted() {
    let mut c = cluster("copy");
    let job = submit(&c, 2, &["-J", "copied"], &format!("{SCRIPT}; sleep 20"));
    c.wait_job(job, "RUNNING", S).unwrap();
    c.wait_saved("copied", S).unwrap();
    c.stop_slurmctld();
    // As if this directory had been copied from another machine.
    let host = c.at.file("burst/host");
    assert!(fs::read_to_string(&host).unwrap().contains(&c.at.host), "the machine is recorded");
    fs::write(&host, r#"[{"id":"00","host":"the-original"}]"#).unwrap();
    c.start_slurmctld().unwrap();
    wait_up(&c);
    let out = ctl(&c, User::Root, &["status"]);
    assert_eq!(out.code, Some(1), "{out:?}");
    holds(&out.text(), &["the-original", "burstctl adopt"], &"status");
    let waits = submit(&c, 1, &[], SCRIPT);
    c.wait_says(waits, "the-original", S).unwrap();
    c.wait_job(job, "COMPLETED", S).unwrap();
    wait_until(S, || Ok((c.explain(job)?["last_error"]["code"] == "NotAdopted").then_some(()))).unwrap();
    let living = c.sim.as_ref().unwrap().living().unwrap();
    assert_eq!(living.len(), 2, "the copy has ended nothing: {living:?}");
    say(&c, &["adopt"], &["launches and collection go on"]);
    ran(&c, waits, 1);
    finish_expecting(c, &burst_e2e::checker::Expect { after_end_ms: 120_000, ..Default::default() });
}

/// A file system of one MiB over a directory, for as long as it lives.
struct Small(std::path::PathBuf);

impl Small {
    fn over(dir: &std::path::Path) -> Self {
        let owner = fs::metadata(dir).unwrap();
        let (uid, gid) = (owner.uid(), owner.gid());
        let options = format!("size=1m,mode=0700,uid={uid},gid={gid}");
        let done =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir).status().unwrap();
        assert!(done.success(), "tests run as root, who may mount");
        Self(dir.to_owned())
    }
    /// Writes until nothing more goes in, again where something was freed since; answers the file.
    fn fill(&self) -> std::path::PathBuf {
        let path = self.0.join("filler");
        let mut file = fs::File::options().create(true).append(true).open(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        // The cluster could not remove its directory while this was mounted in it.
        if let Some(cluster) = self.0.parent() {
            let _ = fs::remove_dir_all(cluster);
        }
    }
}

#[test]
fn law4_a_full_disk_stops_launches_with_the_reason_and_gangs_are_given_back() {
    let mut c = cluster("full-disk");
    c.stop_slurmctld();
    let small = Small::over(&c.at.file("burst"));
    c.start_slurmctld().unwrap();
    wait_up(&c);
    let pid = c.slurmctld_pid();
    let first = submit(&c, 2, &[], "sleep 300");
    c.wait_job(first, "RUNNING", S).unwrap();
    let filler = small.fill();
    let second = submit(&c, 1, &[], SCRIPT);
    // What SQLite was writing while the disk filled up leaves it a few pages afterwards.
    let full = || {
        small.fill();
        Ok(Some(c.says(second)?).filter(|says| says.contains("the journal cannot be written")))
    };
    let says = wait_until(S, full).unwrap();
    holds(&says, &["nothing is launched", "disk is full", "an administrator must look at the disk"], &says);
    let out = wait_until(S, || {
        small.fill();
        let out = ctl(&c, User::Root, &["status"]);
        Ok(out.text().contains("nothing new is launched: the journal cannot be written").then_some(out))
    });
    let out = out.unwrap();
    assert_eq!(out.code, Some(1), "{out:?}");
    let launches = asked(&c, "CreateFleet").len();
    c.scancel(User::Ordinary, first).unwrap();
    let sim = c.sim.as_ref().unwrap();
    let empty = || {
        small.fill();
        Ok((sim.living()?.is_empty() && c.awake()?.is_empty()).then_some(()))
    };
    wait_until(S, empty).unwrap();
    foreign(&c);
    assert!(c.slurmctld_alive() && c.slurmctld_pid() == pid);
    assert_eq!(asked(&c, "CreateFleet").len(), launches, "no launch without its intent on disk");
    fs::remove_file(filler).unwrap();
    ran(&c, second, 1);
    finish(c);
}
