//! Hostlists against what Slurm's own `scontrol show hostnames` prints, and properties.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

#[test]
fn expands_as_slurm_does() {
    for (text, names) in [
        ("a", &["a"][..]),
        ("a1,b2", &["a1", "b2"]),
        ("efa7-[0001-0003,0007],x-3", &["efa7-0001", "efa7-0002", "efa7-0003", "efa7-0007", "x-3"]),
        ("n[9-11]", &["n9", "n10", "n11"]),
        ("n[08-11]", &["n08", "n09", "n10", "n11"]),
        ("r[0-1]n[1-2]-eth", &["r0n1-eth", "r0n2-eth", "r1n1-eth", "r1n2-eth"]),
        ("n.x_y-[5]", &["n.x_y-5"]),
    ] {
        assert_eq!(expand(text), Ok(list(names)), "{text}");
        assert_eq!(count(text), Ok(names.len()), "{text}");
    }
}

#[test]
fn says_what_is_wrong_and_where() {
    for (text, column, says) in [
        ("", 1, "empty name"),
        ("a,,b", 3, "empty name"),
        ("a,", 3, "empty name"),
        ("a[1-2", 2, "[ without ]"),
        ("a]", 2, "] without ["),
        ("a[1[2]]", 4, "[ inside ["),
        ("a[]", 3, "not a number"),
        ("a[1-3,x]", 7, "`x` is not a number"),
        ("a[1-2-3]", 3, "not a number"),
        ("a[3-1]", 3, "backwards"),
        ("ok,a b", 5, "a name has letters"),
        ("(null)", 1, "a name has letters"),
        ("a[0-65536]", 2, "more than 65536"),
        ("a[0-9999]b[0-9999]", 11, "more than 65536"),
        ("a[0-40000],b[0-40000]", 12, "more than 65536"),
        ("a[1][1][1][1][1][1]", 17, "more than 5 pairs"),
        ("a[1234567890123]", 3, "not a number"),
    ] {
        let e = expand(text).expect_err(text);
        assert!(e.column == column && e.text.contains(says), "{text}: {e}");
        assert_eq!(count(text), Err(e), "{text}");
    }
    assert!(expand(&"x".repeat(256)).expect_err("too long").text.contains("longer than 255"));
}

#[test]
fn compresses_as_slurm_does() {
    for (names, text) in [
        (&["x-3"][..], "x-3"),
        (&["n2", "n1", "n3", "n7"], "n[1-3,7]"),
        (&["n0099", "n0100", "n0101"], "n[0099-0101]"),
        (&["n9", "n10"], "n[9-10]"),
        (&["b", "a", "a"], "a,b"),
        (&["efa7-0001", "efa6-0001"], "efa6-0001,efa7-0001"),
    ] {
        assert_eq!(compress(&list(names)), text);
    }
    assert_eq!(compress(&[]), "");
}

proptest! {
    #[test]
    fn never_panics(text in ".{0,60}", like in "[a-c0-2,\\[\\]-]{0,40}") {
        prop_assert_eq!(expand(&text).map(|n| n.len()), count(&text));
        prop_assert_eq!(expand(&like).map(|n| n.len()), count(&like));
    }

    #[test]
    fn comes_back(names in proptest::collection::vec("[a-c]{1,2}-?[0-9]{0,5}", 1..60)) {
        let set = |v: Vec<String>| v.into_iter().collect::<BTreeSet<_>>();
        let short = compress(&names);
        prop_assert_eq!(set(expand(&short).expect("reads")), set(names.clone()), "{}", short);
        prop_assert_eq!(compress(&expand(&short).expect("reads")).len(), short.len());
    }
}
