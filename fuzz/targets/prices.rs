//! A price list of somebody else's: AWS's, our own file, a table.
#![no_main]
use burst_policy::prices::{Form, Prices, import};

libfuzzer_sys::fuzz_target!(|text: &str| {
    for form in [Form::Json, Form::Csv] {
        match import(text, form) {
            Ok(got) => {
                let amounts = got.prices.instance.values().flat_map(|types| types.values()).flat_map(|m| m.values());
                assert!(amounts.clone().all(|p| p.0 > 0), "a price of nothing: {:?}", got.prices);
                assert!(amounts.count() + got.prices.ebs_gib_month.len() > 0, "taken, but without a price");
                let text = got.prices.to_text();
                let back = Prices::parse(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
                assert_eq!(back.to_text(), text, "what is written is read as something else");
            }
            Err(wrong) => {
                assert!(!wrong.is_empty(), "an error without words");
                for w in wrong {
                    assert!(!w.text.is_empty() && !w.text.chars().any(char::is_control), "{w:?}");
                }
            }
        }
    }
    // What an administrator wrote by hand.
    match Prices::parse(text) {
        Ok(prices) => {
            let text = prices.to_text();
            assert!(!prices.source.chars().any(char::is_control), "{:?}", prices.source);
            assert_eq!(Prices::parse(&text).map(|p| p.to_text()), Ok(text));
        }
        Err(wrong) => assert!(!wrong.chars().any(char::is_control), "{wrong:?}"),
    }
});
