//! The life of one open request, from its arrival to its one response.
//!
//! - A request is sent when handshake and transport allow it, and then runs beside all others. `response` says what its response is.
//! - Whatever else happens to the exchange leads to a retry (see `backoff`, `resumption`, `reinitialize`) or to one error.
//!
//! Flags: `--request-timeout`.
//! Spec: JSON-RPC 2.0 section 5; MCP 2025-11-25 basic/transports (Sending Messages to the Server), basic/lifecycle (Timeouts).

use std::sync::Arc;
use std::time::Instant;

use crate::bridge::request::table::RequestState;
use crate::bridge::session::handshake::INITIALIZE_LIMIT;
use crate::bridge::{Bridge, Content, Deferred, End, Purpose, Refusal, Running, Stage, backoff};
use crate::error::{Error, Kind};
use crate::jsonrpc::{self, Message, RequestId};
use crate::log::Level;
use crate::mcp::subscriptions::LISTEN;

/// Progress extends `--request-timeout` up to so many times its length.
const MAX_TIMEOUT_FACTOR: u32 = 10;

impl Bridge {
    /// Enters a request of the client or its adapter into the table and defers it. `since`: when the client sent it.
    pub(crate) fn admit_request(&mut self, since: Instant, id: RequestId, message: Arc<Message>) {
        let refusal = if self.requests.contains(&id) {
            Some(Error::new(
                Kind::Client,
                format!("request id {id} is already in use"),
            ))
        } else {
            self.filter.refuse(&message)
        };
        if let Some(error) = refusal {
            self.respond_error(&id, &error, self.is_adapting());
            return;
        }
        let serial = self.accept_request(since, id.clone(), message);
        self.deferred.push_back(Deferred::Request(id, serial));
    }

    /// Enters a request into the table; the caller sends it.
    pub(crate) fn accept_request(
        &mut self,
        since: Instant,
        id: RequestId,
        message: Arc<Message>,
    ) -> u64 {
        // A subscription has no response to wait for.
        let limit = self.settings.request_timeout;
        let limit = limit.filter(|_| message.method() != Some(LISTEN));
        let deadline = limit.map(|limit| since + limit);
        let adapted = self.is_adapting();
        self.requests.insert(id, message, since, deadline, adapted)
    }

    /// Sends an open request, for the first time or again.
    pub(crate) fn send_request(&mut self, id: &RequestId) {
        let Some(open) = self.requests.find(id) else {
            return;
        };
        let message = match &open.wire {
            Some(wire) => Arc::new(open.message.with_id(wire)),
            None => Arc::clone(&open.message),
        };
        if matches!(message.method(), Some("initialize" | "server/discover")) {
            open.deadline = open.deadline.or(Some(self.now + INITIALIZE_LIMIT));
        }
        self.limit_detection(id);
        if message.method() == Some("initialize") {
            self.leave_session();
            self.session.begin(id.clone(), Arc::clone(&message));
        }
        let action = self.post(message);
        let exchange = self.open(Purpose::Request(id.clone()), action);
        if let Some(open) = self.requests.find(id) {
            open.state = RequestState::Running(exchange);
        }
    }

    pub(crate) fn requests_due(&mut self) {
        self.fail_without_get_stream();
        if self.requests.next_due().is_none_or(|at| at > self.now) {
            return;
        }
        for id in self
            .requests
            .ids_where(|open| open.deadline.is_some_and(|at| at <= self.now))
        {
            self.time_out_request(&id);
        }
        for id in self
            .requests
            .ids_where(|open| matches!(open.state, RequestState::Paused(at) if at <= self.now))
        {
            // A message that was on its way may overtake those that still wait: it came before them.
            let may_leave = self.session_is_idle() && self.is_signed_in();
            if may_leave || self.session.is_initialize(&id) {
                self.send_request(&id);
            } else {
                self.defer(&id);
            }
        }
        for id in self
            .requests
            .ids_where(|open| matches!(open.state, RequestState::Resuming(at) if at <= self.now))
        {
            self.resume_request(&id);
        }
    }

    /// `notifications/progress` for an open request: its time limit starts anew, but not without end.
    pub(crate) fn extend_deadline(&mut self, message: &Message) {
        let (Some(limit), Some("notifications/progress")) =
            (self.settings.request_timeout, message.method())
        else {
            return;
        };
        let Some(token) = jsonrpc::member_at(message.text(), &["params", "progressToken"]) else {
            return;
        };
        let path = ["params", "_meta", "progressToken"];
        for id in self.requests.ids_where(|open| {
            let is_waited_for = open.deadline.is_some() && !open.cancelled;
            is_waited_for && jsonrpc::member_at(open.message.text(), &path) == Some(token)
        }) {
            if let Some(open) = self.requests.find(&id) {
                let last = open
                    .since
                    .checked_add(limit.saturating_mul(MAX_TIMEOUT_FACTOR));
                let extended = self.now + limit;
                open.deadline = Some(last.map_or(extended, |last| extended.min(last)));
            }
        }
    }

    fn time_out_request(&mut self, id: &RequestId) {
        let Some(open) = self.requests.find(id) else {
            return;
        };
        let method = open.message.method().unwrap_or_default().to_owned();
        let (state, since) = (open.state, open.since);
        let sent = state != RequestState::Deferred;
        let waited = open.deadline.map(|at| at.saturating_duration_since(since));
        let waited = crate::error::seconds(waited.unwrap_or_default());
        let server = &self.settings.server;
        let what = format!("no answer to \"{method}\" from {server} within {waited} s");
        let is_initialize = self.session.is_initialize(id);
        let error = Error::new(Kind::Timeout, what);
        if open.cancelled {
            return self.fail(id, error);
        }
        let request_timeout = self.settings.request_timeout;
        let request_timeout = request_timeout.filter(|_| method != LISTEN);
        let is_up = request_timeout.is_some_and(|limit| self.now >= since + limit);
        if sent && !is_up && !matches!(method.as_str(), "initialize" | "server/discover") {
            if !self.era_slow_response(id)
                && let Some(open) = self.requests.find(id)
            {
                open.deadline = request_timeout.map(|limit| since + limit);
            }
            return;
        }
        if let RequestState::Running(exchange) = state {
            self.cut(exchange);
        }
        if sent && !is_up && self.era_no_response(id, &error) {
            return;
        }
        self.fail(id, error);
        if sent && !is_initialize && !self.speaks_modern() {
            self.tell_cancelled(id, "no answer in time");
        }
    }

    pub(crate) fn request_refused(&mut self, id: &RequestId, running: &Running, refusal: Refusal) {
        if refusal.needs_sign_in.is_none() && self.answer_early_ping(id)
            || self.era_refused(id, &refusal)
        {
            return;
        }
        let Some(open) = self.requests.find(id) else {
            return;
        };
        let method = open.message.method().unwrap_or_default().to_owned();
        let (since, reinitialized) = (open.since, open.reinitialized);
        if !reinitialized && self.is_lost_session(running, id, &refusal) {
            let is_lost_already = running.generation != self.session.generation;
            if refusal.status == 400 && !is_lost_already && !backoff::is_safe(&method) {
                return self.check_session(id, refusal);
            }
            return self.send_in_new_session(id, running.generation);
        }
        if reinitialized && matches!(refusal.status, 400 | 401) {
            self.session.reinitialized_in_vain = Some(self.now);
        }
        if let Some(challenge) = &refusal.needs_sign_in {
            if !self.wait_for_sign_in(id, challenge) {
                self.respond_refused(id, refusal);
            }
            return;
        }
        let Some(open) = self.requests.find(id) else {
            return;
        };
        open.failures += 1;
        let failures = open.failures;
        if self.may_fall_back(refusal.status) {
            self.fall_back_to_sse(id, refusal);
            return;
        }
        if backoff::may_repeat(refusal.status, &method, refusal.retry_after.is_some()) {
            let pause = match refusal.retry_after {
                Some(pause) => pause,
                None => {
                    self.backoff
                        .pause(failures, backoff::MIN_BACKOFF, backoff::MAX_REQUEST_BACKOFF)
                }
            };
            if self.now + pause <= since + backoff::REQUEST_RETRY_LIMIT {
                self.pause_request(id, self.now + pause);
                return;
            }
        }
        if self.refusal_confirms_http() {
            self.http_is_confirmed();
        }
        self.respond_refused(id, refusal);
    }

    /// The server has lost the session of this generation: sends the request again in a new one, once.
    pub(crate) fn send_in_new_session(&mut self, id: &RequestId, generation: u32) {
        if let Some(open) = self.requests.find(id) {
            open.reinitialized = true;
        }
        self.lose_session(generation);
        self.defer(id);
    }

    fn pause_request(&mut self, id: &RequestId, until: Instant) {
        if let Some(open) = self.requests.find(id) {
            open.state = RequestState::Paused(until);
        }
    }

    /// Answers with the server's own error where it sent one, else with the refusal in words.
    pub(crate) fn respond_refused(&mut self, id: &RequestId, refusal: Refusal) {
        if self.era_after_fallback(id, &refusal) {
            return;
        }
        match refusal.answer {
            Some(answer) => self.complete(id, answer, true),
            None => self.fail(id, Arc::unwrap_or_clone(refusal.error)),
        }
    }

    pub(crate) fn request_ended(&mut self, id: &RequestId, running: &Running, end: End) {
        let Some(end) = self.modern_ended(id, end) else {
            return;
        };
        let has_get_stream = self.has_get_stream();
        let is_stale = self.sse_stream_is_newer(running);
        let Some(open) = self.requests.find(id) else {
            return;
        };
        let server = &self.settings.server;
        let method = open.message.method().unwrap_or_default();
        match end {
            End::Complete if is_stale => {
                let what = format!("{server} lost the session before it responded to \"{method}\"");
                self.fail(id, Error::new(Kind::Network, what));
            }
            End::Complete if self.link.is_sse() => open.state = RequestState::Accepted,
            End::Complete if open.stream.last_event.is_some() => self.resume_later(id),
            End::Complete
                if matches!(running.content, Some(Content::Nothing)) && has_get_stream =>
            {
                let until = self.settings.headers_timeout.map(|limit| self.now + limit);
                self.await_on_get_stream(id, until);
            }
            End::Complete => {
                let what = match running.content {
                    Some(Content::Stream) => {
                        format!("{server} ended the stream of \"{method}\" without an answer")
                    }
                    Some(Content::Json) => format!(
                        "{server} answered \"{method}\" with something that is not a response to it"
                    ),
                    Some(Content::Nothing) | None => {
                        return self.request_never_responded_to(id);
                    }
                };
                let error = Error::new(Kind::PeerMisbehaved, what);
                if !self.era_no_response(id, &error) {
                    self.fail(id, error);
                }
            }
            End::Broken(error, Stage::NotSent) => self.request_not_sent(id, error),
            End::Broken(error, Stage::Hopeless) => self.fail(id, error),
            End::Broken(error, Stage::Unanswered) => {
                if open.failures == 0 && backoff::is_safe(method) {
                    open.failures = 1;
                    self.pause_request(id, self.now);
                } else {
                    self.fail(id, error);
                }
            }
            End::Broken(error, Stage::Answering) => {
                if open.stream.last_event.is_some() {
                    self.resume_later(id);
                } else {
                    self.fail(id, error);
                }
            }
        }
    }

    fn request_not_sent(&mut self, id: &RequestId, error: Error) {
        let Some(open) = self.requests.find(id) else {
            return;
        };
        open.failures += 1;
        let (failures, until) = (open.failures, open.since + backoff::REQUEST_RETRY_LIMIT);
        let pause =
            self.backoff
                .pause(failures, backoff::MIN_BACKOFF, backoff::MAX_REQUEST_BACKOFF);
        if self.now + pause > until || self.is_stopping() {
            self.fail(id, error);
            return;
        }
        if failures == 1 {
            self.warn(format!("{}; trying again for a few seconds", error.what()));
        }
        self.pause_request(id, self.now + pause);
    }

    /// Fails an open request with an error of the bridge.
    pub(crate) fn fail(&mut self, id: &RequestId, error: Error) {
        let Some(open) = self.requests.remove(id) else {
            return;
        };
        if let RequestState::Running(exchange) = open.state {
            self.cut(exchange);
        }
        self.session_response_failed(id);
        if self.refreshed(id, None) {
            return;
        }
        if !open.cancelled {
            let method = open.message.method().unwrap_or_default();
            self.failed(Level::Warn, format!("\"{method}\" failed: {error}"));
            self.respond_error(id, &error, open.adapted);
        }
    }
}
