//! Reading burst.toml's values with their places.

use super::ConfigError;
use burst_plan::{MicroUsd, Seconds};
use std::cell::RefCell;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// What reading gathers.
pub(super) struct Notes<'a> {
    pub text: &'a str,
    pub file: &'a str,
    pub errors: RefCell<Vec<ConfigError>>,
}

impl Notes<'_> {
    pub fn error(&self, offset: usize, key: &str, text: impl Into<String>) {
        let line = self.text.get(..offset).map_or(0, |t| t.matches('\n').count() + 1);
        let error = ConfigError { file: self.file.to_owned(), line, key: key.to_owned(), text: text.into() };
        self.errors.borrow_mut().push(error);
    }
}

/// A table, or nothing where it is not there.
pub(super) struct Table<'a, 't> {
    pub map: Option<&'a DeTable<'t>>,
    /// Dotted key.
    pub path: String,
    /// Where it stands.
    pub offset: usize,
    pub notes: &'a Notes<'a>,
    known: RefCell<Vec<&'static str>>,
}

type Value<'a, 't> = &'a Spanned<DeValue<'t>>;

impl<'a, 't> Table<'a, 't> {
    pub fn new(map: Option<&'a DeTable<'t>>, path: String, offset: usize, notes: &'a Notes<'a>) -> Self {
        Self { map, path, offset, notes, known: RefCell::default() }
    }

    pub fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub fn get(&self, key: &'static str) -> Option<Value<'a, 't>> {
        self.known.borrow_mut().push(key);
        self.map?.iter().find(|(k, _)| k.get_ref() == key).map(|(_, v)| v)
    }

    /// Where a key stands, for errors about its value; the table where it is absent.
    pub fn place(&self, key: &str) -> usize {
        let found = self.map.and_then(|m| m.iter().find(|(k, _)| k.get_ref() == key));
        found.map_or(self.offset, |(k, _)| k.span().start)
    }

    pub fn error(&self, key: &str, text: impl Into<String>) {
        self.notes.error(self.place(key), &self.at(key), text);
    }

    pub fn table(&self, key: &'static str) -> Table<'a, 't> {
        let offset = self.place(key);
        let map = self.get(key).and_then(|v| {
            let t = v.get_ref().as_table();
            if t.is_none() {
                self.error(key, format!("is a table: write [{}]", self.at(key)));
            }
            t
        });
        Table::new(map, self.at(key), offset, self.notes)
    }

    pub fn text(&self, key: &'static str) -> Option<String> {
        let v = self.get(key)?;
        let t = v.get_ref().as_str().map(str::to_owned);
        if t.is_none() {
            self.error(key, "is a text: write it between quotes");
        }
        t.filter(|t| !t.is_empty())
    }

    pub fn flag(&self, key: &'static str) -> Option<bool> {
        let v = self.get(key)?;
        let b = v.get_ref().as_bool();
        if b.is_none() {
            self.error(key, "is true or false");
        }
        b
    }

    pub fn count(&self, key: &'static str, least: u64, most: u64) -> Option<u64> {
        let v = self.get(key)?;
        let n = v.get_ref().as_integer().and_then(|i| u64::from_str_radix(i.as_str(), i.radix()).ok());
        let n = n.filter(|n| (least..=most).contains(n));
        if n.is_none() {
            self.error(key, format!("is a whole number from {least} to {most}"));
        }
        n
    }

    pub fn small(&self, key: &'static str, least: u32, most: u32) -> Option<u32> {
        self.count(key, least.into(), most.into()).and_then(|n| u32::try_from(n).ok())
    }

    pub fn time(&self, key: &'static str) -> Option<Seconds> {
        let v = self.get(key)?;
        let parsed = match v.get_ref() {
            DeValue::String(s) => Seconds::parse_human(s),
            _ => Err("write a time between quotes, such as \"8m\"".to_owned()),
        };
        parsed.map_err(|e| self.error(key, e)).ok()
    }

    pub fn usd(&self, key: &'static str) -> Option<MicroUsd> {
        let v = self.get(key)?;
        let parsed = match v.get_ref() {
            DeValue::String(s) => MicroUsd::parse(s),
            DeValue::Float(f) => f.as_str().parse().map_err(|_| String::new()).and_then(MicroUsd::from_f64),
            DeValue::Integer(i) => match u64::from_str_radix(i.as_str(), i.radix()) {
                Ok(n) => MicroUsd::parse(&n.to_string()),
                Err(_) => MicroUsd::parse(i.as_str()),
            },
            _ => Err("write an amount in USD such as 2000.0".to_owned()),
        };
        parsed.map_err(|e| self.error(key, if e.is_empty() { "is an amount in USD".into() } else { e })).ok()
    }

    pub fn texts(&self, key: &'static str) -> Vec<String> {
        let Some(v) = self.get(key) else { return Vec::new() };
        let list = v
            .get_ref()
            .as_array()
            .map(|a| a.iter().map(|i| i.get_ref().as_str().map(str::to_owned)).collect());
        match list {
            Some(Some(texts)) => texts,
            _ => {
                self.error(key, "is a list of texts: write [\"…\", \"…\"]");
                Vec::new()
            }
        }
    }

    /// One of some words.
    pub fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(w, _)| *w == text).map(|(_, t)| *t);
        if found.is_none() {
            let all: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
            self.error(key, format!("`{text}` is not known: write {}", all.join(", ")));
        }
        found
    }

    /// Key → text, in the order of the file.
    pub fn pairs(&self, key: &'static str) -> Vec<(String, String)> {
        let t = self.table(key);
        let Some(map) = t.map else { return Vec::new() };
        let mut rows: Vec<(usize, String, String)> = Vec::new();
        for (k, v) in map {
            match v.get_ref().as_str() {
                Some(s) => rows.push((k.span().start, k.get_ref().to_string(), s.to_owned())),
                None => {
                    t.notes.error(k.span().start, &t.at(k.get_ref()), "is a text: write it between quotes")
                }
            }
        }
        rows.sort();
        rows.into_iter().map(|(_, k, v)| (k, v)).collect()
    }

    /// Tables by name, in the order of the file, and where each stands.
    pub fn tables(&self, key: &'static str) -> Vec<(String, Table<'a, 't>)> {
        let t = self.table(key);
        let Some(map) = t.map else { return Vec::new() };
        let mut out: Vec<(String, Table<'a, 't>)> = Vec::new();
        for (k, v) in map {
            let (name, at) = (k.get_ref().to_string(), k.span().start);
            let inner = v.get_ref().as_table();
            if inner.is_none() {
                t.notes.error(at, &t.at(&name), format!("is a table: write [{}]", t.at(&name)));
                continue;
            }
            let table = Table::new(inner, t.at(&name), at, t.notes);
            out.push((name, table));
        }
        out.sort_by_key(|(_, t)| t.offset);
        out
    }

    /// Keys nobody asked for are errors.
    pub fn finish(&self) {
        let known = self.known.borrow();
        for (k, _) in self.map.into_iter().flatten() {
            let name = k.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let close = known.iter().find(|n| burst_plan::near(n, name));
            let hint = close.map_or_else(
                || format!("; known are {}", known.join(", ")),
                |n| format!("; did you mean `{n}`?"),
            );
            self.notes.error(k.span().start, &self.at(name), format!("unknown key{hint}"));
        }
    }
}
