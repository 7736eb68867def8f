//! Annotations in scripts, comments, the environment and constraints.
#![no_main]
use burst_plan::annotations::{from_comment, from_env, from_features, from_script};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (script, _) = from_script(bytes);
    let text = String::from_utf8_lossy(bytes);
    let (comment, _) = from_comment(&text);
    let (environment, _) = from_env(text.lines());
    let (features, left, _) = from_features(&text);
    // What is left holds no word of ours that could be read once more.
    let (again, same, _) = from_features(&left);
    assert_eq!(same, left, "features are not stable");
    assert!(again.efa.is_none(), "an EFA word was left over in `{left}`");
    let all = script.clone().merge(comment).merge(environment).merge(features);
    assert_eq!(all.clone().merge(all.clone()), all, "merging is not idempotent");
    assert!(script.types.is_none() || all.types == script.types, "the script comes first");
});
