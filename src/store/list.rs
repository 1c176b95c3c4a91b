//! Listing all servers that credentials are kept for, and forgetting one.
//!
//! Flags: `mcp-remote-client --list`, `--status`, `--logout`.
//! Not done here: tokens are not revoked (RFC 7009); whoever logs out does that first.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::{CLIENT_INFO, DIR, DISCOVERY, DPOP_KEY, NOTES, PENDING, Store, TOKENS, Tokens, USED};
use super::{ServerHash, UnixMillis};
use super::{VERIFIER, id_token};
use crate::error::{Error, Kind, Result, plain};
use crate::log::Log;

/// A server that something is kept for.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The name of its files.
    pub hash: ServerHash,
    /// Its address, if this version has stored the credentials; npm does not note it.
    pub url: Option<String>,
    /// The profile it belongs to (`--profile`).
    pub profile: Option<String>,
    /// Who signed in, if an id token tells.
    pub account: Option<String>,
    /// Whether there are tokens.
    pub has_tokens: bool,
    /// Whether they can be refreshed.
    pub has_refresh_token: bool,
    /// When the access token ends.
    pub expires_at: Option<UnixMillis>,
    /// When the sign-in was last used.
    pub last_use: Option<UnixMillis>,
    /// The scope of the tokens.
    pub scope: Option<String>,
    /// Whether there is a client registration.
    pub has_client_info: bool,
    /// Whose tokens or registration it is.
    pub issuer: Option<String>,
}

impl Store {
    /// All servers that tokens or a registration are kept for under this base directory, sorted by address, then by hash.
    ///
    /// # Errors
    /// If the directory exists and cannot be read.
    pub fn list(base: &Path, log: &Arc<Log>) -> Result<Vec<Listed>> {
        let dir = base.join(DIR);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                let what = format!("cannot read \"{}\": {}", dir.display(), plain(&error));
                return Err(Error::new(Kind::Store, what));
            }
        };
        let hashes: BTreeSet<ServerHash> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter_map(|name| {
                let (hash, name) = name.split_once('_')?;
                let counts = name == TOKENS || name == CLIENT_INFO;
                ServerHash::parse(hash).filter(|_| counts)
            })
            .collect();
        let mut listed: Vec<Listed> = hashes
            .iter()
            .map(|hash| Store::open(Some(base.to_owned()), hash, Arc::clone(log)).listed())
            .filter(|listed| listed.has_tokens || listed.has_client_info)
            .collect();
        listed.sort_by(|a, b| {
            (a.url.is_none(), &a.url, &a.profile).cmp(&(b.url.is_none(), &b.url, &b.profile))
        });
        Ok(listed)
    }

    /// What `--list` and `--status` show about this server.
    pub fn listed(&self) -> Listed {
        let (tokens, client) = (self.tokens(), self.client_info());
        let notes = self.notes();
        let of_tokens = |part: fn(&Tokens) -> Option<String>| tokens.as_ref().and_then(part);
        Listed {
            hash: self.hash().clone(),
            url: notes.url,
            profile: notes.profile,
            account: tokens
                .as_ref()
                .and_then(|tokens| id_token::account(tokens.id_token.as_ref()?)),
            has_tokens: tokens.is_some(),
            has_refresh_token: tokens.as_ref().is_some_and(|t| t.refresh_token.is_some()),
            expires_at: tokens.as_ref().and_then(|t| t.expires_at),
            last_use: tokens.as_ref().and_then(|_| self.last_use()),
            scope: of_tokens(|t| t.scope.clone()),
            has_client_info: client.is_some(),
            issuer: of_tokens(|t| t.issuer.clone()).or(client.and_then(|c| c.issuer)),
        }
    }

    /// Forgets everything about this server, for a logout; what is only in memory too.
    ///
    /// The debug file stays, and so does the lock file: an instance that has it open and one that made a new one would
    /// both hold the lock. An instance that waits for the lock finds no tokens when it gets it.
    ///
    /// # Errors
    /// If a file cannot be removed; the others are removed nevertheless.
    pub fn forget(&self) -> Result<()> {
        let mut names: Vec<String> = vec![TOKENS, CLIENT_INFO, DPOP_KEY, PENDING, NOTES, USED]
            .into_iter()
            .map(str::to_owned)
            .collect();
        for beginning in [VERIFIER, DISCOVERY, TOKENS, CLIENT_INFO, PENDING, NOTES] {
            names.extend(self.files.names(beginning));
        }
        let failed: Vec<(&String, std::io::Error)> = names
            .iter()
            .filter_map(|name| Some((name, self.files.remove(name).err()?)))
            .collect();
        match failed.first() {
            None => Ok(()),
            Some((name, error)) => {
                let shown = self.files.shown(name);
                let what = format!("cannot remove \"{shown}\": {}", plain(error));
                Err(Error::new(Kind::Store, what))
            }
        }
    }
}
