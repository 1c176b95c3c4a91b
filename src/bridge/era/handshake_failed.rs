//! Removes an adapter: the client starts again, or the handshake of the other era was refused too.
//!
//! - Requests that the adapter had open get an error; messages that wait for the handshake are routed again.
//! - If both handshakes were refused, the client gets the first refusal: it is the response to what the client sent. If there is
//!   only one, the next request tries again.
//!
//! Spec: MCP 2026-07-28 basic/versioning (Backward Compatibility).

use std::sync::Arc;
use std::time::Instant;

use crate::bridge::era::adapter::FailureSource;
use crate::bridge::era::{First, Why};
use crate::bridge::{Action, Bridge};
use crate::config::Protocol;
use crate::error::{Error, Kind as ErrorKind};
use crate::jsonrpc::{Kind, Message};
use crate::mcp::version::Era;

impl Bridge {
    /// What the adapter had under way at the server is of no use to another one; requests that wait for it is told.
    pub(crate) fn remove_adapter(&mut self) {
        if !self.is_adapting() {
            return;
        }
        let what = "the client has begun anew before the answer came";
        self.end_subscriptions(what);
        for id in self.requests.ids_where(|open| open.adapted) {
            self.fail(&id, Error::new(ErrorKind::Closing, what));
        }
        self.run_adapter_events();
        self.adapter = None;
        self.leave_session();
        for id in self.requests.ids_where(|open| open.is_own) {
            self.cancel_modern(&id);
        }
    }

    /// The handshake of the other era was refused as well.
    pub(crate) fn give_up(
        &mut self,
        waiting: Vec<(Instant, Message)>,
        why: Message,
        source: FailureSource,
    ) {
        self.remove_adapter();
        if self.must_adapt() {
            for (_, message) in waiting {
                if let Kind::Request { id, .. } = message.kind() {
                    self.out.push_back(Action::Client(why.with_id(id)));
                }
            }
            return;
        }
        self.eras.server = None;
        self.eras.hopeless = true;
        let first = self.eras.first.take();
        let guessed = first.is_none() && self.settings.protocol.finds_out() && !self.link.is_sse();
        if guessed {
            // What was remembered is wrong: the client's own messages are the probe again. A server that was asked and
            // said no is not asked twice.
            self.eras.remembered = None;
            self.eras.hopeless =
                self.settings.protocol == Protocol::Auto && source == FailureSource::Server;
        }
        for (since, message) in waiting {
            let id = match message.kind() {
                Kind::Request { id, .. } => id.clone(),
                Kind::Notification { .. } | Kind::Response { .. } => {
                    self.send_to_server(since, message);
                    continue;
                }
            };
            match &first {
                Some(first) if first.id == id => self.first_refusal_stands(since, message, first),
                Some(_) => self.send_to_server(since, message),
                None if guessed => self.send_to_server(since, message),
                None => self.out.push_back(Action::Client(why.with_id(&id))),
            }
        }
    }

    /// Whether there is no other way to speak to the server, so that the next request tries it afresh.
    fn must_adapt(&mut self) -> bool {
        let only_legacy = self.link.is_sse() || self.settings.protocol == Protocol::Legacy;
        match self.eras.client {
            Some(Era::Modern) if only_legacy => self.adapt_to_legacy(),
            Some(Era::Legacy) if self.settings.protocol == Protocol::Modern => {
                self.adapt_to_modern()
            }
            Some(_) | None => return false,
        }
        true
    }

    fn first_refusal_stands(&mut self, since: Instant, message: Message, first: &First) {
        match &first.why {
            Why::Answered(answer) => self
                .out
                .push_back(Action::Client(answer.with_id(&first.id))),
            Why::Silent => self.send_to_server(since, message),
            Why::Refused(refusal) => {
                let falls_back = self.may_fall_back(refusal.status);
                self.accept_request(since, first.id.clone(), Arc::new(message));
                if falls_back {
                    self.fall_back_to_sse(&first.id, refusal.clone());
                } else {
                    self.respond_refused(&first.id, refusal.clone());
                }
            }
        }
    }
}
