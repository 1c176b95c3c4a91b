//! The way out.
//!
//! - stdin ended: what is open is finished, as long as news keeps coming and within a bound; then DELETE; then exit.
//! - A signal: no draining; DELETE; exit.
//! - stdout closed: nobody hears an answer; DELETE; exit.
//! - Whatever is still open then is answered with an error.
//!
//! Spec: MCP 2025-11-25 basic/lifecycle (Shutdown), basic/transports (Session Management, 5).

use std::time::{Duration, Instant};

use crate::bridge::{Action, Bridge, Output, Purpose};
use crate::error::{Error, Kind};
use crate::jsonrpc::{self, Message};

/// How long the DELETE of the session may take.
pub(crate) const END_SESSION_LIMIT: Duration = Duration::from_millis(800);
/// Answers in flight are waited for as long as something is heard this often (the official SDK sends SIGTERM two seconds
/// after it closed stdin)...
const SILENCE: Duration = Duration::from_millis(1500);
/// ... and no longer than this.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

const LEAVING: &str = "mcp-remote is leaving: the answer did not come in time";

#[derive(Debug)]
pub(crate) struct Closing {
    stage: Stage,
    silent_at: Instant,
    limit: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Open requests are finished.
    Draining,
    /// Nothing is waited for.
    Leaving,
    /// The session is being ended.
    EndingSession,
    Gone,
}

impl Closing {
    pub(crate) fn touched(&mut self, now: Instant) {
        self.silent_at = now + SILENCE;
    }
}

impl Bridge {
    /// stdin ended, or a signal came.
    pub(crate) fn close(&mut self, drain: bool) {
        match &mut self.closing {
            Some(closing) if !drain && closing.stage == Stage::Draining => {
                closing.stage = Stage::Leaving
            }
            Some(_) => {}
            None => {
                let stage = if drain {
                    Stage::Draining
                } else {
                    Stage::Leaving
                };
                self.closing = Some(Closing {
                    stage,
                    silent_at: self.now + SILENCE,
                    limit: self.now + DRAIN_LIMIT,
                });
            }
        }
    }

    /// stdout is closed: answers have nowhere to go.
    pub(crate) fn close_unheard(&mut self) {
        for id in self.requests.ids_where(|_| true) {
            self.requests.remove(&id);
        }
        self.close(false);
    }

    /// Whether new attempts are pointless.
    pub(crate) fn is_stopping(&self) -> bool {
        self.closing
            .as_ref()
            .is_some_and(|closing| closing.stage != Stage::Draining)
    }

    pub(crate) fn check_closing(&mut self) {
        if self.closing.is_none() {
            return;
        }
        let awaited = self.is_awaited();
        let Some(closing) = &mut self.closing else {
            return;
        };
        let pending = awaited || !self.deliveries.is_empty() || !self.waiting.is_empty();
        let drained = !pending || self.now >= closing.silent_at || self.now >= closing.limit;
        if closing.stage == Stage::Leaving || closing.stage == Stage::Draining && drained {
            closing.stage = Stage::EndingSession;
            self.leave();
        }
    }

    fn leave(&mut self) {
        self.end_subscriptions("mcp-remote is leaving: the client did not answer in time");
        for id in self.requests.ids_where(|_| true) {
            self.fail(&id, Error::new(Kind::Closing, LEAVING));
        }
        self.tell_adapter();
        self.waiting.clear();
        self.deliveries.clear();
        self.stop_standing();
        if self.session.id.is_some() && !self.link.is_sse() {
            self.open(Purpose::EndSession, Action::EndSession);
        } else {
            self.session_ended();
        }
    }

    /// A line that came after the decision to leave: a request is answered, the rest has nowhere to go.
    pub(crate) fn answer_leaving(&mut self, message: &Message) {
        if let jsonrpc::Kind::Request { id, .. } = message.kind() {
            let error = Error::new(Kind::Closing, LEAVING);
            self.out.push_back(Output::Answer(error.to_json_rpc(id)));
        }
    }

    pub(crate) fn session_ended(&mut self) {
        if let Some(closing) = &mut self.closing
            && closing.stage == Stage::EndingSession
        {
            closing.stage = Stage::Gone;
            self.out.push_back(Output::Exit);
        }
    }

    pub(crate) fn closing_due(&self) -> Option<Instant> {
        let closing = self.closing.as_ref()?;
        (closing.stage == Stage::Draining).then(|| closing.silent_at.min(closing.limit))
    }
}
