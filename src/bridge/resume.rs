//! Broken streams: `Last-Event-ID`, `retry`, growing pauses.
//!
//! - The stream of an answer that broke, or that the server ended on purpose (SEP-1699), after an event with an id is
//!   resumed with GET and `Last-Event-ID`, after the server's `retry`.
//! - The standing stream is opened after `notifications/initialized` was accepted, and again for as long as the process
//!   lives; at once when another answer shows that the server is back. 405 and its like mean that there is none.
//!
//! Spec: MCP 2025-11-25 basic/transports (Listening for Messages, Resumability and Redelivery); WHATWG HTML 9.2.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::in_flight::State;
use super::{
    Action, Bridge, End, EventId, ExchangeId, Link, Purpose, Refusal, Running, Stage, retry,
};
use crate::error::{Error, Kind};
use crate::jsonrpc::RequestId;

/// The pause before a stream is opened again, where the server named none.
const DEFAULT_RETRY: Duration = Duration::from_secs(1);
/// A server that asks for less would have us spin.
const LEAST_RETRY: Duration = Duration::from_millis(50);
/// A stream that needs a sign-in is not tried more often than this without one.
const SIGN_IN_RETRY: Duration = Duration::from_secs(30);
/// A server that asks for more is tried again nevertheless: it may have been somebody else's answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// A stream that lived this long was no failure.
const LIVED: Duration = Duration::from_secs(5);

/// The standing stream.
#[derive(Debug, Default)]
pub(super) struct Standing {
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
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            StandingState::Paused(at) => Some(at),
            StandingState::Off | StandingState::Running(..) => None,
        }
    }

    /// It is open; whether something may have been missed since it was open before. A server that ends it over and over
    /// tells nothing on it.
    pub(super) fn opened(&mut self, now: Instant) -> bool {
        self.opened_at = Some(now);
        std::mem::take(&mut self.was_lost) && self.last_event.is_none()
    }

    /// Another exchange succeeded: a server that was away is back. At most once a second.
    pub(super) fn server_is_back(&mut self, now: Instant) {
        if let StandingState::Paused(at) = &mut self.state
            && self.failures > 1
        {
            self.failures = 1;
            *at = (*at).min(now + DEFAULT_RETRY);
        }
    }
}

impl Bridge {
    pub(super) fn note_event(
        &mut self,
        exchange: ExchangeId,
        purpose: &Purpose,
        event: Option<EventId>,
    ) {
        // Streams of modern servers cannot be resumed.
        let Some(event) = event.filter(|_| !self.speaks_modern()) else {
            return;
        };
        match purpose {
            Purpose::Request(id) | Purpose::Resume(id) if self.requests.runs_on(id, exchange) => {
                if let Some(open) = self.requests.find(id) {
                    open.stream.last_event = Some(event);
                    open.stream.failures = 0;
                }
            }
            Purpose::Standing => {
                self.standing.last_event = Some(event);
                self.standing.failures = 0;
            }
            _ => {}
        }
    }

    pub(super) fn note_retry(&mut self, purpose: &Purpose, retry: Duration) {
        match purpose {
            Purpose::Request(id) | Purpose::Resume(id) => {
                if let Some(open) = self.requests.find(id) {
                    open.stream.retry = Some(retry);
                }
            }
            Purpose::Standing => self.standing.retry = Some(retry),
            Purpose::SseStream => self.note_sse_retry(retry),
            _ => {}
        }
    }

    /// The stream of an answer is over before the answer: it is resumed after the server's `retry`.
    pub(super) fn resume_later(&mut self, now: Instant, id: &RequestId) {
        let Some(open) = self.requests.find(id) else {
            return;
        };
        let first = open.stream.retry.unwrap_or(DEFAULT_RETRY).max(LEAST_RETRY);
        let pause = match open.stream.failures {
            0 => first,
            failures => self
                .backoff
                .pause(failures + 1, first, retry::MOST_FOR_STREAMS.max(first)),
        };
        open.stream.failures += 1;
        open.state = State::Resuming(now + pause);
    }

    pub(super) fn resume_request(&mut self, now: Instant, id: &RequestId) {
        let Some(open) = self.requests.find(id) else {
            return;
        };
        let after = open.stream.last_event.clone();
        let exchange = self.open(
            now,
            Purpose::Resume(id.clone()),
            Action::Listen {
                after,
                http_sse: false,
            },
        );
        if let Some(open) = self.requests.find(id) {
            open.state = State::Running(exchange);
        }
    }

    pub(super) fn resume_refused(
        &mut self,
        now: Instant,
        id: &RequestId,
        running: &Running,
        refusal: Refusal,
    ) {
        if matches!(refusal.status, 429 | 500 | 502 | 503 | 504) {
            self.resume_failed(now, id, Arc::unwrap_or_clone(refusal.error));
            return;
        }
        if let Some(challenge) = &refusal.needs_sign_in
            && self.park_stream(now, id, challenge)
        {
            return;
        }
        if running.with_session && refusal.status == 404 {
            self.lose_session(running.generation);
        }
        let what = format!(
            "the answer broke off and could not be resumed: {}",
            refusal.error.what()
        );
        self.fail(id, Error::new(Kind::Http(refusal.status), what));
    }

    pub(super) fn resume_ended(&mut self, now: Instant, id: &RequestId, end: End) {
        match end {
            End::Complete | End::Broken(_, Stage::Answering) => self.resume_later(now, id),
            End::Broken(error, Stage::NotSent | Stage::Unanswered) => {
                self.resume_failed(now, id, error)
            }
            End::Broken(error, Stage::Hopeless) => self.fail(id, error),
        }
    }

    fn resume_failed(&mut self, now: Instant, id: &RequestId, error: Error) {
        let Some(open) = self.requests.find(id) else {
            return;
        };
        let since = *open.stream.away_since.get_or_insert(now);
        if now >= since + retry::RESUME_PATIENCE || self.is_stopping() {
            let what = format!(
                "the answer broke off and could not be resumed: {}",
                error.what()
            );
            self.fail(id, Error::new(Kind::Network, what));
        } else {
            self.resume_later(now, id);
        }
    }

    /// Opens the standing stream for a new session; tells whether there is one to wait for.
    pub(super) fn start_standing(&mut self, now: Instant) -> bool {
        if matches!(self.link, Link::Sse(_)) || self.standing.state != StandingState::Off {
            return false;
        }
        self.standing = Standing::default();
        self.open_standing(now);
        true
    }

    fn open_standing(&mut self, now: Instant) {
        let after = self.standing.last_event.clone();
        let exchange = self.open(
            now,
            Purpose::Standing,
            Action::Listen {
                after,
                http_sse: false,
            },
        );
        self.standing.state = StandingState::Running(exchange, now);
    }

    /// The session it belonged to is gone.
    pub(super) fn stop_standing(&mut self) {
        if let StandingState::Running(exchange, _) = self.standing.state {
            self.cut(exchange);
        }
        self.standing = Standing::default();
    }

    pub(super) fn standing_is_due(&mut self, now: Instant) {
        if self.standing.due().is_some_and(|at| at <= now) {
            if self.session_is_open() {
                self.open_standing(now)
            } else {
                self.standing.state = StandingState::Off
            }
        }
    }

    /// Tokens are new: the stream that waited for them is opened.
    pub(super) fn standing_after_sign_in(&mut self, now: Instant) {
        if self.standing.needs_sign_in.take().is_some() && self.session_is_open() {
            self.open_standing(now);
        }
    }

    /// A request was accepted: another instance may have signed in.
    pub(super) fn standing_after_answer(&mut self, now: Instant) {
        let since = self.standing.needs_sign_in;
        if since.is_some_and(|since| now >= since + SIGN_IN_RETRY) {
            self.standing_after_sign_in(now);
        }
    }

    pub(super) fn standing_refused(&mut self, now: Instant, refusal: &Refusal) {
        let was_open = self.standing.opened_at.is_some();
        self.standing_is_decided();
        self.standing.state = StandingState::Off;
        if refusal.needs_sign_in.is_some() {
            self.standing.needs_sign_in = Some(now);
            return;
        }
        match refusal.status {
            404 if was_open => {
                let generation = self.session.generation;
                self.lose_session(generation);
                // Notifications would be missed until the next request: renew at once.
                self.renew_if_lost(now);
            }
            429 | 500 | 502 | 503 | 504 => self.standing_failed(now, refusal.retry_after),
            _ => self.debug(format!(
                "{} has no standing stream (GET answered {})",
                self.settings.server, refusal.status
            )),
        }
    }

    pub(super) fn standing_ended(&mut self, now: Instant, end: &End) {
        self.standing_is_decided();
        let lived = self.standing.opened_at.is_some_and(|at| now >= at + LIVED);
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
            self.standing_failed(now, None);
        }
    }

    fn standing_failed(&mut self, now: Instant, retry_after: Option<Duration>) {
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
                .pause(failures, first, retry::MOST_FOR_STREAMS.max(first)),
        };
        let pause = retry_after.unwrap_or(pause).min(LONGEST_PAUSE);
        self.standing.state = StandingState::Paused(now + pause);
    }
}
