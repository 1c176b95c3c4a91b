//! The GET stream of a session, on which the server sends what belongs to no request.
//!
//! - It is opened after `notifications/initialized` was accepted, and again for as long as the process lives; at once when
//!   another response shows that the server is back. 405 and its like mean that there is none.
//!
//! Spec: MCP 2025-11-25 basic/transports (Listening for Messages from the Server); WHATWG HTML 9.2.

use std::time::{Duration, Instant};

use crate::bridge::request::resumption::{DEFAULT_RETRY, LEAST_RETRY};
use crate::bridge::{
    Action, Bridge, End, EventId, ExchangeId, Link, Purpose, Refusal, Stage, backoff,
};

/// A stream that needs a sign-in is not tried more often than this without one.
const SIGN_IN_RETRY: Duration = Duration::from_secs(30);
/// A server that asks for more is tried again nevertheless: it may have been somebody else's answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// A stream that lived this long was no failure.
const LIVED: Duration = Duration::from_secs(5);

/// The standing stream.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    state: StandingState,
    last_event: Option<EventId>,
    retry: Option<Duration>,
    failures: u32,
    /// Whether it was open in this session: then 404 means that the session is gone.
    opened_at: Option<Instant>,
    /// It was open for some time, and ended.
    was_lost: bool,
    /// It needs a sign-in, which the next request will bring about; since when.
    needs_sign_in: Option<Instant>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum StandingState {
    /// Not wanted yet, or the server has none.
    #[default]
    Off,
    Running(ExchangeId, Instant),
    Paused(Instant),
}

impl Standing {
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.state {
            StandingState::Paused(at) => Some(at),
            StandingState::Off | StandingState::Running(..) => None,
        }
    }

    /// An event came, with this id.
    pub(crate) fn note_event(&mut self, event: EventId) {
        self.last_event = Some(event);
        self.failures = 0;
    }

    /// The server's `retry`.
    pub(crate) fn note_retry(&mut self, retry: Duration) {
        self.retry = Some(retry);
    }

    /// It is open; whether something may have been missed since it was open before. A server that ends it over and over
    /// tells nothing on it.
    pub(crate) fn opened(&mut self, now: Instant) -> bool {
        self.opened_at = Some(now);
        std::mem::take(&mut self.was_lost) && self.last_event.is_none()
    }

    /// Another exchange succeeded: a server that was away is back. At most once a second.
    pub(crate) fn server_is_back(&mut self, now: Instant) {
        if let StandingState::Paused(at) = &mut self.state
            && self.failures > 1
        {
            self.failures = 1;
            *at = (*at).min(now + DEFAULT_RETRY);
        }
    }
}

impl Bridge {
    /// Opens the standing stream for a new session; tells whether there is one to wait for.
    pub(crate) fn start_standing(&mut self) -> bool {
        if matches!(self.link, Link::Sse(_)) || self.standing.state != StandingState::Off {
            return false;
        }
        self.standing = Standing::default();
        self.open_standing();
        true
    }

    fn open_standing(&mut self) {
        let after = self.standing.last_event.clone();
        let exchange = self.open(
            Purpose::Standing,
            Action::Listen {
                after,
                http_sse: false,
            },
        );
        self.standing.state = StandingState::Running(exchange, self.now);
    }

    /// The session it belonged to is gone.
    pub(crate) fn stop_standing(&mut self) {
        if let StandingState::Running(exchange, _) = self.standing.state {
            self.cut(exchange);
        }
        self.standing = Standing::default();
    }

    pub(crate) fn standing_is_due(&mut self) {
        if self.standing.due().is_some_and(|at| at <= self.now) {
            if self.session_is_open() {
                self.open_standing()
            } else {
                self.standing.state = StandingState::Off
            }
        }
    }

    /// Tokens are new: the stream that waited for them is opened.
    pub(crate) fn standing_after_sign_in(&mut self) {
        if self.standing.needs_sign_in.take().is_some() && self.session_is_open() {
            self.open_standing();
        }
    }

    /// A request was accepted: another instance may have signed in.
    pub(crate) fn standing_after_answer(&mut self) {
        let since = self.standing.needs_sign_in;
        if since.is_some_and(|since| self.now >= since + SIGN_IN_RETRY) {
            self.standing_after_sign_in();
        }
    }

    pub(crate) fn standing_refused(&mut self, refusal: &Refusal) {
        let was_open = self.standing.opened_at.is_some();
        self.standing_is_decided();
        self.standing.state = StandingState::Off;
        if refusal.needs_sign_in.is_some() {
            self.standing.needs_sign_in = Some(self.now);
            return;
        }
        match refusal.status {
            404 if was_open => {
                let generation = self.session.generation;
                self.lose_session(generation);
                // Notifications would be missed until the next request: renew at once.
                self.renew_if_lost();
            }
            429 | 500 | 502 | 503 | 504 => self.standing_failed(refusal.retry_after),
            _ => self.debug(format!(
                "{} has no standing stream (GET answered {})",
                self.settings.server, refusal.status
            )),
        }
    }

    pub(crate) fn standing_ended(&mut self, end: &End) {
        self.standing_is_decided();
        let lived = self
            .standing
            .opened_at
            .is_some_and(|at| self.now >= at + LIVED);
        if lived {
            self.standing.failures = 0;
            self.standing.was_lost = true;
        }
        let hopeless = matches!(end, End::Broken(_, Stage::Hopeless))
            || matches!(end, End::Broken(_, Stage::Answering)) && self.standing.opened_at.is_none();
        if let End::Broken(error, _) = end {
            self.debug(format!("the standing stream broke: {}", error.what()));
        }
        self.standing.state = StandingState::Off;
        if !hopeless {
            self.standing_failed(None);
        }
    }

    fn standing_failed(&mut self, retry_after: Option<Duration>) {
        let first = self
            .standing
            .retry
            .unwrap_or(DEFAULT_RETRY)
            .max(LEAST_RETRY);
        self.standing.failures += 1;
        let pause = match self.standing.failures {
            // A stream that ended in order, or broke once, is back after the server's own time.
            1 => first,
            failures => self
                .backoff
                .pause(failures, first, backoff::MOST_FOR_STREAMS.max(first)),
        };
        let pause = retry_after.unwrap_or(pause).min(LONGEST_PAUSE);
        self.standing.state = StandingState::Paused(self.now + pause);
    }
}
