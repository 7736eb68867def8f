//! Slurm hostlist expressions.

use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// Most names one expression may expand to.
pub const MAX_NAMES: usize = 65_536;
/// Longest name, as `MAXHOSTNAMELEN` less a margin for a domain.
const MAX_LENGTH: usize = 255;
/// Most bracket groups of one name; Slurm's own limit is five dimensions.
const MAX_GROUPS: usize = 5;
/// Most digits of one number: a `u64` holds them all.
const MAX_DIGITS: usize = 12;

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

/// A piece of an item: plain text, or the numbers of one pair of brackets.
enum Piece<'a> {
    Plain(&'a str),
    Numbers(Vec<Range>),
}

/// From, to, and the width that zeros fill.
struct Range {
    from: u64,
    to: u64,
    width: usize,
}

impl Range {
    fn count(&self) -> usize {
        usize::try_from(self.to - self.from).unwrap_or(usize::MAX).saturating_add(1)
    }
}

/// `efa7-[0001-0004,9],x-3` → names, in order; zero padding is kept. Nothing is invented: what cannot be read is an error.
///
/// # Errors
/// With the column.
pub fn expand(text: &str) -> Result<Vec<String>, HostlistError> {
    let (items, total) = read(text)?;
    let mut out = Vec::with_capacity(total);
    for pieces in items {
        let mut names = vec![String::new()];
        for piece in pieces {
            match piece {
                Piece::Plain(plain) => names.iter_mut().for_each(|n| n.push_str(plain)),
                Piece::Numbers(ranges) => {
                    let numbers: Vec<String> = ranges
                        .iter()
                        .flat_map(|r| (r.from..=r.to).map(|n| format!("{n:0w$}", w = r.width)))
                        .collect();
                    names =
                        names.iter().flat_map(|n| numbers.iter().map(move |k| format!("{n}{k}"))).collect();
                }
            }
        }
        out.append(&mut names);
    }
    Ok(out)
}

/// How many names an expression stands for, without making them.
///
/// # Errors
/// As [`expand`].
pub fn count(text: &str) -> Result<usize, HostlistError> {
    read(text).map(|(_, total)| total)
}

/// The items, checked, and how many names they stand for: all bounds are kept before a name is made.
fn read(text: &str) -> Result<(Vec<Vec<Piece<'_>>>, usize), HostlistError> {
    let (mut items, mut total) = (Vec::new(), 0usize);
    for (start, item) in split(text)? {
        let (pieces, names) = pieces(item, start)?;
        total = total.saturating_add(names);
        if total > MAX_NAMES {
            return wrong(start, format!("more than {MAX_NAMES} names"));
        }
        items.push(pieces);
    }
    Ok((items, total))
}

fn pieces(item: &str, start: usize) -> Result<(Vec<Piece<'_>>, usize), HostlistError> {
    if item.is_empty() {
        return wrong(start, "an empty name");
    }
    let (mut out, mut names, mut length, mut groups) = (Vec::new(), 1usize, 0, 0);
    let (mut rest, mut at) = (item, start);
    while !rest.is_empty() {
        let open = rest.find('[').unwrap_or(rest.len());
        let (plain, tail) = rest.split_at(open);
        if let Some(bad) = plain.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))) {
            return wrong(at + bad, "a name has letters, digits, - _ . and ranges such as [001-010]");
        }
        length += plain.len();
        out.push(Piece::Plain(plain));
        at += open;
        if let Some(inner) = tail.strip_prefix('[') {
            let Some((inner, after)) = inner.split_once(']') else { return wrong(at, "[ without ]") };
            let ranges = ranges(inner, at + 1)?;
            groups += 1;
            if groups > MAX_GROUPS {
                return wrong(at, format!("more than {MAX_GROUPS} pairs of brackets in one name"));
            }
            names = names.saturating_mul(ranges.iter().map(Range::count).fold(0, usize::saturating_add));
            if names > MAX_NAMES {
                return wrong(at, format!("more than {MAX_NAMES} names"));
            }
            length += ranges.iter().map(|r| r.width.max(r.to.to_string().len())).max().unwrap_or(0);
            out.push(Piece::Numbers(ranges));
            at += inner.len() + 2;
            rest = after;
        } else {
            rest = "";
        }
        if length > MAX_LENGTH {
            return wrong(start, format!("a name longer than {MAX_LENGTH} characters"));
        }
    }
    Ok((out, names))
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

fn ranges(text: &str, column: usize) -> Result<Vec<Range>, HostlistError> {
    let mut out = Vec::new();
    let mut at = column;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |s: &str| -> Option<u64> {
            let fine = !s.is_empty() && s.len() <= MAX_DIGITS && s.bytes().all(|b| b.is_ascii_digit());
            fine.then(|| s.parse().ok())?
        };
        let (Some(from), Some(to)) = (number(first), number(last)) else {
            let part = crate::clean(part, 40);
            return wrong(at, format!("`{part}` is not a number or a range such as 001-010"));
        };
        if to < from {
            return wrong(at, format!("the range {part} runs backwards"));
        }
        let width = if first.starts_with('0') { first.len() } else { 0 };
        out.push(Range { from, to, width });
        at += part.len() + 1;
    }
    Ok(out)
}

/// Names → a hostlist as Slurm writes it: `efa7-[0001-0004,0007],x-3`. Expanding it gives the same set.
#[must_use]
pub fn compress(names: &[String]) -> String {
    // (prefix, digits of a padded number or 0) → numbers; a name without a number stands for itself.
    let mut groups: BTreeMap<(&str, usize), Vec<u64>> = BTreeMap::new();
    let mut single: Vec<&str> = Vec::new();
    for name in names {
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let cut = name.len() - digits.min(MAX_DIGITS);
        let (prefix, number) = name.split_at(cut);
        match number.parse::<u64>() {
            Ok(n) => {
                let padded = number.starts_with('0') && number.len() > 1;
                // A padded and an unpadded form of one width give the same text: 0099 and 0100 belong together.
                let width =
                    if padded || groups.contains_key(&(prefix, number.len())) { number.len() } else { 0 };
                groups.entry((prefix, width)).or_default().push(n);
            }
            Err(_) => single.push(name),
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
        match (parts.as_slice(), runs.as_slice()) {
            ([one], [(a, b)]) if a == b => out.push(format!("{prefix}{one}")),
            _ => out.push(format!("{prefix}[{}]", parts.join(","))),
        }
    }
    single.sort_unstable();
    single.dedup();
    out.extend(single.into_iter().map(str::to_owned));
    out.join(",")
}
