//! What the protocol eras say, as data: versions, `_meta` keys, headers, capabilities, error codes. Pure.
//!
//! - [`version`]: the revisions, and which era each belongs to.
//! - [`meta`]: the per-request `_meta` of 2026-07-28, and the log levels.
//! - [`capabilities`]: what a client can be asked for.
//! - [`headers`]: the headers that mirror a request, and how values are encoded in them.
//! - [`param_headers`]: `x-mcp-header` annotations of tools, which become `Mcp-Param-*`.
//! - [`results`]: how results differ between the eras.
//! - [`subscriptions`]: the filter of `subscriptions/listen` and its notifications.
//! - [`errors`]: the error codes.
//!
//! Spec: MCP 2026-07-28 basic/index (Error Codes), basic/versioning.

pub mod capabilities;
pub mod errors;
pub mod headers;
pub mod meta;
pub mod param_headers;
pub mod results;
pub mod subscriptions;
pub mod version;
