//! The HTTP exchanges that are under way: what each is for, and when it is cut.

use std::time::{Duration, Instant};

use super::{Action, Bridge, Content, Exchange, ExchangeId, Output, closing, session, strategy};
use crate::jsonrpc::RequestId;

/// An exchange that is under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) purpose: Purpose,
    pub(super) since: Instant,
    /// When it is cut, and why.
    pub(super) limit: Option<(Instant, Limit)>,
    pub(super) content: Option<Content>,
    /// The session it was sent in.
    pub(super) generation: u32,
    pub(super) with_session: bool,
}

/// What an exchange is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A client's request.
    Request(RequestId),
    /// The rest of a broken answer.
    Resume(RequestId),
    /// A client's notification or answer.
    Delivery,
    /// The standing stream (GET).
    Standing,
    /// The stream of HTTP+SSE.
    SseStream,
    /// `initialize` on the client's behalf, after a lost session.
    Renewal,
    /// `notifications/initialized` after it.
    Reconfirm,
    /// A keep-alive ping.
    Ping,
    /// DELETE.
    EndSession,
}

/// Why an exchange is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Headers,
    Silence,
    /// The answer is there, the stream stays open.
    Linger,
    /// A step of our own has taken long enough.
    Own,
}

/// After its answer a stream may bring more for this long; a server should end it by itself.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// A message that has brought no answer for so long holds others back no longer. Clients give up their first question
/// after ten seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

impl Running {
    /// Whether the next message has to wait for what this one brings.
    pub(super) fn holds_back(&self, now: Instant) -> bool {
        self.content.is_none() && now < self.since + PATIENCE
    }
}

impl Bridge {
    /// When the next message that waits for the answer to another waits no longer.
    pub(super) fn held_back_until(&self) -> Option<Instant> {
        let running = self.exchanges.values();
        let holds = running.filter(|running| running.holds_back(self.now));
        let until = holds.map(|running| running.since + PATIENCE).min();
        until.filter(|_| !self.waiting.is_empty())
    }

    /// Bytes came: a silence limit starts anew.
    pub(super) fn heard(&mut self, now: Instant, id: ExchangeId) {
        let Some(running) = self.exchanges.get_mut(&id) else {
            return;
        };
        if let (Some((_, Limit::Silence)), Some(content)) = (running.limit, running.content) {
            running.limit = self.settings.silence_limit(now, content);
        }
    }

    /// Starts an exchange.
    pub(super) fn open(&mut self, now: Instant, purpose: Purpose, action: Action) -> ExchangeId {
        self.opened += 1;
        let id = ExchangeId(self.opened);
        let fresh = match &purpose {
            Purpose::Renewal => true,
            Purpose::Request(request) => self.session.is_initialize(request),
            _ => false,
        };
        let session = if fresh { None } else { self.session.id.clone() };
        let version = if fresh {
            None
        } else {
            self.session.version.clone()
        };
        let limit = match purpose {
            Purpose::EndSession => Some((now + closing::END_SESSION_LIMIT, Limit::Own)),
            Purpose::SseStream => Some((now + strategy::ENDPOINT_LIMIT, Limit::Own)),
            Purpose::Reconfirm => Some((now + session::CONFIRM_LIMIT, Limit::Own)),
            Purpose::Renewal | Purpose::Ping => Some((now + session::INITIALIZE_LIMIT, Limit::Own)),
            _ => self
                .settings
                .headers_timeout
                .map(|limit| (now + limit, Limit::Headers)),
        };
        let running = Running {
            purpose,
            since: now,
            limit,
            content: None,
            generation: self.session.generation,
            with_session: session.is_some(),
        };
        self.exchanges.insert(id, running);
        let metadata = self.metadata(&action);
        self.out.push_back(Output::Open(
            id,
            Exchange {
                action,
                session,
                version,
                metadata,
            },
        ));
        id
    }

    /// Cuts an exchange; what still comes of it is dropped.
    pub(super) fn cut(&mut self, id: ExchangeId) {
        if self.exchanges.remove(&id).is_some() {
            self.out.push_back(Output::Close(id));
        }
    }
}
