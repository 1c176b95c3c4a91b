//! The adapters under random schedules.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::bridge::era::adapter::{Adapter as _, AdapterAction, AdapterEvent, FailureSource};
use crate::bridge::era::legacy_client::LegacyToModern;
use crate::bridge::era::modern_client::ModernToLegacy;
use crate::jsonrpc::{self, Kind, Message, RequestId};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"sampling":{},"elicitation":{"url":{},"form":{}},"roots":{}}"#;
const CAPABILITIES: &str = r#""capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"logging":{}}"#;

fn parse(text: &str) -> Message {
    Message::parse(text).unwrap_or_else(|_| panic!("no message: {text}"))
}

fn id_of(message: &Message) -> RequestId {
    match message.kind() {
        Kind::Request { id, .. } | Kind::Response { id, .. } => id.clone(),
        Kind::Notification { .. } => panic!("{} has no id", message.text()),
    }
}

fn param(message: &Message, path: &[&str]) -> Option<String> {
    let path: Vec<&str> = std::iter::once("params")
        .chain(path.iter().copied())
        .collect();
    jsonrpc::member_at(message.text(), &path).map(str::to_owned)
}

fn answer(id: &RequestId, body: &str) -> AdapterEvent {
    AdapterEvent::Response {
        message: parse(&format!(r#"{{"jsonrpc":"2.0","id":{id},{body}}}"#)),
        source: FailureSource::Server,
    }
}

/// xorshift64*
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())].clone())
    }
}

/// Either adapter.
enum Adapter {
    ToModern(LegacyToModern),
    ToLegacy(ModernToLegacy),
}

/// An adapter between a client and a server that do anything they may.
struct World {
    adapter: Adapter,
    dice: Dice,
    now: Instant,
    made: u64,
    /// The client's requests: how often each was answered, and whether it was cancelled or is a subscription.
    asked: HashMap<RequestId, (u32, bool)>,
    open: Vec<RequestId>,
    /// What the client is asked: requests, or (state, keys) of a round.
    questions: Vec<RequestId>,
    rounds: Vec<(String, Vec<String>)>,
    /// The server's open requests, and its own questions: how often each was answered.
    at_server: Vec<Message>,
    server_asked: HashMap<RequestId, u32>,
    /// How often the client was asked something.
    played: usize,
}

impl World {
    fn new(adapter: Adapter, seed: u64) -> World {
        let mut world = World {
            adapter,
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            now: Instant::now(),
            made: 0,
            asked: HashMap::new(),
            open: Vec::new(),
            questions: Vec::new(),
            rounds: Vec::new(),
            at_server: Vec::new(),
            server_asked: HashMap::new(),
            played: 0,
        };
        if world.to_modern() {
            world.request("initialize", r#""protocolVersion":"2025-06-18","clientInfo":{"name":"c","version":"1"},"capabilities":{"sampling":{},"elicitation":{"url":{},"form":{}},"roots":{"listChanged":true}}"#);
            world.client(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
            world.serve(&format!(r#""result":{{"resultType":"complete","supportedVersions":["2026-07-28"],{CAPABILITIES}}}"#));
        } else {
            world.request("server/discover", "");
            world.serve(&format!(r#""result":{{"protocolVersion":"2025-11-25",{CAPABILITIES},"serverInfo":{{"name":"s","version":"1"}}}}"#));
        }
        assert!(world.open.is_empty(), "the handshake is answered");
        world
    }

    fn to_modern(&self) -> bool {
        matches!(self.adapter, Adapter::ToModern(_))
    }

    fn client(&mut self, text: &str) {
        let (now, message) = (self.now, parse(text));
        let actions = match &mut self.adapter {
            Adapter::ToModern(adapter) => adapter.client_sent(now, message),
            Adapter::ToLegacy(adapter) => adapter.client_sent(now, message),
        };
        self.carry_out(actions);
    }

    fn request(&mut self, method: &str, params: &str) {
        self.made += 1;
        let id = RequestId::from_text(&self.made.to_string()).unwrap();
        self.asked
            .insert(id.clone(), (0, method == "subscriptions/listen"));
        self.open.push(id.clone());
        let comma = if params.is_empty() { "" } else { "," };
        let params = match self.to_modern() {
            true => params.to_owned(),
            false => format!("{META}}}{comma}{params}"),
        };
        self.client(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}"#
        ));
    }

    fn handle_event(&mut self, news: AdapterEvent) {
        let now = self.now;
        let actions = match &mut self.adapter {
            Adapter::ToModern(adapter) => adapter.handle_event(now, news),
            Adapter::ToLegacy(adapter) => adapter.handle_event(now, news),
        };
        self.carry_out(actions);
    }

    fn note(&mut self, text: &str, on: Option<RequestId>) {
        let message = parse(text);
        self.handle_event(AdapterEvent::Message { message, on });
    }

    /// The server answers its oldest request.
    fn serve(&mut self, body: &str) {
        let asked = self.at_server.remove(0);
        self.handle_event(answer(&id_of(&asked), body));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        let actions = match &mut self.adapter {
            Adapter::ToModern(adapter) => adapter.is_due(now),
            Adapter::ToLegacy(adapter) => adapter.is_due(now),
        };
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Vec<AdapterAction>) {
        for action in actions {
            match action {
                AdapterAction::Client(message) => self.client_hears(&message),
                AdapterAction::Server(message) => self.server_hears(&message),
                AdapterAction::Cancel(id) => self.at_server.retain(|message| id_of(message) != id),
                AdapterAction::Since(_) | AdapterAction::Warn(_) | AdapterAction::EraKnown(_) => {}
                AdapterAction::GiveUp { why, .. } => panic!("gives up: {}", why.text()),
            }
        }
    }

    fn client_hears(&mut self, message: &Message) {
        let (text, modern) = (message.text(), !self.to_modern());
        if !modern {
            for foreign in [
                "io.modelcontextprotocol/",
                "resultType",
                "ttlMs",
                "cacheScope",
                "subscriptions/",
                "inputRequests",
                "requestState",
            ] {
                assert!(!text.contains(foreign), "{foreign}: {text}");
            }
        }
        match message.kind() {
            Kind::Request { id, method } => {
                assert!(!modern, "a modern client was asked: {text}");
                assert!(
                    ["sampling/createMessage", "elicitation/create", "roots/list"]
                        .contains(&method.as_str())
                );
                self.played += 1;
                self.questions.push(id.clone());
            }
            Kind::Notification { method } if method == "notifications/cancelled" => {
                let id = param(message, &["requestId"]).and_then(|id| RequestId::from_text(&id));
                self.questions.retain(|open| Some(open) != id.as_ref());
            }
            Kind::Notification { .. } => {}
            Kind::Response { id, failed } => {
                let (times, without_answer) = self.asked.get_mut(id).expect("the client asked");
                *times += 1;
                assert!(*times == 1 && !*without_answer, "answered: {text}");
                self.open.retain(|open| open != id);
                assert!(
                    !modern || *failed || text.contains("\"resultType\""),
                    "{text}"
                );
                let part = |name| jsonrpc::member_at(text, &["result", name]);
                if let (Some(state), Some(requests)) = (part("requestState"), part("inputRequests"))
                {
                    let keys = jsonrpc::members(requests).into_iter().map(|(key, _)| key);
                    self.played += 1;
                    self.rounds.push((state.to_owned(), keys.collect()));
                }
            }
        }
    }

    fn server_hears(&mut self, message: &Message) {
        let (text, modern) = (message.text(), self.to_modern());
        let method = message.method().unwrap_or_default();
        let foreign: &[&str] = match modern {
            true => &[
                "initialize",
                "ping",
                "logging/setLevel",
                "resources/subscribe",
                "resources/unsubscribe",
                "notifications/initialized",
                "notifications/roots/list_changed",
            ],
            false => &["server/discover", "subscriptions/listen"],
        };
        assert!(!foreign.contains(&method), "{text}");
        if !modern {
            for foreign in [
                "io.modelcontextprotocol/",
                "resultType",
                "inputResponses",
                "requestState",
            ] {
                assert!(!text.contains(foreign), "{foreign}: {text}");
            }
        }
        match message.kind() {
            Kind::Request { id, .. } => {
                assert!(
                    !modern || text.contains("io.modelcontextprotocol/protocolVersion"),
                    "{text}"
                );
                assert!(
                    self.at_server.iter().all(|open| id_of(open) != *id),
                    "{id} is twice at the server"
                );
                self.at_server.push(message.clone());
            }
            Kind::Response { id, .. } => {
                assert!(!modern, "a modern server is answered: {text}");
                *self.server_asked.get_mut(id).expect("the server asked") += 1;
            }
            Kind::Notification { .. } => {}
        }
    }

    /// One random thing.
    fn action(&mut self) {
        match self.dice.below(12) {
            0..4 => self.client_step(),
            4 | 5 => self.client_answers(),
            6 => {
                if let Some(id) = self.dice.pick(&self.open.clone()) {
                    self.asked
                        .entry(id.clone())
                        .and_modify(|asked| asked.1 = true);
                    self.open.retain(|open| *open != id);
                    self.client(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#));
                }
            }
            7 => {
                let time = self.dice.below(700);
                self.pass(Duration::from_millis(time as u64 * time as u64));
            }
            _ => self.server_step(),
        }
    }

    fn client_step(&mut self) {
        let legacy = self.to_modern();
        match self.dice.below(8) {
            0 => self.request("tools/list", ""),
            1 => self.request("resources/read", r#""uri":"file:///a""#),
            2 if legacy => self.request("ping", ""),
            3 if legacy => self.request("logging/setLevel", r#""level":"info""#),
            4 if legacy => self.request("resources/subscribe", r#""uri":"file:///a""#),
            5 if legacy => self.request("resources/unsubscribe", r#""uri":"file:///a""#),
            2 => self.request("subscriptions/listen", r#""notifications":{"toolsListChanged":true,"resourceSubscriptions":["file:///a"]}"#),
            3 => self.request("server/discover", ""),
            _ => self.request("tools/call", r#""name":"a","arguments":{}"#),
        }
    }

    fn client_answers(&mut self) {
        if let Some(id) = self.dice.pick(&self.questions.clone()) {
            self.questions.retain(|open| *open != id);
            let body = self.dice.pick(&[
                r#""result":{}"#,
                r#""result":{"roots":[]}"#,
                r#""error":{"code":-1,"message":"no"}"#,
            ]);
            self.client(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},{}}}"#,
                body.unwrap()
            ));
        }
        if !self.rounds.is_empty() {
            let at = self.dice.below(self.rounds.len());
            let (state, keys) = self.rounds.remove(at);
            let answers: Vec<String> = keys.iter().map(|key| format!("\"{key}\":{{}}")).collect();
            self.request(
                "tools/call",
                &format!(
                    r#""name":"a","arguments":{{}},"requestState":{state},"inputResponses":{{{}}}"#,
                    answers.join(",")
                ),
            );
        }
    }

    fn server_step(&mut self) {
        let Some(on) = self.dice.pick(&self.at_server.clone()) else {
            return;
        };
        let (id, method) = (id_of(&on), on.method().unwrap_or_default().to_owned());
        let modern = self.to_modern();
        if method == "subscriptions/listen" {
            let meta = format!(r#""_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}"#);
            let filter = param(&on, &["notifications"]).unwrap();
            return match self.dice.below(4) {
                0 => self.note(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{{{meta}}}}}"#), Some(id)),
                1 => self.finish(&id, &format!(r#""result":{{"resultType":"complete",{meta}}}"#)),
                _ => self.note(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{{meta},"notifications":{filter}}}}}"#), Some(id)),
            };
        }
        let stream = (self.dice.below(2) == 0).then(|| id.clone());
        let asks = matches!(method.as_str(), "tools/call" | "resources/read");
        match self.dice.below(8) {
            0 => self.note(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#, Some(id)),
            1 if !modern => self.note(r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///a"}}"#, None),
            2 => self.finish(&id, r#""error":{"code":-32002,"message":"no"}"#),
            3 | 4 if modern && asks => self.finish(&id, r#""result":{"resultType":"input_required","requestState":"s","inputRequests":{"a":{"method":"roots/list"},"b":{"method":"elicitation/create","params":{"mode":"url","url":"https://a.test","message":"m"}}}}"#),
            3 if asks => self.finish(&id, r#""error":{"code":-32042,"message":"m","data":{"elicitations":[{"mode":"url","url":"https://a.test","message":"m","elicitationId":"e"}]}}"#),
            4 | 5 if !modern => {
                self.made += 1;
                let question = RequestId::from_string(&format!("q{}", self.made));
                self.server_asked.insert(question.clone(), 0);
                self.note(&format!(r#"{{"jsonrpc":"2.0","id":{question},"method":"roots/list"}}"#), stream);
            }
            _ if modern && method == "tools/call" => self.finish(
                &id,
                r#""result":{"resultType":"complete","content":[]}"#,
            ),
            _ if modern => self.finish(
                &id,
                r#""result":{"resultType":"complete","tools":[],"contents":[],"ttlMs":0,"cacheScope":"public"}"#,
            ),
            _ => self.finish(&id, r#""result":{"content":[]}"#),
        }
    }

    fn finish(&mut self, id: &RequestId, body: &str) {
        self.at_server.retain(|open| id_of(open) != *id);
        self.handle_event(answer(id, body));
    }

    /// Everybody does what is left to do; then nothing may be open.
    fn http_is_confirmed(&mut self) {
        for _ in 0..300 {
            self.client_answers();
            self.pass(Duration::from_secs(6));
            let open = |world: &World| {
                let calls = world.at_server.iter();
                calls.map(id_of).next()
            };
            if let Some(id) = open(self) {
                self.finish(&id, r#""result":{"resultType":"complete"}"#);
            }
        }
        self.pass(Duration::from_secs(700));
        for (id, (times, without)) in &self.asked {
            assert!(
                *times == 1 || *without,
                "request {id} was answered {times} times"
            );
        }
        for (id, times) in &self.server_asked {
            assert!(*times <= 1, "question {id} was answered {times} times");
        }
    }
}

#[test]
fn whatever_client_and_server_do_each_request_is_answered_once_and_nothing_of_the_other_era_leaks()
{
    let mut played = [0, 0];
    for seed in 1..400 {
        let adapter = match seed % 2 {
            0 => Adapter::ToModern(LegacyToModern::new("s".to_owned(), false)),
            _ => Adapter::ToLegacy(ModernToLegacy::new(seed)),
        };
        let mut world = World::new(adapter, seed);
        for _ in 0..120 {
            world.action();
        }
        world.http_is_confirmed();
        played[usize::from(world.to_modern())] += world.played;
    }
    assert!(played.iter().all(|played| *played > 500), "{played:?}");
}
