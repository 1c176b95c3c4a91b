//! Sign-in: OAuth 2.1 as MCP uses it, one file per standard.
//!
//! ```text
//!  worker ─▶ bearer() ─▶ request ─▶ 401/403 ─▶ recover() ─▶ again
//!                                                 │ the user must sign in
//!                                  bridge ◀───────┘
//!                                     └─▶ sign-in thread: sign_in() ─▶ discovery ─▶ registration ─▶ browser ─▶ tokens
//! ```
//!
//! [`Authorizer`] holds the tokens of one server and gets new ones:
//! - no OAuth request is sent before the server has returned 401 or 403;
//! - tokens are read again from the store, which other instances share, at least every second;
//! - one refresh at a time, in this process and across processes; the newest tokens are stored before they are used;
//! - a temporary failure discards nothing and opens no browser; tokens are never sent to another issuer than theirs.
//!
//! Flags: `--use-id-token`, `--client-assertion-key`.
//! Spec: MCP 2025-03-26, 2025-06-18, 2025-11-25, 2026-07-28 basic/authorization; the standards are named in their files.

mod authorization_code;
pub mod browser;
pub mod callback;
pub mod challenge;
mod client_auth;
mod client_credentials;
mod coordination;
mod device_code;
pub(crate) mod discovery;
pub(crate) mod dpop;
pub mod environment;
pub(crate) mod error;
mod id_jag;
mod jwt_bearer;
mod refresh;
mod registration;
mod resource_indicator;
pub(crate) mod revocation;
mod scope;
#[cfg(test)]
mod scripted_environment;
mod sign_in;
#[cfg(test)]
mod tests;
pub(crate) mod token;
mod token_cache;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use url::Url;

use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::log::{Level, clean};
use crate::secret::Secret;
use crate::store::Store;
use challenge::Challenge;
use client_auth::Key;
use discovery::issuer::Accepted;
use discovery::server_metadata::ServerMetadata;
use discovery::{Discovered, Known};
use dpop::{Credential, Dpop};
use environment::Environment;
use error::{Failure, Step};
use refresh::RefreshState;
use registration::Client;
use sign_in::History;
use token_cache::{Counter, TokenCache};

/// Gets, keeps and refreshes the tokens of one server. Shared by all threads.
pub struct Authorizer {
    env: Arc<dyn Environment>,
    config: Config,
    store: Arc<Store>,
    key: Option<Key>,
    cache: Mutex<TokenCache>,
    /// Locked during a refresh.
    refresh: Mutex<RefreshState>,
    history: Mutex<History>,
    under_way: Counter,
    /// The sign-in at the company's identity provider.
    provider: Option<Box<Authorizer>>,
    /// Whether this is that one.
    is_provider: bool,
    dpop: Dpop,
}

/// What to do after a refusal.
#[derive(Debug)]
pub enum Recovered {
    /// There is another token: send the request again.
    Again,
    /// The user must sign in.
    NeedsSignIn,
}

impl Authorizer {
    /// An authorizer for the server of this configuration.
    ///
    /// # Errors
    /// If the key of `--client-assertion-key` or the client of `--static-oauth-client-info` is invalid.
    pub fn new(
        env: Box<dyn Environment>,
        config: &Config,
        store: Arc<Store>,
        key: Option<&Secret>,
    ) -> Result<Authorizer> {
        Authorizer::in_environment(env.into(), config, store, key)
    }

    fn in_environment(
        env: Arc<dyn Environment>,
        config: &Config,
        store: Arc<Store>,
        key: Option<&Secret>,
    ) -> Result<Authorizer> {
        let client = registration::static_client(&config.oauth).map_err(Failure::into_error)?;
        let key = key.map(Key::from_pem).transpose().map_err(|why| {
            Error::new(
                Kind::Config,
                format!("the file of --client-assertion-key cannot be used: {why}"),
            )
        })?;
        if key.is_some() && client.is_none() && config.oauth.client_metadata_url.is_none() {
            let what = "--client-assertion-key needs the client it belongs to";
            return Err(Error::new(Kind::Usage, what)
                .with_hint("add --static-oauth-client-info '{\"client_id\":\"…\"}'"));
        }
        Ok(Authorizer {
            provider: Authorizer::provider(&env, config, &store)?,
            is_provider: false,
            env,
            config: config.clone(),
            store,
            key,
            cache: Mutex::default(),
            refresh: Mutex::default(),
            history: Mutex::default(),
            under_way: Counter::default(),
            dpop: Dpop::default(),
        })
    }

    /// The token as it is, without a refresh.
    pub fn present_bearer(&self) -> Option<Credential> {
        self.bearer_of(&self.tokens()?)
    }

    /// The token to send, refreshed ahead of its end; `None` before the first sign-in.
    ///
    /// If the refresh fails, the old token is sent: the server decides whether it is still valid.
    pub fn bearer(&self) -> Option<Credential> {
        let tokens = self.tokens()?;
        // A refresh token is of no use without the key that it is bound to.
        let credential = self.bearer_of(&tokens)?;
        let now = self.env.now();
        let can_refresh = tokens.refresh_token.is_some() || self.config.oauth.is_for_program();
        let ends_soon = can_refresh && self.ends_soon(&tokens, now);
        // While the old token is valid, nobody waits for a refresh on another thread.
        let is_refreshing = ends_soon && !tokens.is_expired(now, 0) && self.is_refreshing();
        if ends_soon && !is_refreshing && !self.was_refreshed(&tokens) {
            match self.refresh(&tokens, None) {
                Ok(Recovered::Again) => return self.bearer_of(&self.fresh_tokens()?),
                Ok(Recovered::NeedsSignIn) => {}
                Err(failure) => self.env.say(
                    Level::Debug,
                    &format!("not refreshed: {}", failure.error().what()),
                ),
            }
        }
        Some(credential)
    }

    /// The server refused a request that carried `used`, with 401, or with 403 and a challenge for more scope.
    ///
    /// # Errors
    /// If new tokens cannot be obtained now, for a reason that may pass, or if a step-up has not helped.
    pub(crate) fn recover(
        &self,
        used: Option<&Credential>,
        challenge: &Challenge,
    ) -> Step<Recovered> {
        let tokens = self.fresh_tokens();
        let current = tokens.as_ref().and_then(|tokens| self.bearer_of(tokens));
        if current.is_some() && current.as_ref() != used {
            return Ok(Recovered::Again);
        }
        dpop::check_proof(current.as_ref(), challenge)?;
        let is_step_up = challenge.is_insufficient_scope();
        if is_step_up && self.has_just_stepped_up(challenge) {
            let needed = match &challenge.scope {
                Some(scope) => format!("scope \"{}\"", clean(scope, 200)),
                None => "more scope".to_owned(),
            };
            let what = format!("the server requires {needed}, and a sign-in did not grant it");
            return Err(Failure::new(what));
        }
        let recovered = match &tokens {
            _ if self.config.oauth.is_for_program() => {
                self.refresh_if_useful(&tokens.clone().unwrap_or_default(), used, challenge)?
            }
            Some(tokens) if tokens.refresh_token.is_some() && current.is_some() && !is_step_up => {
                self.refresh_if_useful(tokens, used, challenge)?
            }
            _ => Recovered::NeedsSignIn,
        };
        if matches!(recovered, Recovered::NeedsSignIn) {
            lock(&self.cache).refused = tokens.map(|tokens| tokens.access_token);
        }
        Ok(recovered)
    }

    /// Refreshes, unless the refused tokens come from a refresh and were never accepted: another one would not help.
    fn refresh_if_useful(
        &self,
        tokens: &crate::store::Tokens,
        used: Option<&Credential>,
        challenge: &Challenge,
    ) -> Step<Recovered> {
        let used = used.map(|used| &used.token);
        let was_accepted = used.is_some() && lock(&self.cache).accepted.as_ref() == used;
        if self.was_refreshed(tokens) && !was_accepted {
            return Ok(Recovered::NeedsSignIn);
        }
        self.refresh(tokens, Some(challenge))
    }

    fn is_refreshing(&self) -> bool {
        matches!(self.refresh.try_lock(), Err(TryLockError::WouldBlock))
    }

    fn endpoint<'a>(
        &'a self,
        discovered: &'a Discovered,
        client: &'a Client,
    ) -> token::Endpoint<'a> {
        token::Endpoint {
            env: &*self.env,
            server: &discovered.server,
            client,
            key: self.key.as_ref(),
            dpop: (!self.config.oauth.no_dpop).then_some((&self.dpop, &self.store)),
            trusted: self.config.oauth.token_endpoint.is_some() || self.is_provider,
        }
    }

    /// The scope that this resource needs. A step-up adds the scope that is already granted.
    fn scope(&self, discovered: &Discovered, challenge: &Challenge) -> Option<String> {
        let pinned = scope::pinned(&self.config.oauth);
        let remembered = self.store.notes().scope;
        let granted = self.store.tokens().and_then(|tokens| tokens.scope);
        let resource = discovered.resource();
        scope::choose(&scope::Sources {
            pinned: pinned.as_deref(),
            challenge: challenge.scope.as_deref(),
            resource: resource.and_then(|resource| resource.scopes.as_deref()),
            remembered: remembered.as_deref(),
            granted: granted
                .as_deref()
                .filter(|_| challenge.is_insufficient_scope()),
        })
    }

    /// The scope to request from the user, with `offline_access` where that is offered.
    fn requested_scope(&self, discovered: &Discovered, challenge: &Challenge) -> Option<String> {
        if self.is_provider {
            return Some(id_jag::scope_at_provider(discovered));
        }
        let scope = self.scope(discovered, challenge);
        match scope::pinned(&self.config.oauth) {
            Some(_) => scope,
            None => scope::with_offline_access(scope, discovered.server.scopes.as_deref()),
        }
    }

    /// The scope to request instead of one that the server refused; none if the user chose it, or nothing else is listed.
    fn scope_instead(
        &self,
        discovered: &Discovered,
        challenge: &Challenge,
        requested: Option<&str>,
        failure: &Failure,
    ) -> Option<String> {
        if !failure.is_about_scope() || scope::pinned(&self.config.oauth).is_some() {
            return None;
        }
        let resource = discovered.resource();
        let resource = resource.and_then(|resource| resource.scopes.as_deref());
        let supported = discovered.server.scopes.as_deref();
        let instead = scope::instead_of(requested, resource, supported)?;
        // A step-up without the missing scope would not help.
        let needed = challenge.scope.as_deref().unwrap_or_default();
        let is_enough =
            !challenge.is_insufficient_scope() || scope::holds_all(Some(&instead), needed);
        is_enough.then_some(instead)
    }

    /// Finds the authorization server. The `resource_metadata` of the challenge is remembered for later refreshes.
    fn discover(&self, resource_metadata: Option<&Url>) -> Step<Discovered> {
        if let Some(endpoint) = &self.config.oauth.token_endpoint {
            return Ok(Discovered {
                resource: None,
                server: ServerMetadata {
                    token_endpoint: Some(endpoint.clone()),
                    ..ServerMetadata::default()
                },
                authorization_server: endpoint.origin().ascii_serialization(),
            });
        }
        if self.is_provider {
            return discovery::of_provider(&*self.env, &self.config);
        }
        let notes = self.store.notes();
        let known = Known {
            issuer: self.store.tokens().and_then(|tokens| tokens.issuer),
            accepted: Accepted {
                typed: self.config.oauth.accept_issuer.clone(),
                before: notes.accepted_issuer,
            },
        };
        let noted = notes.resource_metadata_url;
        let noted = noted.and_then(|text| Url::parse(&text).ok());
        let url = resource_metadata.or(noted.as_ref());
        let discovered = discovery::discover(&*self.env, &self.config, url, &known)?;
        let accepted = discovered.accepted(&known.accepted);
        self.store.update_notes(|notes| {
            if let Some(url) = resource_metadata {
                notes.resource_metadata_url = Some(url.to_string());
            }
            if accepted.is_some() {
                notes.accepted_issuer = accepted;
            }
        });
        Ok(discovered)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
