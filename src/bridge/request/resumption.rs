//! Resumption of response streams: `Last-Event-ID`, `retry`, growing pauses.
//!
//! A response stream that broke, or that the server ended on purpose (SEP-1699), after an event with an id is resumed with GET
//! and `Last-Event-ID`, after the server's `retry` time. A request whose resumptions bring no event fails after a while.
//!
//! Spec: MCP 2025-11-25 basic/transports (Listening for Messages, Resumability and Redelivery); WHATWG HTML 9.2.

use std::sync::Arc;
use std::time::Duration;

use crate::bridge::request::table::RequestState;
use crate::bridge::{
    Bridge, End, EventId, ExchangeId, HttpRequest, Purpose, Refusal, Running, Stage,
};
use crate::error::{Error, Kind};
use crate::jsonrpc::RequestId;

/// The pause before a stream is opened again, where the server named none.
pub(crate) const DEFAULT_RETRY: Duration = Duration::from_secs(1);
/// A server that asks for less would have us spin.
pub(crate) const MIN_RETRY: Duration = Duration::from_millis(50);
/// A response that should be asked for less often than this would be waited for without end.
pub(crate) const MAX_RETRY: Duration = Duration::from_secs(300);
/// How long resumptions may fail, or bring no event, in a row. Clients give up after 60 s, also counting the time before.
const RESUME_LIMIT: Duration = Duration::from_secs(30);
/// The longest pause between two resumptions, where the server did not name a longer one.
const MAX_RESUME_BACKOFF: Duration = Duration::from_secs(5);
/// A resumed stream that stayed open this long was no failure: proxies cut idle streams.
const MIN_RESUMED_LIFETIME: Duration = Duration::from_secs(10);
/// How long resumed streams may stay open one after the other without an event.
const MAX_SILENCE: Duration = Duration::from_secs(15 * 60);

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
                    // A server that sends the same event over and over is not getting on.
                    if open.stream.last_event.replace(event.clone()) != Some(event) {
                        open.stream.failures = 0;
                        open.stream.lost_at = None;
                        open.stream.silent_since = None;
                    }
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
        if let Some(open) = self.requests.find(id) {
            open.stream.lost_at.get_or_insert(self.now);
            open.stream.silent_since.get_or_insert(self.now);
            open.state = RequestState::Resuming(self.now + open.stream.retry());
        }
    }

    /// A resumption brought no event: it is tried again, or the request fails.
    fn resume_again(&mut self, id: &RequestId, retry_after: Option<Duration>, error: Error) {
        let is_stopping = self.is_stopping();
        let Some(open) = self.requests.find(id) else {
            return;
        };
        let first = open.stream.retry();
        open.stream.failures += 1;
        let pause = self
            .backoff
            .pause(open.stream.failures, first, MAX_RESUME_BACKOFF.max(first));
        let at = self.now + pause.max(retry_after.unwrap_or_default());
        let lost_at = *open.stream.lost_at.get_or_insert(self.now);
        let silent_since = *open.stream.silent_since.get_or_insert(self.now);
        // A server that names a long `retry` is asked some times nevertheless.
        let until = (lost_at + RESUME_LIMIT.max(first * 3)).min(silent_since + MAX_SILENCE);
        if at > until || is_stopping {
            let what = format!(
                "the answer broke off and could not be resumed: {}",
                error.what()
            );
            self.fail(id, Error::new(error.kind(), what));
        } else {
            open.state = RequestState::Resuming(at);
        }
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
        if let Some(challenge) = &refusal.needs_sign_in
            && self.resume_after_sign_in(id, challenge)
        {
            return;
        }
        if running.with_session && refusal.status == 404 {
            self.lose_session(running.generation);
        }
        let error = Arc::unwrap_or_clone(refusal.error);
        if is_passing(refusal.status) {
            self.resume_again(id, refusal.retry_after, error);
            return;
        }
        let what = format!(
            "the answer broke off and could not be resumed: {}",
            error.what()
        );
        self.fail(id, Error::new(Kind::Http(refusal.status), what));
    }

    pub(crate) fn resume_ended(&mut self, id: &RequestId, running: &Running, end: End) {
        let error = match end {
            End::Broken(error, Stage::Hopeless) => return self.fail(id, error),
            End::Broken(error, _) => error,
            End::Complete => {
                let server = &self.settings.server;
                let what = format!("{server} ended the stream without an answer");
                Error::new(Kind::PeerMisbehaved, what)
            }
        };
        let Some(open) = self.requests.find(id) else {
            return;
        };
        let stayed_open =
            running.content.is_some() && self.now >= running.since + MIN_RESUMED_LIFETIME;
        if stayed_open || open.stream.lost_at.is_none() {
            open.stream.failures = 0;
            open.stream.lost_at = None;
            self.resume_later(id);
        } else {
            self.resume_again(id, None, error);
        }
    }
}

/// Whether a refusal of a stream may pass: `409` says that the server has not noticed yet that the stream before it broke.
pub(crate) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 409 | 425 | 429 | 500 | 502..=504 | 506..=599)
}
