//! The values of a TOML document: strings of each kind, lists, inline tables. Pure.
//!
//! Spec: TOML 1.0.

use super::super::tree::{Kind, Node, Trouble};
use super::Read;
use super::read::Reader;

/// Deeper is no configuration file.
const DEEPEST: usize = 100;

impl Reader<'_> {
    pub(super) fn value(&mut self) -> Read<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.trouble("it is nested too deep"));
        }
        let start = self.at;
        let rest = self.rest();
        let kind = match self.peek() {
            Some(b'"') if rest.starts_with("\"\"\"") => self.long("\"\"\"")?,
            Some(b'\'') if rest.starts_with("'''") => self.long("'''")?,
            Some(b'"') => Kind::Text(self.basic()?),
            Some(b'\'') => Kind::Text(self.literal()?),
            Some(b'[') => {
                let mut items = Vec::new();
                self.at += 1;
                while self.goes_on("]", items.is_empty())? {
                    items.push(self.value()?);
                }
                Kind::List(items)
            }
            Some(b'{') => {
                let mut members = Vec::new();
                self.at += 1;
                while self.goes_on("}", members.is_empty())? {
                    members.push(self.member()?);
                }
                Kind::Map(members)
            }
            _ => self.word()?,
        };
        self.depth -= 1;
        Ok(Node {
            span: start..self.at,
            kind,
        })
    }

    /// Past the comma to what follows, or past the closing bracket.
    pub(super) fn goes_on(&mut self, close: &str, first: bool) -> Read<bool> {
        self.space(true)?;
        if !first && !self.rest().starts_with(close) {
            self.sign(",")?;
            self.space(true)?;
        }
        let over = self.rest().starts_with(close);
        self.at += if over { close.len() } else { 0 };
        Ok(!over)
    }

    pub(super) fn basic(&mut self) -> Read<String> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let Some(c) = self
                .rest()
                .chars()
                .next()
                .filter(|c| !matches!(c, '\n' | '\r'))
            else {
                return Err(Trouble::new(start, "a string is not closed on its line"));
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(out),
                '\\' => out.push(self.escape()?),
                c => out.push(c),
            }
        }
    }

    pub(super) fn escape(&mut self) -> Read<char> {
        let at = self.at;
        let wrong = || Trouble::new(at, "an escape in a string is wrong");
        let letter = self.peek().ok_or_else(wrong)?;
        self.at += 1;
        let digits = match letter {
            b'b' => return Ok('\u{8}'),
            b't' => return Ok('\t'),
            b'n' => return Ok('\n'),
            b'f' => return Ok('\u{c}'),
            b'r' => return Ok('\r'),
            b'e' => return Ok('\u{1b}'),
            b'"' => return Ok('"'),
            b'\\' => return Ok('\\'),
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => return Err(wrong()),
        };
        let hex = self
            .rest()
            .get(..digits)
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        self.at += digits;
        hex.and_then(|hex| u32::from_str_radix(hex, 16).ok())
            .and_then(char::from_u32)
            .ok_or_else(wrong)
    }

    pub(super) fn literal(&mut self) -> Read<String> {
        let rest = self.rest().get(1..).unwrap_or_default();
        let line = rest
            .get(..rest.find(['\n', '\r']).unwrap_or(rest.len()))
            .unwrap_or(rest);
        let end = line
            .find('\'')
            .ok_or_else(|| self.trouble("a string is not closed on its line"))?;
        self.at += end + 2;
        Ok(line.get(..end).unwrap_or_default().to_owned())
    }

    /// A string over many lines. No argument is written so; its value is not needed.
    pub(super) fn long(&mut self, quotes: &str) -> Read<Kind> {
        let start = self.at;
        self.at += 3;
        loop {
            let rest = self.rest();
            if rest.starts_with(quotes) {
                // Up to two quotes may stand before the three that end it.
                let quote = quotes.get(..1).unwrap_or_default();
                let run = rest.len() - rest.trim_start_matches(quote).len();
                self.at += run.min(5);
                return Ok(Kind::Other);
            }
            let c = rest
                .chars()
                .next()
                .ok_or_else(|| Trouble::new(start, "a string is not closed"))?;
            self.at += c.len_utf8();
            if c == '\\' && quotes.starts_with('"') {
                let blanks = self.rest();
                let line_ends = blanks
                    .trim_start_matches([' ', '\t'])
                    .starts_with(['\n', '\r']);
                if !line_ends {
                    self.escape()?;
                }
            }
        }
    }

    /// A number, a date or a truth value.
    pub(super) fn word(&mut self) -> Read<Kind> {
        let rest = self.rest();
        let letter = |c: char| c.is_ascii_alphanumeric() || "+-_.:".contains(c);
        let mut end = rest.find(|c| !letter(c)).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or_default();
        let number = word.trim_start_matches(['+', '-']);
        let fits = matches!(word, "true" | "false")
            || matches!(number, "inf" | "nan")
            || number.starts_with(|c: char| c.is_ascii_digit());
        if !fits {
            return Err(self.trouble("a value should be here"));
        }
        // A date and a time may be parted by one space.
        let time = rest.get(end..).unwrap_or_default();
        if end == 10 && word.matches('-').count() == 2 && time.starts_with(' ') {
            let time = time.get(1..).unwrap_or_default();
            let length = time.find(|c| !letter(c)).unwrap_or(time.len());
            if time.starts_with(|c: char| c.is_ascii_digit()) {
                end += 1 + length;
            }
        }
        self.at += end;
        Ok(Kind::Other)
    }
}
