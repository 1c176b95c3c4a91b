//! The order of the legacy handshake. `reinitialize` handles a lost session.
//!
//! - Nothing is sent until `initialize` has its response, and nothing overtakes `notifications/initialized`.
//! - A client that never sends `initialize` is passed through: stateless servers need none.
//!
//! Spec: MCP 2025-11-25 basic/lifecycle (Initialization), basic/transports (Session Management, Protocol Version Header).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bridge::{Bridge, HttpRequest, Purpose, SessionId};
use crate::jsonrpc::{self, Message, RequestId};

/// How long `initialize` may take, unless `--request-timeout` says otherwise (npm: 30 s).
pub(crate) const INITIALIZE_LIMIT: Duration = Duration::from_secs(30);
/// How long messages wait for `notifications/initialized` to be accepted (npm: 10 s).
pub(crate) const CONFIRM_LIMIT: Duration = Duration::from_secs(10);

/// How long requests wait for the GET stream. Servers lose what they send to a client whose stream is not open
/// yet, such as the elicitation a first tool call asks for; some answer a GET only with the first event.
const OPENING_LIMIT: Duration = Duration::from_millis(300);

/// The session with the server.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) state: SessionState,
    /// `Mcp-Session-Id`.
    pub(crate) id: Option<SessionId>,
    /// The negotiated version.
    pub(crate) version: Option<Arc<str>>,
    /// Counts sessions, so that news of an older one is recognised.
    pub(crate) generation: u32,
    /// When a new session last did not help against a 400.
    pub(crate) reinitialized_in_vain: Option<Instant>,
    /// The client's own `initialize`.
    pub(crate) initialize: Option<Arc<Message>>,
}

#[derive(Debug)]
pub(crate) enum SessionState {
    /// No `initialize` yet.
    Fresh,
    /// The client's `initialize` is not answered yet.
    Initializing(RequestId),
    /// It is answered; `notifications/initialized` has not come.
    Answered,
    /// `notifications/initialized` is on its way; nothing waits for it longer than this.
    Confirming(Instant),
    /// The GET stream is being opened; requests wait for it, but not longer than this.
    Opening(Instant),
    /// Everything passes.
    Ready,
    /// The session is gone.
    Lost,
    /// `initialize` on the client's behalf is not answered yet.
    Reinitializing(Reinitializing),
    /// `notifications/initialized` on the client's behalf is on its way.
    Reconfirming,
}

#[derive(Debug)]
pub(crate) struct Reinitializing {
    pub(crate) id: RequestId,
    pub(crate) since: Instant,
    pub(crate) failures: u32,
    pub(crate) retry_at: Option<Instant>,
}

impl Reinitializing {
    /// How long a response is waited for.
    fn until(&self) -> Instant {
        self.since + INITIALIZE_LIMIT
    }
}

impl Default for Session {
    fn default() -> Session {
        Session {
            state: SessionState::Fresh,
            id: None,
            version: None,
            generation: 0,
            reinitialized_in_vain: None,
            initialize: None,
        }
    }
}

impl Session {
    /// The client's `initialize` is being sent.
    pub(crate) fn begin(&mut self, id: RequestId, message: Arc<Message>) {
        self.state = SessionState::Initializing(id);
        self.initialize = Some(message);
        self.id = None;
        self.version = None;
        self.generation += 1;
    }

    /// The client's `initialize` was refused by a transport; it is sent again over the other one.
    pub(crate) fn reset(&mut self) {
        self.state = SessionState::Fresh;
        self.id = None;
        self.initialize = None;
    }

    /// Whether the client has not sent `initialize` yet.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self.state, SessionState::Fresh)
    }

    /// Whether this is the client's `initialize` that is not answered yet.
    pub(crate) fn is_initialize(&self, id: &RequestId) -> bool {
        matches!(&self.state, SessionState::Initializing(initialize) if initialize == id)
    }
}

impl Bridge {
    /// Ends the session with DELETE, because the client begins a new one.
    pub(crate) fn leave_session(&mut self) {
        self.stop_get_stream();
        if self.session.id.is_some() && !self.link.is_sse() {
            self.open(Purpose::EndSession, HttpRequest::EndSession);
        }
        self.session.reset();
    }

    /// Whether messages may leave; a lost session is opened anew first.
    pub(crate) fn session_is_ready(&mut self) -> bool {
        match &self.session.state {
            SessionState::Fresh | SessionState::Answered | SessionState::Ready => true,
            SessionState::Initializing(_)
            | SessionState::Confirming(_)
            | SessionState::Opening(_)
            | SessionState::Reinitializing(_)
            | SessionState::Reconfirming => false,
            SessionState::Lost => {
                self.reinitialize();
                false
            }
        }
    }

    /// Whether messages may leave as things are.
    pub(crate) fn session_is_idle(&self) -> bool {
        matches!(
            self.session.state,
            SessionState::Fresh | SessionState::Answered | SessionState::Ready
        )
    }

    /// Whether the GET stream belongs to the session as it is.
    pub(crate) fn session_is_open(&self) -> bool {
        matches!(
            self.session.state,
            SessionState::Ready | SessionState::Opening(_)
        )
    }

    /// An open request was answered by the server.
    pub(crate) fn session_response(&mut self, id: &RequestId, failed: bool, answer: &Message) {
        if !self.session.is_initialize(id) {
            return;
        }
        if failed {
            self.session_response_failed(id);
        } else {
            self.session.version = negotiated_version(answer);
            self.session.state = SessionState::Answered;
        }
    }

    /// An open request got an error: without a response to `initialize` there is no session.
    pub(crate) fn session_response_failed(&mut self, id: &RequestId) {
        if self.session.is_initialize(id) {
            self.session.reset();
        }
    }

    /// `notifications/initialized` leaves: nothing may overtake it.
    pub(crate) fn confirming(&mut self) {
        if matches!(
            self.session.state,
            SessionState::Answered | SessionState::Ready
        ) {
            self.session.state = SessionState::Confirming(self.now + CONFIRM_LIMIT);
        }
    }

    /// `notifications/initialized` was accepted, or will never be.
    pub(crate) fn confirmed(&mut self) {
        if matches!(self.session.state, SessionState::Confirming(_)) {
            self.begin_traffic();
        }
    }

    /// The handshake is done: the GET stream first, then everything.
    pub(crate) fn begin_traffic(&mut self) {
        self.session.state = SessionState::Ready;
        if self.start_get_stream() {
            self.session.state = SessionState::Opening(self.now + OPENING_LIMIT);
        }
    }

    /// The GET stream is open, or there is none.
    pub(crate) fn get_stream_is_decided(&mut self) {
        if matches!(self.session.state, SessionState::Opening(_)) {
            self.session.state = SessionState::Ready;
        }
    }

    pub(crate) fn session_is_due(&mut self) {
        match &self.session.state {
            SessionState::Confirming(until) if *until <= self.now => self.confirmed(),
            SessionState::Opening(until) if *until <= self.now => self.get_stream_is_decided(),
            // Over HTTP+SSE the response comes on the stream, or never.
            SessionState::Reinitializing(reinitializing) if reinitializing.until() <= self.now => {
                self.reinitialize_timed_out()
            }
            SessionState::Reinitializing(Reinitializing {
                retry_at: Some(at), ..
            }) if *at <= self.now => self.send_initialize(),
            _ => {}
        }
    }

    pub(crate) fn session_due(&self) -> Option<Instant> {
        match &self.session.state {
            SessionState::Confirming(until) | SessionState::Opening(until) => Some(*until),
            SessionState::Reinitializing(reinitializing) => Some(match reinitializing.retry_at {
                Some(at) => at.min(reinitializing.until()),
                None => reinitializing.until(),
            }),
            _ => None,
        }
    }
}

pub(crate) fn negotiated_version(answer: &Message) -> Option<Arc<str>> {
    let version = jsonrpc::member(answer.member("result")?, "protocolVersion")?;
    // It becomes a header value: anything that is not a version stays out.
    let version = jsonrpc::string(version)?;
    (version.len() <= 40 && version.bytes().all(|b| b.is_ascii_graphic())).then(|| version.into())
}
