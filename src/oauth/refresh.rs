//! When to refresh, and how.
//!
//! - Ahead of time: a tenth of the token's life before its end, at most a minute, so that short-lived tokens are not
//!   refreshed at every request.
//! - The scope is the granted one, or left out (RFC 6749 6: then it stays as it was), also where the server refuses it.
//! - A server that sends no new refresh token lets the old one live on; what it does not say stays as it was.
//!
//! Spec: RFC 6749 6; RFC 9700 4.14.2 (rotation).
//! Not done here: who may refresh at a time (`mod.rs`, `store/lease.rs`).

use super::error::{Failure, Step};
use super::token;
use crate::store::{Tokens, UnixMillis};

/// How long before its end an access token is replaced.
pub fn margin(tokens: &Tokens) -> UnixMillis {
    let tenth = tokens.expires_in.map(|life| life.saturating_mul(100));
    tenth.unwrap_or(MOST).min(MOST)
}

const MOST: UnixMillis = 60_000;

/// Redeems the refresh token; `before_each` request of it something is done.
///
/// # Errors
/// If the server refuses it: then the sign-in is over (see [`is_over`]).
pub fn redeem(
    endpoint: token::Endpoint<'_>,
    tokens: &Tokens,
    resource: Option<&str>,
    before_each: &impl Fn(),
) -> Step<Tokens> {
    let Some(refresh_token) = &tokens.refresh_token else {
        return Err(Failure::new("there is no refresh token"));
    };
    let ask = |scope: Option<&str>| {
        before_each();
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose()),
        ];
        form.extend(scope.map(|scope| ("scope", scope)));
        form.extend(resource.map(|resource| ("resource", resource)));
        token::request(endpoint, &form, "refreshing the sign-in")
    };
    let scope = tokens.scope.as_deref();
    let fresh = match ask(scope) {
        Err(failure) if scope.is_some() && failure.code() == Some("invalid_scope") => ask(None)?,
        answered => answered?,
    };
    Ok(Tokens {
        refresh_token: fresh.refresh_token.or_else(|| tokens.refresh_token.clone()),
        id_token: fresh.id_token.or_else(|| tokens.id_token.clone()),
        scope: fresh.scope.or_else(|| tokens.scope.clone()),
        requested_scope: tokens.requested_scope.clone(),
        issuer: tokens.issuer.clone(),
        ..fresh
    })
}

/// Whether a refusal means that a person must sign in again. Other refusals are no reason to throw a sign-in away.
pub fn is_over(failure: &Failure) -> bool {
    matches!(
        failure.code(),
        Some(
            "invalid_grant"
                | "invalid_token"
                | "invalid_client"
                | "unauthorized_client"
                | "invalid_scope"
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_is_a_tenth_of_the_life_and_at_most_a_minute() {
        let with = |expires_in| {
            margin(&Tokens {
                expires_in,
                ..Tokens::default()
            })
        };
        assert_eq!(with(Some(3600)), 60_000);
        assert_eq!(with(Some(60)), 6_000);
        assert_eq!(with(Some(1)), 100);
        assert_eq!(with(Some(u64::MAX)), 60_000);
        assert_eq!(with(None), 60_000);
    }
}
