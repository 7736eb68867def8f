//! Reading values that may be null or of another kind than was meant.

use super::{PlanError, Warning, locate::locate};
use crate::{MicroUsd, Seconds};
use serde_json::{Map, Value};
use std::cell::RefCell;

/// What reading gathers.
pub(super) struct Notes<'a> {
    pub text: &'a str,
    pub errors: RefCell<Vec<PlanError>>,
    pub warnings: RefCell<Vec<Warning>>,
}

impl Notes<'_> {
    pub fn error(&self, path: &str, text: impl Into<String>) {
        let (line, column) = locate(self.text, path);
        self.errors.borrow_mut().push(PlanError { path: path.to_owned(), line, column, text: text.into() });
    }
    pub fn warn(&self, path: &str, text: impl Into<String>) {
        self.warnings.borrow_mut().push(Warning { path: path.to_owned(), text: text.into() });
    }
}

/// An object of the plan; an absent or null one reads as empty.
pub(super) struct Object<'a> {
    map: Option<&'a Map<String, Value>>,
    path: String,
    notes: &'a Notes<'a>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Object<'a> {
    pub fn new(map: Option<&'a Map<String, Value>>, path: String, notes: &'a Notes<'a>) -> Self {
        Self { map, path, notes, known: RefCell::new(Vec::new()) }
    }

    pub fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value, unless absent or null.
    pub fn get(&self, key: &'static str) -> Option<&'a Value> {
        self.known.borrow_mut().push(key);
        self.map?.get(key).filter(|v| !v.is_null())
    }

    pub fn has(&self, key: &str) -> bool {
        self.map.is_some_and(|m| m.contains_key(key))
    }

    fn wrong<T>(&self, key: &str, value: &Value, wanted: &str) -> Option<T> {
        self.notes.error(&self.at(key), format!("{} is not {wanted}", shown(value)));
        None
    }

    pub fn object(&self, key: &'static str) -> Object<'a> {
        let map = match self.get(key) {
            Some(Value::Object(m)) => Some(m),
            Some(other) => self.wrong(key, other, "an object { … }"),
            None => None,
        };
        Object::new(map, self.at(key), self.notes)
    }

    /// A text; a number where one was meant is taken as it is written.
    pub fn text(&self, key: &'static str) -> Option<String> {
        match self.get(key)? {
            Value::String(s) if s.len() <= 1_024 => Some(s.clone()).filter(|s| !s.is_empty()),
            Value::Number(n) => {
                self.notes.warn(&self.at(key), format!("the number {n} is read as text"));
                Some(n.to_string())
            }
            other => self.wrong(key, other, "a text of at most 1024 bytes"),
        }
    }

    pub fn flag(&self, key: &'static str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(b) => Some(*b),
            other => self.wrong(key, other, "true or false"),
        }
    }

    /// A count; 0 means "not given" in both dialects.
    pub fn count(&self, key: &'static str) -> Option<u32> {
        let value = self.get(key)?;
        match value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= 1_000_000) {
            Some(n) => Some(n).filter(|n| *n > 0),
            None => self.wrong(key, value, "a whole number from 0 to 1000000"),
        }
    }

    /// USD; 0 means none in both dialects.
    pub fn usd(&self, key: &'static str) -> Option<MicroUsd> {
        let value = self.get(key)?;
        let read = match value {
            Value::Number(n) => n.as_f64().ok_or_else(String::new).and_then(MicroUsd::from_f64),
            _ => Err(String::new()),
        };
        match read {
            Ok(m) => Some(m).filter(|m| m.0 > 0),
            Err(_) => self.wrong(key, value, "an amount in USD from 0 to 1000000000"),
        }
    }

    pub fn hours(&self, key: &'static str) -> Option<Seconds> {
        let value = self.get(key)?;
        match value.as_f64().and_then(|h| Seconds::from_hours(h).ok()) {
            Some(s) => Some(s).filter(|s| s.0 > 0),
            None => self.wrong(key, value, "a number of hours from 0 to 87840"),
        }
    }

    pub fn number(&self, key: &'static str, least: f64, most: f64) -> Option<f64> {
        let value = self.get(key)?;
        match value.as_f64().filter(|n| (least..=most).contains(n)) {
            Some(n) => Some(n),
            None => self.wrong(key, value, &format!("a number from {least} to {most}")),
        }
    }

    /// Texts; null is empty.
    pub fn texts(&self, key: &'static str, most: usize) -> Vec<String> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Value::Array(list) = value else {
            self.wrong::<()>(key, value, "a list of texts [\"…\"]");
            return Vec::new();
        };
        if list.len() > most {
            self.notes.error(&self.at(key), format!("{} entries; at most {most} are taken", list.len()));
            return Vec::new();
        }
        let mut out = Vec::new();
        for (i, item) in list.iter().enumerate() {
            match item {
                Value::String(s) if s.len() <= 256 => out.push(s.clone()),
                other => self.notes.error(&format!("{}[{i}]", self.at(key)), format!("{} is not a short text", shown(other))),
            }
        }
        out
    }

    /// One of some words; an empty text is none.
    pub fn word(&self, key: &'static str, allowed: &[&str]) -> Option<String> {
        let text = self.text(key)?;
        if allowed.contains(&text.as_str()) {
            return Some(text);
        }
        self.notes.error(&self.at(key), format!("`{text}` is not known: write one of {}", allowed.join(", ")));
        None
    }

    /// Keys that nobody asked for, minus those that are known but say nothing to us.
    pub fn finish(&self, silent: &[&'static str]) {
        let Some(map) = self.map else { return };
        let known = self.known.borrow();
        for key in map.keys().filter(|k| !known.contains(&k.as_str()) && !silent.contains(&k.as_str())) {
            let near = known.iter().chain(silent).find(|k| near(k, key));
            let hint = near.map(|k| format!("; did you mean `{k}`?")).unwrap_or_default();
            let name: String = key.chars().take(60).collect();
            self.notes.warn(&self.at(&name), format!("unknown key, ignored{hint}"));
        }
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 { format!("{}…", text.chars().take(60).collect::<String>()) } else { text }
}

/// Alike but for one letter more, less or other.
pub(crate) fn near(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 1 || a.len().min(b.len()) < 3 {
        return false;
    }
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let tail = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    // One edit, or two neighbours exchanged.
    head + tail + 1 >= a.len().max(b.len()) || (a.len() == b.len() && head + tail + 2 >= a.len())
}
