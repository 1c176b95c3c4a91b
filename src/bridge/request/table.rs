//! The table of open requests.
//!
//! Every request of the client enters it once and leaves it once, with its response. What is still in it at shutdown gets an error.
//!
//! Spec: JSON-RPC 2.0 section 5 (every request is answered, with its own id).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bridge::event::{EventId, ExchangeId, Refusal};
use crate::bridge::request::resumption::{DEFAULT_RETRY, MAX_RETRY, MIN_RETRY};
use crate::jsonrpc::{Message, RequestId};
use crate::mcp::subscriptions::LISTEN;

/// A request without a response yet.
#[derive(Debug)]
pub struct OpenRequest {
    /// Distinguishes it from an earlier request with the same id.
    pub serial: u64,
    /// The request.
    pub message: Arc<Message>,
    /// Where it is.
    pub state: RequestState,
    /// When it arrived; re-routing does not extend its deadline.
    pub since: Instant,
    /// When it times out.
    pub deadline: Option<Instant>,
    /// The client cancelled it; it gets no error of the bridge.
    pub cancelled: bool,
    /// How many attempts in a row failed.
    pub failures: u32,
    /// It was sent again after a lost session.
    pub reinitialized: bool,
    /// The server refused it with this, and may have carried it out or have lost the session.
    pub refused: Option<Box<Refusal>>,
    /// How many sign-ins it has waited for.
    pub sign_ins: u32,
    /// The state of its response stream, for resumption.
    pub stream: Resumable,
    /// The bridge made it, not the client.
    pub is_own: bool,
    /// It came through the adapter, which gets the response.
    pub adapted: bool,
    /// Its id at the server, if it was sent again with a new one.
    pub wire: Option<RequestId>,
    /// The tool list was read again for it.
    pub refreshed: bool,
    /// The server acknowledged this subscription, on this stream or an earlier one.
    pub acknowledged: bool,
    /// When the server acknowledged this subscription on the stream that is open.
    pub acknowledged_at: Option<Instant>,
}

impl OpenRequest {
    /// Whether it opens a subscription, which has no response to wait for and so no time limit.
    pub fn is_subscription(&self) -> bool {
        self.message.method() == Some(LISTEN)
    }

    /// Whether the server may have it and respond to it.
    fn is_sent(&self) -> bool {
        match self.state {
            RequestState::Running(_)
            | RequestState::Accepted
            | RequestState::AwaitsGetStream(_)
            | RequestState::Resuming(_)
            | RequestState::AwaitsSignIn { resumes: true } => true,
            RequestState::Deferred
            | RequestState::Paused(_)
            | RequestState::AwaitsSignIn { resumes: false } => false,
        }
    }

    /// Sets a deadline, unless there is an earlier one.
    pub fn limit(&mut self, at: Instant) {
        self.deadline = Some(self.deadline.map_or(at, |before| before.min(at)));
    }
}

/// Where an open request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState {
    /// It waits for handshake, transport or sign-in.
    Deferred,
    /// This exchange serves it.
    Running(ExchangeId),
    /// HTTP+SSE: it was accepted; the response comes on the stream.
    Accepted,
    /// Streamable HTTP: it was accepted without a response, which may come on the GET stream until then.
    AwaitsGetStream(Option<Instant>),
    /// It is sent again at this time.
    Paused(Instant),
    /// Its response stream is resumed at this time.
    Resuming(Instant),
    /// It was refused and waits for a sign-in, while others pass. Then it is sent again, or its stream is resumed.
    AwaitsSignIn {
        /// Whether the server has it, and only its stream is to be resumed.
        resumes: bool,
    },
}

/// What is known about a stream that can be resumed.
#[derive(Debug, Default)]
pub struct Resumable {
    /// The last event that came.
    pub last_event: Option<EventId>,
    /// The server's `retry`.
    pub retry: Option<Duration>,
    /// Attempts in a row that brought nothing.
    pub failures: u32,
    /// When the stream was lost; unset by an event.
    pub lost_at: Option<Instant>,
    /// Since when no event has come on a resumed stream.
    pub silent_since: Option<Instant>,
}

impl Resumable {
    /// The pause before the first resumption.
    pub fn retry(&self) -> Duration {
        let named = self.retry.unwrap_or(DEFAULT_RETRY);
        named.clamp(MIN_RETRY, MAX_RETRY)
    }
}

/// The table.
#[derive(Debug, Default)]
pub struct RequestTable {
    came: u64,
    /// Ordered, so that what happens can be repeated.
    open: BTreeMap<RequestId, OpenRequest>,
}

impl RequestTable {
    /// Whether a request with this id is open.
    pub fn contains(&self, id: &RequestId) -> bool {
        self.open.contains_key(id)
    }

    /// A request came.
    pub fn insert(
        &mut self,
        id: RequestId,
        message: Arc<Message>,
        now: Instant,
        deadline: Option<Instant>,
        adapted: bool,
    ) -> u64 {
        self.came += 1;
        let open = OpenRequest {
            serial: self.came,
            message,
            state: RequestState::Deferred,
            since: now,
            deadline,
            cancelled: false,
            failures: 0,
            reinitialized: false,
            refused: None,
            sign_ins: 0,
            stream: Resumable::default(),
            adapted,
            is_own: id
                .as_string()
                .is_some_and(|id| id.starts_with(crate::bridge::OWN_PREFIX)),
            wire: None,
            refreshed: false,
            acknowledged: false,
            acknowledged_at: None,
        };
        self.open.insert(id, open);
        self.came
    }

    /// The open request of this id.
    pub fn find(&mut self, id: &RequestId) -> Option<&mut OpenRequest> {
        self.open.get_mut(id)
    }

    /// Whether this exchange works on the request. An id can be used again after its response, while the exchange that
    /// Whether this exchange serves the request. An id can be used again before the exchange of its first response has ended.
    pub fn is_served_by(&self, id: &RequestId, exchange: ExchangeId) -> bool {
        self.open
            .get(id)
            .is_some_and(|open| open.state == RequestState::Running(exchange))
    }

    /// Whether the server may have this request.
    pub fn is_sent(&self, id: &RequestId) -> bool {
        self.open.get(id).is_some_and(OpenRequest::is_sent)
    }

    /// The only request at the server whose id this may be, spelled differently.
    pub fn sent_respelled(&self, id: &RequestId) -> Option<RequestId> {
        let mut found = self
            .open
            .iter()
            .filter(|(open_id, open)| open.is_sent() && id.is_respelled(open_id));
        match (found.next(), found.next()) {
            (Some((open_id, _)), None) => Some(open_id.clone()),
            _ => None,
        }
    }

    /// Whether this very request is deferred.
    pub fn is_deferred(&self, id: &RequestId, serial: u64) -> bool {
        self.open
            .get(id)
            .is_some_and(|open| open.serial == serial && open.state == RequestState::Deferred)
    }

    /// Whether the request has this id at the server.
    pub fn has_wire_id(&self, id: &RequestId, wire: &RequestId) -> bool {
        self.open
            .get(id)
            .is_some_and(|open| open.wire.as_ref() == Some(wire))
    }

    /// Removes a request.
    pub fn remove(&mut self, id: &RequestId) -> Option<OpenRequest> {
        self.open.remove(id)
    }

    /// The requests for which this holds.
    pub fn ids_where(&self, holds: impl Fn(&OpenRequest) -> bool) -> Vec<RequestId> {
        self.open
            .iter()
            .filter(|(_, open)| holds(open))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Whether this holds for some request.
    pub fn any(&self, holds: impl Fn(&OpenRequest) -> bool) -> bool {
        self.open.values().any(holds)
    }

    /// When the oldest request that is held back came.
    pub fn oldest_deferred(&self) -> Option<Instant> {
        self.open
            .values()
            .filter(|open| open.state == RequestState::Deferred)
            .map(|open| open.since)
            .min()
    }

    /// The earliest time at which something is due.
    pub fn next_due(&self) -> Option<Instant> {
        let due = |open: &OpenRequest| match open.state {
            RequestState::Paused(at) | RequestState::Resuming(at) => Some(at),
            RequestState::AwaitsGetStream(until) => until,
            RequestState::Deferred
            | RequestState::Running(_)
            | RequestState::Accepted
            | RequestState::AwaitsSignIn { .. } => None,
        };
        self.open
            .values()
            .flat_map(|open| [open.deadline, due(open)])
            .flatten()
            .min()
    }
}
