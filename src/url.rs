//! What the `url` crate leaves open: same origin, loopback, and how an address is shown.
//!
//! Spec: RFC 3986 (components), RFC 6454 section 5 (same origin), RFC 6761 section 6.3 (`localhost`).
//! Not done here: URLs are never parsed or joined by hand; the `url` crate does that.

use url::Host;
pub use url::Url;

use crate::error::{Error, Kind};
use crate::log::clean;

/// Whether two URLs have the same scheme, host and port.
pub fn same_origin(a: &Url, b: &Url) -> bool {
    a.origin().is_tuple() && a.origin() == b.origin()
}

/// The address with https, if a server at https names an address with http: where TLS ends at a proxy, the server behind
/// it does not know its own scheme. Any other address stays as it is.
pub fn keeping_https(from: &Url, mut to: Url) -> Url {
    if from.scheme() == "https" && to.scheme() == "http" {
        // Between these two schemes this cannot fail.
        to.set_scheme("https").ok();
        // The server behind the proxy does not know the port either.
        if to.host() == from.host() && to.port().is_none() {
            to.set_port(from.port()).ok();
        }
    }
    to
}

/// Whether the host is this machine: `localhost`, `*.localhost`, 127.0.0.0/8 or `::1`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            name.trim_end_matches('.') == "localhost"
                || name.trim_end_matches('.').ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The address without user information, query and fragment, and with what looks like a key in its path shortened: what may
/// be shown and logged.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail for http and https; for other schemes there is nothing to remove.
    url.set_username("").ok();
    url.set_password(None).ok();
    url.set_query(None);
    url.set_fragment(None);
    let segments = url.path().split('/').map(|segment| match segment.get(..4) {
        Some(start) if is_like_key(segment) => format!("{start}..."),
        Some(_) | None => segment.to_owned(),
    });
    let path = segments.collect::<Vec<_>>().join("/");
    if path != url.path() {
        url.set_path(&path);
    }
    url.to_string()
}

/// Whether a segment of a path looks like a key: some hosts make the address itself the secret.
fn is_like_key(segment: &str) -> bool {
    let count = |is: fn(&u8) -> bool| segment.bytes().filter(is).count();
    let (digits, letters) = (count(u8::is_ascii_digit), count(u8::is_ascii_alphabetic));
    let has_both_cases = count(u8::is_ascii_uppercase) >= 3 && count(u8::is_ascii_lowercase) >= 3;
    segment.len() >= 20 && letters >= 2 && (digits >= 4 || has_both_cases)
}

/// Refuses an MCP server that tokens must not be sent to; `typed` is the address as it may be repeated.
///
/// # Errors
/// If it is neither https, nor http on this machine or with leave.
pub fn check_server(url: &Url, allow_http: bool, typed: &str) -> crate::error::Result<()> {
    match url.scheme() {
        "https" => Ok(()),
        "http" if allow_http || is_loopback(url) => Ok(()),
        "http" => {
            let what = format!("\"{}\" is not encrypted", clean(&shown(url), 200));
            let hint = "use https, or --allow-http on a network you trust";
            Err(Error::new(Kind::Usage, what).with_hint(hint))
        }
        other => {
            let what = format!("\"{typed}\" must begin with https://, not {other}:");
            Err(Error::new(Kind::Usage, what))
        }
    }
}

/// An address from a document of the network: https, or http on this machine or where `allow_http` says so; no user
/// information; nothing that the parser left unescaped.
///
/// # Errors
/// Why it is refused, in words that follow the name of the thing.
pub fn from_network(text: &str, allow_http: bool) -> Result<Url, String> {
    let shown_text = clean(text, 200);
    let url = Url::parse(text).map_err(|e| format!("\"{shown_text}\" is no address ({e})"))?;
    let secure =
        url.scheme() == "https" || url.scheme() == "http" && (allow_http || is_loopback(&url));
    if !secure {
        return Err(format!("\"{shown_text}\" is not https"));
    }
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '"' | '<' | '>');
    if !url.has_host()
        || !url.username().is_empty()
        || url.password().is_some()
        || url.as_str().chars().any(odd)
    {
        return Err(format!("\"{shown_text}\" is not an ordinary web address"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// The tables of other scripts are left out (Cargo.toml).
    #[test]
    fn a_host_is_ascii_in_lower_case_or_refused() {
        for known in [
            "https://XN--Mnchen-3YA.Example/",
            "https://ex%41mple.test/",
            // A mark of direction, which is asked for as it is written here.
            "https://XN--a-yGN.test/",
        ] {
            let host = url(known).host_str().map(str::to_owned).unwrap();
            assert!(
                host.is_ascii() && host == host.to_ascii_lowercase(),
                "{host}"
            );
        }
        for odd in ('\u{80}'..='\u{ffff}').chain('\u{1f600}'..='\u{1f6ff}') {
            for text in [
                format!("https://{odd}/"),
                format!("https://aZ{odd}ZZ.test/"),
                format!("https://ZZ.a{odd}.TEST"),
                format!("https://xn--{odd}A.Z"),
            ] {
                assert!(Url::parse(&text).is_err(), "{text:?}");
            }
        }
        for encoded in [
            "https://aZ%C2%ADZ.test",
            "https://%ad",
            "https://m%c3%bcller.test",
        ] {
            assert!(Url::parse(encoded).is_err(), "{encoded}");
        }
    }

    #[test]
    fn scheme_host_and_port_make_the_origin() {
        assert!(same_origin(
            &url("https://a.test/x"),
            &url("https://a.test:443/y")
        ));
        assert!(!same_origin(&url("https://a.test"), &url("http://a.test")));
        assert!(!same_origin(
            &url("http://a.test:81"),
            &url("http://a.test")
        ));
        assert!(!same_origin(&url("data:x"), &url("data:x")));
    }

    #[test]
    fn a_server_at_https_means_https() {
        for (from, to, meant) in [
            ("https://a.test/x", "http://a.test/y", "https://a.test/y"),
            (
                "https://a.test:8443/x",
                "http://a.test/y",
                "https://a.test:8443/y",
            ),
            (
                "https://a.test/x",
                "http://a.test:81/y",
                "https://a.test:81/y",
            ),
            (
                "https://a.test:8443/x",
                "http://b.test/y",
                "https://b.test/y",
            ),
            ("http://a.test/x", "http://a.test/y", "http://a.test/y"),
            ("https://a.test/x", "ftp://a.test/y", "ftp://a.test/y"),
        ] {
            assert_eq!(keeping_https(&url(from), url(to)).as_str(), meant);
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_by_address() {
        for text in [
            "http://localhost",
            "http://x.localhost:1",
            "http://127.9.9.9",
            "http://[::1]:80",
        ] {
            assert!(is_loopback(&url(text)), "{text}");
        }
        for text in [
            "http://localhost.evil.test",
            "http://10.0.0.1",
            "http://[fe80::1]",
        ] {
            assert!(!is_loopback(&url(text)), "{text}");
        }
    }

    #[test]
    fn only_https_and_this_machine_are_believed_from_the_network() {
        for good in [
            "https://a.test/x?y",
            "http://127.0.0.1:1/",
            "http://localhost/a",
        ] {
            assert!(from_network(good, false).is_ok(), "{good}");
        }
        for bad in [
            "http://a.test/",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "ftp://a.test/",
            "https://u@a.test/",
            "https://u:p@a.test/",
            "/authorize",
            "",
        ] {
            assert!(from_network(bad, false).is_err(), "{bad}");
        }
        assert!(from_network("http://a.test/", true).is_ok());
        assert!(from_network("javascript:alert(1)", true).is_err());
    }

    #[test]
    fn what_is_shown_holds_no_password_and_no_query() {
        assert_eq!(
            shown(&url("https://u:p@a.test/mcp?key=s3cret#f")),
            "https://a.test/mcp"
        );
        for (key, rest) in [
            ("0123456789abcdef0123456789abcdef", "0123..."),
            ("sk_live_51HqLyjWDarjtT1zd", "sk_l..."),
            ("123e4567-e89b-12d3-a456-426614174000", "123e..."),
            ("QWxhZGRpbjpvcGVuIHNlc2FtZQ", "QWxh..."),
        ] {
            let address = format!("https://a.test/s/{key}/mcp");
            assert_eq!(
                shown(&url(&address)),
                format!("https://a.test/s/{rest}/mcp")
            );
        }
        for plain in [
            "https://a.test/.well-known/oauth-protected-resource/mcp",
            "https://a.test/customer-relationship-management/v2/mcp",
            "https://a.test/2026-07-28/oauth_authorization_server",
        ] {
            assert_eq!(shown(&url(plain)), plain);
        }
    }
}
