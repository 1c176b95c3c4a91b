//! The sign-in with the user, from the bound port to the stored tokens.
//!
//! - The callback port is bound first: the instance that holds it leads (`coordination.rs`).
//! - A registration that the server no longer knows, or that was made for less scope, is replaced in the same browser tab; a
//!   resource parameter that the server refuses is left out, and a scope that it refuses is replaced by what it lists.
//! - The browser gets its page after the code has been exchanged; the page shows the result.
//! - Five sign-ins in half a minute are a loop (npm's limit), and so is a step-up for the scope of the last one; both are noted
//!   in the store, for the process that comes after this one.
//!
//! Flags: `--device-code`, `--redirect-uri`, `--auth-success-url`, `--no-sign-in`.
//! Spec: MCP 2026-07-28 basic/authorization (Authorization Flow Steps); RFC 6749 4.1; RFC 8252; npm
//! mcp-remote 0.15.1 (coordinateAuth).

mod authorize;
mod wait;

use super::callback::page::Page;
use super::callback::{Bound, Listener, Responder};
use super::challenge::Challenge;
use super::discovery::Discovered;
use super::error::{Failure, Step};
use super::registration::{self, Wanted};
use super::scope::{self, StepUp};
use super::token_cache::life_in_words;
use super::{Authorizer, lock};
use crate::error::{Error, Kind, Result};
use crate::log::{Level, clean};
use crate::store::{SteppedUp, Tokens, UnixMillis};
use crate::url::shown;

/// What is remembered from one sign-in to the next.
#[derive(Default)]
pub(super) struct History {
    /// When sign-ins began, for the last half minute.
    recent: Vec<UnixMillis>,
    /// The step-up that the current sign-in is for.
    pub(super) step_up: Option<StepUp>,
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
    /// Signs the user in, or a program; this can take minutes. The environment is told about new tokens
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
        let done = if let Some(provider) = &self.provider {
            let signed_in = self.with_provider(provider, challenge);
            signed_in.inspect(|()| self.env.signed_in())
        } else if self.config.oauth.is_for_program() {
            let used = self.store.tokens().unwrap_or_default();
            let refreshed = self.refresh(&used, Some(challenge)).map(drop);
            refreshed.inspect(|()| self.env.signed_in())
        } else if self.config.oauth.device_code {
            let confirmed = self.with_device_code(challenge);
            confirmed.inspect(|()| self.tell_signed_in())
        } else {
            self.with_browser(challenge)
        };
        done.map_err(Failure::into_error)
    }

    /// Requests can be sent; not yet after the sign-in at an identity provider.
    fn tell_signed_in(&self) {
        if !self.is_provider {
            self.env.signed_in();
        }
    }

    fn check_for_loop(&self) -> Result<()> {
        let now = self.env.now();
        // Of other processes only those that ended count: ten that start together follow one sign-in.
        let ended = self.store.notes().sign_ins;
        let ended = ended.iter().filter(|at| at.abs_diff(now) < LOOP_TIME);
        let mut history = lock(&self.history);
        history.recent.retain(|at| at.abs_diff(now) < LOOP_TIME);
        if history.recent.len().max(ended.count()) >= LOOP_COUNT {
            let what = "the server refuses each new sign-in: no more are tried for half a minute";
            return Err(Error::new(Kind::SignIn, what)
                .with_hint("run mcp-remote-client with the server's URL to see each step"));
        }
        history.recent.push(now);
        Ok(())
    }

    /// Fails if no user is there to sign in.
    pub(super) fn check_for_user(&self) -> Result<()> {
        if !self.config.oauth.no_sign_in {
            return Ok(());
        }
        let what = "the server requires a sign-in, and there is no user to do it";
        let hint = "sign in once at a terminal without --no-sign-in, or use --client-credentials or --header";
        Err(Error::new(Kind::SignIn, what).with_hint(hint))
    }

    fn with_browser(&self, challenge: &Challenge) -> Step<()> {
        let mut place = self.place();
        let began = self.env.now();
        loop {
            match Listener::bind(&place, self.store.hash())? {
                Bound::Listening(listener) => {
                    let done = SignIn::run(self, challenge, &listener);
                    // Before the user sees the page, the port is free for a step-up, and requests can be sent.
                    drop(listener);
                    let browser = done?;
                    self.tell_signed_in();
                    self.respond_to_browser(browser, None);
                    return Ok(());
                }
                Bound::SiblingAt(port) => {
                    if self.follow(port, began)? {
                        self.tell_signed_in();
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
        let pinned = scope::pinned(&self.config.oauth);
        let is_step_up = challenge.is_insufficient_scope();
        if let (true, None, Some(requested)) = (is_step_up, &pinned, requested) {
            self.store
                .update_notes(|notes| notes.scope = Some(requested.to_owned()));
        }
        let tokens = Tokens {
            // RFC 6749 5.1: not stated means as requested.
            scope: tokens.scope.or(requested.map(str::to_owned)),
            // npm discards tokens whose text differs from what it would request; a pinned scope is the same for both.
            requested_scope: scope::in_metadata(&self.config.oauth)
                .filter(|_| self.config.oauth.scope.is_none()),
            ..tokens
        };
        let tokens = self.keep(tokens, discovered.issuer());
        let now = self.env.now();
        self.store.update_notes(|notes| {
            notes.sign_ins.retain(|at| at.abs_diff(now) < LOOP_TIME);
            notes.sign_ins.push(now);
            if is_step_up {
                let scope = requested.unwrap_or_default().to_owned();
                notes.stepped_up = Some(SteppedUp { scope, at: now });
            }
        });
        lock(&self.refresh).discovered = Some(discovered.clone());
        self.env.say(Level::Info, "signed in");
        self.env.found("sign-in", &life_in_words(&tokens));
    }

    /// Whether a step-up for this scope has just ended: the server would refuse the next one, too.
    pub(super) fn has_just_stepped_up(&self, challenge: &Challenge) -> bool {
        let now = self.env.now();
        let needed = challenge.scope.as_deref().unwrap_or_default();
        let last = self.store.notes().stepped_up;
        last.is_some_and(|last| {
            scope::holds_all(Some(&last.scope), needed) && last.at.abs_diff(now) < STEP_UP_INTERVAL
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
        if let Some(warning) = discovered.server.mix_up_warning() {
            authorizer.env.say(Level::Warn, &warning);
        }
        authorizer.check_for_user()?;
        authorizer.bind_anew(&discovered, challenge)?;
        let (host, port, path) = (&oauth.host, listener.port(), &oauth.callback_path);
        let mut sign_in = SignIn {
            authorizer,
            listener,
            scope: authorizer.requested_scope(&discovered, challenge),
            discovered,
            // As typed: authorization servers compare the text.
            redirect_uri: oauth
                .redirect_uri
                .clone()
                .unwrap_or_else(|| format!("http://{host}:{port}{path}")),
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
        let authorization = authorizer.authorization(&self.discovered, &client, wanted)?;
        let result = match authorizer.preflight(&self.discovered, &client, &authorization) {
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
        let instead = authorizer.scope_instead(&self.discovered, challenge, wanted.scope, &failure);
        if instead.is_some() {
            self.scope = instead;
            return Ok(false);
        }
        if failure.is_about_scope() {
            let supported = self.discovered.server.scopes.as_deref();
            return Err(failure.map(|error| scope::with_way_out(error, supported)));
        }
        Err(failure)
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
    let found: Vec<String> = scope.into_iter().chain(metadata).collect();
    if found.is_empty() {
        return "no scope or resource_metadata in the challenge".to_owned();
    }
    found.join(", ")
}

const LOOP_TIME: UnixMillis = 30_000;
const LOOP_COUNT: usize = 5;
/// One more than the reasons for another: registration, resource, scope.
const MAX_TRIES: u32 = 4;
/// After this time the user may have been granted what was refused.
const STEP_UP_INTERVAL: UnixMillis = 600_000;
