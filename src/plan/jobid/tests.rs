//! Identifiers as people write them, and as they try to.

use super::*;
use proptest::prelude::*;

fn spec(job: u32, tasks: &[u32], het: Option<u32>) -> JobSpec {
    JobSpec { job, tasks: tasks.to_vec(), het }
}

#[test]
fn every_form_slurm_prints() {
    for (text, want) in [
        ("12", spec(12, &[], None)),
        ("12_3", spec(12, &[3], None)),
        ("12_[3-5,9]", spec(12, &[3, 4, 5, 9], None)),
        ("12_[0-100:50%5]", spec(12, &[0, 50, 100], None)),
        ("12_3,5", spec(12, &[3, 5], None)),
        ("12_*", spec(12, &[], None)),
        ("12+1", spec(12, &[], Some(1))),
    ] {
        assert_eq!(parse(text), Ok(want), "{text}");
    }
}

#[test]
fn what_is_no_job() {
    for text in [
        "",
        "x",
        "-1",
        "12_",
        "12_[",
        "12_[3",
        "12_x",
        "12+",
        "12+x",
        "99999999999",
        "12_5-3",
        "12 ",
        "12_[1-2]]",
    ] {
        assert!(parse(text).expect_err(text).contains("is not a job"), "{text}");
    }
    assert!(parse("12,13").expect_err("two").contains("several jobs"));
    assert!(parse("12_[0-100000]").expect_err("many").contains("more than 100000"));
    assert!(parse("12_4000001").expect_err("far").contains("beyond 4000000"));
}

#[test]
fn array_specifications() {
    assert_eq!(array_tasks("0-9:2,15%3"), Ok((vec![0, 2, 4, 6, 8, 15], Some(3))));
    assert_eq!(array_tasks("3,1,3%0"), Ok((vec![1, 3], None)));
    for text in ["", "1-", "-1", "1:0", "1%", "1%x", "a", "5-1"] {
        assert!(array_tasks(text).is_err(), "{text}");
    }
}

#[test]
fn the_leading_number_is_read_as_slurmctld_does() {
    for (text, want) in [
        ("12", Some(12)),
        (" 12_0x3f", Some(12)),
        ("+12", Some(12)),
        ("12_[0-9999999]", Some(12)),
        // 2^32 + 12.
        ("4294967308", Some(12)),
        ("9223372036854775808", None),
        ("x", None),
        ("", None),
    ] {
        assert_eq!(leading(text), want, "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_read_begins_with_its_number(text in "[0-9_\\[\\],+%:x -]{0,20}") {
        if let Ok(one) = parse(&text) {
            prop_assert_eq!(leading(&text), Some(one.job));
        }
    }

    #[test]
    fn tasks_come_in_order_and_once(text in "[0-9]{1,3}(-[0-9]{3})?(,[0-9]{1,3}){0,4}") {
        if let Ok((tasks, _)) = array_tasks(&text) {
            prop_assert!(tasks.windows(2).all(|w| w[0] < w[1]));
        }
    }
}
