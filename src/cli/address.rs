//! What the user meant by an address that is not one: without `https://`, or with what was pasted along. Pure.

use url::Url;

use super::args::usage;
use crate::error::Result;
use crate::url::{is_loopback, shown};

/// Refuses an address that was mistyped in a way we know; `shown` is its text without secrets.
///
/// # Errors
/// The hint names the address that was probably meant.
pub fn check(typed: Option<&str>, shown: &str) -> Result<()> {
    match typed.and_then(meant) {
        Some(meant) => Err(usage(format!("\"{shown}\" is not a valid URL"))
            .with_hint(format!("did you mean {meant}?"))),
        None => Ok(()),
    }
}

/// The address that was probably meant; `None` if the text is an address already, or nothing like one.
fn meant(text: &str) -> Option<String> {
    let is_pasted = |c: char| c.is_whitespace() || "\"'`<>“”‘’,;".contains(c);
    let bare = text.trim_matches(is_pasted);
    if bare.contains("://") {
        let url = Url::parse(bare).ok()?;
        let is_http = matches!(url.scheme(), "http" | "https");
        return (is_http && bare != text.trim()).then(|| shown(&url));
    }
    let url = Url::parse(&format!("https://{bare}")).ok()?;
    let host = url.host_str()?;
    if !host.contains(['.', ':']) && host != "localhost" || bare.contains('@') {
        return None;
    }
    if is_loopback(&url) {
        let url = Url::parse(&format!("http://{bare}")).ok()?;
        return Some(shown(&url));
    }
    Some(shown(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_was_meant_is_found() {
        for (text, expected) in [
            ("mcp.example.com/mcp", Some("https://mcp.example.com/mcp")),
            (
                "mcp.example.com:8443/mcp",
                Some("https://mcp.example.com:8443/mcp"),
            ),
            ("localhost:8080/mcp", Some("http://localhost:8080/mcp")),
            ("127.0.0.1:80/mcp", Some("http://127.0.0.1/mcp")),
            ("\"https://a.test/mcp\"", Some("https://a.test/mcp")),
            ("“https://a.test/mcp”", Some("https://a.test/mcp")),
            ("<https://a.test/mcp>,", Some("https://a.test/mcp")),
            ("' a.test/mcp '", Some("https://a.test/mcp")),
            ("https://a.test/mcp", None),
            ("ftp://a.test", None),
            ("nonsense", None),
            ("mailto:a@b.test", None),
            ("", None),
        ] {
            assert_eq!(meant(text).as_deref(), expected, "{text}");
        }
    }
}
