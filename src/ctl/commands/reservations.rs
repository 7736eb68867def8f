//! What `burstctl status` shows of capacity reservations.

use crate::out::printable;
use serde::Deserialize;
use std::fmt::Write;

/// A reservation as EC2 described it last.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reservation {
    id: String,
    state: String,
    kind: String,
    instance_type: String,
    zone: String,
    total: u64,
    available: u64,
}

/// A line each.
pub(super) fn render(all: &[Reservation]) -> String {
    let mut text = String::new();
    for r in all {
        let line = format!(
            "reservation {} ({}, {} in {}): {}, {} of {} free",
            r.id, r.kind, r.instance_type, r.zone, r.state, r.available, r.total
        );
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", printable(&line));
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_line() {
        assert_eq!(render(&[]), "");
        let json = r#"[{"id":"cr-1","state":"active","kind":"capacity-block","instance_type":"p5.48xlarge",
            "zone":"us-east-2b","total":8,"available":3,"group":null,"start_s":1,"end_s":2}]"#;
        let all: Vec<Reservation> = serde_json::from_str(json).unwrap();
        let want = "\nreservation cr-1 (capacity-block, p5.48xlarge in us-east-2b): active, 3 of 8 free\n";
        assert_eq!(render(&all), want);
    }
}
