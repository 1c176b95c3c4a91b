//! One trip of a browser to the authorization server and back.
//!
//! - It is stored, so that after a restart the tab that is still open completes it, and no other is opened.
//! - The address is said before a browser is opened; a browser that does not open is no error.
//! - At most one window an hour opens by itself, until a person has come back from one.
//!
//! Flags: `--no-browser`.
//! Spec: RFC 6749 4.1.1; npm mcp-remote 0.15.1 (a stored registration is tried before a person is sent there).

use url::Url;

use super::authorization_code::{self, Request};
use super::browser::Opened;
use super::callback::Responder;
use super::failure::{Failure, Step, of_answer};
use super::registration::{Client, Origin, Wanted};
use super::world::Fetch;
use super::{Authorizer, Discovered, pkce};
use crate::log::Level;
use crate::secret::Secret;
use crate::store::{PendingSignIn, SIGN_IN_LIFE, UnixMillis};

/// One trip of a browser to the authorization server and back.
pub(super) struct Attempt {
    pub(super) url: Url,
    pub(super) state: String,
    pub(super) verifier: Secret,
    pub(super) redirect_uri: String,
    pub(super) resource: Option<String>,
    pub(super) created_at: UnixMillis,
    pub(super) is_resumed: bool,
}

/// How the address reached the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// A browser was started.
    InBrowser,
    /// As text only.
    AsText,
}

impl Authorizer {
    /// The sign-in that was begun before a restart, if it is the same; else a new one.
    pub(super) fn attempt(
        &self,
        discovered: &Discovered,
        client: &Client,
        wanted: Wanted<'_>,
    ) -> Step<Attempt> {
        let Some(endpoint) = &discovered.server.authorization_endpoint else {
            return Err(Failure::new(format!(
                "authorization server {} names no authorization_endpoint",
                discovered.server.name()
            )));
        };
        let now = self.world.now();
        let resource = self.resource(discovered);
        let redirect_uri = wanted.redirect_uri.unwrap_or_default();
        let url_with = |state: &str, verifier: &Secret| {
            authorization_code::url(
                endpoint,
                &Request {
                    client_id: &client.id,
                    redirect_uri,
                    state,
                    verifier,
                    scope: wanted.scope,
                    resource: resource.as_deref(),
                    extra: &self.config.oauth.authorize_params,
                },
            )
        };
        let pending = self.store.pending_sign_in(now).filter(|pending| {
            let url = url_with(&pending.state, &pending.verifier);
            let lasts = now.abs_diff(pending.created_at) + LEAST_REST < SIGN_IN_LIFE;
            let is_ours = pending.issuer.as_deref() == Some(discovered.issuer());
            lasts && is_ours && url.as_str() == pending.authorization_url
        });
        let is_resumed = pending.is_some();
        let (state, verifier, created_at) = match pending {
            Some(pending) => (pending.state, pending.verifier, pending.created_at),
            None => (
                pkce::random_text(&*self.world)?,
                pkce::verifier(&*self.world)?,
                now,
            ),
        };
        let attempt = Attempt {
            url: url_with(&state, &verifier),
            state,
            verifier,
            redirect_uri: redirect_uri.to_owned(),
            resource,
            created_at,
            is_resumed,
        };
        if !is_resumed {
            self.remember(&attempt, discovered)?;
        }
        Ok(attempt)
    }

    fn remember(&self, attempt: &Attempt, discovered: &Discovered) -> Step<()> {
        let record = discovered.record();
        self.store
            .save_sign_in(&attempt.state, &attempt.verifier, Some(&record))?;
        self.store.save_pending_sign_in(&PendingSignIn {
            state: attempt.state.clone(),
            verifier: attempt.verifier.clone(),
            authorization_url: attempt.url.to_string(),
            issuer: Some(discovered.issuer().to_owned()),
            created_at: attempt.created_at,
            ..PendingSignIn::default()
        });
        Ok(())
    }

    pub(super) fn forget(&self, attempt: &Attempt) {
        self.store.remove_pending_sign_in();
        self.store.remove_sign_in(&attempt.state);
    }

    /// Asks the server whether it still knows a stored registration, before a person is shown its error page.
    pub(super) fn preflight(&self, client: &Client, attempt: &Attempt) -> Step<()> {
        if client.origin != Origin::Stored || attempt.is_resumed {
            return Ok(());
        }
        let request = Fetch {
            follow: false,
            ..Fetch::document(attempt.url.clone())
        };
        // Whatever else it answers is for the browser, which is not kept waiting by a second try.
        let Ok(answer) = self.world.fetch(&request) else {
            return Ok(());
        };
        let failure = of_answer("the sign-in", &request, &answer);
        if matches!(answer.status, 400 | 401) && failure.is_unknown_client() {
            return Err(failure);
        }
        Ok(())
    }

    /// Says the address and opens it, or sends the browser there that is still waiting for its page.
    pub(super) fn show(&self, attempt: &Attempt, browser: Option<Responder>) -> Shown {
        self.world.show_url(&attempt.url, &visiting(&attempt.url));
        if let Some(browser) = browser {
            browser.redirect(&attempt.url);
            return Shown::InBrowser;
        }
        if self.config.oauth.no_browser {
            return self.ask_to_paste();
        }
        if !self.may_open_window(attempt) {
            return Shown::AsText;
        }
        // Noted before, so that a process that is killed while the window opens does not open another one.
        let now = self.world.now();
        self.store.update_notes(|notes| {
            notes.window_opened_at = Some(now);
        });
        match self.world.open_browser(&attempt.url) {
            Opened::Started => Shown::InBrowser,
            Opened::NoBrowser(why) => {
                self.store.update_notes(|notes| {
                    notes.window_opened_at = None;
                });
                let text =
                    format!("no browser was opened ({why}): please open the address yourself");
                self.world.say(Level::Info, &text);
                self.ask_to_paste()
            }
        }
    }

    /// A browser on another machine cannot come back to us: the person brings what it was sent.
    fn ask_to_paste(&self) -> Shown {
        if self.world.is_by_hand() {
            let text = "if that browser is on another machine, paste the address it ends up at here (the page itself will not load)";
            self.world.say(Level::Info, text);
        }
        Shown::AsText
    }

    fn may_open_window(&self, attempt: &Attempt) -> bool {
        if self.world.is_by_hand() {
            return true;
        }
        let opened = self.store.notes().window_opened_at;
        // A process that ended early may have stored the sign-in and opened nothing.
        if attempt.is_resumed && opened.is_some_and(|at| at >= attempt.created_at) {
            self.world.say(
                Level::Info,
                "a sign-in is under way: please finish it in the browser tab that is open already",
            );
            return false;
        }
        let recently = opened.is_some_and(|at| at.abs_diff(self.world.now()) < WINDOW_TIME);
        if recently {
            self.world.say(
                Level::Info,
                "a browser was opened within the last hour and nobody came back from it: please open the address yourself",
            );
        }
        !recently
    }
}

/// npm's sentence.
pub(super) fn visiting(url: &Url) -> String {
    format!("Please authorize this client by visiting:\n{url}")
}

/// A sign-in with less time left than this is not taken up again.
const LEAST_REST: UnixMillis = 60_000;
const WINDOW_TIME: UnixMillis = 3_600_000;

#[cfg(test)]
mod tests {
    use super::super::scripted_world::{self, Scripted};
    use super::super::server_metadata::ServerMetadata;
    use super::super::world::World;
    use super::*;

    fn discovered(issuer: &str) -> Discovered {
        Discovered {
            resource: None,
            server: ServerMetadata {
                issuer: Some(issuer.to_owned()),
                authorization_endpoint: Url::parse("https://as.test/authorize").ok(),
                ..ServerMetadata::default()
            },
            authorization_server: issuer.to_owned(),
        }
    }

    #[test]
    fn a_stored_sign_in_opens_a_window_only_if_none_was_opened_for_it() {
        let world = Scripted::new();
        let authorizer = scripted_world::authorizer(&world);
        let wanted = Wanted {
            redirect_uri: Some("http://localhost:1/cb"),
            grant: "authorization_code",
            scope: None,
        };
        let client = Client::default();
        let begin = |issuer: &str| {
            let discovered = discovered(issuer);
            authorizer.attempt(&discovered, &client, wanted).unwrap()
        };
        assert!(!begin("https://as.test").is_resumed);
        world.sleep(std::time::Duration::from_secs(1));
        let again = begin("https://as.test");
        assert!(again.is_resumed && authorizer.may_open_window(&again));
        authorizer.store.update_notes(|notes| {
            notes.window_opened_at = Some(world.now());
        });
        assert!(!authorizer.may_open_window(&begin("https://as.test")));
        // Another server with the same authorization endpoint must not get the code.
        world.sleep(std::time::Duration::from_secs(1));
        assert!(!begin("https://evil.test").is_resumed);
    }

    #[test]
    fn a_window_nobody_came_back_from_is_followed_by_another_only_after_an_hour() {
        let world = Scripted::new();
        let authorizer = scripted_world::authorizer(&world);
        let wanted = Wanted {
            redirect_uri: Some("http://localhost:1/cb"),
            grant: "authorization_code",
            scope: None,
        };
        let begin = || {
            let discovered = discovered("https://as.test");
            let client = Client::default();
            authorizer.attempt(&discovered, &client, wanted).unwrap()
        };
        authorizer.store.update_notes(|notes| {
            notes.window_opened_at = Some(world.now());
        });
        // The stored sign-in has run out; the hour has not.
        world.sleep(std::time::Duration::from_secs(3_590));
        let early = begin();
        assert!(!early.is_resumed && !authorizer.may_open_window(&early));
        authorizer.store.remove_pending_sign_in();
        world.sleep(std::time::Duration::from_secs(11));
        assert!(authorizer.may_open_window(&begin()));
    }
}
