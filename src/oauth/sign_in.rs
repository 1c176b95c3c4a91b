//! The sign-in with a person, from the bound port to the stored tokens.
//!
//! - The port is bound first: whoever has it leads; the others follow, and take over when the leader dies.
//! - A registration that the server has forgotten is replaced once, in the same browser tab; a resource parameter it refuses
//!   is left out.
//! - Five sign-ins in half a minute are a loop (npm's brake).
//!
//! The trip of the browser is in `attempt.rs`, its return in `arrival.rs`.
//!
//! Flags: `--host`, `--callback-path`, `--device-code`.
//! Spec: MCP 2026-07-28 basic/authorization (Authorization Flow Steps); RFC 6749 4.1; RFC 8252; npm mcp-remote 0.15.1
//! (coordinateAuth).

use std::time::Duration;

use url::Url;

use super::arrival::Visitors;
use super::attempt::visiting;
use super::authorization_code;
use super::callback::{Bound, Listener, Place, is_sibling};
use super::challenge::Challenge;
use super::failure::{Failure, Step};
use super::registration::{self, Client, Origin, Wanted};
use super::{Authorizer, Discovered, device_code, lock, scope};
use crate::error::{Error, Kind, Result};
use crate::log::{Level, clean};
use crate::store::{Tokens, UnixMillis};
use crate::url::shown;

impl Authorizer {
    /// Signs a person in, or a program with client credentials. Returns when there are new tokens; this can take minutes.
    ///
    /// # Errors
    /// If it failed, was declined, or nobody came.
    pub fn sign_in(&self, challenge: &Challenge) -> Result<()> {
        self.brake()?;
        self.world.found("challenge", &in_words(challenge));
        let done = if self.config.oauth.client_credentials {
            let used = self.store.tokens().unwrap_or_default();
            self.renew(&used, Some(challenge)).map(drop)
        } else if self.config.oauth.device_code {
            self.with_device_code(challenge)
        } else {
            self.with_browser(challenge)
        };
        done.map_err(Failure::into_error)
    }

    /// Ends what looks like a loop (npm: 5 in 30 s).
    fn brake(&self) -> Result<()> {
        let now = self.world.now();
        let mut sign_ins = lock(&self.sign_ins);
        sign_ins.retain(|at| at.abs_diff(now) < BRAKE_TIME);
        if sign_ins.len() >= BRAKE_COUNT {
            let what = "the server refuses each new sign-in: no more are tried for half a minute";
            return Err(Error::new(Kind::SignIn, what)
                .with_hint("run mcp-remote-client with the server's address to see each step"));
        }
        sign_ins.push(now);
        Ok(())
    }

    fn with_device_code(&self, challenge: &Challenge) -> Step<()> {
        let discovered = self.discover(challenge.resource_metadata.as_ref())?;
        let scope = self.asked_scope(&discovered, challenge);
        let resource = self.resource(&discovered);
        let wanted = Wanted {
            redirect_uri: None,
            grant: device_code::GRANT,
            scope: scope.as_deref(),
        };
        let mut client = self.client(&discovered, wanted)?;
        let issued = loop {
            let endpoint = self.endpoint(&discovered, &client);
            let allow_http = self.config.allow_http;
            match device_code::begin(endpoint, scope.as_deref(), resource.as_deref(), allow_http) {
                Ok(issued) => break issued,
                Err(failure) if failure.is_unknown_client() && client.origin.is_replaceable() => {
                    self.store.remove_client_info();
                    client = self.client(&discovered, wanted)?;
                }
                Err(failure) => return Err(failure),
            }
        };
        self.world.show_url(&issued.url, &issued.text);
        let endpoint = self.endpoint(&discovered, &client);
        let tokens = device_code::wait(endpoint, &issued, resource.as_deref())?;
        self.finish(tokens, &discovered, scope.as_deref(), challenge);
        Ok(())
    }

    fn with_browser(&self, challenge: &Challenge) -> Step<()> {
        let mut place = self.place();
        let patience = self.config.oauth.auth_timeout.max(LEAST_PATIENCE);
        let give_up = self.world.now() + millis(patience);
        loop {
            match Listener::bind(&place, self.store.hash())? {
                Bound::Listening(listener) => {
                    let done = self.lead(challenge, &listener);
                    listener.finish(done.is_ok());
                    return done;
                }
                Bound::SiblingAt(port) => {
                    if self.follow(port, give_up)? {
                        return Ok(());
                    }
                    // The leader is gone: its port is the one the open tab comes back to.
                    place.port = port;
                }
            }
        }
    }

    /// npm's port: the one that was asked for, else that of the registration, else the one derived from the address.
    fn place(&self) -> Place {
        let oauth = &self.config.oauth;
        let registered = self.store.client_info().and_then(|info| {
            let ours = |uri: &&String| {
                Url::parse(uri).is_ok_and(|url| {
                    url.host_str() == Some(&oauth.host) && url.path() == oauth.callback_path
                })
            };
            let uri = info.redirect_uris.iter().find(ours)?;
            Url::parse(uri).ok()?.port()
        });
        let is_fixed = oauth.static_client_info.is_some() || oauth.client_metadata_url.is_some();
        let derived = self.store.hash().port();
        Place {
            port: oauth
                .port
                .or(registered.filter(|_| !is_fixed))
                .unwrap_or(derived),
            strict: oauth.port.is_some() || is_fixed,
            host: oauth.host.clone(),
            path: oauth.callback_path.clone(),
            server: shown(&self.config.server),
        }
    }

    /// Waits for the tokens of the instance that leads; false if it is gone.
    fn follow(&self, port: u16, give_up: UnixMillis) -> Step<bool> {
        self.world.say(
            Level::Info,
            "another instance is signing in to this server; waiting for it",
        );
        let mut told = false;
        let mut missed = 0;
        loop {
            if self.has_news() {
                return Ok(true);
            }
            let now = self.world.now();
            if now >= give_up {
                let what = "another instance has not completed its sign-in in time";
                return Err(Failure::new(what));
            }
            if let Some(pending) = self.store.pending_sign_in(now).filter(|_| !told)
                && let Ok(url) = Url::parse(&pending.authorization_url)
            {
                self.world.show_url(&url, &visiting(&url));
                told = true;
            }
            missed = if is_sibling(port, self.store.hash()) {
                0
            } else {
                missed + 1
            };
            if missed > 1 {
                // It may have stored its tokens just before it left.
                return Ok(self.has_news());
            }
            self.world.sleep(POLL);
        }
    }

    /// Whether there are usable tokens that the server has not refused.
    pub(super) fn has_news(&self) -> bool {
        let tokens = self.fresh_tokens();
        let refused = lock(&self.cached).refused.clone();
        tokens.is_some_and(|tokens| {
            tokens.is_usable(self.world.now()) && Some(&tokens.access_token) != refused.as_ref()
        })
    }

    fn lead(&self, challenge: &Challenge, listener: &Listener) -> Step<()> {
        // Somebody may have finished between the refusal and the port.
        if self.has_news() {
            return Ok(());
        }
        let discovered = self.discover(challenge.resource_metadata.as_ref())?;
        let accept = self.config.oauth.accept_missing_s256;
        discovered.server.check_pkce(accept)?;
        if discovered.server.lacks_s256() {
            let what =
                "the authorization server does not offer PKCE with S256 (--accept-missing-s256)";
            self.world.found("warning", what);
        }
        let scope = self.asked_scope(&discovered, challenge);
        let oauth = &self.config.oauth;
        let redirect_uri = format!(
            "http://{}:{}{}",
            oauth.host,
            listener.port(),
            oauth.callback_path
        );
        let wanted = Wanted {
            redirect_uri: Some(&redirect_uri),
            grant: "authorization_code",
            scope: scope.as_deref(),
        };
        let mut browser = None;
        let mut tries = 0;
        loop {
            tries += 1;
            let client = self.client(&discovered, wanted)?;
            let attempt = self.attempt(&discovered, &client, wanted, listener.port())?;
            let result = match self.preflight(&client, &attempt) {
                Ok(()) => {
                    let shown = self.show(&attempt, browser.take());
                    let visitors = Visitors { listener, shown };
                    self.wait(visitors, &discovered, &client, &attempt, &mut browser)
                }
                Err(failure) => Err(failure),
            };
            if !matches!(result, Ok(None)) {
                self.forget(&attempt);
            }
            let failure = match result {
                Ok(tokens) => {
                    if let Some(tokens) = tokens {
                        self.finish(tokens, &discovered, wanted.scope, challenge);
                    }
                    self.answer_browser(browser, None);
                    return Ok(());
                }
                Err(failure) => failure,
            };
            if tries < 3 && failure.is_unknown_client() && client.origin.is_replaceable() {
                self.store.remove_client_info();
            } else if tries < 3
                && attempt.resource.is_some()
                && authorization_code::is_resource_refused(&failure)
            {
                self.store
                    .update_notes(|notes| notes.omit_resource = Some(true));
            } else {
                self.answer_browser(browser, Some(&failure));
                return Err(failure);
            }
        }
    }

    fn client(&self, discovered: &Discovered, wanted: Wanted<'_>) -> Step<Client> {
        let (oauth, store) = (&self.config.oauth, &self.store);
        let now = self.world.now();
        let client = match registration::known(oauth, store, discovered, wanted.redirect_uri, now)?
        {
            Some(client) => client,
            None => registration::register(&*self.world, oauth, store, discovered, wanted)?,
        };
        let origin = match client.origin {
            Origin::Static => "as given with --static-oauth-client-info",
            Origin::Document => "the metadata document given with --client-metadata-url",
            Origin::Stored => "made earlier",
            Origin::Fresh => "made now",
        };
        self.world.found("registration", origin);
        Ok(client)
    }

    fn asked_scope(&self, discovered: &Discovered, challenge: &Challenge) -> Option<String> {
        let scope = self.scope(discovered, challenge);
        match registration::pinned_scope(&self.config.oauth) {
            Some(_) => scope,
            None => scope::with_offline_access(scope, discovered.server.scopes.as_deref()),
        }
    }

    fn finish(
        &self,
        tokens: Tokens,
        discovered: &Discovered,
        asked: Option<&str>,
        challenge: &Challenge,
    ) {
        let pinned = registration::pinned_scope(&self.config.oauth);
        let is_step_up = challenge.is_insufficient_scope() && pinned.is_none();
        if let (true, Some(asked)) = (is_step_up, asked) {
            self.store
                .update_notes(|notes| notes.scope = Some(asked.to_owned()));
        }
        let tokens = Tokens {
            // RFC 6749 5.1: not said means as asked for.
            scope: tokens.scope.or(asked.map(str::to_owned)),
            // npm throws away tokens whose text differs from what it would ask for; a pinned scope is the same for both.
            requested_scope: pinned,
            ..tokens
        };
        let tokens = self.keep(tokens, Some(discovered.issuer()));
        lock(&self.turn).discovered = Some(discovered.clone());
        self.world.say(Level::Info, "signed in");
        self.world.found("sign-in", &life_in_words(&tokens));
    }
}

fn in_words(challenge: &Challenge) -> String {
    let scope = match &challenge.scope {
        Some(scope) => format!("scope \"{}\"", clean(scope, 200)),
        None => "no scope".to_owned(),
    };
    match &challenge.resource_metadata {
        Some(place) => format!("{scope}, resource metadata at {}", shown(place)),
        None => format!("{scope}, no place of the resource metadata"),
    }
}

/// How long the tokens last, and whether they can be renewed.
fn life_in_words(tokens: &Tokens) -> String {
    let life = match tokens.expires_in {
        Some(seconds) => format!("the token lasts {seconds} s"),
        None => "the token does not say how long it lasts".to_owned(),
    };
    match tokens.refresh_token {
        Some(_) => format!("{life} and can be refreshed"),
        None => format!("{life} and cannot be refreshed: a new sign-in will be needed then"),
    }
}

fn millis(time: Duration) -> UnixMillis {
    u64::try_from(time.as_millis()).unwrap_or(UnixMillis::MAX)
}

const BRAKE_TIME: UnixMillis = 30_000;
const BRAKE_COUNT: usize = 5;
/// npm: followers wait for three minutes at least.
const LEAST_PATIENCE: Duration = Duration::from_secs(180);
pub(super) const POLL: Duration = Duration::from_millis(250);
