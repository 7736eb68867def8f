//! prices import: files in, the price file out.

use crate::{Bench, config, err, out};
use serde_json::Value;

/// A configuration that names `prices.json` of the bench.
fn site(b: &Bench) -> (String, std::path::PathBuf) {
    let target = b.path("prices.json");
    let text = format!("{}\n[prices]\nfile = {target:?}\n", config("127.0.0.1:6826"));
    (b.write("burst.toml", &text).display().to_string(), target)
}

#[test]
fn an_import_adds_changes_and_keeps_and_validate_reads_it() {
    let b = Bench::new();
    let (file, target) = site(&b);
    let first = b.write(
        "first.csv",
        "us-east-2,hpc7a.96xlarge,on-demand,7.20\nus-east-2,hpc6a.48xlarge,on-demand,2.88\n",
    );
    let o = b.ctl(&["prices", "import", "--config", &file, first.to_str().unwrap()]);
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    assert!(out(&o).contains("2 prices change") && out(&o).contains("Written"), "{}", out(&o));
    let o = b.ctl(&["validate", "config", &file]);
    assert!(o.status.success() && out(&o).contains("7.20") && out(&o).contains("2.88"), "{}", out(&o));
    let second = b.write("second", "region,type,market,usd_per_hour\nus-east-2,hpc7a.96xlarge,on-demand,7.50\nus-east-2,hpc7a.96xlarge,spot,3\n");
    let o = b.ctl(&[
        "prices",
        "import",
        "--config",
        &file,
        second.to_str().unwrap(),
        "--source",
        "ours",
        "--json",
    ]);
    let json: Value = serde_json::from_str(&out(&o)).unwrap();
    assert_eq!(json["changes"].as_array().unwrap().len(), 2, "{json}");
    assert_eq!(
        (&json["changes"][0]["old"], &json["changes"][0]["new"]),
        (&Value::from(7_200_000), &Value::from(7_500_000))
    );
    assert!(json["source"].as_str().unwrap().starts_with("ours; "), "{json}");
    let text = std::fs::read_to_string(&target).unwrap();
    assert!(text.contains("2.88") && text.contains("7.50"), "{text}");
    let o = b.ctl(&["prices", "import", "--config", &file, second.to_str().unwrap(), "--replace"]);
    assert!(out(&o).contains("hpc6a.48xlarge"), "what goes is told: {}", out(&o));
    assert!(!std::fs::read_to_string(&target).unwrap().contains("2.88"));
    let left: Vec<_> = std::fs::read_dir(b.dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|n| !n.to_string_lossy().contains("new-")), "{left:?}");
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_nothing_is_written() {
    let b = Bench::new();
    let (file, target) = site(&b);
    let bad = b.write(
        "bad.csv",
        "us-east-2,hpc7a.96xlarge,on-demand,7.20\nus-east-2,hpc7a.96xlarge,weekly,7\nmars,a.b,spot,1\n",
    );
    let bad = bad.to_str().unwrap();
    let o = b.ctl(&["prices", "import", "--config", &file, bad]);
    assert_eq!(o.status.code(), Some(1));
    assert!(
        err(&o).contains(&format!("{bad}:2: error: ")) && err(&o).contains(&format!("{bad}:3: error: ")),
        "{}",
        err(&o)
    );
    assert!(!target.exists());
    let good = b.write("good.csv", "us-east-2,hpc7a.96xlarge,on-demand,7.20\n");
    let o = b.ctl(&["prices", "import", "--config", &file, good.to_str().unwrap(), "--dry-run"]);
    assert!(o.status.success() && out(&o).contains("--dry-run") && !target.exists(), "{}", out(&o));
    b.write("prices.json", "{");
    let o = b.ctl(&["prices", "import", "--config", &file, good.to_str().unwrap()]);
    assert_eq!(o.status.code(), Some(1), "a broken price file is not overwritten by half");
    assert!(err(&o).contains("prices.json"), "{}", err(&o));
    let o = b.ctl(&["prices", "import", good.to_str().unwrap(), "--config", "/nonexistent/b.toml"]);
    assert!(err(&o).contains("--config"), "{}", err(&o));
}

#[test]
fn a_link_stays_a_link_and_a_mode_stays() {
    use std::os::unix::fs::PermissionsExt;
    let b = Bench::new();
    let real = b.write("real.json", r#"{"source":"x","regions":{}}"#);
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    let link = b.path("link.json");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let good = b.write("good.csv", "us-east-2,hpc7a.96xlarge,on-demand,7.20\n");
    let o = b.ctl(&["prices", "import", good.to_str().unwrap(), "--into", link.to_str().unwrap()]);
    assert_eq!(o.status.code(), Some(0), "{}", err(&o));
    assert!(link.is_symlink() && std::fs::read_to_string(&real).unwrap().contains("7.20"));
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
}
