//! The lines of a YAML document: which belongs to which, by its indentation. Pure.
//!
//! What a reader refuses, and why, is told in the file above this one.

use super::super::tree::{Kind, Member, Node, Trouble};
use super::Read;
use super::scalar::plain_end;

/// Reads a whole text; `None` if there is nothing but space and comments in it.
///
/// # Errors
/// If it is not understood.
pub fn read(text: &str) -> Read<Option<Node>> {
    let mut reader = Reader {
        text,
        at: if text.starts_with('\u{feff}') { 3 } else { 0 },
        depth: 0,
        begun: false,
    };
    let Some(mut column) = reader.next_line()? else {
        return Ok(None);
    };
    if reader.is_marker("---") {
        reader.at += 3;
        reader.line_end()?;
        match reader.next_line()? {
            Some(next) => column = next,
            None => return Ok(None),
        }
    }
    reader.begun = true;
    let node = reader.block(column, None)?;
    match reader.next_line()? {
        None => Ok(Some(node)),
        Some(_) => Err(reader.trouble("this line belongs to nothing above it")),
    }
}

/// The way through the text.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) depth: usize,
    /// Whether the document has begun, so that a marker begins another.
    begun: bool,
}

/// Deeper is no configuration file.
const DEEPEST: usize = 60;

impl<'a> Reader<'a> {
    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// What is left of this line.
    pub(super) fn line(&self) -> &'a str {
        let rest = self.rest();
        let line = rest
            .get(..rest.find('\n').unwrap_or(rest.len()))
            .unwrap_or(rest);
        line.strip_suffix('\r').unwrap_or(line)
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn trouble(&self, what: &str) -> Trouble {
        Trouble::new(self.at, what)
    }

    pub(super) fn deeper(&mut self) -> Read<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            Err(self.trouble("it is nested too deep"))
        } else {
            Ok(())
        }
    }

    pub(super) fn column(&self) -> usize {
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        line.trim_start_matches('\u{feff}').len()
    }

    pub(super) fn is_marker(&self, marker: &str) -> bool {
        let after = self.line().strip_prefix(marker);
        self.column() == 0 && after.is_some_and(|after| after.is_empty() || after.starts_with(' '))
    }

    /// To the first letter of the next line that says something; its column.
    pub(super) fn next_line(&mut self) -> Read<Option<usize>> {
        loop {
            let line = self.line();
            let content = line.trim_start_matches(' ');
            self.at += line.len() - content.len();
            if content.starts_with('\t') {
                return Err(self.trouble("a tab stands where spaces should"));
            }
            let content = content.trim_start();
            if content.is_empty() || content.starts_with('#') {
                let rest = self.rest();
                match rest.find('\n') {
                    Some(end) => self.at += end + 1,
                    None => {
                        self.at = self.text.len();
                        return Ok(None);
                    }
                }
                continue;
            }
            if self.begun && (self.is_marker("---") || self.is_marker("...")) {
                return Err(self.trouble("a second document begins here"));
            }
            return Ok(Some(self.column()));
        }
    }

    /// Past blanks and a comment: then the line must be over.
    pub(super) fn line_end(&mut self) -> Read<()> {
        let line = self.line();
        let rest = line.trim_start_matches(' ');
        let blank = line.len() > rest.len() || self.column() == 0;
        if !(rest.is_empty() || rest.starts_with('#') && blank) {
            self.at += line.len() - rest.len();
            return Err(self.trouble("something stands after the end of a value"));
        }
        self.at += line.len();
        Ok(())
    }

    pub(super) fn blanks(&mut self) {
        let line = self.line();
        self.at += line.len() - line.trim_start_matches(' ').len();
    }

    /// Whether nothing but a comment is left on the line.
    pub(super) fn is_line_over(&self) -> bool {
        let line = self.line();
        let rest = line.trim_start_matches(' ');
        rest.is_empty()
            || rest.starts_with('#')
                && (rest.len() < line.len()
                    || self
                        .text
                        .get(..self.at)
                        .is_some_and(|before| before.ends_with(' ')))
    }

    pub(super) fn is_item(&self) -> bool {
        self.line()
            .strip_prefix('-')
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }

    /// What begins here, at this column. `parent`: the column of what it belongs to.
    pub(super) fn block(&mut self, column: usize, parent: Option<usize>) -> Read<Node> {
        self.deeper()?;
        let start = self.at;
        let node = if self.is_item() {
            let items = self.list(column)?;
            let end = items.last().map_or(start, |item: &Node| item.span.end);
            Node {
                span: start..end,
                kind: Kind::List(items),
            }
        } else if self.key()?.is_some() {
            self.at = start;
            let members = self.map(column)?;
            let end = members.last().map_or(start, |last| last.value.span.end);
            Node {
                span: start..end,
                kind: Kind::Map(members),
            }
        } else {
            self.at = start;
            let node = self.scalar(parent)?;
            self.line_end()?;
            node
        };
        self.depth -= 1;
        Ok(node)
    }

    pub(super) fn list(&mut self, column: usize) -> Read<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            self.at += 1;
            let item = if self.is_line_over() {
                self.below(column, false)?
            } else {
                self.blanks();
                self.inline(column)?
            };
            items.push(item);
            if !self.goes_on(column, true)? {
                return Ok(items);
            }
        }
    }

    pub(super) fn map(&mut self, column: usize) -> Read<Vec<Member>> {
        let mut members: Vec<Member> = Vec::new();
        loop {
            let at = self.at;
            let key = self
                .key()?
                .ok_or_else(|| Trouble::new(at, "a \"name: value\" should be here"))?;
            if members.iter().any(|member| member.key == key) {
                return Err(Trouble::new(at, format!("\"{key}\" stands twice")));
            }
            let value = if self.is_line_over() {
                self.below(column, true)?
            } else {
                self.blanks();
                let node = match self.peek() {
                    Some(b'|' | b'>') => self.block_string(column)?,
                    _ => self.scalar(Some(column))?,
                };
                self.line_end()?;
                node
            };
            members.push(Member { key, at, value });
            if !self.goes_on(column, false)? {
                return Ok(members);
            }
        }
    }

    /// The content of an item that begins on the line of its dash.
    pub(super) fn inline(&mut self, column: usize) -> Read<Node> {
        if matches!(self.peek(), Some(b'|' | b'>')) {
            let node = self.block_string(column)?;
            self.line_end()?;
            return Ok(node);
        }
        self.block(self.column(), Some(column))
    }

    /// What stands below a name or dash at this column, if anything does. A list may stand right below its name.
    pub(super) fn below(&mut self, column: usize, named: bool) -> Read<Node> {
        let nothing = Node {
            span: self.at..self.at,
            kind: Kind::Other,
        };
        self.line_end()?;
        let back = self.at;
        match self.next_line()? {
            Some(next) if next > column || named && next == column && self.is_item() => {
                self.block(next, Some(column))
            }
            _ => {
                self.at = back;
                Ok(nothing)
            }
        }
    }

    /// Whether the next line goes on at this column.
    pub(super) fn goes_on(&mut self, column: usize, list: bool) -> Read<bool> {
        let back = self.at;
        match self.next_line()? {
            Some(next) if next > column => Err(self.trouble("this line is indented too far")),
            Some(next) if next == column && self.is_item() == list => Ok(true),
            _ => {
                self.at = back;
                Ok(false)
            }
        }
    }

    /// A name with its colon, if this is one; else the place is not changed in a way that matters.
    pub(super) fn key(&mut self) -> Read<Option<String>> {
        let key = match self.peek() {
            Some(b'"' | b'\'') => {
                let quoted = self.quoted()?;
                let Kind::Text(key) = quoted.kind else {
                    return Ok(None);
                };
                key
            }
            Some(b'?') if matches!(self.line().as_bytes().get(1), None | Some(b' ')) => {
                return Err(self.trouble("a name that begins with \"?\" is not understood"));
            }
            Some(b'[' | b'{') => return Ok(None),
            _ => {
                let line = self.line();
                let end = plain_end(line, false);
                let plain = line.get(..end).unwrap_or_default();
                self.sigil(plain)?;
                self.at += end;
                plain.trim_end().to_owned()
            }
        };
        self.blanks();
        let colon = self
            .line()
            .strip_prefix(':')
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        if !colon || key.is_empty() {
            return Ok(None);
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Refuses what means something else than it says.
    pub(super) fn sigil(&self, plain: &str) -> Read<()> {
        if plain.contains('\t') {
            return Err(self.trouble("a tab stands where spaces should"));
        }
        match plain.chars().next() {
            Some(c @ ('&' | '*' | '!' | '%' | '@' | '`' | '|' | '>' | ']' | '}' | ',')) => {
                Err(self.trouble(&format!("a \"{c}\" is not understood here")))
            }
            _ => Ok(()),
        }
    }
}
