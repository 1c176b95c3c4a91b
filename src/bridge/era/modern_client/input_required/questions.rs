//! The requests of a legacy server, put to a modern client as `input_required`.
//!
//! - A question the client has no capability for, and one without an open request, get an error.
//! - Suspended requests that are not retried in time are cancelled at the server.
//!
//! Spec: MCP 2026-07-28 basic/patterns/mrtr; 2025-11-25 client/elicitation, client/sampling, client/roots.

use std::time::Instant;

use crate::bridge::era::adapter::{AdapterAction, AdapterActions};
use crate::bridge::era::modern_client::input_required::{
    ForwardedRequest, GATHER_TIME, INPUT_TIMEOUT, MAX_BYTES, MAX_PARKED, MAX_QUESTIONS, Question,
    SuspendedRequests,
};
use crate::jsonrpc::failure;
use crate::jsonrpc::{self, Message, RequestId};
use crate::mcp::capabilities::Capabilities;
use crate::mcp::errors;

/// Only 2025-11-25 names elicitations.
fn nameless(params: &str) -> String {
    jsonrpc::without_member(params, "elicitationId")
}

impl SuspendedRequests {
    /// The server asks something.
    pub(crate) fn asked(
        &mut self,
        now: Instant,
        id: RequestId,
        question: &Message,
        on: Option<&RequestId>,
        actions: &mut AdapterActions,
    ) {
        let method = question.method().unwrap_or_default().to_owned();
        let own = on
            .filter(|on| self.open.get(on).is_some_and(|call| call.can_suspend))
            .cloned();
        let last = || {
            let open = self.open.iter().filter(|(_, call)| call.can_suspend);
            open.max_by_key(|(_, call)| (!call.is_suspended(), call.number))
                .map(|(wire, _)| wire.clone())
        };
        let Some(call) = own.or_else(last).and_then(|wire| self.open.get_mut(&wire)) else {
            let what =
                format!("no request of the client is open that \"{method}\" could belong to");
            actions.server(failure(&id, errors::METHOD_NOT_FOUND, &what));
            return;
        };
        if let Some((what, lacked)) = call.capabilities.refuse(question.text()) {
            call.lacked = lacked.into_iter().fold(call.lacked, Capabilities::and);
            actions.server(failure(&id, errors::METHOD_NOT_FOUND, &what));
            return;
        }
        if call.questions.len() + call.asked.len() >= MAX_QUESTIONS {
            actions.server(failure(
                &id,
                errors::INTERNAL_ERROR,
                &format!("more than {MAX_QUESTIONS} questions are open"),
            ));
            return;
        }
        self.made += 1;
        let params = nameless(question.member("params").unwrap_or("{}"));
        let text = format!(
            "{{\"method\":{},\"params\":{params}}}",
            jsonrpc::quoted(&method)
        );
        call.questions.push(Question {
            id: Some(id),
            key: format!(
                "{}-{}",
                method.split('/').next().unwrap_or_default(),
                self.made
            ),
            text,
        });
        if !call.is_suspended() {
            call.ask_at.get_or_insert(now + GATHER_TIME);
        }
        self.give_up(now, actions);
    }

    /// An error that asks for visits of addresses, as questions; whether it named any.
    pub(crate) fn ask_urls(&mut self, call: &mut ForwardedRequest, answer: &Message) -> bool {
        let list = jsonrpc::member_at(answer.text(), &["error", "data", "elicitations"]);
        let list = list
            .and_then(|list| serde_json::from_str::<Vec<&serde_json::value::RawValue>>(list).ok());
        let texts: Vec<String> = list
            .unwrap_or_default()
            .into_iter()
            .map(|params| {
                format!(
                    "{{\"method\":\"elicitation/create\",\"params\":{}}}",
                    nameless(params.get())
                )
            })
            .collect();
        let mut refused = texts
            .iter()
            .filter_map(|text| call.capabilities.refuse(text));
        if texts.is_empty()
            || texts.len() > MAX_QUESTIONS
            || call.is_suspended()
            || refused.next().is_some()
        {
            return false;
        }
        for text in texts {
            self.made += 1;
            call.questions.push(Question {
                id: None,
                key: format!("elicitation-{}", self.made),
                text,
            });
        }
        call.again = call.sent.clone();
        true
    }

    /// Asks what is to be asked, and gives up what nobody came back for.
    pub(crate) fn is_due(&mut self, now: Instant, actions: &mut AdapterActions) {
        for call in self
            .open
            .values_mut()
            .filter(|call| call.ask_at.is_some_and(|at| at <= now))
        {
            call.ask_at = None;
            let Some(id) = call.id.clone().filter(|_| !call.questions.is_empty()) else {
                continue;
            };
            self.made += 1;
            call.state = format!("{}{}", self.prefix, self.made);
            call.asked = std::mem::take(&mut call.questions);
            let questions: Vec<String> = call
                .asked
                .iter()
                .map(|question| format!("{}:{}", jsonrpc::quoted(&question.key), question.text))
                .collect();
            let result = format!(
                "{{\"resultType\":\"input_required\",\"inputRequests\":{{{}}},\"requestState\":\"{}\"}}",
                questions.join(","),
                call.state
            );
            actions.result(&id, &result);
            call.id = None;
            call.suspended_until = Some(now + INPUT_TIMEOUT);
        }
        self.give_up(now, actions);
    }

    /// Gives up what nobody came back for, and the oldest of what is too much.
    pub(crate) fn give_up(&mut self, now: Instant, actions: &mut AdapterActions) {
        let mut suspended: Vec<(Instant, RequestId)> = self
            .open
            .iter()
            .filter_map(|(wire, call)| Some((call.suspended_until?, wire.clone())))
            .collect();
        suspended.sort();
        let (mut count, mut bytes) = (suspended.len(), self.suspended_bytes());
        for (until, wire) in suspended {
            if until > now && count <= MAX_PARKED && bytes <= MAX_BYTES {
                break;
            }
            let Some(call) = self.open.remove(&wire) else {
                continue;
            };
            count -= 1;
            bytes -= call.bytes();
            for question in call.asked.iter().chain(&call.questions) {
                if let Some(id) = &question.id {
                    actions.server(failure(
                        id,
                        errors::INTERNAL_ERROR,
                        "the client did not answer",
                    ));
                }
            }
            if call.answer.is_none() {
                actions.0.push(AdapterAction::Cancel(wire));
            }
        }
    }
}
