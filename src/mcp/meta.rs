//! The per-request `_meta` of 2026-07-28: stamped, read, stripped. What is not touched keeps its bytes.
//!
//! Spec: MCP 2026-07-28 basic/index (`_meta`).

use crate::jsonrpc::{self, Message};

/// The protocol version of a request.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Name and version of the client.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// What the client can do.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// The least severe log message the request wants to see.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Which `subscriptions/listen` a notification belongs to.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// Name and version of the server, in a result.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// The log levels; the first sees most.
pub const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// The place of a level in [`LEVELS`], from its JSON text.
pub fn level_number(level: &str) -> Option<usize> {
    let name = jsonrpc::string(level)?;
    LEVELS.iter().position(|known| *known == name)
}

/// The JSON text of a key of `params._meta`.
pub fn read<'a>(message: &'a Message, key: &str) -> Option<&'a str> {
    jsonrpc::member_at(message.text(), &["params", "_meta", key])
}

/// The protocol version a request declares: only a modern one does.
pub fn version(message: &Message) -> Option<String> {
    read(message, PROTOCOL_VERSION).and_then(jsonrpc::string)
}

/// The message with these keys of `params._meta` set to these JSON texts.
pub fn with(message: &Message, keys: &[(&str, &str)]) -> Message {
    let params = message.member("params").unwrap_or("{}");
    let meta = jsonrpc::member(params, "_meta").filter(|meta| meta.starts_with('{'));
    let mut meta = meta.unwrap_or("{}").to_owned();
    for (key, value) in keys {
        meta = jsonrpc::replace_member(&meta, key, value);
    }
    message.with_member("params", &jsonrpc::replace_member(params, "_meta", &meta))
}

/// The message without these keys of `params._meta`, and without a `_meta` that is empty then.
pub fn without(message: &Message, keys: &[&str]) -> Message {
    let Some(params) = message.member("params") else {
        return message.clone();
    };
    match stripped(params, keys) {
        Some(params) => message.with_member("params", &params),
        None => message.clone(),
    }
}

/// A legacy request: without what only modern ones carry.
pub fn strip(message: &Message) -> Message {
    without(
        message,
        &[
            PROTOCOL_VERSION,
            CLIENT_INFO,
            CLIENT_CAPABILITIES,
            LOG_LEVEL,
        ],
    )
}

/// An object without these keys of its `_meta`; `None` if it had none of them.
pub fn stripped(object: &str, keys: &[&str]) -> Option<String> {
    let meta = jsonrpc::member(object, "_meta")?;
    let mut left = meta.to_owned();
    for key in keys {
        left = jsonrpc::without_member(&left, key);
    }
    if left == meta {
        return None;
    }
    Some(if jsonrpc::is_empty(&left) {
        jsonrpc::without_member(object, "_meta")
    } else {
        jsonrpc::replace_member(object, "_meta", &left)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Message {
        Message::parse(text).unwrap()
    }

    #[test]
    fn a_request_is_stamped_where_it_has_no_params_no_meta_or_some() {
        let keys = [(PROTOCOL_VERSION, "\"2026-07-28\"")];
        let stamped = |text: &str| with(&parse(text), &keys).text().to_owned();
        assert_eq!(
            stamped(r#"{"id":1,"method":"m"}"#),
            r#"{"id":1,"method":"m","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#
        );
        assert_eq!(
            stamped(r#"{"params":{"n": 1.0 },"id":1,"method":"m"}"#),
            r#"{"params":{"n": 1.0,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}},"id":1,"method":"m"}"#
        );
        assert_eq!(
            stamped(r#"{"params":{"_meta":{"progressToken":7},"n":1},"id":1,"method":"m"}"#),
            r#"{"params":{"_meta":{"progressToken":7,"io.modelcontextprotocol/protocolVersion":"2026-07-28"},"n":1},"id":1,"method":"m"}"#
        );
    }

    #[test]
    fn what_was_stamped_is_stripped_and_the_rest_keeps_its_bytes() {
        let plain =
            parse(r#"{"id":1,"method":"m","params":{"n": 1.0,"_meta":{"progressToken":7}}}"#);
        let stamped = with(
            &plain,
            &[
                (PROTOCOL_VERSION, "\"v\""),
                (CLIENT_INFO, "{}"),
                (CLIENT_CAPABILITIES, "{}"),
            ],
        );
        assert_eq!(version(&stamped).as_deref(), Some("v"));
        assert_eq!(strip(&stamped).text(), plain.text());
        let only = parse(
            r#"{"id":1,"method":"m","params":{"_meta":{"io.modelcontextprotocol/clientInfo":{}},"a":1}}"#,
        );
        assert_eq!(
            strip(&only).text(),
            r#"{"id":1,"method":"m","params":{"a":1}}"#
        );
    }
}
