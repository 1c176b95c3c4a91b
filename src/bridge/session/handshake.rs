//! The legacy handshake's order. What happens when the server loses the session is in `renewal`.
//!
//! - Nothing passes `initialize` until it is answered; nothing passes `notifications/initialized` until it is accepted.
//! - A client that never sends `initialize` is passed through: stateless servers need none.
//!
//! Spec: MCP 2025-11-25 basic/lifecycle (Initialization), basic/transports (Session Management, Protocol Version Header).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bridge::{Bridge, SessionId};
use crate::jsonrpc::{self, Message, RequestId};

/// How long `initialize` may take, unless `--request-timeout` says otherwise (npm: 30 s).
pub(crate) const INITIALIZE_LIMIT: Duration = Duration::from_secs(30);
/// How long messages wait for `notifications/initialized` to be accepted (npm: 10 s).
pub(crate) const CONFIRM_LIMIT: Duration = Duration::from_secs(10);

/// How long requests wait for the standing stream. Servers lose what they send to a client whose stream is not open
/// yet, such as the elicitation a first tool call asks for; some answer a GET only with the first event.
const OPENING_LIMIT: Duration = Duration::from_millis(300);

/// The session with the server.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) phase: Phase,
    /// `Mcp-Session-Id`.
    pub(crate) id: Option<SessionId>,
    /// The negotiated version.
    pub(crate) version: Option<Arc<str>>,
    /// Counts sessions, so that news of an older one is recognised.
    pub(crate) generation: u32,
    /// When a renewal last did not help against a 400.
    pub(crate) renewed_in_vain: Option<Instant>,
    /// The client's own `initialize`.
    pub(crate) initialize: Option<Arc<Message>>,
}

#[derive(Debug)]
pub(crate) enum Phase {
    /// No `initialize` yet.
    Fresh,
    /// The client's `initialize` is not answered yet.
    Initializing(RequestId),
    /// It is answered; `notifications/initialized` has not come.
    Answered,
    /// `notifications/initialized` is on its way; nothing waits for it longer than this.
    Confirming(Instant),
    /// The standing stream is being opened; requests wait for it, but not longer than this.
    Opening(Instant),
    /// Everything passes.
    Ready,
    /// The session is gone.
    Lost,
    /// `initialize` on the client's behalf is not answered yet.
    Renewing(Renewing),
    /// `notifications/initialized` on the client's behalf is on its way.
    Reconfirming,
}

#[derive(Debug)]
pub(crate) struct Renewing {
    pub(crate) id: RequestId,
    pub(crate) since: Instant,
    pub(crate) failures: u32,
    pub(crate) retry_at: Option<Instant>,
}

impl Renewing {
    /// How long an answer is waited for.
    fn until(&self) -> Instant {
        self.since + INITIALIZE_LIMIT
    }
}

impl Default for Session {
    fn default() -> Session {
        Session {
            phase: Phase::Fresh,
            id: None,
            version: None,
            generation: 0,
            renewed_in_vain: None,
            initialize: None,
        }
    }
}

impl Session {
    /// The client's `initialize` is being sent.
    pub(crate) fn begin(&mut self, id: RequestId, message: Arc<Message>) {
        self.phase = Phase::Initializing(id);
        self.initialize = Some(message);
        self.id = None;
        self.version = None;
        self.generation += 1;
    }

    /// The client's `initialize` was refused by a transport; it is sent again over the other one.
    pub(crate) fn reset(&mut self) {
        self.phase = Phase::Fresh;
        self.id = None;
        self.initialize = None;
    }

    /// Whether this is the client's `initialize` that is not answered yet.
    pub(crate) fn is_initialize(&self, id: &RequestId) -> bool {
        matches!(&self.phase, Phase::Initializing(initialize) if initialize == id)
    }
}

impl Bridge {
    /// Whether messages may leave; a lost session is renewed first.
    pub(crate) fn session_is_ready(&mut self) -> bool {
        match &self.session.phase {
            Phase::Fresh | Phase::Answered | Phase::Ready => true,
            Phase::Initializing(_)
            | Phase::Confirming(_)
            | Phase::Opening(_)
            | Phase::Renewing(_)
            | Phase::Reconfirming => false,
            Phase::Lost => {
                self.renew();
                false
            }
        }
    }

    /// Whether messages may leave as things are.
    pub(crate) fn session_is_settled(&self) -> bool {
        matches!(
            self.session.phase,
            Phase::Fresh | Phase::Answered | Phase::Ready
        )
    }

    /// Whether the standing stream belongs to the session as it is.
    pub(crate) fn session_is_open(&self) -> bool {
        matches!(self.session.phase, Phase::Ready | Phase::Opening(_))
    }

    /// An open request was answered by the server.
    pub(crate) fn session_answer(&mut self, id: &RequestId, failed: bool, answer: &Message) {
        if !self.session.is_initialize(id) {
            return;
        }
        if failed {
            self.session_answer_failed(id);
        } else {
            self.session.version = negotiated_version(answer);
            self.session.phase = Phase::Answered;
        }
    }

    /// An open request got an error: without an answer to `initialize` there is no session.
    pub(crate) fn session_answer_failed(&mut self, id: &RequestId) {
        if self.session.is_initialize(id) {
            self.session.reset();
        }
    }

    /// `notifications/initialized` leaves: nothing may overtake it.
    pub(crate) fn confirming(&mut self) {
        if matches!(self.session.phase, Phase::Answered | Phase::Ready) {
            self.session.phase = Phase::Confirming(self.now + CONFIRM_LIMIT);
        }
    }

    /// `notifications/initialized` was accepted, or will never be.
    pub(crate) fn confirmed(&mut self) {
        if matches!(self.session.phase, Phase::Confirming(_)) {
            self.begin_traffic();
        }
    }

    /// The handshake is done: the standing stream first, then everything.
    pub(crate) fn begin_traffic(&mut self) {
        self.session.phase = Phase::Ready;
        if self.start_standing() {
            self.session.phase = Phase::Opening(self.now + OPENING_LIMIT);
        }
    }

    /// The standing stream is open, or there is none.
    pub(crate) fn standing_is_decided(&mut self) {
        if matches!(self.session.phase, Phase::Opening(_)) {
            self.session.phase = Phase::Ready;
        }
    }

    pub(crate) fn session_is_due(&mut self) {
        match &self.session.phase {
            Phase::Confirming(until) if *until <= self.now => self.confirmed(),
            Phase::Opening(until) if *until <= self.now => self.standing_is_decided(),
            // Over HTTP+SSE the answer comes on the stream, or never.
            Phase::Renewing(renewing) if renewing.until() <= self.now => self.renewal_timed_out(),
            Phase::Renewing(Renewing {
                retry_at: Some(at), ..
            }) if *at <= self.now => self.send_renewal(),
            _ => {}
        }
    }

    pub(crate) fn session_due(&self) -> Option<Instant> {
        match &self.session.phase {
            Phase::Confirming(until) | Phase::Opening(until) => Some(*until),
            Phase::Renewing(renewing) => Some(match renewing.retry_at {
                Some(at) => at.min(renewing.until()),
                None => renewing.until(),
            }),
            _ => None,
        }
    }
}

pub(crate) fn negotiated_version(answer: &Message) -> Option<Arc<str>> {
    let version = jsonrpc::member(answer.member("result")?, "protocolVersion")?;
    // It becomes a header value: what is no version stays out.
    let version = jsonrpc::string(version)?;
    (version.len() <= 40 && version.bytes().all(|b| b.is_ascii_graphic())).then(|| version.into())
}
