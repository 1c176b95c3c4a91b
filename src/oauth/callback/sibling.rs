//! Asks the holder of a callback port whether it is another instance that leads the sign-in to the same server.
//!
//! The callback port is the election for a sign-in: whoever binds it leads. An instance that finds it taken asks
//! `/.mcp-remote/id`; `{"mcpRemote": true, "serverUrlHash": "<hash>"}` with our hash is a leader, npm's or ours.
//! One of ours that only waits for connections to end responds `{"mcpRemote": false}`, and closes the port if it is asked for.
//!
//! Spec: npm mcp-remote 0.15.1 (portHeldBySiblingFor: one second, everything else is another program).

use std::time::Duration;

use serde_json::{Value, json};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::TcpConnector;

use crate::store::ServerHash;

/// Where an instance tells whose sign-in it leads.
pub const ID_PATH: &str = "/.mcp-remote/id";
/// The header that asks an instance without a sign-in for its port. Web pages cannot send it, npm's instances ignore it.
pub const CLAIM: &str = "Mcp-Remote-Claim";

const TIMEOUT: Duration = Duration::from_secs(1);
const MAX_LENGTH: u64 = 4096;

/// What holds a callback port.
#[derive(Debug, PartialEq, Eq)]
pub enum Holder {
    /// An instance that leads the sign-in to this server.
    Leader,
    /// An instance that is closing the port.
    Leaving,
    /// Another program, or nothing.
    Other,
}

/// The document at [`ID_PATH`]: the hash of the server whose sign-in is pending.
pub fn id_document(pending: Option<&ServerHash>) -> String {
    match pending {
        Some(hash) => json!({"mcpRemote": true, "serverUrlHash": hash.as_str()}).to_string(),
        None => json!({"mcpRemote": false}).to_string(),
    }
}

/// Whether another instance leads the sign-in to this server on this port.
pub fn is_sibling(port: u16, hash: &ServerHash) -> bool {
    ask(port, false, hash) == Holder::Leader
}

/// Asks who holds a port that this instance wants.
pub fn claim(port: u16, hash: &ServerHash) -> Holder {
    ask(port, true, hash)
}

fn ask(port: u16, is_claim: bool, hash: &ServerHash) -> Holder {
    let document = fetch(port, is_claim).unwrap_or_default();
    let hash_there = document.get("serverUrlHash").and_then(Value::as_str);
    match document.get("mcpRemote").and_then(Value::as_bool) {
        Some(true) if hash_there == Some(hash.as_str()) => Holder::Leader,
        Some(false) => Holder::Leaving,
        _ => Holder::Other,
    }
}

fn fetch(port: u16, is_claim: bool) -> Option<Value> {
    // The loopback is never behind a proxy, and a redirect of another program is not followed.
    let config = ureq::Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .timeout_global(Some(TIMEOUT))
        .build();
    // ureq's default connector would bring a TLS of its own, which nothing else uses.
    let agent =
        ureq::Agent::with_parts(config, TcpConnector::default(), DefaultResolver::default());
    let mut request = agent.get(format!("http://127.0.0.1:{port}{ID_PATH}"));
    if is_claim {
        request = request.header(CLAIM, "1");
    }
    let mut response = request.call().ok()?;
    if response.status() != 200 {
        return None;
    }
    let body = response.body_mut().with_config().limit(MAX_LENGTH);
    serde_json::from_slice(&body.read_to_vec().ok()?).ok()
}
