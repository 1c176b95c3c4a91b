//! The tokens in memory: which one is sent, when it ends, and which requests for new ones are under way.
//!
//! - They are read from the store again at least every second, because another instance may have refreshed them.
//! - New tokens are stored before they are used.
//! - A shutdown waits a moment for token requests: a refresh token that the server replaced and we did not store ends the sign-in.
//!
//! Flags: `--use-id-token`.
//! Spec: RFC 6749 5.1; RFC 9700 4.14.2 (rotation).

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::dpop::Credential;
use super::{Authorizer, lock};
use crate::log::Level;
use crate::secret::Secret;
use crate::store::{Tokens, UnixMillis, id_token};

/// What is known about the tokens without a look at the store.
#[derive(Default)]
pub(super) struct TokenCache {
    tokens: Option<Tokens>,
    read_at: Option<UnixMillis>,
    /// The access token that the server refused and that a refresh cannot replace.
    pub(super) refused: Option<Secret>,
    /// The last token that the server accepted.
    pub(super) accepted: Option<Secret>,
    /// When the last use of the sign-in was noted in the store.
    noted_at: Option<UnixMillis>,
    has_warned_of_id_token: bool,
}

/// Counts token requests under way.
#[derive(Default)]
pub(super) struct Counter {
    count: Mutex<usize>,
    changed: Condvar,
}

/// A token request under way; its tokens are stored when this is dropped.
pub(super) struct UnderWay<'a>(&'a Counter);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        *lock(&self.0.count) -= 1;
        self.0.changed.notify_all();
    }
}

impl Authorizer {
    /// The server accepted a request that carried this token.
    pub(crate) fn accepted(&self, used: &Secret) {
        let now = self.env.now();
        let mut cache = lock(&self.cache);
        if cache.accepted.as_ref() != Some(used) {
            cache.accepted = Some(used.clone());
        }
        let is_noted = |at: UnixMillis| at.abs_diff(now) < NOTE_INTERVAL;
        if !cache.noted_at.is_some_and(is_noted) {
            cache.noted_at = Some(now);
            drop(cache);
            self.store.note_use(now);
        }
    }

    /// The tokens, at most a second old.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        let now = self.env.now();
        let mut cache = lock(&self.cache);
        let is_current = |at: UnixMillis| at.abs_diff(now) < REREAD_INTERVAL;
        if !cache.read_at.is_some_and(is_current) {
            cache.tokens = self.store.tokens();
            cache.read_at = Some(now);
        }
        cache.tokens.clone()
    }

    /// The tokens as they are in the store.
    pub(super) fn fresh_tokens(&self) -> Option<Tokens> {
        lock(&self.cache).read_at = None;
        self.tokens()
    }

    /// The token to send: the access token, or the ID token with `--use-id-token`.
    pub(super) fn bearer_of(&self, tokens: &Tokens) -> Option<Credential> {
        if self.config.oauth.use_id_token {
            if let Some(id_token) = &tokens.id_token {
                return Some(Credential::bearer(id_token.clone()));
            }
            let mut cache = lock(&self.cache);
            if !std::mem::replace(&mut cache.has_warned_of_id_token, true) {
                self.env.say(
                    Level::Warn,
                    "--use-id-token: the authorization server returned no id token; the access token is sent",
                );
            }
        }
        self.credential(tokens)
    }

    /// Whether the token to send has expired or will soon.
    pub(super) fn ends_soon(&self, tokens: &Tokens, now: UnixMillis) -> bool {
        let margin = refresh_margin(tokens);
        let id_token = tokens.id_token.as_ref();
        let id_token = id_token.filter(|_| self.config.oauth.use_id_token);
        let id_token_ends = id_token.and_then(id_token::expiry);
        id_token_ends.is_some_and(|at| now.saturating_add(margin) >= at)
            || tokens.is_expired(now, margin)
    }

    /// Stores new tokens, then uses them.
    pub(super) fn keep(&self, tokens: Tokens, issuer: &str) -> Tokens {
        let tokens = Tokens {
            issuer: Some(issuer.to_owned()),
            ..tokens
        };
        let tokens = self.store.save_tokens(tokens, self.env.now());
        let mut cache = lock(&self.cache);
        cache.tokens = Some(tokens.clone());
        cache.read_at = Some(self.env.now());
        cache.refused = None;
        tokens
    }

    /// Counts a token request until the returned value is dropped.
    pub(super) fn under_way(&self) -> UnderWay<'_> {
        *lock(&self.under_way.count) += 1;
        UnderWay(&self.under_way)
    }

    /// Waits until no token request is under way, `limit` at most.
    pub fn settle(&self, limit: Duration) {
        let counter = &self.under_way;
        let waited = counter
            .changed
            .wait_timeout_while(lock(&counter.count), limit, |count| *count > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// How long before its end a token is refreshed: a tenth of its life, a minute at most, so that short-lived tokens are not
/// refreshed at every request.
fn refresh_margin(tokens: &Tokens) -> UnixMillis {
    let tenth = tokens.expires_in.map(|life| life.saturating_mul(100));
    tenth.unwrap_or(MAX_MARGIN).min(MAX_MARGIN)
}

/// How long the tokens last, and whether they can be refreshed.
pub(super) fn life_in_words(tokens: &Tokens) -> String {
    let life = match tokens.expires_in {
        Some(seconds) => format!("the token lasts {seconds} s"),
        None => "the token has no stated lifetime".to_owned(),
    };
    match tokens.refresh_token {
        Some(_) => format!("{life} and can be refreshed"),
        None => format!("{life} and cannot be refreshed: a new sign-in will be needed then"),
    }
}

const MAX_MARGIN: UnixMillis = 60_000;
const NOTE_INTERVAL: UnixMillis = 60_000;
/// How long tokens are used without a look at the store.
const REREAD_INTERVAL: UnixMillis = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_is_a_tenth_of_the_life_and_at_most_a_minute() {
        let with = |expires_in| {
            refresh_margin(&Tokens {
                expires_in,
                ..Tokens::default()
            })
        };
        assert_eq!(with(Some(3600)), 60_000);
        assert_eq!(with(Some(60)), 6_000);
        assert_eq!(with(Some(1)), 100);
        assert_eq!(with(Some(u64::MAX)), 60_000);
        assert_eq!(with(None), 60_000);
    }
}
