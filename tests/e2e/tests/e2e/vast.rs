//! EC2's published buckets, enforced by the simulator, against a real slurmctld: a gang that takes several fleets, and a
//! hundred gangs in the same moment. Instances merely exist here: what is looked at is how they are launched.

use crate::help::*;
use burst_e2e::checker::Expect;
use burst_e2e::proc::wait_until;
use burst_e2e::show::field;
use burst_e2e::{BlockSpec, Cluster, ClusterSpec, User};
use serde_json::{Value, json};
use std::time::Duration;

fn vast(name: &str, names: u16) -> ClusterSpec {
    let mut spec = ClusterSpec::new(name)
        .simulator(&json!({"instance_command": [], "knobs": {"throttling": true, "pending_ms": 300}}));
    spec.blocks = vec![BlockSpec {
        instance_type: "hpc7a.96xlarge".into(),
        prefix: "efa7".into(),
        count: names,
        cpus: 192,
        memory: 747_110,
    }];
    // Nothing registers: they are not to be given back while they are counted.
    spec.pool_toml = format!("boot_limit = \"20m\"\nmax_nodes = {names}\n");
    spec
}

/// When each CreateFleet came and how many instances it asked for.
fn fleets(c: &Cluster) -> Vec<(u64, u64)> {
    let of = |v: &Value| {
        let nodes = v["params"]["TargetCapacitySpecification.TotalTargetCapacity"].as_str()?.parse().ok()?;
        Some((v["at_ms"].as_u64()?, nodes))
    };
    asked(c, "CreateFleet").iter().filter_map(of).collect()
}

fn throttled(c: &Cluster) -> usize {
    let audit = std::fs::read_to_string(c.sim.as_ref().unwrap().audit()).unwrap();
    audit.matches("RequestLimitExceeded").count()
}

#[test]
fn fifteen_hundred_nodes_are_foretold_and_launched_whole_under_ec2s_published_buckets() {
    let c = Cluster::start(vast("vast", 1_500)).unwrap();
    let args = ["-p", "efa", "-N", "1500", "--ntasks-per-node=1", "-t", "5", "-o", "/dev/null"];
    let out = c.sbatch_raw(User::Ordinary, &args, "true").unwrap();
    assert!(out.ok(), "{out:?}");
    holds(
        &out.text(),
        &["as 2 fleets (500 + 1000)", "4 min 10 s after the first", "else given back"],
        &"sbatch",
    );
    let job: u32 = out.out.lines().find_map(|l| l.trim().parse().ok()).unwrap();
    let fields = c.wait_says(job, "as 2 fleets (500 + 1000)", S).unwrap();
    holds(field(&fields, "AdminComment"), &["250 s after the first", "kept only if all are granted"], &job);
    let whole = wait_until(Duration::from_secs(330), || {
        // A list of a thousand instances, forty times a second, would be most of what this machine does.
        std::thread::sleep(Duration::from_secs(1));
        Ok(Some(c.sim.as_ref().unwrap().living_of(job)?.len()).filter(|n| *n == 1_500))
    });
    assert_eq!(whole.unwrap(), 1_500);
    let fleets = fleets(&c);
    let sizes: Vec<u64> = fleets.iter().map(|f| f.1).collect();
    assert_eq!(sizes, [500, 1_000], "the remainder first");
    let apart = fleets[1].0 - fleets[0].0;
    println!("vast: 1500 nodes whole {apart} ms after the first fleet; 250000 ms are the bucket's");
    assert!((249_000..=275_000).contains(&apart), "within 10 % of the bucket's own 250 s: {apart} ms");
    assert_eq!(throttled(&c), 0);
    c.scancel(User::Ordinary, job).unwrap();
    // EC2 takes the ends of 1,000 instances at once and of 20 a second after that.
    finish_expecting(c, &Expect { after_end_ms: 60_000, ..Expect::default() });
}

#[test]
fn a_hundred_gangs_at_once_are_never_throttled_and_as_fast_as_the_bucket() {
    let c = Cluster::start(vast("crowd", 800)).unwrap();
    let ctl = |args: &[&str]| {
        let out = c.run(User::Root, "burstctl", args, "").unwrap();
        assert!(out.ok(), "{args:?}: {out:?}");
    };
    wait_until(S, || Ok(c.run(User::Root, "burstctl", &["pause", "efa"], "").unwrap().ok().then_some(())))
        .unwrap();
    let jobs: Vec<u32> = (0..100).map(|_| submit(&c, 8, &[], "true")).collect();
    for job in &jobs {
        c.wait_says(*job, "was paused by", S).unwrap();
    }
    ctl(&["resume", "efa"]);
    let all = wait_until(Duration::from_secs(120), || {
        // The whole audit is read: not while it would slow down what it tells of.
        std::thread::sleep(Duration::from_millis(500));
        Ok(Some(fleets(&c)).filter(|f| f.len() == 100))
    });
    let at: Vec<u64> = all.unwrap().iter().map(|f| f.0).collect();
    let took = at.iter().max().unwrap() - at.iter().min().unwrap();
    println!("crowd: 100 gangs of 8 in {took} ms; 10000 ms are the bucket's");
    wait_until(S, || Ok((c.sim.as_ref().unwrap().living()?.len() == 800).then_some(()))).unwrap();
    assert_eq!(throttled(&c), 0);
    // The model's own time is 10.4 s; beside two other clusters the last fleet's journal and group may take a while. At half
    // the bucket's rate it would be more than 20.
    assert!((9_000..=18_000).contains(&took), "about the bucket's own 10 s: {took} ms");
    for job in &jobs {
        c.scancel(User::Ordinary, *job).unwrap();
    }
    // A hundred ends at once are all of EC2's bucket of calls.
    finish_expecting(c, &Expect { after_end_ms: 60_000, ..Expect::default() });
}
