//! A forged `BURST_OPTS`, and option values as SPANK hands them over.
#![no_main]
use burst_plan::Options;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(options) = Options::from_json(bytes) {
        let again = Options::from_json(options.to_json().as_bytes());
        assert_eq!(again.as_ref(), Ok(&options), "the transport form does not come back");
    }
    // One option a line: NAME=VALUE.
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut options = Options::default();
    for line in text.lines().take(16) {
        let (name, value) = line.split_once('=').map_or((line, None), |(n, v)| (n, Some(v)));
        if let Err(why) = options.set(name, value) {
            assert!(!why.is_empty(), "an error without words");
        }
    }
    let again = Options::from_json(options.to_json().as_bytes());
    assert_eq!(again, Ok(options), "what was set does not travel");
});
