//! A legacy client at a modern server.

mod handshake;
pub(crate) mod input_required;
pub(crate) mod subscriptions;
mod translate;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::jsonrpc::{Message, RequestId};
use input_required::Rounds;
use subscriptions::Subscriptions;

/// The adapter.
#[derive(Debug)]
pub(crate) struct LegacyToModern {
    server: String,
    /// `--protocol auto`: it is not known that the server is modern, and what does not say so means that it is not.
    asks: bool,
    handshake: Handshake,
    identity: Identity,
    made: u64,
    /// `server/discover` was sent a second time.
    asked_again: bool,
    /// Requests at the server, by the id they have there.
    open: BTreeMap<RequestId, ForwardedRequest>,
    rounds: Rounds,
    subscriptions: Subscriptions,
}

#[derive(Debug)]
enum Handshake {
    /// No `initialize` yet.
    Fresh,
    /// `server/discover` is not answered yet; the client's messages wait since they came, `initialize` first.
    Discovering(RequestId, Vec<(Instant, Message)>),
    Ready,
}

/// What each request is stamped with.
#[derive(Debug, Default)]
struct Identity {
    info: Option<String>,
    capabilities: String,
    log_level: Option<String>,
}

/// A request of the client that is at the server.
#[derive(Debug, Clone)]
pub(crate) struct ForwardedRequest {
    /// The client's id.
    pub(crate) id: RequestId,
    pub(crate) method: String,
    /// As it was sent first; kept where the server may ask for more.
    pub(crate) sent: Option<Arc<Message>>,
    /// How often it was sent again.
    pub(crate) rounds: u32,
}

impl LegacyToModern {
    pub(crate) fn new(server: String, asks: bool) -> LegacyToModern {
        LegacyToModern {
            server,
            asks,
            handshake: Handshake::Fresh,
            identity: Identity {
                capabilities: "{}".to_owned(),
                ..Identity::default()
            },
            made: 0,
            asked_again: false,
            open: BTreeMap::new(),
            rounds: Rounds::default(),
            subscriptions: Subscriptions::default(),
        }
    }
}
