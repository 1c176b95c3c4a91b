//! The requests of a modern client at a legacy server, some of them suspended until the client has given input.
//!
//! - A request of the server becomes an `input_required` result of an open request. Its `requestState` names the suspended
//!   request, which stays open at the server. The client's retry brings the input and resumes it.
//! - A question that is not on the stream of a request belongs to the request that was sent last.
//! - A response that comes while the request is suspended is kept for the retry. A `URLElicitationRequired` error becomes a round
//!   too, after which the request is sent again.
//! - The number of suspended requests, their bytes and their time are limited.
//!
//! Spec: MCP 2026-07-28 basic/patterns/mrtr, basic/patterns/progress, server/utilities/logging; 2025-11-25
//! client/elicitation, client/sampling, client/roots.

mod questions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bridge::era::adapter::{AdapterAction, AdapterActions};
use crate::jsonrpc::response;
use crate::jsonrpc::{self, Message, RequestId};
use crate::mcp::capabilities::Capabilities;
use crate::mcp::{errors, meta, results};

/// The requests at the server, by the id they have there.
#[derive(Debug)]
pub(crate) struct SuspendedRequests {
    open: BTreeMap<RequestId, ForwardedRequest>,
    prefix: String,
    made: u64,
}

/// A request at the server.
#[derive(Debug)]
pub(crate) struct ForwardedRequest {
    /// The id the client waits under; none while it is suspended.
    id: Option<RequestId>,
    method: String,
    number: u64,
    level: Option<usize>,
    can_suspend: bool,
    capabilities: Capabilities,
    /// What the server asked for, and the client has not declared.
    lacked: Capabilities,
    /// The progress token the server knows, and the one the client knows now.
    wire_token: Option<String>,
    token: Option<String>,
    /// What the server asks and the client was not told yet; what it was told.
    questions: Vec<Question>,
    asked: Vec<Question>,
    ask_at: Option<Instant>,
    /// The `requestState` it is suspended under.
    state: String,
    suspended_until: Option<Instant>,
    /// The response that came while nobody waited.
    answer: Option<Message>,
    /// What is sent again after the round, where the server closed the request with its question.
    again: Option<Arc<Message>>,
    sent: Option<Arc<Message>>,
}

/// A question of the server.
#[derive(Debug)]
struct Question {
    /// The id the server waits under; none if it was an error's.
    id: Option<RequestId>,
    key: String,
    /// Method and params, as members of the round.
    text: String,
}

/// Questions that come together are asked together.
const GATHER_TIME: Duration = Duration::from_millis(10);
/// How long the user may take.
const INPUT_TIMEOUT: Duration = Duration::from_secs(600);
/// More exchanges are not suspended.
const MAX_PARKED: usize = 64;
/// More bytes are not kept for those that are suspended.
const MAX_BYTES: usize = 64 << 20;
/// More questions are not kept for a request.
const MAX_QUESTIONS: usize = 16;

impl ForwardedRequest {
    pub(crate) fn new(
        id: RequestId,
        method: &str,
        level: Option<usize>,
        message: &Message,
        can_suspend: bool,
    ) -> ForwardedRequest {
        let token = jsonrpc::member_at(message.text(), &["params", "_meta", "progressToken"])
            .map(str::to_owned);
        ForwardedRequest {
            id: Some(id),
            method: method.to_owned(),
            number: 0,
            level,
            can_suspend,
            capabilities: Capabilities::read(
                meta::read(message, meta::CLIENT_CAPABILITIES).unwrap_or("{}"),
            ),
            lacked: Capabilities::default(),
            wire_token: token.clone(),
            token,
            questions: Vec::new(),
            asked: Vec::new(),
            ask_at: None,
            state: String::new(),
            suspended_until: None,
            answer: None,
            again: None,
            sent: None,
        }
    }

    fn is_suspended(&self) -> bool {
        self.id.is_none()
    }

    /// What is kept for it.
    fn bytes(&self) -> usize {
        let sent = self.sent.as_ref().map_or(0, |sent| sent.text().len());
        let answer = self.answer.as_ref().map_or(0, |answer| answer.text().len());
        let questions = self.questions.iter().chain(&self.asked);
        sent + answer + questions.map(|question| question.text.len()).sum::<usize>()
    }
}

impl SuspendedRequests {
    pub(crate) fn new(seed: u64) -> SuspendedRequests {
        SuspendedRequests {
            open: BTreeMap::new(),
            // Another instance's state is not mistaken for one of ours.
            prefix: format!("{}suspended-{seed:x}-", crate::bridge::OWN_PREFIX),
            made: 0,
        }
    }

    /// A request goes to the server.
    pub(crate) fn begin(
        &mut self,
        wire: RequestId,
        mut call: ForwardedRequest,
        sent: &Arc<Message>,
    ) {
        self.made += 1;
        call.number = self.made;
        call.sent = call.can_suspend.then(|| Arc::clone(sent));
        self.open.insert(wire, call);
    }

    pub(crate) fn is_open(&self, id: &RequestId) -> bool {
        self.open.values().any(|call| call.id.as_ref() == Some(id))
    }

    /// Whether a request has this id at the server.
    pub(crate) fn knows(&self, wire: &RequestId) -> bool {
        self.open.contains_key(wire)
    }

    /// Whether a client waits for this request.
    pub(crate) fn is_awaited(&self, wire: &RequestId) -> bool {
        self.open.get(wire).is_some_and(|call| !call.is_suspended())
    }

    /// The client cancels a request; gives the id it has at the server.
    pub(crate) fn cancel(&mut self, id: &RequestId) -> Option<RequestId> {
        let found = self
            .open
            .iter()
            .find(|(_, call)| call.id.as_ref() == Some(id));
        let wire = found.map(|(wire, _)| wire.clone())?;
        self.open.remove(&wire);
        Some(wire)
    }

    /// The server does not want to know any more.
    pub(crate) fn taken_back(&mut self, id: &RequestId) {
        for call in self.open.values_mut() {
            call.questions
                .retain(|question| question.id.as_ref() != Some(id));
            call.asked
                .retain(|question| question.id.as_ref() != Some(id));
        }
    }

    /// The client's retry: its answers go to the server, and it waits under a new id. One that belongs to nothing known here is
    /// refused: sent as a new call, it would be carried out twice.
    pub(crate) fn resume(
        &mut self,
        now: Instant,
        id: RequestId,
        message: &Message,
        actions: &mut AdapterActions,
    ) {
        let state = state(message).unwrap_or_default();
        let found = self
            .open
            .iter()
            .find(|(_, call)| call.is_suspended() && call.state == state);
        let wire = found.map(|(wire, _)| wire.clone());
        let Some((wire, mut call)) = wire.and_then(|wire| self.open.remove_entry(&wire)) else {
            let what =
                "this requestState is not known any more: the request it belonged to is over";
            actions.error(&id, errors::INVALID_PARAMS, what);
            return;
        };
        let answers =
            jsonrpc::member_at(message.text(), &["params", "inputResponses"]).unwrap_or("{}");
        let fresh = ForwardedRequest::new(id, &call.method, None, message, call.can_suspend);
        call.id = fresh.id;
        call.token = fresh.token;
        call.capabilities = fresh.capabilities;
        call.lacked = fresh.lacked;
        call.level = meta::read(message, meta::LOG_LEVEL).and_then(meta::level_number);
        call.suspended_until = None;
        let mut missing = Vec::new();
        for question in std::mem::take(&mut call.asked) {
            match (jsonrpc::member(answers, &question.key), &question.id) {
                (Some(answer), Some(asked)) => actions.server(response(asked, answer)),
                (Some(_), None) => {}
                (None, _) => missing.push(question),
            }
        }
        missing.append(&mut call.questions);
        call.questions = missing;
        if !call.questions.is_empty() {
            call.ask_at = Some(now);
        }
        match (call.questions.is_empty(), call.again.take()) {
            (true, Some(again)) => {
                let wire = RequestId::from_string(&format!("{}again-{}", self.prefix, self.made));
                self.made += 1;
                let again = Arc::new(again.with_id(&wire));
                call.wire_token = sent_token(&again);
                actions.0.push(AdapterAction::Server(Arc::clone(&again)));
                self.begin(wire, call, &again);
            }
            (false, again) => {
                call.again = again;
                self.open.insert(wire, call);
            }
            (true, None) => {
                self.open.insert(wire, call);
            }
        }
    }

    fn suspended_bytes(&self) -> usize {
        let suspended = self.open.values().filter(|call| call.is_suspended());
        suspended.map(ForwardedRequest::bytes).sum()
    }

    /// The server's answer to a request.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        wire: &RequestId,
        answer: &Message,
        actions: &mut AdapterActions,
    ) {
        let Some(mut call) = self.open.remove(wire) else {
            return;
        };
        if call.can_suspend
            && errors::code(answer) == Some(errors::URL_ELICITATION)
            && self.ask_urls(&mut call, answer)
        {
            call.ask_at = Some(now);
            self.open.insert(wire.clone(), call);
        } else {
            call.answer = Some(if call.is_suspended() {
                answer.clone().released()
            } else {
                answer.clone()
            });
            self.open.insert(wire.clone(), call);
            self.give_up(now, actions);
        }
    }

    /// Progress goes to requests that wait now, under the token it named last.
    pub(crate) fn progress(&self, message: Message, actions: &mut AdapterActions) {
        let token = jsonrpc::member_at(message.text(), &["params", "progressToken"]);
        let call = self
            .open
            .values()
            .find(|call| token.is_some() && call.wire_token.as_deref() == token);
        let Some((call, params)) = call
            .filter(|call| !call.is_suspended())
            .zip(message.member("params"))
        else {
            return;
        };
        match &call.token {
            Some(now) if call.token != call.wire_token => {
                let params = jsonrpc::replace_member(params, "progressToken", now);
                actions.0.push(AdapterAction::Client(
                    message.with_member("params", &params),
                ));
            }
            Some(_) => actions.0.push(AdapterAction::Client(message)),
            None => {}
        }
    }

    /// A log message goes to the client if a request that is open asked for its level.
    pub(crate) fn log(
        &self,
        message: Message,
        on: Option<&RequestId>,
        actions: &mut AdapterActions,
    ) {
        let level =
            jsonrpc::member_at(message.text(), &["params", "level"]).and_then(meta::level_number);
        let wants = |call: &ForwardedRequest| {
            !call.is_suspended()
                && call
                    .level
                    .is_some_and(|least| level.is_none_or(|level| level >= least))
        };
        let wanted = match on.and_then(|on| self.open.get(on)) {
            Some(call) => wants(call),
            None => self.open.values().any(wants),
        };
        if wanted {
            actions.0.push(AdapterAction::Client(message));
        }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        let times = self
            .open
            .values()
            .flat_map(|call| [call.ask_at, call.suspended_until]);
        times.flatten().min()
    }

    /// Delivers the responses that somebody waits for.
    pub(crate) fn deliver(&mut self, info: Option<&str>, actions: &mut AdapterActions) {
        let ready = |(wire, call): (&RequestId, &ForwardedRequest)| {
            (!call.is_suspended() && call.answer.is_some()).then(|| wire.clone())
        };
        let wires: Vec<RequestId> = self.open.iter().filter_map(ready).collect();
        for wire in wires {
            if let Some(call) = self.open.remove(&wire) {
                deliver(call, info, actions);
            }
        }
    }
}

fn deliver(call: ForwardedRequest, info: Option<&str>, actions: &mut AdapterActions) {
    if let (Some(id), Some(answer)) = (call.id, call.answer) {
        let full = match answer.member("error") {
            // The server may well go on without; this one says that it cannot.
            Some(error) if !call.lacked.is_empty() => {
                answer.with_member("error", &errors::missing(error, &call.lacked.json()))
            }
            Some(_) | None => results::for_modern_client(&call.method, &answer, info),
        };
        actions.0.push(AdapterAction::Client(full.with_id(&id)));
    }
}

/// Whether a request takes up one that was suspended.
pub(crate) fn resumes(message: &Message) -> bool {
    jsonrpc::member_at(message.text(), &["params", "requestState"]).is_some()
}

fn state(message: &Message) -> Option<String> {
    jsonrpc::member_at(message.text(), &["params", "requestState"]).and_then(jsonrpc::string)
}

fn sent_token(message: &Message) -> Option<String> {
    jsonrpc::member_at(message.text(), &["params", "_meta", "progressToken"]).map(str::to_owned)
}
