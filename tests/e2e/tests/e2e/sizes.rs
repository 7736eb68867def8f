//! Gangs of 1, 2, 16 and 64 nodes, from sbatch to nothing left.

use crate::help::*;

#[test]
fn sizes_1_2_16_64_run_on_exactly_their_gang() {
    let c = cluster("sizes");
    let mut jobs = Vec::new();
    for size in [1_u32, 2, 16] {
        jobs.push((size, submit(&c, size, &[], "srun printenv SLURMD_NODENAME")));
    }
    for (size, job) in &jobs {
        ran(&c, *job, *size);
    }
    let big = submit(&c, 64, &[], "srun -N 64 printenv SLURMD_NODENAME");
    ran(&c, big, 64);
    finish(c);
}

#[test]
fn array_tasks_are_gangs_of_their_own_within_the_array_s_limit() {
    let c = cluster("array");
    let args = ["-p", "efa", "-N", "2", "-t", "5", "--ntasks-per-node=1", "-o", "array-%a", "--array=0-3%2"];
    let job = c.sbatch(burst_e2e::User::Ordinary, &args, "srun printenv SLURMD_NODENAME; sleep 1").unwrap();
    burst_e2e::proc::wait_until(S, || {
        let all = c.job_records(job)?;
        let running = all.iter().filter(|f| f["JobState"] == "RUNNING").count();
        assert!(running <= 2, "{running} tasks run at once");
        Ok((all.len() == 4 && all.iter().all(|f| f["JobState"] == "COMPLETED")).then_some(()))
    })
    .unwrap();
    for task in 0..4 {
        let out = std::fs::read_to_string(c.at.file(&format!("work/array-{task}"))).unwrap();
        assert_eq!(out.lines().count(), 2, "task {task}: {out}");
    }
    finish(c);
}
