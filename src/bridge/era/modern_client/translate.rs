//! Translates between a modern client and a legacy server.
//!
//! - The adapter sends one `initialize` on behalf of the client, and responds to `server/discover` from its result. A lost session
//!   is opened again unseen; log level and subscriptions follow.
//! - Requests lose what only modern servers know; results are completed.
//! - `input_required` handles the requests of the server, `subscriptions` its notifications of changes.
//! - The client gets log messages only while a request that asked for their level is open.
//!
//! Spec: MCP 2026-07-28 changelog, basic/versioning, server/discover, server/utilities/logging; 2025-11-25 basic/lifecycle.

use std::sync::Arc;
use std::time::Instant;

use super::{Handshake, ModernToLegacy};
use crate::bridge::cancelled;
use crate::bridge::era::adapter::{
    Adapter, AdapterAction, AdapterActions, AdapterEvent, FailureSource, wait,
};
use crate::bridge::era::modern_client::input_required::{ForwardedRequest, resumes};
use crate::jsonrpc::{self, Kind, Message, RequestId};
use crate::jsonrpc::{request, response};
use crate::mcp::subscriptions::LISTEN;
use crate::mcp::version::{self, Era};
use crate::mcp::{errors, meta, results};

impl Adapter for ModernToLegacy {
    fn server_era(&self) -> Era {
        Era::Legacy
    }

    fn client_sent(&mut self, now: Instant, message: Message) -> Vec<AdapterAction> {
        let mut actions = AdapterActions::default();
        match &mut self.handshake {
            Handshake::Ready => self.ready_message(now, message, &mut actions),
            Handshake::Initializing(_, waiting) => wait(waiting, now, message, &mut actions),
            Handshake::Fresh if matches!(message.kind(), Kind::Request { .. }) => {
                self.initialize(now, message, &mut actions)
            }
            // Nothing can be meant by it before the first request.
            Handshake::Fresh => {}
        }
        actions.0
    }

    fn handle_event(&mut self, now: Instant, news: AdapterEvent) -> Vec<AdapterAction> {
        let mut actions = AdapterActions::default();
        match news {
            AdapterEvent::Message { message, on } => {
                self.server_message(now, message, on.as_ref(), &mut actions)
            }
            AdapterEvent::Response { message, source } => {
                let Kind::Response { id, failed } = message.kind().clone() else {
                    return actions.0;
                };
                if matches!(&self.handshake, Handshake::Initializing(initialize, _) if *initialize == id)
                {
                    self.handshaken(now, &message, failed, source, &mut actions);
                } else if let Some((method, uri)) = self.own.remove(&id) {
                    if let Some(uri) = uri {
                        self.subscriptions.request_done(&uri);
                        self.watch(&mut actions);
                    }
                    if failed && source == FailureSource::Server {
                        let words = crate::log::clean(&errors::words(&message), 200);
                        actions.0.push(AdapterAction::Warn(format!(
                            "the server refused \"{method}\": {words}"
                        )));
                    }
                } else if !self.calls.knows(&id) && !crate::bridge::is_ours(&id) {
                    // It was asked before this adapter stood here.
                    actions.0.push(AdapterAction::Client(message));
                } else {
                    self.calls.answered(now, &id, &message, &mut actions);
                    self.deliver(&mut actions);
                }
            }
        }
        actions.0
    }

    fn due(&self) -> Option<Instant> {
        self.calls.due()
    }

    fn is_due(&mut self, now: Instant) -> Vec<AdapterAction> {
        let mut actions = AdapterActions::default();
        self.calls.is_due(now, &mut actions);
        actions.0
    }

    fn reinitialized(&mut self) -> Vec<AdapterAction> {
        let mut actions = AdapterActions::default();
        let level = self.level.take();
        self.want_level(level, &mut actions);
        self.subscriptions.forget_subscribed();
        self.watch(&mut actions);
        self.subscriptions.missed(&mut actions);
        actions.0
    }

    fn missed(&mut self) -> Vec<AdapterAction> {
        let mut actions = AdapterActions::default();
        self.subscriptions.missed(&mut actions);
        actions.0
    }

    fn is_awaited(&self, wire: &RequestId) -> bool {
        self.calls.is_awaited(wire)
    }

    fn end(&mut self, _why: &str) -> Vec<AdapterAction> {
        let mut actions = AdapterActions::default();
        for id in self.subscriptions.close_all() {
            actions.end_subscription(&id);
        }
        actions.0
    }
}

impl ModernToLegacy {
    pub(super) fn own_id(&mut self, what: &str) -> RequestId {
        self.made += 1;
        RequestId::from_string(&format!(
            "{}{what}-l{}",
            crate::bridge::OWN_PREFIX,
            self.made
        ))
    }

    pub(super) fn ready_message(
        &mut self,
        now: Instant,
        message: Message,
        actions: &mut AdapterActions,
    ) {
        match message.kind().clone() {
            // A modern client is never asked, so it has nothing to answer.
            Kind::Response { .. } => {}
            Kind::Notification { method } if method == "notifications/cancelled" => {
                let Some(id) = cancelled(&message) else {
                    return;
                };
                if self.subscriptions.close(&id) {
                    self.watch(actions);
                } else if let Some(wire) = self.calls.cancel(&id) {
                    actions.0.push(AdapterAction::Cancel(wire));
                }
            }
            Kind::Notification { .. } => actions
                .0
                .push(AdapterAction::Server(Arc::new(meta::strip(&message)))),
            Kind::Request { id, method } => self.ready_request(now, id, &method, &message, actions),
        }
    }

    fn ready_request(
        &mut self,
        now: Instant,
        id: RequestId,
        method: &str,
        message: &Message,
        actions: &mut AdapterActions,
    ) {
        if self.calls.is_open(&id) || self.subscriptions.is_open(&id) {
            actions.error(
                &id,
                errors::INVALID_REQUEST,
                &format!("request id {id} is already in use"),
            );
            return;
        }
        if let Some(version) = meta::version(message).filter(|version| version != version::MODERN) {
            unsupported(&id, &version, actions);
            return;
        }
        for key in [meta::PROTOCOL_VERSION, meta::CLIENT_CAPABILITIES] {
            if meta::read(message, key).is_none() {
                let what = format!("\"{key}\" is missing in \"_meta\"");
                actions.error(&id, errors::INVALID_PARAMS, &what);
                return;
            }
        }
        let level = meta::read(message, meta::LOG_LEVEL);
        if level.is_some_and(|level| meta::level_number(level).is_none()) {
            actions.error(&id, errors::INVALID_PARAMS, "unknown log level");
            return;
        }
        match method {
            "server/discover" => actions.result(&id, &results::discover(&self.initialized)),
            LISTEN => {
                self.subscriptions
                    .open(&id, message, &self.initialized, actions);
                self.watch(actions);
            }
            _ if can_suspend(method) && resumes(message) => {
                self.calls.resume(now, id, message, actions);
                self.deliver(actions);
            }
            _ => self.forward(id, method, message, actions),
        }
    }

    fn forward(
        &mut self,
        id: RequestId,
        method: &str,
        message: &Message,
        actions: &mut AdapterActions,
    ) {
        let level = meta::read(message, meta::LOG_LEVEL).and_then(meta::level_number);
        self.want_level(level, actions);
        // Its stream may stay open beyond the client's id, which is free again once it is asked for input.
        let can_suspend = can_suspend(method);
        let wire = if can_suspend {
            self.own_id("call")
        } else {
            id.clone()
        };
        let plain = meta::strip(message);
        let plain = if can_suspend {
            plain.with_id(&wire)
        } else {
            plain
        };
        let plain = Arc::new(plain);
        self.calls.begin(
            wire,
            ForwardedRequest::new(id, method, level, message, can_suspend),
            &plain,
        );
        actions.0.push(AdapterAction::Server(plain));
    }

    fn deliver(&mut self, actions: &mut AdapterActions) {
        let info = jsonrpc::member(&self.initialized, "serverInfo");
        self.calls.deliver(info, actions);
    }

    /// The level is the session's at a legacy server: it is set to the least any request asked for.
    fn want_level(&mut self, level: Option<usize>, actions: &mut AdapterActions) {
        let offers = jsonrpc::member_at(&self.initialized, &["capabilities", "logging"]).is_some();
        let Some(level) =
            level.filter(|level| offers && self.level.is_none_or(|known| *level < known))
        else {
            return;
        };
        self.level = Some(level);
        let name = meta::LEVELS.get(level).unwrap_or(&"info");
        self.ask(
            "logging/setLevel",
            &format!("{{\"level\":\"{name}\"}}"),
            None,
            actions,
        );
    }

    /// A request of our own, whose answer only matters if it is an error.
    fn ask(
        &mut self,
        method: &str,
        params: &str,
        uri: Option<String>,
        actions: &mut AdapterActions,
    ) {
        let id = self.own_id("own");
        actions.server(request(&id, method, params));
        self.own.insert(id, (method.to_owned(), uri));
    }

    /// Has the server watch what is wanted. Two requests for one resource are not under way at a time: they could arrive
    /// in either order.
    fn watch(&mut self, actions: &mut AdapterActions) {
        for (method, uri) in self.subscriptions.next_requests() {
            let params = format!("{{\"uri\":{}}}", jsonrpc::quoted(&uri));
            self.ask(method, &params, Some(uri), actions);
        }
    }

    fn server_message(
        &mut self,
        now: Instant,
        message: Message,
        on: Option<&RequestId>,
        actions: &mut AdapterActions,
    ) {
        match message.kind().clone() {
            Kind::Response { .. } => {}
            Kind::Request { id, method } if method == "ping" => actions.server(response(&id, "{}")),
            Kind::Request { id, .. } => self.calls.asked(now, id, &message, on, actions),
            Kind::Notification { method } => match method.as_str() {
                "notifications/progress" => self.calls.progress(message, actions),
                "notifications/message" => self.calls.log(message, on, actions),
                "notifications/cancelled" => {
                    if let Some(id) = cancelled(&message) {
                        self.calls.taken_back(&id);
                    }
                }
                "notifications/elicitation/complete" => {}
                _ => {
                    if !self.subscriptions.message(&method, &message, actions) {
                        actions.0.push(AdapterAction::Client(message));
                    }
                }
            },
        }
    }
}

fn can_suspend(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

fn unsupported(id: &RequestId, version: &str, actions: &mut AdapterActions) {
    actions.client(format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{},\"message\":\"Unsupported protocol version\",\"data\":{{\"supported\":[\"{}\"],\"requested\":{}}}}}}}",
        errors::UNSUPPORTED_VERSION,
        version::MODERN,
        jsonrpc::quoted(version)
    ));
}
