//! The JSON-RPC error codes that tell the eras apart, read from a response.
//!
//! Spec: MCP 2026-07-28 basic/index (Error Codes), basic/versioning (Backward Compatibility).

use crate::jsonrpc::{self, Message};

/// `HeaderMismatch`.
pub const HEADER_MISMATCH: i64 = -32020;
/// `MissingRequiredClientCapability`.
pub const MISSING_CAPABILITY: i64 = -32021;
/// `UnsupportedProtocolVersion`.
pub const UNSUPPORTED_VERSION: i64 = -32022;
/// JSON-RPC: the text is not valid JSON.
pub const PARSE_ERROR: i64 = -32700;
/// JSON-RPC: invalid request.
pub const INVALID_REQUEST: i64 = -32600;
/// JSON-RPC: internal error.
pub const INTERNAL_ERROR: i64 = -32603;
/// JSON-RPC: method not found.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC: invalid params; also a request without the required `_meta`.
pub const INVALID_PARAMS: i64 = -32602;
/// Resource not found, until 2025-11-25.
pub const RESOURCE_NOT_FOUND: i64 = -32002;
/// URL elicitation required, 2025-11-25 only.
pub const URL_ELICITATION: i64 = -32042;

/// The code of an error response.
pub fn code(answer: &Message) -> Option<i64> {
    jsonrpc::member(answer.member("error")?, "code")?
        .parse()
        .ok()
}

/// Whether only a modern server sends this code.
pub fn is_modern(code: i64) -> bool {
    matches!(
        code,
        HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION
    )
}

/// The versions an `UnsupportedProtocolVersion` error names.
pub fn supported(answer: &Message) -> Vec<String> {
    answer
        .member("error")
        .and_then(|error| jsonrpc::member_at(error, &["data", "supported"]))
        .and_then(|list| serde_json::from_str(list).ok())
        .unwrap_or_default()
}

/// An error (JSON text) as one for capabilities (JSON text) the client has not declared.
pub fn missing(error: &str, capabilities: &str) -> String {
    let error = jsonrpc::replace_member(error, "code", &MISSING_CAPABILITY.to_string());
    let data = format!("{{\"requiredCapabilities\":{capabilities}}}");
    jsonrpc::replace_member(&error, "data", &data)
}

/// The words of an error response.
pub fn words(answer: &Message) -> String {
    answer
        .member("error")
        .and_then(|error| jsonrpc::member(error, "message"))
        .and_then(jsonrpc::string)
        .unwrap_or_default()
}
