//! Slurm hostlist expressions.

use std::collections::BTreeMap;

/// Most names one expression may expand to.
pub const MAX_NAMES: usize = 65_536;

/// What is wrong with a hostlist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("hostlist, column {column}: {text}")]
pub struct HostlistError {
    /// 1-based.
    pub column: usize,
    /// What and what is allowed.
    pub text: String,
}

fn wrong<T>(column: usize, text: impl Into<String>) -> Result<T, HostlistError> {
    Err(HostlistError { column: column + 1, text: text.into() })
}

/// `efa7-[0001-0004,9],x-3` → names, in order; zero padding is kept. Nothing is invented: what cannot be read is an error.
///
/// # Errors
/// With the column.
pub fn expand(text: &str) -> Result<Vec<String>, HostlistError> {
    let mut out = Vec::new();
    for (start, item) in split(text)? {
        if item.is_empty() {
            return wrong(start, "an empty name");
        }
        let mut names = vec![String::new()];
        let mut rest = item;
        let mut at = start;
        while !rest.is_empty() {
            let open = rest.find('[').unwrap_or(rest.len());
            let (plain, tail) = rest.split_at(open);
            if let Some(bad) = plain.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))) {
                return wrong(at + bad, "a name has letters, digits, - _ . and ranges such as [001-010]");
            }
            for n in &mut names {
                n.push_str(plain);
            }
            at += open;
            let Some(inner) = tail.strip_prefix('[') else { break };
            let Some(close) = inner.find(']') else { return wrong(at, "[ without ]") };
            let numbers = ranges(inner.get(..close).unwrap_or(""), at + 1)?;
            if names.len().saturating_mul(numbers.len()).saturating_add(out.len()) > MAX_NAMES {
                return wrong(at, format!("more than {MAX_NAMES} names"));
            }
            names = names.iter().flat_map(|n| numbers.iter().map(move |k| format!("{n}{k}"))).collect();
            at += close + 2;
            rest = inner.get(close + 1..).unwrap_or("");
        }
        out.append(&mut names);
        if out.len() > MAX_NAMES {
            return wrong(start, format!("more than {MAX_NAMES} names"));
        }
    }
    Ok(out)
}

/// Items between commas that are not inside brackets, with their columns.
fn split(text: &str) -> Result<Vec<(usize, &str)>, HostlistError> {
    let (mut depth, mut start, mut out) = (0u32, 0, Vec::new());
    for (i, c) in text.char_indices() {
        match c {
            '[' if depth > 0 => return wrong(i, "[ inside ["),
            '[' => depth = 1,
            ']' if depth == 0 => return wrong(i, "] without ["),
            ']' => depth = 0,
            ',' if depth == 0 => {
                out.push((start, text.get(start..i).unwrap_or("")));
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push((start, text.get(start..).unwrap_or("")));
    Ok(out)
}

fn ranges(text: &str, column: usize) -> Result<Vec<String>, HostlistError> {
    let mut out = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |s: &str| -> Option<u64> {
            (!s.is_empty() && s.len() <= 12 && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse().ok())?
        };
        let (Some(a), Some(b)) = (number(from), number(to)) else {
            return wrong(column, format!("`{part}` is not a number or a range such as 001-010"));
        };
        if b < a {
            return wrong(column, format!("the range {part} runs backwards"));
        }
        if usize::try_from(b - a).unwrap_or(usize::MAX) >= MAX_NAMES || out.len() > MAX_NAMES {
            return wrong(column, format!("more than {MAX_NAMES} names"));
        }
        let width = if from.starts_with('0') { from.len() } else { 0 };
        out.extend((a..=b).map(|n| format!("{n:0width$}")));
    }
    Ok(out)
}

/// Names → a hostlist as Slurm writes it: `efa7-[0001-0004,0007],x-3`. Expanding it gives the same set.
#[must_use]
pub fn compress(names: &[String]) -> String {
    // (prefix, digits of a padded number or 0) → numbers; a name without a number stands for itself.
    let mut groups: BTreeMap<(&str, usize), Vec<u64>> = BTreeMap::new();
    let mut single = Vec::new();
    for name in names {
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let cut = name.len() - digits.min(12);
        let (prefix, number) = name.split_at(cut);
        match number.parse::<u64>() {
            Ok(n) => {
                let padded = number.starts_with('0') && number.len() > 1;
                // A padded and an unpadded form of one width give the same text: 0099 and 0100 belong together.
                let width = if padded || groups.contains_key(&(prefix, number.len())) { number.len() } else { 0 };
                groups.entry((prefix, width)).or_default().push(n);
            }
            Err(_) => single.push(name.clone()),
        }
    }
    let mut out = Vec::new();
    for ((prefix, width), mut numbers) in groups {
        numbers.sort_unstable();
        numbers.dedup();
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for n in numbers {
            match runs.last_mut() {
                Some((_, end)) if *end + 1 == n => *end = n,
                _ => runs.push((n, n)),
            }
        }
        let text = |n: u64| format!("{n:0width$}");
        let parts: Vec<String> = runs
            .iter()
            .map(|(a, b)| if a == b { text(*a) } else { format!("{}-{}", text(*a), text(*b)) })
            .collect();
        match parts.as_slice() {
            [one] if !one.contains('-') => out.push(format!("{prefix}{one}")),
            _ => out.push(format!("{prefix}[{}]", parts.join(","))),
        }
    }
    out.append(&mut single);
    out.join(",")
}
