//! validate, plan, slurm-conf: files in, text out.

use crate::{Bench, config, err, out};
use serde_json::Value;

#[test]
fn a_good_configuration_is_summed_up() {
    let b = Bench::new();
    let file = b.write("burst.toml", &config("127.0.0.1:6826"));
    let o = b.ctl(&["validate", "config", file.to_str().unwrap()]);
    assert_eq!(o.status.code(), Some(0), "{}{}", out(&o), err(&o));
    let text = out(&o);
    assert!(
        text.contains(": ok") && text.contains("hpc7a.96xlarge") && text.contains("efa6-[0001-0004]"),
        "{text}"
    );
}

#[test]
fn a_bad_configuration_is_told_as_compilers_do() {
    let b = Bench::new();
    let file = b.write("burst.toml", &config("127.0.0.1:6826").replace("[aws]", "[asw]"));
    let o = b.ctl(&["validate", "config", file.to_str().unwrap()]);
    assert_eq!(o.status.code(), Some(1));
    let text = out(&o);
    assert!(text.contains(&format!("{}:", file.display())) && text.contains(": error: "), "{text}");
    let o = b.ctl(&["--json", "validate", "config", file.to_str().unwrap()]);
    let json: Value = serde_json::from_str(&out(&o)).unwrap();
    assert_eq!(json["ok"], false);
    assert!(json["errors"][0]["text"].is_string(), "{json}");
}

#[test]
fn a_missing_configuration_says_how_to_name_one() {
    let b = Bench::new();
    for args in [
        &["validate", "config", "/nonexistent/b.toml"][..],
        &["slurm-conf", "--config", "/nonexistent/b.toml"],
    ] {
        let o = b.ctl(args);
        assert_eq!(o.status.code(), Some(1));
        assert!(err(&o).contains("/nonexistent/b.toml") && err(&o).contains("--config"), "{}", err(&o));
    }
}

#[test]
fn slurm_conf_has_nodes_partitions_and_power_saving() {
    let b = Bench::new();
    let file = b.write("burst.toml", &config("127.0.0.1:6826"));
    let file = file.to_str().unwrap();
    let o =
        b.ctl(&["slurm-conf", "--config", file, "--part", "slurm", "--burst-power", "/opt/b/burst-power"]);
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    let text = out(&o);
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).collect();
    for line in [
        "JobSubmitPlugins=burst",
        "ResumeProgram=/opt/b/burst-resume",
        "SuspendProgram=/opt/b/burst-suspend",
        "SuspendRate=0",
        "ResumeTimeout=540",
        "SuspendTime=31536000",
        "SuspendExcParts=efa",
        "ReturnToService=2",
        "NodeSet=burst_efa Nodes=efa7-[0001-0016],efa6-[0001-0004]",
        "PartitionName=efa Nodes=burst_efa State=UP",
        "NodeName=efa7-[0001-0016] CPUs=192 RealMemory=749568 \
         Feature=hpc7a.96xlarge,efa,efa-required,efa-preferred,no-efa,efa-disabled State=CLOUD",
    ] {
        assert!(lines.contains(&line), "{line} is missing in\n{text}");
    }
}

#[test]
fn the_former_programs_go_into_burst_power_conf() {
    let b = Bench::new();
    let file = b.write("burst.toml", &config("127.0.0.1:6826"));
    let file = file.to_str().unwrap();
    let o =
        b.ctl(&["slurm-conf", "--config", file, "--old-resume", "/a/resume", "--old-suspend", "/a/suspend"]);
    assert!(
        out(&o).contains("former_resume = \"/a/resume\"\nformer_suspend = \"/a/suspend\"\n"),
        "{}",
        out(&o)
    );
    let o = b.ctl(&["slurm-conf", "--config", file, "--part", "plugstack", "--plugin-dir", "/p"]);
    assert!(out(&o).contains("\noptional /p/spank_burst.so\n"), "{}", out(&o));
    assert!(out(&o).ends_with("\noptional /p/spank_burst_node.so\n"), "{}", out(&o));
    let o = b.ctl(&["slurm-conf", "--config", file, "--part", "plugstack", "--capture-all"]);
    assert!(
        out(&o).contains("\noptional spank_burst_node.so capture=all controllers=http://"),
        "{}",
        out(&o)
    );
    let o = b.ctl(&["slurm-conf", "--config", file, "--burst-power", "burst-power"]);
    assert_eq!(o.status.code(), Some(2), "relative paths are wrong usage");
}

#[test]
fn what_the_site_had_is_kept() {
    let b = Bench::new();
    let file = b.write("burst.toml", &config("127.0.0.1:6826"));
    b.write(
        "slurm.conf",
        "JobSubmitPlugins=lua\nResumeProgram=/site/resume\nSuspendProgram=/x/burst-suspend\nSuspendTime=600\nSuspendExcParts=cpu\n",
    );
    let o = b.ctl(&["slurm-conf", "--config", file.to_str().unwrap()]);
    let text = out(&o);
    for line in [
        "JobSubmitPlugins=lua,burst",
        "SuspendTime=600",
        "SuspendExcParts=cpu,efa",
        "former_resume = \"/site/resume\"",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("former_suspend ="), "burst-suspend would call itself:\n{text}");
}

const SCRIPT: &str = "#!/bin/sh\n#SBATCH -p efa -n 384 -t 60\nsrun hostname\n";

fn priced(b: &Bench) -> String {
    let prices = b.write(
        "prices.json",
        r#"{"source":"a price list","regions":{"us-east-2":{"types":{"hpc7a.96xlarge":{"on-demand":"7.20"},"hpc6a.48xlarge":{"on-demand":"2.88"}}}}}"#,
    );
    let text = format!("{}\n[prices]\nfile = {:?}\n", config("127.0.0.1:6826"), prices);
    b.write("burst.toml", &text).display().to_string()
}

#[test]
fn plan_shows_the_ladder_and_the_most_it_can_cost() {
    let b = Bench::new();
    let (file, script) = (priced(&b), b.write("job.sh", SCRIPT));
    let o = b.ctl(&["plan", "--config", &file, script.to_str().unwrap(), "--json"]);
    assert_eq!(o.status.code(), Some(0), "{}{}", out(&o), err(&o));
    let json: Value = serde_json::from_str(&out(&o)).unwrap();
    assert_eq!(json["verdict"], "launch");
    let rungs: Vec<(String, u64)> = json["admission"]["ladder"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["instance_type"].as_str().unwrap().to_owned(), r["nodes"].as_u64().unwrap()))
        .collect();
    assert_eq!(rungs, [("hpc7a.96xlarge".to_owned(), 2), ("hpc6a.48xlarge".to_owned(), 4)]);
    let o = b.ctl(&["plan", "--config", &file, script.to_str().unwrap()]);
    let text = out(&o);
    for part in ["hpc7a.96xlarge", "7.20", "At most ", "a price list", "Nothing was launched."] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn the_command_line_wins_over_the_script_and_a_refusal_is_exit_code_1() {
    let b = Bench::new();
    let (file, script) = (priced(&b), b.write("job.sh", SCRIPT));
    let script = script.to_str().unwrap();
    let o = b.ctl(&["plan", "--config", &file, script, "-t", "UNLIMITED"]);
    assert_eq!(o.status.code(), Some(1), "{}", out(&o));
    assert!(out(&o).contains("sbatch would refuse this job"), "{}", out(&o));
    let o = b.ctl(&["plan", "--config", &file, script, "--burst-max-cost", "0.01"]);
    assert_eq!(o.status.code(), Some(1), "{}", out(&o));
    let o = b.ctl(&["plan", "--config", &file, script, "--burst-market", "credit"]);
    assert_eq!(o.status.code(), Some(2), "{}", out(&o));
    let o = b.ctl(&["plan", "--config", &file, script, "-p", "cpu"]);
    assert_eq!(o.status.code(), Some(0));
    assert!(out(&o).contains("Nothing would be launched"), "{}", out(&o));
}

const PLAN: &str = r#"{"should_burst":true,"instance_specification":{"instance_types":["hpc7a.96xlarge"],"purchasing_option":"on-demand"}}"#;

#[test]
fn a_plan_is_checked_alone_and_against_a_strict_pool() {
    let b = Bench::new();
    let file = priced(&b);
    let plan = b.write("plan.json", PLAN);
    let plan = plan.to_str().unwrap();
    let o = b.ctl(&["validate", "plan", plan]);
    assert_eq!(o.status.code(), Some(0), "{}", out(&o));
    assert!(out(&o).contains("plan.json: ok: hpc7a.96xlarge"), "{}", out(&o));
    let o = b.ctl(&["validate", "plan", plan, "--strict-pool", "efa", "--config", &file]);
    assert_eq!(o.status.code(), Some(0), "{}{}", out(&o), err(&o));
    let other = b.write("other.json", &PLAN.replace("hpc7a.96xlarge", "m5.xlarge"));
    let o = b.ctl(&["validate", "plan", other.to_str().unwrap(), "--strict-pool", "efa", "--config", &file]);
    assert_eq!(o.status.code(), Some(1), "{}", out(&o));
    assert!(out(&o).contains("m5.xlarge is not in pool efa"), "{}", out(&o));
    let o = b.ctl(&["validate", "plan", plan, "--strict-pool", "nope", "--config", &file]);
    assert_eq!(o.status.code(), Some(2), "{}", out(&o));
}

#[test]
fn errors_of_a_plan_have_line_and_column() {
    let b = Bench::new();
    let bad = b.write("bad.json", "{\n \"should_burst\": \"maybe\"\n}");
    let bad = bad.to_str().unwrap();
    let o = b.ctl(&["validate", "plan", bad]);
    assert_eq!(o.status.code(), Some(1), "{}", out(&o));
    assert!(
        out(&o).starts_with(&format!("{bad}:2:")) && out(&o).contains(": error: should_burst"),
        "{}",
        out(&o)
    );
    let o = b.ctl(&["validate", "plan", "/nonexistent/p.json"]);
    assert_eq!(o.status.code(), Some(1));
    assert!(err(&o).contains("/nonexistent/p.json"), "{}", err(&o));
}

#[test]
fn wrong_usage_is_json_too_where_json_is_asked_for() {
    let b = Bench::new();
    for args in [&["--json", "explain", "x"][..], &["--json", "bogus"], &["explain", "--json"]] {
        let done = b.ctl(args);
        assert_eq!(done.status.code(), Some(2), "{args:?}");
        let json: serde_json::Value = serde_json::from_str(&out(&done)).expect("JSON");
        assert!(json["error"].as_str().is_some_and(|t| t.len() > 10), "{json}");
    }
    assert_eq!(out(&b.ctl(&["explain", "x"])), "", "people read it on stderr");
}
