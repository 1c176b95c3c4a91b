//! Token revocation: `--logout` tells the authorization server, where it offers that.
//!
//! The refresh token first: with it most servers end the whole grant.
//!
//! Spec: RFC 7009 2.

use super::error::{Step, of_answer};
use super::token;
use crate::store::Tokens;

/// Revokes the tokens; false if the server offers no revocation.
///
/// # Errors
/// If it refuses or cannot be reached.
pub fn revoke(endpoint: token::Endpoint<'_>, tokens: &Tokens) -> Step<bool> {
    let Some(url) = &endpoint.server.revocation_endpoint else {
        return Ok(false);
    };
    let refresh = tokens
        .refresh_token
        .as_ref()
        .map(|token| (token, "refresh_token"));
    for (token, kind) in refresh
        .into_iter()
        .chain([(&tokens.access_token, "access_token")])
    {
        let form = [("token", token.expose()), ("token_type_hint", kind)];
        let doing = "revoking the tokens";
        let (request, answer) = token::post(endpoint, url.clone(), &form, doing)?;
        if !(200..300).contains(&answer.status) {
            let failure = of_answer(doing, &request, &answer);
            // RFC 7009 2.2.1: a server may be unable to revoke access tokens.
            if failure.code() == Some("unsupported_token_type") {
                continue;
            }
            return Err(failure);
        }
    }
    Ok(true)
}
