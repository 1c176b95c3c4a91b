//! HTTP+SSE (2024-11-05): checks the `endpoint` event, which names the address of the POSTs. Pure.
//!
//! The endpoint must have the origin of the server: it decides where tokens and configured headers are sent.
//!
//! Spec: MCP 2024-11-05 basic/transports (HTTP with SSE).

use url::Url;

use crate::error::{Error, Kind, Result};
use crate::log::clean;
use crate::url::{keeping_https, same_origin, shown};

/// The address messages are POSTed to, from the data of an `endpoint` event.
///
/// # Errors
/// If it is not a valid URL, or not on the server's own origin.
pub(crate) fn endpoint(server: &Url, data: &str) -> Result<Url> {
    let refuse = |why: &str| {
        let what = format!(
            "{} named an endpoint that {why}: \"{}\"",
            shown(server),
            clean(data, 200)
        );
        Error::new(Kind::PeerMisbehaved, what)
    };
    let url = server
        .join(data.trim())
        .map_err(|_| refuse("is not a valid URL"))?;
    let url = keeping_https(server, url);
    if !same_origin(server, &url) {
        return Err(refuse("is on another origin"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("holds a user name"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &str) -> std::result::Result<String, String> {
        let server = Url::parse("https://a.test/base/sse?x=1").unwrap();
        endpoint(&server, data)
            .map(|url| url.to_string())
            .map_err(|e| e.what().to_owned())
    }

    #[test]
    fn relative_and_absolute_endpoints_of_the_same_origin_are_taken() {
        assert_eq!(
            read("/messages?sessionId=1").unwrap(),
            "https://a.test/messages?sessionId=1"
        );
        assert_eq!(read("messages").unwrap(), "https://a.test/base/messages");
        assert_eq!(read("https://a.test:443/m").unwrap(), "https://a.test/m");
        // Where TLS ends at a proxy, the server does not know of it.
        assert_eq!(read("http://a.test/m").unwrap(), "https://a.test/m");
    }

    #[test]
    fn endpoints_elsewhere_are_refused() {
        for data in [
            "https://b.test/m",
            "//b.test/m",
            "http://a.test:81/m",
            "https://a.test:444/m",
            "https://u@a.test/m",
            "javascript:x",
        ] {
            assert!(read(data).is_err(), "{data}");
        }
        assert!(
            read("https://b.test/\u{1b}[31m")
                .unwrap_err()
                .ends_with("is on another origin: \"https://b.test/ [31m\"")
        );
    }
}
