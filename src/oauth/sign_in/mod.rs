//! The sign-in with the user, from the bound port to the stored tokens.
//!
//! - The callback port is bound first: the instance that holds it leads (`coordination.rs`).
//! - A registration that the server no longer knows, or that was made for less scope, is replaced in the same browser tab; a
//!   resource parameter that the server refuses is left out.
//! - A callback or a pasted URL with another state is refused, and the sign-in goes on. A callback of an instance that led
//!   before and is gone completes, too: npm mcp-remote stores a verifier for each state.
//! - The browser gets its page after the code has been exchanged; the page shows the result.
//! - Five sign-ins in half a minute are a loop (npm's limit).
//!
//! Flags: `--device-code`, `--auth-success-url`.
//! Spec: MCP 2026-07-28 basic/authorization (Authorization Flow Steps); RFC 6749 4.1, 10.12 (state); RFC 8252; RFC 9207 2.4; npm
//! mcp-remote 0.15.1 (coordinateAuth).

mod authorize;

use url::Url;

use super::authorization_code::{self, Response};
use super::callback::page::Page;
use super::callback::{Bound, Callback, Listener, Responder};
use super::challenge::Challenge;
use super::coordination::POLL_INTERVAL;
use super::discovery::Discovered;
use super::error::{Failure, Step};
use super::registration::{self, Client, Wanted};
use super::scope::{self, StepUp};
use super::token_cache::{UnderWay, life_in_words};
use super::{Authorizer, lock};
use crate::error::{Error, Kind, Result};
use crate::log::{Level, clean};
use crate::secret::Secret;
use crate::store::{SIGN_IN_LIFE, Tokens, UnixMillis};
use crate::url::{same_origin, shown};
use authorize::{Authorization, Shown};

/// What is remembered from one sign-in to the next.
#[derive(Default)]
pub(super) struct History {
    /// When sign-ins began, for the last half minute.
    recent: Vec<UnixMillis>,
    /// The step-up that the current sign-in is for.
    pub(super) step_up: Option<StepUp>,
    /// The scope that the last step-up requested, and when it ended.
    stepped_up: Option<(String, UnixMillis)>,
}

/// A sign-in that this instance leads.
struct SignIn<'a> {
    authorizer: &'a Authorizer,
    listener: &'a Listener,
    discovered: Discovered,
    scope: Option<String>,
    redirect_uri: String,
    /// The browser that waits for its page.
    browser: Option<Responder>,
}

impl Authorizer {
    /// Signs the user in, or a program with client credentials; this can take minutes. The environment is told about new tokens
    /// before the user sees the page.
    ///
    /// # Errors
    /// If it failed, was declined, or was not completed in time.
    pub fn sign_in(&self, challenge: &Challenge) -> Result<()> {
        self.check_for_loop()?;
        self.env.found("challenge", &in_words(challenge));
        lock(&self.history).step_up = challenge.is_insufficient_scope().then(|| StepUp {
            before: self.store.tokens().and_then(|tokens| tokens.scope),
            needed: challenge.scope.clone().unwrap_or_default(),
        });
        let done = if self.config.oauth.client_credentials {
            let used = self.store.tokens().unwrap_or_default();
            let refreshed = self.refresh(&used, Some(challenge)).map(drop);
            refreshed.inspect(|()| self.env.signed_in())
        } else if self.config.oauth.device_code {
            let confirmed = self.with_device_code(challenge);
            confirmed.inspect(|()| self.env.signed_in())
        } else {
            self.with_browser(challenge)
        };
        done.map_err(Failure::into_error)
    }

    fn check_for_loop(&self) -> Result<()> {
        let now = self.env.now();
        let mut history = lock(&self.history);
        history.recent.retain(|at| at.abs_diff(now) < LOOP_TIME);
        if history.recent.len() >= LOOP_COUNT {
            let what = "the server refuses each new sign-in: no more are tried for half a minute";
            return Err(Error::new(Kind::SignIn, what)
                .with_hint("run mcp-remote-client with the server's URL to see each step"));
        }
        history.recent.push(now);
        Ok(())
    }

    fn with_browser(&self, challenge: &Challenge) -> Step<()> {
        let mut place = self.place();
        let began = self.env.now();
        loop {
            match Listener::bind(&place, self.store.hash())? {
                Bound::Listening(listener) => {
                    let done = SignIn::run(self, challenge, &listener);
                    listener.finish(done.is_ok());
                    // Before the user sees the page, the port is free for a step-up, and requests can be sent.
                    drop(listener);
                    let browser = done?;
                    self.env.signed_in();
                    self.respond_to_browser(browser, None);
                    return Ok(());
                }
                Bound::SiblingAt(port) => {
                    if self.follow(port, began)? {
                        self.env.signed_in();
                        return Ok(());
                    }
                    if self.has_failed_since(began) {
                        // The user has seen why; another window would ask the same again.
                        let what = "the sign-in led by another instance was declined or failed";
                        return Err(Failure::new(what));
                    }
                    // The leader is gone: the open tab comes back to its port.
                    place.port = port;
                }
            }
        }
    }

    /// Stores the tokens of a sign-in, and what it taught about the scope.
    pub(super) fn finish_sign_in(
        &self,
        tokens: Tokens,
        discovered: &Discovered,
        requested: Option<&str>,
        challenge: &Challenge,
    ) {
        let pinned = registration::pinned_scope(&self.config.oauth);
        let is_step_up = challenge.is_insufficient_scope();
        if let (true, None, Some(requested)) = (is_step_up, &pinned, requested) {
            self.store
                .update_notes(|notes| notes.scope = Some(requested.to_owned()));
        }
        let tokens = Tokens {
            // RFC 6749 5.1: not stated means as requested.
            scope: tokens.scope.or(requested.map(str::to_owned)),
            // npm discards tokens whose text differs from what it would request; a pinned scope is the same for both.
            requested_scope: pinned,
            ..tokens
        };
        let tokens = self.keep(tokens, discovered.issuer());
        if is_step_up {
            let requested = requested.unwrap_or_default().to_owned();
            lock(&self.history).stepped_up = Some((requested, self.env.now()));
        }
        lock(&self.refresh).discovered = Some(discovered.clone());
        self.env.say(Level::Info, "signed in");
        self.env.found("sign-in", &life_in_words(&tokens));
    }

    /// Whether a step-up for this scope has just ended: the server would refuse the next one, too.
    pub(super) fn has_just_stepped_up(&self, challenge: &Challenge) -> bool {
        let now = self.env.now();
        let needed = challenge.scope.as_deref().unwrap_or_default();
        let history = lock(&self.history);
        let last = history.stepped_up.as_ref();
        last.is_some_and(|(requested, at)| {
            scope::holds_all(Some(requested), needed) && at.abs_diff(now) < STEP_UP_INTERVAL
        })
    }

    /// Shows the result in the browser that waits for its page.
    fn respond_to_browser(&self, browser: Option<Responder>, failure: Option<&Failure>) {
        let Some(browser) = browser else { return };
        let server = shown(&self.config.server);
        match (failure, &self.config.oauth.success_url) {
            (None, Some(url)) => browser.redirect(url),
            (None, None) => browser.page(&Page::signed_in(&server)),
            (Some(failure), _) if failure.code() == Some("access_denied") => {
                browser.page(&Page::declined(&server, None));
            }
            (Some(failure), _) => browser.page(&Page::failed(&server, failure.error().what())),
        }
    }
}

impl<'a> SignIn<'a> {
    /// Leads the sign-in; returns the browser that waits for its page.
    fn run(
        authorizer: &'a Authorizer,
        challenge: &Challenge,
        listener: &'a Listener,
    ) -> Step<Option<Responder>> {
        // Another instance may have finished between the refusal and the port.
        if authorizer.has_new_tokens() {
            return Ok(None);
        }
        let discovered = authorizer.discover(challenge.resource_metadata.as_ref())?;
        let oauth = &authorizer.config.oauth;
        discovered.server.check_pkce(oauth.accept_missing_s256)?;
        if discovered.server.lacks_s256() {
            let what =
                "the authorization server does not offer PKCE with S256 (--accept-missing-s256)";
            authorizer.env.found("warning", what);
        }
        let (host, port, path) = (&oauth.host, listener.port(), &oauth.callback_path);
        let mut sign_in = SignIn {
            authorizer,
            listener,
            scope: authorizer.requested_scope(&discovered, challenge),
            discovered,
            redirect_uri: format!("http://{host}:{port}{path}"),
            browser: None,
        };
        let mut tries = 1;
        loop {
            match sign_in.authorize(challenge, tries) {
                Ok(true) => return Ok(sign_in.browser),
                Ok(false) => tries += 1,
                Err(failure) => {
                    sign_in.fail(&failure);
                    return Err(failure);
                }
            }
        }
    }

    /// One trip of the browser. False if it failed for a reason that the next trip avoids.
    fn authorize(&mut self, challenge: &Challenge, tries: u32) -> Step<bool> {
        let (authorizer, store) = (self.authorizer, &self.authorizer.store);
        let scope = self.scope.clone();
        let redirect_uri = self.redirect_uri.clone();
        let wanted = Wanted {
            redirect_uri: Some(&redirect_uri),
            grant: "authorization_code",
            scope: scope.as_deref(),
        };
        let oauth = &authorizer.config.oauth;
        let client =
            registration::obtain(&*authorizer.env, oauth, store, &self.discovered, wanted)?;
        let port = self.listener.port();
        let authorization = authorizer.authorization(&self.discovered, &client, wanted, port)?;
        let result = match authorizer.preflight(&client, &authorization) {
            Ok(()) => {
                let shown = authorizer.show(&authorization, self.browser.take());
                self.wait(shown, &client, &authorization)
            }
            Err(failure) => Err(failure),
        };
        let failure = match result {
            Ok(Some((tokens, _under_way))) => {
                registration::bind(store, &self.discovered, &client);
                authorizer.finish_sign_in(tokens, &self.discovered, wanted.scope, challenge);
                // Only now: if the process is killed before, the next one still has the verifier or the tokens.
                authorizer.forget(&authorization);
                return Ok(true);
            }
            // Another instance has the tokens, and forgets its own authorization.
            Ok(None) => return Ok(true),
            Err(failure) => failure,
        };
        authorizer.forget(&authorization);
        if tries >= MAX_TRIES {
            return Err(failure);
        }
        if registration::needs_replacement(store, &client, &failure, wanted.scope) {
            store.remove_client_info();
            return Ok(false);
        }
        let resource = authorization.resource.as_deref();
        if authorizer.is_resource_refused(&self.discovered, resource, &failure) {
            return Ok(false);
        }
        Err(failure)
    }

    /// Waits for the callback and exchanges the code. No tokens if another instance got them meanwhile.
    fn wait(
        &mut self,
        shown: Shown,
        client: &Client,
        authorization: &Authorization,
    ) -> Step<Option<(Tokens, UnderWay<'a>)>> {
        let authorizer = self.authorizer;
        let mut looked_at = authorizer.env.now();
        let (response, verifier) = loop {
            let now = authorizer.env.now();
            // In both directions: the clock may have been set back.
            if now.abs_diff(authorization.created_at) >= SIGN_IN_LIFE {
                let what = "nobody completed the sign-in within ten minutes";
                return Err(Failure::new(what));
            }
            if now.abs_diff(looked_at) >= STORE_INTERVAL {
                looked_at = now;
                if authorizer.has_new_tokens() {
                    return Ok(None);
                }
            }
            let pasted = (shown == Shown::AsText).then(|| authorizer.env.pasted());
            let came = match pasted.flatten() {
                Some(line) => self.read_pasted(&line, authorization),
                None => self
                    .listener
                    .next(POLL_INTERVAL)
                    .and_then(|callback| self.read_callback(callback, authorization)),
            };
            if let Some(came) = came {
                break came;
            }
        };
        // The user came back: the next window may open by itself.
        authorizer
            .store
            .update_notes(|notes| notes.window_opened_at = None);
        let server = &self.discovered.server;
        let code = authorization_code::code(response, server.issuer.as_deref(), server.sends_iss)?;
        let under_way = authorizer.under_way();
        let tokens = authorization_code::exchange(
            authorizer.endpoint(&self.discovered, client),
            &code,
            &verifier,
            &authorization.redirect_uri,
            authorization.resource.as_deref(),
        )?;
        Ok(Some((tokens, under_way)))
    }

    /// The response and the verifier of a callback with our state, or with the state of an instance that led before.
    fn read_callback(
        &mut self,
        callback: Callback,
        authorization: &Authorization,
    ) -> Option<(Response, Secret)> {
        let store = &self.authorizer.store;
        let state = callback.state.as_deref().unwrap_or_default();
        let verifier = if state == authorization.state {
            Some(authorization.verifier.clone())
        } else {
            let is_same = store.discovery_state(state).is_some_and(|record| {
                record.authorization_server_url == self.discovered.authorization_server
            });
            let verifier = store.verifier(state).filter(|_| is_same);
            if verifier.is_some() {
                // A state is valid once.
                store.remove_sign_in(state);
            }
            verifier
        };
        let Some(verifier) = verifier else {
            let text = "a callback with an unknown state was refused";
            self.authorizer.env.say(Level::Debug, text);
            let server = shown(&self.authorizer.config.server);
            callback.responder.page(&Page::unknown(&server));
            return None;
        };
        self.browser = Some(callback.responder);
        let response = Response {
            code: callback.code,
            iss: callback.iss,
            error: callback.error,
            error_description: callback.error_description,
        };
        Some((response, verifier))
    }

    /// The URL that a browser on another machine was sent to, pasted by the user; checked like a callback.
    fn read_pasted(&self, line: &str, authorization: &Authorization) -> Option<(Response, Secret)> {
        let redirect = Url::parse(&authorization.redirect_uri).ok()?;
        let pasted = Url::parse(line.trim())
            .ok()
            .filter(|url| same_origin(url, &redirect) && url.path() == redirect.path());
        if let Some(url) = pasted
            && let (Some(state), response) = Response::from_url(&url)
            && state == authorization.state
        {
            return Some((response, authorization.verifier.clone()));
        }
        let text = format!(
            "that is not the URL of this sign-in; it begins with {} and contains its state",
            authorization.redirect_uri
        );
        self.authorizer.env.say(Level::Warn, &text);
        None
    }

    /// Notes and shows that the sign-in failed.
    fn fail(self, failure: &Failure) {
        let authorizer = self.authorizer;
        authorizer.store.update_notes(|notes| {
            if self.browser.is_some() {
                notes.sign_in_failed_at = Some(authorizer.env.now());
            }
            if failure.code() == Some("invalid_scope") {
                // The scope of an earlier step-up may not exist any more.
                notes.scope = None;
            }
        });
        authorizer.respond_to_browser(self.browser, Some(failure));
    }
}

fn in_words(challenge: &Challenge) -> String {
    let scope = challenge
        .scope
        .as_ref()
        .map(|scope| format!("scope \"{}\"", clean(scope, 200)));
    let metadata = challenge
        .resource_metadata
        .as_ref()
        .map(|url| format!("resource metadata at {}", shown(url)));
    match (scope, metadata) {
        (Some(scope), Some(metadata)) => format!("{scope}, {metadata}"),
        (Some(scope), None) => format!("{scope}, no resource_metadata in the challenge"),
        (None, Some(metadata)) => format!("no scope in the challenge, {metadata}"),
        (None, None) => "no scope or resource_metadata in the challenge".to_owned(),
    }
}

const LOOP_TIME: UnixMillis = 30_000;
const LOOP_COUNT: usize = 5;
const MAX_TRIES: u32 = 3;
/// How often the leader looks for tokens that another instance has stored.
const STORE_INTERVAL: UnixMillis = 1_000;
/// After this time the user may have been granted what was refused.
const STEP_UP_INTERVAL: UnixMillis = 600_000;
