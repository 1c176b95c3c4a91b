//! What the tool list of a modern server says about calls: which arguments become headers, which calls are safe to repeat.
//!
//! - Tools with invalid `x-mcp-header` annotations are hidden from the client, with a warning.
//! - After a `HeaderMismatch` the list is read again, page by page, and the call is sent once more if its headers changed.
//!
//! Spec: MCP 2026-07-28 basic/transports/streamable-http (Custom Headers from Tool Parameters, Client Behavior).

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::bridge::Bridge;
use crate::bridge::request::table::RequestState;
use crate::jsonrpc::{self, Message, RequestId};
use crate::mcp::errors;
use crate::mcp::param_headers::{self, Annotation};

/// What is known of the server's tools.
#[derive(Debug, Default)]
pub(crate) struct KnownTools {
    known: HashMap<String, ToolNote>,
}

/// What is worth knowing of one tool; most have nothing.
#[derive(Debug, Default, PartialEq)]
struct ToolNote {
    annotations: Vec<Annotation>,
    repeatable: bool,
}

/// A tool list that is read anew for one call.
#[derive(Debug)]
pub(crate) struct ListRefresh {
    call: RequestId,
    list: RequestId,
    pages: u32,
    refusal: Message,
    before: Vec<(String, String)>,
}

/// More tools than this are not remembered.
const MAX_TOOLS: usize = 10_000;
/// More pages than this are not read for one call.
const MAX_PAGES: u32 = 50;

impl KnownTools {
    /// Takes note of a `tools/list` result; gives the names and faults of the tools to hide.
    fn learn(&mut self, tools: &[&RawValue]) -> Vec<(usize, String, String)> {
        let mut hidden = Vec::new();
        for (at, tool) in tools.iter().enumerate() {
            let part = |path: &[&str]| jsonrpc::member_at(tool.get(), path);
            let Some(name) = part(&["name"]).and_then(jsonrpc::string) else {
                continue;
            };
            let says = |hint: &str| part(&["annotations", hint]) == Some("true");
            let note = ToolNote {
                annotations: match param_headers::annotations(
                    part(&["inputSchema"]).unwrap_or("{}"),
                ) {
                    Ok(annotations) => annotations,
                    Err(fault) => {
                        self.known.remove(&name);
                        hidden.push((at, name, fault));
                        continue;
                    }
                },
                repeatable: says("readOnlyHint") || says("idempotentHint"),
            };
            if note == ToolNote::default() {
                self.known.remove(&name);
            } else if self.known.len() < MAX_TOOLS {
                self.known.insert(name, note);
            }
        }
        hidden
    }

    fn of_call(&self, call: &Message) -> Option<&ToolNote> {
        if self.known.is_empty() || call.method() != Some("tools/call") {
            return None;
        }
        let name = jsonrpc::member_at(call.text(), &["params", "name"])?;
        self.known.get(&jsonrpc::string(name)?)
    }

    /// The `Mcp-Param-*` headers of a call.
    pub(crate) fn headers(&self, call: &Message) -> Vec<(String, String)> {
        let arguments = jsonrpc::member_at(call.text(), &["params", "arguments"]);
        match (self.of_call(call), arguments) {
            (Some(note), Some(arguments)) => param_headers::values(&note.annotations, arguments),
            _ => Vec::new(),
        }
    }

    /// Whether the tool says that calling it twice does no harm.
    pub(crate) fn may_repeat(&self, call: &Message) -> bool {
        self.of_call(call).is_some_and(|note| note.repeatable)
    }
}

impl Bridge {
    /// Learns from a response to `tools/list`; gives it back without the tools that must be hidden.
    pub(crate) fn note_tools(&mut self, answer: Message) -> Message {
        if !self.speaks_modern() {
            return answer;
        }
        let Some(result) = answer.member("result") else {
            return answer;
        };
        let Some(Ok(tools)) =
            jsonrpc::member(result, "tools").map(serde_json::from_str::<Vec<&RawValue>>)
        else {
            return answer;
        };
        let hidden = self.tools.learn(&tools);
        if hidden.is_empty() {
            return answer;
        }
        let shown: Vec<&str> = tools
            .iter()
            .enumerate()
            .filter(|(at, _)| !hidden.iter().any(|(hidden, ..)| hidden == at))
            .map(|(_, tool)| tool.get())
            .collect();
        let result = jsonrpc::replace_member(result, "tools", &format!("[{}]", shown.join(",")));
        for (_, name, fault) in &hidden {
            let name = crate::log::clean(name, 100);
            let fault = crate::log::clean(fault, 200);
            self.warn(format!("tool \"{name}\" is hidden: {fault}"));
        }
        answer.with_member("result", &result)
    }

    /// Whether a refused call has to wait for a fresh tool list.
    pub(crate) fn refresh_for(&mut self, id: &RequestId, refusal: &Message) -> bool {
        if !self.speaks_modern() || errors::code(refusal) != Some(errors::HEADER_MISMATCH) {
            return false;
        }
        let Some(open) = self.requests.find(id) else {
            return false;
        };
        if open.refreshed || open.message.method() != Some("tools/call") {
            return false;
        }
        open.refreshed = true;
        open.state = RequestState::Deferred;
        let call = Arc::clone(&open.message);
        let refresh = ListRefresh {
            call: id.clone(),
            list: RequestId::null(),
            pages: 0,
            refusal: refusal.clone(),
            before: self.tools.headers(&call),
        };
        self.ask_for_tools(refresh, &call, None);
        true
    }

    fn ask_for_tools(&mut self, refresh: ListRefresh, call: &Message, cursor: Option<&str>) {
        let list = self.own_id("tools");
        let stamp = jsonrpc::member_at(call.text(), &["params", "_meta"]).unwrap_or("{}");
        let stamp = jsonrpc::without_member(stamp, "progressToken");
        let cursor = cursor.map(|cursor| format!(",\"cursor\":{cursor}"));
        let text = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{list},\"method\":\"tools/list\",\"params\":{{\"_meta\":{stamp}{}}}}}",
            cursor.unwrap_or_default()
        );
        match Message::made(text) {
            Ok(message) => {
                self.refreshes.push(ListRefresh {
                    list: list.clone(),
                    pages: refresh.pages + 1,
                    ..refresh
                });
                self.accept_request(self.now, list.clone(), Arc::new(message));
                self.send_request(&list);
            }
            Err(error) => self.fail(&refresh.call, error),
        }
    }

    /// Whether this was the response to a list of ours (`None`: it failed); the call goes on.
    pub(crate) fn refreshed(&mut self, list: &RequestId, answer: Option<&Message>) -> bool {
        let Some(at) = self
            .refreshes
            .iter()
            .position(|refresh| &refresh.list == list)
        else {
            return false;
        };
        let refresh = self.refreshes.swap_remove(at);
        let Some(open) = self.requests.find(&refresh.call) else {
            return true;
        };
        let call = Arc::clone(&open.message);
        if self.tools.headers(&call) != refresh.before {
            self.send_again(&refresh.call);
            return true;
        }
        let next =
            answer.and_then(|answer| jsonrpc::member_at(answer.text(), &["result", "nextCursor"]));
        match next {
            Some(cursor) if cursor.starts_with('"') && refresh.pages < MAX_PAGES => {
                self.ask_for_tools(refresh, &call, Some(cursor));
            }
            Some(_) | None => {
                let (id, refusal) = (refresh.call, refresh.refusal);
                self.complete(&id, refusal, true);
            }
        }
        true
    }
}
