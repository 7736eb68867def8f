//! Reading values that may be null or of another kind than was meant.

use super::{
    PlanError, Warning,
    json::{Kind, Member, Node, position},
};
use crate::{MicroUsd, Seconds};
use std::{borrow::Cow, cell::RefCell};

/// Most warnings of one plan; the rest is counted.
const MOST_WARNINGS: usize = 20;

/// What reading gathers.
pub(super) struct Notes<'a> {
    pub text: &'a str,
    pub errors: RefCell<Vec<PlanError>>,
    pub warnings: RefCell<Vec<Warning>>,
    pub untold: RefCell<usize>,
}

impl<'a> Notes<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, errors: RefCell::default(), warnings: RefCell::default(), untold: RefCell::default() }
    }

    pub fn error(&self, path: &str, at: usize, text: impl Into<String>) {
        let (line, column) = position(self.text, at);
        self.errors.borrow_mut().push(PlanError { path: path.to_owned(), line, column, text: text.into() });
    }

    pub fn warn(&self, path: &str, text: impl Into<String>) {
        let mut all = self.warnings.borrow_mut();
        match all.len() < MOST_WARNINGS {
            true => all.push(Warning { path: path.to_owned(), text: text.into() }),
            false => *self.untold.borrow_mut() += 1,
        }
    }

    /// A value as its author wrote it, in one short line.
    pub fn shown(&self, node: &Node<'_>) -> String {
        let written = self.text.get(node.at..node.end).unwrap_or("");
        // A value can be as long as the plan: only what may be shown is looked at.
        let words: Vec<&str> = written.split_ascii_whitespace().take(60).collect();
        crate::clean(&words.join(" "), 60)
    }
}

/// An object of the plan; an absent or null one reads as empty.
pub(super) struct Object<'n, 'a> {
    members: &'n [Member<'a>],
    at: usize,
    path: Cow<'n, str>,
    notes: &'n Notes<'a>,
    known: RefCell<Vec<&'static str>>,
}

impl<'n, 'a> Object<'n, 'a> {
    pub fn root(members: &'n [Member<'a>], at: usize, notes: &'n Notes<'a>) -> Self {
        Self { members, at, path: Cow::Borrowed(""), notes, known: RefCell::default() }
    }

    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value, unless absent or null.
    pub fn get(&self, key: &'static str) -> Option<&'n Node<'a>> {
        self.known.borrow_mut().push(key);
        let member = self.members.iter().find(|m| m.key == key)?;
        Some(&member.value).filter(|n| !matches!(n.kind, Kind::Null))
    }

    /// Something is missing in this object.
    pub fn lacks(&self, key: &str, text: &str) {
        let at = self.members.iter().find(|m| m.key == key).map_or(self.at, |m| m.value.at);
        self.notes.error(&self.path(key), at, text);
    }

    fn wrong<T>(&self, key: &str, node: &Node<'_>, wanted: &str) -> Option<T> {
        self.notes.error(&self.path(key), node.at, format!("{} is not {wanted}", self.notes.shown(node)));
        None
    }

    pub fn object(&self, key: &'static str) -> Self {
        let path = match self.path.is_empty() {
            true => Cow::Borrowed(key),
            false => Cow::Owned(self.path(key)),
        };
        let (members, at): (&'n [Member<'a>], usize) = match self.get(key) {
            Some(Node { kind: Kind::Object(m), at, .. }) => (m, *at),
            Some(other) => {
                self.wrong::<()>(key, other, "an object { … }");
                (&[], self.at)
            }
            None => (&[], self.at),
        };
        Self { members, at, path, notes: self.notes, known: RefCell::default() }
    }

    /// A text; a number where one was meant is taken as it is written. An empty text is none.
    pub fn text(&self, key: &'static str) -> Option<String> {
        let node = self.get(key)?;
        match &node.kind {
            Kind::Text(s) if s.len() <= 1_024 => Some(s.to_string()).filter(|s| !s.is_empty()),
            Kind::Number(n) if n.len() <= 64 => {
                self.notes.warn(&self.path(key), format!("the number {n} is read as text"));
                Some((*n).to_owned())
            }
            _ => self.wrong(key, node, "a text of at most 1024 bytes"),
        }
    }

    pub fn flag(&self, key: &'static str) -> Option<bool> {
        let node = self.get(key)?;
        match node.kind {
            Kind::Bool(b) => Some(b),
            _ => self.wrong(key, node, "true or false"),
        }
    }

    /// A count; 0 means "not given" in both dialects.
    pub fn count(&self, key: &'static str) -> Option<u32> {
        let node = self.get(key)?;
        let number = match node.kind {
            Kind::Number(n) => n.parse::<u32>().ok().filter(|n| *n <= 1_000_000),
            _ => None,
        };
        match number {
            Some(n) => Some(n).filter(|n| *n > 0),
            None => self.wrong(key, node, "a whole number from 0 to 1000000"),
        }
    }

    /// USD; 0 means none in both dialects. Digits are taken as they stand; only an exponent goes through a float.
    pub fn usd(&self, key: &'static str) -> Option<MicroUsd> {
        let node = self.get(key)?;
        let read = match node.kind {
            Kind::Number(n) => MicroUsd::parse(n)
                .ok()
                .or_else(|| n.parse().ok().and_then(|f: f64| MicroUsd::from_f64(f).ok())),
            _ => None,
        };
        match read {
            Some(m) => Some(m).filter(|m| m.0 > 0),
            None => self.wrong(key, node, "an amount in USD: a number from 0 to 1000000000"),
        }
    }

    pub fn hours(&self, key: &'static str) -> Option<Seconds> {
        let node = self.get(key)?;
        let read = match node.kind {
            Kind::Number(n) => n.parse().ok().and_then(|h: f64| Seconds::from_hours(h).ok()),
            _ => None,
        };
        match read {
            Some(s) => Some(s).filter(|s| s.0 > 0),
            None => self.wrong(key, node, "a number of hours from 0 to 87840"),
        }
    }

    /// Nanoseconds of a Go `time.Duration`, or the text Go prints of one.
    pub fn go_time(&self, key: &'static str) -> Option<Seconds> {
        let node = self.get(key)?;
        let read = match &node.kind {
            Kind::Number(n) => {
                n.parse::<u64>().ok().filter(|n| *n <= 316_000_000_000_000_000).map(Seconds::from_nanos)
            }
            Kind::Text(t) if t.is_empty() => return None,
            Kind::Text(t) => Seconds::parse_go(t).ok(),
            _ => None,
        };
        match read {
            Some(s) => Some(s).filter(|s| s.0 > 0),
            None => self.wrong(key, node, "a duration: whole nanoseconds, or a text such as \"2h30m0s\""),
        }
    }

    /// Texts; null is empty. Each with its index and the place it stands at.
    pub fn texts(&self, key: &'static str, most: usize) -> Vec<(usize, String, &'n Node<'a>)> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let Kind::List(list) = &node.kind else {
            self.wrong::<()>(key, node, "a list of texts [\"…\"]");
            return Vec::new();
        };
        if list.len() > most {
            let text = format!("{} entries; at most {most} are taken", list.len());
            self.notes.error(&self.path(key), node.at, text);
            return Vec::new();
        }
        let mut out = Vec::with_capacity(list.len());
        for (i, item) in list.iter().enumerate() {
            match &item.kind {
                Kind::Text(s) if s.len() <= 256 => out.push((i, s.to_string(), item)),
                _ => {
                    let text = format!("{} is not a text of at most 256 bytes", self.notes.shown(item));
                    self.notes.error(&format!("{}[{i}]", self.path(key)), item.at, text);
                }
            }
        }
        out
    }

    /// One of some words; an empty text is none.
    pub fn word(&self, key: &'static str, allowed: &[&'static str]) -> Option<&'static str> {
        let node = self.get(key)?;
        if let Kind::Text(text) = &node.kind {
            if text.is_empty() {
                return None;
            }
            if let Some(found) = allowed.iter().find(|w| **w == text.as_ref()) {
                return Some(found);
            }
        }
        let text = format!("{} is not known: write one of {}", self.notes.shown(node), allowed.join(", "));
        self.notes.error(&self.path(key), node.at, text);
        None
    }

    /// Keys that nobody asked for, minus those that are known but say nothing to us.
    pub fn finish(&self, silent: &[&'static str]) {
        let known = self.known.borrow();
        let is_known = |key: &str| known.contains(&key) || silent.contains(&key);
        for member in self.members.iter().filter(|m| !is_known(&m.key)) {
            // Places are costly to find, and slurmctld waits: not for a warning nobody will see.
            if self.notes.warnings.borrow().len() >= MOST_WARNINGS {
                *self.notes.untold.borrow_mut() += 1;
                continue;
            }
            let near = known.iter().chain(silent).find(|k| near(k, &member.key));
            let hint = near.map(|k| format!("; did you mean `{k}`?")).unwrap_or_default();
            let name = crate::clean(&member.key, 60);
            let (line, column) = position(self.notes.text, member.at);
            self.notes.warn(
                &self.path(&name),
                format!("unknown key, ignored (line {line}, column {column}){hint}"),
            );
        }
    }
}

/// Whether a value says anything: null, an empty text and an empty list do not.
pub(super) fn says_something(node: &Node<'_>) -> bool {
    match &node.kind {
        Kind::Null => false,
        Kind::Text(s) => !s.is_empty(),
        Kind::List(l) => !l.is_empty(),
        Kind::Object(o) => !o.is_empty(),
        Kind::Bool(_) | Kind::Number(_) => true,
    }
}

/// Alike but for case and dashes, or for one letter more, less or other, or two neighbours exchanged.
pub(crate) fn near(a: &str, b: &str) -> bool {
    fn bare(s: &str) -> impl Iterator<Item = u8> {
        s.bytes().filter(u8::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase())
    }
    if bare(a).eq(bare(b)) {
        return true;
    }
    if a.len().abs_diff(b.len()) > 1 || a.len().min(b.len()) < 3 {
        return false;
    }
    let head = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let tail = a.bytes().rev().zip(b.bytes().rev()).take_while(|(x, y)| x == y).count();
    head + tail + 1 >= a.len().max(b.len()) || (a.len() == b.len() && head + tail + 2 >= a.len())
}
