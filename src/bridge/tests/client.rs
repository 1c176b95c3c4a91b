//! The simulated client: what it says, and what it is owed.

use std::collections::{BTreeMap, BTreeSet};

use super::Rng;
use crate::jsonrpc::{self, Kind, Message, Parsed, RequestId};
use crate::mcp::meta;
use crate::mcp::subscriptions::{ACKNOWLEDGED, LISTEN};

/// Answers that must still come for one id.
#[derive(Debug, Default, Clone, Copy)]
struct Owed {
    answers: u32,
    /// As many of them need not come: the request was cancelled.
    optional: u32,
}

#[derive(Default)]
pub(super) struct Client {
    lines: u64,
    owed: BTreeMap<RequestId, Owed>,
    done: Vec<RequestId>,
    /// Its open subscriptions, and whether they are acknowledged.
    listens: BTreeMap<RequestId, bool>,
    /// Those that ended with a result: the end of the stream may follow.
    ended: BTreeSet<RequestId>,
    /// The next steps of the handshake.
    handshake: u8,
    initialize: Option<RequestId>,
    pub(super) hears: bool,
    /// 2026-07-28: no handshake.
    pub(super) modern: bool,
}

const METHODS: &[&str] = &[
    "tools/list",
    "tools/call",
    "tools/call",
    "ping",
    "resources/read",
    "x/unknown",
];

const CAPABILITIES: &str = r#","protocolVersion":"2025-11-25","capabilities":{"roots":{}}"#;
const META: &str = r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"roots":{}}}"#;

impl Client {
    pub(super) fn new(modern: bool) -> Client {
        Client {
            hears: true,
            modern,
            ..Client::default()
        }
    }

    /// The next line.
    pub(super) fn speaks(&mut self, rng: &mut Rng) -> String {
        self.lines += 1;
        if self.modern {
            let line = self.ordinary(rng);
            self.take_note(&line);
            return line;
        }
        let line = match self.handshake {
            0 => {
                self.handshake = if rng.chance(95) { 1 } else { 2 };
                self.request(
                    rng,
                    if self.handshake == 1 {
                        "initialize"
                    } else {
                        "ping"
                    },
                )
            }
            1 if self.initialize.as_ref().is_some_and(|id| self.owes(id)) && rng.chance(90) => {
                self.note("notifications/progress")
            }
            1 => {
                self.handshake = 2;
                self.note("notifications/initialized")
            }
            _ => self.ordinary(rng),
        };
        self.take_note(&line);
        line
    }

    fn ordinary(&mut self, rng: &mut Rng) -> String {
        if self.modern && rng.chance(12) {
            return if rng.chance(70) {
                self.listen(rng)
            } else {
                self.end_listening(rng)
            };
        }
        match rng.below(40) {
            0..20 => {
                let method = rng.pick(METHODS);
                self.request(rng, method)
            }
            20..28 => self.note("notifications/progress"),
            28..33 => self.cancel(rng),
            33 => "{\"id\":".to_owned(),
            34 => format!("{{\"id\":{},\"method\":5}}", self.lines),
            35 => {
                let (one, two) = (self.request(rng, "tools/list"), self.request(rng, "ping"));
                format!("[{one},{two},7,{}]", self.note("notifications/progress"))
            }
            36 => format!(
                "{{\"id\":\"mcp-remote-{}\",\"method\":\"ping\"}}",
                self.lines
            ),
            37 if self.modern => self.request(rng, "server/discover"),
            37 if rng.chance(20) => {
                self.handshake = 1;
                self.request(rng, "initialize")
            }
            38 if rng.chance(20) => self.note("notifications/initialized"),
            _ => "{\"id\":\"srv-0\",\"result\":{}}".to_owned(),
        }
    }

    pub(super) fn request(&mut self, rng: &mut Rng, method: &str) -> String {
        let id = match rng.below(20) {
            0 => self.some_owed(rng),
            1..4 if !self.done.is_empty() => Some(rng.pick(&self.done)),
            _ => None,
        };
        // The response to a second one could not be told from the end of the subscription.
        let id = id.filter(|id| !self.listens.contains_key(id));
        self.lines += 1;
        let fresh = match rng.below(3) {
            0 => RequestId::from_string(&self.lines.to_string()),
            _ => RequestId::from_text(&self.lines.to_string()).unwrap(),
        };
        let id = id.unwrap_or(fresh);
        if method == "initialize" {
            self.initialize = Some(id.clone());
        }
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{{\"n\":{}{}}}}}",
            self.lines,
            if self.modern { META } else { CAPABILITIES }
        )
    }

    /// Opens a subscription, under an id that no other request has.
    pub(super) fn listen(&mut self, rng: &mut Rng) -> String {
        self.lines += 1;
        let (n, fresh) = (self.lines, RequestId::from_text(&self.lines.to_string()));
        let free = self.done.iter().filter(|id| !self.owes(id)).cloned();
        let free: Vec<RequestId> = fresh.into_iter().chain(free).collect();
        let id = rng.pick(&free);
        let filter = rng.pick(&[
            r#"{"toolsListChanged":true}"#,
            r#"{"toolsListChanged":true,"resourceSubscriptions":["file:///a"]}"#,
            r#"{"resourceSubscriptions":["file:///a","file:///b"],"x":1}"#,
            "{}",
        ]);
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{LISTEN}\",\"params\":{{\"n\":{n}{META},\"notifications\":{filter}}}}}"
        )
    }

    /// Cancels one of its subscriptions, if there is one.
    pub(super) fn end_listening(&mut self, rng: &mut Rng) -> String {
        let open: Vec<RequestId> = self.listens.keys().cloned().collect();
        if open.is_empty() {
            self.cancel(rng)
        } else {
            cancelled(&rng.pick(&open))
        }
    }

    pub(super) fn listens(&self) -> bool {
        !self.listens.is_empty()
    }

    fn note(&mut self, method: &str) -> String {
        self.lines += 1;
        let n = self.lines;
        format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{{\"n\":{n}}}}}")
    }

    fn cancel(&mut self, rng: &mut Rng) -> String {
        let id = self.some_owed(rng);
        let id = id.unwrap_or_else(|| RequestId::from_string("nobody"));
        cancelled(&id)
    }

    fn some_owed(&self, rng: &mut Rng) -> Option<RequestId> {
        let owed: Vec<RequestId> = self.owed.keys().cloned().collect();
        (!owed.is_empty()).then(|| rng.pick(&owed))
    }

    fn owes(&self, id: &RequestId) -> bool {
        self.owed.contains_key(id) || self.listens.contains_key(id)
    }

    /// A line is on its way to the bridge.
    pub(super) fn take_note(&mut self, line: &str) {
        match Message::read(line.to_owned()) {
            Ok(Parsed::One(message)) => self.said(&message),
            Ok(Parsed::Batch(parts)) => {
                for part in parts {
                    match part {
                        Ok(message) => self.said(&message),
                        Err(malformed) => self.owe(malformed.id.unwrap_or_else(RequestId::null)),
                    }
                }
            }
            Err(malformed) => self.owe(malformed.id.unwrap_or_else(RequestId::null)),
        }
    }

    fn said(&mut self, message: &Message) {
        match message.kind() {
            Kind::Request { id, method } if method == LISTEN => {
                self.listens.insert(id.clone(), false);
            }
            Kind::Request { id, .. } => self.owe(id.clone()),
            Kind::Notification { method } if method == "notifications/cancelled" => {
                let params = message.member("params").unwrap_or_default();
                let id = crate::jsonrpc::member(params, "requestId").unwrap_or_default();
                let Some(id) = RequestId::from_text(id) else {
                    return;
                };
                if self.listens.remove(&id).is_some() {
                    self.done.push(id);
                } else if let Some(owed) = self.owed.get_mut(&id) {
                    owed.optional = owed.answers;
                }
            }
            _ => {}
        }
    }

    fn owe(&mut self, id: RequestId) {
        self.owed.entry(id).or_default().answers += 1;
    }

    /// A response came; an error if nobody asked.
    pub(super) fn answered(&mut self, id: &RequestId, failed: bool) -> Result<(), String> {
        if !self.hears {
            return Ok(());
        }
        if let Some(acknowledged) = self.listens.remove(id) {
            self.done.push(id.clone());
            if !failed {
                self.ended.insert(id.clone());
            }
            return match failed || acknowledged {
                true => Ok(()),
                false => Err(format!("{id} ended before it was acknowledged")),
            };
        }
        let Some(owed) = self.owed.get_mut(id) else {
            return Err(format!("an answer to {id}, which nobody waits for"));
        };
        owed.answers -= 1;
        owed.optional = owed.optional.min(owed.answers);
        if owed.answers == 0 {
            self.owed.remove(id);
            if id != &RequestId::null() {
                self.done.push(id.clone());
            }
        }
        Ok(())
    }

    /// A notification came; an error if it is not the subscription's turn.
    pub(super) fn told(&mut self, message: &Message, adapted: bool) -> Result<(), String> {
        if !self.hears || !self.modern {
            return match message.text().contains("subscription") {
                true => Err(format!("a legacy client is told {}", message.text())),
                false => Ok(()),
            };
        }
        let (text, method) = (message.text(), message.method().unwrap_or_default());
        let part = |path: &[&str]| jsonrpc::member_at(text, path).and_then(RequestId::from_text);
        if let Some(id) = part(&["params", "requestId"]) {
            return match self.ended.remove(&id) {
                true => Ok(()),
                false => Err(format!("{id} is over, and did not end")),
            };
        }
        let is_change = method.ends_with("/list_changed") || method.ends_with("/updated");
        let Some(id) = part(&["params", "_meta", meta::SUBSCRIPTION_ID]) else {
            // What a server says to a client that it takes for one of its own era is not changed.
            return match is_change && adapted {
                true => Err(format!("of no subscription: {text}")),
                false => Ok(()),
            };
        };
        match self.listens.get_mut(&id) {
            None => Err(format!("a subscription that is not open: {text}")),
            Some(acknowledged) if (method == ACKNOWLEDGED) != *acknowledged => {
                *acknowledged = true;
                Ok(())
            }
            Some(_) => Err(format!("not the time for {text}")),
        }
    }

    /// The subscriptions that nobody ended.
    pub(super) fn unended(&self) -> Vec<RequestId> {
        let open = self.listens.keys().filter(|_| self.hears);
        open.cloned().collect()
    }

    /// What is still owed.
    pub(super) fn unanswered(&self) -> Vec<RequestId> {
        let owed = self.owed.iter();
        owed.filter(|(_, owed)| self.hears && owed.answers > owed.optional)
            .map(|(id, _)| id.clone())
            .collect()
    }
}

fn cancelled(id: &RequestId) -> String {
    format!("{{\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id}}}}}")
}
