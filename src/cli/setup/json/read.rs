//! The values of a JSON document and where they stand. Pure.
//!
//! Spec: RFC 8259.

use super::{Dialect, Kind, Member, Node, SyntaxError};

type Read<T> = Result<T, SyntaxError>;

/// Reads a whole text; `None` if there is nothing but space (and comments) in it.
///
/// # Errors
/// If it is not JSON.
pub fn read(text: &str, dialect: Dialect) -> Read<Option<Node>> {
    let mut reader = Reader {
        text,
        at: if text.starts_with('\u{feff}') { 3 } else { 0 },
        dialect,
        depth: 0,
    };
    reader.space()?;
    if reader.peek().is_none() {
        return Ok(None);
    }
    let node = reader.value()?;
    reader.space()?;
    match reader.peek() {
        None => Ok(Some(node)),
        Some(_) => Err(reader.error("something stands after the end")),
    }
}

/// A position in a text.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) dialect: Dialect,
    pub(super) depth: usize,
}

const MAX_DEPTH: usize = 100;

impl Reader<'_> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn error(&self, what: &str) -> SyntaxError {
        SyntaxError::new(self.at, what)
    }

    pub(super) fn space(&mut self) -> Read<()> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(b'/') if self.dialect != Dialect::Strict => self.comment()?,
                Some(b'/') => {
                    return Err(self.error("a comment, which this client does not read"));
                }
                _ => return Ok(()),
            }
        }
    }

    pub(super) fn comment(&mut self) -> Read<()> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = if rest.starts_with("//") {
            rest.find(['\r', '\n']).unwrap_or(rest.len())
        } else if let Some(inner) = rest.strip_prefix("/*") {
            inner
                .find("*/")
                .map(|end| end + 4)
                .ok_or_else(|| self.error("a comment is not closed"))?
        } else {
            return Err(self.error("a \"/\" where a value or name should be"));
        };
        self.at += length;
        Ok(())
    }

    fn value(&mut self) -> Read<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("it is nested too deep"));
        }
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => Kind::Object(self.object()?),
            Some(b'[') => Kind::Array(self.array()?),
            Some(b'"') => Kind::String(self.string()?),
            Some(_) => self.word()?,
            None => return Err(self.error("it ends where a value should be")),
        };
        self.depth -= 1;
        Ok(Node {
            span: start..self.at,
            kind,
        })
    }

    fn object(&mut self) -> Read<Vec<Member>> {
        let mut members = Vec::new();
        self.at += 1;
        while self.goes_on(b'}', members.is_empty())? {
            let at = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.error("a name in quotes should be here"));
            }
            let key = self.string()?;
            self.space()?;
            if self.peek() != Some(b':') {
                return Err(self.error("a \":\" should be here"));
            }
            self.at += 1;
            self.space()?;
            let value = self.value()?;
            members.push(Member { key, at, value });
        }
        Ok(members)
    }

    fn array(&mut self) -> Read<Vec<Node>> {
        let mut items = Vec::new();
        self.at += 1;
        while self.goes_on(b']', items.is_empty())? {
            items.push(self.value()?);
        }
        Ok(items)
    }

    /// Past the comma to what follows, or past the closing bracket.
    fn goes_on(&mut self, close: u8, first: bool) -> Read<bool> {
        self.space()?;
        if !first && self.peek() != Some(close) {
            if self.peek() != Some(b',') {
                return Err(self.error(&format!("a \",\" or \"{}\" should be here", close as char)));
            }
            self.at += 1;
            self.space()?;
            if self.peek() == Some(close) && self.dialect != Dialect::TrailingCommas {
                return Err(
                    self.error("a comma with nothing after it, which this client does not read")
                );
            }
        }
        let over = self.peek() == Some(close);
        self.at += usize::from(over);
        Ok(!over)
    }

    fn string(&mut self) -> Read<String> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(byte) if byte >= b' ' => self.at += 1,
                _ => {
                    return Err(SyntaxError::new(
                        start,
                        "a string is not closed on its line",
                    ));
                }
            }
        }
        self.at += 1;
        self.leaf(start, "an escape in a string is wrong")
    }

    fn word(&mut self) -> Read<Kind> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        {
            self.at += 1;
        }
        let value = self.leaf::<serde_json::Value>(start, "a value should be here")?;
        Ok(if value.is_null() {
            Kind::Null
        } else {
            Kind::Other
        })
    }

    fn leaf<T: serde::de::DeserializeOwned>(&self, start: usize, what: &str) -> Read<T> {
        let text = self.text.get(start..self.at).unwrap_or_default();
        serde_json::from_str(text).map_err(|_| SyntaxError::new(start, what))
    }
}
