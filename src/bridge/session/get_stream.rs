//! The GET stream of a session, on which the server sends what belongs to no request.
//!
//! - It is opened after `notifications/initialized` was accepted, and reopened for as long as the process lives; at once when
//!   another response shows that the server is back. 405 and 204 mean that the server offers none, and so does another refusal of
//!   the first one that does not pass by itself.
//!
//! Flags: `--no-get-stream`. A GET that resumes the stream of a response, and the one of HTTP+SSE, are still sent.
//! Spec: MCP 2025-11-25 basic/transports (Listening for Messages from the Server); WHATWG HTML 9.2.

use std::time::{Duration, Instant};

use crate::bridge::request::resumption::{DEFAULT_RETRY, MIN_RETRY, is_passing};
use crate::bridge::{
    Bridge, Content, End, EventId, ExchangeId, HttpRequest, Link, Purpose, Refusal, Running, Stage,
    backoff,
};

/// A stream that needs a sign-in is not tried more often than this without one.
const SIGN_IN_RETRY: Duration = Duration::from_secs(30);
/// A server that asks for more is tried again nevertheless: it may have been somebody else's answer.
const MAX_PAUSE: Duration = Duration::from_secs(3600);
/// A stream that lived this long was no failure.
const MIN_LIFETIME: Duration = Duration::from_secs(5);

/// The GET stream.
#[derive(Debug, Default)]
pub(crate) struct GetStream {
    state: StreamState,
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
enum StreamState {
    /// Not wanted yet, or the server has none.
    #[default]
    Off,
    Running(ExchangeId, Instant),
    Paused(Instant),
}

impl GetStream {
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.state {
            StreamState::Paused(at) => Some(at),
            StreamState::Off | StreamState::Running(..) => None,
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
        if let StreamState::Paused(at) = &mut self.state
            && self.failures > 1
        {
            self.failures = 1;
            *at = (*at).min(now + DEFAULT_RETRY);
        }
    }
}

impl Bridge {
    /// Opens the GET stream for a new session; tells whether there is one to wait for.
    pub(crate) fn start_get_stream(&mut self) -> bool {
        let is_wanted = self.settings.get_stream && !matches!(self.link, Link::Sse(_));
        if !is_wanted || self.get_stream.state != StreamState::Off {
            return false;
        }
        self.get_stream = GetStream::default();
        self.open_get_stream();
        true
    }

    fn open_get_stream(&mut self) {
        let after = self.get_stream.last_event.clone();
        let exchange = self.open(
            Purpose::GetStream,
            HttpRequest::Listen {
                after,
                http_sse: false,
            },
        );
        self.get_stream.state = StreamState::Running(exchange, self.now);
    }

    /// The session it belonged to is gone.
    pub(crate) fn stop_get_stream(&mut self) {
        if let StreamState::Running(exchange, _) = self.get_stream.state {
            self.cut(exchange);
        }
        self.get_stream = GetStream::default();
    }

    pub(crate) fn get_stream_is_due(&mut self) {
        if self.get_stream.due().is_some_and(|at| at <= self.now) {
            if self.session_is_open() {
                self.open_get_stream()
            } else {
                self.get_stream.state = StreamState::Off
            }
        }
    }

    /// Tokens are new: the stream that waited for them is opened.
    pub(crate) fn get_stream_after_sign_in(&mut self) {
        if self.get_stream.needs_sign_in.take().is_some() && self.session_is_open() {
            self.open_get_stream();
        }
    }

    /// A request was accepted: another instance may have signed in.
    pub(crate) fn get_stream_after_response(&mut self) {
        let since = self.get_stream.needs_sign_in;
        if since.is_some_and(|since| self.now >= since + SIGN_IN_RETRY) {
            self.get_stream_after_sign_in();
        }
    }

    pub(crate) fn get_stream_refused(&mut self, refusal: &Refusal) {
        let was_open = self.get_stream.opened_at.is_some();
        self.get_stream_is_decided();
        self.get_stream.state = StreamState::Off;
        if refusal.needs_sign_in.is_some() {
            self.get_stream.needs_sign_in = Some(self.now);
            return;
        }
        match refusal.status {
            404 if was_open => {
                let generation = self.session.generation;
                self.lose_session(generation);
                // Notifications would be missed until the next request: open a new session at once.
                self.reinitialize_if_lost();
            }
            404 | 405 => self.has_no_get_stream(refusal.status),
            // Only 405 says that there is none. A stream that was open may not have ended yet for the server (409, 400).
            status if was_open || is_passing(status) => self.get_stream_failed(refusal.retry_after),
            status => self.has_no_get_stream(status),
        }
    }

    fn has_no_get_stream(&mut self, status: u16) {
        self.debug(format!(
            "{} has no GET stream (GET answered {status})",
            self.settings.server
        ));
    }

    pub(crate) fn get_stream_ended(&mut self, running: &Running, end: &End) {
        self.get_stream_is_decided();
        let lived = self
            .get_stream
            .opened_at
            .is_some_and(|at| self.now >= at + MIN_LIFETIME);
        if lived {
            self.get_stream.failures = 0;
            self.get_stream.was_lost = true;
        }
        let hopeless = matches!(end, End::Broken(_, Stage::Hopeless))
            || running.content == Some(Content::Nothing);
        if let End::Broken(error, _) = end {
            self.debug(format!("the GET stream broke: {}", error.what()));
        }
        self.get_stream.state = StreamState::Off;
        if !hopeless {
            self.get_stream_failed(None);
        }
    }

    fn get_stream_failed(&mut self, retry_after: Option<Duration>) {
        let first = self
            .get_stream
            .retry
            .unwrap_or(DEFAULT_RETRY)
            .clamp(MIN_RETRY, MAX_PAUSE);
        self.get_stream.failures += 1;
        let pause = match self.get_stream.failures {
            // A stream that ended in order, or broke once, is back after the server's own time.
            1 => first,
            failures => self
                .backoff
                .pause(failures, first, backoff::MAX_STREAM_BACKOFF.max(first)),
        };
        let pause = retry_after.unwrap_or(pause).min(MAX_PAUSE);
        self.get_stream.state = StreamState::Paused(self.now + pause);
    }
}
