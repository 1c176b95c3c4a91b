//! A modern client at a legacy server.

mod handshake;
pub(crate) mod input_required;
pub(crate) mod subscriptions;
mod translate;

use std::collections::HashMap;
use std::time::Instant;

use crate::jsonrpc::{Message, RequestId};
use input_required::SuspendedRequests;
use subscriptions::Subscriptions;

/// The adapter.
#[derive(Debug)]
pub(crate) struct ModernToLegacy {
    handshake: Handshake,
    made: u64,
    calls: SuspendedRequests,
    subscriptions: Subscriptions,
    /// The result of `initialize`.
    initialized: String,
    /// The level that was last asked for, as a number; lower sees more.
    level: Option<usize>,
    /// Requests made here, and what they are for: the method, and the resource.
    own: HashMap<RequestId, (String, Option<String>)>,
}

#[derive(Debug)]
enum Handshake {
    Fresh,
    /// `initialize` is not answered yet; the client's messages wait, since they came.
    Initializing(RequestId, Vec<(Instant, Message)>),
    Ready,
}

impl ModernToLegacy {
    pub(crate) fn new(seed: u64) -> ModernToLegacy {
        ModernToLegacy {
            handshake: Handshake::Fresh,
            made: 0,
            calls: SuspendedRequests::new(seed),
            subscriptions: Subscriptions::default(),
            initialized: String::new(),
            level: None,
            own: HashMap::new(),
        }
    }
}
