//! The site's own mistakes: slurmctld starts, other people's jobs pass, ours are refused with what to write.

use crate::help::*;
use burst_e2e::proc::wait_until;
use burst_e2e::{Cluster, User};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// With these files slurmctld lives, refuses ours with these words, and takes the others.
fn with(c: &mut Cluster, what: &str, words: &[&str], args: &[&str]) {
    c.start_slurmctld().unwrap_or_else(|e| panic!("{what}: {e}"));
    refused(c, &usual("2", args), words);
    foreign(c);
    assert!(c.slurmctld_alive(), "{what}");
    c.stop_slurmctld();
}

#[test]
fn a_configuration_that_cannot_be_used_is_told_and_other_jobs_pass() {
    let mut c = cluster("config");
    c.stop_slurmctld();
    let path = c.at.burst_toml();
    let good = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    with(&mut c, "missing", &["bursting is off", "cannot be read", "SLURM_BURST_CONF"], &["--burst"]);
    fs::write(&path, &good).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    with(&mut c, "unreadable", &["bursting is off", "burst.toml cannot be read", "ermission"], &["--burst"]);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();

    let twin = good.replace("[pool.efa]", "[pool.twin]").replace("pool.efa.block", "pool.twin.block");
    let twin =
        &twin[twin.find("[pool.twin]").unwrap()..].replace("partition = \"efa\"", "partition = \"cpu2\"");
    let zones = "zones = { \"us-east-2b\" = \"subnet-0aa11\" }";
    assert!(good.contains(zones));
    let line = |needle: &str| 1 + good[..good.find(needle).unwrap()].lines().count();
    let at = format!("burst.toml:{}", line("market ="));
    for (what, text, words) in [
        ("not TOML", good.replace("[pool.efa]", "[pool.efa"), &["burst.toml:", "not TOML"][..]),
        ("unknown key", good.replace("market =", "marquet ="), &[at.as_str(), "marquet"]),
        ("shared nodes", format!("{good}\n{twin}"), &["share node efa7-0001", "pools efa and twin"]),
        (
            "one subnet, two zones",
            good.replace(
                zones,
                "zones = { \"us-east-2a\" = \"subnet-0aa11\", \"us-east-2b\" = \"subnet-0aa11\" }",
            ),
            &["subnet-0aa11", "us-east-2a and us-east-2b", "a subnet lies in one zone"],
        ),
        (
            "zone of another region",
            good.replace(zones, "zones = { \"us-west-2b\" = \"subnet-0aa11\" }"),
            &["us-west-2b is not in region us-east-2"],
        ),
        (
            "unknown type",
            good.replace("type = \"hpc7a.96xlarge\"", "type = \"hpc7a.2xlarge\"").replace("cpus = 192\n", ""),
            &["hpc7a.2xlarge", "hpc7a.96xlarge"],
        ),
    ] {
        assert_ne!(text, good, "{what}");
        fs::write(&path, text).unwrap();
        with(&mut c, what, words, &[]);
    }

    // A right file again, and everything works.
    fs::write(&path, &good).unwrap();
    c.start_slurmctld().unwrap();
    let job = submit(&c, 2, &[], "srun printenv SLURMD_NODENAME");
    ran(&c, job, 2);
    finish(c);
}

#[test]
fn prerequisites_that_slurm_conf_lacks_are_named_with_the_line_to_write() {
    let lacking = "ResumeProgram=\nSuspendProgram=\nSuspendTime=INFINITE\nReturnToService=1\nOverTimeLimit=UNLIMITED\n\
        PartitionName=other Nodes=local1 State=UP\n";
    let mut c = Cluster::start(spec("prerequisites").slurm(lacking)).unwrap();
    let log = wait_until(S, || Ok(Some(c.log()).filter(|l| l.contains("pool efa may not launch")))).unwrap();
    let lines = [
        "ResumeProgram=/usr/sbin/burst-resume",
        "SuspendProgram=/usr/sbin/burst-suspend",
        "SuspendTime=31536000",
        "ReturnToService=2",
        "OverTimeLimit=0",
    ];
    let told = log.lines().find(|l| l.contains("pool efa may not launch")).unwrap();
    holds(told, &lines, &"slurmctld's log");
    refused(&c, &usual("2", &[]), &[&["pool efa may not launch"][..], &lines[..]].concat());
    c.wait_job(foreign(&c), "COMPLETED", S).unwrap();
    assert!(c.slurmctld_alive());
    // The partition lacks the pool's nodes.
    c.stop_slurmctld();
    let conf = fs::read_to_string(c.at.slurm_conf()).unwrap();
    let keep =
        |l: &&str| !lacking.contains(l.split('=').next().unwrap_or("-")) || l.starts_with("PartitionName");
    let own = "ResumeProgram=/bin/true\nSuspendProgram=/bin/true\nSuspendTime=86400\nReturnToService=2\n";
    let text: Vec<&str> = own.lines().chain(conf.lines().filter(keep)).collect();
    let text = text.join("\n") + "\n";
    let nodes = text
        .lines()
        .find(|l| l.starts_with("PartitionName=efa"))
        .and_then(|l| l.split(' ').find(|w| w.starts_with("Nodes=")));
    let text = text.replace(nodes.unwrap(), "Nodes=efa7-[0001-0064]");
    fs::write(c.at.slurm_conf(), text).unwrap();
    let before = c.log().len();
    c.start_slurmctld().unwrap();
    wait_until(S, || Ok(c.log()[before..].contains("lacks the nodes").then_some(()))).unwrap();
    refused(&c, &usual("2", &[]), &["partition efa lacks the nodes efa6-[0001-0064]", "burstctl slurm-conf"]);
    assert!(asked(&c, "CreateFleet").is_empty(), "nothing was launched");
    finish(c);
}

#[test]
fn strict_types_and_unknown_prices_are_refused() {
    let mut c = Cluster::start(spec("strict").pool("plan_types = \"strict\"")).unwrap();
    let with = |types: &str| {
        format!(
            "{{\"should_burst\":true,\"instance_specification\":{{\"instance_types\":[{types}]}},\
             \"mpi_configuration\":{{\"requires_efa\":true}}}}"
        )
    };
    let small = plan(&c, "small", &with("\"m5.xlarge\""));
    refused(&c, &usual("2", &[&small]), &["m5.xlarge has no EFA", "pool efa has hpc7a.96xlarge"]);
    let unknown = plan(&c, "unknown", &with("\"hpc7a.2xlarge\""));
    refused(&c, &usual("2", &[&unknown]), &["hpc7a.2xlarge does not exist", "hpc7a.96xlarge"]);
    let other = plan(&c, "other", &with("\"c5n.18xlarge\""));
    refused(&c, &usual("2", &[&other]), &["c5n.18xlarge", "pool efa has"]);

    // No price of one type of the pool, and a limit on cost.
    c.stop_slurmctld();
    let prices = c.at.file("etc/prices.json");
    let text = fs::read_to_string(&prices).unwrap();
    let line = text.lines().find(|l| l.contains("hpc7a.96xlarge")).unwrap().to_owned();
    fs::write(&prices, text.replace(&line, "")).unwrap();
    c.start_slurmctld().unwrap();
    refused(
        &c,
        &usual("2", &["--burst-max-cost=500"]),
        &["cost limit", "no price of hpc7a.96xlarge", "price file"],
    );
    let out = c.sbatch_raw(User::Ordinary, &usual("1", &["-o", "/dev/null"]), "true").unwrap();
    holds(&out.text(), &["not known (no price)"], &"without a limit it is launched");
    c.wait_job(out.out.trim().parse().unwrap(), "COMPLETED", S).unwrap();
    finish(c);
}
