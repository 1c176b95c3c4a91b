//! Which requests the callback listener accepts, the parameters of an authorization response, and how responses are sent.
//!
//! - Only GET and HEAD, and only with a `Host` that names this listener: a web page whose host name was rebound to 127.0.0.1 gets nothing.
//! - Responses are never cached, framed or sniffed, send no referrer, and contain nothing of a request but what [`Page`] escapes.
//! - Responses are HTTP/1.0, so that clients close the connection: tiny_http ignores `Connection` headers and would keep it open.
//!
//! Spec: RFC 9110 7.2 (Host), RFC 6749 3.1 (no parameter twice), RFC 9700 4.2.4 (referrer).
//! Not done here: request bodies are not read, paths are not looked at (`server.rs`).

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use tiny_http::{HTTPVersion, Header, Method, Request, StatusCode};
use url::Url;

use super::lock;
use super::page::{CONTENT_POLICY, Page};

/// The hosts that requests may name beside those of the loopback.
pub struct Hosts {
    /// `--host`, with the port of the listener.
    pub own: String,
    /// The host of `--redirect-uri`, with any port: a proxy may name its own, the listener's or none.
    pub redirect: Option<String>,
    /// Whether any IP address is accepted, for a listener that others reach. No web page can rebind an address.
    pub any_address: bool,
}

/// Checks the method and the host, and gives the address that was asked for.
///
/// # Errors
/// The response, if the request is not for this listener.
pub fn check(request: &Request, hosts: &Hosts, port: u16) -> Result<Url, Response> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return Err(Response::text(405, "only GET is possible here\n"));
    }
    let mut given = request.headers().iter().filter(|h| h.field.equiv("Host"));
    let is_ours = match (given.next(), given.next()) {
        (Some(given), None) => hosts.accept(given.value.as_str(), port),
        _ => false,
    };
    if !is_ours {
        let text = "this is not the address of this program; behind a proxy that sends another Host, name it with --host\n";
        return Err(Response::text(421, text));
    }
    address(request.url()).ok_or_else(|| Response::text(400, "this is not a valid request\n"))
}

/// The target of a request as an address; the host in front only makes it complete.
pub fn address(target: &str) -> Option<Url> {
    if !target.starts_with('/') || target.chars().any(char::is_control) {
        return None;
    }
    Url::parse(&format!("http://localhost{target}")).ok()
}

impl Hosts {
    fn accept(&self, given: &str, port: u16) -> bool {
        let (name, given_port) = match given.rsplit_once(':') {
            // The last colon of an IPv6 address without a port is inside of it.
            Some((name, digits)) if !digits.ends_with(']') => (name, digits.parse::<u16>().ok()),
            _ => (given, Some(80)),
        };
        let Some(given_port) = given_port else {
            return false;
        };
        let is = |own: &str| own.eq_ignore_ascii_case(name);
        let is_loopback = ["localhost", "127.0.0.1", "[::1]", &self.own]
            .into_iter()
            .any(is);
        let address = name.trim_start_matches('[').trim_end_matches(']');
        given_port == port && is_loopback
            || self.redirect.as_deref().is_some_and(is)
            || self.any_address && address.parse::<IpAddr>().is_ok()
    }
}

/// The parameters of an authorization response.
#[derive(Default)]
pub struct Parameters {
    pub code: Option<String>,
    pub state: Option<String>,
    pub iss: Option<String>,
    pub error: Option<String>,
    pub error_description: Option<String>,
}

impl Parameters {
    /// `None` if it is not an authorization response: neither code nor error, or a parameter twice.
    pub fn read(url: &Url) -> Option<Parameters> {
        let mut read = Parameters::default();
        for (name, value) in url.query_pairs() {
            let parameter = match name.as_ref() {
                "code" => &mut read.code,
                "state" => &mut read.state,
                "iss" => &mut read.iss,
                "error" => &mut read.error,
                "error_description" => &mut read.error_description,
                _ => continue,
            };
            if parameter.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        let is_present = |value: &Option<String>| value.as_ref().is_some_and(|v| !v.is_empty());
        (is_present(&read.code) || is_present(&read.error)).then_some(read)
    }
}

/// A response.
#[derive(Debug)]
pub struct Response {
    status: u16,
    content_type: &'static str,
    body: String,
    location: Option<String>,
}

impl Response {
    /// A line of text.
    pub fn text(status: u16, text: &str) -> Response {
        Response {
            status,
            content_type: "text/plain; charset=utf-8",
            body: text.to_owned(),
            location: None,
        }
    }

    /// A JSON document.
    pub fn json(body: String) -> Response {
        Response {
            content_type: "application/json; charset=utf-8",
            body,
            ..Response::text(200, "")
        }
    }

    /// A page.
    pub fn page(page: &Page) -> Response {
        Response {
            content_type: "text/html; charset=utf-8",
            body: page.html.clone(),
            ..Response::text(page.status, "")
        }
    }

    /// 303 to an address of ours, never one from a request.
    pub fn redirect(to: &Url) -> Response {
        Response {
            location: Some(to.to_string()),
            ..Response::text(303, "")
        }
    }

    /// Sends it on a thread of its own, because a peer that pipelines requests and reads nothing blocks the writer for ever;
    /// such a peer gets no further response. The channel is closed when the response was sent or dropped.
    pub fn send(&self, request: Request) -> Receiver<()> {
        let (sender, sent) = mpsc::channel();
        let peer = request.remote_addr().copied();
        let bytes = self.bytes(*request.method() == Method::Head);
        let mut writer = request.into_writer();
        let mut sending = lock(&SENDING);
        if sending.contains(&peer) {
            return sent;
        }
        sending.push(peer);
        drop(sending);
        let send = move || {
            writer.write_all(&bytes).and_then(|()| writer.flush()).ok();
            lock(&SENDING).retain(|known| *known != peer);
            drop(sender);
        };
        let thread = thread::Builder::new().name("callback response".to_owned());
        if thread.spawn(send).is_err() {
            lock(&SENDING).retain(|known| *known != peer);
        }
        sent
    }

    fn bytes(&self, is_head: bool) -> Vec<u8> {
        let headers = [
            ("Server", "mcp-remote"),
            ("Content-Type", self.content_type),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("Content-Security-Policy", CONTENT_POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
        ];
        let location = self.location.iter().map(|to| ("Location", to.as_str()));
        let headers = headers
            .into_iter()
            .chain(location)
            .filter_map(|(name, value)| Header::from_bytes(name, value).ok())
            .collect();
        let body = self.body.as_bytes();
        let (status, length) = (StatusCode(self.status), Some(body.len()));
        let mut bytes = Vec::new();
        tiny_http::Response::new(status, headers, body, length, None)
            .raw_print(&mut bytes, HTTPVersion(1, 0), &[], is_head, None)
            .ok();
        bytes
    }
}

/// The peers to which a response is being sent.
static SENDING: Mutex<Vec<Option<SocketAddr>>> = Mutex::new(Vec::new());

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use tiny_http::TestRequest;

    use super::*;

    fn hosts(redirect: Option<&str>, any_address: bool) -> Hosts {
        Hosts {
            own: "my.host".to_owned(),
            redirect: redirect.map(str::to_owned),
            any_address,
        }
    }

    fn checked(method: Method, target: &str, headers: &[&str]) -> Result<Url, u16> {
        let mut request = TestRequest::new().with_method(method).with_path(target);
        for header in headers {
            request = request.with_header(Header::from_str(header).unwrap());
        }
        check(&request.into(), &hosts(None, false), 4000).map_err(|response| response.status)
    }

    #[test]
    fn a_request_for_this_listener_is_accepted() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", "my.host"] {
            let host = format!("host: {host}:4000");
            let url = checked(Method::Get, "/cb?code=a%20b", &[&host]).unwrap();
            assert_eq!((url.path(), url.query()), ("/cb", Some("code=a%20b")));
        }
        assert!(checked(Method::Head, "/", &["Host: localhost:4000"]).is_ok());
        assert!(hosts(None, false).accept("localhost", 80));
    }

    #[test]
    fn the_host_of_a_redirect_uri_is_accepted_with_any_port() {
        let hosts = hosts(Some("proxy.test"), false);
        for host in [
            "proxy.test",
            "PROXY.test:443",
            "proxy.test:4000",
            "localhost:4000",
        ] {
            assert!(hosts.accept(host, 4000), "{host}");
        }
        for host in [
            "evil.test",
            "proxy.test:x",
            "proxy.test.evil:443",
            "10.0.0.1:4000",
            "localhost:1",
        ] {
            assert!(!hosts.accept(host, 4000), "{host}");
        }
    }

    #[test]
    fn a_listener_that_others_reach_accepts_addresses_but_no_other_names() {
        let hosts = hosts(None, true);
        for host in [
            "172.17.0.2:4000",
            "10.0.0.1",
            "[fd00::2]:4000",
            "[fd00::2]",
            "localhost:4000",
        ] {
            assert!(hosts.accept(host, 4000), "{host}");
        }
        for host in ["evil.test:4000", "10.0.0.1.evil.test:4000", ""] {
            assert!(!hosts.accept(host, 4000), "{host}");
        }
    }

    #[test]
    fn a_request_for_another_host_is_refused() {
        for headers in [
            &["Host: evil.test:4000"][..],
            &["Host: localhost"],
            &["Host: localhost:4001"],
            &["Host: localhost.evil.test:4000"],
            &["Host: 127.0.0.1:4000:4000"],
            &["Host: [::2]:4000"],
            &["Host:"],
            &["X: y"],
            &["Host: localhost:4000", "Host: localhost:4000"],
            &["Host: localhost:4000", "host: evil.test"],
        ] {
            assert_eq!(checked(Method::Get, "/", headers), Err(421), "{headers:?}");
        }
    }

    #[test]
    fn other_methods_and_targets_that_are_not_paths_are_refused() {
        let host = &["Host: localhost:4000"];
        for method in [Method::Post, Method::Options, Method::Put, Method::Connect] {
            assert_eq!(checked(method.clone(), "/", host), Err(405), "{method}");
        }
        for target in [
            "",
            "*",
            "http://localhost:4000/",
            "/\u{7}",
            "localhost:4000",
        ] {
            assert_eq!(checked(Method::Get, target, host), Err(400), "{target:?}");
        }
    }

    #[test]
    fn responses_close_are_not_cached_and_send_no_referrer() {
        let page = Page::signed_in("https://a.test");
        let text = String::from_utf8(Response::page(&page).bytes(false)).unwrap();
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
        assert!(Response::page(&page).bytes(true).ends_with(b"\r\n\r\n"));
    }

    #[test]
    fn a_redirect_contains_the_address_and_nothing_more() {
        let to = Url::parse("https://a.test/done").unwrap();
        let text = String::from_utf8(Response::redirect(&to).bytes(false)).unwrap();
        assert!(text.starts_with("HTTP/1.0 303 "), "{text}");
        assert!(text.contains("\r\nLocation: https://a.test/done\r\n"));
    }
}
