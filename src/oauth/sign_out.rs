//! Signing out: the tokens are revoked where the authorization server offers that, and removed in any case.
//!
//! Spec: RFC 7009.

use super::error::Step;
use super::{Authorizer, registration, revocation};

/// How a sign-out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedOut {
    /// There were no tokens.
    WasNot,
    /// The authorization server has revoked them.
    Revoked,
    /// It offers no revocation: they end by themselves.
    Removed,
}

impl Authorizer {
    /// Revokes the tokens. What is stored is the caller's to remove, also after a failure.
    ///
    /// # Errors
    /// If they could not be revoked.
    pub fn revoke(&self) -> crate::error::Result<SignedOut> {
        let revoked = || -> Step<SignedOut> {
            let Some(tokens) = self.store.tokens() else {
                return Ok(SignedOut::WasNot);
            };
            let discovered = self.discover(None)?;
            if !tokens.may_be_from(discovered.issuer()) {
                return Ok(SignedOut::Removed);
            }
            let (oauth, store) = (&self.config.oauth, &self.store);
            let now = self.env.now();
            let Some(client) = registration::known(oauth, store, &discovered, None, now)? else {
                return Ok(SignedOut::Removed);
            };
            let endpoint = self.endpoint(&discovered, &client);
            Ok(match revocation::revoke(endpoint, &tokens)? {
                true => SignedOut::Revoked,
                false => SignedOut::Removed,
            })
        };
        revoked().map_err(super::Failure::into_error)
    }
}
