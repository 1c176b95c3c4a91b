//! Opens a new session after the server lost the old one.
//!
//! A session is lost with a 404, with a 400 that is not a response to our id, as some servers send, or with a 401 although the
//! credentials were sent: if the new session is refused with 401 as well, the user has to sign in. Over HTTP+SSE the stream is
//! the session, and is opened anew with it.
//!
//! A request that must not be repeated is sent again only if the server cannot have carried it out: after a 400, a `ping` in the
//! same session shows whether the session lives.
//!
//! A session is opened once for all requests that met the loss, with the client's own `initialize`; then they are sent again. If
//! that fails, each gets one error, and the next request tries again.
//!
//! Spec: MCP 2025-11-25 basic/transports (Session Management, 3 and 4).

use std::sync::Arc;
use std::time::Duration;

use crate::bridge::request::table::RequestState;
use crate::bridge::session::handshake::{Reinitializing, SessionState, negotiated_version};
use crate::bridge::session::keep_alive;
use crate::bridge::{Action, Bridge, Deferred, End, Purpose, Refusal, Running, Stage, backoff};
use crate::error::{Error, Kind};
use crate::jsonrpc::{self, Message, RequestId};
use crate::log::Level;
use crate::mcp::errors;
use crate::oauth::challenge::Challenge;

/// How long a 400 is believed after a new session did not help.
const BAD_REQUEST_PAUSE: Duration = Duration::from_secs(30);

impl Bridge {
    /// Whether a refusal means that the server has lost the session.
    ///
    /// 404 is the specified way. Servers that send 400 do it without a response to our request's id; for those a
    /// new session is tried; if that did not help, not again for [`BAD_REQUEST_PAUSE`].
    pub(crate) fn is_lost_session(
        &self,
        running: &Running,
        id: &RequestId,
        refusal: &Refusal,
    ) -> bool {
        let in_session =
            running.with_session || self.link.is_sse() && !self.session.is_initialize(id);
        in_session
            && self.session.initialize.is_some()
            && match refusal.status {
                404 => true,
                401 => self.is_lost_with_401(running, refusal),
                400 => {
                    !self.has_reinitialized_in_vain()
                        && !refusal
                            .answer
                            .as_ref()
                            .is_some_and(|answer| is_about(answer, id))
                }
                _ => false,
            }
    }

    /// Whether a 401 may mean that the server has lost the session, because the credentials were sent. Some servers check the
    /// session first.
    pub(crate) fn is_lost_with_401(&self, running: &Running, refusal: &Refusal) -> bool {
        let needs_scope = |challenge: &Challenge| challenge.is_insufficient_scope();
        refusal.status == 401
            && running.with_session
            && refusal.had_credentials
            && !refusal.needs_sign_in.as_deref().is_some_and(needs_scope)
            && !self.has_reinitialized_in_vain()
    }

    fn has_reinitialized_in_vain(&self) -> bool {
        self.session
            .reinitialized_in_vain
            .is_some_and(|at| self.now < at + BAD_REQUEST_PAUSE)
    }

    /// Asks with a `ping` whether the session lives in which a request was refused with 400. The server may have carried the
    /// request out, so it is sent again only if the session is gone.
    pub(crate) fn check_session(&mut self, id: &RequestId, refusal: Refusal) {
        let Some(exchange) = self.send_ping(Purpose::SessionCheck(id.clone())) else {
            return self.respond_refused(id, refusal);
        };
        if let Some(open) = self.requests.find(id) {
            open.state = RequestState::Running(exchange);
            open.refused = Some(Box::new(refusal));
        }
    }

    /// The session lives, or nothing shows that it does not: the refusal stands.
    pub(crate) fn session_lives(&mut self, id: &RequestId) {
        let refused = self.requests.find(id).and_then(|open| open.refused.take());
        if let Some(refusal) = refused {
            self.respond_refused(id, *refusal);
        }
    }

    pub(crate) fn session_check_refused(
        &mut self,
        id: &RequestId,
        running: &Running,
        refusal: &Refusal,
    ) {
        let is_answer = |answer: &Message| match answer.kind() {
            jsonrpc::Kind::Response { id, .. } => keep_alive::is_ping(id),
            _ => false,
        };
        let is_lost = match refusal.status {
            404 => true,
            400 => !refusal.answer.as_ref().is_some_and(is_answer),
            _ => false,
        };
        if is_lost {
            self.send_in_new_session(id, running.generation);
        } else {
            self.session_lives(id);
        }
    }

    /// The session of this generation is gone; a newer one is not touched.
    pub(crate) fn lose_session(&mut self, generation: u32) {
        if generation != self.session.generation
            || !matches!(
                self.session.state,
                SessionState::Answered
                    | SessionState::Opening(_)
                    | SessionState::Ready
                    | SessionState::Confirming(_)
            )
        {
            return;
        }
        self.session.state = SessionState::Lost;
        self.session.id = None;
        self.session.generation += 1;
        self.stop_get_stream();
        self.close_sse_stream();
        let what = format!("{} has lost the session", self.settings.server);
        let error = Error::new(Kind::Network, what);
        for id in self
            .requests
            .ids_where(|open| open.state == RequestState::Accepted)
        {
            self.fail(&id, error.again());
        }
        self.out.push_back(Action::Say(
            Level::Info,
            format!(
                "{} has lost the session; opening a new one",
                self.settings.server
            ),
        ));
    }

    /// HTTP+SSE: whether the stream is gone on which the response to this POST would have come.
    pub(crate) fn sse_stream_is_newer(&self, post: &Running) -> bool {
        let mut running = self.exchanges.values();
        let stream = running.find(|running| running.purpose == Purpose::SseStream);
        self.link.is_sse() && stream.is_none_or(|stream| stream.since > post.since)
    }

    /// HTTP+SSE: the stream broke, and the session with it.
    pub(crate) fn lose_session_with_stream(&mut self) {
        match self.session.state {
            SessionState::Answered
            | SessionState::Opening(_)
            | SessionState::Ready
            | SessionState::Confirming(_)
            | SessionState::Reinitializing(_)
            | SessionState::Reconfirming => self.session.state = SessionState::Lost,
            SessionState::Fresh | SessionState::Initializing(_) | SessionState::Lost => {}
        }
    }

    /// HTTP+SSE: the stream is back; the session is opened anew without waiting for a request.
    pub(crate) fn reinitialize_if_lost(&mut self) {
        if matches!(self.session.state, SessionState::Lost) {
            self.reinitialize();
        }
    }

    pub(crate) fn reinitialize(&mut self) {
        let id = self.own_id("reinit");
        self.session.state = SessionState::Reinitializing(Reinitializing {
            id,
            since: self.now,
            failures: 0,
            retry_at: None,
        });
        self.send_initialize();
    }

    pub(crate) fn send_initialize(&mut self) {
        let (SessionState::Reinitializing(reinitializing), Some(initialize)) =
            (&mut self.session.state, &self.session.initialize)
        else {
            return;
        };
        reinitializing.retry_at = None;
        let message = Arc::new(initialize.with_id(&reinitializing.id));
        self.session.id = None;
        self.session.version = None;
        let action = self.post(message);
        self.open(Purpose::Reinitialize, action);
    }

    /// Whether a response belongs to a request of ours; takes note of it.
    pub(crate) fn own_response(&mut self, id: &RequestId, failed: bool, answer: &Message) -> bool {
        if keep_alive::is_ping(id) {
            return true;
        }
        match &self.session.state {
            SessionState::Reinitializing(reinitializing) if &reinitializing.id == id => {}
            _ => return false,
        }
        if failed {
            let message = crate::log::clean(&errors::words(answer), 200);
            self.reinitialize_failed(Error::new(
                Kind::PeerMisbehaved,
                format!("{} refused a new session: {message}", self.settings.server),
            ));
            return true;
        }
        self.session.version = negotiated_version(answer);
        self.session.generation += 1;
        self.session.state = SessionState::Reconfirming;
        match Message::made(
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}".to_owned(),
        ) {
            Ok(note) => {
                let action = self.post(Arc::new(note));
                self.open(Purpose::Reconfirm, action);
            }
            Err(error) => self.reinitialize_failed(error),
        }
        true
    }

    pub(crate) fn reinitialize_ended(&mut self, end: End) {
        let SessionState::Reinitializing(reinitializing) = &self.session.state else {
            return;
        };
        match end {
            End::Complete if self.link.is_sse() => {}
            End::Complete => {
                let what = format!(
                    "{} did not respond to the new initialize",
                    self.settings.server
                );
                self.reinitialize_failed(Error::new(Kind::PeerMisbehaved, what));
            }
            End::Broken(_, Stage::NotSent | Stage::Unanswered)
                if self.now < reinitializing.since + backoff::REQUEST_RETRY_LIMIT =>
            {
                self.retry_reinitialize(None);
            }
            End::Broken(error, _) => self.reinitialize_failed(error),
        }
    }

    /// Sends `initialize` again after `pause`, or after the usual one.
    fn retry_reinitialize(&mut self, pause: Option<Duration>) {
        if let SessionState::Reinitializing(reinitializing) = &mut self.session.state {
            reinitializing.failures += 1;
            let usual = self.backoff.pause(
                reinitializing.failures,
                backoff::MIN_BACKOFF,
                backoff::MAX_REQUEST_BACKOFF,
            );
            reinitializing.retry_at = Some(self.now + pause.unwrap_or(usual));
        }
    }

    pub(crate) fn reinitialize_refused(&mut self, refusal: Refusal) {
        let pause = refusal.retry_after;
        if let SessionState::Reinitializing(reinitializing) = &self.session.state
            && backoff::may_repeat(refusal.status, "initialize", pause.is_some())
            && self.now + pause.unwrap_or_default()
                < reinitializing.since + backoff::REQUEST_RETRY_LIMIT
        {
            return self.retry_reinitialize(pause);
        }
        self.session.state = SessionState::Lost;
        let suspended = refusal
            .needs_sign_in
            .is_some_and(|challenge| self.all_wait_for_sign_in(&challenge));
        if !suspended {
            self.reinitialize_failed(Arc::unwrap_or_clone(refusal.error));
        }
    }

    pub(crate) fn reinitialize_timed_out(&mut self) {
        let server = &self.settings.server;
        let what = format!("{server} did not respond to the new initialize in time");
        self.reinitialize_failed(Error::new(Kind::Timeout, what));
    }

    /// Each request that waits gets one error; the next one tries again.
    pub(crate) fn reinitialize_failed(&mut self, error: Error) {
        self.session.state = SessionState::Lost;
        self.session.id = None;
        self.fail_all_deferred(&error);
    }

    /// All that waits is answered with this error; waiting notifications are dropped.
    pub(crate) fn fail_all_deferred(&mut self, error: &Error) {
        for id in self
            .requests
            .ids_where(|open| open.state == RequestState::Deferred)
        {
            self.fail(&id, error.again());
        }
        self.deferred
            .retain(|waiting| !matches!(waiting, Deferred::Notification(..)));
    }

    pub(crate) fn reinitialized(&mut self) {
        if matches!(self.session.state, SessionState::Reconfirming) {
            self.begin_traffic();
            self.adapter_reinitialized();
        }
    }
}

/// Whether an error is the response to this request: it has its id, or says that what was sent is not JSON.
fn is_about(answer: &Message, id: &RequestId) -> bool {
    errors::code(answer) == Some(errors::PARSE_ERROR)
        || matches!(answer.kind(), jsonrpc::Kind::Response { id: answered, .. } if answered == id)
}
