//! Decides which redirects to follow. Pure.
//!
//! - Within the same origin only: a token, a session id or a configured header must not reach another one.
//! - A redirect from https to http is followed with https, within the same origin; elsewhere the https address is named.
//! - 307 and 308 keep method and body. 301, 302 and 303 would turn a POST into a GET, which loses the message:
//!   they are followed for GET and DELETE only.
//! - Anything else is an error that names the target.
//!
//! Spec: RFC 9110 15.4.

use url::Url;

use crate::error::{Error, Kind, Result};
use crate::log::clean;
use crate::url::{keeping_https, same_origin, shown};

/// More hops than this are a loop.
const MAX_REDIRECTS: u32 = 5;

/// Where a redirected request goes next.
///
/// # Errors
/// If the redirect must not be followed.
pub(crate) fn target(
    method: &str,
    from: &Url,
    status: u16,
    location: Option<&str>,
    hops: u32,
) -> Result<Url> {
    let refuse = |why: String| {
        Error::new(
            Kind::Http(status),
            format!("{} answered {status}: {why}", shown(from)),
        )
    };
    let location = location.ok_or_else(|| refuse("a redirect without a target".to_owned()))?;
    let to = from.join(location).map_err(|_| {
        refuse(format!(
            "a redirect to an invalid URL: \"{}\"",
            clean(location, 200)
        ))
    })?;
    let to = keeping_https(from, to);
    if !same_origin(from, &to) {
        let error = refuse(format!(
            "a redirect to another server, {}, which is not followed",
            clean(&shown(&to), 200)
        ));
        return Err(error.with_hint("if that is where the server lives now, use that address"));
    }
    if !matches!(status, 307 | 308) && method == "POST" {
        return Err(refuse(format!(
            "a redirect to {} that would lose the message",
            shown(&to)
        )));
    }
    if hops > MAX_REDIRECTS {
        return Err(refuse(format!(
            "more than {MAX_REDIRECTS} redirects, the last to {}",
            shown(&to)
        )));
    }
    // A user name in a target would become a credential of the server's choosing.
    if !to.username().is_empty() || to.password().is_some() {
        return Err(refuse("a redirect that holds a user name".to_owned()));
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(
        method: &str,
        status: u16,
        location: Option<&str>,
        hops: u32,
    ) -> std::result::Result<String, String> {
        let from = Url::parse("https://a.test/mcp").unwrap();
        target(method, &from, status, location, hops)
            .map(|url| url.to_string())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn within_the_origin_307_and_308_keep_a_post() {
        assert_eq!(
            go("POST", 307, Some("/mcp/"), 1).unwrap(),
            "https://a.test/mcp/"
        );
        assert_eq!(
            go("POST", 308, Some("https://a.test/x"), 5).unwrap(),
            "https://a.test/x"
        );
        assert_eq!(go("GET", 302, Some("x"), 1).unwrap(), "https://a.test/x");
    }

    #[test]
    fn https_is_kept() {
        assert_eq!(
            go("POST", 307, Some("http://a.test/mcp/"), 1).unwrap(),
            "https://a.test/mcp/"
        );
        let elsewhere = go("POST", 307, Some("http://b.test/mcp/"), 1).unwrap_err();
        assert!(
            elsewhere.contains("https://b.test/mcp/") && !elsewhere.contains("http://"),
            "{elsewhere}"
        );
    }

    #[test]
    fn other_redirects_are_errors_that_name_the_target() {
        assert!(
            go("POST", 307, Some("https://b.test/mcp?x=1"), 1)
                .unwrap_err()
                .contains("another server, https://b.test/mcp,")
        );
        assert!(
            go("POST", 303, Some("/x"), 1)
                .unwrap_err()
                .contains("https://a.test/x that would lose the message")
        );
        for (location, hops) in [
            (None, 1),
            (Some("http://a.test:81/mcp"), 1),
            (Some("/x"), 6),
            (Some("ftp://a.test"), 1),
            (Some("https://u:p@a.test/"), 1),
        ] {
            assert!(go("POST", 307, location, hops).is_err(), "{location:?}");
        }
    }
}
