//! The headers of a modern POST that mirror its body, and how values are encoded in them.
//!
//! - `MCP-Protocol-Version` equals the `_meta` of the request; `Mcp-Method` its method.
//! - `Mcp-Name` is the tool's or prompt's name, the resource's URI, or the task's id.
//! - A value that is no plain header text is sent as `=?base64?…?=`.
//!
//! Spec: MCP 2026-07-28 basic/transports/streamable-http (Request Metadata, Value Encoding); SEP-2663 (`Mcp-Name` of tasks).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::meta;
use crate::jsonrpc::{self, Message};

/// The prefix of the headers that mirror arguments.
pub const PARAM: &str = "mcp-param-";

/// The headers of this message; `version` is used where it declares none itself.
pub fn of_message(message: &Message, version: Option<&str>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    let declared = meta::version(message);
    if let Some(version) = declared.as_deref().or(version).filter(|v| is_plain(v)) {
        headers.push(("mcp-protocol-version".to_owned(), version.to_owned()));
    }
    let Some(method) = message.method() else {
        return headers;
    };
    if is_plain(method) {
        headers.push(self::method(method));
    }
    let source = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return headers,
    };
    if let Some(name) =
        jsonrpc::member_at(message.text(), &["params", source]).and_then(jsonrpc::string)
    {
        headers.push(("mcp-name".to_owned(), encode(&name)));
    }
    headers
}

/// The header that names a method.
pub fn method(method: &str) -> (String, String) {
    ("mcp-method".to_owned(), method.to_owned())
}

/// A value as a header carries it.
pub fn encode(value: &str) -> String {
    let is_sentinel = value.starts_with("=?base64?") && value.ends_with("?=");
    if is_plain(value) && !is_sentinel {
        value.to_owned()
    } else {
        format!("=?base64?{}?=", STANDARD.encode(value))
    }
}

/// Whether a value survives as it is: visible ASCII, spaces and tabs inside.
fn is_plain(value: &str) -> bool {
    !value.is_empty()
        && value.trim().len() == value.len()
        && value
            .bytes()
            .all(|b| b == b'\t' || (b' '..=b'~').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_as_the_specification_shows() {
        for (value, expected) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("", "=?base64??="),
        ] {
            assert_eq!(encode(value), expected);
        }
    }

    #[test]
    fn the_headers_mirror_the_request() {
        let shown = |text: &str| {
            of_message(&Message::parse(text).unwrap(), Some("2026-07-28"))
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            shown(
                r#"{"id":1,"method":"tools/call","params":{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2027-01-01"}}}"#
            ),
            [
                "mcp-protocol-version: 2027-01-01",
                "mcp-method: tools/call",
                "mcp-name: x"
            ]
        );
        assert_eq!(
            shown(r#"{"id":1,"method":"resources/read","params":{"uri":"file:///a b"}}"#),
            [
                "mcp-protocol-version: 2026-07-28",
                "mcp-method: resources/read",
                "mcp-name: file:///a b"
            ]
        );
        assert_eq!(
            shown(r#"{"id":1,"method":"tools/list","params":{"name":"x"}}"#),
            ["mcp-protocol-version: 2026-07-28", "mcp-method: tools/list"]
        );
        assert_eq!(
            shown("{\"id\":1,\"method\":\"a\\r\\nb\"}"),
            ["mcp-protocol-version: 2026-07-28"]
        );
    }
}
