//! Times as people, Slurm and Go write them.

use super::*;
use proptest::prelude::*;

#[test]
fn what_people_and_slurm_write() {
    for (text, seconds) in [
        ("8m", 480),
        ("2h30m", 9_000),
        ("90s", 90),
        ("1d", 86_400),
        ("1.1h", 3_960),
        ("2 h 30 min", 9_000),
        ("500ms", 1),
        ("0s", 0),
        ("30", 1_800),
        ("90:30", 5_430),
        ("1:30:00", 5_400),
        ("2-12", 216_000),
        ("1-01:02", 90_120),
        ("1-01:02:03", 90_123),
        (" 5m ", 300),
    ] {
        assert_eq!(Seconds::parse_human(text), Ok(Seconds(seconds)), "{text}");
    }
    for text in [
        "",
        "x",
        "-5m",
        "1:2:3:4",
        "1-",
        "1-2:3:4:5",
        "5m-",
        "5 5m",
        "1e3s",
        "m",
        "1..5h",
        "4000d",
        "UNLIMITED",
        "1h ago",
    ] {
        assert!(Seconds::parse_human(text).expect_err(text).contains("is not a time: write"), "{text}");
    }
}

#[test]
fn what_go_writes() {
    for (text, seconds) in
        [("2h30m0s", 9_000), ("15µs", 1), ("1.5h", 5_400), ("0s", 0), ("0", 0), ("1h0m0.000000001s", 3_601)]
    {
        assert_eq!(Seconds::parse_go(text), Ok(Seconds(seconds)), "{text}");
    }
    for text in ["", "30", "1d", "2 h", "-1s", "1h-1m"] {
        assert!(Seconds::parse_go(text).expect_err(text).contains("as Go does"), "{text}");
    }
}

#[test]
fn hours_and_nanoseconds() {
    assert_eq!(Seconds::from_hours(1.1), Ok(Seconds(3_960)));
    assert_eq!(Seconds::from_hours(0.0001), Ok(Seconds(1)));
    for hours in [-1.0, f64::NAN, f64::INFINITY, 87_841.0, 1e300] {
        assert!(Seconds::from_hours(hours).is_err(), "{hours}");
    }
    assert_eq!(Seconds::from_nanos(1_000_000_001), Seconds(2));
}

#[test]
fn shown_shortly() {
    assert_eq!(Seconds(9_000).to_string(), "2 h 30 min");
    assert_eq!(Seconds(0).to_string(), "0 s");
    assert_eq!(Seconds(90_061).to_string(), "1 d 1 h 1 min 1 s");
}

proptest! {
    #[test]
    fn what_is_shown_can_be_read(seconds in 0..=MOST) {
        prop_assert_eq!(Seconds::parse_human(&Seconds(seconds).to_string()), Ok(Seconds(seconds)));
    }

    #[test]
    fn never_panics(text in ".{0,30}", like in "[0-9dhms:. -]{0,20}", hours in any::<f64>()) {
        let _ = (Seconds::parse_human(&text), Seconds::parse_go(&text), Seconds::from_hours(hours));
        let _ = (Seconds::parse_human(&like), Seconds::parse_go(&like));
    }
}
