//! Resumption of response streams: `Last-Event-ID`, `retry`, growing pauses.
//!
//! A response stream that broke, or that the server ended on purpose (SEP-1699), after an event with an id is resumed with GET
//! and `Last-Event-ID`, after the server's `retry` time.
//!
//! Spec: MCP 2025-11-25 basic/transports (Listening for Messages, Resumability and Redelivery); WHATWG HTML 9.2.

use std::sync::Arc;
use std::time::Duration;

use crate::bridge::request::table::RequestState;
use crate::bridge::{
    Bridge, End, EventId, ExchangeId, HttpRequest, Purpose, Refusal, Running, Stage, backoff,
};
use crate::error::{Error, Kind};
use crate::jsonrpc::RequestId;

/// The pause before a stream is opened again, where the server named none.
pub(crate) const DEFAULT_RETRY: Duration = Duration::from_secs(1);
/// A server that asks for less would have us spin.
pub(crate) const MIN_RETRY: Duration = Duration::from_millis(50);

impl Bridge {
    pub(crate) fn note_event(
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
            Purpose::Request(id) | Purpose::Resume(id)
                if self.requests.is_served_by(id, exchange) =>
            {
                if let Some(open) = self.requests.find(id) {
                    open.stream.last_event = Some(event);
                    open.stream.failures = 0;
                }
            }
            Purpose::GetStream => self.get_stream.note_event(event),
            _ => {}
        }
    }

    pub(crate) fn note_retry(&mut self, purpose: &Purpose, retry: Duration) {
        match purpose {
            Purpose::Request(id) | Purpose::Resume(id) => {
                if let Some(open) = self.requests.find(id) {
                    open.stream.retry = Some(retry);
                }
            }
            Purpose::GetStream => self.get_stream.note_retry(retry),
            Purpose::SseStream => self.note_sse_retry(retry),
            _ => {}
        }
    }

    /// The stream of a response is over before the response: it is resumed after the server's `retry`.
    pub(crate) fn resume_later(&mut self, id: &RequestId) {
        let Some(open) = self.requests.find(id) else {
            return;
        };
        let first = open.stream.retry.unwrap_or(DEFAULT_RETRY).max(MIN_RETRY);
        let pause = match open.stream.failures {
            0 => first,
            failures => {
                self.backoff
                    .pause(failures + 1, first, backoff::MAX_STREAM_BACKOFF.max(first))
            }
        };
        open.stream.failures += 1;
        open.state = RequestState::Resuming(self.now + pause);
    }

    pub(crate) fn resume_request(&mut self, id: &RequestId) {
        let Some(open) = self.requests.find(id) else {
            return;
        };
        let after = open.stream.last_event.clone();
        let exchange = self.open(
            Purpose::Resume(id.clone()),
            HttpRequest::Listen {
                after,
                http_sse: false,
            },
        );
        if let Some(open) = self.requests.find(id) {
            open.state = RequestState::Running(exchange);
        }
    }

    pub(crate) fn resume_refused(&mut self, id: &RequestId, running: &Running, refusal: Refusal) {
        if matches!(refusal.status, 429 | 500 | 502 | 503 | 504) {
            self.resume_failed(id, Arc::unwrap_or_clone(refusal.error));
            return;
        }
        if let Some(challenge) = &refusal.needs_sign_in
            && self.resume_after_sign_in(id, challenge)
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

    pub(crate) fn resume_ended(&mut self, id: &RequestId, end: End) {
        match end {
            End::Complete | End::Broken(_, Stage::Answering) => self.resume_later(id),
            End::Broken(error, Stage::NotSent | Stage::Unanswered) => self.resume_failed(id, error),
            End::Broken(error, Stage::Hopeless) => self.fail(id, error),
        }
    }

    fn resume_failed(&mut self, id: &RequestId, error: Error) {
        let Some(open) = self.requests.find(id) else {
            return;
        };
        let since = *open.stream.away_since.get_or_insert(self.now);
        if self.now >= since + backoff::RESUME_LIMIT || self.is_stopping() {
            let what = format!(
                "the answer broke off and could not be resumed: {}",
                error.what()
            );
            self.fail(id, Error::new(Kind::Network, what));
        } else {
            self.resume_later(id);
        }
    }
}
