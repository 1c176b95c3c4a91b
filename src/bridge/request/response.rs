//! The response of an open request: where it may come from, and what becomes of it.
//!
//! - It is the one with the request's id, on its own exchange, on the exchange of another request that is still open, or on the
//!   stream for server messages. On a stream whose own request has its response nothing counts: a late duplicate must not respond
//!   to a later request with the same id.
//! - A number that the server spelled differently counts too, and so does an error without an id on the request's own exchange.
//! - A request that was accepted with 202 may get its response on the GET stream.
//!
//! Spec: JSON-RPC 2.0 section 5; MCP 2025-11-25 basic/transports (Sending Messages to the Server), basic/utilities/ping.

use std::time::Instant;

use crate::bridge::era::adapter::FailureSource;
use crate::bridge::request::table::RequestState;
use crate::bridge::{Action, Bridge, ExchangeId, LINGER_TIMEOUT, Limit, Purpose};
use crate::error::{Error, Kind};
use crate::jsonrpc::{self, Message, RequestId};

impl Bridge {
    pub(crate) fn server_response(
        &mut self,
        exchange: ExchangeId,
        id: &RequestId,
        failed: bool,
        message: Message,
    ) {
        if self.own_response(id, failed, &message) {
            return;
        }
        match self.request_responded_to(exchange, id, failed) {
            Some(request) => self.complete(&request, message, failed),
            None => self.debug(format!(
                "dropped a response to {id}, which is not an open request"
            )),
        }
    }

    /// The open request that a response with this id on this exchange is for.
    fn request_responded_to(
        &self,
        exchange: ExchangeId,
        id: &RequestId,
        failed: bool,
    ) -> Option<RequestId> {
        let own = match &self.exchanges.get(&exchange)?.purpose {
            Purpose::Request(own) | Purpose::Resume(own) => Some(own),
            Purpose::GetStream | Purpose::SseStream => None,
            _ => return None,
        };
        if own.is_some_and(|own| !self.requests.is_served_by(own, exchange)) {
            return None;
        }
        if self.requests.is_sent(id) {
            return Some(id.clone());
        }
        match own {
            Some(own) => {
                let counts = failed || id.is_respelled(own) || self.requests.has_wire_id(own, id);
                counts.then(|| own.clone())
            }
            None => self.requests.sent_respelled(id),
        }
    }

    /// Completes an open request with its response.
    pub(crate) fn complete(&mut self, id: &RequestId, message: Message, failed: bool) {
        let message = if message.kind()
            == &(crate::jsonrpc::Kind::Response {
                id: id.clone(),
                failed,
            }) {
            message
        } else {
            message.with_id(id)
        };
        let Some(open) = self.requests.find(id) else {
            return;
        };
        // Before anything looks at the response: each way to the client starts here.
        let is_tool_list = open.message.method() == Some("tools/list");
        let message = if is_tool_list {
            self.filter.filter(message)
        } else {
            message
        };
        if failed && self.answer_early_ping(id)
            || self.era_response(id, &message)
            || failed && self.refresh_for(id, &message)
        {
            return;
        }
        let Some(open) = self.requests.remove(id) else {
            return;
        };
        let message = if is_tool_list {
            self.note_tools(message)
        } else {
            message
        };
        self.session_response(id, failed, &message);
        if let RequestState::Running(exchange) = open.state
            && let Some(running) = self.exchanges.get_mut(&exchange)
        {
            running.limit = Some((self.now + LINGER_TIMEOUT, Limit::Linger));
        }
        if !self.refreshed(id, Some(&message)) {
            self.answer(message, FailureSource::Server, open.adapted);
        }
    }

    /// Responds to a `ping` that the server refused before `initialize`; whether it was one. Clients may send it, and many
    /// servers refuse every request without a session.
    pub(crate) fn answer_early_ping(&mut self, id: &RequestId) -> bool {
        let is_early = self.session.is_fresh() && !self.speaks_modern();
        let Some(open) = self.requests.find(id).filter(|_| is_early) else {
            return false;
        };
        if open.message.method() != Some("ping") {
            return false;
        }
        self.requests.remove(id);
        self.out
            .push_back(Action::Respond(jsonrpc::response(id, "{}")));
        true
    }

    /// Some servers accept a request with 202 and send the response on the GET stream.
    pub(crate) fn await_on_get_stream(&mut self, id: &RequestId, until: Option<Instant>) {
        if let Some(open) = self.requests.find(id) {
            open.state = RequestState::AwaitsGetStream(until);
        }
    }

    pub(crate) fn has_get_stream(&self) -> bool {
        let mut running = self.exchanges.values();
        running.any(|running| running.purpose == Purpose::GetStream)
    }

    /// Requests that wait for a response on the GET stream fail when the stream is gone, or after their limit.
    pub(crate) fn fail_without_get_stream(&mut self) {
        let is_open = self.has_get_stream();
        for id in self.requests.ids_where(|open| match open.state {
            RequestState::AwaitsGetStream(until) => {
                !is_open || until.is_some_and(|at| at <= self.now)
            }
            _ => false,
        }) {
            self.request_never_responded_to(&id);
        }
    }

    pub(crate) fn request_never_responded_to(&mut self, id: &RequestId) {
        if self.answer_early_ping(id) {
            return;
        }
        let Some(open) = self.requests.find(id) else {
            return;
        };
        let method = open.message.method().unwrap_or_default();
        let server = &self.settings.server;
        let what = format!("{server} accepted \"{method}\" without ever answering it");
        let error = Error::new(Kind::PeerMisbehaved, what);
        if !self.era_no_response(id, &error) {
            self.fail(id, error);
        }
    }
}
