//! burst.toml.
#![no_main]
use burst_policy::config::Config;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(errors) = Config::parse(text, "burst.toml") {
        assert!(!errors.is_empty(), "an error without words");
    }
    let _ = Config::partitions_of_broken(text);
});
