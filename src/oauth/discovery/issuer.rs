//! Issuer comparison, in metadata and in authorization responses.
//!
//! - Metadata must name the issuer it was fetched for, compared character by character; only an empty path and `/` are equal
//!   (`same_issuer`). The error for any other issuer shows both values; `--accept-issuer` accepts one more.
//! - The `iss` of an authorization response must be the metadata's issuer exactly.
//!
//! Flags: `--accept-issuer`.
//! Spec: RFC 8414 3.3, RFC 9207 2.4; MCP 2026-07-28 basic/authorization (Authorization Response Validation).

use crate::log::clean;
use crate::oauth::error::{Failure, Step};
use crate::store::same_issuer;

/// Checks that metadata fetched for `expected` names that issuer.
///
/// # Errors
/// If it names another issuer, and that is not the `accepted` one.
pub fn check_metadata(expected: &str, found: Option<&str>, accepted: Option<&str>) -> Step<()> {
    let Some(found) = found else {
        return Err(Failure::new(format!(
            "the metadata of authorization server \"{}\" names no issuer",
            clean(expected, 200)
        )));
    };
    if same_issuer(expected, found) || accepted.is_some_and(|accepted| same_issuer(accepted, found))
    {
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
/// If it is another issuer, or missing although the server's metadata announces it.
pub fn check_response(iss: Option<&str>, issuer: Option<&str>, always_sent: bool) -> Step<()> {
    match (iss, issuer) {
        (Some(iss), Some(issuer)) if issuer != iss => Err(Failure::new(format!(
            "the callback comes from another authorization server: \"{}\" instead of \"{}\"",
            clean(iss, 200),
            clean(issuer, 200)
        ))),
        (None, Some(issuer)) if always_sent => Err(Failure::new(format!(
            "the callback has no iss parameter, although \"{}\" always sends it",
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
        assert!(same_issuer("https://a.test", "https://a.test/"));
        assert!(same_issuer("https://a.test/x", "https://a.test/x"));
        for other in [
            "https://a.test/x/",
            "https://a.test/X",
            "https://b.test/x",
            "http://a.test/x",
            "https://a.test",
        ] {
            assert!(!same_issuer("https://a.test/x", other), "{other}");
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
