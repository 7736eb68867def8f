//! The harness itself, against Slurm alone.

use burst_e2e::{Cluster, ClusterSpec, User};
use std::time::Duration;

const S: Duration = Duration::from_secs(90);

#[test]
fn plain_slurm_runs_a_job_survives_a_kill_and_leaves_nothing() {
    let mut c = Cluster::start(ClusterSpec::plain("plain").sized(4)).unwrap();
    let job = c.sbatch(User::Ordinary, &["-o", "out-%j"], "hostname; id -un").unwrap();
    let done = c.wait_job(job, "COMPLETED", S).unwrap();
    assert_eq!(done["NodeList"], "local1");
    assert!(std::fs::read_to_string(c.at.file(&format!("work/out-{job}"))).unwrap().contains("nobody"));
    let long = c.sbatch(User::Ordinary, &["-t", "5", "-o", "/dev/null"], "sleep 300").unwrap();
    c.wait_job(long, "RUNNING", S).unwrap();
    c.wait_job_saved(long, S).unwrap();
    c.kill_slurmctld();
    c.start_slurmctld().unwrap();
    assert_eq!(c.state(long).unwrap(), "RUNNING");
    c.scancel(User::Ordinary, long).unwrap();
    c.wait_job(long, "CANCELLED", S).unwrap();
    assert_eq!(c.check(&Default::default()).unwrap(), Vec::<String>::new());
    c.stop();
    assert!(c.processes().is_empty());
}
