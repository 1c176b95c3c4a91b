//! Sign-out (`--logout`): revokes the tokens where the authorization server offers that.
//!
//! The refresh token is revoked first: most servers then end the whole grant. The caller removes what is stored, also after an
//! error.
//!
//! Spec: RFC 7009 2.

use super::error::{Failure, Step, of_response};
use super::{Authorizer, registration, token};
use crate::store::Tokens;

/// The result of a sign-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedOut {
    /// There were no tokens.
    WasNot,
    /// The authorization server revoked the tokens.
    Revoked,
    /// The server offers no revocation: the tokens expire by themselves.
    Removed,
}

impl Authorizer {
    /// Revokes the tokens.
    ///
    /// # Errors
    /// If the server refuses or cannot be reached.
    pub fn revoke(&self) -> crate::error::Result<SignedOut> {
        self.revoke_stored().map_err(Failure::into_error)
    }

    fn revoke_stored(&self) -> Step<SignedOut> {
        let Some(tokens) = self.store.tokens() else {
            return Ok(SignedOut::WasNot);
        };
        let discovered = self.discover(None)?;
        if !tokens.is_from(discovered.issuer()) {
            return Ok(SignedOut::Removed);
        }
        let (oauth, store, now) = (&self.config.oauth, &self.store, self.env.now());
        let Some(client) = registration::known(oauth, store, &discovered, None, now)? else {
            return Ok(SignedOut::Removed);
        };
        if revoke(self.endpoint(&discovered, &client), &tokens)? {
            Ok(SignedOut::Revoked)
        } else {
            Ok(SignedOut::Removed)
        }
    }
}

/// False if the server offers no revocation.
fn revoke(endpoint: token::Endpoint<'_>, tokens: &Tokens) -> Step<bool> {
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
        let (request, response) = token::post(endpoint, url.clone(), &form, doing)?;
        if !(200..300).contains(&response.status) {
            let failure = of_response(doing, &request, &response);
            // RFC 7009 2.2.1: a server may be unable to revoke access tokens.
            if failure.code() == Some("unsupported_token_type") {
                continue;
            }
            return Err(failure);
        }
    }
    Ok(true)
}
