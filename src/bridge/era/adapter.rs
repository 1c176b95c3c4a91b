//! The adapters between client and server of different eras: the trait, its events and its actions.

use std::sync::Arc;
use std::time::Instant;

use crate::bridge::cancelled;
use crate::jsonrpc::{self, Kind, Message, RequestId, failure, notification, response};
use crate::mcp::version::Era;
use crate::mcp::{errors, meta};

/// Translates between a client of one era and a server of the other.
///
/// It is pure: it is told what client and server send, and responds with actions, which are carried out in order.
pub(crate) trait Adapter: std::fmt::Debug + Send {
    /// The era of the server.
    fn server_era(&self) -> Era;
    /// The client sent a message.
    fn client_sent(&mut self, now: Instant, message: Message) -> Vec<AdapterAction>;
    /// The server sent a message.
    fn handle_event(&mut self, now: Instant, news: AdapterEvent) -> Vec<AdapterAction>;
    /// When [`is_due`](Adapter::is_due) is to be called.
    fn due(&self) -> Option<Instant>;
    /// Does what is due by now.
    fn is_due(&mut self, now: Instant) -> Vec<AdapterAction>;
    /// A lost session was opened again.
    fn reinitialized(&mut self) -> Vec<AdapterAction> {
        Vec::new()
    }
    /// Notifications of the server may have been missed.
    fn missed(&mut self) -> Vec<AdapterAction> {
        Vec::new()
    }
    /// Whether the client waits for the response to this request at the server.
    fn is_awaited(&self, _wire: &RequestId) -> bool {
        true
    }
    /// Whether the server is being asked for its era.
    fn asks(&self) -> bool {
        false
    }
    /// Ends what the client has open here and not at the server; `why` goes into the errors.
    fn end(&mut self, why: &str) -> Vec<AdapterAction>;
}

/// What an adapter asks for.
#[derive(Debug)]
pub(crate) enum AdapterAction {
    /// The following messages are for a request that the client sent at this time.
    Since(Instant),
    /// A message for the server, as if its client had sent it.
    Server(Arc<Message>),
    /// A message for the client.
    Client(Message),
    /// Cancel the request with this id at the server.
    Cancel(RequestId),
    /// A warning for the user.
    Warn(String),
    /// The server accepted the handshake of this era.
    EraKnown(Era),
    /// The server refused it: the waiting messages are routed another way, or fail with `why`.
    GiveUp {
        /// The client's messages, in their order, and when they came.
        waiting: Vec<(Instant, Message)>,
        /// How the handshake failed.
        why: Message,
        /// Where that failure comes from.
        source: FailureSource,
    },
}

/// AdapterActions, as they are collected.
#[derive(Debug, Default)]
pub(crate) struct AdapterActions(pub(crate) Vec<AdapterAction>);

impl AdapterActions {
    /// A message made here for the server.
    pub(crate) fn server(&mut self, text: String) {
        match Message::made(text) {
            Ok(message) => self.0.push(AdapterAction::Server(Arc::new(message))),
            Err(error) => self.0.push(AdapterAction::Warn(error.to_string())),
        }
    }

    /// A message made here for the client.
    pub(crate) fn client(&mut self, text: String) {
        match Message::made(text) {
            Ok(message) => self.0.push(AdapterAction::Client(message)),
            Err(error) => self.0.push(AdapterAction::Warn(error.to_string())),
        }
    }

    /// The response to a request of the client.
    pub(crate) fn result(&mut self, id: &RequestId, result: &str) {
        self.client(response(id, result));
    }

    /// The error for a request of the client that needs capabilities (JSON text) it has not declared.
    pub(crate) fn missing(&mut self, id: &RequestId, what: &str, capabilities: &str) {
        let failure = failure(id, errors::MISSING_CAPABILITY, what);
        let error = jsonrpc::member(&failure, "error").unwrap_or("{}");
        let error = errors::missing(error, capabilities);
        self.client(jsonrpc::replace_member(&failure, "error", &error));
    }

    /// The orderly end of a subscription. The result comes before the notification: a client that is told that the stream
    /// is over stops waiting for a result.
    pub(crate) fn end_subscription(&mut self, id: &RequestId) {
        let key = meta::SUBSCRIPTION_ID;
        self.result(
            id,
            &format!("{{\"resultType\":\"complete\",\"_meta\":{{\"{key}\":{id}}}}}"),
        );
        let params = format!("{{\"requestId\":{id}}}");
        self.client(notification("notifications/cancelled", &params));
    }

    /// An error for a request of the client.
    pub(crate) fn error(&mut self, id: &RequestId, code: i64, what: &str) {
        self.client(failure(id, code, what));
    }
}

/// A message that waits for the handshake. One that cancels a request which waits too takes it back: that was never sent, and
/// Keeps a message until the handshake is done. A cancellation of a kept request removes that request.
pub(crate) fn wait(
    waiting: &mut Vec<(Instant, Message)>,
    now: Instant,
    message: Message,
    actions: &mut AdapterActions,
) {
    let before = waiting.len();
    if message.method() == Some("notifications/cancelled") {
        let id = cancelled(&message);
        waiting.retain(|(_, waits)| match waits.kind() {
            Kind::Request { id: waits, method } => {
                method == "initialize" || id.as_ref() != Some(waits)
            }
            Kind::Notification { .. } | Kind::Response { .. } => true,
        });
    }
    if before != waiting.len() {
        return;
    }
    if before < MAX_WAITING {
        return waiting.push((now, message));
    }
    let what = "too many messages before the handshake";
    match message.kind() {
        Kind::Request { id, .. } => actions.error(id, errors::INTERNAL_ERROR, what),
        Kind::Notification { .. } | Kind::Response { .. } => {
            actions.0.push(AdapterAction::Warn(what.to_owned()))
        }
    }
}

/// How many messages may wait for the handshake.
const MAX_WAITING: usize = 10_000;

/// Where a failure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureSource {
    /// The server refused.
    Server,
    /// The server did not respond in time, or what it said is not about the request.
    NoResponse,
    /// The network, or a sign-in: the request did not reach the server.
    Local,
}

/// What the bridge tells an adapter.
#[derive(Debug)]
pub(crate) enum AdapterEvent {
    /// A request that went to the server is answered.
    Response {
        /// The response.
        message: Message,
        /// For a failure: where it comes from.
        source: FailureSource,
    },
    /// The server sent a notification or a request.
    Message {
        /// What it sent.
        message: Message,
        /// The request on whose stream it came.
        on: Option<RequestId>,
    },
}
