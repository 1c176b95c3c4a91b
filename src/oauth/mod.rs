//! Sign-in: OAuth 2.1 as MCP uses it, one file per standard.
//!
//! ```text
//!  a lane ─▶ bearer() ─▶ request ─▶ 401/403 ─▶ recover() ─▶ again
//!                                                 │ a person is needed
//!                                  bridge ◀───────┘
//!                                     └─▶ sign-in thread: sign_in() ─▶ discovery ─▶ registration ─▶ browser ─▶ tokens
//! ```
//!
//! [`Authorizer`] holds the tokens of one server and gets new ones:
//! - nothing is asked for before the server has answered 401 or 403;
//! - tokens are read again from the store, which other instances share, at least every second;
//! - one refresh at a time, in this process and across processes; the newest tokens are stored before they are used;
//! - a passing failure discards nothing and opens no browser; tokens are never sent to another issuer than theirs.
//!
//! Flags: `--use-id-token`, `--client-assertion-key`.
//! Spec: MCP 2025-03-26, 2025-06-18, 2025-11-25, 2026-07-28 basic/authorization; the standards are named in their files.

mod arrival;
mod attempt;
mod authorization_code;
pub mod browser;
pub mod callback;
pub mod callback_page;
pub mod challenge;
mod client_assertion;
mod client_credentials;
mod device_code;
mod discovery;
pub(crate) mod failure;
mod held;
mod issuer;
mod pkce;
mod refresh;
mod registration;
mod renewal;
mod resource_indicator;
pub(crate) mod resource_metadata;
mod revocation;
mod scope;
#[cfg(test)]
mod scripted_world;
pub(crate) mod server_metadata;
mod siblings;
mod sign_in;
pub(crate) mod sign_out;
#[cfg(test)]
mod tests;
pub(crate) mod token;
mod under_way;
pub mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use url::Url;

use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::log::{Level, clean};
use crate::secret::Secret;
use crate::store::{Store, Tokens, UnixMillis};
use challenge::Challenge;
use client_assertion::Key;
use discovery::Discovered;
use failure::{Failure, Step};
use registration::Client;
use renewal::Failed;
use sign_in::StepUp;
use under_way::Counter;
use world::World;

/// Gets, keeps and renews the tokens of one server. Shared by all threads.
pub struct Authorizer {
    world: Box<dyn World>,
    config: Config,
    store: Arc<Store>,
    key: Option<Key>,
    cached: Mutex<Cached>,
    /// Held by whoever is getting new tokens without a person.
    turn: Mutex<Turn>,
    sign_ins: Mutex<Vec<UnixMillis>>,
    /// How many token requests are under way whose answer must not be lost.
    under_way: Counter,
}

#[derive(Default)]
struct Cached {
    tokens: Option<Tokens>,
    read_at: Option<UnixMillis>,
    /// The access token that the server refused and that no refresh can help.
    refused: Option<Secret>,
    /// What the sign-in under way is to widen.
    step_up: Option<StepUp>,
    /// The last token that the server accepted.
    accepted: Option<Secret>,
    /// When it was last noted that the server accepts the sign-in.
    noted_at: Option<UnixMillis>,
    /// The scope that the last step-up asked for, and when it ended.
    stepped_up: Option<(String, UnixMillis)>,
    warned_of_id_token: bool,
}

#[derive(Default)]
struct Turn {
    discovered: Option<Discovered>,
    /// The last tokens got without a person, and when: if the server refuses them too, another refresh will not help.
    renewed: Option<(Secret, UnixMillis)>,
    /// The last failure: it is not provoked again by each waiting request.
    failed: Option<Failed>,
    /// The access token that only a person can replace.
    hopeless: Option<Secret>,
    /// When tokens were renewed of late.
    renewals: Vec<UnixMillis>,
}

/// What is to be done about a refusal.
#[derive(Debug)]
pub enum Recovered {
    /// There is another token: send the request again.
    Again,
    /// A person must sign in.
    NeedsSignIn,
}

impl Authorizer {
    /// An authorizer for the server of this configuration.
    ///
    /// # Errors
    /// If the key of `--client-assertion-key` cannot be used, or `--static-oauth-client-info` holds no client.
    pub fn new(
        world: Box<dyn World>,
        config: &Config,
        store: Arc<Store>,
        key: Option<&Secret>,
    ) -> Result<Authorizer> {
        let known = registration::static_client(&config.oauth).map_err(Failure::into_error)?;
        let key = key.map(Key::from_pem).transpose().map_err(|why| {
            Error::new(
                Kind::Config,
                format!("the file of --client-assertion-key cannot be used: {why}"),
            )
        })?;
        if key.is_some() && known.is_none() && config.oauth.client_metadata_url.is_none() {
            let what = "--client-assertion-key needs the client it belongs to";
            return Err(Error::new(Kind::Usage, what)
                .with_hint("add --static-oauth-client-info '{\"client_id\":\"…\"}'"));
        }
        Ok(Authorizer {
            world,
            config: config.clone(),
            store,
            key,
            cached: Mutex::default(),
            turn: Mutex::default(),
            sign_ins: Mutex::default(),
            under_way: Counter::default(),
        })
    }

    /// The token as it is, not renewed.
    pub fn present_bearer(&self) -> Option<Secret> {
        self.bearer_of(&self.tokens()?)
    }

    /// The token to send, renewed ahead of its end; nothing if there has been no sign-in.
    ///
    /// A renewal that fails leaves the old token: the server decides what it is worth.
    pub fn bearer(&self) -> Option<Secret> {
        let tokens = self.tokens()?;
        let now = self.world.now();
        let can_renew = tokens.refresh_token.is_some() || self.config.oauth.client_credentials;
        let ends_soon = can_renew && self.ends_soon(&tokens, now);
        // As long as it lasts, nobody waits for a refresh that somebody else is at.
        let is_renewed = ends_soon && !tokens.is_expired(now, 0) && self.is_renewing();
        if ends_soon && !is_renewed && !self.was_renewed(&tokens) {
            match self.renew(&tokens, None) {
                Ok(Recovered::Again) => return self.bearer_of(&self.fresh_tokens()?),
                Ok(Recovered::NeedsSignIn) => {}
                Err(failure) => self.world.say(
                    Level::Debug,
                    &format!("not refreshed: {}", failure.error().what()),
                ),
            }
        }
        self.bearer_of(&tokens)
    }

    /// The server refused a request that carried `used`, with a 401, or with a 403 that asks for more scope.
    ///
    /// # Errors
    /// If new tokens could not be had just now, for a reason that may pass.
    pub(crate) fn recover(&self, used: Option<&Secret>, challenge: &Challenge) -> Step<Recovered> {
        let tokens = self.fresh_tokens();
        let now = tokens.as_ref().and_then(|tokens| self.bearer_of(tokens));
        if now.is_some() && now.as_ref() != used {
            return Ok(Recovered::Again);
        }
        let step_up = challenge.is_insufficient_scope();
        if step_up && self.was_in_vain(challenge) {
            let wanted = match &challenge.scope {
                Some(scope) => format!("scope \"{}\"", clean(scope, 200)),
                None => "more scope".to_owned(),
            };
            let what = format!("the server wants {wanted}, and signing in has not given it");
            return Err(Failure::new(what));
        }
        let needs_person = |authorizer: &Authorizer| {
            lock(&authorizer.cached).refused = tokens.as_ref().map(|t| t.access_token.clone());
            Ok(Recovered::NeedsSignIn)
        };
        let renewable = match &tokens {
            _ if self.config.oauth.client_credentials => tokens.clone().unwrap_or_default(),
            Some(tokens) if tokens.refresh_token.is_some() && !step_up => tokens.clone(),
            _ => return needs_person(self),
        };
        // A token that has worked has ended; one that never did will not be better the next time.
        let has_worked = used.is_some() && lock(&self.cached).accepted.as_ref() == used;
        if self.was_renewed(&renewable) && !has_worked {
            return needs_person(self);
        }
        match self.renew(&renewable, Some(challenge)) {
            Ok(Recovered::Again) => Ok(Recovered::Again),
            Ok(Recovered::NeedsSignIn) => needs_person(self),
            Err(failure) => Err(failure),
        }
    }

    /// Whether a person has been asked for this scope already, not long ago: the server will not be content the next time.
    fn was_in_vain(&self, challenge: &Challenge) -> bool {
        let now = self.world.now();
        let wanted = challenge.scope.as_deref().unwrap_or_default();
        let cached = lock(&self.cached);
        cached.stepped_up.as_ref().is_some_and(|(asked, at)| {
            let mut words = wanted.split_whitespace();
            let covers = words.all(|word| asked.split_whitespace().any(|known| known == word));
            covers && at.abs_diff(now) < STEP_UP_AGAIN
        })
    }

    fn is_renewing(&self) -> bool {
        matches!(self.turn.try_lock(), Err(TryLockError::WouldBlock))
    }

    fn endpoint<'a>(
        &'a self,
        discovered: &'a Discovered,
        client: &'a Client,
    ) -> token::Endpoint<'a> {
        token::Endpoint {
            world: &*self.world,
            server: &discovered.server,
            client,
            key: self.key.as_ref(),
            trusted: self.config.oauth.token_endpoint.is_some(),
        }
    }

    fn resource(&self, discovered: &Discovered) -> Option<String> {
        let is_refused = self.store.notes().omit_resource == Some(true);
        resource_indicator::choose(&self.config.oauth, discovered.resource(), is_refused)
    }

    /// The scope to ask for. A step-up asks for what is granted already, too.
    fn scope(&self, discovered: &Discovered, challenge: &Challenge) -> Option<String> {
        let pinned = registration::pinned_scope(&self.config.oauth);
        let remembered = self.store.notes().scope;
        let granted = self.store.tokens().and_then(|tokens| tokens.scope);
        scope::choose(&scope::Sources {
            pinned: pinned.as_deref(),
            challenge: challenge.scope.as_deref(),
            resource: discovered
                .resource()
                .and_then(|resource| resource.scopes.as_deref()),
            remembered: remembered.as_deref(),
            granted: granted
                .as_deref()
                .filter(|_| challenge.is_insufficient_scope()),
        })
    }

    /// Finds the authorization server; the place the challenge named is remembered for later refreshes.
    fn discover(&self, told: Option<&Url>) -> Step<Discovered> {
        if let Some(endpoint) = &self.config.oauth.token_endpoint {
            return Ok(Discovered {
                resource: None,
                server: server_metadata::ServerMetadata {
                    token_endpoint: Some(endpoint.clone()),
                    ..server_metadata::ServerMetadata::default()
                },
                authorization_server: endpoint.origin().ascii_serialization(),
            });
        }
        let notes = self.store.notes();
        let known = notes.resource_metadata_url;
        let known = known.and_then(|text| Url::parse(&text).ok());
        let discovered = discovery::discover(&*self.world, &self.config, told.or(known.as_ref()))?;
        if let Some(told) = told {
            self.store.update_notes(|notes| {
                notes.resource_metadata_url = Some(told.to_string());
            });
        }
        Ok(discovered)
    }
}

/// After so long a person may have been given what they were refused.
const STEP_UP_AGAIN: UnixMillis = 600_000;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
