//! Translates between a legacy client and a modern server.
//!
//! - `initialize` gets its response from `server/discover`. Each request is stamped with the client's identity, capabilities and
//!   log level.
//! - The adapter itself responds to `ping` and `logging/setLevel`, and drops `notifications/initialized` and
//!   `notifications/roots/list_changed`. `subscriptions` handles `resources/subscribe`, `input_required` the requests for input.
//! - Results lose what legacy revisions do not know.
//!
//! Spec: MCP 2026-07-28 changelog, basic/index (`_meta`), server/discover, server/utilities/logging; 2025-11-25
//! basic/lifecycle.

use std::sync::Arc;
use std::time::Instant;

use super::input_required::RoundOutcome;
use super::{ForwardedRequest, Handshake, LegacyToModern};
use crate::bridge::cancelled;
use crate::bridge::era::adapter::{Adapter, AdapterAction, AdapterActions, AdapterEvent, wait};
use crate::error::{Error, Kind as ErrorKind};
use crate::jsonrpc::{self, Kind, Message, RequestId};
use crate::mcp::results::{self, ResultType};
use crate::mcp::version::{self, Era};
use crate::mcp::{errors, meta};

impl Adapter for LegacyToModern {
    fn server_era(&self) -> Era {
        Era::Modern
    }

    fn client_sent(&mut self, now: Instant, message: Message) -> Vec<AdapterAction> {
        let mut actions = AdapterActions::default();
        let is_initialize = message.method() == Some("initialize");
        match &mut self.handshake {
            Handshake::Discovering(_, waiting) => wait(waiting, now, message, &mut actions),
            Handshake::Fresh | Handshake::Ready if is_initialize => {
                self.discover(now, message, &mut actions)
            }
            Handshake::Fresh | Handshake::Ready => self.ready_message(now, message, &mut actions),
        }
        actions.0
    }

    fn handle_event(&mut self, now: Instant, news: AdapterEvent) -> Vec<AdapterAction> {
        let mut actions = AdapterActions::default();
        match news {
            AdapterEvent::Message { message, on } => match &on {
                Some(on) if self.subscriptions.is_stream(on) => {
                    self.subscriptions.message(on, &message, &mut actions)
                }
                Some(_) | None => actions.0.push(AdapterAction::Client(message)),
            },
            AdapterEvent::Response { message, source } => {
                let Kind::Response { id, failed } = message.kind().clone() else {
                    return actions.0;
                };
                if matches!(&self.handshake, Handshake::Discovering(discover, _) if *discover == id)
                {
                    self.discovered(now, &message, failed, source, &mut actions);
                } else if self.subscriptions.is_stream(&id) {
                    self.subscriptions
                        .ended(now, &id, &message, failed, &mut actions);
                } else if let Some(call) = self.open.remove(&id) {
                    self.answered(now, call, &message, &mut actions);
                } else if !crate::bridge::is_ours(&id) {
                    // It was asked before this adapter stood here.
                    actions.0.push(AdapterAction::Client(message));
                }
            }
        }
        actions.0
    }

    fn due(&self) -> Option<Instant> {
        [self.rounds.due(), self.subscriptions.due()]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_due(&mut self, now: Instant) -> Vec<AdapterAction> {
        let mut actions = AdapterActions::default();
        for (id, what) in self.rounds.expired(now, &mut actions) {
            actions.error(&id, errors::INTERNAL_ERROR, &what);
        }
        if self.subscriptions.is_due(now, &mut actions) {
            self.listen(now, &mut actions);
        }
        actions.0
    }

    fn asks(&self) -> bool {
        self.asks && matches!(self.handshake, Handshake::Discovering(..))
    }

    fn end(&mut self, why: &str) -> Vec<AdapterAction> {
        let mut actions = AdapterActions::default();
        for id in self.rounds.ids() {
            actions.client(Error::new(ErrorKind::Closing, why).to_json_rpc(&id));
        }
        actions.0
    }
}

impl LegacyToModern {
    pub(super) fn own_id(&mut self, what: &str) -> RequestId {
        self.made += 1;
        RequestId::from_string(&format!(
            "{}{what}-m{}",
            crate::bridge::OWN_PREFIX,
            self.made
        ))
    }

    pub(super) fn stamped(&self, message: &Message) -> Message {
        let version = jsonrpc::quoted(version::MODERN);
        let mut keys = vec![
            (meta::PROTOCOL_VERSION, version.as_str()),
            (meta::CLIENT_CAPABILITIES, &self.identity.capabilities),
        ];
        keys.extend(
            self.identity
                .info
                .as_deref()
                .map(|info| (meta::CLIENT_INFO, info)),
        );
        keys.extend(
            self.identity
                .log_level
                .as_deref()
                .map(|level| (meta::LOG_LEVEL, level)),
        );
        meta::with(message, &keys)
    }

    pub(super) fn ready_message(
        &mut self,
        now: Instant,
        message: Message,
        actions: &mut AdapterActions,
    ) {
        match message.kind().clone() {
            Kind::Response { id, .. } => {
                let asked = self.rounds.answered(&id, &message, actions);
                self.continue_round(asked, actions);
            }
            Kind::Notification { method } => match method.as_str() {
                "notifications/initialized" => self.listen(now, actions),
                "notifications/cancelled" => self.cancel(&message, actions),
                // Modern servers know no notifications of a client.
                "notifications/roots/list_changed" | "notifications/progress" => {}
                _ => actions
                    .0
                    .push(AdapterAction::Server(Arc::new(self.stamped(&message)))),
            },
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
        if self.is_open(&id) {
            actions.error(
                &id,
                errors::INVALID_REQUEST,
                &format!("request id {id} is already in use"),
            );
            return;
        }
        let uri =
            || jsonrpc::member_at(message.text(), &["params", "uri"]).and_then(jsonrpc::string);
        match method {
            "ping" => actions.result(&id, "{}"),
            "logging/setLevel" => {
                let level = jsonrpc::member_at(message.text(), &["params", "level"]);
                match level.filter(|level| meta::level_number(level).is_some()) {
                    Some(level) => {
                        self.identity.log_level = Some(level.to_owned());
                        actions.result(&id, "{}");
                    }
                    None => actions.error(&id, errors::INVALID_PARAMS, "unknown log level"),
                }
            }
            "resources/subscribe" | "resources/unsubscribe" => match uri() {
                None => actions.error(&id, errors::INVALID_PARAMS, "\"uri\" is missing"),
                Some(uri) => {
                    let wanted = method == "resources/subscribe";
                    if self.subscriptions.set(id, uri, wanted, actions) {
                        self.listen(now, actions);
                    }
                }
            },
            _ => {
                let sent = Arc::new(self.stamped(message));
                let asks = matches!(method, "tools/call" | "prompts/get" | "resources/read");
                let call = ForwardedRequest {
                    id: id.clone(),
                    method: method.to_owned(),
                    sent: asks.then(|| Arc::clone(&sent)),
                    rounds: 0,
                };
                self.open.insert(id, call);
                actions.0.push(AdapterAction::Server(sent));
            }
        }
    }

    fn is_open(&self, id: &RequestId) -> bool {
        self.open.values().any(|call| &call.id == id)
            || self.rounds.is_open(id)
            || self.subscriptions.awaits(id)
    }

    fn cancel(&mut self, message: &Message, actions: &mut AdapterActions) {
        let Some(id) = cancelled(message) else {
            return;
        };
        self.rounds.cancel(&id, actions);
        self.subscriptions.cancel(&id);
        let leg = self
            .open
            .iter()
            .find(|(_, call)| call.id == id)
            .map(|(leg, _)| leg.clone());
        if let Some(leg) = leg {
            self.open.remove(&leg);
            actions.0.push(AdapterAction::Cancel(leg));
        }
    }

    fn listen(&mut self, now: Instant, actions: &mut AdapterActions) {
        let id = self.own_id("listen");
        if let Some(text) = self.subscriptions.open(now, &id, actions)
            && let Ok(message) = Message::made(text)
        {
            actions
                .0
                .push(AdapterAction::Server(Arc::new(self.stamped(&message))));
        }
    }

    /// What a round of questions led to.
    fn continue_round(&mut self, asked: RoundOutcome, actions: &mut AdapterActions) {
        match asked {
            RoundOutcome::Waits => {}
            RoundOutcome::Failed(id, code, what) => actions.error(&id, code, &what),
            RoundOutcome::Lacks(id, what, lacked) => actions.missing(&id, &what, &lacked.json()),
            RoundOutcome::Again(call, params) => {
                let Some(sent) = &call.sent else {
                    return;
                };
                let leg = RequestId::from_string(&format!(
                    "{}round-m{}",
                    crate::bridge::OWN_PREFIX,
                    self.made + 1
                ));
                self.made += 1;
                let again = sent.with_id(&leg).with_member("params", &params);
                self.open.insert(leg, call);
                actions.0.push(AdapterAction::Server(Arc::new(again)));
            }
        }
    }

    fn answered(
        &mut self,
        now: Instant,
        call: ForwardedRequest,
        answer: &Message,
        actions: &mut AdapterActions,
    ) {
        match results::result_type(answer) {
            ResultType::Complete => {
                let plain = results::for_legacy_client(&call.method, answer);
                actions
                    .0
                    .push(AdapterAction::Client(plain.with_id(&call.id)));
            }
            ResultType::InputRequired => {
                let asked = self.rounds.ask(now, call, answer, actions);
                self.continue_round(asked, actions);
            }
            ResultType::Other(name) => {
                let name = crate::log::clean(&name, 80);
                let what = format!(
                    "the server's answer is of the type \"{name}\", which a client of this version does not know"
                );
                actions.error(&call.id, errors::INTERNAL_ERROR, &what);
            }
        }
    }
}
