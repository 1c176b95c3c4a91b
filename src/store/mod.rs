//! `Store`: what is remembered about one server, in npm mcp-remote's files.
//!
//! The files are `<base>/mcp-remote-v1/<hash>_<name>`, directory 0700, files 0600, replaced atomically; base is
//! `$MCP_REMOTE_CONFIG_DIR` or `~/.mcp-auth`. npm reads and writes the same ones, so a person who switches stays signed in:
//! - npm's: `tokens.json`, `client_info.json`, `code_verifier_<state>.txt`, `discovery_state_<state>.json`,
//!   `refresh_in_progress.json` (`lease.rs`), `debug.log`;
//! - ours, ignored by npm: `server.json`, `pending_sign_in.json`, `used`, `lock`.
//!
//! Invariants:
//! - nothing here is fatal: what cannot be read is absent, what cannot be written is kept in memory (`files.rs`);
//! - a file name is made of a [`ServerHash`], a fixed word, and at most a state of letters, digits, `-` and `_`.
//!
//! Spec: npm mcp-remote 0.15.1 (store version 1); RFC 6749 10.3 and 10.4 (tokens are kept from others).
//! Not done here: no decision about a sign-in or a refresh; no encryption.

mod atomic;
#[cfg(test)]
pub(crate) mod crash;
mod files;
pub(crate) mod id_token;
pub mod lease;
mod list;
pub mod own_records;
pub mod records;
pub mod server_hash;
#[cfg(test)]
pub(crate) mod test_dir;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::log::Log;
use crate::secret::Secret;

use files::Files;
pub use lease::{Lease, LeaseOutcome};
pub use list::Listed;
pub use own_records::{
    AcceptedIssuer, PendingSignIn, SIGN_IN_LIFE, ServerNotes, StaticClient, SteppedUp,
};
pub use records::{
    ClientInfo, DiscoveryState, EXPIRY_MARGIN, Object, Tokens, UnixMillis, same_issuer,
};
pub use server_hash::ServerHash;

/// What is remembered about one server. Shared by all threads.
pub struct Store {
    files: Files,
    url: Option<String>,
    profile: Option<String>,
    /// Two threads that change the notes would undo each other's change.
    notes_turn: Mutex<()>,
}

impl Store {
    /// The store of one server under this base directory; `None` keeps everything in memory.
    pub fn open(base: Option<PathBuf>, hash: &ServerHash, log: Arc<Log>) -> Store {
        let dir = base.map(|base| base.join(DIR));
        Store {
            files: Files::new(dir, hash.clone(), log),
            url: None,
            profile: None,
            notes_turn: Mutex::default(),
        }
    }

    /// The store for this command line.
    pub fn for_config(config: &Config, log: Arc<Log>) -> Store {
        let hash = ServerHash::of(config);
        let mut store = Store::open(config.store_dir.clone(), &hash, log);
        store.url = Some(crate::url::shown(&config.server));
        store.profile.clone_from(&config.profile);
        store
    }

    /// The store of another server in the same place.
    pub(crate) fn beside(&self, config: &Config) -> Store {
        Store {
            files: self.files.beside(ServerHash::of(config)),
            url: Some(crate::url::shown(&config.server)),
            profile: config.profile.clone(),
            notes_turn: Mutex::default(),
        }
    }

    /// Whose store it is.
    pub fn hash(&self) -> &ServerHash {
        self.files.hash()
    }

    /// npm's debug file (`--debug`), if there is a directory; it exists afterwards.
    pub fn debug_file(&self) -> Option<PathBuf> {
        self.files.path_to_write("debug.log").ok()
    }

    /// The tokens. npm writes them without their issuer at each refresh: it is then taken from our notes, else from npm's
    /// record of the discovery before the sign-in, else from its registration, else from the tokens themselves.
    pub fn tokens(&self) -> Option<Tokens> {
        let object = self.files.read_object(TOKENS)?;
        let mut tokens = self.complete(TOKENS, Tokens::from_object(&object))?;
        if tokens.issuer.is_none() {
            tokens.issuer = self
                .recorded_issuer()
                .or_else(|| self.registered_issuer())
                .or_else(|| id_token::issuer(tokens.id_token.as_ref()?))
                .or_else(|| id_token::issuer(&tokens.access_token));
        }
        Some(tokens)
    }

    /// The issuer of the stored tokens, from our notes or from npm's record of the discovery.
    fn recorded_issuer(&self) -> Option<String> {
        self.notes().issuer.or_else(|| self.discovered_issuer())
    }

    /// The issuer of the registration, unless it was stored after the tokens: a sign-in that nobody completed replaces it, too.
    fn registered_issuer(&self) -> Option<String> {
        let (registered, written) = (
            self.files.modified(CLIENT_INFO)?,
            self.files.modified(TOKENS)?,
        );
        let client = ClientInfo::from_object(self.files.read_object(CLIENT_INFO)?).ok()?;
        client
            .issuer
            .filter(|_| registered <= written.saturating_add(COPY_TIME))
    }

    /// The authorization server of the newest discovery record that is not newer than the tokens.
    fn discovered_issuer(&self) -> Option<String> {
        let written = self.files.modified(TOKENS)?;
        let records = self.files.names(DISCOVERY).into_iter();
        let (_, name) = records
            .filter_map(|name| Some((self.files.modified(&name)?, name)))
            .filter(|(modified, _)| *modified <= written)
            .max()?;
        let record = DiscoveryState::from_object(&self.files.read_object(&name)?).ok()?;
        let metadata = record.authorization_server_metadata;
        let issuer =
            metadata.and_then(|metadata| Some(metadata.get("issuer")?.as_str()?.to_owned()));
        Some(issuer.unwrap_or(record.authorization_server_url))
    }

    /// Stores the tokens, with `expires_at` filled in. Returns what was stored.
    pub fn save_tokens(&self, tokens: Tokens, now: UnixMillis) -> Tokens {
        let tokens = tokens.with_expiry(now);
        self.files.write_object(TOKENS, &tokens.to_object());
        if let Some(issuer) = &tokens.issuer {
            self.update_notes(|notes| notes.issuer = Some(issuer.clone()));
        }
        self.note_url();
        self.sweep(now);
        tokens
    }

    /// Removes what given-up sign-ins have left.
    fn sweep(&self, now: UnixMillis) {
        let life = Duration::from_millis(SIGN_IN_LIFE);
        self.files.sweep(now, life, |name| {
            name.starts_with(VERIFIER)
                || name.starts_with(DISCOVERY)
                || name == PENDING
                || name.ends_with(".tmp")
        });
    }

    /// Forgets the tokens.
    pub fn remove_tokens(&self) {
        self.files.remove(TOKENS).ok();
    }

    /// The client registration; npm's rule: one without redirect URIs is none.
    pub fn client_info(&self) -> Option<ClientInfo> {
        let object = self.files.read_object(CLIENT_INFO)?;
        let has_uris = object
            .get("redirect_uris")
            .is_some_and(|uris| uris.is_array());
        let client = ClientInfo::from_object(object);
        let mut client = self.complete(
            CLIENT_INFO,
            client.and_then(|c| {
                if has_uris {
                    Ok(c)
                } else {
                    Err("redirect_uris")
                }
            }),
        )?;
        client.issuer = client.issuer.or_else(|| self.recorded_issuer());
        Some(client)
    }

    /// Stores the client registration.
    pub fn save_client_info(&self, client: &ClientInfo) {
        self.files.write_object(CLIENT_INFO, &client.to_object());
        self.note_url();
    }

    /// Forgets the client registration.
    pub fn remove_client_info(&self) {
        self.files.remove(CLIENT_INFO).ok();
    }

    /// The code verifier that belongs to this state.
    pub fn verifier(&self, state: &str) -> Option<Secret> {
        let bytes = self.files.read(&verifier_name(state)?)?;
        let text = String::from_utf8(bytes).ok()?;
        let text = text.trim();
        // RFC 7636 4.1. Whatever else is there is what a power cut has left, and would spoil a sign-in that may still succeed.
        let is_unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        let is_whole = (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved);
        is_whole.then(|| Secret::new(text))
    }

    /// What was discovered before the browser was opened with this state.
    pub fn discovery_state(&self, state: &str) -> Option<DiscoveryState> {
        let name = discovery_name(state)?;
        let object = self.files.read_object(&name)?;
        self.complete(&name, DiscoveryState::from_object(&object))
    }

    /// Stores verifier and discovery of a sign-in that begins, as npm does, so that a sibling can finish it.
    ///
    /// # Errors
    /// If the state is not fit for a file name.
    pub fn save_sign_in(
        &self,
        state: &str,
        verifier: &Secret,
        discovery: Option<&DiscoveryState>,
    ) -> Result<()> {
        let (Some(verifier_name), Some(discovery_name)) =
            (verifier_name(state), discovery_name(state))
        else {
            return Err(Error::new(
                Kind::Bug,
                "the state of a sign-in must be 1 to 128 letters, digits, \"-\" or \"_\"",
            ));
        };
        self.files
            .write(&verifier_name, verifier.expose().as_bytes());
        if let Some(discovery) = discovery {
            self.files
                .write_object(&discovery_name, &discovery.to_object());
        }
        Ok(())
    }

    /// Forgets verifier and discovery of a sign-in.
    pub fn remove_sign_in(&self, state: &str) {
        for name in [verifier_name(state), discovery_name(state)]
            .into_iter()
            .flatten()
        {
            self.files.remove(&name).ok();
        }
    }

    /// The private key that the tokens are bound to, as PEM (RFC 9449).
    pub fn dpop_key(&self) -> Option<Secret> {
        let bytes = self.files.read(DPOP_KEY)?;
        String::from_utf8(bytes).ok().map(Secret::new)
    }

    /// Stores the private key that tokens will be bound to.
    pub fn save_dpop_key(&self, pem: &Secret) {
        self.files.write(DPOP_KEY, pem.expose().as_bytes());
    }

    /// Forgets the private key.
    pub fn remove_dpop_key(&self) {
        self.files.remove(DPOP_KEY).ok();
    }

    /// A sign-in that a person may be in the middle of.
    pub fn pending_sign_in(&self, now: UnixMillis) -> Option<PendingSignIn> {
        let object = self.files.read_object(PENDING)?;
        let pending = self.complete(PENDING, PendingSignIn::from_object(object))?;
        if pending.is_over(now) {
            self.remove_pending_sign_in();
            return None;
        }
        Some(pending)
    }

    /// Stores a sign-in, so that it can be finished after a restart.
    pub fn save_pending_sign_in(&self, pending: &PendingSignIn) {
        self.files.write_object(PENDING, &pending.to_object());
        // Where nobody ever comes back, no tokens are stored that would be the time for it.
        self.sweep(pending.created_at);
    }

    /// Forgets the sign-in that was begun.
    pub fn remove_pending_sign_in(&self) {
        self.files.remove(PENDING).ok();
    }

    /// What was learned about the server.
    pub fn notes(&self) -> ServerNotes {
        let object = self.files.read_object(NOTES).unwrap_or_default();
        ServerNotes::from_object(object)
    }

    /// Changes what is known about the server; nothing is written if nothing changes.
    pub fn update_notes(&self, change: impl FnOnce(&mut ServerNotes)) {
        let _turn = self
            .notes_turn
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = self.notes();
        let mut after = before.clone();
        change(&mut after);
        if after != before {
            self.files.write_object(NOTES, &after.to_object());
        }
    }

    /// `--list` needs an address to show, and the hash does not tell it.
    fn note_url(&self) {
        if let Some(url) = &self.url {
            self.update_notes(|notes| {
                notes.url = Some(url.clone());
                notes.profile.clone_from(&self.profile);
            });
        }
    }

    /// Notes that the server has accepted the sign-in, and its address, which npm does not note.
    pub fn note_use(&self, now: UnixMillis) {
        self.note_url();
        // It is for show only: a disk that refuses is told about where something is lost.
        self.files.touch(USED, now).ok();
    }

    /// When the server last accepted the sign-in, to the minute, or tokens were last got, which is all that npm leaves behind.
    pub fn last_use(&self) -> Option<UnixMillis> {
        self.files.modified(USED).max(self.files.modified(TOKENS))
    }

    fn complete<T>(&self, name: &str, record: std::result::Result<T, &'static str>) -> Option<T> {
        match record {
            Ok(record) => Some(record),
            Err(member) => {
                let shown = self.files.shown(name);
                let text = format!("\"{shown}\" has no usable \"{member}\": it is ignored");
                self.files.warn_once(name, &text);
                None
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("hash", self.hash())
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Files that are copied from another machine are written within this time, in any order.
const COPY_TIME: UnixMillis = 60_000;
const DIR: &str = "mcp-remote-v1";
const TOKENS: &str = "tokens.json";
const CLIENT_INFO: &str = "client_info.json";
const VERIFIER: &str = "code_verifier_";
const DISCOVERY: &str = "discovery_state_";
const PENDING: &str = "pending_sign_in.json";
const DPOP_KEY: &str = "dpop_key.pem";
const NOTES: &str = "server.json";
/// Empty; the time it was changed says it all. A note in `server.json` could undo what another instance writes there.
const USED: &str = "used";

fn verifier_name(state: &str) -> Option<String> {
    is_name(state).then(|| format!("{VERIFIER}{state}.txt"))
}

fn discovery_name(state: &str) -> Option<String> {
    is_name(state).then(|| format!("{DISCOVERY}{state}.json"))
}

/// npm's ISSUED_STATE, and `_` for base64url: a state from a callback must not lead out of the directory.
fn is_name(state: &str) -> bool {
    (1..=128).contains(&state.len())
        && state
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Lower-case hex digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
