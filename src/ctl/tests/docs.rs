//! What the documentation says against what there is.

use crate::{Bench, out};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn doc(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// All sources of a folder of src/, one text.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // What a test says is not what a program says.
            if path.file_name().is_some_and(|n| n != "tests") {
                sources(&path, text);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// Texts between backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Keys of a table of CONFIGURATION.md: the first cells of the rows under its heading.
fn documented(text: &str, table: &str) -> BTreeSet<String> {
    let section = text.split("\n### ").find(|s| s.starts_with(&format!("`{table}`"))).expect(table);
    let rows = section.lines().filter(|l| l.starts_with("| `"));
    rows.map(|l| spans(l).next().unwrap().to_owned()).collect()
}

/// Keys the parser takes, as it tells somebody who wrote another one.
fn known(messages: &str, table: &str) -> BTreeSet<String> {
    let line =
        messages.lines().find(|l| l.contains(&format!("{table}.qqqqqqqq: unknown key"))).expect(messages);
    let list = line.split("known are ").nth(1).expect(line);
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_key_of_burst_toml_is_documented_and_no_other() {
    let text = doc("CONFIGURATION.md");
    let b = Bench::new();
    let file = b.write(
        "burst.toml",
        "[cluster]\nqqqqqqqq = 1\n[aws]\nqqqqqqqq = 1\n[pool.efa]\nqqqqqqqq = 1\n[[pool.efa.reservation]]\nqqqqqqqq = 1\n[pool.efa.region.us-west-2]\nqqqqqqqq = 1\n[[pool.efa.block]]\nqqqqqqqq = 1\n\
         type = \"hpc7a.96xlarge\"\nnodes = \"n1\"\n[prices]\nqqqqqqqq = 1\n[limits]\nqqqqqqqq = 1\n[limits.cluster]\nqqqqqqqq = 1\n\
         [record]\nqqqqqqqq = 1\n[capacity]\nqqqqqqqq = 1\n[rates]\nqqqqqqqq = 1\n",
    );
    let told = out(&b.ctl(&["validate", "config", file.to_str().unwrap()]));
    for (table, shown) in [
        ("[cluster]", "cluster"),
        ("[aws]", "aws"),
        ("[pool.NAME]", "pool.efa"),
        ("[[pool.NAME.block]]", "pool.efa.block[0]"),
        ("[[pool.NAME.reservation]]", "pool.efa.reservation[0]"),
        ("[pool.NAME.region.REGION]", "pool.efa.region.us-west-2"),
        ("[prices]", "prices"),
        ("[limits]", "limits"),
        ("[capacity]", "capacity"),
        ("[rates]", "rates"),
        ("[limits.cluster]", "limits.cluster"),
        ("[record]", "record"),
    ] {
        let mut known = known(&told, shown);
        // Documented as a table of its own.
        known.remove("block");
        known.remove("reservation");
        if shown == "pool.efa" {
            known.remove("region");
        }
        assert_eq!(
            documented(&text, table),
            known,
            "{table} in docs/CONFIGURATION.md against src/policy/config"
        );
    }
}

#[test]
fn the_example_of_the_configuration_is_good() {
    let text = doc("CONFIGURATION.md");
    let example = text.split("```toml\n").nth(1).and_then(|t| t.split("```").next()).unwrap();
    let price = text.split("`{\"source\"").nth(1).and_then(|t| t.split('`').next()).unwrap();
    let b = Bench::new();
    let prices = b.write("prices.json", &format!("{{\"source\"{price}"));
    let file =
        b.write("burst.toml", &example.replace("/etc/slurm/burst-prices.json", prices.to_str().unwrap()));
    let done = b.ctl(&["validate", "config", file.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(0), "{}", out(&done));
    assert!(out(&done).contains("7.20"), "{}", out(&done));
}

#[test]
fn the_iam_policy_lists_the_calls_there_are() {
    let text = doc("INSTALL.md");
    let policy = text.split("```json\n").nth(1).and_then(|t| t.split("```").next()).unwrap();
    serde_json::from_str::<serde_json::Value>(policy).expect("the policy is JSON");
    let listed: BTreeSet<&str> = policy
        .split('"')
        .filter_map(|w| w.strip_prefix("ec2:"))
        // A condition's key, not an action.
        .filter(|w| *w != "CreateAction")
        .collect();
    let mut code = String::new();
    sources(&root().join("src/aws"), &mut code);
    let mut called: BTreeSet<&str> =
        code.split("call(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    // Named by a constant beside the call.
    called.extend(code.split("const API: &str = \"").skip(1).filter_map(|rest| rest.split('"').next()));
    assert!(called.contains("CreateFleet") && called.contains("TerminateInstances"), "{called:?}");
    // What EC2 asks for beside CreateFleet with tags.
    called.extend(["RunInstances", "CreateTags"]);
    assert_eq!(listed, called, "docs/INSTALL.md against src/aws");
}

#[test]
fn messages_quoted_by_troubleshooting_are_in_the_sources() {
    let mut code = String::new();
    sources(&root().join("src"), &mut code);
    // A text that goes on in the next line of the source.
    let mut joined = String::new();
    for part in code.split("\\\n") {
        joined.push_str(if joined.is_empty() { part } else { part.trim_start() });
    }
    let text = doc("TROUBLESHOOTING.md");
    let mut seen = 0;
    for row in text.lines().filter(|l| l.starts_with("| ")) {
        let cell = row.trim_start_matches("| ").split(" | ").next().unwrap();
        for quote in spans(cell).filter(|q| q.contains(' ') && !q.starts_with("unrecognized option")) {
            for piece in quote.split('…').map(str::trim).filter(|p| p.len() > 3) {
                assert!(joined.contains(piece), "no program says {piece:?} (in {quote:?})");
                seen += 1;
            }
        }
    }
    assert!(seen > 15, "{seen} messages looked for");
}

#[test]
fn every_key_of_the_budget_service_is_documented_and_no_other() {
    let b = Bench::new();
    let file = b.write("burst.toml", "[budget_service]\nqqqqqqqq = 1\n");
    let told = out(&b.ctl(&["validate", "config", file.to_str().unwrap()]));
    let documented = documented(&doc("CONFIGURATION.md"), "[budget_service]");
    assert_eq!(documented, known(&told, "budget_service"));
}
