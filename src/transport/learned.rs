//! What was learned about a server and is worth knowing at the next start: the transport that works.
//!
//! It stands in a file of its own (`server.json`) beside the credentials, and is believed only until the server
//! shows otherwise.

use serde::{Deserialize, Serialize};

use crate::bridge::Transport;
use crate::error::Result;
use crate::store::Store;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Learned {
    /// The transport that worked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transport: Option<String>,
    /// What other versions wrote stays.
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

const FILE: &str = "server.json";

/// The transport that worked last time. A file that cannot be read says nothing.
pub(super) fn transport(store: &Store) -> Option<Transport> {
    match read(store).transport.as_deref() {
        Some("http-sse") => Some(Transport::HttpSse),
        Some("streamable-http") => Some(Transport::StreamableHttp),
        _ => None,
    }
}

/// Remembers the transport that works.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn remember(store: &Store, transport: Transport) -> Result<()> {
    let name = match transport {
        Transport::HttpSse => "http-sse",
        Transport::StreamableHttp => "streamable-http",
    };
    let learned = Learned {
        transport: Some(name.to_owned()),
        ..read(store)
    };
    store.write(
        FILE,
        &serde_json::to_string_pretty(&learned).unwrap_or_default(),
    )
}

fn read(store: &Store) -> Learned {
    let text = store.read(FILE).ok().flatten();
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}
