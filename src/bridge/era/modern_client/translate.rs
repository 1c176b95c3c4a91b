//! A modern client and a legacy server: each message of one is made one of the other.
//!
//! - One `initialize` on the client's behalf, with its identity and capabilities; `server/discover` is answered from its
//!   result. A lost session is renewed unseen (see `renewal`); log level and subscriptions follow.
//! - Requests lose what only modern servers know; results are completed.
//! - What the server asks for belongs to `parked`, its notifications of changes to `listeners`.
//! - Log messages reach the client only while a request that asked for their level is open.
//!
//! Spec: MCP 2026-07-28 changelog, basic/versioning, server/discover, server/utilities/logging; 2025-11-25 basic/lifecycle.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::bridge::cancelled;
use crate::bridge::era::adapter::{Adapter, News, Step, Steps, Word, wait};
use crate::bridge::era::modern_client::input_required::{Call, Parked, resumes};
use crate::bridge::era::modern_client::subscriptions::Listeners;
use crate::jsonrpc::{self, Kind, Message, RequestId};
use crate::jsonrpc::{notification, request, response};
use crate::mcp::subscriptions::LISTEN;
use crate::mcp::version::{self, Era};
use crate::mcp::{errors, meta, results};

/// The adapter.
#[derive(Debug)]
pub(crate) struct ModernToLegacy {
    phase: Phase,
    made: u64,
    calls: Parked,
    listeners: Listeners,
    /// The result of `initialize`.
    initialized: String,
    /// The level that was last asked for, as a number; lower sees more.
    level: Option<usize>,
    /// Requests made here, and what they are for: the method, and the resource.
    own: HashMap<RequestId, (String, Option<String>)>,
}

#[derive(Debug)]
enum Phase {
    Fresh,
    /// `initialize` is not answered yet; the client's messages wait, since they came.
    Initializing(RequestId, Vec<(Instant, Message)>),
    Ready,
}

impl Adapter for ModernToLegacy {
    fn server_era(&self) -> Era {
        Era::Legacy
    }

    fn client_says(&mut self, now: Instant, message: Message) -> Vec<Step> {
        let mut steps = Steps::default();
        match &mut self.phase {
            Phase::Ready => self.ready_message(now, message, &mut steps),
            Phase::Initializing(_, waiting) => wait(waiting, now, message, &mut steps),
            Phase::Fresh if matches!(message.kind(), Kind::Request { .. }) => {
                self.initialize(now, message, &mut steps)
            }
            // Nothing can be meant by it before the first request.
            Phase::Fresh => {}
        }
        steps.0
    }

    fn hear(&mut self, now: Instant, news: News) -> Vec<Step> {
        let mut steps = Steps::default();
        match news {
            News::Message { message, on } => {
                self.server_message(now, message, on.as_ref(), &mut steps)
            }
            News::Answer { message, word } => {
                let Kind::Response { id, failed } = message.kind().clone() else {
                    return steps.0;
                };
                if matches!(&self.phase, Phase::Initializing(initialize, _) if *initialize == id) {
                    self.handshaken(now, &message, failed, word, &mut steps);
                } else if let Some((method, uri)) = self.own.remove(&id) {
                    if let Some(uri) = uri {
                        self.listeners.asked(&uri);
                        self.watch(&mut steps);
                    }
                    if failed && word == Word::Server {
                        let words = crate::log::clean(&errors::words(&message), 200);
                        steps.0.push(Step::Warn(format!(
                            "the server refused \"{method}\": {words}"
                        )));
                    }
                } else if !self.calls.knows(&id) && !crate::bridge::is_ours(&id) {
                    // It was asked before this adapter stood here.
                    steps.0.push(Step::Client(message));
                } else {
                    self.calls.answered(now, &id, &message, &mut steps);
                    self.deliver(&mut steps);
                }
            }
        }
        steps.0
    }

    fn due(&self) -> Option<Instant> {
        self.calls.due()
    }

    fn is_due(&mut self, now: Instant) -> Vec<Step> {
        let mut steps = Steps::default();
        self.calls.is_due(now, &mut steps);
        steps.0
    }

    fn renewed(&mut self) -> Vec<Step> {
        let mut steps = Steps::default();
        let level = self.level.take();
        self.want_level(level, &mut steps);
        self.listeners.forget_subscribed();
        self.watch(&mut steps);
        self.listeners.missed(&mut steps);
        steps.0
    }

    fn missed(&mut self) -> Vec<Step> {
        let mut steps = Steps::default();
        self.listeners.missed(&mut steps);
        steps.0
    }

    fn is_awaited(&self, wire: &RequestId) -> bool {
        self.calls.is_awaited(wire)
    }

    fn end(&mut self, _why: &str) -> Vec<Step> {
        let mut steps = Steps::default();
        for id in self.listeners.close_all() {
            steps.end_subscription(&id);
        }
        steps.0
    }
}

impl ModernToLegacy {
    pub(crate) fn new(seed: u64) -> ModernToLegacy {
        ModernToLegacy {
            phase: Phase::Fresh,
            made: 0,
            calls: Parked::new(seed),
            listeners: Listeners::default(),
            initialized: String::new(),
            level: None,
            own: HashMap::new(),
        }
    }

    fn own_id(&mut self, what: &str) -> RequestId {
        self.made += 1;
        RequestId::from_string(&format!(
            "{}{what}-l{}",
            crate::bridge::OWN_PREFIX,
            self.made
        ))
    }

    fn initialize(&mut self, now: Instant, first: Message, steps: &mut Steps) {
        let id = self.own_id("initialize");
        let capabilities = meta::read(&first, meta::CLIENT_CAPABILITIES).unwrap_or("{}");
        let info = meta::read(&first, meta::CLIENT_INFO).map_or_else(
            || {
                format!(
                    "{{\"name\":\"mcp-remote\",\"version\":\"{}\"}}",
                    env!("CARGO_PKG_VERSION")
                )
            },
            str::to_owned,
        );
        let params = format!(
            "{{\"protocolVersion\":\"{}\",\"capabilities\":{capabilities},\"clientInfo\":{info}}}",
            version::LATEST_LEGACY
        );
        steps.server(request(&id, "initialize", &params));
        self.phase = Phase::Initializing(id, vec![(now, first)]);
    }

    fn ready_message(&mut self, now: Instant, message: Message, steps: &mut Steps) {
        match message.kind().clone() {
            // A modern client is never asked, so it has nothing to answer.
            Kind::Response { .. } => {}
            Kind::Notification { method } if method == "notifications/cancelled" => {
                let Some(id) = cancelled(&message) else {
                    return;
                };
                if self.listeners.close(&id) {
                    self.watch(steps);
                } else if let Some(wire) = self.calls.cancel(&id) {
                    steps.0.push(Step::Cancel(wire));
                }
            }
            Kind::Notification { .. } => {
                steps.0.push(Step::Server(Arc::new(meta::strip(&message))))
            }
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
        if self.calls.is_open(&id) || self.listeners.is_open(&id) {
            steps.error(
                &id,
                errors::INVALID_REQUEST,
                &format!("request id {id} is already in use"),
            );
            return;
        }
        if let Some(version) = meta::version(message).filter(|version| version != version::MODERN) {
            unsupported(&id, &version, steps);
            return;
        }
        for key in [meta::PROTOCOL_VERSION, meta::CLIENT_CAPABILITIES] {
            if meta::read(message, key).is_none() {
                let what = format!("\"{key}\" is missing in \"_meta\"");
                steps.error(&id, errors::INVALID_PARAMS, &what);
                return;
            }
        }
        let level = meta::read(message, meta::LOG_LEVEL);
        if level.is_some_and(|level| meta::level_number(level).is_none()) {
            steps.error(&id, errors::INVALID_PARAMS, "no such log level");
            return;
        }
        match method {
            "server/discover" => steps.result(&id, &results::discover(&self.initialized)),
            LISTEN => {
                self.listeners.open(&id, message, &self.initialized, steps);
                self.watch(steps);
            }
            _ if can_park(method) && resumes(message) => {
                self.calls.resume(now, id, message, steps);
                self.deliver(steps);
            }
            _ => self.forward(id, method, message, steps),
        }
    }

    fn forward(&mut self, id: RequestId, method: &str, message: &Message, steps: &mut Steps) {
        let level = meta::read(message, meta::LOG_LEVEL).and_then(meta::level_number);
        self.want_level(level, steps);
        // Its stream may stay open beyond the client's id, which is free again once it is asked for input.
        let can_park = can_park(method);
        let wire = if can_park {
            self.own_id("call")
        } else {
            id.clone()
        };
        let plain = meta::strip(message);
        let plain = if can_park {
            plain.with_id(&wire)
        } else {
            plain
        };
        let plain = Arc::new(plain);
        self.calls.begin(
            wire,
            Call::new(id, method, level, message, can_park),
            &plain,
        );
        steps.0.push(Step::Server(plain));
    }

    fn deliver(&mut self, steps: &mut Steps) {
        let info = jsonrpc::member(&self.initialized, "serverInfo");
        self.calls.deliver(info, steps);
    }

    /// The level is the session's at a legacy server: it is set to the least any request asked for.
    fn want_level(&mut self, level: Option<usize>, steps: &mut Steps) {
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
            steps,
        );
    }

    /// A request of our own, whose answer only matters if it is an error.
    fn ask(&mut self, method: &str, params: &str, uri: Option<String>, steps: &mut Steps) {
        let id = self.own_id("own");
        steps.server(request(&id, method, params));
        self.own.insert(id, (method.to_owned(), uri));
    }

    /// Has the server watch what is wanted. Two requests for one resource are not under way at a time: they could arrive
    /// in either order.
    fn watch(&mut self, steps: &mut Steps) {
        for (method, uri) in self.listeners.unasked() {
            let params = format!("{{\"uri\":{}}}", jsonrpc::quoted(&uri));
            self.ask(method, &params, Some(uri), steps);
        }
    }

    fn server_message(
        &mut self,
        now: Instant,
        message: Message,
        on: Option<&RequestId>,
        steps: &mut Steps,
    ) {
        match message.kind().clone() {
            Kind::Response { .. } => {}
            Kind::Request { id, method } if method == "ping" => steps.server(response(&id, "{}")),
            Kind::Request { id, .. } => self.calls.asked(now, id, &message, on, steps),
            Kind::Notification { method } => match method.as_str() {
                "notifications/progress" => self.calls.progress(message, steps),
                "notifications/message" => self.calls.log(message, on, steps),
                "notifications/cancelled" => {
                    if let Some(id) = cancelled(&message) {
                        self.calls.taken_back(&id);
                    }
                }
                "notifications/elicitation/complete" => {}
                _ => {
                    if !self.listeners.message(&method, &message, steps) {
                        steps.0.push(Step::Client(message));
                    }
                }
            },
        }
    }

    fn handshaken(
        &mut self,
        now: Instant,
        answer: &Message,
        failed: bool,
        word: Word,
        steps: &mut Steps,
    ) {
        let Phase::Initializing(_, waiting) = std::mem::replace(&mut self.phase, Phase::Fresh)
        else {
            return;
        };
        if failed && word == Word::Server {
            steps.0.push(Step::GiveUp {
                waiting,
                why: answer.clone(),
                word,
            });
            return;
        }
        if failed {
            for (_, message) in &waiting {
                if let Kind::Request { id, .. } = message.kind() {
                    steps.0.push(Step::Client(answer.with_id(id)));
                }
            }
            return;
        }
        self.initialized = answer.member("result").unwrap_or("{}").to_owned();
        self.phase = Phase::Ready;
        steps.0.push(Step::Settled(Era::Legacy));
        steps.server(notification("notifications/initialized", "{}"));
        for (since, message) in waiting {
            steps.0.push(Step::Since(since));
            self.ready_message(now, message, steps);
        }
    }
}

fn can_park(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

fn unsupported(id: &RequestId, version: &str, steps: &mut Steps) {
    steps.client(format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{},\"message\":\"Unsupported protocol version\",\"data\":{{\"supported\":[\"{}\"],\"requested\":{}}}}}}}",
        errors::UNSUPPORTED_VERSION,
        version::MODERN,
        jsonrpc::quoted(version)
    ));
}
