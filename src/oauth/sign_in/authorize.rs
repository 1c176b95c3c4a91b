//! The browser's way to the authorization server: a new authorization request or a resumed one, and the window it is shown in.
//!
//! - The request is stored, so that after a restart the tab that is still open completes it, and no other is opened.
//! - The URL is printed before a browser is opened; a browser that does not open is not an error.
//! - At most one window an hour opens by itself, until the user has come back from one.
//!
//! Flags: `--no-browser`.
//! Spec: RFC 6749 4.1.1; npm mcp-remote 0.15.1 (a stored registration is tried before the user is sent there).

use url::Url;

use super::super::Authorizer;
use super::super::authorization_code::{self, Request};
use super::super::browser::Opened;
use super::super::callback::Responder;
use super::super::discovery::Discovered;
use super::super::environment::{Fetch, random_text};
use super::super::error::{Failure, Step, of_response};
use super::super::registration::{Client, Origin, Wanted};
use crate::log::Level;
use crate::secret::Secret;
use crate::store::{PendingSignIn, SIGN_IN_LIFE, UnixMillis};

/// An authorization request, and what its callback is checked and redeemed with.
pub(super) struct Authorization {
    pub(super) url: Url,
    pub(super) state: String,
    pub(super) verifier: Secret,
    pub(super) redirect_uri: String,
    pub(super) resource: Option<String>,
    pub(super) created_at: UnixMillis,
    pub(super) is_resumed: bool,
}

/// How the user got the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// A browser was started.
    InBrowser,
    /// It was only printed.
    AsText,
}

impl Authorizer {
    /// The authorization request from before a restart, if it is the same; otherwise a new one.
    pub(super) fn authorization(
        &self,
        discovered: &Discovered,
        client: &Client,
        wanted: Wanted<'_>,
    ) -> Step<Authorization> {
        let Some(endpoint) = &discovered.server.authorization_endpoint else {
            return Err(Failure::new(format!(
                "authorization server {} has no authorization_endpoint",
                discovered.server.name()
            )));
        };
        let now = self.env.now();
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
            let lasts = now.abs_diff(pending.created_at) + MIN_TIME_LEFT < SIGN_IN_LIFE;
            let is_ours = pending.issuer.as_deref() == Some(discovered.issuer());
            lasts && is_ours && url.as_str() == pending.authorization_url
        });
        let is_resumed = pending.is_some();
        let (state, verifier, created_at) = match pending {
            Some(pending) => (pending.state, pending.verifier, pending.created_at),
            None => (
                random_text(&*self.env)?,
                Secret::new(random_text(&*self.env)?),
                now,
            ),
        };
        let authorization = Authorization {
            url: url_with(&state, &verifier),
            state,
            verifier,
            redirect_uri: redirect_uri.to_owned(),
            resource,
            created_at,
            is_resumed,
        };
        if !is_resumed {
            self.remember(&authorization, discovered)?;
        }
        Ok(authorization)
    }

    fn remember(&self, authorization: &Authorization, discovered: &Discovered) -> Step<()> {
        let record = discovered.record();
        self.store
            .save_sign_in(&authorization.state, &authorization.verifier, Some(&record))?;
        self.store.save_pending_sign_in(&PendingSignIn {
            state: authorization.state.clone(),
            verifier: authorization.verifier.clone(),
            authorization_url: authorization.url.to_string(),
            issuer: Some(discovered.issuer().to_owned()),
            created_at: authorization.created_at,
            ..PendingSignIn::default()
        });
        Ok(())
    }

    pub(super) fn forget(&self, authorization: &Authorization) {
        self.store.remove_pending_sign_in();
        self.store.remove_sign_in(&authorization.state);
    }

    /// Asks the server whether it still knows a stored registration, so that the user is not shown its error page.
    ///
    /// # Errors
    /// If it does not. Servers say so in many ways, but never with a redirect (RFC 6749 4.1.2.1).
    pub(super) fn preflight(
        &self,
        discovered: &Discovered,
        client: &Client,
        authorization: &Authorization,
    ) -> Step<()> {
        if client.origin != Origin::Stored || authorization.is_resumed {
            return Ok(());
        }
        let request = Fetch {
            follow: false,
            ..Fetch::document(authorization.url.clone())
        };
        // Any other response is for the browser, which must not wait for a second try.
        let Ok(response) = self.env.fetch(&request) else {
            return Ok(());
        };
        let is_about_client = matches!(response.status, 400..=499)
            && !matches!(response.status, 405 | 406 | 408 | 429);
        match of_response("the sign-in", &request, &response) {
            Failure::Passing(_) => Ok(()),
            _ if !is_about_client => Ok(()),
            failure if matches!(failure.code(), Some("invalid_scope" | "invalid_target")) => {
                Err(failure)
            }
            failure if failure.is_unknown_client() => Err(failure),
            // Without a new registration, the browser may still get further than this request.
            _ if discovered.server.registration_endpoint.is_none() => Ok(()),
            failure => Err(Failure::Refused(
                "invalid_client".to_owned(),
                failure.into_error(),
            )),
        }
    }

    /// Prints the URL and opens it, or redirects the browser that still waits for its page.
    pub(super) fn show(&self, authorization: &Authorization, browser: Option<Responder>) -> Shown {
        self.env.show_url(
            &authorization.url,
            &authorization_code::visiting(&authorization.url),
        );
        if let Some(browser) = browser {
            browser.redirect(&authorization.url);
            return Shown::InBrowser;
        }
        if self.config.oauth.no_browser {
            return self.ask_to_paste();
        }
        if !self.may_open_window(authorization) {
            return Shown::AsText;
        }
        // Noted first, so that a process that is killed while the window opens does not open another one.
        let now = self.env.now();
        self.store
            .update_notes(|notes| notes.window_opened_at = Some(now));
        match self.env.open_browser(&authorization.url) {
            Opened::Started => Shown::InBrowser,
            Opened::NoBrowser(why) => {
                self.store
                    .update_notes(|notes| notes.window_opened_at = None);
                let text = format!("no browser was opened ({why}): please open the URL yourself");
                self.env.say(Level::Info, &text);
                self.ask_to_paste()
            }
        }
    }

    /// A browser on another machine cannot reach our port: the user pastes the URL it was sent to.
    fn ask_to_paste(&self) -> Shown {
        if self.env.is_by_hand() {
            let text = "if that browser is on another machine, paste the URL it ends up at here (the page itself will not load)";
            self.env.say(Level::Info, text);
        }
        Shown::AsText
    }

    fn may_open_window(&self, authorization: &Authorization) -> bool {
        if self.env.is_by_hand() {
            return true;
        }
        let opened = self.store.notes().window_opened_at;
        // A process that ended early may have stored the sign-in and opened nothing.
        if authorization.is_resumed && opened.is_some_and(|at| at >= authorization.created_at) {
            self.env.say(
                Level::Info,
                "a sign-in is under way: please finish it in the browser tab that is already open",
            );
            return false;
        }
        let recently = opened.is_some_and(|at| at.abs_diff(self.env.now()) < WINDOW_INTERVAL);
        if recently {
            self.env.say(
                Level::Info,
                "a browser was opened within the last hour and nobody came back from it: please open the URL yourself",
            );
        }
        !recently
    }
}

/// A request with less time left than this is not resumed.
const MIN_TIME_LEFT: UnixMillis = 60_000;
const WINDOW_INTERVAL: UnixMillis = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::discovery::server_metadata::ServerMetadata;
    use crate::oauth::environment::Environment;
    use crate::oauth::scripted_environment::{self, Scripted};

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
        let env = Scripted::new();
        let authorizer = scripted_environment::authorizer(&env);
        let wanted = Wanted {
            redirect_uri: Some("http://localhost:1/cb"),
            grant: "authorization_code",
            scope: None,
        };
        let client = Client::default();
        let begin = |issuer: &str| {
            let discovered = discovered(issuer);
            authorizer
                .authorization(&discovered, &client, wanted)
                .unwrap()
        };
        assert!(!begin("https://as.test").is_resumed);
        env.sleep(std::time::Duration::from_secs(1));
        let again = begin("https://as.test");
        assert!(again.is_resumed && authorizer.may_open_window(&again));
        authorizer.store.update_notes(|notes| {
            notes.window_opened_at = Some(env.now());
        });
        assert!(!authorizer.may_open_window(&begin("https://as.test")));
        // Another server with the same authorization endpoint must not get the code.
        env.sleep(std::time::Duration::from_secs(1));
        assert!(!begin("https://evil.test").is_resumed);
    }

    #[test]
    fn a_window_nobody_came_back_from_is_followed_by_another_only_after_an_hour() {
        let env = Scripted::new();
        let authorizer = scripted_environment::authorizer(&env);
        let wanted = Wanted {
            redirect_uri: Some("http://localhost:1/cb"),
            grant: "authorization_code",
            scope: None,
        };
        let begin = || {
            let discovered = discovered("https://as.test");
            let client = Client::default();
            authorizer
                .authorization(&discovered, &client, wanted)
                .unwrap()
        };
        authorizer.store.update_notes(|notes| {
            notes.window_opened_at = Some(env.now());
        });
        // The stored sign-in has run out; the hour has not.
        env.sleep(std::time::Duration::from_secs(3_590));
        let early = begin();
        assert!(!early.is_resumed && !authorizer.may_open_window(&early));
        authorizer.store.remove_pending_sign_in();
        env.sleep(std::time::Duration::from_secs(11));
        assert!(authorizer.may_open_window(&begin()));
    }
}
