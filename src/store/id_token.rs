//! What an id token says: who signed in, when it ends, and who issued it. Pure.
//!
//! No signature is verified: the token came from the token endpoint over TLS, and whoever is sent the token verifies it. The
//! issuer is used only to keep tokens of unknown origin from other authorization servers.
//!
//! Spec: OpenID Connect Core 1.0 2, 3.1.3.7 (6), 5.1; RFC 7519 4.1.4 (`exp`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::records::{Object, UnixMillis};
use crate::log::clean;
use crate::secret::Secret;

/// The name a person knows the account by, else the one the server knows it by; fit for a terminal.
pub fn account(token: &Secret) -> Option<String> {
    let claims = claims(token)?;
    ["email", "preferred_username", "sub"]
        .iter()
        .filter_map(|claim| claims.get(*claim)?.as_str())
        .map(|text| clean(text, 100))
        .find(|text| !text.is_empty())
}

/// The issuer that a token names, also an access token that is a JWT (RFC 9068 2.2).
pub fn issuer(token: &Secret) -> Option<String> {
    Some(claims(token)?.get("iss")?.as_str()?.to_owned())
}

/// When the token ends.
pub fn expiry(token: &Secret) -> Option<UnixMillis> {
    let exp = claims(token)?.get("exp").and_then(Value::as_u64)?;
    Some(exp.saturating_mul(1000))
}

/// What the receiver of an assertion checks, for an error: audience, subject, and whether it has ended. `None` if it is not a JWT.
pub fn described(token: &Secret, now: UnixMillis) -> Option<String> {
    let claims = claims(token)?;
    let shown = |name: &str| match claims.get(name) {
        None => "none".to_owned(),
        Some(Value::String(text)) => format!("\"{}\"", clean(text, 200)),
        Some(other) => clean(&other.to_string(), 200),
    };
    let end = match expiry(token) {
        Some(at) if at <= now => format!("expired {} s ago", (now - at) / 1000),
        Some(at) => format!("expires in {} s", (at - now) / 1000),
        None => "has no expiry".to_owned(),
    };
    Some(format!(
        "its audience is {}, its subject {}, it {end}",
        shown("aud"),
        shown("sub")
    ))
}

fn claims(token: &Secret) -> Option<Object> {
    let claims = token.expose().split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&claims).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Secret {
        Secret::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)))
    }

    #[test]
    fn an_account_is_named_as_people_know_it() {
        for (claims, expected) in [
            (
                r#"{"sub":"7","preferred_username":"ada","email":"ada@a.test"}"#,
                Some("ada@a.test"),
            ),
            (r#"{"sub":"7","preferred_username":"ada"}"#, Some("ada")),
            (r#"{"sub":"7","email":null}"#, Some("7")),
            (r#"{"sub":"7","email":" \u0007"}"#, Some("7")),
            (
                r#"{"email":"\u001b]0;x\u0007a\n\u202eb"}"#,
                Some("]0;x a  b"),
            ),
            (r#"{"aud":"c"}"#, None),
            ("[]", None),
            ("no JSON", None),
        ] {
            assert_eq!(account(&token(claims)).as_deref(), expected, "{claims}");
        }
        for text in ["", "a", "a.b", "a.%%.c"] {
            assert_eq!(account(&Secret::new(text)), None);
        }
        let long = token(&format!(r#"{{"sub":"{}"}}"#, "x".repeat(5000)));
        assert!(account(&long).is_some_and(|shown| shown.chars().count() <= 101));
    }

    #[test]
    fn the_end_is_in_seconds_there_and_in_milliseconds_here() {
        assert_eq!(expiry(&token(r#"{"exp":7}"#)), Some(7_000));
        assert_eq!(expiry(&token(r#"{"exp":"7"}"#)), None);
        assert_eq!(expiry(&Secret::new("opaque")), None);
    }
}
