//! What differs when the server is modern, whichever era the client is of.
//!
//! - Every POST carries the headers that mirror its body. There is no session, no GET, no DELETE and no `Last-Event-ID`.
//! - The server sends no requests and gets no responses. Cancelling closes the stream of the request.
//! - When a stream breaks, its request is lost. A safe request is sent again with a new id, once; others get an error.
//!   `subscriptions/listen` is reopened for as long as the client wants it. The client sees one subscription, and is notified of
//!   every change it may have missed.
//!
//! Spec: MCP 2026-07-28 basic/transports/streamable-http, basic/patterns/cancellation, basic/patterns/subscriptions,
//! changelog (9).

use std::time::Duration;

use crate::bridge::request::table::RequestState;
use crate::bridge::{Bridge, End, ExchangeId, HttpRequest, Purpose, Stage, backoff};
use crate::error::{Error, Kind};
use crate::jsonrpc::{self, Message, RequestId};
use crate::mcp::subscriptions::{self, ACKNOWLEDGED, LISTEN};
use crate::mcp::version::{Era, MODERN};
use crate::mcp::{headers, meta};

/// The first pause before a stream of notifications is opened again.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);
/// After a stream of notifications that stayed open for less, the pauses grow.
pub(crate) const MIN_LISTEN_LIFETIME: Duration = Duration::from_secs(10);

impl Bridge {
    /// Whether the server is spoken to in the modern way.
    pub(crate) fn speaks_modern(&self) -> bool {
        self.adapts_to().or(self.eras.client) == Some(Era::Modern)
    }

    /// The headers that mirror a message.
    pub(crate) fn metadata(&self, action: &HttpRequest) -> Vec<(String, String)> {
        match action {
            HttpRequest::Post { message, .. } if self.speaks_modern() => {
                let mut metadata = headers::of_message(message, Some(MODERN));
                metadata.extend(self.tools.headers(message));
                metadata
            }
            // The probe names its method for whatever routes modern requests; legacy servers ignore it.
            HttpRequest::Post { message, .. }
                if message.method() == Some("initialize") && self.is_detecting_era() =>
            {
                vec![headers::method("initialize")]
            }
            HttpRequest::Post { .. } | HttpRequest::Listen { .. } | HttpRequest::EndSession => {
                Vec::new()
            }
        }
    }

    /// Sends an open request again, as a new one.
    pub(crate) fn send_again(&mut self, id: &RequestId) {
        self.new_wire_id(id);
        self.send_request(id);
    }

    /// The next attempt of a request has an id of its own.
    fn new_wire_id(&mut self, id: &RequestId) {
        let wire = self.own_id("again");
        if let Some(open) = self.requests.find(id) {
            open.wire = Some(wire);
        }
    }

    /// The end of an exchange with a modern server; given back if nothing is special about it.
    pub(crate) fn modern_ended(&mut self, id: &RequestId, end: End) -> Option<End> {
        if !self.speaks_modern()
            || matches!(end, End::Broken(_, Stage::Hopeless))
            || self.is_stopping()
        {
            return Some(end);
        }
        let open = self.requests.find(id)?;
        let method = open.message.method().unwrap_or_default().to_owned();
        let was_sent = !matches!(end, End::Broken(_, Stage::NotSent));
        if method == LISTEN && open.acknowledged {
            let opened_at = open.acknowledged_at.take();
            let lived = opened_at.is_some_and(|at| self.now >= at + MIN_LISTEN_LIFETIME);
            open.failures = if lived { 1 } else { open.failures + 1 };
            let failures = open.failures;
            let pause = self
                .backoff
                .pause(failures, LISTEN_PAUSE, backoff::MAX_STREAM_BACKOFF);
            self.new_wire_id(id);
            if let Some(open) = self.requests.find(id) {
                open.state = RequestState::Paused(self.now + pause);
            }
            return None;
        }
        if !was_sent || matches!((&end, method.as_str()), (End::Complete, LISTEN)) {
            return Some(end);
        }
        let first = open.failures == 0;
        let call = std::sync::Arc::clone(&open.message);
        if first && (backoff::is_safe(&method) || self.tools.may_repeat(&call)) {
            if let Some(open) = self.requests.find(id) {
                open.failures = 1;
                open.state = RequestState::Paused(self.now);
            }
            self.new_wire_id(id);
            return None;
        }
        let End::Broken(error, _) = end else {
            return Some(end);
        };
        if method == "server/discover" {
            // It hangs up on what every modern server knows.
            let what = format!("\"{method}\" was not answered: {}", error.what());
            let error = Error::new(Kind::PeerMisbehaved, what);
            if !self.era_no_response(id, &error) {
                self.fail(id, error);
            }
            return None;
        }
        let what = format!(
            "the answer to \"{method}\" broke off, and it may have been carried out: {}",
            error.what()
        );
        self.fail(id, Error::new(Kind::Network, what));
        None
    }

    /// Cancels a request by closing its stream.
    pub(crate) fn cancel_modern(&mut self, id: &RequestId) {
        let Some(open) = self.requests.remove(id) else {
            return;
        };
        if let RequestState::Running(exchange) = open.state {
            self.cut(exchange);
        }
    }

    /// A notification or request of a modern server, as the client is to see it.
    pub(crate) fn filter_modern_message(
        &mut self,
        exchange: ExchangeId,
        message: Message,
    ) -> Vec<Message> {
        if matches!(message.kind(), jsonrpc::Kind::Request { .. }) {
            let method = crate::log::clean(message.method().unwrap_or_default(), 80);
            self.warn(format!(
                "{} sent a request (\"{method}\"), which its protocol version does not allow; it is ignored",
                self.settings.server
            ));
            return Vec::new();
        }
        let Some(Purpose::Request(id)) = self
            .exchanges
            .get(&exchange)
            .map(|running| &running.purpose)
        else {
            return vec![message];
        };
        let id = id.clone();
        let Some(open) = self.requests.find(&id) else {
            return vec![message];
        };
        if open.message.method() != Some(LISTEN) {
            return vec![message];
        }
        let again = open.wire.is_some();
        let acknowledges = message.method() == Some(ACKNOWLEDGED);
        if acknowledges && open.acknowledged_at.replace(self.now).is_some() {
            // Only the first acknowledgement on a stream means something.
            return Vec::new();
        }
        if acknowledges && std::mem::replace(&mut open.acknowledged, true) {
            // The filter of the client, not the server's: what one message causes stays in proportion.
            let filter = jsonrpc::member_at(open.message.text(), &["params", "notifications"]);
            let missed = subscriptions::missed(filter.unwrap_or("{}"), &id.to_string());
            return missed.into_iter().flat_map(Message::made).collect();
        }
        if acknowledges {
            // No other says so.
            self.server_era_is(Era::Modern);
        }
        if again {
            vec![meta::with(
                &message,
                &[(meta::SUBSCRIPTION_ID, &id.to_string())],
            )]
        } else {
            vec![message]
        }
    }
}
