//! `[budget_service]`.

use super::read::Table;
use crate::asbb::{OnError, OnRefusal, Service};
use burst_plan::Seconds;

/// None where the table is not there.
pub(super) fn service(t: &Table<'_, '_>) -> Option<Service> {
    let url = t.text("url").map(|u| u.trim_end_matches('/').to_owned());
    let service = Service {
        timeout: t.time("timeout").unwrap_or(Seconds(5)),
        on_error: t
            .word("on_error", &[("allow", OnError::Allow), ("hold", OnError::Hold)])
            .unwrap_or(OnError::Hold),
        on_refusal: t
            .word("on_refusal", &[("hold", OnRefusal::Hold), ("fail", OnRefusal::Fail)])
            .unwrap_or(OnRefusal::Hold),
        url: url.clone().unwrap_or_default(),
    };
    t.finish();
    t.map?;
    let Some(url) = url else {
        t.error("url", "missing: write url = \"http://budget:8080\"");
        return None;
    };
    let host = url.strip_prefix("http://").unwrap_or("");
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || "?#@".contains(c)) {
        let why = "is where the budget service listens: write \"http://budget:8080\" (for https put a proxy beside slurmctld)";
        t.error("url", format!("`{}` {why}", burst_plan::clean(&url, 100)));
    }
    if !(1..=60).contains(&service.timeout.0) {
        t.error("timeout", "is from 1s to 60s");
    }
    Some(service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, tests::GOOD};

    fn read(table: &str) -> Result<Option<Service>, String> {
        let text = format!("{GOOD}\n[budget_service]\n{table}");
        match Config::parse(&text, "f") {
            Ok(c) => Ok(c.budget_service),
            Err(e) => Err(e.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    }

    #[test]
    fn careful_unless_told_otherwise() {
        let usual = Service {
            url: "http://budget:8080".into(),
            timeout: Seconds(5),
            on_error: OnError::Hold,
            on_refusal: OnRefusal::Hold,
        };
        assert_eq!(read("url = \"http://budget:8080/\"\n"), Ok(Some(usual.clone())));
        let loose =
            Service { timeout: Seconds(2), on_error: OnError::Allow, on_refusal: OnRefusal::Fail, ..usual };
        let text =
            "url = \"http://budget:8080\"\ntimeout = \"2s\"\non_error = \"allow\"\non_refusal = \"fail\"\n";
        assert_eq!(read(text), Ok(Some(loose)));
        assert_eq!(Config::parse(GOOD, "f").map(|c| c.budget_service), Ok(None));
    }

    #[test]
    fn what_cannot_work_is_told() {
        for (table, word) in [
            ("", "missing: write url"),
            ("url = \"https://budget\"\n", "for https put a proxy"),
            ("url = \"http://\"\n", "is where the budget service listens"),
            ("url = \"http://u:p@budget\"\n", "is where the budget service listens"),
            ("url = \"http://b\"\ntimeout = \"61s\"\n", "is from 1s to 60s"),
            ("url = \"http://b\"\non_error = \"ignore\"\n", "write allow, hold"),
            ("url = \"http://b\"\nkey = 1\n", "unknown key"),
        ] {
            let told = read(table).expect_err(table);
            assert!(told.contains(word), "{table}: {told}");
        }
    }
}
