//! What the user is told, line by line.

/// How a line reaches the user; the numbers are those of `burst_spank.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Begins an error.
    Error = 0,
    /// Continues an error.
    More = 1,
    /// Worth knowing; submission goes on.
    Info = 2,
}

/// One line for the user's terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How it is shown.
    pub how: How,
    /// Printable text without line breaks.
    pub text: String,
}

/// Most lines of one report: a plan with an error in each line must not scroll the first one away.
const MOST: usize = 60;

/// Text that may quote a user's file becomes lines without control characters (no terminal escapes).
/// The first has the level `how`; what follows it continues it.
pub fn lines(how: How, text: &str) -> Vec<Line> {
    let rest = if how == How::Error { How::More } else { how };
    let mut out: Vec<Line> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(MOST)
        .enumerate()
        .map(|(i, line)| Line { how: if i == 0 { how } else { rest }, text: printable(line) })
        .collect();
    let all = text.lines().filter(|line| !line.trim().is_empty()).count();
    if all > MOST {
        out.push(Line { how: rest, text: format!("... and {} more lines", all.saturating_sub(MOST)) });
    }
    out
}

/// Control characters become spaces (tab) or a visible mark.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}
