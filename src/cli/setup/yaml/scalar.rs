//! The values of a YAML document: strings of each kind, and what stands in brackets. Pure.
//!
//! Spec: YAML 1.2.2, chapters 7 and 8.1.

use super::super::tree::{Kind, Member, Node, Trouble};
use super::Read;
use super::read::Reader;

impl Reader<'_> {
    /// A string or something in brackets; one without quotes goes on in lines that stand further right than `parent`.
    pub(super) fn scalar(&mut self, parent: Option<usize>) -> Read<Node> {
        let start = self.at;
        match self.peek() {
            Some(b'"' | b'\'') => return self.quoted(),
            Some(b'[' | b'{') => return self.flow(),
            _ => {}
        }
        let mut kind = None;
        loop {
            let line = self.line();
            let end = plain_end(line, false);
            let plain = line.get(..end).unwrap_or_default().trim_end();
            self.sigil(if kind.is_none() { plain } else { "" })?;
            self.at += plain.len();
            if line.get(end..).is_some_and(|rest| rest.starts_with(':')) {
                return Err(self.trouble("a \":\" stands inside a value without quotes"));
            }
            kind = Some(if kind.is_none() {
                Kind::Text(plain.to_owned())
            } else {
                Kind::Other
            });
            let back = self.at;
            if line.len() > line.trim_end().len().max(plain.len())
                && line.trim_end().len() > plain.len()
            {
                break; // a comment ends it
            }
            self.at += line.len() - plain.len();
            let blank_before = self.rest().starts_with(['\n', '\r']);
            let further = match self.next_line() {
                Ok(Some(column)) => parent.is_none_or(|parent| column > parent) && blank_before,
                Ok(None) => false,
                Err(error) => return Err(error),
            };
            let between = self.text.get(back..self.at).unwrap_or_default();
            if !further || between.contains('#') {
                self.at = back;
                break;
            }
        }
        Ok(Node {
            span: start..self.at,
            kind: kind.unwrap_or(Kind::Other),
        })
    }

    pub(super) fn quoted(&mut self) -> Read<Node> {
        let start = self.at;
        let double = self.peek() == Some(b'"');
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(Trouble::new(start, "a string is not closed")),
                Some(b'\\') if double => self.at += 2,
                Some(b'\'') if !double && self.rest().starts_with("''") => self.at += 2,
                Some(b'"') if double => break,
                Some(b'\'') if !double => break,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        let written = self.text.get(start..self.at).unwrap_or_default();
        let inner = written.get(1..written.len() - 1).unwrap_or_default();
        let kind = if written.contains('\n') {
            Kind::Other
        } else if double {
            serde_json::from_str(written).map_or(Kind::Other, Kind::Text)
        } else {
            Kind::Text(inner.replace("''", "'"))
        };
        Ok(Node {
            span: start..self.at,
            kind,
        })
    }

    /// A string below its `|` or `>`: all lines that stand further right than its name.
    pub(super) fn block_string(&mut self, column: usize) -> Read<Node> {
        let start = self.at;
        let header = self.line().get(1..).unwrap_or_default();
        let marks = header.trim_start_matches(|c: char| matches!(c, '+' | '-' | '1'..='9'));
        let marked = header.get(..header.len() - marks.len()).unwrap_or_default();
        let keeps = marked.contains('+');
        let says = marked.contains(|c: char| c.is_ascii_digit());
        self.at += 1 + header.len() - marks.len();
        self.line_end()?;
        let mut end = self.at;
        // Where its text begins, known from the first line of it unless the header says so.
        let mut begins = None;
        while let Some(newline) = self.rest().find('\n') {
            let back = self.at;
            self.at += newline + 1;
            let line = self.line();
            let content = line.trim_start_matches(' ');
            let blank = content.trim().is_empty();
            let indent = line.len() - content.len();
            if !blank && indent <= column {
                self.at = back;
                break;
            }
            if !blank && !says && indent < *begins.get_or_insert(indent) {
                return Err(
                    self.trouble("this line stands further left than the text it belongs to")
                );
            }
            self.at += line.len();
            if !blank || keeps {
                end = self.at;
            }
        }
        self.at = end;
        Ok(Node {
            span: start..end,
            kind: Kind::Other,
        })
    }

    pub(super) fn flow(&mut self) -> Read<Node> {
        self.deeper()?;
        let start = self.at;
        let map = self.peek() == Some(b'{');
        let close = if map { b'}' } else { b']' };
        self.at += 1;
        let (mut items, mut members) = (Vec::new(), Vec::new());
        loop {
            self.flow_space()?;
            match self.peek() {
                Some(byte) if byte == close => break,
                Some(b',') if !(items.is_empty() && members.is_empty()) => {
                    self.at += 1;
                    self.flow_space()?;
                    if self.peek() == Some(close) {
                        break;
                    }
                }
                _ if items.is_empty() && members.is_empty() => {}
                _ => {
                    return Err(
                        self.trouble(&format!("a \",\" or \"{}\" should be here", close as char))
                    );
                }
            }
            let at = self.at;
            let first = self.flow_value()?;
            self.flow_space()?;
            if self.peek() == Some(b':') {
                self.at += 1;
                self.flow_space()?;
                let value = self.flow_value()?;
                let key = first.text().unwrap_or_default().to_owned();
                members.push(Member { key, at, value });
            } else if map {
                return Err(self.trouble("a \":\" should be here"));
            } else {
                items.push(first);
            }
        }
        self.at += 1;
        self.depth -= 1;
        let kind = match (map, members.is_empty()) {
            (true, _) => Kind::Map(members),
            (false, true) => Kind::List(items),
            (false, false) => Kind::Other,
        };
        Ok(Node {
            span: start..self.at,
            kind,
        })
    }

    pub(super) fn flow_value(&mut self) -> Read<Node> {
        match self.peek() {
            Some(b'"' | b'\'') => self.quoted(),
            Some(b'[' | b'{') => self.flow(),
            _ => {
                let start = self.at;
                let line = self.line();
                let plain = line
                    .get(..plain_end(line, true))
                    .unwrap_or_default()
                    .trim_end();
                if plain.is_empty() {
                    return Err(self.trouble("a value should be here"));
                }
                self.sigil(plain)?;
                self.at += plain.len();
                Ok(Node {
                    span: start..self.at,
                    kind: Kind::Text(plain.to_owned()),
                })
            }
        }
    }

    /// Past spaces, ends of lines and comments inside brackets.
    pub(super) fn flow_space(&mut self) -> Read<()> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(b'#') => self.at += self.line().len(),
                Some(_) => return Ok(()),
                None => return Err(self.trouble("a bracket is not closed")),
            }
        }
    }
}

/// Where a string without quotes ends on its line: before a comment, before a colon that ends a name, and inside brackets
/// before what parts values.
pub(super) fn plain_end(line: &str, flow: bool) -> usize {
    let bytes = line.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let next = bytes.get(at + 1).copied();
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        let ends = match byte {
            b'#' => matches!(before, None | Some(b' ')),
            b':' => {
                matches!(next, None | Some(b' '))
                    || flow && matches!(next, Some(b',' | b'[' | b']' | b'{' | b'}'))
            }
            b',' | b'[' | b']' | b'{' | b'}' => flow,
            _ => false,
        };
        if ends {
            return at;
        }
    }
    line.len()
}
