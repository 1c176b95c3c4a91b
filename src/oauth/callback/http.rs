//! One HTTP exchange on the loopback: a bounded head in, one answer out, and the connection is closed.
//!
//! tiny_http prints the answers, but its server does not run here. It has no time limit for reading, none for the length of a
//! header nor for the number of connections; a thread of it panics when a peer resets early; it stops accepting for good after
//! one error; a connection that sends nothing can keep another one waiting; and dropping it leaves its threads behind.
//! Any local program and any web page could end a sign-in that way.
//!
//! - A head has [`HEAD_LIMIT`] bytes at most and [`HEAD_TIME`] to arrive, however slowly it drips.
//! - Only GET and HEAD, only for a `Host` that names this listener: a web page whose name was rebound to 127.0.0.1 gets nothing.
//! - Answers are HTTP/1.0 (so the connection ends with them), never cached, never framed, never sniffed, tell no referrer.
//!
//! Spec: RFC 9112 2 and 3 (request line, Host), RFC 9110 7.2, RFC 9700 4.2.4 (referrer).
//! Not done here: no request body is read, no path is known (`callback.rs`).

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::str::FromStr;
use std::time::{Duration, Instant};

use tiny_http::{HTTPVersion, Header, Method, Response, StatusCode};
use url::Url;

use super::page::{CONTENT_POLICY, Page};

/// Long enough for a long code and the cookies of every other program on localhost.
pub const HEAD_LIMIT: usize = 32 * 1024;
/// Browsers open connections ahead of need; they come again when one was closed.
pub const HEAD_TIME: Duration = Duration::from_secs(10);
const WRITE_TIME: Duration = Duration::from_secs(2);
const DRAIN_TIME: Duration = Duration::from_millis(200);

/// A request that passed the checks.
#[derive(Debug)]
pub struct Request {
    /// HEAD: the answer has no body.
    pub is_head: bool,
    /// The path, percent-encoding normalised as `url` does.
    pub url: Url,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not HTTP/1.
    Malformed,
    /// Neither GET nor HEAD.
    Method,
    /// `Host` is missing, doubled or names another.
    Host,
}

impl Refusal {
    /// The answer to it.
    pub fn answer(&self) -> Answer {
        match self {
            Refusal::Malformed => Answer::text(400, "this is not a request\n"),
            Refusal::Method => Answer::text(405, "only GET is possible here\n"),
            Refusal::Host => Answer::text(421, "this is not the address of this program\n"),
        }
    }
}

/// What is sent back.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    content_type: &'static str,
    body: String,
    location: Option<Url>,
}

impl Answer {
    /// A line of text.
    pub fn text(status: u16, text: &str) -> Answer {
        Answer {
            status,
            content_type: "text/plain; charset=utf-8",
            body: text.to_owned(),
            location: None,
        }
    }

    /// A JSON document.
    pub fn json(body: String) -> Answer {
        Answer {
            status: 200,
            content_type: "application/json; charset=utf-8",
            body,
            location: None,
        }
    }

    /// A page.
    pub fn page(page: &Page) -> Answer {
        Answer {
            status: page.status,
            content_type: "text/html; charset=utf-8",
            body: page.html.clone(),
            location: None,
        }
    }

    /// 303 to an address from the configuration.
    pub fn redirect(to: &Url) -> Answer {
        Answer {
            location: Some(to.clone()),
            ..Answer::text(303, "")
        }
    }

    /// Sends it and ends the connection. Whether the peer is still there does not matter.
    pub fn send(&self, stream: &TcpStream, is_head: bool) {
        if let Ok(bytes) = self.print(is_head) {
            stream.set_write_timeout(Some(WRITE_TIME)).ok();
            let mut writer = stream;
            writer.write_all(&bytes).ok();
        }
        stream.shutdown(Shutdown::Write).ok();
    }

    fn print(&self, is_head: bool) -> io::Result<Vec<u8>> {
        let headers = [
            ("Server", "mcp-remote"),
            ("Content-Type", self.content_type),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("Content-Security-Policy", CONTENT_POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
        ];
        let location = self.location.iter().map(|url| ("Location", url.as_str()));
        let headers = headers
            .into_iter()
            .chain(location)
            .filter_map(|(name, value)| Header::from_bytes(name, value).ok())
            .collect();
        let body = self.body.as_bytes();
        let mut bytes = Vec::new();
        Response::new(
            StatusCode(self.status),
            headers,
            body,
            Some(body.len()),
            None,
        )
        .raw_print(&mut bytes, HTTPVersion(1, 0), &[], is_head, None)?;
        Ok(bytes)
    }
}

/// Reads up to the end of the request head.
///
/// # Errors
/// If the peer is too slow, sends too much, or goes.
pub fn read_head(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + HEAD_TIME;
    let mut reader = stream;
    let (mut head, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let got = match reader.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // The end may have come in two parts.
        let from = head.len().saturating_sub(3);
        head.extend_from_slice(chunk.get(..got).unwrap_or_default());
        let tail = head.get(from..).unwrap_or_default();
        if let Some(end) = tail.windows(4).position(|four| four == b"\r\n\r\n") {
            head.truncate(from + end);
            return Ok(head);
        }
        if head.len() > HEAD_LIMIT {
            return Err(io::Error::other("the head is too long"));
        }
    }
}

/// Reads what the peer still sends, for a moment: closing a connection with unread bytes would take the answer back.
pub fn drain(stream: &TcpStream) {
    let deadline = Instant::now() + DRAIN_TIME;
    let (mut reader, mut chunk) = (stream, [0; 4096]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match reader.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Reads a request head; `host` is accepted beside the names of the loopback.
///
/// # Errors
/// If the request is not for this listener.
pub fn parse(head: &[u8], host: &str, port: u16) -> Result<Request, Refusal> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::Malformed);
    };
    let is_http_1 = matches!(version, "HTTP/1.0" | "HTTP/1.1");
    if !is_http_1 || !target.starts_with('/') || target.chars().any(char::is_control) {
        return Err(Refusal::Malformed);
    }
    let is_head = match Method::from_str(method) {
        Ok(Method::Get) => false,
        Ok(Method::Head) => true,
        _ => return Err(Refusal::Method),
    };
    let mut hosts = lines
        // Headers that are none of ours may hold anything, a cookie of another program say.
        .filter(|line| {
            line.get(..5)
                .is_some_and(|n| n.eq_ignore_ascii_case("host:"))
        })
        .map(Header::from_str);
    let (Some(Ok(given)), None) = (hosts.next(), hosts.next()) else {
        return Err(Refusal::Host);
    };
    if !is_ours(given.value.as_str(), host, port) {
        return Err(Refusal::Host);
    }
    // The host in front is only there to make the target a whole address.
    let url = Url::parse(&format!("http://localhost{target}")).map_err(|_| Refusal::Malformed)?;
    Ok(Request { is_head, url })
}

fn is_ours(given: &str, host: &str, port: u16) -> bool {
    let with_port = format!(":{port}");
    let name = match given.strip_suffix(&with_port) {
        Some(name) => name,
        None if port == 80 => given,
        None => return false,
    };
    ["localhost", "127.0.0.1", "[::1]", host]
        .iter()
        .any(|ours| ours.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &str) -> Result<Request, Refusal> {
        parse(head.as_bytes(), "my.host", 4000)
    }

    #[test]
    fn a_request_for_this_listener_is_understood() {
        for host in [
            "localhost:4000",
            "LOCALHOST:4000",
            "127.0.0.1:4000",
            "[::1]:4000",
            "my.host:4000",
        ] {
            let request = parsed(&format!(
                "GET /cb?code=a%20b HTTP/1.1\r\nhost: {host}\r\nCookie: \u{e4}"
            ))
            .unwrap();
            assert_eq!((request.url.path(), request.is_head), ("/cb", false));
            assert_eq!(request.url.query(), Some("code=a%20b"));
        }
        assert!(
            parsed("HEAD / HTTP/1.0\r\nHost: localhost:4000")
                .unwrap()
                .is_head
        );
        assert!(parse(b"GET / HTTP/1.1\r\nHost: localhost", "h", 80).is_ok());
    }

    #[test]
    fn a_request_for_somebody_else_is_refused() {
        for host in [
            "Host: evil.test:4000",
            "Host: localhost",
            "Host: localhost:4001",
            "Host: localhost.evil.test:4000",
            "Host: 127.0.0.1:4000:4000",
            "Host: [::2]:4000",
            "Host:",
            "X: y",
            "Host: localhost:4000\r\nHost: localhost:4000",
            "Host: localhost:4000\r\nhost: evil.test",
            "Host : localhost:4000",
        ] {
            let refusal = parsed(&format!("GET / HTTP/1.1\r\n{host}")).unwrap_err();
            assert_eq!(refusal, Refusal::Host, "{host}");
        }
    }

    #[test]
    fn other_methods_and_what_is_no_request_are_refused() {
        for method in ["POST", "OPTIONS", "get", "PUT", "CONNECT"] {
            let refusal =
                parsed(&format!("{method} / HTTP/1.1\r\nHost: localhost:4000")).unwrap_err();
            assert_eq!(refusal, Refusal::Method, "{method}");
        }
        for line in [
            "",
            "GET",
            "GET /",
            "GET / HTTP/2.0",
            "GET  / HTTP/1.1",
            "GET http://localhost:4000/ HTTP/1.1",
            "GET * HTTP/1.1",
            "GET /\u{7} HTTP/1.1",
            "GET / HTTP/1.1 x",
            "\u{16}\u{3}\u{1}",
        ] {
            let refusal = parsed(&format!("{line}\r\nHost: localhost:4000")).unwrap_err();
            assert_eq!(refusal, Refusal::Malformed, "{line:?}");
        }
    }

    #[test]
    fn answers_are_closed_uncached_and_tell_no_referrer() {
        let page = Page::signed_in("https://a.test");
        let text = String::from_utf8(Answer::page(&page).print(false).unwrap()).unwrap();
        assert!(text.starts_with("HTTP/1.0 200 OK\r\n"), "{text}");
        for header in [
            "Cache-Control: no-store",
            "Referrer-Policy: no-referrer",
            "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'",
            "X-Content-Type-Options: nosniff",
            "Content-Type: text/html; charset=utf-8",
        ] {
            assert!(text.contains(&format!("\r\n{header}")), "{header}");
        }
        assert!(text.contains(&format!("\r\nContent-Length: {}\r\n", page.html.len())));
        assert!(text.ends_with(&page.html));
        let head = Answer::page(&page).print(true).unwrap();
        assert!(head.ends_with(b"\r\n\r\n"));
    }

    #[test]
    fn a_redirect_names_the_address_and_nothing_more() {
        let to = Url::parse("https://a.test/done").unwrap();
        let text = String::from_utf8(Answer::redirect(&to).print(false).unwrap()).unwrap();
        assert!(text.starts_with("HTTP/1.0 303 "), "{text}");
        assert!(text.contains("\r\nLocation: https://a.test/done\r\n"));
    }
}
