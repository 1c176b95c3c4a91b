//! What the two adapters ask of the bridge, and the messages they make.
//!
//! An adapter is pure: it is told what client and server say, and answers with steps, which are carried out in order.

use std::sync::Arc;
use std::time::Instant;

use crate::jsonrpc::{self, Kind, Message, RequestId};
use crate::mcp::errors;
use crate::mcp::version::Era;

/// What an adapter asks for.
#[derive(Debug)]
pub(crate) enum Step {
    /// The client waits since then for what the following messages are for: they have no limit of their own.
    Since(Instant),
    /// A message for the server, as if its client had sent it.
    Server(Arc<Message>),
    /// A message for the client.
    Client(Message),
    /// The request with this id on the way to the server is not wanted any more.
    Cancel(RequestId),
    /// A line for the person.
    Warn(String),
    /// The server has answered the handshake of this era.
    Settled(Era),
    /// It has not: what waits needs another way, or this answer.
    GiveUp {
        /// The client's messages, in their order, and when they came.
        waiting: Vec<(Instant, Message)>,
        /// How the handshake failed.
        why: Message,
        /// Whose word that is.
        word: Word,
    },
}

/// Steps, as they are collected.
#[derive(Debug, Default)]
pub(crate) struct Steps(pub(crate) Vec<Step>);

impl Steps {
    /// A message made here for the server.
    pub(crate) fn server(&mut self, text: String) {
        match Message::made(text) {
            Ok(message) => self.0.push(Step::Server(Arc::new(message))),
            Err(error) => self.0.push(Step::Warn(error.to_string())),
        }
    }

    /// A message made here for the client.
    pub(crate) fn client(&mut self, text: String) {
        match Message::made(text) {
            Ok(message) => self.0.push(Step::Client(message)),
            Err(error) => self.0.push(Step::Warn(error.to_string())),
        }
    }

    /// The answer to a request of the client.
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

    /// An error for a request of the client.
    pub(crate) fn error(&mut self, id: &RequestId, code: i64, what: &str) {
        self.client(failure(id, code, what));
    }
}

/// A response with this result.
pub(crate) fn response(id: &RequestId, result: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}")
}

/// An error response.
pub(crate) fn failure(id: &RequestId, code: i64, what: &str) -> String {
    let what = jsonrpc::quoted(&format!("mcp-remote: {what}"));
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{code},\"message\":{what}}}}}")
}

/// A request.
pub(crate) fn request(id: &RequestId, method: &str, params: &str) -> String {
    let method = jsonrpc::quoted(method);
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":{method},\"params\":{params}}}")
}

/// A notification.
pub(crate) fn notification(method: &str, params: &str) -> String {
    let method = jsonrpc::quoted(method);
    format!("{{\"jsonrpc\":\"2.0\",\"method\":{method},\"params\":{params}}}")
}

/// The id a `notifications/cancelled` names.
pub(crate) fn cancelled(message: &Message) -> Option<RequestId> {
    jsonrpc::member_at(message.text(), &["params", "requestId"]).and_then(RequestId::from_text)
}

/// A message that waits for the handshake. One that cancels a request which waits too takes it back: that was never sent, and
/// nothing more is said of it.
pub(crate) fn wait(
    waiting: &mut Vec<(Instant, Message)>,
    now: Instant,
    message: Message,
    steps: &mut Steps,
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
    if before < MOST_WAITING {
        return waiting.push((now, message));
    }
    let what = "too many messages before the handshake";
    match message.kind() {
        Kind::Request { id, .. } => steps.error(id, INTERNAL, what),
        Kind::Notification { .. } | Kind::Response { .. } => {
            steps.0.push(Step::Warn(what.to_owned()))
        }
    }
}

/// JSON-RPC: internal error.
const INTERNAL: i64 = -32603;
/// Messages that may wait for the handshake.
const MOST_WAITING: usize = 10_000;

/// Whose word a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// The server's: it refused.
    Server,
    /// Nobody's: the server said nothing in time, or something that is about other things.
    Nobody,
    /// The network's, or that of a sign-in: the server was not asked.
    Other,
}

/// What the bridge tells an adapter.
#[derive(Debug)]
pub(crate) enum News {
    /// A request that went to the server is answered.
    Answer {
        /// The answer.
        message: Message,
        /// For a failure: whose word it is.
        word: Word,
    },
    /// The server sent a notification or a request.
    Message {
        /// What it sent.
        message: Message,
        /// The request on whose stream it came.
        on: Option<RequestId>,
    },
}
