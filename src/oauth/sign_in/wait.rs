//! The user's way back: the callback or a pasted URL, and the exchange of the code.
//!
//! - A callback or a pasted URL with another state is refused, and the sign-in goes on. A callback of an instance that led
//!   before and is gone completes, too: npm mcp-remote stores a verifier for each state.
//! - Tokens that another instance has stored meanwhile end the wait.
//!
//! Spec: RFC 6749 4.1.2, 10.12 (state); RFC 9207 2.4; RFC 8252 8.10.

use url::Url;

use super::super::authorization_code::{self, Response};
use super::super::callback::Callback;
use super::super::callback::page::Page;
use super::super::coordination::POLL_INTERVAL;
use super::super::error::{Failure, Step};
use super::super::registration::Client;
use super::super::token_cache::UnderWay;
use super::SignIn;
use super::authorize::{Authorization, Shown};
use crate::log::Level;
use crate::secret::Secret;
use crate::store::{SIGN_IN_LIFE, Tokens, UnixMillis};
use crate::url::{same_origin, shown};

impl<'a> SignIn<'a> {
    /// Waits for the callback and exchanges the code. No tokens if another instance got them meanwhile.
    pub(super) fn wait(
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
}

/// How often the leader looks for tokens that another instance has stored.
const STORE_INTERVAL: UnixMillis = 1_000;
