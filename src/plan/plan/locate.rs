//! Where a value of a JSON text stands: paths such as `a.b[2].c` → line and column.

/// Line and column (1-based) of the value at `path` in a text that is valid JSON; of the nearest parent where it is
/// not there.
pub(super) fn locate(text: &str, path: &str) -> (u32, u32) {
    let mut finder = Finder { bytes: text.as_bytes(), at: 0, best: (0, 0), wanted: path };
    finder.value(&mut String::new(), 0);
    position(text, finder.best.1)
}

/// Line and column (1-based) of a byte offset.
pub(super) fn position(text: &str, offset: usize) -> (u32, u32) {
    let before = text.get(..offset.min(text.len())).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

struct Finder<'a> {
    bytes: &'a [u8],
    at: usize,
    /// (length of the matching path, offset).
    best: (usize, usize),
    wanted: &'a str,
}

impl Finder<'_> {
    fn peek(&mut self) -> u8 {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn string(&mut self) -> String {
        let from = self.at;
        self.at += 1;
        while let Some(b) = self.bytes.get(self.at) {
            match b {
                b'\\' => self.at += 2,
                b'"' => break,
                _ => self.at += 1,
            }
        }
        self.at = (self.at + 1).min(self.bytes.len());
        self.bytes.get(from..self.at).and_then(|s| serde_json::from_slice(s).ok()).unwrap_or_default()
    }

    fn value(&mut self, path: &mut String, depth: u32) {
        let first = self.peek();
        if self.wanted.starts_with(path.as_str()) && path.len() >= self.best.0 {
            self.best = (path.len(), self.at);
        }
        // serde_json bounds the depth at 128; this only guards against being called on something else.
        if depth > 200 {
            return;
        }
        match first {
            b'{' => {
                self.at += 1;
                while self.peek() == b'"' {
                    let key = self.string();
                    self.peek();
                    self.at += 1;
                    let len = path.len();
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&key);
                    self.value(path, depth + 1);
                    path.truncate(len);
                    if self.peek() == b',' {
                        self.at += 1;
                    }
                }
                self.at += 1;
            }
            b'[' => {
                self.at += 1;
                let mut i = 0;
                while !matches!(self.peek(), b']' | 0) {
                    let (len, before) = (path.len(), self.at);
                    path.push_str(&format!("[{i}]"));
                    self.value(path, depth + 1);
                    path.truncate(len);
                    i += 1;
                    if self.peek() == b',' {
                        self.at += 1;
                    }
                    if self.at == before {
                        return;
                    }
                }
                self.at += 1;
            }
            b'"' => {
                self.string();
            }
            _ => {
                while self.bytes.get(self.at).is_some_and(|b| !b",]} \n\r\t".contains(b)) {
                    self.at += 1;
                }
            }
        }
    }
}
