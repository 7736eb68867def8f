//! burst-power as slurmctld calls it.

use crate::{
    Bench, config,
    controller::{Fake, nobody},
    err,
};
use serde_json::json;
use std::time::{Duration, Instant};

fn former(b: &Bench) -> String {
    let log = b.path("former.log");
    let script =
        b.script("former", &format!("echo \"$* ${{SLURM_RESUME_FILE:-none}}\" >> {}; exit 7", log.display()));
    b.write("burst-power.conf", &format!("former_resume = {0:?}\nformer_suspend = {0:?}\n", script));
    log.display().to_string()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn our_names_go_to_the_engine_and_the_rest_to_the_former_program() {
    let b = Bench::new();
    let fake = Fake::answering(vec![(200, "{}")]);
    b.write("burst.toml", &config(&fake.address));
    let log = former(&b);
    let o = b
        .power_as("burst-resume")
        .arg("efa7-[0001-0002],gpu[1-2],efa6-0004")
        .env("SLURM_RESUME_FILE", "/some/file")
        .output()
        .unwrap();
    let asked = fake.next();
    assert_eq!(asked.path, "/v1/control");
    assert_eq!(
        asked.payload,
        json!({"v": 1, "do": "power", "op": "resume", "nodes": "efa6-0004,efa7-[0001-0002]"})
    );
    assert_eq!(read(&log), "gpu[1-2] none\n");
    assert_eq!(o.status.code(), Some(7), "the former program's own exit code");
    assert_eq!(err(&o), "");
}

#[test]
fn a_list_without_names_of_ours_is_handed_on_as_it_is() {
    let b = Bench::new();
    let fake = Fake::answering(vec![(200, "{}")]);
    b.write("burst.toml", &config(&fake.address));
    let log = former(&b);
    b.power_as("burst-suspend").arg("gpu2,gpu1").env("SLURM_RESUME_FILE", "/f").output().unwrap();
    assert_eq!(read(&log), "gpu2,gpu1 /f\n");
    assert!(fake.was_not_asked());
}

#[test]
fn a_dead_engine_is_no_error_and_costs_no_time() {
    let b = Bench::new();
    b.write("burst.toml", &config(&nobody()));
    let begin = Instant::now();
    let o = b.power().args(["suspend", "efa7-[0001-0016]"]).output().unwrap();
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(err(&o).contains("could not be told"), "{}", err(&o));
}

#[test]
fn an_engine_that_does_not_answer_is_not_waited_for() {
    let b = Bench::new();
    // Accepts (the backlog does) and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    b.write("burst.toml", &config(&silent.local_addr().unwrap().to_string()));
    let begin = Instant::now();
    let o = b.power().args(["resume", "efa7-0001"]).output().unwrap();
    assert_eq!(o.status.code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    assert!(err(&o).contains("could not be told"), "{}", err(&o));
}

#[test]
fn a_broken_configuration_still_keeps_our_names_from_the_former_program() {
    let b = Bench::new();
    let broken = config("127.0.0.1:1").replace("[aws]", "[asw]");
    b.write("burst.toml", &broken);
    let log = former(&b);
    let o = b.power().args(["resume", "efa7-0003,gpu1"]).output().unwrap();
    assert_eq!(read(&log), "gpu1 none\n");
    assert!(err(&o).contains("burstctl validate config"), "{}", err(&o));
}

#[test]
fn without_a_configuration_every_name_goes_to_the_former_program() {
    let b = Bench::new();
    b.write("slurm.conf", "ClusterName=x\n");
    let log = former(&b);
    let file = b.path("burst.toml");
    let o = b.power().args(["resume", "efa7-0003,gpu1"]).env("SLURM_BURST_CONF", file).output().unwrap();
    assert_eq!(read(&log), "efa7-0003,gpu1 none\n");
    assert!(err(&o).contains("burst.toml"), "{}", err(&o));
}

#[test]
fn without_a_former_program_other_names_are_logged() {
    let b = Bench::new();
    b.write("burst.toml", &config(&nobody()));
    let o = b.power().args(["resume", "gpu1"]).output().unwrap();
    assert_eq!(o.status.code(), Some(0));
    assert!(err(&o).contains("former_resume"), "{}", err(&o));
}

#[test]
fn a_missing_former_program_is_an_error() {
    let b = Bench::new();
    b.write("burst.toml", &config(&nobody()));
    b.write("burst-power.conf", "former_resume = \"/nonexistent/resume\"\n");
    let o = b.power().args(["resume", "gpu1"]).output().unwrap();
    assert_eq!(o.status.code(), Some(1));
    assert!(err(&o).contains("/nonexistent/resume"), "{}", err(&o));
}

#[test]
fn it_says_how_it_is_used() {
    let b = Bench::new();
    let o = b.power().output().unwrap();
    assert_eq!(o.status.code(), Some(2));
    assert!(err(&o).contains("ResumeProgram="), "{}", err(&o));
    assert_eq!(b.power().arg("--help").output().unwrap().status.code(), Some(0));
}
