//! Several instances, one sign-in: the instance that binds the callback port leads, the others follow.
//!
//! - A follower looks for tokens in the store every quarter of a second, and takes over when the leader is gone.
//! - It shows the leader's URL to its own client, which waits as well.
//!
//! Flags: `--host`, `--callback-path`.
//! Spec: npm mcp-remote 0.15.1 (coordinateAuth, PORT_CANDIDATES).

use std::time::Duration;

use url::Url;

use super::callback::{Place, is_sibling};
use super::error::{Failure, Step};
use super::{Authorizer, authorization_code, lock};
use crate::log::Level;
use crate::store::UnixMillis;
use crate::url::{is_loopback, shown};

impl Authorizer {
    /// npm's port: the configured one, else that of the registration, else the one derived from the server's URL.
    pub(super) fn place(&self) -> Place {
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
        let redirect_uri = self.redirect_uri();
        let is_fixed = oauth.static_client_info.is_some()
            || oauth.client_metadata_url.is_some()
            || redirect_uri.is_some();
        // Without a port of its own, a listener for a redirect to this machine is where the redirect leads.
        let redirected = redirect_uri
            .as_ref()
            .filter(|url| url.scheme() == "http" && is_loopback(url))
            .and_then(Url::port);
        let derived = self.store.hash().port();
        Place {
            port: oauth
                .port
                .or(redirected)
                .or(registered.filter(|_| !is_fixed))
                .unwrap_or(derived),
            strict: oauth.port.is_some() || is_fixed,
            host: oauth.host.clone(),
            path: oauth.callback_path.clone(),
            address: oauth.callback_bind,
            redirect_uri,
            server: shown(&self.config.server),
        }
    }

    /// The configured redirect URI.
    fn redirect_uri(&self) -> Option<Url> {
        let text = self.config.oauth.redirect_uri.as_deref()?;
        Url::parse(text).ok()
    }

    /// Waits for the tokens of the leader; false if it is gone.
    pub(super) fn follow(&self, port: u16, began: UnixMillis) -> Step<bool> {
        let timeout = self.config.oauth.auth_timeout.max(MIN_AUTH_TIMEOUT);
        let timeout = UnixMillis::try_from(timeout.as_millis()).unwrap_or(UnixMillis::MAX);
        self.env.say(
            Level::Info,
            "another instance is signing in to this server; waiting for it",
        );
        let mut has_shown_url = false;
        let mut missed = 0;
        loop {
            if self.has_new_tokens() {
                return Ok(true);
            }
            let now = self.env.now();
            if now.abs_diff(began) >= timeout {
                let what = "another instance has not completed its sign-in in time";
                return Err(Failure::new(what));
            }
            if let Some(pending) = self.store.pending_sign_in(now).filter(|_| !has_shown_url)
                && let Ok(url) = Url::parse(&pending.authorization_url)
            {
                self.env.show_url(&url, &authorization_code::visiting(&url));
                has_shown_url = true;
            }
            missed = if is_sibling(port, self.store.hash()) {
                0
            } else {
                missed + 1
            };
            if missed > 1 {
                // It may have stored its tokens just before it exited.
                return Ok(self.has_new_tokens());
            }
            self.env.sleep(POLL_INTERVAL);
        }
    }

    /// Whether the user came back to another instance and its sign-in failed.
    pub(super) fn has_failed_since(&self, began: UnixMillis) -> bool {
        let failed_at = self.store.notes().sign_in_failed_at;
        failed_at.is_some_and(|at| at >= began && at <= self.env.now())
    }

    /// Whether there are usable tokens that the server has not refused and, in a step-up, that come from it.
    pub(super) fn has_new_tokens(&self) -> bool {
        let Some(tokens) = self.fresh_tokens() else {
            return false;
        };
        let history = lock(&self.history);
        let step_up = history.step_up.as_ref();
        tokens.is_usable(self.env.now())
            && Some(&tokens.access_token) != lock(&self.cache).refused.as_ref()
            && step_up.is_none_or(|step_up| step_up.is_met_by(tokens.scope.as_deref()))
    }
}

/// npm: followers wait for at least three minutes.
const MIN_AUTH_TIMEOUT: Duration = Duration::from_secs(180);
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(250);
