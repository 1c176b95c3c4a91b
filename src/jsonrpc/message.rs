//! A JSON-RPC message: its envelope is parsed, its text is kept.
//!
//! A [`Message`] holds the one line of JSON it came as. Only the members that routing needs (`id`, `method`, and whether there is a
//! `result` or an `error`) are read. Everything else passes byte for byte: spelling of numbers, order of keys, escapes, duplicate
//! keys, unknown members. Newlines between tokens become spaces.
//!
//! Spec: JSON-RPC 2.0 sections 4 to 6; MCP 2025-03-26 basic/index (batching).
//! Not done here: no value tree is built for a message that is not rewritten.

use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::batch::read_batch;
use super::edit::{
    for_each_member, member, one_line, quoted, replace_member, string, trimmed, without_member,
};
use super::envelope::Envelope;
use crate::error::{Error, Kind as ErrorKind};
use crate::transport::backpressure::Permit;

/// A JSON-RPC id of any JSON kind, kept as it was spelled. `1` and `"1"` are different ids.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id `null`.
    pub fn null() -> RequestId {
        RequestId("null".into())
    }

    /// An id that is a string.
    pub fn from_string(text: &str) -> RequestId {
        RequestId(quoted(text).into())
    }

    /// An id from its JSON text; `None` if the text is not one JSON value.
    pub fn from_text(text: &str) -> Option<RequestId> {
        let raw: &RawValue = serde_json::from_str(text).ok()?;
        Some(RequestId::from_raw(raw))
    }

    /// The id whose JSON text this is. A string is spelled anew, so that escapes make no difference.
    #[doc(hidden)]
    pub fn from_raw(raw: &RawValue) -> RequestId {
        match string(raw.get()) {
            Some(text) => RequestId::from_string(&text),
            None => RequestId(one_line(raw.get().to_owned()).into()),
        }
    }

    /// The id of a message of which only the start is known, if it stands there.
    #[doc(hidden)]
    pub fn near_start(text: &str) -> Option<RequestId> {
        let mut id = None;
        // The text ends in the middle: an error is expected, what came before it counts.
        for_each_member(text.trim_start_matches('\u{feff}'), |name, value| {
            if name == "id" {
                id = RequestId::from_text(value);
            }
        })
        .ok();
        id
    }

    /// The string, if the id is one.
    pub fn as_string(&self) -> Option<String> {
        string(&self.0)
    }

    /// Whether the id is a string that starts with this text, which needs no escapes.
    pub fn starts_with(&self, text: &str) -> bool {
        let inner = self.0.strip_prefix('"');
        inner.is_some_and(|inner| inner.starts_with(text))
    }

    /// Whether JSON-RPC allows such an id: a string, a number or null.
    pub(super) fn is_allowed(&self) -> bool {
        !self.0.starts_with(['{', '[', 't', 'f'])
    }

    /// Whether a peer that parsed and printed the number again may have made `other` of this id
    /// (`1.0` and `1`, an integer beyond 2^53 that lost digits, or `"1"` and `1`).
    #[doc(hidden)]
    pub fn is_respelled(&self, other: &RequestId) -> bool {
        let number = |id: &RequestId| id.0.trim_matches('"').parse::<f64>();
        matches!((number(self), number(other)), (Ok(a), Ok(b)) if a == b)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A request: must be answered, once.
    Request {
        /// Its id, as spelled by its sender.
        id: RequestId,
        /// Its method.
        method: String,
    },
    /// A notification: never answered.
    Notification {
        /// Its method.
        method: String,
    },
    /// A response to the request `id`.
    Response {
        /// The id of the request it answers.
        id: RequestId,
        /// Whether it holds an `error` instead of a `result`.
        failed: bool,
    },
}

/// One JSON-RPC message: its kind and its text, one line without a line end.
#[derive(Debug, Clone)]
pub struct Message {
    kind: Kind,
    /// Not a `Box<str>`: making one may copy a large text to shrink it.
    text: String,
    /// Whether `jsonrpc` is `"2.0"`.
    has_version: bool,
    /// Its part of the memory that messages under way may take.
    permit: Option<Arc<Permit>>,
}

impl Message {
    /// Reads one message. The error says what is wrong and carries the id, if one could be read.
    pub fn parse(text: &str) -> Result<Message, Malformed> {
        match Message::read(text.to_owned())? {
            Parsed::One(message) => Ok(message),
            Parsed::Batch(_) => Err(Malformed::invalid(
                None,
                "expected one message, got a batch",
            )),
        }
    }

    /// Reads one message or a batch (2025-03-26). A batch is taken apart; each part stands for itself. What follows
    /// `MAX_BATCH_PARTS` parts or `MAX_INVALID_PARTS` invalid ones is skipped and reported as one invalid part.
    ///
    /// The text is taken over, so that a large message is held in memory once.
    #[doc(hidden)]
    pub fn read(text: String) -> Result<Parsed, Malformed> {
        let text = trimmed(text);
        if text.starts_with('[') {
            return read_batch(&text).map(Parsed::Batch);
        }
        if !text.starts_with('{') {
            let valid: Result<&RawValue, _> = serde_json::from_str(&text);
            return Err(match valid {
                Ok(_) => Malformed::invalid(None, "a message must be a JSON object"),
                Err(e) => Malformed::not_json(&e),
            });
        }
        let envelope: Envelope<'_> =
            serde_json::from_str(&text).map_err(|e| Malformed::not_json(&e))?;
        let has_version = envelope.has_version;
        let kind = envelope.kind()?;
        Ok(Parsed::One(Message {
            kind,
            has_version,
            text: one_line(text),
            permit: None,
        }))
    }

    /// A message made here, of a text that is known to be well formed.
    ///
    /// # Errors
    /// If the text is not a valid message after all; that is a bug here.
    #[doc(hidden)]
    pub fn made(text: String) -> Result<Message, Error> {
        Message::parse(&text).map_err(|e| {
            Error::new(
                ErrorKind::Bug,
                format!("made a malformed message: {}", e.reason),
            )
        })
    }

    /// What the message is for.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The text: one line of JSON, without a line end.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The method, for requests and notifications.
    pub fn method(&self) -> Option<&str> {
        match &self.kind {
            Kind::Request { method, .. } | Kind::Notification { method } => Some(method),
            Kind::Response { .. } => None,
        }
    }

    /// The JSON text of a top-level member (the last one of that name), for the few messages that are looked into.
    pub fn member(&self, name: &str) -> Option<&str> {
        member(&self.text, name)
    }

    /// The same message with the id spelled differently; everything else keeps its bytes.
    #[doc(hidden)]
    pub fn with_id(&self, id: &RequestId) -> Message {
        let kind = match &self.kind {
            Kind::Request { method, .. } => Kind::Request {
                id: id.clone(),
                method: method.clone(),
            },
            Kind::Response { failed, .. } => Kind::Response {
                id: id.clone(),
                failed: *failed,
            },
            Kind::Notification { .. } => return self.clone(),
        };
        self.changed(kind, replace_member(&self.text, "id", &id.0))
    }

    /// The same message with a top-level member replaced; everything else keeps its bytes.
    #[doc(hidden)]
    pub fn with_member(&self, name: &str, value: &str) -> Message {
        self.changed(self.kind.clone(), replace_member(&self.text, name, value))
    }

    /// The same message without a top-level member that says nothing about its kind; everything else keeps its bytes.
    #[doc(hidden)]
    pub fn without(&self, name: &str) -> Message {
        self.changed(self.kind.clone(), without_member(&self.text, name))
    }

    /// The message with `"jsonrpc":"2.0"`, which some servers leave out and clients insist on.
    #[doc(hidden)]
    pub fn with_version(self) -> Message {
        if self.has_version {
            return self;
        }
        Message {
            has_version: true,
            ..self.with_member("jsonrpc", "\"2.0\"")
        }
    }

    /// The message, without its part of a budget: it is kept for longer than the budget is meant for.
    #[doc(hidden)]
    pub fn released(mut self) -> Message {
        self.permit = None;
        self
    }

    fn changed(&self, kind: Kind, text: String) -> Message {
        Message {
            kind,
            has_version: self.has_version,
            text,
            permit: self.permit.clone(),
        }
    }
}

/// What one line held.
#[derive(Debug)]
#[doc(hidden)]
pub enum Parsed {
    /// One message.
    One(Message),
    /// A batch, taken apart; a part that is not a valid message is reported for itself.
    Batch(Vec<Result<Message, Malformed>>),
}

impl Parsed {
    /// The messages hold this part of a budget until the last of them is dropped.
    pub fn holding(mut self, permit: Arc<Permit>) -> Parsed {
        let permit = Some(permit);
        match &mut self {
            Parsed::One(message) => message.permit = permit,
            Parsed::Batch(parts) => parts
                .iter_mut()
                .flatten()
                .for_each(|message| message.permit.clone_from(&permit)),
        }
        self
    }
}

/// A line that is not a valid message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Malformed {
    /// The id, if one could be read: the sender may be waiting for a response to it.
    pub id: Option<RequestId>,
    /// `-32700` if it is not JSON, `-32600` if it is not JSON-RPC message.
    pub code: i32,
    /// What is wrong, in words.
    pub reason: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Malformed {}

impl Malformed {
    /// Not JSON at all.
    pub(super) fn not_json(error: &serde_json::Error) -> Malformed {
        Malformed {
            id: None,
            code: -32700,
            reason: format!("not valid JSON ({error})"),
        }
    }

    /// JSON, but not a message.
    #[doc(hidden)]
    pub fn invalid(id: Option<RequestId>, reason: &str) -> Malformed {
        Malformed {
            id,
            code: -32600,
            reason: reason.to_owned(),
        }
    }

    /// The one line of JSON that answers the sender.
    pub fn to_json_rpc(&self) -> String {
        let id = self.id.clone().unwrap_or_else(RequestId::null);
        let message = quoted(&format!("mcp-remote: {}", self.reason));
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{},\"message\":{message}}}}}",
            self.code
        )
    }
}

/// A response with this result.
pub fn response(id: &RequestId, result: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}")
}

/// An error response.
pub fn failure(id: &RequestId, code: i64, what: &str) -> String {
    let what = quoted(&format!("mcp-remote: {what}"));
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{code},\"message\":{what}}}}}")
}

/// A request.
pub fn request(id: &RequestId, method: &str, params: &str) -> String {
    let method = quoted(method);
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":{method},\"params\":{params}}}")
}

/// A notification.
pub fn notification(method: &str, params: &str) -> String {
    let method = quoted(method);
    format!("{{\"jsonrpc\":\"2.0\",\"method\":{method},\"params\":{params}}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::batch::{MAX_BATCH_PARTS, MAX_INVALID_PARTS};
    use crate::jsonrpc::{is_empty, member_at};

    fn parse(text: &str) -> Message {
        Message::parse(text).unwrap()
    }

    #[test]
    fn the_text_of_a_message_is_kept_byte_for_byte() {
        let text = r#"{"jsonrpc":"2.0","method":"x","params":{"n":1.0e+2,"n":12345678901234567890,"\u0061":"\/","z":-0.0},"extra":[]}"#;
        assert_eq!(parse(text).text(), text);
    }

    #[test]
    fn newlines_between_tokens_become_spaces() {
        assert_eq!(
            parse("{\r\n\"method\":\n\"x\"}\n").text(),
            "{  \"method\": \"x\"}"
        );
    }

    #[test]
    fn a_number_and_a_string_are_different_ids() {
        let one = RequestId::from_text("1").unwrap();
        assert_ne!(one, RequestId::from_text("\"1\"").unwrap());
        assert_eq!(
            RequestId::from_text(r#""\u0061""#).unwrap(),
            RequestId::from_string("a")
        );
        assert!(one.is_respelled(&RequestId::from_text("1.0").unwrap()));
        assert!(one.is_respelled(&RequestId::from_text("\"1\"").unwrap()));
        assert!(!one.is_respelled(&RequestId::from_text("\"a\"").unwrap()));
    }

    #[test]
    fn ids_of_every_kind_are_read() {
        for id in [
            "null",
            "1",
            "1.5",
            "-0",
            "123456789012345678901234567890",
            "\"a\"",
        ] {
            let message = parse(&format!("{{\"id\":{id},\"method\":\"x\"}}"));
            assert_eq!(
                message.kind(),
                &Kind::Request {
                    id: RequestId::from_text(id).unwrap(),
                    method: "x".into()
                }
            );
        }
    }

    #[test]
    fn requests_notifications_and_responses_are_told_apart() {
        assert!(matches!(
            parse(r#"{"id":1,"result":null}"#).kind(),
            Kind::Response { failed: false, .. }
        ));
        assert!(matches!(
            parse(r#"{"id":null,"error":{}}"#).kind(),
            Kind::Response { failed: true, .. }
        ));
        assert!(matches!(
            parse(r#"{"method":"m"}"#).kind(),
            Kind::Notification { .. }
        ));
    }

    #[test]
    fn what_is_not_a_message_is_refused_with_the_right_code() {
        for (text, code) in [
            ("{", -32700),
            ("hello", -32700),
            ("", -32700),
            ("3", -32600),
            ("[]", -32600),
            ("{}", -32600),
        ] {
            assert_eq!(Message::read(text.into()).unwrap_err().code, code, "{text}");
        }
        let refused = Message::parse(r#"{"id":7,"method":5}"#).unwrap_err();
        assert_eq!(
            (refused.id, refused.code),
            (RequestId::from_text("7"), -32600)
        );
    }

    #[test]
    fn a_batch_holds_its_part_of_a_budget_until_its_last_message_is_dropped() {
        let budget = crate::transport::backpressure::Budget::new(100);
        let batch = Message::read(r#"[5,{"method":"a"},{"method":"b"}]"#.to_owned()).unwrap();
        let Parsed::Batch(mut parts) = batch.holding(budget.take(60).into()) else {
            panic!("no batch")
        };
        // A part that is held knows its budget.
        for left in [3, 2, 1] {
            assert_eq!(parts.len(), left);
            assert_eq!(Arc::strong_count(&budget), 2);
            parts.remove(0).ok();
        }
        assert_eq!(Arc::strong_count(&budget), 1);
    }

    #[test]
    fn a_batch_is_taken_apart() {
        let Parsed::Batch(parts) =
            Message::read("[{\"id\":1,\"method\":\"a\"},\n5,{\"method\":\"b\"}]".into()).unwrap()
        else {
            panic!()
        };
        assert_eq!(
            parts.iter().map(Result::is_ok).collect::<Vec<_>>(),
            [true, false, true]
        );
    }

    #[test]
    fn a_batch_of_many_parts_is_read_up_to_a_bound_and_the_rest_is_one_error() {
        for (part, read) in [
            ("1", MAX_INVALID_PARTS),
            (r#"{"method":"a"}"#, MAX_BATCH_PARTS),
        ] {
            let many = vec![part; 20_000].join(",");
            let Ok(Parsed::Batch(parts)) = Message::read(format!("[{many}]")) else {
                panic!("no batch")
            };
            assert_eq!(parts.len(), read + 1, "{part}");
            let Some(Err(last)) = parts.last() else {
                panic!("no error for the rest")
            };
            assert!(last.reason.contains(&(20_000 - read).to_string()), "{last}");
            let cut = Message::read(format!("[{many}"));
            assert_eq!(cut.unwrap_err().code, -32700);
        }
    }

    #[test]
    fn only_the_replaced_member_changes() {
        let message = parse(r#"{"a": 1.0, "id" : 1.0 ,"result":{"id":9}}"#);
        assert_eq!(
            message.with_id(&RequestId::from_string("q")).text(),
            r#"{"a": 1.0, "id" : "q" ,"result":{"id":9}}"#
        );
        assert_eq!(
            parse(r#"{"method":"m","a":{}}"#)
                .with_member("params", "{}")
                .text(),
            r#"{"method":"m","a":{},"params":{}}"#
        );
        assert_eq!(message.member("result"), Some(r#"{"id":9}"#));
    }

    #[test]
    fn the_version_is_added_only_where_it_is_missing_or_wrong() {
        for (text, right) in [
            (r#"{"method":"x"}"#, r#"{"method":"x","jsonrpc":"2.0"}"#),
            (
                r#"{"jsonrpc":2.0,"method":"x"}"#,
                r#"{"jsonrpc":"2.0","method":"x"}"#,
            ),
            (
                r#"{ "jsonrpc" : "2.0", "method":"x"}"#,
                r#"{ "jsonrpc" : "2.0", "method":"x"}"#,
            ),
        ] {
            assert_eq!(parse(text).with_version().text(), right);
        }
    }

    #[test]
    fn a_member_is_taken_out_wherever_it_stands() {
        for (text, expected) in [
            (r#"{"a":1,"x":2,"b": 3 }"#, r#"{"a":1,"b": 3 }"#),
            (r#"{ "x":2 , "b":3}"#, r#"{ "b":3}"#),
            (r#"{"a":1,"x":2}"#, r#"{"a":1}"#),
            (r#"{"x":2}"#, "{}"),
            (r#"{"x":1,"x":2,"a":{"x":3},"x":4}"#, r#"{"a":{"x":3}}"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            ("[]", "[]"),
        ] {
            assert_eq!(without_member(text, "x"), expected);
        }
        assert_eq!(member_at(r#"{"a":{"b":[1]}}"#, &["a", "b"]), Some("[1]"));
        assert!(is_empty("{ }") && !is_empty(r#"{"a":1}"#) && !is_empty("[]"));
    }

    #[test]
    fn absurd_nesting_neither_crashes_nor_is_refused() {
        for depth in [200, 50_000] {
            let text = format!(
                "{{\"method\":\"m\",\"params\":{}{}}}",
                "[".repeat(depth),
                "]".repeat(depth)
            );
            assert_eq!(parse(&text).text(), text);
        }
    }
}
