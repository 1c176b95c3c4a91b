//! The client credentials grant: a program signs in as itself.
//!
//! - It needs a client registered by hand, with a secret or a key.
//! - With `--token-endpoint` there is no discovery, and the endpoint may be anywhere. With `--accept-issuer`, no other issuer gets
//!   the credentials; without both, the first sign-in says who gets them.
//! - Tokens that arrive after a sign-out are not stored.
//!
//! Flags: `--client-credentials`, `--token-endpoint`.
//! Spec: RFC 6749 4.4; RFC 7523 2.2; MCP 2026-07-28 extension "OAuth Client Credentials".
//! Not done here: the lease, and what follows a failure (`refresh.rs`).

use super::challenge::Challenge;
use super::discovery::Discovered;
use super::error::{Failure, Step};
use super::refresh::RefreshState;
use super::{Authorizer, Recovered, registration, scope, token};
use crate::error::{Error, Kind};
use crate::log::{Level, clean};
use crate::store::{Tokens, same_issuer};

impl Authorizer {
    /// Gets tokens with client credentials; `renew_lease` is called before the request.
    pub(super) fn use_client_credentials(
        &self,
        state: &mut RefreshState,
        used: &Tokens,
        challenge: Option<&Challenge>,
        renew_lease: impl Fn(),
    ) -> Step<Recovered> {
        let discovered = self.discovered(state, challenge)?;
        renew_lease();
        let mut scope = self.scope_of_program(&discovered, used, challenge);
        let (oauth, store) = (&self.config.oauth, &self.store);
        let known = registration::known(oauth, store, &discovered, None, self.env.now())?;
        let has_proof =
            |client: &registration::Client| client.secret.is_some() || self.key.is_some();
        let Some(client) = known.filter(has_proof) else {
            let error = Error::new(
                Kind::Config,
                "--client-credentials needs a client with a secret or a key",
            );
            return Err(Failure::Final(error.with_hint(
                "pass it with --static-oauth-client-info '{\"client_id\":\"…\",\"client_secret\":\"…\"}', or with --client-assertion-key",
            )));
        };
        self.check_pinned_issuer(discovered.issuer())?;
        self.tell_who_gets(&discovered, &client, "the client credentials are");
        let before = store.tokens();
        let endpoint = self.endpoint(&discovered, &client);
        let request = |scope: Option<&str>| {
            self.with_resource(&discovered, |resource| {
                let mut form = vec![("grant_type", "client_credentials")];
                form.extend(scope.map(|scope| ("scope", scope)));
                form.extend(resource.map(|resource| ("resource", resource)));
                token::request(endpoint, &form, "signing in with client credentials")
            })
        };
        let challenge = challenge.cloned().unwrap_or_default();
        let mut requested = request(scope.as_deref());
        if let Err(failure) = &requested
            && let Some(instead) =
                self.scope_instead(&discovered, &challenge, scope.as_deref(), failure)
        {
            requested = request(Some(&instead));
            scope = Some(instead);
        }
        let tokens = requested.map_err(|failure| {
            if failure.is_about_scope() {
                let supported = discovered.server.scopes.as_deref();
                failure.map(|error| scope::with_way_out(error, supported))
            } else {
                failure
            }
        })?;
        let tokens = Tokens {
            // RFC 6749 5.1: not stated means as requested.
            scope: tokens.scope.or(scope),
            ..tokens
        };
        self.keep_for_program(state, before.as_ref(), tokens, discovered, &client)
    }

    /// The scope that a program requests.
    pub(super) fn scope_of_program(
        &self,
        discovered: &Discovered,
        used: &Tokens,
        challenge: Option<&Challenge>,
    ) -> Option<String> {
        match challenge {
            Some(challenge) => self.scope(discovered, challenge),
            // Ahead of time there is no challenge: the scope stays.
            None => scope::pinned(&self.config.oauth)
                .or_else(|| used.scope.clone())
                .or_else(|| self.scope(discovered, &Challenge::default())),
        }
    }

    /// With `--accept-issuer`, no other authorization server gets the credentials of a program.
    pub(super) fn check_pinned_issuer(&self, found: &str) -> Step<()> {
        let oauth = &self.config.oauth;
        // As PLACE=ISSUER or ISSUER; an issuer has no query (RFC 8414 2).
        let pinned = oauth.accept_issuer.as_deref();
        let pinned = pinned.and_then(|typed| typed.rsplit('=').next());
        match pinned {
            Some(pinned) if oauth.token_endpoint.is_none() && !same_issuer(pinned, found) => {
                let (found, pinned) = (clean(found, 200), clean(pinned, 200));
                Err(Failure::new(format!(
                    "the server uses the authorization server \"{found}\", and --accept-issuer allows credentials for \"{pinned}\" only"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Says where the credentials go, if neither a flag nor an earlier sign-in has settled it.
    pub(super) fn tell_who_gets(
        &self,
        discovered: &Discovered,
        client: &registration::Client,
        what: &str,
    ) {
        let oauth = &self.config.oauth;
        let bound = self.store.notes().static_client;
        let is_bound = bound.is_some_and(|bound| bound.client_id == client.id);
        if is_bound || oauth.token_endpoint.is_some() || oauth.accept_issuer.is_some() {
            return;
        }
        let text = format!(
            "{what} sent to the authorization server \"{}\", which the MCP server names; to allow no other, pass its URL with --accept-issuer",
            clean(discovered.issuer(), 200)
        );
        self.env.say(Level::Info, &text);
    }
}
