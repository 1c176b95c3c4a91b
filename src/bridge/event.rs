//! What the [`Bridge`](crate::bridge::Bridge) is told and what it asks for: its whole contact with the world.
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

/// Names one HTTP exchange. Never used again, so that late news of a closed exchange is recognised.
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
pub enum Input {
    /// A line from the client.
    Client(std::result::Result<Parsed, Malformed>),
    /// stdin ended: the orderly way out.
    ClientClosed,
    /// stdout was closed: nobody reads any more.
    OutputClosed,
    /// A signal asks the process to end.
    Stop,
    /// Events of an exchange, in order.
    Progress(ExchangeId, Vec<Progress>),
    /// The address the user must open to sign in.
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
    /// Bytes came that are no message yet.
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
    /// The last news: the server refused.
    Refused(Refusal),
    /// The last news: the exchange is over.
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
    /// Nothing that is read: 202, 204, or an answer nobody asked for.
    Nothing,
    /// One JSON document.
    Json,
    /// An event stream.
    Stream,
}

/// An answer that is not 2xx.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The user must sign in first; what the server says about that.
    pub needs_sign_in: Option<Box<Challenge>>,
    /// The JSON-RPC error the body holds.
    pub answer: Option<Message>,
    /// The refusal in words.
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
    /// The request never left: trying again is safe.
    NotSent,
    /// It will never leave this way (a certificate, a wrong address): trying again is useless.
    Hopeless,
    /// It was sent and not one byte came back: the server may have acted on it.
    Unanswered,
    /// The answer broke off.
    Answering,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Write this message to the client.
    Client(Message),
    /// Write this line, made here, to the client.
    Answer(String),
    /// Start an exchange.
    Open(ExchangeId, Exchange),
    /// Cut an exchange; no more news of it is wanted.
    Close(ExchangeId),
    /// Tell the user.
    Say(Level, String),
    /// The transport that works is known.
    Settled {
        /// The transport.
        transport: Transport,
        /// Whether the strategy would not choose it by itself, so that it is worth remembering.
        is_news: bool,
    },
    /// Have the user sign in, on a thread of its own.
    SignIn(Challenge),
    /// Client and server are of different eras, or what was remembered of the server's is wrong: worth remembering.
    Learned(Era),
    /// Leave.
    Exit,
}

/// One HTTP exchange.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// What is sent.
    pub action: Action,
    /// `Mcp-Session-Id`.
    pub session: Option<SessionId>,
    /// `MCP-Protocol-Version`.
    pub version: Option<Arc<str>>,
    /// The headers that mirror the message for a modern server.
    pub metadata: Vec<(String, String)>,
}

/// What an exchange sends.
#[derive(Debug, Clone)]
pub enum Action {
    /// POST a message.
    Post {
        /// The message.
        message: Arc<Message>,
        /// The endpoint of HTTP+SSE; `None`: the server's own address.
        endpoint: Option<Url>,
        /// Whether the body of the answer is read: only for a request over Streamable HTTP.
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
