//! Taking over the credentials of an older version, once and without changing them.
//!
//! - npm up to 0.2 kept a directory for each version: `<base>/mcp-remote-<version>/`. Its names hash the server alone up to
//!   0.1.29, then server, resource and headers.
//! - The Deno port: `<base>/mcp-remote-deno-<version>/`, the server alone.
//! - The newest directory with tokens counts, npm's before Deno's; only if the present store has neither tokens nor a
//!   registration, and never again after that (`imported_from` in `server.json`), so that a logout lasts.
//!
//! Their tokens do not say when they end: the time of the file plus their life does.
//! Not done here: nothing in the old directories is written, locked or removed.

use std::cmp::Reverse;
use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::{CLIENT_INFO, ClientInfo, Object, ServerHash, Store, TOKENS, Tokens, atomic};
use crate::config::Config;
use crate::log::Level;

/// Takes over what an older version has stored for this command line, if there is something and it is needed.
pub fn import(config: &Config, store: &Store) {
    let Some(base) = &config.store_dir else {
        return;
    };
    let exists = |name| store.files.path(name).is_some_and(|path| path.exists());
    if exists(CLIENT_INFO) {
        return;
    }
    let found = candidates(base, config)
        .into_iter()
        .find_map(|(name, hash)| Some((read_old(&base.join(&name), &hash)?, name)));
    let Some(((tokens, client), name)) = found else {
        return;
    };
    if store.notes().imported_from.is_some() {
        return;
    }
    // The same tokens, and nothing else: a process was killed while it took them over.
    if exists(TOKENS) && store.tokens().as_ref() != Some(&tokens) {
        return;
    }
    store.files.write_object(TOKENS, &tokens.to_object());
    if let Some(client) = client {
        store.files.write_object(CLIENT_INFO, &client.to_object());
    }
    store.note_url();
    store.update_notes(|notes| notes.imported_from = Some(name.clone()));
    let text = format!("the sign-in stored by \"{name}\" is used");
    store.files.log().say(Level::Info, &text);
}

/// Whether older versions have left directories here.
pub fn has_older_stores(base: &Path) -> bool {
    !older_stores(base).is_empty()
}

/// The old directories, the best one first: whether it is npm's, its version, its name.
fn older_stores(base: &Path) -> Vec<(bool, Version, String)> {
    let Ok(entries) = fs::read_dir(base) else {
        return Vec::new();
    };
    let mut versions: Vec<(bool, Version, String)> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| {
            let version = name.strip_prefix("mcp-remote-")?;
            let (is_npm, version) = match version.strip_prefix("deno-") {
                Some(version) => (false, version),
                None => (true, version),
            };
            Some((is_npm, parse_version(version)?, name))
        })
        .collect();
    versions.sort_by_key(|(is_npm, version, _)| Reverse((*is_npm, *version)));
    versions
}

/// The old directories that may hold this server's files, the best one first, and the hash each of them would use.
fn candidates(base: &Path, config: &Config) -> Vec<(String, ServerHash)> {
    let knew_headers = parse_version("0.1.30");
    older_stores(base)
        .into_iter()
        .filter_map(|(is_npm, version, name)| {
            let hash = if is_npm && Some(version) >= knew_headers {
                ServerHash::of_versioned_store(config)
            } else {
                ServerHash::of_oldest_stores(config)
            };
            Some((name, hash?))
        })
        .collect()
}

/// Major, minor, patch, and whether it is a release (a pre-release comes before it).
type Version = (u32, u32, u32, bool);

fn parse_version(text: &str) -> Option<Version> {
    let (numbers, is_release) = match text.split_once(['-', '+']) {
        Some((numbers, _)) => (numbers, false),
        None => (text, true),
    };
    let mut numbers = numbers.split('.').map(|n| n.parse::<u32>().ok());
    let version = (
        numbers.next()??,
        numbers.next()??,
        numbers.next()??,
        is_release,
    );
    numbers.next().is_none().then_some(version)
}

fn read_old(dir: &Path, hash: &ServerHash) -> Option<(Tokens, Option<ClientInfo>)> {
    let file = |name: &str| {
        let content = atomic::read(&dir.join(format!("{hash}_{name}"))).ok()??;
        let object: Object = serde_json::from_slice(&content.bytes).ok()?;
        Some((object, content.modified))
    };
    let (tokens, modified) = file(TOKENS)?;
    let tokens = Tokens::from_object(&tokens).ok()?;
    let written = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let tokens = match written.and_then(|at| u64::try_from(at.as_millis()).ok()) {
        Some(written) => tokens.with_expiry(written),
        None => tokens,
    };
    let client = file(CLIENT_INFO)
        .filter(|(object, _)| object.contains_key("redirect_uris"))
        .and_then(|(object, _)| ClientInfo::from_object(object).ok());
    Some((tokens, client))
}
