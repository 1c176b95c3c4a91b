//! Is the holder of a callback port another instance for the same server?
//!
//! The callback port is the election for a sign-in: whoever binds it leads. An instance that finds it taken asks
//! `/.mcp-remote/id`; `{"mcpRemote": true, "serverUrlHash": "<hash>"}` with our hash is a sibling, npm's or ours.
//!
//! Spec: npm mcp-remote 0.15.1 (portHeldBySiblingFor: one second, everything else is a stranger).

use std::time::Duration;

use serde_json::{Value, json};

use crate::store::ServerHash;

/// Where an instance says whose sign-in it runs.
pub const ID_PATH: &str = "/.mcp-remote/id";

const PATIENCE: Duration = Duration::from_secs(1);
const LARGEST: u64 = 4096;

/// What an instance says about itself.
pub fn id_document(hash: &ServerHash) -> String {
    json!({"mcpRemote": true, "serverUrlHash": hash.as_str()}).to_string()
}

/// Whether another instance runs the sign-in for this server on this port.
pub fn is_sibling(port: u16, hash: &ServerHash) -> bool {
    ask(port).is_some_and(|document| {
        document.get("mcpRemote") == Some(&Value::Bool(true))
            && document.get("serverUrlHash").and_then(Value::as_str) == Some(hash.as_str())
    })
}

fn ask(port: u16) -> Option<Value> {
    // The loopback is never behind a proxy, and a stranger's redirect leads nowhere.
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    let mut response = agent
        .get(format!("http://127.0.0.1:{port}{ID_PATH}"))
        .call()
        .ok()?;
    if response.status() != 200 {
        return None;
    }
    let body = response.body_mut().with_config().limit(LARGEST);
    serde_json::from_slice(&body.read_to_vec().ok()?).ok()
}
