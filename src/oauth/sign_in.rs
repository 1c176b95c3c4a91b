//! The sign-in with a person, from the bound port to the stored tokens.
//!
//! - The port is bound first: whoever has it leads (`siblings.rs`).
//! - A registration that the server has forgotten, or that was made for less scope, is replaced once, in the same browser tab;
//!   a resource parameter it refuses is left out.
//! - Five sign-ins in half a minute are a loop (npm's brake).
//!
//! The trip of the browser is in `attempt.rs`, its return in `arrival.rs`.
//!
//! Flags: `--device-code`.
//! Spec: MCP 2026-07-28 basic/authorization (Authorization Flow Steps); RFC 6749 4.1; RFC 8252; npm mcp-remote 0.15.1
//! (coordinateAuth).

use super::arrival::Visitors;
use super::authorization_code;
use super::callback::{Bound, Listener, Responder};
use super::challenge::Challenge;
use super::failure::{Failure, Step};
use super::registration::{self, Client, Origin, Wanted};
use super::{Authorizer, Discovered, device_code, lock, scope};
use crate::error::{Error, Kind, Result};
use crate::log::{Level, clean};
use crate::store::{Tokens, UnixMillis};
use crate::url::shown;

/// What a step-up is about.
pub(super) struct StepUp {
    /// The scope of the tokens before it.
    pub(super) before: Option<String>,
    /// The scope that was missing.
    pub(super) needed: String,
}

impl Authorizer {
    /// Signs a person in, or a program with client credentials; this can take minutes. That there are new tokens is told
    /// to the world, before it is told to the person.
    ///
    /// # Errors
    /// If it failed, was declined, or nobody came.
    pub fn sign_in(&self, challenge: &Challenge) -> Result<()> {
        self.brake()?;
        self.world.found("challenge", &in_words(challenge));
        let step_up = challenge.is_insufficient_scope().then(|| StepUp {
            before: self.store.tokens().and_then(|tokens| tokens.scope),
            needed: challenge.scope.clone().unwrap_or_default(),
        });
        lock(&self.cached).step_up = step_up;
        let done = if self.config.oauth.client_credentials {
            let used = self.store.tokens().unwrap_or_default();
            let renewed = self.renew(&used, Some(challenge)).map(drop);
            renewed.inspect(|()| self.world.signed_in())
        } else if self.config.oauth.device_code {
            let confirmed = self.with_device_code(challenge);
            confirmed.inspect(|()| self.world.signed_in())
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
        let wanted = Wanted {
            redirect_uri: None,
            grant: device_code::GRANT,
            scope: scope.as_deref(),
        };
        let mut client = self.client(&discovered, wanted)?;
        let issued = loop {
            let endpoint = self.endpoint(&discovered, &client);
            let allow_http = self.config.allow_http;
            let begun = self.with_resource(&discovered, |resource| {
                device_code::begin(endpoint, scope.as_deref(), resource, allow_http)
            });
            match begun {
                Ok(issued) => break issued,
                Err(failure)
                    if client.origin.is_replaceable()
                        && self.needs_other_client(&failure, wanted) =>
                {
                    self.store.remove_client_info();
                    client = self.client(&discovered, wanted)?;
                }
                Err(failure) => return Err(failure),
            }
        };
        self.world.show_url(&issued.url, &issued.text);
        let endpoint = self.endpoint(&discovered, &client);
        let resource = self.resource(&discovered);
        let is_done = || self.has_news();
        // Another instance may be first, with a code of its own.
        if let Some(tokens) = device_code::wait(endpoint, &issued, resource.as_deref(), is_done)? {
            registration::bind(&self.store, &discovered, &client);
            self.finish(tokens, &discovered, scope.as_deref(), challenge);
        }
        Ok(())
    }

    fn with_browser(&self, challenge: &Challenge) -> Step<()> {
        let mut place = self.place();
        let begun = self.world.now();
        loop {
            match Listener::bind(&place, self.store.hash())? {
                Bound::Listening(listener) => {
                    let done = self.lead(challenge, &listener);
                    listener.finish(done.is_ok());
                    // The port is free for a step-up, and requests can leave, before anybody reads that all is well.
                    drop(listener);
                    let browser = done?;
                    self.world.signed_in();
                    self.answer_browser(browser, None);
                    return Ok(());
                }
                Bound::SiblingAt(port) => {
                    if self.follow(port, begun)? {
                        self.world.signed_in();
                        return Ok(());
                    }
                    if self.has_failed_since(begun) {
                        // The person has seen why; another window would ask the same again.
                        let what =
                            "the sign-in that another instance has led was declined or failed";
                        return Err(Failure::new(what));
                    }
                    // The leader is gone: its port is the one the open tab comes back to.
                    place.port = port;
                }
            }
        }
    }

    /// Leads the sign-in; the browser that waits for its page, if it went well.
    fn lead(&self, challenge: &Challenge, listener: &Listener) -> Step<Option<Responder>> {
        // Somebody may have finished between the refusal and the port.
        if self.has_news() {
            return Ok(None);
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
            let attempt = self.attempt(&discovered, &client, wanted)?;
            let result = match self.preflight(&client, &attempt) {
                Ok(()) => {
                    let shown = self.show(&attempt, browser.take());
                    let visitors = Visitors { listener, shown };
                    self.wait(visitors, &discovered, &client, &attempt, &mut browser)
                }
                Err(failure) => Err(failure),
            };
            let failure = match result {
                Ok(Some((tokens, _under_way))) => {
                    registration::bind(&self.store, &discovered, &client);
                    self.finish(tokens, &discovered, wanted.scope, challenge);
                    // Only now: the code is redeemed, and a process that is killed here has its tokens.
                    self.forget(&attempt);
                    return Ok(browser);
                }
                // Another instance has the tokens; what it began is its own to forget.
                Ok(None) => return Ok(browser),
                Err(failure) => failure,
            };
            self.forget(&attempt);
            if tries < 3
                && client.origin.is_replaceable()
                && self.needs_other_client(&failure, wanted)
            {
                self.store.remove_client_info();
            } else if tries < 3
                && attempt.resource.is_some()
                && authorization_code::is_resource_refused(&failure)
            {
                self.store
                    .update_notes(|notes| notes.omit_resource = Some(true));
            } else {
                if browser.is_some() {
                    let now = self.world.now();
                    self.store.update_notes(|notes| {
                        notes.sign_in_failed_at = Some(now);
                    });
                }
                if failure.code() == Some("invalid_scope") {
                    // What a step-up has led to may not exist any more.
                    self.store.update_notes(|notes| notes.scope = None);
                }
                self.answer_browser(browser, Some(&failure));
                return Err(failure);
            }
        }
    }

    /// Whether a new registration may help: this one is forgotten, or was made for less than is wanted now.
    fn needs_other_client(&self, failure: &Failure, wanted: Wanted<'_>) -> bool {
        let is_too_narrow = || registration::is_too_narrow(&self.store, wanted.scope);
        failure.is_unknown_client() || failure.code() == Some("invalid_scope") && is_too_narrow()
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
        if challenge.is_insufficient_scope() {
            let asked = asked.unwrap_or_default().to_owned();
            lock(&self.cached).stepped_up = Some((asked, self.world.now()));
        }
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
pub(super) fn life_in_words(tokens: &Tokens) -> String {
    let life = match tokens.expires_in {
        Some(seconds) => format!("the token lasts {seconds} s"),
        None => "the token does not say how long it lasts".to_owned(),
    };
    match tokens.refresh_token {
        Some(_) => format!("{life} and can be refreshed"),
        None => format!("{life} and cannot be refreshed: a new sign-in will be needed then"),
    }
}

const BRAKE_TIME: UnixMillis = 30_000;
const BRAKE_COUNT: usize = 5;
