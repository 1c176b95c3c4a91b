//! The simulated client: what it says, and what it is owed.

use std::collections::BTreeMap;

use super::Rng;
use crate::jsonrpc::{Kind, Message, Parsed, RequestId};

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
    /// The next steps of the handshake.
    handshake: u8,
    initialize: Option<RequestId>,
    pub(super) hears: bool,
}

const METHODS: &[&str] = &[
    "tools/list",
    "tools/call",
    "tools/call",
    "ping",
    "resources/read",
    "x/unknown",
];

impl Client {
    pub(super) fn new() -> Client {
        Client {
            hears: true,
            ..Client::default()
        }
    }

    /// The next line.
    pub(super) fn speaks(&mut self, rng: &mut Rng) -> String {
        self.lines += 1;
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
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{{\"n\":{}}}}}",
            self.lines
        )
    }

    fn note(&mut self, method: &str) -> String {
        self.lines += 1;
        let n = self.lines;
        format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{{\"n\":{n}}}}}")
    }

    fn cancel(&mut self, rng: &mut Rng) -> String {
        let id = self.some_owed(rng);
        let id = id.unwrap_or_else(|| RequestId::from_string("nobody"));
        format!("{{\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id}}}}}")
    }

    fn some_owed(&self, rng: &mut Rng) -> Option<RequestId> {
        let owed: Vec<RequestId> = self.owed.keys().cloned().collect();
        (!owed.is_empty()).then(|| rng.pick(&owed))
    }

    fn owes(&self, id: &RequestId) -> bool {
        self.owed.contains_key(id)
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
            Kind::Request { id, .. } => self.owe(id.clone()),
            Kind::Notification { method } if method == "notifications/cancelled" => {
                let params = message.member("params").unwrap_or_default();
                let id = crate::jsonrpc::member(params, "requestId").unwrap_or_default();
                if let Some(owed) = RequestId::from_text(id).and_then(|id| self.owed.get_mut(&id)) {
                    owed.optional = owed.answers;
                }
            }
            _ => {}
        }
    }

    fn owe(&mut self, id: RequestId) {
        self.owed.entry(id).or_default().answers += 1;
    }

    /// An answer came; an error if nobody asked.
    pub(super) fn answered(&mut self, id: &RequestId) -> Result<(), String> {
        if !self.hears {
            return Ok(());
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

    /// What is still owed.
    pub(super) fn unanswered(&self) -> Vec<RequestId> {
        let owed = self.owed.iter();
        owed.filter(|(_, owed)| self.hears && owed.answers > owed.optional)
            .map(|(id, _)| id.clone())
            .collect()
    }
}
