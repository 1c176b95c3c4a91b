//! New tokens without a person: a refresh, or client credentials again. One at a time.
//!
//! - In this process under a lock, across processes under the lease of the store; whoever comes second finds the new tokens.
//! - A refresh token is redeemed only at the issuer it came from, by the client it was given to.
//! - A passing failure is remembered for a moment, so that ten waiting requests do not make ten attempts.
//!
//! Spec: RFC 6749 6; RFC 9700 4.14.2; npm mcp-remote 0.15.1 (refresh lease).

use super::challenge::Challenge;
use super::failure::{Failure, Step};
use super::{Authorizer, Recovered, Turn, client_credentials, lock, refresh, registration};
use crate::error::{Error, Kind};
use crate::log::Level;
use crate::store::{LeaseOutcome, Tokens, UnixMillis};

impl Authorizer {
    /// Gets other tokens than `used`.
    ///
    /// # Errors
    /// If that failed for a reason that may pass.
    pub(super) fn renew(&self, used: &Tokens, challenge: Option<&Challenge>) -> Step<Recovered> {
        let mut turn = lock(&self.turn);
        let now = self.world.now();
        if let Some((error, at)) = &turn.failed
            && at.abs_diff(now) < REMEMBERED
        {
            return Err(Failure::Passing(error.again()));
        }
        let unchanged = || match self.store.tokens() {
            Some(tokens) => tokens.access_token == used.access_token,
            None => true,
        };
        let lease = match self.store.lease(unchanged) {
            LeaseOutcome::NotNeeded => {
                self.fresh_tokens();
                return Ok(Recovered::Again);
            }
            LeaseOutcome::Busy => {
                let what = "another instance has been refreshing the sign-in for too long";
                return Err(Failure::Passing(Error::new(Kind::SignIn, what)));
            }
            LeaseOutcome::Held(lease) => Some(lease),
            LeaseOutcome::Uncoordinated => None,
        };
        let renewed = self.renew_leased(&mut turn, used, challenge, || {
            if let Some(lease) = &lease {
                lease.renew();
            }
        });
        if let Err(Failure::Passing(error)) = &renewed {
            turn.failed = Some((error.again(), self.world.now()));
        }
        renewed
    }

    fn renew_leased(
        &self,
        turn: &mut Turn,
        used: &Tokens,
        challenge: Option<&Challenge>,
        renew_lease: impl Fn(),
    ) -> Step<Recovered> {
        let discovered = match &turn.discovered {
            Some(discovered) => discovered.clone(),
            None => {
                let told = challenge.and_then(|challenge| challenge.resource_metadata.as_ref());
                self.discover(told)?
            }
        };
        renew_lease();
        let nothing = Challenge::default();
        let tokens = if self.config.oauth.client_credentials {
            self.credentials(&discovered, challenge.unwrap_or(&nothing))?
        } else {
            // Read again: only the newest refresh token may be redeemed.
            let Some(current) = self.store.tokens() else {
                return Ok(Recovered::NeedsSignIn);
            };
            if current.access_token != used.access_token {
                return Ok(Recovered::Again);
            }
            if !current.may_be_from(discovered.issuer()) {
                self.world.say(
                    Level::Info,
                    "the server uses another authorization server now: a new sign-in is needed",
                );
                return Ok(Recovered::NeedsSignIn);
            }
            let (oauth, store) = (&self.config.oauth, &self.store);
            let now = self.world.now();
            let Some(client) = registration::known(oauth, store, &discovered, None, now)? else {
                return Ok(Recovered::NeedsSignIn);
            };
            let resource = self.resource(&discovered);
            let endpoint = self.endpoint(&discovered, &client);
            match refresh::redeem(endpoint, &current, resource.as_deref()) {
                Ok(tokens) => tokens,
                Err(failure) if refresh::is_over(&failure) => {
                    self.sign_in_is_over(&failure, client.origin.is_replaceable());
                    turn.discovered = None;
                    return Ok(Recovered::NeedsSignIn);
                }
                Err(failure) => return Err(failure),
            }
        };
        let tokens = self.keep(tokens, Some(discovered.issuer()));
        turn.renewed = Some((tokens.access_token, self.world.now()));
        turn.discovered = Some(discovered);
        turn.failed = None;
        Ok(Recovered::Again)
    }

    /// The authorization server has ended it: what it does not accept any more is removed.
    fn sign_in_is_over(&self, failure: &Failure, replaceable: bool) {
        let text = format!("{}: a new sign-in is needed", failure.error().what());
        self.world.say(Level::Info, &text);
        self.store.remove_tokens();
        if failure.is_unknown_client() && replaceable {
            self.store.remove_client_info();
        }
        self.fresh_tokens();
    }

    fn credentials(&self, discovered: &super::Discovered, challenge: &Challenge) -> Step<Tokens> {
        let now = self.world.now();
        let (oauth, store) = (&self.config.oauth, &self.store);
        let known = registration::known(oauth, store, discovered, None, now)?;
        let proves = |client: &registration::Client| client.secret.is_some() || self.key.is_some();
        let Some(client) = known.filter(proves) else {
            let error = Error::new(
                Kind::Config,
                "--client-credentials needs a client with a secret or a key",
            );
            return Err(Failure::Final(error.with_hint(
                "pass it with --static-oauth-client-info '{\"client_id\":\"…\",\"client_secret\":\"…\"}', or with --client-assertion-key",
            )));
        };
        let scope = self.scope(discovered, challenge);
        let resource = self.resource(discovered);
        let endpoint = self.endpoint(discovered, &client);
        client_credentials::request(endpoint, scope.as_deref(), resource.as_deref())
    }
}

/// How long a passing failure is answered without another attempt.
const REMEMBERED: UnixMillis = 2_000;
