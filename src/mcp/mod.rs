//! What both protocol eras say, as data: versions, `_meta` keys, headers, error codes. Pure, and knows no connection.
//!
//! - [`version`]: the revisions, and which era each belongs to.
//! - [`meta`]: the per-request `_meta` of 2026-07-28: stamped, read, stripped.
//! - [`headers`]: the headers that mirror a request, and how values are encoded in them.
//! - [`param_headers`]: `x-mcp-header` annotations of tools, which become `Mcp-Param-*`.
//! - [`results`]: what a result carries in one era and not in the other.
//! - [`errors`]: the error codes that tell the eras apart.
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
