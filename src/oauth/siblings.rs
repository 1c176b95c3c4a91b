//! Several instances, one sign-in: the port decides who leads, the others follow.
//!
//! - A follower looks for tokens in the store every quarter of a second, and takes over when the leader is gone.
//! - It shows the leader's address to its own client, which waits as well.
//!
//! Flags: `--host`, `--callback-path`.
//! Spec: npm mcp-remote 0.15.1 (coordinateAuth, PORT_CANDIDATES).

use std::time::Duration;

use url::Url;

use super::attempt::visiting;
use super::callback::{Place, is_sibling};
use super::failure::{Failure, Step};
use super::sign_in::StepUp;
use super::{Authorizer, lock, scope};
use crate::log::Level;
use crate::store::UnixMillis;
use crate::url::shown;

impl Authorizer {
    /// npm's port: the one that was asked for, else that of the registration, else the one derived from the address.
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
    pub(super) fn follow(&self, port: u16, begun: UnixMillis) -> Step<bool> {
        let patience = millis(self.config.oauth.auth_timeout.max(LEAST_PATIENCE));
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
            if now.abs_diff(begun) >= patience {
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

    /// Whether a person came back to another instance and it failed.
    pub(super) fn has_failed_since(&self, begun: UnixMillis) -> bool {
        let failed = self.store.notes().sign_in_failed_at;
        failed.is_some_and(|at| at >= begun && at <= self.world.now())
    }

    /// Whether there are usable tokens that the server has not refused.
    pub(super) fn has_news(&self) -> bool {
        let tokens = self.fresh_tokens();
        let cached = lock(&self.cached);
        tokens.is_some_and(|tokens| {
            // For a step-up, tokens that were only refreshed are no news.
            let is_wider = |step_up: &StepUp| {
                tokens.scope != step_up.before
                    || scope::holds_all(tokens.scope.as_deref(), &step_up.needed)
            };
            tokens.is_usable(self.world.now())
                && Some(&tokens.access_token) != cached.refused.as_ref()
                && cached.step_up.as_ref().is_none_or(is_wider)
        })
    }
}

fn millis(time: Duration) -> UnixMillis {
    u64::try_from(time.as_millis()).unwrap_or(UnixMillis::MAX)
}

/// npm: followers wait for three minutes at least.
const LEAST_PATIENCE: Duration = Duration::from_secs(180);
pub(super) const POLL: Duration = Duration::from_millis(250);
