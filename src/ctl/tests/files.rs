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
    assert!(text.contains(": ok") && text.contains("hpc7a.96xlarge") && text.contains("efa6-[0001-0004]"), "{text}");
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
    for args in [&["validate", "config", "/nonexistent/b.toml"][..], &["slurm-conf", "--config", "/nonexistent/b.toml"]] {
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
    let o = b.ctl(&["slurm-conf", "--config", file, "--part", "slurm", "--burst-power", "/opt/b/burst-power"]);
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    let text = out(&o);
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).collect();
    for line in [
        "JobSubmitPlugins=burst",
        "ResumeProgram=/opt/b/burst-resume",
        "SuspendProgram=/opt/b/burst-suspend",
        "ResumeRate=0",
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
    let o = b.ctl(&["slurm-conf", "--config", file, "--old-resume", "/a/resume", "--old-suspend", "/a/suspend"]);
    assert!(out(&o).contains("former_resume = \"/a/resume\"\nformer_suspend = \"/a/suspend\"\n"), "{}", out(&o));
    let o = b.ctl(&["slurm-conf", "--config", file, "--part", "plugstack", "--plugin-dir", "/p"]);
    assert!(out(&o).ends_with("optional /p/spank_burst.so\n"), "{}", out(&o));
    let o = b.ctl(&["slurm-conf", "--config", file, "--burst-power", "burst-power"]);
    assert_eq!(o.status.code(), Some(2), "relative paths are wrong usage");
}
