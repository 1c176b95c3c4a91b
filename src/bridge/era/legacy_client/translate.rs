//! A legacy client and a modern server: each message of one is made one of the other.
//!
//! - `initialize` is answered from `server/discover`; each request is stamped with the client's identity, capabilities and
//!   log level.
//! - `ping` and `logging/setLevel` are answered here; `notifications/initialized` and `notifications/roots/list_changed`
//!   end here. `resources/subscribe` belongs to `subscriptions`, `input_required` to `mrtr`.
//! - Results lose what legacy revisions do not know.
//!
//! Spec: MCP 2026-07-28 changelog, basic/index (`_meta`), server/discover, server/utilities/logging; 2025-11-25
//! basic/lifecycle.

use std::sync::Arc;
use std::time::Instant;

use super::input_required::Asked;
use super::{Call, LegacyToModern, Phase};
use crate::bridge::cancelled;
use crate::bridge::era::adapter::{Adapter, News, Step, Steps, wait};
use crate::error::{Error, Kind as ErrorKind};
use crate::jsonrpc::{self, Kind, Message, RequestId};
use crate::mcp::results::{self, ResultType};
use crate::mcp::version::{self, Era};
use crate::mcp::{errors, meta};

impl Adapter for LegacyToModern {
    fn server_era(&self) -> Era {
        Era::Modern
    }

    fn client_says(&mut self, now: Instant, message: Message) -> Vec<Step> {
        let mut steps = Steps::default();
        let is_initialize = message.method() == Some("initialize");
        match &mut self.phase {
            Phase::Discovering(_, waiting) => wait(waiting, now, message, &mut steps),
            Phase::Fresh | Phase::Ready if is_initialize => self.discover(now, message, &mut steps),
            Phase::Fresh | Phase::Ready => self.ready_message(now, message, &mut steps),
        }
        steps.0
    }

    fn hear(&mut self, now: Instant, news: News) -> Vec<Step> {
        let mut steps = Steps::default();
        match news {
            News::Message { message, on } => match &on {
                Some(on) if self.subscriptions.is_stream(on) => {
                    self.subscriptions.message(on, &message, &mut steps)
                }
                Some(_) | None => steps.0.push(Step::Client(message)),
            },
            News::Answer { message, word } => {
                let Kind::Response { id, failed } = message.kind().clone() else {
                    return steps.0;
                };
                if matches!(&self.phase, Phase::Discovering(discover, _) if *discover == id) {
                    self.discovered(now, &message, failed, word, &mut steps);
                } else if self.subscriptions.is_stream(&id) {
                    self.subscriptions
                        .ended(now, &id, &message, failed, &mut steps);
                } else if let Some(call) = self.open.remove(&id) {
                    self.answered(now, call, &message, &mut steps);
                } else if !crate::bridge::is_ours(&id) {
                    // It was asked before this adapter stood here.
                    steps.0.push(Step::Client(message));
                }
            }
        }
        steps.0
    }

    fn due(&self) -> Option<Instant> {
        [self.rounds.due(), self.subscriptions.due()]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_due(&mut self, now: Instant) -> Vec<Step> {
        let mut steps = Steps::default();
        for (id, what) in self.rounds.expired(now, &mut steps) {
            steps.error(&id, errors::INTERNAL_ERROR, &what);
        }
        if self.subscriptions.is_due(now, &mut steps) {
            self.listen(now, &mut steps);
        }
        steps.0
    }

    fn asks(&self) -> bool {
        self.asks && matches!(self.phase, Phase::Discovering(..))
    }

    fn end(&mut self, why: &str) -> Vec<Step> {
        let mut steps = Steps::default();
        for id in self.rounds.ids() {
            steps.client(Error::new(ErrorKind::Closing, why).to_json_rpc(&id));
        }
        steps.0
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

    pub(super) fn ready_message(&mut self, now: Instant, message: Message, steps: &mut Steps) {
        match message.kind().clone() {
            Kind::Response { id, .. } => {
                let asked = self.rounds.answered(&id, &message, steps);
                self.go_on(asked, steps);
            }
            Kind::Notification { method } => match method.as_str() {
                "notifications/initialized" => self.listen(now, steps),
                "notifications/cancelled" => self.cancel(&message, steps),
                // Modern servers know no notifications of a client.
                "notifications/roots/list_changed" | "notifications/progress" => {}
                _ => steps.0.push(Step::Server(Arc::new(self.stamped(&message)))),
            },
            Kind::Request { id, method } => self.ready_request(now, id, &method, &message, steps),
        }
    }

    fn ready_request(
        &mut self,
        now: Instant,
        id: RequestId,
        method: &str,
        message: &Message,
        steps: &mut Steps,
    ) {
        if self.is_open(&id) {
            steps.error(
                &id,
                errors::INVALID_REQUEST,
                &format!("request id {id} is already in use"),
            );
            return;
        }
        let uri =
            || jsonrpc::member_at(message.text(), &["params", "uri"]).and_then(jsonrpc::string);
        match method {
            "ping" => steps.result(&id, "{}"),
            "logging/setLevel" => {
                let level = jsonrpc::member_at(message.text(), &["params", "level"]);
                match level.filter(|level| meta::level_number(level).is_some()) {
                    Some(level) => {
                        self.identity.log_level = Some(level.to_owned());
                        steps.result(&id, "{}");
                    }
                    None => steps.error(&id, errors::INVALID_PARAMS, "no such log level"),
                }
            }
            "resources/subscribe" | "resources/unsubscribe" => match uri() {
                None => steps.error(&id, errors::INVALID_PARAMS, "\"uri\" is missing"),
                Some(uri) => {
                    let wanted = method == "resources/subscribe";
                    if self.subscriptions.set(id, uri, wanted, steps) {
                        self.listen(now, steps);
                    }
                }
            },
            _ => {
                let sent = Arc::new(self.stamped(message));
                let asks = matches!(method, "tools/call" | "prompts/get" | "resources/read");
                let call = Call {
                    id: id.clone(),
                    method: method.to_owned(),
                    sent: asks.then(|| Arc::clone(&sent)),
                    rounds: 0,
                };
                self.open.insert(id, call);
                steps.0.push(Step::Server(sent));
            }
        }
    }

    fn is_open(&self, id: &RequestId) -> bool {
        self.open.values().any(|call| &call.id == id)
            || self.rounds.is_open(id)
            || self.subscriptions.awaits(id)
    }

    fn cancel(&mut self, message: &Message, steps: &mut Steps) {
        let Some(id) = cancelled(message) else {
            return;
        };
        self.rounds.cancel(&id, steps);
        self.subscriptions.cancel(&id);
        let leg = self
            .open
            .iter()
            .find(|(_, call)| call.id == id)
            .map(|(leg, _)| leg.clone());
        if let Some(leg) = leg {
            self.open.remove(&leg);
            steps.0.push(Step::Cancel(leg));
        }
    }

    fn listen(&mut self, now: Instant, steps: &mut Steps) {
        let id = self.own_id("listen");
        if let Some(text) = self.subscriptions.open(now, &id, steps)
            && let Ok(message) = Message::made(text)
        {
            steps.0.push(Step::Server(Arc::new(self.stamped(&message))));
        }
    }

    /// What a round of questions led to.
    fn go_on(&mut self, asked: Asked, steps: &mut Steps) {
        match asked {
            Asked::Waits => {}
            Asked::Failed(id, code, what) => steps.error(&id, code, &what),
            Asked::Lacks(id, what, lacked) => steps.missing(&id, &what, &lacked.json()),
            Asked::Again(call, params) => {
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
                steps.0.push(Step::Server(Arc::new(again)));
            }
        }
    }

    fn answered(&mut self, now: Instant, call: Call, answer: &Message, steps: &mut Steps) {
        match results::result_type(answer) {
            ResultType::Complete => {
                let plain = results::for_legacy_client(&call.method, answer);
                steps.0.push(Step::Client(plain.with_id(&call.id)));
            }
            ResultType::InputRequired => {
                let asked = self.rounds.ask(now, call, answer, steps);
                self.go_on(asked, steps);
            }
            ResultType::Other(name) => {
                let name = crate::log::clean(&name, 80);
                let what = format!(
                    "the server's answer is of the type \"{name}\", which a client of this version does not know"
                );
                steps.error(&call.id, errors::INTERNAL_ERROR, &what);
            }
        }
    }
}
