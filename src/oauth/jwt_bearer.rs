//! The jwt-bearer grant: a JWT that another party has signed is redeemed for tokens.
//!
//! - Workload identity: the platform of the program (GitHub Actions, Kubernetes, a cloud instance) keeps a JWT in a file; the file
//!   is read again for each request.
//! - A JWT that the server has refused is not sent again, and no other grant is tried: the file must change first.
//! - Only what has the form of a JWT is sent, so that another file given by mistake stays on this machine.
//! - The client of `--static-oauth-client-info` is named if there is one; this grant needs none (RFC 7523 3.1).
//!
//! Flags: `--workload-token`.
//! Spec: RFC 7521 4.1; RFC 7523 2.1, 3.1; MCP SEP-1933 (workload identity federation).
//! Not done here: the lease, and what follows a failure (`refresh.rs`).

use std::path::Path;

use super::challenge::Challenge;
use super::error::{Failure, Step};
use super::refresh::RefreshState;
use super::{Authorizer, Recovered, registration, token};
use crate::error::{Error, Kind, plain};
use crate::log::clean;
use crate::secret::Secret;
use crate::store::{Tokens, id_token};

/// `grant_type`.
pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

impl Authorizer {
    /// Gets tokens with the JWT in this file; `renew_lease` is called before the request.
    pub(super) fn use_workload_token(
        &self,
        file: &Path,
        state: &mut RefreshState,
        used: &Tokens,
        challenge: Option<&Challenge>,
        renew_lease: impl Fn(),
    ) -> Step<Recovered> {
        let jwt = read_jwt(file, "--workload-token")?;
        if let Some((refused, error)) = &state.refused_assertion
            && *refused == jwt
        {
            return Err(Failure::Final(error.again()));
        }
        let discovered = self.discovered(state, challenge)?;
        let (oauth, store) = (&self.config.oauth, &self.store);
        let client = registration::static_client(oauth)?.unwrap_or_default();
        registration::check_issuer(oauth, store, &discovered, &client)?;
        self.check_pinned_issuer(discovered.issuer())?;
        self.tell_who_gets(&discovered, &client, "the token of --workload-token is");
        let scope = self.scope_of_program(&discovered, used, challenge);
        let before = store.tokens();
        renew_lease();
        let redeemed = self.with_resource(&discovered, |resource| {
            let endpoint = self.endpoint(&discovered, &client);
            let doing = "signing in with the token of --workload-token";
            redeem(endpoint, &jwt, scope.as_deref(), resource, doing)
        });
        let tokens = match redeemed {
            Ok(tokens) => tokens,
            Err(Failure::Refused(code, error)) => {
                let error = error.with_hint(self.what_to_check(&jwt));
                state.refused_assertion = Some((jwt, error.again()));
                return Err(Failure::Refused(code, error));
            }
            Err(failure) => return Err(failure),
        };
        let tokens = Tokens {
            // The next one comes from the file, which the platform renews.
            refresh_token: None,
            // RFC 6749 5.1: not stated means as requested.
            scope: tokens.scope.or(scope),
            ..tokens
        };
        self.keep_for_program(state, before.as_ref(), tokens, discovered, &client)
    }

    fn what_to_check(&self, jwt: &Secret) -> String {
        let described = id_token::described(jwt, self.env.now()).unwrap_or_default();
        format!(
            "the authorization server decides by the token's issuer, audience, subject and expiry: {described}; the next try is made when the file has changed"
        )
    }
}

/// The JWT in the file of a flag.
pub(super) fn read_jwt(file: &Path, flag: &str) -> Step<Secret> {
    let name = clean(&file.to_string_lossy(), 200);
    let wrong = |what: String| Failure::Final(Error::new(Kind::Config, what));
    let text = Secret::from_file(file)
        .map_err(|e| wrong(format!("cannot read \"{name}\" ({flag}): {}", plain(&e))))?;
    let jwt = text.expose().trim();
    let is_jwt = jwt.bytes().all(|b| b.is_ascii_graphic())
        && jwt.split('.').count() == 3
        && id_token::described(&text, 0).is_some();
    if !is_jwt {
        return Err(wrong(format!(
            "\"{name}\" ({flag}) holds no JWT; nothing was sent"
        )));
    }
    Ok(Secret::new(jwt))
}

/// Redeems an assertion. `doing` is the step in words.
pub(super) fn redeem(
    endpoint: token::Endpoint<'_>,
    assertion: &Secret,
    scope: Option<&str>,
    resource: Option<&str>,
    doing: &str,
) -> Step<Tokens> {
    let mut form = vec![("grant_type", GRANT), ("assertion", assertion.expose())];
    form.extend(scope.map(|scope| ("scope", scope)));
    form.extend(resource.map(|resource| ("resource", resource)));
    token::request(endpoint, &form, doing)
}
