//! The lines of a TOML document: headers, names, comments. Pure.
//!
//! Spec: TOML 1.0.

use super::super::tree::{Member, Trouble};
use super::Read;

/// A header and what stands below it. The first has no header and holds what stands above all others.
#[derive(Debug)]
pub struct Table {
    /// The name, taken apart at its dots.
    pub path: Vec<String>,
    /// Where the header begins.
    pub at: usize,
    /// The end of the last thing below it.
    pub end: usize,
    /// Whether it is `[[one of many]]`.
    pub many: bool,
    /// What stands below it; a dotted key is one key here, its parts joined by line ends, which no key holds.
    pub members: Vec<Member>,
}

/// Reads a whole text.
///
/// # Errors
/// If it is not TOML.
pub fn read(text: &str) -> Read<Vec<Table>> {
    let mut reader = Reader {
        text,
        at: if text.starts_with('\u{feff}') { 3 } else { 0 },
        depth: 0,
    };
    let mut table = Table {
        path: Vec::new(),
        at: reader.at,
        end: reader.at,
        many: false,
        members: Vec::new(),
    };
    let mut tables = Vec::new();
    let mut seen = Vec::new();
    loop {
        reader.space(true)?;
        match reader.peek() {
            None => {
                tables.push(table);
                return Ok(tables);
            }
            Some(b'[') => {
                tables.push(table);
                table = reader.header()?;
                once(&table, &mut seen)?;
            }
            Some(_) => {
                let member = reader.member()?;
                if table.members.iter().any(|old| old.key == member.key) {
                    return Err(Trouble::new(
                        member.at,
                        format!("\"{}\" stands twice", member.key.replace('\n', ".")),
                    ));
                }
                table.members.push(member);
            }
        }
        table.end = reader.at;
        reader.space(false)?;
        if !matches!(reader.peek(), None | Some(b'\n' | b'\r')) {
            return Err(reader.trouble("something stands after the end of a value or header"));
        }
    }
}

/// Refuses a table that stands twice; each `[[element]]` of a list begins its own tables.
fn once(table: &Table, seen: &mut Vec<Vec<String>>) -> Read<()> {
    if table.many {
        seen.retain(|path| !path.starts_with(&table.path) || path.len() == table.path.len());
    } else if seen.contains(&table.path) {
        let what = format!("[{}] stands twice", table.path.join("."));
        return Err(Trouble::new(table.at, what));
    } else {
        seen.push(table.path.clone());
    }
    Ok(())
}

/// The way through the text.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) depth: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn trouble(&self, what: &str) -> Trouble {
        Trouble::new(self.at, what)
    }

    /// Past spaces and comments; with `lines`, past the ends of lines too.
    pub(super) fn space(&mut self, lines: bool) -> Read<()> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\n') if lines => self.at += 1,
                Some(b'\r') if self.rest().starts_with("\r\n") => {
                    if !lines {
                        return Ok(());
                    }
                    self.at += 2;
                }
                Some(b'\r') => return Err(self.trouble("a line ends with a carriage return alone")),
                Some(b'#') => {
                    let line = self.rest();
                    let line = line
                        .get(..line.find('\n').unwrap_or(line.len()))
                        .unwrap_or(line);
                    self.at += line.trim_end_matches('\r').len();
                }
                _ => return Ok(()),
            }
        }
    }

    pub(super) fn sign(&mut self, what: &str) -> Read<()> {
        if !self.rest().starts_with(what) {
            return Err(self.trouble(&format!("a \"{what}\" should be here")));
        }
        self.at += what.len();
        Ok(())
    }

    pub(super) fn header(&mut self) -> Read<Table> {
        let at = self.at;
        let many = self.rest().starts_with("[[");
        self.at += if many { 2 } else { 1 };
        let path = self.key()?;
        self.sign(if many { "]]" } else { "]" })?;
        Ok(Table {
            path,
            at,
            end: self.at,
            many,
            members: Vec::new(),
        })
    }

    pub(super) fn member(&mut self) -> Read<Member> {
        let at = self.at;
        let key = self.key()?.join("\n");
        self.sign("=")?;
        self.space(false)?;
        let value = self.value()?;
        Ok(Member { key, at, value })
    }

    /// A key with its dots, and the spaces around it.
    pub(super) fn key(&mut self) -> Read<Vec<String>> {
        let mut path = Vec::new();
        loop {
            self.space(false)?;
            let start = self.at;
            match self.peek() {
                Some(b'"') if !self.rest().starts_with("\"\"\"") => path.push(self.basic()?),
                Some(b'\'') if !self.rest().starts_with("'''") => path.push(self.literal()?),
                _ => {
                    while self
                        .peek()
                        .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                    {
                        self.at += 1;
                    }
                    if self.at == start {
                        return Err(self.trouble("a name should be here"));
                    }
                    path.push(self.text.get(start..self.at).unwrap_or_default().to_owned());
                }
            }
            self.space(false)?;
            if self.peek() != Some(b'.') {
                return Ok(path);
            }
            self.at += 1;
        }
    }
}
