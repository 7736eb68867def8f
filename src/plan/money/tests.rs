//! Amounts in and out.

use super::*;
use proptest::prelude::*;

#[test]
fn reads_and_writes() {
    for (text, micro, shown) in [
        ("12", 12_000_000, "12.00"),
        ("12.5", 12_500_000, "12.50"),
        ("0.000001", 1, "0.000001"),
        ("7.205", 7_205_000, "7.205"),
        ("0", 0, "0.00"),
        ("1000000000", 1_000_000_000_000_000, "1000000000.00"),
    ] {
        assert_eq!(MicroUsd::parse(text), Ok(MicroUsd(micro)), "{text}");
        assert_eq!(MicroUsd(micro).to_string(), shown);
    }
}

#[test]
fn what_is_no_amount() {
    for text in
        ["", " 1", "-1", "+1", "$12.5", "1e3", "1,5", ".5", "1.0000001", "NaN", "inf", "12 USD", "1.2.3"]
    {
        assert!(MicroUsd::parse(text).expect_err(text).contains("is not an amount in USD"), "{text}");
    }
    assert!(MicroUsd::parse("1000000000.000001").expect_err("much").contains("the most"));
    for number in [-0.01, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e9 + 1.0, 1e300] {
        assert!(MicroUsd::from_f64(number).is_err(), "{number}");
    }
    assert_eq!(MicroUsd::from_f64(-0.0), Ok(MicroUsd(0)));
}

#[test]
fn arithmetic_rounds_up_and_saturates() {
    assert_eq!(MicroUsd(1).hourly_for(1), MicroUsd(1));
    assert_eq!(MicroUsd(7_205_000).hourly_for(1_800), MicroUsd(3_602_500));
    assert_eq!(MicroUsd(u64::MAX).hourly_for(u64::MAX), MicroUsd(u64::MAX));
    assert_eq!(MicroUsd(u64::MAX).times(2).plus(MicroUsd(1)), MicroUsd(u64::MAX));
}

proptest! {
    #[test]
    fn comes_back(micro in 0..=1_000_000_000_000_000u64) {
        prop_assert_eq!(MicroUsd::parse(&MicroUsd(micro).to_string()), Ok(MicroUsd(micro)));
    }

    #[test]
    fn a_float_of_six_digits_is_exact(micro in 0..=1_000_000_000_000_000u64) {
        let number: f64 = MicroUsd(micro).to_string().parse().expect("a number");
        prop_assert_eq!(MicroUsd::from_f64(number), Ok(MicroUsd(micro)));
    }

    #[test]
    fn longer_costs_no_less(hourly in any::<u64>(), a in any::<u32>(), b in any::<u32>()) {
        let (short, long) = (u64::from(a.min(b)), u64::from(a.max(b)));
        prop_assert!(MicroUsd(hourly).hourly_for(short) <= MicroUsd(hourly).hourly_for(long));
    }

    #[test]
    fn never_panics(text in ".{0,20}", number in any::<f64>()) {
        let _ = (MicroUsd::parse(&text), MicroUsd::from_f64(number));
    }
}

/// A bound of a ten-millionth of a dollar is a bound; 0 would be read as none.
#[test]
fn more_than_nothing_stays_more_than_nothing() {
    assert_eq!(MicroUsd::from_f64(1e-9), Ok(MicroUsd(1)));
    assert_eq!(MicroUsd::from_f64(f64::MIN_POSITIVE), Ok(MicroUsd(1)));
    assert_eq!(MicroUsd::from_f64(0.0), Ok(MicroUsd(0)));
    assert_eq!(MicroUsd::from_f64(-0.0), Ok(MicroUsd(0)));
}
