//! Server-Sent Events parser, fed any chunks. Pure.
//!
//! - Lines end with CR, LF or CRLF; a byte order mark is skipped once; lines that start with a colon are comments.
//! - `data` lines of one event are joined with a newline; an event is complete at its blank line.
//! - An `id` holding NUL is ignored; `retry` counts only if it is all digits. An unfinished last event is dropped.
//! - Invalid UTF-8 is replaced. Time is linear; an event is held in memory once.
//!
//! Spec: WHATWG HTML 9.2.5 (Parsing an event stream), 9.2.6 (Interpreting an event stream).
//! Different on purpose: an event without data is given out too if it sets an id, since MCP servers prime streams so
//! (2025-11-25 basic/transports, Sending Messages to the Server, 6).

use std::borrow::Cow;
use std::time::Duration;

use crate::transport::backpressure::make_room;

/// An item of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An event.
    Event(Event),
    /// The time to wait before reconnecting.
    Retry(Duration),
}

impl Item {
    /// The bytes of its data.
    pub fn size(&self) -> usize {
        match self {
            Item::Event(event) => event.data.len(),
            Item::Retry(_) => 0,
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` if it has none.
    pub name: Cow<'static, str>,
    /// The id it sets, if it sets one.
    pub id: Option<String>,
    /// Its data; empty only if it sets an id.
    pub data: String,
}

/// An event, or a line, is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// The parser.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    line: Vec<u8>,
    first_line: bool,
    after_cr: bool,
    name: String,
    id: Option<String>,
    data: Vec<u8>,
    has_data: bool,
}

impl Parser {
    /// A parser for a new stream; no event and no line may be longer than `limit` bytes.
    pub fn new(limit: usize) -> Parser {
        Parser {
            limit,
            line: Vec::new(),
            first_line: true,
            after_cr: false,
            name: String::new(),
            id: None,
            data: Vec::new(),
            has_data: false,
        }
    }

    /// Takes the next bytes of the stream; returns the items they complete.
    ///
    /// # Errors
    /// If an event or a line is longer than the limit. The stream cannot be used any more.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Vec<Item>, TooLong> {
        let mut items = Vec::new();
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr)
                && let Some(rest) = bytes.strip_prefix(b"\n")
            {
                bytes = rest;
                continue;
            }
            let Some(end) = memchr::memchr2(b'\r', b'\n', bytes) else {
                self.extend_line(bytes)?;
                break;
            };
            let (part, rest) = bytes.split_at(end);
            self.after_cr = rest.first() == Some(&b'\r');
            bytes = rest.get(1..).unwrap_or_default();
            if self.line.is_empty() && !self.first_line {
                // The whole line came at once.
                self.check_length(part.len())?;
                self.field(part, &mut items);
                continue;
            }
            self.extend_line(part)?;
            let line = std::mem::take(&mut self.line);
            self.end_of_line(line, &mut items);
        }
        Ok(items)
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        self.check_length(self.line.len().saturating_add(bytes.len()))?;
        make_room(&mut self.line, bytes.len(), self.limit.saturating_add(64));
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn check_length(&self, line: usize) -> Result<(), TooLong> {
        // A field name and its colon come on top of the data.
        let fits = line.saturating_add(self.data.len()) <= self.limit.saturating_add(64);
        if fits { Ok(()) } else { Err(TooLong) }
    }

    fn end_of_line(&mut self, mut line: Vec<u8>, items: &mut Vec<Item>) {
        if std::mem::take(&mut self.first_line) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if !self.has_data && line.len() > 64 * 1024 && line.starts_with(b"data:") {
            // A large event is moved, not copied.
            let start = if line.get(5) == Some(&b' ') { 6 } else { 5 };
            line.drain(..start);
            self.data = line;
            self.has_data = true;
        } else {
            self.field(&line, items);
        }
    }

    /// Interprets a line.
    fn field(&mut self, line: &[u8], items: &mut Vec<Item>) {
        if line.is_empty() {
            items.extend(self.dispatch());
            return;
        }
        let colon = memchr::memchr(b':', line);
        let name = line.get(..colon.unwrap_or(line.len())).unwrap_or_default();
        let mut start = colon.map_or(line.len(), |at| at + 1);
        if line.get(start) == Some(&b' ') {
            start += 1;
        }
        let value = line.get(start..).unwrap_or_default();
        match name {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_data = true;
            }
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => {
                self.id = Some(String::from_utf8_lossy(value).into_owned())
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = String::from_utf8_lossy(value).parse().unwrap_or(u64::MAX);
                items.push(Item::Retry(Duration::from_millis(millis.min(MAX_RETRY))));
            }
            // Comments and fields of later versions.
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Item> {
        let name = std::mem::take(&mut self.name);
        let id = self.id.take();
        let data = std::mem::take(&mut self.data);
        self.has_data = false;
        if data.is_empty() && id.is_none() {
            return None;
        }
        let data = String::from_utf8(data)
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        let name = if name.is_empty() {
            Cow::Borrowed("message")
        } else {
            Cow::Owned(name)
        };
        Some(Item::Event(Event { name, id, data }))
    }
}

/// One hour in milliseconds: a longer `retry` would stop the stream for good.
const MAX_RETRY: u64 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses the input whole, split at every byte, and byte by byte: the result must be the same.
    fn parse(input: &[u8]) -> Vec<Item> {
        let whole = Parser::new(1 << 20).feed(input).unwrap();
        for at in 0..=input.len() {
            let mut parser = Parser::new(1 << 20);
            let mut items = parser.feed(&input[..at]).unwrap();
            items.extend(parser.feed(&input[at..]).unwrap());
            assert_eq!(items, whole, "split at {at}");
        }
        let mut parser = Parser::new(1 << 20);
        let single: Vec<Item> = input
            .iter()
            .flat_map(|byte| parser.feed(&[*byte]).unwrap())
            .collect();
        assert_eq!(single, whole);
        whole
    }

    fn event(name: &str, id: Option<&str>, data: &str) -> Item {
        Item::Event(Event {
            name: name.to_owned().into(),
            id: id.map(Into::into),
            data: data.into(),
        })
    }

    #[test]
    fn every_line_end_separates_lines() {
        for end in ["\n", "\r", "\r\n"] {
            let input =
                format!("event: a{end}data: 1{end}data:2{end}{end}data{end}data: 3{end}{end}");
            assert_eq!(
                parse(input.as_bytes()),
                [event("a", None, "1\n2"), event("message", None, "\n3")]
            );
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_once() {
        assert_eq!(
            parse(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n"),
            [event("message", None, "a")]
        );
    }

    #[test]
    fn comments_unknown_fields_and_an_unfinished_event_are_dropped() {
        assert_eq!(
            parse(b": hi\nfoo: 1\n\ndata: a\n\ndata: lost\n"),
            [event("message", None, "a")]
        );
    }

    #[test]
    fn an_event_without_data_is_told_only_if_it_sets_an_id() {
        assert_eq!(
            parse(b"id: 1\ndata:\n\nevent: x\n\nid: 2\n\n"),
            [
                event("message", Some("1"), ""),
                event("message", Some("2"), "")
            ]
        );
    }

    #[test]
    fn ids_with_nul_and_retries_that_are_no_number_are_ignored() {
        let retry = Item::Retry(Duration::from_millis(1500));
        assert_eq!(
            parse(b"id: a\0b\nretry: 1500\nretry: 1s\nretry:\ndata: x\n\n"),
            [retry, event("message", None, "x")]
        );
        assert_eq!(
            parse(b"retry: 99999999999999999999999\n\n"),
            [Item::Retry(Duration::from_millis(MAX_RETRY))]
        );
    }

    #[test]
    fn only_one_space_after_the_colon_is_dropped() {
        assert_eq!(
            parse(b"data:  x: y \n\n"),
            [event("message", None, " x: y ")]
        );
    }

    #[test]
    fn invalid_utf_8_is_replaced_and_characters_survive_any_split() {
        assert_eq!(
            parse("data: ä€😀\n\n".as_bytes()),
            [event("message", None, "ä€😀")]
        );
        assert_eq!(
            parse(b"data: a\xffb\n\n"),
            [event("message", None, "a\u{fffd}b")]
        );
    }

    #[test]
    fn a_line_or_an_event_beyond_the_limit_ends_the_stream() {
        assert_eq!(Parser::new(100).feed(&[b':'; 200]), Err(TooLong));
        let mut parser = Parser::new(100);
        let results: Vec<_> = (0..20)
            .map(|_| parser.feed(b"data: 0123456789\n"))
            .collect();
        assert!(results.first().unwrap().is_ok() && results.last().unwrap().is_err());
    }

    #[test]
    fn a_large_event_is_given_out_whole() {
        let data = "x".repeat(300_000);
        let mut parser = Parser::new(1 << 20);
        let mut items = Vec::new();
        for chunk in format!("data: {data}\n\n").as_bytes().chunks(1000) {
            items.extend(parser.feed(chunk).unwrap());
        }
        assert_eq!(items, [event("message", None, &data)]);
    }
}
