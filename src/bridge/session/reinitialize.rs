//! The renewal of a session the server has lost.
//!
//! It is lost with a 404; or with a 400 without an answer to our id, as some servers send. It is renewed once for all
//! requests that met it, with the client's own `initialize`; then they are sent again. If that fails, each gets one error,
//! and the next request tries afresh.
//!
//! Spec: MCP 2025-11-25 basic/transports (Session Management, 3 and 4).

use std::sync::Arc;
use std::time::Duration;

use crate::bridge::request::table::State;
use crate::bridge::session::handshake::{Phase, Renewing, negotiated_version};
use crate::bridge::session::keep_alive;
use crate::bridge::{Bridge, End, Output, Purpose, Refusal, Running, Stage, Waiting, backoff};
use crate::error::{Error, Kind};
use crate::jsonrpc::{self, Message, RequestId};
use crate::log::Level;
use crate::mcp::errors;

/// How long a 400 is believed after a renewal did not help against it.
const VAIN: Duration = Duration::from_secs(30);

impl Bridge {
    /// Whether a refusal means that the server has lost the session.
    ///
    /// 404 is the specified way. Servers that answer 400 do it without an answer to our request's id; for those a
    /// renewal is tried, and after one that did not help not again for [`VAIN`].
    pub(crate) fn is_lost_session(
        &self,
        running: &Running,
        id: &RequestId,
        refusal: &Refusal,
    ) -> bool {
        let recently_in_vain = self
            .session
            .renewed_in_vain
            .is_some_and(|at| self.now < at + VAIN);
        running.with_session
            && self.session.initialize.is_some()
            && match refusal.status {
                404 => true,
                400 => {
                    !recently_in_vain
                        && !refusal
                            .answer
                            .as_ref()
                            .is_some_and(|answer| is_about(answer, id))
                }
                _ => false,
            }
    }

    /// The session of this generation is gone; a newer one is not touched.
    pub(crate) fn lose_session(&mut self, generation: u32) {
        if generation != self.session.generation
            || !matches!(
                self.session.phase,
                Phase::Answered | Phase::Opening(_) | Phase::Ready | Phase::Confirming(_)
            )
        {
            return;
        }
        self.session.phase = Phase::Lost;
        self.session.id = None;
        self.stop_standing();
        self.out.push_back(Output::Say(
            Level::Info,
            format!(
                "{} has lost the session; opening a new one",
                self.settings.server
            ),
        ));
    }

    /// HTTP+SSE: the stream broke, and the session with it.
    pub(crate) fn lose_session_with_stream(&mut self) {
        match self.session.phase {
            Phase::Answered
            | Phase::Opening(_)
            | Phase::Ready
            | Phase::Confirming(_)
            | Phase::Renewing(_)
            | Phase::Reconfirming => self.session.phase = Phase::Lost,
            Phase::Fresh | Phase::Initializing(_) | Phase::Lost => {}
        }
    }

    /// HTTP+SSE: the stream is back; the session is renewed without waiting for a request.
    pub(crate) fn renew_if_lost(&mut self) {
        if matches!(self.session.phase, Phase::Lost) {
            self.renew();
        }
    }

    pub(crate) fn renew(&mut self) {
        let id = self.own_id("reinit");
        self.session.phase = Phase::Renewing(Renewing {
            id,
            since: self.now,
            failures: 0,
            retry_at: None,
        });
        self.send_renewal();
    }

    pub(crate) fn send_renewal(&mut self) {
        let (Phase::Renewing(renewing), Some(initialize)) =
            (&mut self.session.phase, &self.session.initialize)
        else {
            return;
        };
        renewing.retry_at = None;
        let message = Arc::new(initialize.with_id(&renewing.id));
        self.session.id = None;
        self.session.version = None;
        let action = self.post(message);
        self.open(Purpose::Renewal, action);
    }

    /// Whether a response belongs to a request of ours; takes note of it.
    pub(crate) fn own_answer(&mut self, id: &RequestId, failed: bool, answer: &Message) -> bool {
        if keep_alive::is_ping(id) {
            return true;
        }
        match &self.session.phase {
            Phase::Renewing(renewing) if &renewing.id == id => {}
            _ => return false,
        }
        if failed {
            let message = crate::log::clean(&errors::words(answer), 200);
            self.renewal_failed(Error::new(
                Kind::PeerMisbehaved,
                format!("{} refused a new session: {message}", self.settings.server),
            ));
            return true;
        }
        self.session.version = negotiated_version(answer);
        self.session.generation += 1;
        self.session.phase = Phase::Reconfirming;
        match Message::made(
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}".to_owned(),
        ) {
            Ok(note) => {
                let action = self.post(Arc::new(note));
                self.open(Purpose::Reconfirm, action);
            }
            Err(error) => self.renewal_failed(error),
        }
        true
    }

    pub(crate) fn renewal_ended(&mut self, end: End) {
        let Phase::Renewing(renewing) = &mut self.session.phase else {
            return;
        };
        match end {
            End::Complete if self.link.is_sse() => {}
            End::Complete => {
                let what = format!(
                    "{} did not answer the renewal of the session",
                    self.settings.server
                );
                self.renewal_failed(Error::new(Kind::PeerMisbehaved, what));
            }
            End::Broken(_, Stage::NotSent | Stage::Unanswered)
                if self.now < renewing.since + backoff::PATIENCE =>
            {
                renewing.failures += 1;
                let pause = self.backoff.pause(
                    renewing.failures,
                    backoff::FIRST_PAUSE,
                    backoff::MOST_WHILE_WAITED_FOR,
                );
                renewing.retry_at = Some(self.now + pause);
            }
            End::Broken(error, _) => self.renewal_failed(error),
        }
    }

    pub(crate) fn renewal_refused(&mut self, refusal: Refusal) {
        self.session.phase = Phase::Lost;
        let parked = refusal
            .needs_sign_in
            .is_some_and(|challenge| self.park_all(&challenge));
        if !parked {
            self.renewal_failed(Arc::unwrap_or_clone(refusal.error));
        }
    }

    pub(crate) fn renewal_timed_out(&mut self) {
        let server = &self.settings.server;
        let what = format!("{server} did not answer the renewal of the session in time");
        self.renewal_failed(Error::new(Kind::Timeout, what));
    }

    /// Each request that waits gets one error; the next one tries afresh.
    pub(crate) fn renewal_failed(&mut self, error: Error) {
        self.session.phase = Phase::Lost;
        self.session.id = None;
        self.fail_all_held(&error);
    }

    /// All that waits is answered with this error; waiting notifications are dropped.
    pub(crate) fn fail_all_held(&mut self, error: &Error) {
        for id in self.requests.ids_where(|open| open.state == State::Held) {
            self.fail(&id, error.again());
        }
        self.waiting
            .retain(|waiting| !matches!(waiting, Waiting::Note(..)));
    }

    pub(crate) fn renewed(&mut self) {
        if matches!(self.session.phase, Phase::Reconfirming) {
            self.begin_traffic();
            self.adapter_renewed();
        }
    }
}

/// Whether an error is the answer to this request: it has its id, or says that what was sent is no JSON.
fn is_about(answer: &Message, id: &RequestId) -> bool {
    errors::code(answer) == Some(errors::PARSE_ERROR)
        || matches!(answer.kind(), jsonrpc::Kind::Response { id: answered, .. } if answered == id)
}
