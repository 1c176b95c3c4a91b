//! The threads that read stdin and write stdout.
//!
//! - One line is one message. LF, CRLF, a byte order mark, blank lines and a last line without an end are accepted.
//! - A line beyond the limit is answered with an error and skipped; its id is found if it stands near the start.
//! - One thread writes all lines, each of them whole. A closed stdout is reported once.
//!
//! Spec: MCP 2025-11-25 basic/transports (stdio).

use std::io::{BufRead, BufWriter, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use crate::bridge::Event;
use crate::jsonrpc::{Malformed, Message, Parsed, RequestId};
use crate::transport::backpressure::{Budget, make_room};

/// Bytes of stdin read at once.
pub(crate) const READ_BUFFER: usize = 64 * 1024;

/// Lines up to this length are written with their end by one system call. Untouched memory of it costs nothing.
const WRITE_BUFFER: usize = 128 * 1024;

/// A line for the client.
pub(crate) enum Line {
    /// A message of the server.
    Message(Message),
    /// A response made here.
    Answer(String),
    /// Reports that all lines before are written.
    Flush(Sender<()>),
}

/// Reads lines until the input ends, which is an event as well, or until `tell` returns false.
pub(crate) fn read_lines(
    mut input: impl BufRead,
    limit: usize,
    budget: &Arc<Budget>,
    tell: impl Fn(Event) -> bool,
) {
    let mut first = true;
    // A read error is treated as the end of the input.
    while let Ok(Some(line)) = read_line(&mut input, limit) {
        let parsed = match line {
            ReadLine::Whole(bytes) => {
                let bytes = if first { without_bom(bytes) } else { bytes };
                first = false;
                if bytes.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let size = bytes.len();
                parse_line(bytes).map(|parsed| parsed.holding(budget.take(size).into()))
            }
            ReadLine::TooLong(start) => Err(Malformed::invalid(
                id_near_start(&start),
                &format!(
                    "the message is longer than {} MiB (--max-message-size)",
                    limit / (1024 * 1024)
                ),
            )),
        };
        if !tell(Event::Client(parsed)) {
            return;
        }
    }
    tell(Event::ClientClosed);
}

/// Writes lines until the channel is closed; flushes when no line is waiting.
///
/// # Errors
/// If the output is closed.
pub(crate) fn write_lines(output: impl Write, lines: &Receiver<Vec<Line>>) -> std::io::Result<()> {
    let mut output = BufWriter::with_capacity(WRITE_BUFFER, output);
    while let Ok(first) = lines.recv() {
        for line in std::iter::once(first).chain(lines.try_iter()).flatten() {
            write_line(&mut output, line)?;
        }
        output.flush()?;
    }
    Ok(())
}

fn write_line(output: &mut impl Write, line: Line) -> std::io::Result<()> {
    match line {
        Line::Message(message) => {
            output.write_all(message.text().as_bytes())?;
            output.write_all(b"\n")
        }
        Line::Answer(text) => {
            output.write_all(text.as_bytes())?;
            output.write_all(b"\n")
        }
        Line::Flush(done) => {
            output.flush()?;
            done.send(()).ok();
            Ok(())
        }
    }
}

enum ReadLine {
    Whole(Vec<u8>),
    /// The start of a line that was skipped.
    TooLong(Vec<u8>),
}

/// Reads one line; bytes beyond the limit are dropped.
fn read_line(input: &mut impl BufRead, limit: usize) -> std::io::Result<Option<ReadLine>> {
    let mut line = Vec::new();
    let mut too_long = false;
    let mut any = false;
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if chunk.is_empty() {
            break;
        }
        any = true;
        let end = memchr::memchr(b'\n', chunk);
        let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or(chunk);
        if !too_long {
            make_room(&mut line, part.len(), limit.saturating_add(READ_BUFFER));
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if line.len() > limit {
            too_long = true;
            line.truncate(MAX_ID_SEARCH);
            line.shrink_to_fit();
        }
        if end.is_some() {
            break;
        }
    }
    Ok(match (any, too_long) {
        (false, _) => None,
        (true, false) => Some(ReadLine::Whole(line)),
        (true, true) => Some(ReadLine::TooLong(line)),
    })
}

/// How much of a skipped line is searched for its id.
const MAX_ID_SEARCH: usize = 64 * 1024;

fn parse_line(bytes: Vec<u8>) -> Result<Parsed, Malformed> {
    match String::from_utf8(bytes) {
        Ok(text) => Message::read(text),
        Err(_) => Err(Malformed {
            id: None,
            code: -32700,
            reason: "not valid UTF-8".to_owned(),
        }),
    }
}

fn without_bom(bytes: Vec<u8>) -> Vec<u8> {
    match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => rest.to_vec(),
        None => bytes,
    }
}

fn id_near_start(start: &[u8]) -> Option<RequestId> {
    RequestId::near_start(&String::from_utf8_lossy(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::io::BufReader;

    fn lines(
        input: &[u8],
        limit: usize,
        chunk: usize,
    ) -> Vec<Result<String, (Option<RequestId>, i32)>> {
        let out = RefCell::new(Vec::new());
        let tell = |input| {
            match input {
                Event::Client(Ok(Parsed::One(message))) => {
                    out.borrow_mut().push(Ok(message.text().to_owned()))
                }
                Event::Client(Err(malformed)) => {
                    out.borrow_mut().push(Err((malformed.id, malformed.code)))
                }
                _ => {}
            }
            true
        };
        let input = BufReader::with_capacity(chunk, input);
        read_lines(input, limit, &Budget::new(1 << 30), tell);
        out.into_inner()
    }

    #[test]
    fn every_line_end_a_bom_and_a_missing_end_are_accepted_in_any_chunks() {
        let input =
            b"\xef\xbb\xbf{\"method\":\"a\"}\r\n\n \r\n{\"method\":\"b\"}\n{\"method\":\"c\"}";
        for chunk in 1..input.len() {
            let read: Vec<String> = lines(input, 1000, chunk)
                .into_iter()
                .map(Result::unwrap)
                .collect();
            assert_eq!(
                read,
                [
                    "{\"method\":\"a\"}",
                    "{\"method\":\"b\"}",
                    "{\"method\":\"c\"}"
                ]
            );
        }
    }

    #[test]
    fn a_bom_alone_is_a_blank_line() {
        let read = lines(b"\xef\xbb\xbf\r\n{\"method\":\"a\"}\n", 100, 16);
        assert_eq!(read, [Ok("{\"method\":\"a\"}".to_owned())]);
    }

    #[test]
    fn a_line_beyond_the_limit_is_refused_with_its_id_and_the_next_one_works() {
        let input = format!(
            "{{\"id\":7,\"method\":\"a\",\"params\":\"{}\"}}\n{{\"method\":\"b\"}}\n",
            "x".repeat(500)
        );
        let read = lines(input.as_bytes(), 100, 16);
        assert_eq!(
            read,
            [
                Err((RequestId::from_text("7"), -32600)),
                Ok("{\"method\":\"b\"}".to_owned())
            ]
        );
    }

    #[test]
    fn invalid_utf_8_is_refused() {
        assert_eq!(
            lines(b"{\"method\":\"\xff\"}\n", 100, 16),
            [Err((None, -32700))]
        );
    }
}
