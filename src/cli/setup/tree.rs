//! A configuration file as a tree of places in its text, the same for JSON, TOML and YAML. Pure.
//!
//! The readers (`json`, `toml`, `yaml`) only say where things stand; the text itself is never printed anew. A change is a
//! list of [`Edit`]s, so that what no edit touches stays byte for byte.
//!
//! Not done here: numbers, dates and the like have no value, only a place.

use std::ops::Range;

/// One value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its bytes in the text.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Names with values.
    Map(Vec<Member>),
    /// Values in a row.
    List(Vec<Node>),
    /// A string, unescaped.
    Text(String),
    /// Anything else.
    Other,
}

/// One name with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name, unescaped.
    pub key: String,
    /// Where the name begins.
    pub at: usize,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The members, if it is a map.
    pub fn members(&self) -> Option<&[Member]> {
        match &self.kind {
            Kind::Map(members) => Some(members),
            Kind::List(_) | Kind::Text(_) | Kind::Other => None,
        }
    }

    /// The items, if it is a list.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            Kind::Map(_) | Kind::Text(_) | Kind::Other => None,
        }
    }

    /// The text, if it is a string.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            Kind::Map(_) | Kind::List(_) | Kind::Other => None,
        }
    }
}

/// The member of this name.
///
/// # Errors
/// If there are two: which one counts is the client's secret.
pub fn member<'a>(members: &'a [Member], key: &str) -> Result<Option<&'a Member>, Trouble> {
    let mut found = members.iter().filter(|member| member.key == key);
    let first = found.next();
    match found.next() {
        Some(second) => Err(Trouble::new(second.at, format!("\"{key}\" stands twice"))),
        None => Ok(first),
    }
}

/// Why a text was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The byte where.
    pub at: usize,
    /// What is wrong.
    pub what: String,
}

impl Trouble {
    /// Something is wrong here.
    pub fn new(at: usize, what: impl Into<String>) -> Trouble {
        let what = what.into();
        Trouble { at, what }
    }

    /// The line it is in, from 1.
    pub fn line(&self, text: &str) -> usize {
        let before = text.as_bytes().get(..self.at.min(text.len()));
        1 + before
            .unwrap_or_default()
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
    }
}

/// Bytes that are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Which; an empty range is an insertion.
    pub span: Range<usize>,
    /// By what.
    pub with: String,
}

impl Edit {
    /// Puts text in.
    pub fn insert(at: usize, with: impl Into<String>) -> Edit {
        Edit::replace(at..at, with)
    }

    /// Puts text in the place of other text.
    pub fn replace(span: Range<usize>, with: impl Into<String>) -> Edit {
        let with = with.into();
        Edit { span, with }
    }
}

/// The text with all edits made. Edits that begin at the same byte are made in the order given.
///
/// # Errors
/// If two overlap or one lies outside the text: then the reader that made them is wrong.
pub fn apply(text: &str, mut edits: Vec<Edit>) -> Result<String, Trouble> {
    edits.sort_by_key(|edit| edit.span.start);
    let mut out = String::with_capacity(text.len() + 256);
    let mut done = 0;
    for edit in edits {
        let before = text.get(done..edit.span.start);
        let rest = text.get(edit.span.clone()).and(before);
        out.push_str(rest.ok_or_else(|| Trouble::new(done, "the changes overlap"))?);
        out.push_str(&edit.with);
        done = edit.span.end;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Ok(out)
}

/// The end of line this text uses.
pub fn newline(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text.as_bytes().get(at.wrapping_sub(1)) == Some(&b'\r') => "\r\n",
        _ => "\n",
    }
}

/// The text with this end of line, and these spaces at the beginning of every line but the first.
pub fn indented(block: &str, newline: &str, indent: &str) -> String {
    let between = format!("{newline}{indent}");
    block.lines().collect::<Vec<_>>().join(&between)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_touch_nothing_but_their_bytes() {
        let edits = vec![
            Edit::replace(4..5, "E"),
            Edit::insert(0, "<"),
            Edit::insert(6, ">"),
        ];
        assert_eq!(apply("abcdef", edits).unwrap(), "<abcdEf>");
        let overlapping = vec![Edit::replace(0..3, ""), Edit::replace(2..4, "")];
        assert!(apply("abcdef", overlapping).is_err());
        assert!(apply("abc", vec![Edit::insert(9, "")]).is_err());
    }

    #[test]
    fn the_style_of_a_text_is_found() {
        assert_eq!(
            (newline("a\r\nb"), newline("\na"), newline("")),
            ("\r\n", "\n", "\n")
        );
        assert_eq!(indent_at("a\n  b: c", 7), "  ");
        assert_eq!(indented("{\n}", "\r\n", "  "), "{\r\n  }");
        assert_eq!(Trouble::new(3, "x").line("a\nb\nc"), 2);
    }
}
