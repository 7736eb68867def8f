//! Durations and amounts of money as people, Slurm, Go and JSON write them.
#![no_main]
use burst_plan::{MicroUsd, Seconds};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(Ok(eight)) = bytes.get(..8).map(<[u8; 8]>::try_from) {
        let number = f64::from_le_bytes(eight);
        if let Ok(m) = MicroUsd::from_f64(number) {
            assert!(number >= 0.0 && number <= 1e9, "{number} was taken as {m}");
            assert!(m.times(u64::MAX) >= m.hourly_for(u64::MAX) || m.0 == 0, "saturates");
        }
        let _ = Seconds::from_hours(number);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(m) = MicroUsd::parse(text) {
        assert_eq!(MicroUsd::parse(&m.to_string()), Ok(m), "an amount does not come back");
    }
    for time in [Seconds::parse_human(text), Seconds::parse_go(text)].into_iter().flatten() {
        assert!(time.0 <= 3_660 * 86_400, "longer than ten years: {text}");
        let shown = time.to_string().replace(' ', "");
        assert_eq!(Seconds::parse_human(&shown), Ok(time), "{shown}");
    }
});
