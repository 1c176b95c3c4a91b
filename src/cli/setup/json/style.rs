//! How a JSON text is laid out, and new members in that layout. Pure.

use std::ops::Range;

use super::read::Reader;
use super::{Dialect, Edit};

/// The layout of a text.
pub struct Style<'a> {
    text: &'a str,
    newline: &'static str,
    /// One step of indentation.
    unit: &'a str,
}

impl<'a> Style<'a> {
    pub fn of(text: &'a str) -> Style<'a> {
        let unit = text
            .lines()
            .filter(|line| !line.trim_start().starts_with(['*', '/']))
            .map(|line| {
                line.get(..line.len() - line.trim_start().len())
                    .unwrap_or_default()
            })
            .find(|indent| !indent.is_empty())
            .unwrap_or("  ");
        let newline = newline(text);
        Style {
            text,
            newline,
            unit,
        }
    }

    /// JSON that is indented by two spaces, with this text's line ends and indentation, at `indent`.
    pub fn fit(&self, json: &str, indent: &str) -> String {
        let line = |line: &str| {
            let content = line.trim_start_matches(' ');
            let steps = (line.len() - content.len()) / 2;
            format!("{}{content}", self.unit.repeat(steps))
        };
        let lines: Vec<_> = json.lines().map(line).collect();
        lines.join(&format!("{}{indent}", self.newline))
    }

    /// Adds `new` at the end of the object or array at `container`; `content` is where its first part begins and its last ends.
    pub fn append(
        &self,
        container: &Range<usize>,
        content: Option<(usize, usize)>,
        new: Vec<String>,
    ) -> Vec<Edit> {
        if new.is_empty() {
            return Vec::new();
        }
        let base = indent_at(self.text, container.start);
        let indent = match content {
            Some((first, _)) if self.starts_line(first) => indent_at(self.text, first).to_owned(),
            _ => format!("{base}{}", self.unit),
        };
        let mut edits = Vec::new();
        let mut at = container.start + 1;
        let mut comma = "";
        if let Some((_, last)) = content {
            at = last;
            let mut reader = self.reader(at);
            if reader.space().is_ok() && reader.peek() == Some(b',') {
                at = reader.at + 1;
                comma = ",";
            } else {
                edits.push(Edit::new(at..at, ","));
            }
        }
        // A comment on the same line belongs to what stands before it.
        let at = self.after_comments(at);
        let new = self.fit(&new.join(",\n"), &indent);
        let mut new = format!("{}{indent}{new}{comma}", self.newline);
        let next = self.after_blanks(at);
        if next + 1 == container.end {
            new.push_str(self.newline);
            new.push_str(base);
            edits.push(Edit::new(at..next, new));
        } else {
            edits.push(Edit::new(at..at, new));
        }
        edits
    }

    /// Whether nothing stands before this byte on its line.
    fn starts_line(&self, at: usize) -> bool {
        let before = self.text.get(..at).unwrap_or_default();
        before.trim_end_matches([' ', '\t']).ends_with('\n')
    }

    fn reader(&self, at: usize) -> Reader<'a> {
        Reader {
            text: self.text,
            at,
            dialect: Dialect::TrailingCommas,
            depth: 0,
        }
    }

    /// The end of the last comment that begins on this line, if any does.
    fn after_comments(&self, mut at: usize) -> usize {
        loop {
            let mut reader = self.reader(self.after_blanks(at));
            if reader.peek() != Some(b'/') || reader.comment().is_err() {
                return at;
            }
            at = reader.at;
        }
    }

    fn after_blanks(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        at + rest.len() - rest.trim_start_matches([' ', '\t']).len()
    }
}

/// The end of line this text uses.
pub fn newline(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text.as_bytes().get(at.wrapping_sub(1)) == Some(&b'\r') => "\r\n",
        _ => "\n",
    }
}

/// The spaces at the beginning of the line that holds this byte.
pub fn indent_at(text: &str, at: usize) -> &str {
    let before = text.get(..at).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(start..).unwrap_or_default();
    let end = line
        .find(|c: char| c != ' ' && c != '\t')
        .unwrap_or(line.len());
    line.get(..end).unwrap_or_default()
}
