//! Options as SPANK hands them over, and their transport form.

use super::*;
use proptest::prelude::*;

#[test]
fn every_option_travels() {
    let mut o = Options::default();
    for (name, value) in [
        ("burst", "efa"),
        ("burst-types", "hpc7a.96xlarge, hpc6a.48xlarge"),
        ("burst-market", "on-demand"),
        ("burst-efa", "required"),
        ("burst-max-cost", "12.5"),
        ("burst-wait", "2h"),
        ("burst-else", "wait"),
    ] {
        assert_eq!(o.set(name, Some(value)), Ok(()), "{name}");
    }
    let text = o.to_json();
    assert_eq!(
        text,
        r#"{"pool":"efa","types":["hpc7a.96xlarge","hpc6a.48xlarge"],"market":"on-demand","efa":"required","max_cost":"12.50","wait":"7200s","else":"wait"}"#
    );
    assert_eq!(Options::from_json(text.as_bytes()), Ok(o));
    assert_eq!(Options::from_json(b"{}"), Ok(Options::default()));
}

#[test]
fn what_is_not_allowed_is_told() {
    for (name, value, says) in [
        ("burst", Some("a b"), "letters, digits"),
        ("burst-types", Some("hpc7a"), "look like hpc7a.96xlarge"),
        ("burst-types", Some("a.b,,c.d"), "look like"),
        ("burst-types", Some("..a.b"), "look like"),
        ("burst-types", None, "needs a value"),
        ("burst-market", Some("cheap"), "on-demand, spot or mixed"),
        ("burst-efa", Some("yes"), "required, preferred or off"),
        ("burst-max-cost", Some("-3"), "such as 12.50"),
        ("burst-wait", Some("soon"), "write 90s, 8m"),
        ("burst-else", Some("cry"), "wait, local or cancel"),
        ("burst-plan", Some("x"), "not an option"),
    ] {
        let e = Options::default().set(name, value).expect_err(name);
        assert!(e.contains(says) && e.starts_with("--burst"), "{e}");
    }
}

#[test]
fn the_later_one_counts() {
    let mut o = Options::default();
    assert_eq!(o.set("burst-wait", Some("30")), Ok(()));
    assert_eq!(o.set("burst-wait", Some("1h")), Ok(()));
    assert_eq!((o.set("burst", None), o.pool), (Ok(()), Some(String::new())));
    assert_eq!(o.wait, Some(Seconds(3_600)));
}

#[test]
fn forged_forms_are_refused() {
    for (text, says) in [
        (r#"{"pool":"x/y"}"#, "pool: a pool's name"),
        (r#"{"types":[]}"#, "types: name from 1 to 32"),
        (r#"{"types":["../../x"]}"#, "types: `../../x` is not"),
        (r#"{"market":"cheap"}"#, "market:"),
        (r#"{"max_cost":12.5}"#, "expected a string"),
        (r#"{"max_cost":"-1"}"#, "max_cost:"),
        (r#"{"else":"x"}"#, "else:"),
        (r#"{"image":"ami-1"}"#, "unknown field"),
        ("[]", "invalid"),
        ("", "EOF"),
    ] {
        let e = Options::from_json(text.as_bytes()).expect_err(text);
        assert!(e.contains(says), "{text}: {e}");
    }
    let many = format!(r#"{{"types":["{}"]}}"#, vec!["a.b"; 33].join("\",\""));
    assert!(Options::from_json(many.as_bytes()).is_err());
    assert!(Options::from_json(&vec![b' '; 4_097]).expect_err("long").contains("4096 bytes"));
    assert!(Options::from_json(&[b'['; 4_000]).is_err());
}

/// What a refusal quotes goes into slurmctld's log.
#[test]
fn no_option_writes_a_line_of_its_own() {
    let evil = "x\n[2026-01-01] error: forged\u{1b}[2J";
    for name in [
        "burst",
        "burst-types",
        "burst-market",
        "burst-efa",
        "burst-max-cost",
        "burst-wait",
        "burst-else",
        evil,
    ] {
        let e = Options::default().set(name, Some(evil)).expect_err(name);
        assert!(!e.chars().any(char::is_control), "{name}: {e:?}");
    }
    for key in ["pool", "market", "max_cost", "wait", "else", evil] {
        let json = serde_json::json!({ key: evil }).to_string();
        let e = Options::from_json(json.as_bytes()).expect_err(key);
        assert!(!e.chars().any(char::is_control), "{key}: {e:?}");
    }
}

#[test]
fn names_of_types() {
    for good in ["hpc7a.96xlarge", "u-6tb1.56xlarge", "m7i.metal-24xl", "mac2-m2.metal"] {
        assert!(is_type_name(good), "{good}");
    }
    for bad in
        ["", ".", "a.", ".b", "a.b.c", "..a.b", "A.b", "a b.c", "a.b\n", &format!("a.{}", "b".repeat(31))]
    {
        assert!(!is_type_name(bad), "{bad}");
    }
}

proptest! {
    #[test]
    fn what_is_set_travels(values in proptest::collection::vec((0usize..8, "[a-z0-9.,-]{0,20}"), 0..10)) {
        const NAMES: [&str; 8] = ["burst", "burst-types", "burst-market", "burst-efa", "burst-max-cost", "burst-wait", "burst-else", "x"];
        let mut o = Options::default();
        for (i, value) in &values {
            let _ = o.set(NAMES[*i], Some(value));
        }
        prop_assert_eq!(Options::from_json(o.to_json().as_bytes()), Ok(o));
    }

    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Options::from_json(&bytes);
    }
}
