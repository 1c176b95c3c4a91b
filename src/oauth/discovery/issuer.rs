//! Issuer comparison, in metadata and in authorization responses.
//!
//! Issuers are compared character by character, in metadata with one tolerance where the two are certainly the same URI: an
//! empty path and `/` after the authority (RFC 3986 6.2.3). Anything else is refused with both values; `--accept-issuer` names
//! one that is to be believed for this server all the same. The `iss` of a response must be the metadata's issuer exactly.
//!
//! Flags: `--accept-issuer`.
//! Spec: RFC 8414 3.3, RFC 9207 2.4; MCP 2026-07-28 basic/authorization (Authorization Response Validation).

use crate::log::clean;
use crate::oauth::error::{Failure, Step};

/// Whether two issuers are the same.
pub fn same(a: &str, b: &str) -> bool {
    a == b || without_empty_path(a) == without_empty_path(b)
}

fn without_empty_path(issuer: &str) -> &str {
    match issuer.strip_suffix('/') {
        // `https://a.test/` has no other slash after its scheme's.
        Some(stem) if stem.matches('/').count() == 2 => stem,
        _ => issuer,
    }
}

/// Checks that metadata fetched for `expected` says so itself.
///
/// # Errors
/// If it names another issuer, which is not `accepted` either.
pub fn check_metadata(expected: &str, found: Option<&str>, accepted: Option<&str>) -> Step<()> {
    let Some(found) = found else {
        return Err(Failure::new(format!(
            "the metadata of authorization server \"{}\" names no issuer",
            clean(expected, 200)
        )));
    };
    if same(expected, found) || accepted.is_some_and(|accepted| same(accepted, found)) {
        return Ok(());
    }
    let found = clean(found, 200);
    let what = format!(
        "the metadata of authorization server \"{}\" names another issuer: \"{found}\"",
        clean(expected, 200)
    );
    let error = crate::error::Error::new(crate::error::Kind::SignIn, what).with_hint(format!(
        "if you know that both are the same, add: --accept-issuer {found}"
    ));
    Err(Failure::Final(error))
}

/// Checks the `iss` of an authorization response, also of one that carries an error.
///
/// # Errors
/// If it is another server's, or missing although the server says that it sends it.
pub fn check_response(iss: Option<&str>, issuer: Option<&str>, always_sent: bool) -> Step<()> {
    match (iss, issuer) {
        (Some(iss), Some(issuer)) if issuer != iss => Err(Failure::new(format!(
            "the answer of the browser comes from another authorization server: \"{}\" instead of \"{}\"",
            clean(iss, 200),
            clean(issuer, 200)
        ))),
        (None, Some(issuer)) if always_sent => Err(Failure::new(format!(
            "the answer of the browser does not say who it comes from, although \"{}\" always does",
            clean(issuer, 200)
        ))),
        // Without metadata there is nothing to compare with (2025-03-26 servers).
        (_, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_path_may_be_spelled_in_two_ways() {
        assert!(same("https://a.test", "https://a.test/"));
        assert!(same("https://a.test/x", "https://a.test/x"));
        for other in [
            "https://a.test/x/",
            "https://a.test/X",
            "https://b.test/x",
            "http://a.test/x",
            "https://a.test",
        ] {
            assert!(!same("https://a.test/x", other), "{other}");
        }
    }

    #[test]
    fn another_issuer_is_refused_with_both_values_and_the_way_out() {
        let error = check_metadata("https://a.test", Some("https://b.test"), None)
            .unwrap_err()
            .into_error();
        assert!(error.what().contains("https://a.test") && error.what().contains("https://b.test"));
        assert!(
            error
                .hint()
                .unwrap()
                .contains("--accept-issuer https://b.test")
        );
        assert!(
            check_metadata(
                "https://a.test",
                Some("https://b.test"),
                Some("https://b.test")
            )
            .is_ok()
        );
        assert!(check_metadata("https://a.test", None, None).is_err());
    }

    #[test]
    fn a_response_must_come_from_the_server_that_was_asked() {
        let a = Some("https://a.test");
        assert!(check_response(a, a, true).is_ok());
        assert!(check_response(None, a, false).is_ok());
        assert!(check_response(None, a, true).is_err());
        assert!(check_response(Some("https://b.test"), a, false).is_err());
        for respelled in ["https://a.test/", "https://A.test", "https://a.test:443"] {
            assert!(
                check_response(Some(respelled), a, false).is_err(),
                "{respelled}"
            );
        }
        assert!(check_response(Some("https://b.test"), None, false).is_ok());
    }
}
