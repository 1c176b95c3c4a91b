//! The events the [`Bridge`](super::Bridge) is given and the actions it returns.
//!
//! Spec: MCP 2025-11-25 basic/transports (what one exchange can bring back).

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::error::{Error, Result};
use crate::jsonrpc::{Malformed, Message, Parsed};
use crate::log::Level;
use crate::mcp::version::Era;
use crate::oauth::challenge::Challenge;

/// Identifies one HTTP exchange. Ids are not used again, so that late events of a closed exchange are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub(crate) u64);

/// The id of a server-sent event, for `Last-Event-ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventId(pub String);

/// The value of `Mcp-Session-Id`.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId(pub Arc<str>);

impl std::fmt::Debug for SessionId {
    // Whoever holds the id can speak in the session.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(redacted)")
    }
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A line from the client.
    Client(std::result::Result<Parsed, Malformed>),
    /// stdin ended: shut down in order.
    ClientClosed,
    /// stdout was closed: nothing can be written any more.
    OutputClosed,
    /// A signal asks the process to end.
    Stop,
    /// Events of an exchange, in order.
    Progress(ExchangeId, Vec<Progress>),
    /// The URL that the user must open to sign in.
    SignInUrl(String),
    /// The sign-in that was asked for has ended.
    SignedIn(Result<()>),
    /// The time [`deadline`](crate::bridge::Bridge::deadline) asked for has come.
    Time,
}

/// What one exchange brought back.
#[derive(Debug)]
pub enum Progress {
    /// The headers of a 2xx answer.
    Opened(Head),
    /// Bytes came that do not complete a message.
    Alive,
    /// A JSON body, or an event that carries a message.
    Event {
        /// The event's id, if the stream has ids.
        id: Option<EventId>,
        /// What it carried.
        parsed: std::result::Result<Parsed, Malformed>,
    },
    /// The `endpoint` event of HTTP+SSE, resolved and checked.
    Endpoint(Result<Url>),
    /// An event without data that sets the id (how 2025-11-25 servers prime a stream).
    EventId(EventId),
    /// The stream's `retry` time.
    Retry(Duration),
    /// The server refused; no event follows.
    Refused(Refusal),
    /// The exchange is over; no event follows.
    Ended(End),
}

/// The headers of a 2xx answer.
#[derive(Debug)]
pub struct Head {
    /// `Mcp-Session-Id`.
    pub session: Option<SessionId>,
    /// What the body is.
    pub content: Content,
}

/// What the body of a 2xx answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// No body is read: 202, 204, or a response whose body is not needed.
    Nothing,
    /// One JSON document.
    Json,
    /// An event stream.
    Stream,
}

/// A response that is not 2xx.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The challenge, if the user must sign in first.
    pub needs_sign_in: Option<Box<Challenge>>,
    /// Whether credentials were sent that should be good: a token that was just refreshed, or a configured `Authorization`.
    pub had_credentials: bool,
    /// The JSON-RPC error in the body.
    pub answer: Option<Message>,
    /// The refusal as an error.
    pub error: Arc<Error>,
}

/// How an exchange ended.
#[derive(Debug)]
pub enum End {
    /// The body was read to its end.
    Complete,
    /// It broke.
    Broken(Error, Stage),
}

/// How far a broken exchange had come; decides what may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The request was not sent: a retry is safe.
    NotSent,
    /// It cannot be sent at all (certificate, invalid address): a retry is useless.
    Hopeless,
    /// It was sent and no byte came back: the server may have acted on it.
    Unanswered,
    /// The response broke off.
    Answering,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Write this message to the client.
    Client(Message),
    /// Write this line, made by the bridge, to the client.
    Respond(String),
    /// Start an exchange.
    Open(ExchangeId, Exchange),
    /// Cut an exchange; its further events are ignored.
    Close(ExchangeId),
    /// Log a line for the user.
    Say(Level, String),
    /// The transport in use is known.
    TransportKnown {
        /// The transport.
        transport: Transport,
        /// Whether the configured strategy would not choose it by itself, so that it is worth storing.
        is_news: bool,
    },
    /// Start a sign-in, on a thread of its own.
    SignIn(Challenge),
    /// Store the era of the server for the next start; `None` removes what is stored.
    Learned(Option<Era>),
    /// Exit the process.
    Exit,
}

/// One HTTP exchange.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// What is sent.
    pub action: HttpRequest,
    /// `Mcp-Session-Id`.
    pub session: Option<SessionId>,
    /// `MCP-Protocol-Version`.
    pub version: Option<Arc<str>>,
    /// The headers that mirror the message for a modern server.
    pub metadata: Vec<(String, String)>,
}

/// What an exchange sends.
#[derive(Debug, Clone)]
pub enum HttpRequest {
    /// POST a message.
    Post {
        /// The message.
        message: Arc<Message>,
        /// The endpoint of HTTP+SSE; `None`: the server's own address.
        endpoint: Option<Url>,
        /// Whether the body of the response is read: only for a request over Streamable HTTP.
        reads_answer: bool,
    },
    /// GET an event stream.
    Listen {
        /// Resume after this event.
        after: Option<EventId>,
        /// The stream of HTTP+SSE, whose first event names the endpoint.
        http_sse: bool,
    },
    /// DELETE the session.
    EndSession,
}

/// The two transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP (2025-03-26 and later).
    StreamableHttp,
    /// HTTP+SSE (2024-11-05).
    HttpSse,
}
