//! Waiting for the browser, and what it brings.
//!
//! - A callback with another state is answered and ignored, and so is a pasted address.
//! - The browser waits for its page until the code has been exchanged; the page tells how it ended.
//! - A callback of an instance that led before and is gone completes, too: npm mcp-remote stores a verifier for each state.
//!
//! Flags: `--auth-success-url`.
//! Spec: RFC 6749 4.1.2, 10.12 (state); RFC 9207 2.4; RFC 8252 8.10.

use url::Url;

use super::attempt::{Attempt, Shown};
use super::authorization_code::{self, Response};
use super::callback::{Callback, Listener, Responder};
use super::callback_page::Page;
use super::failure::{Failure, Step};
use super::registration::Client;
use super::siblings::POLL;
use super::under_way::UnderWay;
use super::{Authorizer, Discovered};
use crate::log::Level;
use crate::secret::Secret;
use crate::store::{SIGN_IN_LIFE, Tokens, UnixMillis};
use crate::url::{same_origin, shown};

/// Where a person may come back.
#[derive(Clone, Copy)]
pub(super) struct Visitors<'a> {
    /// The port.
    pub(super) listener: &'a Listener,
    /// Whether they may also paste what their browser was sent.
    pub(super) shown: Shown,
}

impl Authorizer {
    /// Waits for the person. No tokens, if another instance got them meanwhile; the process does not leave before they are kept.
    pub(super) fn wait(
        &self,
        visitors: Visitors<'_>,
        discovered: &Discovered,
        client: &Client,
        attempt: &Attempt,
        browser: &mut Option<Responder>,
    ) -> Step<Option<(Tokens, UnderWay<'_>)>> {
        let mut looked = self.world.now();
        loop {
            let now = self.world.now();
            // Also if the clock was set back, which would make it last for ever.
            if now.abs_diff(attempt.created_at) >= SIGN_IN_LIFE {
                let what = "nobody completed the sign-in within ten minutes";
                return Err(Failure::new(what));
            }
            if now.abs_diff(looked) >= LOOK {
                looked = now;
                if self.has_news() {
                    return Ok(None);
                }
            }
            let pasted = match visitors.shown {
                Shown::InBrowser => None,
                Shown::AsText => self.world.pasted(),
            };
            let came = match pasted {
                Some(line) => self.pasted_came(&line, attempt),
                None => visitors.listener.next(POLL).and_then(|callback| {
                    self.callback_came(callback, discovered, attempt, browser)
                }),
            };
            let Some((response, verifier)) = came else {
                continue;
            };
            // A person has acted: the next window may open by itself.
            self.store.update_notes(|notes| {
                notes.window_opened_at = None;
            });
            let (issuer, sends_iss) = (
                discovered.server.issuer.as_deref(),
                discovered.server.sends_iss,
            );
            let code = authorization_code::code(response, issuer, sends_iss)?;
            let (redirect_uri, resource) = (&attempt.redirect_uri, attempt.resource.as_deref());
            let endpoint = self.endpoint(discovered, client);
            let under_way = self.under_way();
            return authorization_code::exchange(
                endpoint,
                &code,
                &verifier,
                redirect_uri,
                resource,
            )
            .map(|tokens| Some((tokens, under_way)));
        }
    }

    /// A callback with our state, or with that of an instance that led before and stored its verifier as npm does.
    fn callback_came(
        &self,
        callback: Callback,
        discovered: &Discovered,
        attempt: &Attempt,
        browser: &mut Option<Responder>,
    ) -> Option<(Response, Secret)> {
        let state = callback.state.as_deref().unwrap_or_default();
        let verifier = if state == attempt.state {
            Some(attempt.verifier.clone())
        } else {
            let record = self.store.discovery_state(state);
            let same = record.is_some_and(|record| {
                record.authorization_server_url == discovered.authorization_server
            });
            let verifier = self.store.verifier(state).filter(|_| same);
            if verifier.is_some() {
                // A state is good for once.
                self.store.remove_sign_in(state);
            }
            verifier
        };
        let Some(verifier) = verifier else {
            self.world
                .say(Level::Debug, "a callback with an unknown state was refused");
            callback
                .responder
                .page(&Page::unknown(&shown(&self.config.server)));
            return None;
        };
        *browser = Some(callback.responder);
        let response = Response {
            code: callback.code,
            iss: callback.iss,
            error: callback.error,
            error_description: callback.error_description,
        };
        Some((response, verifier))
    }

    /// The address a browser was sent back to, pasted by a person; checked like a callback.
    fn pasted_came(&self, line: &str, attempt: &Attempt) -> Option<(Response, Secret)> {
        let redirect = Url::parse(&attempt.redirect_uri).ok()?;
        let pasted = Url::parse(line.trim())
            .ok()
            .filter(|url| same_origin(url, &redirect) && url.path() == redirect.path());
        let value = |name: &str| {
            let url = pasted.as_ref()?;
            let mut values = url.query_pairs().filter(|(key, _)| key == name);
            let value = values.next().map(|(_, value)| value.into_owned());
            // RFC 6749 3.1: no parameter twice.
            value.filter(|_| values.next().is_none())
        };
        if value("state").as_deref() != Some(attempt.state.as_str()) {
            let text = format!(
                "that is not the address of this sign-in; it begins with {} and holds its state",
                attempt.redirect_uri
            );
            self.world.say(Level::Warn, &text);
            return None;
        }
        let response = Response {
            code: value("code").map(Secret::new),
            iss: value("iss"),
            error: value("error"),
            error_description: value("error_description"),
        };
        Some((response, attempt.verifier.clone()))
    }

    /// The page tells how it ended.
    pub(super) fn answer_browser(&self, browser: Option<Responder>, failure: Option<&Failure>) {
        let Some(browser) = browser else { return };
        let server = shown(&self.config.server);
        match (failure, &self.config.oauth.success_url) {
            (None, Some(url)) => browser.redirect(url),
            (None, None) => browser.page(&Page::signed_in(&server)),
            (Some(failure), _) => {
                let why = failure.error().what();
                match failure.code() {
                    Some("access_denied") => browser.page(&Page::declined(&server, None)),
                    Some(_) | None => browser.page(&Page::failed(&server, why)),
                }
            }
        }
    }
}

/// How often the leader looks whether somebody else has signed in.
const LOOK: UnixMillis = 1_000;
