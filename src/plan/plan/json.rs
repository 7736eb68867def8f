//! JSON with positions, borrowed from the text.
//!
//! A plan is read inside slurmctld while it holds locks, and its errors must name line and column: one pass that keeps
//! offsets and borrows texts does both. It takes what RFC 8259 takes, less what a plan never needs: deep nesting, huge
//! objects and a key given twice.

use std::borrow::Cow;

/// Deepest nesting; both dialects need four.
const DEPTH: u32 = 32;
/// Most keys of one object.
const KEYS: usize = 256;

/// A value and the bytes it stands on.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub at: usize,
    pub end: usize,
    pub kind: Kind<'a>,
}

#[derive(Debug)]
pub(super) enum Kind<'a> {
    Null,
    Bool(bool),
    /// As it is written, so that an amount of money keeps its digits.
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Vec<Member<'a>>),
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub at: usize,
    pub key: Cow<'a, str>,
    pub value: Node<'a>,
}

/// Where reading stopped, and why.
#[derive(Debug)]
pub(super) struct Stop {
    pub at: usize,
    pub text: String,
}

type Result<T> = std::result::Result<T, Stop>;

/// Reads a whole text.
pub(super) fn read(text: &str) -> Result<Node<'_>> {
    let mut r = Reader { text, bytes: text.as_bytes(), at: 0 };
    let node = r.value(0)?;
    match r.peek() {
        None => Ok(node),
        Some(_) => r.bad("something stands after the end of the plan"),
    }
}

/// Line and column (1-based, in characters) of a byte offset.
pub(super) fn position(text: &str, offset: usize) -> (u32, u32) {
    let before = text.get(..offset.min(text.len())).unwrap_or("");
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

/// How many bytes from the start are neither `"`, `\` nor control characters; eight at a time, for most of a plan is text.
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word;
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = zero_in(word ^ (ONES * u64::from(b'"')));
        let slash = zero_in(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        // The lowest mark is right; a borrow can only spoil marks above it.
        let marks = (quote | slash | control) & (ONES << 7);
        if marks != 0 {
            return i * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let end = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f));
    words.len() * 8 + end.unwrap_or(rest.len())
}

/// Equal for equal bytes, and for few others; whoever makes them collide only makes the comparison above happen.
fn mark(bytes: &[u8]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let mix = |mark: u64, word: [u8; 8]| (mark ^ u64::from_le_bytes(word)).wrapping_mul(MIX).rotate_left(29);
    mix(words.iter().fold(bytes.len() as u64, |mark, word| mix(mark, *word)), last)
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn bad<T>(&self, text: impl std::fmt::Display) -> Result<T> {
        Err(Stop { at: self.at, text: format!("not JSON: {text}") })
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b) = self.byte() {
            if !matches!(b, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(b);
            }
            self.at += 1;
        }
        None
    }

    fn value(&mut self, depth: u32) -> Result<Node<'a>> {
        let first = self.peek();
        let at = self.at;
        if depth > DEPTH {
            return Err(Stop { at, text: format!("nested deeper than {DEPTH} levels; a plan needs four") });
        }
        let kind = match first {
            Some(b'{') => Kind::Object(self.object(depth)?),
            Some(b'[') => Kind::List(self.list(depth)?),
            Some(b'"') => Kind::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => Kind::Number(self.number()?),
            Some(b'a'..=b'z' | b'A'..=b'Z') => self.word()?,
            Some(b'\'') => return self.bad("texts stand in double quotes"),
            Some(b'}' | b']' | b',' | b':') => return self.bad("a value is missing here"),
            Some(b'/' | b'#') => return self.bad("JSON has no comments"),
            Some(_) => return self.bad("a value was expected: { [ \"text\" a number, true, false or null"),
            None => return self.bad("the text ends where a value was expected; is the file complete?"),
        };
        Ok(Node { at, end: self.at, kind })
    }

    fn object(&mut self, depth: u32) -> Result<Vec<Member<'a>>> {
        let mut out: Vec<Member<'a>> = Vec::with_capacity(8);
        // Keys are told apart by their marks first: comparing texts with each other is most of the work otherwise.
        let mut marks: Vec<u64> = Vec::with_capacity(8);
        self.at += 1;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(out);
        }
        loop {
            match self.peek() {
                Some(b'"') => {}
                Some(b'}') => return self.bad("a comma before }: remove it"),
                None => return self.bad("the text ends inside an object; is the file complete?"),
                Some(_) => return self.bad("a key in double quotes was expected"),
            }
            let at = self.at;
            let key = self.string()?;
            let own = mark(key.as_bytes());
            if marks.contains(&own) && out.iter().any(|m| m.key == key) {
                let key = crate::clean(&key, 60);
                return Err(Stop { at, text: format!("`{key}` stands twice in this object: keep one") });
            }
            if out.len() >= KEYS {
                return Err(Stop { at, text: format!("more than {KEYS} keys in one object") });
            }
            match self.peek() {
                Some(b':') => self.at += 1,
                _ => return self.bad("a : was expected after the key"),
            }
            let value = self.value(depth + 1)?;
            out.push(Member { at, key, value });
            marks.push(own);
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                None => return self.bad("the text ends inside an object; is the file complete?"),
                Some(_) => return self.bad("a comma or } was expected"),
            }
        }
        self.at += 1;
        Ok(out)
    }

    fn list(&mut self, depth: u32) -> Result<Vec<Node<'a>>> {
        let mut out = Vec::new();
        self.at += 1;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(out);
        }
        loop {
            if self.peek() == Some(b']') {
                return self.bad("a comma before ]: remove it");
            }
            out.push(self.value(depth + 1)?);
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                None => return self.bad("the text ends inside a list; is the file complete?"),
                Some(_) => return self.bad("a comma or ] was expected"),
            }
        }
        self.at += 1;
        Ok(out)
    }

    fn string(&mut self) -> Result<Cow<'a, str>> {
        let start = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain_bytes(self.bytes.get(self.at..).unwrap_or(&[]));
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(_) => {
                    return self
                        .bad("a line end or another control character inside a text; is a \" missing?");
                }
                None => {
                    self.at = start;
                    return self.bad("this text has no closing \"");
                }
            }
        }
        self.at += 1;
        if !escaped {
            return Ok(Cow::Borrowed(self.text.get(start + 1..self.at - 1).unwrap_or("")));
        }
        match serde_json::from_str::<String>(self.text.get(start..self.at).unwrap_or("")) {
            Ok(s) => Ok(Cow::Owned(s)),
            Err(_) => {
                self.at = start;
                self.bad("a wrong \\ in this text; write \\\\ for the character itself")
            }
        }
    }

    fn digits(&mut self) -> Result<()> {
        let from = self.at;
        while self.byte().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > from { Ok(()) } else { self.bad("a digit was expected") }
    }

    fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.byte() == Some(b'0');
        let from = self.at;
        self.digits()?;
        if zero && self.at - from > 1 {
            self.at = start;
            return self.bad("a number does not begin with 0");
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or("0"))
    }

    fn word(&mut self) -> Result<Kind<'a>> {
        let rest = self.text.get(self.at..).unwrap_or("");
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or("");
        let kind = match word {
            "null" => Kind::Null,
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            "NaN" | "nan" | "Infinity" | "inf" => {
                return self.bad("NaN and Infinity are no numbers: write an amount, or null");
            }
            "True" | "False" | "None" => {
                return self.bad("written as in Python: true, false and null are meant");
            }
            _ => return self.bad("a value was expected; texts stand in double quotes"),
        };
        self.at += end;
        Ok(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn plain(node: &Node<'_>) -> Value {
        match &node.kind {
            Kind::Null => Value::Null,
            Kind::Bool(b) => Value::Bool(*b),
            Kind::Number(n) => serde_json::from_str(n).expect("a number"),
            Kind::Text(t) => Value::String(t.to_string()),
            Kind::List(l) => Value::Array(l.iter().map(plain).collect()),
            Kind::Object(o) => {
                Value::Object(o.iter().map(|m| (m.key.to_string(), plain(&m.value))).collect())
            }
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
            ".{0,12}".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                proptest::collection::btree_map(".{0,8}", inner, 0..6)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn syntax_errors_say_what_to_do() {
        for (text, column, says) in [
            ("{\"a\": 1,}", 9, "remove it"),
            ("[1,]", 4, "remove it"),
            ("{a: 1}", 2, "double quotes"),
            ("{\"a\" 1}", 6, "a : was expected"),
            ("{\"a\": 'x'}", 7, "double quotes"),
            ("{\"a\": NaN}", 7, "NaN"),
            ("{\"a\": True}", 7, "Python"),
            ("{\"a\": .5}", 7, "a value was expected"),
            ("{\"a\": 05}", 7, "does not begin with 0"),
            ("{\"a\": 1", 8, "complete"),
            ("{\"a\": \"x", 7, "no closing"),
            ("{\"a\": \"x\ny\"}", 9, "control character"),
            ("{\"a\": \"\\x\"}", 7, "wrong \\"),
            ("{} {}", 4, "after the end"),
            ("// x\n{}", 1, "no comments"),
            ("{\"a\":1,\"a\":2}", 8, "stands twice"),
            ("", 1, "complete"),
        ] {
            let stop = read(text).expect_err(text);
            assert!(stop.text.contains(says), "{text}: {}", stop.text);
            assert_eq!(stop.at + 1, column, "{text}: {}", stop.text);
        }
    }

    #[test]
    fn depth_and_width_are_bounded() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(read(&deep(33)).is_ok());
        assert!(read(&deep(34)).expect_err("too deep").text.contains("32 levels"));
        assert!(read(&deep(60_000)).is_err());
        let wide =
            |n: usize| format!("{{{}}}", (0..n).map(|i| format!("\"{i}\":0")).collect::<Vec<_>>().join(","));
        assert!(read(&wide(256)).is_ok());
        assert!(read(&wide(257)).expect_err("too wide").text.contains("256 keys"));
    }

    #[test]
    fn positions_count_characters() {
        assert_eq!(position("ä\nöx", 5), (2, 2));
        assert_eq!(position("", 9), (1, 1));
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_writes(value in any_value()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("writes")] {
                let node = read(&text).expect("reads");
                prop_assert_eq!(plain(&node), serde_json::from_str::<Value>(&text).expect("reads"));
                prop_assert_eq!(text.get(node.at..node.end).expect("a span").trim(), text.as_str());
            }
        }

        #[test]
        fn plain_bytes_are_counted_rightly(bytes in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'"'), Just(b'\\'), any::<u8>()], 0..40)) {
            let slow = bytes.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).unwrap_or(bytes.len());
            prop_assert_eq!(plain_bytes(&bytes), slow);
        }

        #[test]
        fn refuses_what_serde_json_refuses(value in any_value(), at in 0usize..200, with in any::<char>()) {
            let mut text: Vec<char> = value.to_string().chars().collect();
            if let Some(c) = text.get_mut(at) { *c = with; }
            let text: String = text.into_iter().collect();
            match (serde_json::from_str::<Value>(&text), read(&text)) {
                (Err(e), Ok(_)) => prop_assert!(e.to_string().contains("out of range"), "{text}: {e}"),
                (Ok(_), Err(e)) => prop_assert!(e.text.contains("twice"), "{text}: {}", e.text),
                _ => {}
            }
        }
    }
}
