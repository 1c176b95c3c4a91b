//! The tokens we hold: what is sent, and when it ends.
//!
//! - They are read again from the store at least every second, because a sibling may have renewed them.
//! - New ones are stored before anybody uses them.
//!
//! Flags: `--use-id-token`.
//! Spec: RFC 6749 5.1.

use super::{Authorizer, lock, refresh};
use crate::log::Level;
use crate::secret::Secret;
use crate::store::{Tokens, UnixMillis, id_token};

impl Authorizer {
    /// The server accepted a request that carried this.
    pub(crate) fn accepted(&self, used: &Secret) {
        let now = self.env.now();
        let mut cached = lock(&self.cached);
        if cached.accepted.as_ref() != Some(used) {
            cached.accepted = Some(used.clone());
        }
        if cached
            .noted_at
            .is_none_or(|at| at.abs_diff(now) >= NOTE_AGAIN)
        {
            cached.noted_at = Some(now);
            drop(cached);
            self.store.note_use(now);
        }
    }

    /// The tokens as they were at most a second ago.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        let now = self.env.now();
        let mut cached = lock(&self.cached);
        if cached.read_at.is_none_or(|at| at.abs_diff(now) >= REREAD) {
            cached.tokens = self.store.tokens();
            cached.read_at = Some(now);
        }
        cached.tokens.clone()
    }

    /// The tokens as they are.
    pub(super) fn fresh_tokens(&self) -> Option<Tokens> {
        lock(&self.cached).read_at = None;
        self.tokens()
    }

    /// What is sent: the access token, or the id token if that was asked for.
    pub(super) fn bearer_of(&self, tokens: &Tokens) -> Option<Secret> {
        if self.config.oauth.use_id_token {
            if let Some(id_token) = &tokens.id_token {
                return Some(id_token.clone());
            }
            let mut cached = lock(&self.cached);
            if !std::mem::replace(&mut cached.warned_of_id_token, true) {
                self.env.say(
                    Level::Warn,
                    "--use-id-token: the authorization server gave no id token; the access token is sent",
                );
            }
        }
        Some(tokens.access_token.clone())
    }

    pub(super) fn ends_soon(&self, tokens: &Tokens, now: UnixMillis) -> bool {
        let margin = refresh::margin(tokens);
        let id_token_ends = match (&tokens.id_token, self.config.oauth.use_id_token) {
            (Some(id_token), true) => id_token::expiry(id_token),
            _ => None,
        };
        id_token_ends.is_some_and(|at| now.saturating_add(margin) >= at)
            || tokens.is_expired(now, margin)
    }

    /// Whether these tokens were renewed by us a moment ago, and have not come to their end since.
    pub(super) fn was_renewed(&self, tokens: &Tokens) -> bool {
        let now = self.env.now();
        let moment = match self.ends_soon(tokens, now) {
            true => LEAST_LIFE,
            false => JUST_RENEWED,
        };
        let turn = lock(&self.turn);
        turn.renewed
            .as_ref()
            .is_some_and(|(token, at)| *token == tokens.access_token && at.abs_diff(now) < moment)
    }

    /// Keeps new tokens: stored before anybody uses them.
    pub(super) fn keep(&self, tokens: Tokens, issuer: Option<&str>) -> Tokens {
        let tokens = Tokens {
            issuer: issuer.map(str::to_owned).or(tokens.issuer),
            ..tokens
        };
        let tokens = self.store.save_tokens(tokens, self.env.now());
        let mut cached = lock(&self.cached);
        cached.tokens = Some(tokens.clone());
        cached.read_at = Some(self.env.now());
        cached.refused = None;
        tokens
    }
}

/// The last use is known to the minute, and costs no more than that.
const NOTE_AGAIN: UnixMillis = 60_000;
/// How long tokens are believed without a look at the store.
const REREAD: UnixMillis = 1_000;
const JUST_RENEWED: UnixMillis = 30_000;
/// Tokens that live for less are not renewed for each request.
const LEAST_LIFE: UnixMillis = 1_000;
