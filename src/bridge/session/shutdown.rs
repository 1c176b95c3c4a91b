//! Shutdown.
//!
//! - stdin ended: open requests are drained, as long as events keep coming and within a limit; then DELETE; then exit.
//! - A signal: DELETE and exit, without draining.
//! - stdout closed: the same; nobody can read a response.
//! - Requests that are still open get an error.
//!
//! Spec: MCP 2025-11-25 basic/lifecycle (Shutdown), basic/transports (Session Management, 5).

use std::time::{Duration, Instant};

use crate::bridge::{Action, Bridge, HttpRequest, Purpose, Running};
use crate::error::{Error, Kind};
use crate::jsonrpc::{self, Message};

/// How long the DELETE of the session may take.
pub(crate) const END_SESSION_LIMIT: Duration = Duration::from_millis(800);
/// Answers in flight are waited for as long as something is heard this often (the official SDK sends SIGTERM two seconds
/// after it closed stdin)...
const SILENCE_TIMEOUT: Duration = Duration::from_millis(1500);
/// ... and no longer than this.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

const SHUTTING_DOWN: &str = "shutting down before the server responded";

#[derive(Debug)]
pub(crate) struct Shutdown {
    stage: ShutdownStage,
    silent_at: Instant,
    limit: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum ShutdownStage {
    /// Open requests are finished.
    Draining,
    /// Nothing is waited for.
    Leaving,
    /// The session is being ended.
    EndingSession,
    Gone,
}

impl Shutdown {
    pub(crate) fn touched(&mut self, now: Instant) {
        self.silent_at = now + SILENCE_TIMEOUT;
    }
}

impl Bridge {
    /// stdin ended, or a signal came.
    pub(crate) fn close(&mut self, drain: bool) {
        match &mut self.shutdown {
            Some(shutdown) if !drain && shutdown.stage == ShutdownStage::Draining => {
                shutdown.stage = ShutdownStage::Leaving
            }
            Some(_) => {}
            None => {
                let stage = if drain {
                    ShutdownStage::Draining
                } else {
                    ShutdownStage::Leaving
                };
                self.shutdown = Some(Shutdown {
                    stage,
                    silent_at: self.now + SILENCE_TIMEOUT,
                    limit: self.now + DRAIN_LIMIT,
                });
            }
        }
    }

    /// stdout is closed: answers have nowhere to go.
    pub(crate) fn output_closed(&mut self) {
        for id in self.requests.ids_where(|_| true) {
            self.requests.remove(&id);
        }
        self.close(false);
    }

    /// Whether new attempts are pointless.
    pub(crate) fn is_stopping(&self) -> bool {
        self.shutdown
            .as_ref()
            .is_some_and(|shutdown| shutdown.stage != ShutdownStage::Draining)
    }

    pub(crate) fn check_shutdown(&mut self) {
        if self.shutdown.is_none() {
            return;
        }
        let awaited = self.is_awaited();
        let Some(shutdown) = &mut self.shutdown else {
            return;
        };
        let pending = awaited || !self.deliveries.is_empty() || !self.deferred.is_empty();
        let drained = !pending || self.now >= shutdown.silent_at || self.now >= shutdown.limit;
        if shutdown.stage == ShutdownStage::Leaving
            || shutdown.stage == ShutdownStage::Draining && drained
        {
            shutdown.stage = ShutdownStage::EndingSession;
            self.end_everything();
        }
    }

    fn end_everything(&mut self) {
        self.end_subscriptions("shutting down before the client responded");
        for id in self.requests.ids_where(|_| true) {
            self.fail(&id, Error::new(Kind::Closing, SHUTTING_DOWN));
        }
        self.run_adapter_events();
        self.deferred.clear();
        self.deliveries.clear();
        self.stop_get_stream();
        if self.session.id.is_some() && !self.link.is_sse() {
            self.open(Purpose::EndSession, HttpRequest::EndSession);
        } else {
            self.session_ended();
        }
    }

    /// A line that came after the decision to leave: a request is answered, the rest has nowhere to go.
    pub(crate) fn refuse_while_shutting_down(&mut self, message: &Message) {
        if let jsonrpc::Kind::Request { id, .. } = message.kind() {
            let error = Error::new(Kind::Closing, SHUTTING_DOWN);
            self.out.push_back(Action::Respond(error.to_json_rpc(id)));
        }
    }

    pub(crate) fn session_ended(&mut self) {
        // An earlier session may have been ended a moment ago, too.
        let is_ending = |running: &Running| running.purpose == Purpose::EndSession;
        if let Some(shutdown) = &mut self.shutdown
            && shutdown.stage == ShutdownStage::EndingSession
            && !self.exchanges.values().any(is_ending)
        {
            shutdown.stage = ShutdownStage::Gone;
            self.out.push_back(Action::Exit);
        }
    }

    pub(crate) fn shutdown_due(&self) -> Option<Instant> {
        let shutdown = self.shutdown.as_ref()?;
        (shutdown.stage == ShutdownStage::Draining).then(|| shutdown.silent_at.min(shutdown.limit))
    }
}
